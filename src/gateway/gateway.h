#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "gateway/config.h"
#include "gateway/open_connection.h"
#include "runtime/loop.h"
#include "runtime/sync.h"
#include "telemetry/logs.h"
#include "telemetry/registry.h"
#include "telemetry/traces.h"

namespace wscope::gateway {

// The data plane: listens, serves or relays, and counts. One Edge a loop thread; they share nothing
// but what is named in Shared.
//
// Thread: constructed, started, drained and destroyed by main; count() and rows() any.
class Gateway {
 public:
  // What one loop writes its telemetry to; the collector's side of it is the caller's.
  struct LoopWriters {
    telemetry::Shard& metrics;
    telemetry::LogShard& log;
    telemetry::TraceShard& traces;
  };
  struct Options {
    size_t loops = 1;
    bool telemetry_on = true;
  };

  // Borrows all; they outlive it. `writers` has one entry a loop.
  // Returns invalid if the upstream or a certificate is no good.
  static base::Result<std::unique_ptr<Gateway>> make(base::Clock const& clock, Config config,
                                                     Options const& options,
                                                     telemetry::Registry& registry,
                                                     telemetry::Loggers& loggers,
                                                     std::vector<LoopWriters> writers);
  ~Gateway();
  Gateway(Gateway const&) = delete;
  Gateway& operator=(Gateway const&) = delete;

  // Opens the listening sockets and starts the loop threads. Returns the address in use, or exists,
  // invalid or io naming it.
  base::Result<std::string> start();
  // Takes a new configuration: open connections keep their backend, and take the new limits and
  // times from their next read or timer on. The listening address can not change while running.
  // Returns invalid and keeps the old one.
  base::Status reload(Config config);
  // Stops accepting and closes what is open over the configured window; returns when all is closed,
  // at the latest five seconds after it.
  void drain();
  // Ends everything and joins the threads.
  void stop();

  // Ends sessions whose grace is over; once a second, by one thread, which owns `durations`.
  void on_second(int64_t unix_ns, telemetry::Histogram durations);
  // The histogram for on_second(), on that thread's shard.
  telemetry::Histogram session_histogram(telemetry::Shard& shard);
  // Keyed sessions, connected or within their grace time.
  std::vector<SessionRow> session_rows(size_t limit) const;

  // Open WebSocket connections, sessions, and held sockets of any state.
  uint64_t open_connections() const;
  uint64_t sessions() const;
  uint64_t sockets() const;
  size_t loops() const { return edges_.size(); }
  // Nanoseconds that all loops have spent working.
  uint64_t busy_ns() const;
  bool draining() const { return draining_.up(); }

  // Collects up to `limit` open connections and hands them to `done`, on a loop's thread.
  // Thread: any.
  void rows(size_t limit, std::function<void(std::vector<ConnectionRow>)> done);

 private:
  struct Lane;
  explicit Gateway(Options const& options);
  static base::Result<std::shared_ptr<Settings const>> settings_of(Config config);

  Options const options_;
  runtime::Flag draining_;
  std::shared_ptr<Shared> shared_;  // with the registry, whose figures outlive the gateway
  std::vector<std::unique_ptr<Lane>> edges_;
};

}  // namespace wscope::gateway
