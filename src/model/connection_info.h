#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/ids.h"

namespace wscope::model {

// What a ConnectionInfo is made of. Texts are copied; bytes that are not UTF-8 become '?'.
struct ConnectionFields {
  uint64_t id = 0;
  std::string_view correlation_id = {};
  std::string_view session_id = {};
  std::string_view route = {};   // template, such as /ws/{room}
  std::string_view room = {};    // or empty
  std::string_view client = {};  // address:port
  base::TraceId trace = {};      // of the handshake
  base::SpanId handshake_span = {};
  bool sampled = false;  // the handshake's span is exported
  int64_t opened_unix_ns = 0;
};

// What is known about a connection from its handshake to its end, in one allocation (about 190
// bytes with typical texts). Immutable: its loop, the log lines and the span records look at it;
// who deletes it is said where it is handed over (telemetry/traces.h: TraceShard::release).
//
// Thread: any (immutable).
class ConnectionInfo {
 public:
  // Longer texts are cut at this many bytes.
  static constexpr size_t kTextMax = 512;
  // So many bytes behind every text may be read (and mean nothing): copying in blocks.
  static constexpr size_t kPadding = 16;

  static std::unique_ptr<ConnectionInfo> make(ConnectionFields const& fields);
  ConnectionInfo(ConnectionInfo const&) = delete;
  ConnectionInfo& operator=(ConnectionInfo const&) = delete;

  uint64_t id() const { return id_; }
  int64_t opened_unix_ns() const { return opened_unix_ns_; }
  base::TraceId const& trace() const { return trace_; }
  base::SpanId const& handshake_span() const { return handshake_span_; }
  bool sampled() const { return sampled_; }
  std::string_view correlation_id() const { return text(0); }
  std::string_view session_id() const { return text(1); }
  std::string_view route() const { return text(2); }
  std::string_view room() const { return text(3); }
  std::string_view client() const { return text(4); }
  // True if all texts may stand between the quotes of a JSON string as they are.
  bool json_plain() const { return json_plain_; }
  // Memory it takes, itself included.
  size_t bytes() const { return sizeof *this + ends_[kTexts - 1] + kPadding; }

  // The texts lie behind the object in the same allocation, so its size is not sizeof.
  static void operator delete(void* p) { ::operator delete(p); }

 private:
  static constexpr size_t kTexts = 5;
  static void* operator new(size_t, void* place) { return place; }
  explicit ConnectionInfo(ConnectionFields const& fields);
  char const* chars() const { return reinterpret_cast<char const*>(this + 1); }
  std::string_view text(size_t i) const {
    size_t const from = i == 0 ? 0 : ends_[i - 1];
    return {chars() + from, ends_[i] - from};
  }

  uint64_t id_;
  int64_t opened_unix_ns_;
  base::TraceId trace_;
  base::SpanId handshake_span_;
  uint16_t ends_[kTexts];
  bool sampled_;
  bool json_plain_;
};

}  // namespace wscope::model
