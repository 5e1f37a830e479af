#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/config.h"
#include "app/figures.h"
#include "app/observer.h"
#include "base/clock.h"
#include "gateway/gateway.h"
#include "ingest/collector.h"
#include "net/http_client.h"
#include "telemetry/log_sinks.h"
#include "telemetry/span_exporter.h"

namespace wscope::app {

// The whole program: owns the subsystems in the order in which they start, so that they end in the
// reverse one.
//
// Thread: main.
class Program {
 public:
  // Starts everything. An error names the setting to change.
  static base::Result<std::unique_ptr<Program>> start(Config const& config);
  ~Program();

  // Five lines on standard output: what is where.
  void say_where() const;
  // Takes a new configuration, or says why the old one stays.
  void reload(base::Result<Config> next);
  // Stops accepting, closes connections over the configured window, and writes what is left.
  void drain();

 private:
  explicit Program(Config const& config);
  base::Status start_logs();
  base::Status start_traces();
  base::Status start_gateway();
  base::Status start_observer();
  api::ObserverSources sources();
  void apply_levels(LogConfig const& log);
  void second(int64_t unix_ns);
  void give_back_memory(uint64_t sockets);
  void log(telemetry::Level level, telemetry::LogSite const& site, std::string_view message,
           std::initializer_list<telemetry::LogField> fields = {});
  std::string uptime_path() const;

  Config config_;
  base::RealClock clock_;
  telemetry::Registry registry_{clock_};
  telemetry::Loggers loggers_;
  std::unique_ptr<ingest::Collector> collector_;
  std::vector<std::unique_ptr<telemetry::LogSink>> sinks_;
  telemetry::LogShard::Families log_families_;
  std::unique_ptr<telemetry::LogShard> log_;  // main's own
  telemetry::SpanFamilies span_families_;
  std::unique_ptr<net::HttpClient> otlp_client_;
  std::unique_ptr<telemetry::SpanExporter> exporter_;
  struct LoopShards {
    telemetry::Shard* metrics;
    std::unique_ptr<telemetry::LogShard> log;
    std::unique_ptr<telemetry::TraceShard> traces;
  };
  std::vector<LoopShards> loops_;
  std::unique_ptr<gateway::Gateway> gateway_;
  telemetry::Histogram session_seconds_;  // collector's
  std::unique_ptr<Figures> figures_;
  std::unique_ptr<Observer> observer_;
  std::string edge_address_;
  int64_t uptime_saved_ns_ = 0;
  uint64_t sockets_peak_ = 0;  // since memory was given back last
  bool stopped_ = false;
};

}  // namespace wscope::app
