// What the telemetry of one message costs on the loop's thread. The *_two_threads rows have one
// owner a thread, as loops do.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "telemetry/exposition.h"
#include "telemetry/logs.h"
#include "telemetry/registry.h"
#include "telemetry/traces.h"

namespace wscope::telemetry {
namespace {

base::RealClock const clock;

// Values that fall into all ten buckets alike; a fixed sequence, so every run does the same work.
class Values {
 public:
  double next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return kSpread[state_ >> 60];
  }

 private:
  static constexpr double kSpread[16] = {0.0005, 0.003, 0.007, 0.02,  0.03,  0.07, 0.2,   0.3,
                                         0.7,    1.5,   3.0,   0.002, 0.008, 0.04, 0.006, 0.0009};
  uint64_t state_ = 1;
};

// One registry; a shard per benchmark thread.
struct Fixture {
  Registry registry{clock};
  CounterFamily& counters;
  HistogramFamily& histograms;
  HistogramFamily& natives;

  static Fixture& get() {
    static Fixture fixture;
    return fixture;
  }

 private:
  static HistogramOptions bounds(bool native) {
    return {.bounds = {0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5},
            .native = native};
  }
  Fixture()
      : counters(**registry.counter({.name = "messages_total", .help = "M.", .labels = {"route"}})),
        histograms(**registry.histogram(
            {.name = "a_seconds", .help = "S.", .unit = "seconds", .labels = {}}, bounds(false))),
        natives(**registry.histogram(
            {.name = "b_seconds", .help = "S.", .unit = "seconds", .labels = {}}, bounds(true))) {}
};

void counter_add(benchmark::State& state) {
  Counter counter = Fixture::get().counters.on(Fixture::get().registry.shard("bench"), {"/ws"});
  for (auto _ : state) {
    counter.add();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(counter_add);
BENCHMARK(counter_add)->Name("counter_add_two_threads")->Threads(2);

void observe(benchmark::State& state, Histogram histogram) {
  Values values;
  for (auto _ : state) histogram.observe(values.next());
}

void histogram_observe_10(benchmark::State& state) {
  observe(state, Fixture::get().histograms.on(Fixture::get().registry.shard("bench")));
}
BENCHMARK(histogram_observe_10);
BENCHMARK(histogram_observe_10)->Name("histogram_observe_10_two_threads")->Threads(2);

void histogram_observe_native(benchmark::State& state) {
  observe(state, Fixture::get().natives.on(Fixture::get().registry.shard("bench")));
}
BENCHMARK(histogram_observe_native);

std::unique_ptr<model::ConnectionInfo> connection() {
  base::Rng rng(1);
  return model::ConnectionInfo::make({.id = 123456,
                                      .correlation_id = "7d3f9c1e-0f5b-4a7e-9a51-6a2f0c9d8e11",
                                      .session_id = "k3v9x0q2m5c7b1n8z4l6p0s2d4f6g8h1",
                                      .route = "/ws/{room}",
                                      .room = "lobby",
                                      .client = "127.0.0.1:53210",
                                      .trace = rng.trace_id(),
                                      .handshake_span = rng.span_id(),
                                      .sampled = true,
                                      .opened_unix_ns = clock.unix_ns()});
}

struct Nobody final : SpanReceiver {
  void take(std::span<SpanRecord const> records) override {
    benchmark::DoNotOptimize(records.data());
  }
  void take(std::unique_ptr<model::Span>) override {}
};

// Ids drawn, record filled and pushed; the ring is emptied once in 1,000 as at a turn's end.
void span_record(benchmark::State& state) {
  auto& fixture = Fixture::get();
  runtime::Signal wake;
  TraceShard shard({.active = true}, fixture.counters.on(fixture.registry.shard("bench"), {"drop"}),
                   wake, 4096);
  auto const info = connection();
  int64_t const now = clock.unix_ns();
  Nobody nobody;
  uint32_t sequence = 0;
  for (auto _ : state) {
    bool const sampled = shard.sample();
    if (shard.keep(sampled, 1500, false)) {
      SpanRecord record;
      record.connection = info.get();
      record.trace = shard.new_trace();
      record.span = shard.new_span();
      record.start_unix_ns = now;
      record.set_duration_ns(1500);
      record.size = 32;
      record.wire_size = 38;
      record.sequence = ++sequence;
      shard.record(record);
    }
    if (sequence % 1024 == 0) {
      shard.publish();
      shard.drain(nobody);
    }
  }
}
BENCHMARK(span_record);

void json_log_line(benchmark::State& state) {
  Registry registry(clock);
  Loggers loggers;
  if (!loggers.set_level("websocket.message", Level::debug)) state.SkipWithError("no logger");
  auto const families = LogShard::families(registry);
  runtime::Signal wake;
  auto const shard =
      LogShard::make(loggers, *families, registry.shard("bench"), wake, LogShard::kLoopBytes);
  PreparedMessage const prepared(loggers, kLogMessage, Level::debug, WSCOPE_SITE("gateway"),
                                 "message");
  auto const info = connection();
  base::Rng rng(2);
  MessageLine line{.connection = info.get(),
                   .trace = rng.trace_id(),
                   .span = rng.span_id(),
                   .unix_ns = clock.unix_ns(),
                   .size = 32,
                   .wire = 38};
  uint64_t bytes = 0;
  for (auto _ : state) {
    ++line.sequence;
    if ((*shard)->enabled(kLogMessage, Level::debug)) (*shard)->message_line(prepared, line);
    if (line.sequence % 64 == 0) {
      line.unix_ns += 40'000;
      (*shard)->publish();
    }
    if (line.sequence % 4096 == 0) {
      bytes += (*shard)->drain([](std::string_view lines) { benchmark::DoNotOptimize(lines); });
    }
  }
  if ((*shard)->dropped(Level::debug) != 0) state.SkipWithError("lines were dropped");
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
}
BENCHMARK(json_log_line);

// 10,000 series in ten families with two labels each, as one scrape reads them.
void exposition_text_10000(benchmark::State& state) {
  Registry registry(clock);
  Shard& shard = registry.shard("bench");
  for (int family = 0; family < 10; ++family) {
    auto const gauges = registry.gauge({.name = "family_" + std::to_string(family),
                                        .help = "A family.",

                                        .labels = {"route", "direction"}});
    for (int series = 0; series < 1000; ++series) {
      (*gauges)->on(shard, {"/ws/" + std::to_string(series), "in"}).set(series * 1.5);
    }
  }
  size_t size = 0;
  for (auto _ : state) {
    std::string text;
    expose(registry, Format::text004, text);
    benchmark::DoNotOptimize(text.data());
    size = text.size();
  }
  state.counters["bytes"] = static_cast<double>(size);
}
BENCHMARK(exposition_text_10000);

}  // namespace
}  // namespace wscope::telemetry
