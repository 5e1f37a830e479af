#include "app/program.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "app/session_rows.h"
#include "app/version.h"
#include "base/files.h"
#include "net/address.h"
#include "telemetry/exposition.h"

namespace wscope::app {

using telemetry::Level;
using telemetry::LogShard;
using telemetry::TraceShard;

namespace {

constexpr uint64_t kTrimSockets = 500;  // fewer do not hold enough to matter
constexpr int64_t kUptimeSaveNs = 60 * base::kSecond;

// Cores that this process may run on, less one for the rest of the program, at least one.
size_t default_loops() {
  long const cores = ::sysconf(_SC_NPROCESSORS_ONLN);
  return cores > 2 ? static_cast<size_t>(cores - 1) : 1;
}

constexpr size_t kRowsMax = 100'000;

std::string trace_url(std::string const& otlp) {
  auto const url = net::parse_url(otlp);
  return url && url->path == "/" ? otlp.substr(0, otlp.find_last_not_of('/') + 1) + "/v1/traces"
                                 : otlp;
}

// The address that could not be taken, and every way to choose another.
base::Error taken(base::Error error, std::string_view key, std::string_view flag,
                  std::string_view variable, std::string const& address) {
  if (error.code == base::Errc::exists) error.what = address + " is taken by another program";
  error.what = std::string(key) + ": " + error.what + "; choose another address with " +
               std::string(flag) + " ADDR:PORT, " + std::string(variable) + " or " +
               std::string(key) + " in the configuration file";
  return error;
}

}  // namespace

Program::Program(Config const& config) : config_(config) {
  if (config_.loops == 0) config_.loops = default_loops();
}

base::Result<std::unique_ptr<Program>> Program::start(Config const& config) {
  auto program = std::unique_ptr<Program>(new Program(config));
  WSCOPE_TRY_STATUS(base::make_folders(config.data));
  WSCOPE_TRY_STATUS(program->start_logs());
  WSCOPE_TRY_STATUS(program->start_traces());
  WSCOPE_TRY_STATUS(program->start_gateway());
  WSCOPE_TRY_STATUS(program->start_observer());
  return program;
}

base::Status Program::start_logs() {
  WSCOPE_TRY(collector, ingest::Collector::make(clock_, registry_));
  collector_ = std::move(collector);
  apply_levels(config_.log);
  if (config_.log.console) sinks_.push_back(std::make_unique<telemetry::ConsoleSink>());
  if (std::string const path = config_.log_path(); !path.empty()) {
    WSCOPE_TRY(file, telemetry::RotatingFileSink::open(
                         clock_, {.path = path,
                                  .bytes_max = config_.log.max_bytes,
                                  .backups = static_cast<int>(config_.log.backups)}));
    sinks_.push_back(std::move(file));
  }
  for (auto& sink : sinks_) collector_->add(*sink);
  WSCOPE_TRY(families, LogShard::families(registry_));
  log_families_ = families;
  WSCOPE_TRY(shard, LogShard::make(loggers_, log_families_, registry_.shard("main"),
                                   collector_->wake(), LogShard::kThreadBytes));
  log_ = std::move(shard);
  collector_->add(*log_);
  return {};
}

base::Status Program::start_traces() {
  WSCOPE_TRY(families, telemetry::span_families(registry_));
  span_families_ = families;
  if (config_.trace.otlp.empty() || !config_.telemetry) return {};
  otlp_client_ = std::make_unique<net::HttpClient>(
      clock_,
      net::HttpClientOptions{.ca_file = config_.trace.ca, .proxy = "", .user_agent = "wscope"});
  char host[256] = "";
  (void)::gethostname(host, sizeof host - 1);
  telemetry::ExporterOptions options;
  options.encoding =
      config_.trace.encoding == "json" ? telemetry::Encoding::json : telemetry::Encoding::protobuf;
  options.resource = {.service_name = "wscope",
                      .service_version = std::string(version()),
                      .instance_id = base::Rng().uuid(),
                      .host_name = host};
  options.queue_spans = config_.trace.queue_max;
  options.spans_per_second = config_.trace.spans_per_second;
  exporter_ = std::make_unique<telemetry::SpanExporter>(
      clock_, options, span_families_, registry_.shard("exporter"),
      [this, url = trace_url(config_.trace.otlp)](std::string const& body,
                                                  std::string_view content_type, bool gzip) {
        net::HttpRequest request{.url = url, .method = "POST", .headers = {}, .body = body};
        request.headers.emplace_back("Content-Type", content_type);
        if (gzip) request.headers.emplace_back("Content-Encoding", "gzip");
        auto reply = otlp_client_->post(request);
        if (!reply) {
          return telemetry::HttpOutcome{
              .status = 0, .retry_after = {}, .body = {}, .error = reply.error().what};
        }
        return telemetry::HttpOutcome{.status = reply->status,
                                      .retry_after = std::string(reply->header("retry-after")),
                                      .body = std::move(reply->body),
                                      .error = {}};
      });
  collector_->set_receiver(*exporter_);
  exporter_->start();
  return {};
}

base::Status Program::start_gateway() {
  telemetry::SamplingOptions const sampling{.active = exporter_ != nullptr,
                                            .ratio = config_.trace.ratio,
                                            .slow_ns = config_.trace.slow_ns};
  std::vector<gateway::Gateway::LoopWriters> writers;
  for (size_t i = 0; i < config_.loops; ++i) {
    LoopShards shards;
    shards.metrics = &registry_.shard("loop " + std::to_string(i));
    WSCOPE_TRY(log, LogShard::make(loggers_, log_families_, *shards.metrics, collector_->wake(),
                                   LogShard::kLoopBytes));
    shards.log = std::move(log);
    shards.traces = std::make_unique<TraceShard>(
        sampling, span_families_.dropped->on(*shards.metrics, {"ring_full"}), collector_->wake());
    collector_->add(*shards.log);
    collector_->add(*shards.traces);
    loops_.push_back(std::move(shards));
    writers.push_back({*loops_.back().metrics, *loops_.back().log, *loops_.back().traces});
  }
  gateway::Gateway::Options const options{.loops = config_.loops,
                                          .telemetry_on = config_.telemetry};
  WSCOPE_TRY(made, gateway::Gateway::make(clock_, config_.gateway, options, registry_, loggers_,
                                          std::move(writers)));
  gateway_ = std::move(made);
  auto address = gateway_->start();
  if (!address) {
    return std::unexpected(taken(address.error(), "gateway.listen", "--listen",
                                 "WSCOPE_GATEWAY_LISTEN", config_.gateway.listen));
  }
  edge_address_ = *address;
  return {};
}

base::Status Program::start_observer() {
  auto observer = Observer::start(clock_, config_.observer);
  if (!observer) {
    return std::unexpected(taken(observer.error(), "observer.listen", "--observer",
                                 "WSCOPE_OBSERVER_LISTEN", config_.observer.listen));
  }
  observer_ = std::move(*observer);
  figures_ = std::make_unique<Figures>(clock_, registry_);
  if (auto const kept = base::read_file(uptime_path()); kept) {
    if (auto const restored = figures_->restore_uptime(*kept); !restored) {
      log(Level::warning, WSCOPE_SITE("program"), "kept uptime could not be read; it starts anew",
          {{"path", uptime_path()}, {"reason", restored.error().what}});
    }
  }
  api::StatusFacts facts;
  facts.version = version();
  facts.started_unix_ns = clock_.unix_ns();
  facts.loops = config_.loops;
  facts.edge = (config_.gateway.tls.enabled() ? "https://" : "http://") + edge_address_;
  facts.observer = (config_.observer.tls.enabled() ? "https://" : "http://") + observer_->address();
  facts.upstream = config_.gateway.upstream;
  // The first scrape already finds memory and CPU.
  api::StatusSample first = figures_->second(clock_.unix_ns(), true, 0, 0);
  observer_->serve(std::move(facts), sources());
  observer_->board()->push(std::move(first));
  telemetry::Shard& shard = registry_.shard("collector figures");
  auto const sessions = registry_.histogram({.name = "wscope_collector_second_seconds",
                                             .help = "What the once-a-second figures cost.",
                                             .unit = "seconds",
                                             .labels = {}},
                                            {.bounds = {0.0001, 0.001, 0.01, 0.1, 1}});
  if (!sessions) return std::unexpected(sessions.error());
  session_seconds_ = gateway_->session_histogram(shard);
  auto cost = (*sessions)->on(shard);
  collector_->on_second([this, cost](int64_t unix_ns) mutable {
    int64_t const started = clock_.steady_ns();
    second(unix_ns);
    cost.observe(static_cast<double>(clock_.steady_ns() - started) * 1e-9);
  });
  collector_->start();
  log(Level::info, WSCOPE_SITE("program"), "started",
      {{"version", version()},
       {"listen", edge_address_},
       {"observer", observer_->address()},
       {"upstream", config_.gateway.upstream}});
  return {};
}

void Program::second(int64_t unix_ns) {
  gateway_->on_second(unix_ns, session_seconds_);
  observer_->board()->push(figures_->second(unix_ns, !gateway_->draining(),
                                            gateway_->open_connections(), gateway_->sessions()));
  give_back_memory(gateway_->sockets());
  if (clock_.steady_ns() - uptime_saved_ns_ > kUptimeSaveNs) {
    uptime_saved_ns_ = clock_.steady_ns();
    (void)base::write_file_atomic(uptime_path(), figures_->uptime_text());
  }
}

// The allocator keeps what connections held, scattered between what still lives; when most of them
// have gone the pages go back to the system.
void Program::give_back_memory(uint64_t sockets) {
  sockets_peak_ = std::max(sockets_peak_, sockets);
  if (sockets_peak_ < kTrimSockets || sockets > sockets_peak_ / 2) return;
  sockets_peak_ = sockets;
  (void)::malloc_trim(0);
}

std::string Program::uptime_path() const { return config_.data + "/uptime"; }

api::ObserverSources Program::sources() {
  api::ObserverSources s;
  s.metrics = [this](std::string_view accept) {
    telemetry::Negotiated const chosen = telemetry::negotiate(accept, {});
    api::MetricsBody body{std::string(chosen.content_type), {}};
    telemetry::expose(registry_, chosen.format, body.body);
    return body;
  };
  s.readiness = [this] {
    return gateway_->draining() ? api::Readiness{false, {"draining"}} : api::Readiness{};
  };
  s.loggers.list = [this] {
    std::vector<api::LoggerRow> rows;
    for (auto const& entry : loggers_.list()) {
      rows.push_back({entry.name, std::string(telemetry::level_name(entry.level))});
    }
    return rows;
  };
  s.loggers.set = [this](std::string_view name, std::string_view text) -> base::Status {
    auto const level = telemetry::parse_level(text);
    if (!level) {
      return base::fail(base::Errc::invalid,
                        "level: expected DEBUG, INFO, WARNING, ERROR or "
                        "CRITICAL, found '" +
                            std::string(text) + "'");
    }
    return loggers_.set_level(name, *level);
  };
  s.config = [this] { return to_yaml(config_); };
  s.sessions = [this](size_t offset, size_t limit, api::SessionDone const& done) {
    gateway_->rows(kRowsMax,
                   [this, offset, limit, done](std::vector<gateway::ConnectionRow> const& rows) {
                     done(session_page(rows, gateway_->session_rows(kRowsMax), offset, limit));
                   });
  };
  return s;
}

void Program::apply_levels(LogConfig const& log) {
  auto const set = [this](std::string_view name, std::string_view text) {
    if (auto const level = telemetry::parse_level(text)) (void)loggers_.set_level(name, *level);
  };
  for (auto const& entry : loggers_.list()) {
    // One line a message is asked for by name only, never by a general DEBUG.
    bool const message = entry.name == "websocket.message" && log.level == "DEBUG";
    set(entry.name, message ? "INFO" : log.level);
  }
  for (auto const& [name, level] : log.loggers) set(name, level);
}

void Program::log(Level level, telemetry::LogSite const& site, std::string_view message,
                  std::initializer_list<telemetry::LogField> fields) {
  log_->log(telemetry::kLogWscope, level, site, clock_.unix_ns(), message, {}, fields);
  log_->publish();
}

void Program::say_where() const {
  std::string const scheme = config_.gateway.tls.enabled() ? "s://" : "://";
  std::string const service = config_.gateway.upstream.empty()
                                  ? "built-in rooms and echo: ws" + scheme + edge_address_ +
                                        "/ws/{room}, ws" + scheme + edge_address_ + "/echo"
                                  : "http" + scheme + edge_address_ + " -> " +
                                        config_.gateway.upstream +
                                        " (WebSocket and HTTP, all paths)";
  std::string const web =
      (config_.observer.tls.enabled() ? "https://" : "http://") + observer_->address();
  std::string const file = config_.log_path();
  std::printf("wscope %s\n", std::string(version()).c_str());
  std::printf("  service   %s\n", service.c_str());
  std::printf("  page      %s/   health %s/healthz\n", web.c_str(), web.c_str());
  std::printf("  metrics   %s/metrics   sessions %s/api/v1/sessions\n", web.c_str(), web.c_str());
  std::printf("  logs      %s   traces %s\n", file.empty() ? "console only" : file.c_str(),
              config_.trace.otlp.empty() ? "off (--otlp URL)" : config_.trace.otlp.c_str());
  std::fflush(stdout);
}

void Program::reload(base::Result<Config> next) {
  base::Status const taken_over =
      next ? gateway_->reload(next->gateway) : base::Status(std::unexpected(next.error()));
  if (!taken_over) {
    std::fprintf(stderr, "wscope: reload refused, the old configuration stays:\n%s\n",
                 taken_over.error().what.c_str());
    log(Level::error, WSCOPE_SITE("program"), "reload refused, the old configuration stays",
        {{"reason", taken_over.error().what}});
    return;
  }
  if (auto const certificate = observer_->reload_tls(); !certificate) {
    log(Level::error, WSCOPE_SITE("program"), "observer keeps its old certificate",
        {{"reason", certificate.error().what}});
  }
  apply_levels(next->log);
  config_.gateway = next->gateway;
  config_.log.level = next->log.level;
  config_.log.loggers = next->log.loggers;
  log(Level::info, WSCOPE_SITE("program"), "configuration reloaded");
}

void Program::drain() {
  log(Level::info, WSCOPE_SITE("program"), "draining",
      {{"connections", gateway_->open_connections()}});
  gateway_->drain();
}

Program::~Program() {
  if (gateway_) gateway_->stop();
  if (!collector_) return;
  if (log_) log(Level::info, WSCOPE_SITE("program"), "stopped");
  for (LoopShards& shards : loops_) {
    shards.log->publish();
    shards.traces->publish();
  }
  collector_->stop();
  observer_.reset();
  if (exporter_) exporter_->stop();
  if (figures_) (void)base::write_file_atomic(uptime_path(), figures_->uptime_text());
}

}  // namespace wscope::app
