#include <cstdarg>
#include <cstdio>

#include "base/json.h"
#include "cli/load.h"

namespace wscope::cli {

namespace {

void append_format(std::string& out, char const* format, ...) __attribute__((format(printf, 2, 3)));
void append_format(std::string& out, char const* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  out += text;
}

unsigned long long whole(uint64_t n) { return n; }

double cpu_share(LoadReport const& r) { return r.duration_s > 0 ? r.cpu_s / r.duration_s : 0; }

// What a unit of work cost the generator, in microseconds.
double cpu_us_each(LoadReport const& r) {
  uint64_t const units = r.mode == LoadMode::churn ? r.handshakes : r.deliveries;
  return units == 0 ? 0 : r.cpu_s * 1e6 / static_cast<double>(units);
}

}  // namespace

std::string_view name_of(LoadMode mode) {
  switch (mode) {
    case LoadMode::echo:
      return "echo";
    case LoadMode::fanout:
      return "fanout";
    case LoadMode::idle:
      return "idle";
    case LoadMode::churn:
      return "churn";
  }
  return "?";
}

bool LoadReport::ok() const {
  if (errors.total() > 0) return false;
  switch (mode) {
    case LoadMode::echo:
    case LoadMode::fanout:
      return messages > 0;
    case LoadMode::idle:
      return open == connections;
    case LoadMode::churn:
      return handshakes > 0;
  }
  return false;
}

std::string to_json(LoadReport const& r) {
  std::string out;
  base::JsonWriter json(out);
  json.begin_object();
  json.field("mode", name_of(r.mode)).field("connections", r.connections);
  json.field("in_flight", r.in_flight).field("size", r.size).field("rate", r.rate);
  json.field("duration_s", r.duration_s).field("interrupted", r.interrupted);
  json.field("open", r.open);
  json.field("messages", r.messages).field("messages_per_s", r.per_second(r.messages));
  json.field("deliveries", r.deliveries).field("deliveries_per_s", r.per_second(r.deliveries));
  json.field("bytes_per_s", r.per_second(r.payload_bytes));
  json.field("handshakes", r.handshakes).field("handshakes_per_s", r.handshakes_per_s);
  json.key("latency_us").begin_object();
  json.field("count", r.latency.count).field("mean", r.latency.mean);
  json.field("p50", r.latency.p50).field("p90", r.latency.p90).field("p99", r.latency.p99);
  json.field("p999", r.latency.p999).field("max", r.latency.max);
  json.end_object();
  json.field("coordinated_omission_corrected", r.coordinated_omission_corrected);
  json.key("errors").begin_object();
  json.field("connect", r.errors.connect).field("handshake", r.errors.handshake);
  json.field("protocol", r.errors.protocol).field("closed", r.errors.closed);
  json.field("mismatch", r.errors.mismatch).field("unanswered", r.errors.unanswered);
  json.end_object();
  json.field("first_error", r.first_error);
  json.field("cpu_share", cpu_share(r)).field("cpu_us_each", cpu_us_each(r));
  json.end_object();
  return out;
}

std::string to_text(LoadReport const& r) {
  std::string out;
  append_format(out, "%s: %u connections", std::string(name_of(r.mode)).c_str(), r.connections);
  if (r.mode == LoadMode::echo || r.mode == LoadMode::fanout) {
    if (r.rate > 0) {
      append_format(out, ", open loop at %.0f messages/s", r.rate);
    } else {
      append_format(out, ", closed loop with %u in flight", r.in_flight);
    }
    append_format(out, ", %llu bytes", whole(r.size));
  }
  append_format(out, ", %.2f s%s\n", r.duration_s, r.interrupted ? " (interrupted)" : "");
  if (r.mode != LoadMode::idle && r.mode != LoadMode::churn) {
    append_format(out, "messages    %14llu  %14.0f /s\n", whole(r.messages),
                  r.per_second(r.messages));
  }
  if (r.mode == LoadMode::fanout || r.deliveries != r.messages) {
    append_format(out, "deliveries  %14llu  %14.0f /s\n", whole(r.deliveries),
                  r.per_second(r.deliveries));
  }
  append_format(out, "handshakes  %14llu  %14.0f /s   open at the end %llu\n", whole(r.handshakes),
                r.handshakes_per_s, whole(r.open));
  if (r.latency.count > 0) {
    append_format(out, "latency us  p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f  (%s)\n",
                  r.latency.p50, r.latency.p90, r.latency.p99, r.latency.p999, r.latency.max,
                  r.coordinated_omission_corrected ? "from the scheduled time" : "from sending");
  }
  append_format(out, "payload     %14.2f MB/s   generator: %.0f %% of a core, %.3f us each\n",
                r.per_second(r.payload_bytes) / 1e6, 100 * cpu_share(r), cpu_us_each(r));
  append_format(out,
                "errors      connect %llu, handshake %llu, protocol %llu, closed %llu, "
                "mismatch %llu, unanswered %llu\n",
                whole(r.errors.connect), whole(r.errors.handshake), whole(r.errors.protocol),
                whole(r.errors.closed), whole(r.errors.mismatch), whole(r.errors.unanswered));
  return out;
}

}  // namespace wscope::cli
