#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <time.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "gateway/gateway.h"
#include "gateway/test_sockets.h"
#include "telemetry/logs.h"
#include "telemetry/registry.h"
#include "telemetry/traces.h"

// For tests: a whole gateway on real loops with all it writes taken down.
namespace wscope::gateway::test {

inline size_t open_descriptors() {
  size_t count = 0;
  DIR* const folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

// CPU time of the process, nanoseconds.
inline int64_t cpu_ns() {
  timespec now{};
  (void)::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * base::kSecond + now.tv_nsec;
}

inline void pause_ms(int64_t ms) {
  timespec const wait{.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1'000'000};
  (void)::nanosleep(&wait, nullptr);
}

// True as soon as `holds()` is, false if it is not within ten seconds.
template <class Holds>
bool soon(Holds&& holds) {
  for (int i = 0; i < 5000; ++i) {
    if (holds()) return true;
    pause_ms(2);
  }
  return false;
}

struct RigOptions {
  Config config;
  size_t loops = 1;
  bool telemetry = true;
  telemetry::SamplingOptions sampling = {.active = true, .ratio = 1.0};
};

// A running gateway, its registry, and a thread that takes its log lines and spans as the collector
// does. end() stops it and checks what must hold of every gateway that has ended.
class Rig {
 public:
  struct Spans final : telemetry::SpanReceiver {
    void take(std::span<telemetry::SpanRecord const> more) override {
      records += more.size();
      for (auto const& record : more) failed += record.error != telemetry::SpanError::none;
    }
    void take(std::unique_ptr<model::Span> span) override { full.push_back(std::move(span)); }
    size_t records = 0;
    size_t failed = 0;
    std::vector<std::unique_ptr<model::Span>> full;
  };

  explicit Rig(RigOptions options = {})
      : descriptors_(own_descriptors()), telemetry_(options.telemetry) {
    options.config.listen = "127.0.0.1:0";
    config = options.config;
    registry = std::make_unique<telemetry::Registry>(clock);
    auto const families = telemetry::LogShard::families(*registry);
    dropped_ = *registry->counter(
        {.name = "spans_dropped_total", .help = "Dropped.", .labels = {"reason"}});
    std::vector<Gateway::LoopWriters> writers;
    for (size_t i = 0; i < options.loops; ++i) {
      auto lane = std::make_unique<Lane>();
      telemetry::Shard& shard = registry->shard("loop");
      lane->log = *telemetry::LogShard::make(loggers, *families, shard, wake_,
                                             telemetry::LogShard::kLoopBytes);
      lane->traces = std::make_unique<telemetry::TraceShard>(
          options.sampling, dropped_->on(shard, {"ring_full"}), wake_);
      writers.push_back({shard, *lane->log, *lane->traces});
      lanes_.push_back(std::move(lane));
    }
    auto made = Gateway::make(clock, config, {options.loops, options.telemetry}, *registry, loggers,
                              std::move(writers));
    WSCOPE_CHECK(made.has_value());
    gateway = std::move(*made);
    auto const address = gateway->start();
    WSCOPE_CHECK(address.has_value());
    port = static_cast<uint16_t>(std::stoi(address->substr(address->rfind(':') + 1)));
    collector_ = runtime::Thread("collector", [this] {
      while (!ended_.up()) {
        (void)wake_.wait(10 * base::kMilli);
        drain();
      }
    });
  }
  ~Rig() { end(); }

  // `look` sees the final figures before they are gone.
  void end(std::function<void()> const& look = {}) {
    if (!gateway) return;
    gateway->stop();
    EXPECT_EQ(gateway->sockets(), 0U);
    EXPECT_EQ(gateway->open_connections(), 0U);
    EXPECT_EQ(gateway->sessions(), gateway->session_rows(1000).size());
    gateway.reset();
    ended_.raise();
    collector_.join();
    for (auto& lane : lanes_) {
      lane->log->publish();
      lane->traces->publish();
    }
    drain();
    EXPECT_EQ(value("app_connections_total"), value("app_connections_closed_total"));
    EXPECT_EQ(value("app_active_connections"), 0);
    EXPECT_EQ(value("ws_connections_open"), 0);
    EXPECT_EQ(value("ws_send_queue_bytes"), 0);
    EXPECT_EQ(value("django_http_requests_active"), 0);
    EXPECT_LE(value("app_errors_total"), value("app_requests_total"));
    EXPECT_EQ(value("ws_closes_total"), value("app_connections_closed_total"));
    EXPECT_EQ(observations("app_connection_duration_seconds"),
              value("app_connections_closed_total"));
    double const told = telemetry_ ? value("app_connections_total") : 0;
    EXPECT_EQ(lines("connection opened"), told);
    EXPECT_EQ(lines("connection closed"), told);
    if (look) look();
    lanes_.clear();
    registry.reset();
    EXPECT_TRUE(soon([&] { return own_descriptors() == descriptors_; }))
        << own_descriptors() << " descriptors, before: " << descriptors_;
  }

  // Sum over all children of a counter or gauge whose labels contain all of `parts`.
  double value(std::string_view name, std::vector<std::string> const& parts = {}) const {
    double sum = 0;
    for (auto const& family : registry->collect()) {
      if (family.info->name != name) continue;
      for (auto const& child : family.children) {
        if (!has_all(child.info->labels, parts)) continue;
        sum += family.info->kind == telemetry::Kind::counter ? static_cast<double>(child.count)
                                                             : child.number;
      }
    }
    return sum;
  }
  // How many observations a histogram has.
  double observations(std::string_view name, std::vector<std::string> const& parts = {}) const {
    double sum = 0;
    for (auto const& family : registry->collect()) {
      if (family.info->name != name) continue;
      for (auto const& child : family.children) {
        if (has_all(child.info->labels, parts)) {
          sum += static_cast<double>(family.histograms[child.histogram].count);
        }
      }
    }
    return sum;
  }
  // Log lines that contain `part`.
  double lines(std::string_view part) {
    return taken_.with([&](Taken const& taken) {
      double count = 0;
      for (size_t at = 0; at < taken.log.size();) {
        size_t const next = taken.log.find('\n', at);
        if (std::string_view(taken.log).substr(at, next - at).contains(part)) ++count;
        at = next + 1;
      }
      return count;
    });
  }
  template <class Look>
  auto spans(Look&& look) {
    return taken_.with([&](Taken const& taken) { return look(taken.spans); });
  }
  // Waits until a figure has a value.
  bool comes_to(std::string_view name, double wanted,
                std::vector<std::string> const& parts = {}) const {
    return soon([&] { return value(name, parts) == wanted; });
  }

  base::RealClock clock;
  telemetry::Loggers loggers;
  Config config;
  std::unique_ptr<telemetry::Registry> registry;
  std::unique_ptr<Gateway> gateway;
  uint16_t port = 0;

 private:
  struct Lane {
    std::unique_ptr<telemetry::LogShard> log;
    std::unique_ptr<telemetry::TraceShard> traces;
  };
  struct Taken {
    std::string log;
    Spans spans;
  };
  static bool has_all(std::string const& text, std::vector<std::string> const& parts) {
    for (auto const& part : parts) {
      if (!text.contains(part)) return false;
    }
    return true;
  }
  void drain() {
    taken_.with([&](Taken& taken) {
      for (auto& lane : lanes_) {
        lane->log->drain([&](std::string_view text) { taken.log += text; });
        lane->traces->drain(taken.spans);
      }
    });
  }

  // Without the sockets of the test itself.
  static size_t own_descriptors() { return open_descriptors() - live_sockets().read(); }

  size_t descriptors_;
  bool telemetry_;
  telemetry::CounterFamily* dropped_ = nullptr;
  runtime::Signal wake_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  runtime::Guarded<Taken> taken_;
  runtime::Flag ended_;
  runtime::Thread collector_;
};

}  // namespace wscope::gateway::test
