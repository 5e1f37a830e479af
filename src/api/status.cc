#include "api/status.h"

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <limits>

#include "api/envelope.h"
#include "base/clock.h"
#include "base/json.h"

namespace wscope::api {
namespace {

// The quantities of a Point, in order.
constexpr std::string_view kNames[] = {"connections_open",
                                       "messages_in_per_second",
                                       "messages_out_per_second",
                                       "errors_per_second",
                                       "p95_seconds",
                                       "sessions",
                                       "memory_bytes",
                                       "cpu_ratio"};

double per_second(uint64_t before, uint64_t now, int64_t ns) {
  if (ns <= 0 || now < before) return 0;
  return static_cast<double>(now - before) * 1e9 / static_cast<double>(ns);
}

// Six significant digits: enough for a drawing, and a shorter answer.
double rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return std::strtod(text, nullptr);
}

}  // namespace

StatusBoard::Point StatusBoard::point_of(StatusSample const& before, StatusSample const& now,
                                         bool first) {
  int64_t const ns = first ? 0 : now.unix_ns - before.unix_ns;
  return {now.unix_ns / base::kMilli,
          {static_cast<double>(now.connections_open),
           per_second(before.messages_in, now.messages_in, ns),
           per_second(before.messages_out, now.messages_out, ns),
           per_second(before.errors, now.errors, ns), now.p95_s, static_cast<double>(now.sessions),
           static_cast<double>(now.memory_bytes), now.cpu_ratio}};
}

void StatusBoard::push(StatusSample sample) {
  state_.with([&](State& state) {
    bool const first = state.pushed == 0;
    if (!first && sample.unix_ns <= state.last.unix_ns) return;
    Point const point = point_of(state.last, sample, first);
    if (state.points.size() < kPoints) {
      state.points.push_back(point);
    } else {
      state.points[state.next] = point;
      state.next = (state.next + 1) % kPoints;
    }
    state.last = std::move(sample);
    ++state.pushed;
  });
}

std::string StatusBoard::json(Readiness const& readiness) const {
  State const state = state_.with([](State const& s) { return s; });
  size_t const count = state.points.size();
  auto const point = [&](size_t i) -> Point const& {
    return state.points[(state.next + i) % count];
  };
  std::string out;
  base::JsonWriter json(out);
  json.begin_object()
      .field("version", std::string_view(facts_.version))
      .field("started", std::string_view(utc_text(facts_.started_unix_ns)))
      .field("ready", readiness.ready)
      .key("reasons")
      .begin_array();
  for (std::string const& reason : readiness.reasons) json.value(std::string_view(reason));
  json.end_array()
      .field("loops", facts_.loops)
      .field("edge", std::string_view(facts_.edge))
      .field("observer", std::string_view(facts_.observer))
      .field("upstream", std::string_view(facts_.upstream));
  StatusSample const& last = state.last;
  double const uptime = static_cast<double>(last.unix_ns - facts_.started_unix_ns) / 1e9;
  json.field("uptime_seconds", count == 0 ? 0.0 : uptime)
      .field("connections_total", last.connections_total)
      .field("messages_in", last.messages_in)
      .field("messages_out", last.messages_out)
      .field("bytes_in", last.bytes_in)
      .field("bytes_out", last.bytes_out)
      .field("errors", last.errors);
  for (size_t q = 0; q < std::size(kNames); ++q) {
    json.field(kNames[q],
               count == 0 ? std::numeric_limits<double>::quiet_NaN() : point(count - 1).values[q]);
  }
  json.key("dropped").begin_object();
  for (auto const& [what, number] : last.dropped) json.field(what, number);
  json.end_object().key("history").begin_object().key("unix_ms").begin_array();
  for (size_t i = 0; i < count; ++i) json.value(point(i).unix_ms);
  json.end_array();
  for (size_t q = 0; q < std::size(kNames); ++q) {
    json.key(kNames[q]).begin_array();
    for (size_t i = 0; i < count; ++i) json.value(rounded(point(i).values[q]));
    json.end_array();
  }
  json.end_object().end_object();
  return out;
}

void add_status(net::HttpServer& server, StatusBoard const& board, ReadinessSource readiness) {
  server.route(
      "GET", "/api/v1/status",
      [&board, readiness = std::move(readiness)](net::Request const&, net::Responder responder) {
        net::Response response = success(board.json(readiness()));
        response.headers.emplace_back("Cache-Control", "no-store");
        responder.send(std::move(response));
      });
}

}  // namespace wscope::api
