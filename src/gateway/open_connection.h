#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/cork.h"
#include "gateway/edge.h"
#include "gateway/list.h"
#include "model/connection_info.h"
#include "net/transport.h"
#include "runtime/loop.h"
#include "runtime/timers.h"

namespace wscope::gateway {

// What a handshake found out and its connection goes on with.
struct OpenFacts {
  std::unique_ptr<model::ConnectionInfo> info;
  uint16_t route = 0;
  SessionRef session;
  std::string_view subprotocol;  // read while opening only
  std::string_view backend;      // the same
};

// How a connection ended.
struct Ending {
  uint16_t code = net::ws::kAbnormal;
  Initiator initiator = Initiator::client;
  std::string_view error_type;  // empty: no error; else one of known_errors()
};

// One row of /api/v1/sessions.
struct ConnectionRow {
  uint64_t id;
  std::string session;
  std::string correlation_id;
  std::string route;
  std::string client;
  int64_t opened_unix_ns;
  uint64_t messages_in, messages_out, bytes_in, bytes_out;
  uint64_t queued_bytes;
};

// A WebSocket connection past its 101, served or relayed: what both count, log and own. It is
// counted as opened when made and as closed once, by ended().
//
// Thread: loop.
class OpenConnection : public runtime::Pollable, public runtime::Timer, public Link {
 public:
  ~OpenConnection() override;
  ConnectionRow row() const;
  int64_t opened_ns() const { return opened_ns_; }
  // Says goodbye with 1012 after `delay_ns`.
  void drain_in(int64_t delay_ns);
  // Ends it now, without a word.
  virtual void cut() = 0;

 protected:
  OpenConnection(Edge& edge, net::Transport&& transport, OpenFacts&& facts);

  // Says goodbye with 1012 now.
  virtual void drain_now() = 0;
  virtual size_t queued_bytes() const = 0;
  bool draining() const { return draining_; }
  // Counts, logs and hands back what was held in the name of the connection. Only the first call
  // does anything.
  void ended(Ending const& ending);
  bool has_ended() const { return ended_; }
  telemetry::LogContext context() const;
  model::ConnectionInfo const& info() const { return *info_; }
  // Counts for one direction of one read: what ended() and row() show.
  void add_traffic(Direction direction, uint64_t messages, uint64_t bytes) {
    messages_[static_cast<size_t>(direction)] += messages;
    bytes_[static_cast<size_t>(direction)] += bytes;
  }
  uint64_t messages(Direction direction) const { return messages_[static_cast<size_t>(direction)]; }

  Edge& edge_;
  RouteInstruments& route_;
  net::Transport transport_;

 private:
  std::unique_ptr<model::ConnectionInfo> info_;
  int64_t opened_ns_;
  uint64_t messages_[2] = {};
  uint64_t bytes_[2] = {};
  SessionRef session_;
  char id_text_[12];  // the connection's number, for log lines
  uint8_t id_size_ = 0;
  bool ended_ = false;
  bool draining_ = false;
};

// The observations of one read, gathered so that a run of equal sizes costs one.
class SizeRun {
 public:
  // Observes in `a`, and in `b` too if `both`.
  SizeRun(telemetry::Histogram a, telemetry::Histogram b, bool both = true)
      : a_(a), b_(b), both_(both) {}
  ~SizeRun() { flush(); }
  SizeRun(SizeRun const&) = delete;
  SizeRun& operator=(SizeRun const&) = delete;
  void add(uint64_t size) {
    if (size != size_) {
      flush();
      size_ = size;
    }
    ++count_;
  }

 private:
  void flush() {
    if (count_ == 0) return;
    a_.observe_n(static_cast<double>(size_), count_);
    if (both_) b_.observe_n(static_cast<double>(size_), count_);
    count_ = 0;
  }
  telemetry::Histogram a_;
  telemetry::Histogram b_;
  bool both_;
  uint64_t size_ = 0;
  uint64_t count_ = 0;
};

}  // namespace wscope::gateway
