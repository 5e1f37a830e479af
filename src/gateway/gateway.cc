#include "gateway/gateway.h"

#include <unistd.h>

#include <array>

#include "gateway/edge.h"
#include "net/address.h"
#include "net/socket.h"

namespace wscope::gateway {

namespace {

constexpr std::string_view kServedRoutes[] = {"/ws/{room}", "/echo"};

}  // namespace

// A loop, its thread and its edge; destroyed in the reverse order.
struct Gateway::Lane {
  explicit Lane(base::Clock const& clock) : loop(clock) {}

  // Once a second on the loop.
  class Second final : public runtime::Timer {
   public:
    explicit Second(Lane& lane) : lane_(lane) {}

   private:
    void on_timer() noexcept override {
      lane_.edge->on_second();
      lane_.loop.arm(*this, base::kSecond);
    }
    Lane& lane_;
  };

  runtime::Loop loop;
  std::unique_ptr<Edge> edge;
  Second second{*this};
  runtime::Thread thread;
};

Gateway::Gateway(Options const& options) : options_(options) {}

Gateway::~Gateway() { stop(); }

base::Result<std::shared_ptr<Settings const>> Gateway::settings_of(Config config) {
  auto settings = std::make_shared<Settings>();
  settings->limits = {.message_bytes = config.message_limit,
                      .fragments = static_cast<uint32_t>(config.fragments_max),
                      .inflation_ratio = net::ws::ReadLimits{}.inflation_ratio};
  settings->head_limits.bytes = config.head_limit;
  if (!config.upstream.empty()) {
    WSCOPE_TRY(url, net::parse_url(config.upstream));
    auto upstream = std::make_unique<Upstream>();
    WSCOPE_TRY(address, net::resolve(url.host, url.port));
    upstream->address = address;
    upstream->host = url.host;
    upstream->text = net::to_text(address);
    if (url.secure()) {
      WSCOPE_TRY(tls, net::TlsContext::client(config.upstream_ca));
      upstream->tls = std::move(tls);
    }
    settings->upstream = std::move(upstream);
  }
  settings->config = std::move(config);
  return std::shared_ptr<Settings const>(std::move(settings));
}

base::Result<std::unique_ptr<Gateway>> Gateway::make(base::Clock const& clock, Config config,
                                                     Options const& options,
                                                     telemetry::Registry& registry,
                                                     telemetry::Loggers& loggers,
                                                     std::vector<LoopWriters> writers) {
  WSCOPE_CHECK(writers.size() == options.loops && options.loops > 0);
  std::unique_ptr<net::TlsContext> tls;
  if (config.tls.enabled()) {
    WSCOPE_TRY(made, net::TlsContext::server(config.tls.cert, config.tls.key));
    tls = std::move(made);
  }
  WSCOPE_TRY(settings, settings_of(std::move(config)));
  auto gateway = std::unique_ptr<Gateway>(new Gateway(options));
  bool const served = settings->upstream == nullptr;
  gateway->shared_ =
      std::make_shared<Shared>(registry, settings,
                               served ? std::span<std::string_view const>(kServedRoutes)
                                      : std::span<std::string_view const>());
  Shared& shared = *gateway->shared_;
  shared.tls = std::move(tls);
  shared.loggers = &loggers;
  shared.telemetry_on = options.telemetry_on;
  auto const sessions = registry.gauge_callback(
      {.name = "app_sessions_tracked",
       .help = "Sessions connected or within their grace time.",
       .unit = "",
       .labels = {}},
      [all = gateway->shared_] {
        return static_cast<double>(all->sessions.count() + all->totals.keyless.read());
      });
  WSCOPE_CHECK(sessions.has_value());
  std::vector<Edge*> edges;
  for (LoopWriters& writer : writers) {
    auto lane = std::make_unique<Lane>(clock);
    lane->edge = std::make_unique<Edge>(lane->loop, shared,
                                        LoopTelemetry{writer.metrics, writer.log, writer.traces});
    edges.push_back(lane->edge.get());
    gateway->edges_.push_back(std::move(lane));
  }
  for (Edge* edge : edges) {
    std::vector<Edge*> peers = edges;
    std::erase(peers, edge);
    edge->set_peers(std::move(peers));
  }
  return gateway;
}

base::Result<std::string> Gateway::start() {
  std::string const listen = shared_->settings.get()->config.listen;
  WSCOPE_TRY(address, net::parse_address(listen));
  bool const shared_port = edges_.size() > 1;
  if (shared_port && net::port_of(address) != 0) {
    // A socket that shares its port would also share it with another program that does, and each
    // would get half of the connections; one that does not share tells.
    WSCOPE_TRY(probe, net::listen_on(address, false));
    ::close(probe);
  }
  for (auto& lane : edges_) {
    WSCOPE_TRY(bound, lane->edge->listen(address, shared_port));
    address = bound;  // port 0: the first loop's choice is everyone's
  }
  for (size_t i = 0; i < edges_.size(); ++i) {
    Lane& lane = *edges_[i];
    lane.loop.arm(lane.second, base::kSecond);
    lane.thread = runtime::Thread("loop-" + std::to_string(i), [&lane] { lane.loop.run(); });
  }
  return net::to_text(address);
}

base::Status Gateway::reload(Config config) {
  auto const now = shared_->settings.get();
  if (config.listen != now->config.listen) {
    return base::fail(base::Errc::invalid, "gateway.listen: can not change while running (" +
                                               now->config.listen + " to " + config.listen +
                                               "); restart to move it");
  }
  WSCOPE_TRY(next, settings_of(std::move(config)));
  if (shared_->tls) WSCOPE_TRY_STATUS(shared_->tls->reload());
  shared_->sessions.set_grace(next->config.session.grace_ns);
  shared_->settings.set(next);
  for (auto& lane : edges_) {
    lane->loop.post([edge = lane->edge.get()] { edge->reload(); });
  }
  return {};
}

void Gateway::drain() {
  draining_.raise();
  int64_t const window = shared_->settings.get()->config.drain_ns;
  for (auto& lane : edges_) {
    lane->loop.post([edge = lane->edge.get(), window] { edge->drain(window); });
  }
  if (edges_.empty()) return;
  runtime::Signal tick;
  base::Clock const& clock = edges_.front()->loop.clock();
  int64_t const until = clock.steady_ns() + window + 5 * base::kSecond;
  while (sockets() > 0 && clock.steady_ns() < until) (void)tick.wait(20 * base::kMilli);
}

void Gateway::stop() {
  for (auto& lane : edges_) {
    if (!lane->thread.running()) continue;
    lane->loop.post([edge = lane->edge.get()] { edge->close_all(); });
    lane->loop.stop();
  }
  for (auto& lane : edges_) lane->thread.join();
}

void Gateway::on_second(int64_t unix_ns, telemetry::Histogram durations) {
  for (int64_t const lasted : shared_->sessions.expire(unix_ns)) {
    durations.observe(static_cast<double>(lasted) * 1e-9);
  }
}

telemetry::Histogram Gateway::session_histogram(telemetry::Shard& shard) {
  return shared_->families.session_seconds.on(shard);
}

std::vector<SessionRow> Gateway::session_rows(size_t limit) const {
  return shared_->sessions.rows(0, limit);
}

uint64_t Gateway::open_connections() const { return shared_->totals.open.read(); }

uint64_t Gateway::sessions() const {
  return shared_->sessions.count() + shared_->totals.keyless.read();
}

uint64_t Gateway::sockets() const { return shared_->totals.connections.read(); }

uint64_t Gateway::busy_ns() const {
  uint64_t total = 0;
  for (auto const& lane : edges_) total += lane->loop.busy_ns();
  return total;
}

void Gateway::rows(size_t limit, std::function<void(std::vector<ConnectionRow>)> done) {
  struct Gathering {
    std::vector<ConnectionRow> rows;
    size_t left;
  };
  auto gathering = std::make_shared<runtime::Guarded<Gathering>>(Gathering{{}, edges_.size()});
  for (auto& lane : edges_) {
    bool const posted = lane->loop.post([edge = lane->edge.get(), limit, gathering, done] {
      std::vector<ConnectionRow> rows;
      edge->open().each([&](OpenConnection& connection) {
        if (rows.size() < limit) rows.push_back(connection.row());
      });
      auto all = gathering->with([&](Gathering& g) {
        for (auto& row : rows) {
          if (g.rows.size() < limit) g.rows.push_back(std::move(row));
        }
        return --g.left == 0 ? std::optional(std::move(g.rows)) : std::nullopt;
      });
      if (all) done(std::move(*all));
    });
    if (!posted) {
      auto all = gathering->with([](Gathering& g) {
        return --g.left == 0 ? std::optional(std::move(g.rows)) : std::nullopt;
      });
      if (all) done(std::move(*all));
    }
  }
}

}  // namespace wscope::gateway
