#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "runtime/cells.h"
#include "runtime/sync.h"
#include "telemetry/log_sinks.h"
#include "telemetry/logs.h"
#include "telemetry/registry.h"
#include "telemetry/traces.h"

namespace wscope::ingest {

// The one thread that takes what the loops wrote: every 100 ms, or earlier when wake() is raised,
// it drains all log rings into the sinks and all span rings into the receiver; once a second it
// calls the functions that derive figures from cells. Own figures:
// wscope_log_sink_dropped_lines_total{sink}, wscope_collector_ticks_total.
//
// Thread: any for add_*; start() and stop() main; on_second functions run on the collector.
class Collector {
 public:
  static constexpr int64_t kTickNs = 100 * base::kMilli;

  // Borrows both. Returns exists if the registry already has a collector.
  static base::Result<std::unique_ptr<Collector>> make(base::Clock const& clock,
                                                       telemetry::Registry& registry);
  ~Collector();

  // For LogShard and TraceShard.
  runtime::Signal& wake() { return wake_; }

  // All are borrowed and outlive the collector's stop().
  void add(telemetry::LogShard& shard);
  void add(telemetry::TraceShard& shard);
  void add(telemetry::LogSink& sink);
  // Without a receiver spans are dropped on the floor: set one before loops record.
  void set_receiver(telemetry::SpanReceiver& receiver);
  // `call(unix_ns)` about once a second.
  void on_second(std::function<void(int64_t)> call);

  void start();
  // Drains everything a last time and joins. The writers have published and stopped before.
  void stop();

  // One round, as the thread does it. For tests, and for stop().
  void tick();

 private:
  struct Parts {
    std::vector<telemetry::LogShard*> logs;
    std::vector<telemetry::TraceShard*> traces;
    struct Sink {
      telemetry::LogSink* sink;
      telemetry::Counter dropped;
      uint64_t dropped_before;
    };
    std::vector<Sink> sinks;
    telemetry::SpanReceiver* receiver = nullptr;
    std::vector<std::function<void(int64_t)>> on_second;
  };
  Collector(base::Clock const& clock, telemetry::Registry& registry,
            telemetry::CounterFamily& dropped, telemetry::CounterFamily& ticks);
  void drain(Parts& parts);

  base::Clock const& clock_;
  telemetry::Shard& shard_;
  telemetry::CounterFamily& dropped_;
  telemetry::Counter ticks_;
  runtime::Guarded<Parts> parts_;
  runtime::Signal wake_;
  runtime::Flag stopping_;
  int64_t next_second_ns_ = 0;  // collector only
  runtime::Thread thread_;
};

}  // namespace wscope::ingest
