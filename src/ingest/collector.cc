#include "ingest/collector.h"

namespace wscope::ingest {

base::Result<std::unique_ptr<Collector>> Collector::make(base::Clock const& clock,
                                                         telemetry::Registry& registry) {
  WSCOPE_TRY(dropped, registry.counter({.name = "wscope_log_sink_dropped_lines_total",
                                        .help = "Log lines that a sink could not write, by sink.",
                                        .unit = {},
                                        .labels = {"sink"}}));
  WSCOPE_TRY(ticks, registry.counter({.name = "wscope_collector_ticks_total",
                                      .help = "Rounds of the collector.",
                                      .unit = {},
                                      .labels = {}}));
  return std::unique_ptr<Collector>(new Collector(clock, registry, *dropped, *ticks));
}

Collector::Collector(base::Clock const& clock, telemetry::Registry& registry,
                     telemetry::CounterFamily& dropped, telemetry::CounterFamily& ticks)
    : clock_(clock),
      shard_(registry.shard("collector")),
      dropped_(dropped),
      ticks_(ticks.on(shard_)) {}

Collector::~Collector() { stop(); }

void Collector::add(telemetry::LogShard& shard) {
  parts_.with([&](Parts& parts) { parts.logs.push_back(&shard); });
}

void Collector::add(telemetry::TraceShard& shard) {
  parts_.with([&](Parts& parts) { parts.traces.push_back(&shard); });
}

void Collector::add(telemetry::LogSink& sink) {
  auto const counter = dropped_.on(shard_, {sink.name()});
  parts_.with([&](Parts& parts) { parts.sinks.push_back({&sink, counter, sink.lines_dropped()}); });
}

void Collector::set_receiver(telemetry::SpanReceiver& receiver) {
  parts_.with([&](Parts& parts) { parts.receiver = &receiver; });
}

void Collector::on_second(std::function<void(int64_t)> call) {
  parts_.with([&](Parts& parts) { parts.on_second.push_back(std::move(call)); });
}

void Collector::start() {
  thread_ = runtime::Thread("collector", [this] {
    while (!stopping_.up()) {
      wake_.wait(kTickNs);
      tick();
    }
  });
}

void Collector::stop() {
  if (!thread_.running()) return;
  stopping_.raise();
  wake_.raise();
  thread_.join();
  tick();  // what was published while the thread took its last round
}

void Collector::tick() {
  parts_.with([&](Parts& parts) { drain(parts); });
  ticks_.add();
  int64_t const now_ns = clock_.steady_ns();
  if (now_ns < next_second_ns_) return;
  next_second_ns_ = now_ns + base::kSecond;
  // Without the lock, so that a function may add parts.
  auto const calls = parts_.with([](Parts const& parts) { return parts.on_second; });
  for (auto const& call : calls) call(clock_.unix_ns());
}

void Collector::drain(Parts& parts) {
  for (telemetry::LogShard* const shard : parts.logs) {
    shard->drain([&](std::string_view lines) {
      for (Parts::Sink const& sink : parts.sinks) sink.sink->write(lines);
    });
  }
  for (Parts::Sink& sink : parts.sinks) {
    sink.sink->flush();
    uint64_t const dropped = sink.sink->lines_dropped();
    sink.dropped.add(dropped - sink.dropped_before);
    sink.dropped_before = dropped;
  }
  struct Nobody final : telemetry::SpanReceiver {
    void take(std::span<telemetry::SpanRecord const>) override {}
    void take(std::unique_ptr<model::Span>) override {}
  };
  Nobody nobody;
  telemetry::SpanReceiver& receiver = parts.receiver != nullptr ? *parts.receiver : nobody;
  for (telemetry::TraceShard* const shard : parts.traces) shard->drain(receiver);
}

}  // namespace wscope::ingest
