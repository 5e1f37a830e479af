#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "model/connection_info.h"
#include "runtime/cells.h"
#include "runtime/ring.h"
#include "runtime/sync.h"
#include "telemetry/registry.h"

// Log lines: one JSON object a line, every key always there and in this order:
//
//   timestamp       "2026-01-02T03:04:05.678901Z" (UTC, microseconds)
//   level           DEBUG INFO WARNING ERROR CRITICAL
//   logger, message, module, function     text
//   line            number
//   correlation_id, trace_id, span_id, session_id, connection_id, exception     text, or null if
//   absent extra_fields    an object with all else that the caller passed; {} if nothing
//
// Text is escaped as base::append_json_string does, so no value can end a line or forge a field.

namespace wscope::telemetry {

enum class Level : uint8_t { debug, info, warning, error, critical };
inline constexpr size_t kLevels = 5;

// "DEBUG" … "CRITICAL".
std::string_view level_name(Level level);
// By name in any case; also "WARN" and "FATAL".
std::optional<Level> parse_level(std::string_view name);

struct LoggerId {
  uint16_t value = 0;
};

// The named loggers and the level from which each one writes.
//
// Thread: any. level() and enabled() are one relaxed load. name() of an id that add() returned.
class Loggers {
 public:
  static constexpr size_t kLoggersMax = 64;

  // "wscope", "websocket", "websocket.message", "http", all at INFO (so that the DEBUG line of
  // every message is off). Their ids are the constants below.
  Loggers();

  // A further logger, or the one of that name. over_limit past kLoggersMax.
  base::Result<LoggerId> add(std::string name, Level level = Level::info);
  // not_found names the nearest logger.
  base::Status set_level(std::string_view name, Level level);
  struct Entry {
    std::string name;
    Level level;
  };
  std::vector<Entry> list() const;
  // Lives as long as the Loggers; no lock.
  std::string_view name(LoggerId id) const { return *by_id_[id.value].get(); }

  Level level(LoggerId id) const { return static_cast<Level>(levels_[id.value].read()); }
  bool enabled(LoggerId id, Level level) const {
    return static_cast<uint64_t>(level) >= levels_[id.value].read();
  }

 private:
  std::array<runtime::Cell, kLoggersMax> levels_;
  std::array<runtime::Pointer<std::string const>, kLoggersMax> by_id_;
  runtime::Guarded<std::vector<std::string>> names_;  // reserved, so that its elements never move
};

inline constexpr LoggerId kLogWscope{0};
inline constexpr LoggerId kLogWebsocket{1};
inline constexpr LoggerId kLogMessage{2};
inline constexpr LoggerId kLogHttp{3};

// Where in the code a line comes from. `module` is the file's area, not its path.
struct LogSite {
  std::string_view module = {};
  std::string_view function = {};
  int line = 0;
};
#define WSCOPE_SITE(module_name) \
  (::wscope::telemetry::LogSite{module_name, static_cast<char const*>(__func__), __LINE__})

// What a line belongs to; empty or invalid parts become null.
struct LogContext {
  std::string_view correlation_id = {};
  std::string_view session_id = {};
  std::string_view connection_id = {};
  base::TraceId trace_id = {};
  base::SpanId span_id = {};
};

// One member of extra_fields. Doubles without a JSON form are written as "NaN", "+Inf", "-Inf".
struct LogField {
  std::string_view name;
  std::variant<std::string_view, int64_t, uint64_t, double, bool> value;
};

// What the one-line-a-message form writes the same in every line; made once per loop and direction
// (or once per loop: the direction is a value of the line). The texts of `site` are borrowed
// literals.
//
// Thread: any (immutable).
class PreparedMessage {
 public:
  PreparedMessage(Loggers const& loggers, LoggerId logger, Level level, LogSite const& site,
                  std::string_view message);

 private:
  friend class LogShard;
  LoggerId logger_;
  Level level_;
  std::string message_;
  LogSite site_;
  std::string head_;  // from after the timestamp to before the correlation id's value; padded
  size_t head_size_;
};

// One message of a connection, as the fast form writes it. extra_fields becomes {"direction":"in",
// "opcode":"text","size":32,"wire":38,"route":"/echo","seq":17}.
struct MessageLine {
  model::ConnectionInfo const* connection =
      nullptr;               // correlation, session and connection id, route
  base::TraceId trace = {};  // the message's own; invalid: the connection's
  base::SpanId span = {};
  int64_t unix_ns = 0;
  uint64_t size = 0;      // payload bytes
  uint64_t wire = 0;      // with frame headers, as transferred
  uint64_t sequence = 0;  // of the connection and direction
  bool outbound = false;
  uint8_t opcode = 1;  // RFC 6455, section 5.2
};

// The log lines of one thread on their way to the collector.
// Full: a DEBUG or INFO line needs a quarter of the ring free, a WARNING a tenth, ERROR and
// CRITICAL only their own size; what does not fit is dropped and counted in
// wscope_log_dropped_total{level}. What was written is counted in wscope_log_lines_total{level}.
//
// Thread: everything on the owning thread, but drain() on the collector. Two LogShards are two
// owners.
class LogShard {
 public:
  static constexpr size_t kLoopBytes = 8 << 20;
  static constexpr size_t kThreadBytes = 256 << 10;
  // The collector is woken when so much waits, or a quarter of the ring: it then still finds the
  // lines in the cache.
  static constexpr size_t kWakeBytes = 512 << 10;
  // Text of one line (message, exception and extra fields together) is cut at this many bytes, and
  // the cut text says how many are missing.
  static constexpr size_t kLineTextMax = 32 << 10;

  // The two families that all shards of a registry count in.
  struct Families {
    CounterFamily* lines = nullptr;    // wscope_log_lines_total{level}
    CounterFamily* dropped = nullptr;  // wscope_log_dropped_total{level}
  };
  static base::Result<Families> families(Registry& registry);

  // Borrows all; `wake` is raised by publish() when the collector should come early. `bytes` is the
  // ring's size. Returns io if it can not be mapped.
  static base::Result<std::unique_ptr<LogShard>> make(Loggers const& loggers,
                                                      Families const& families, Shard& shard,
                                                      runtime::Signal& wake, size_t bytes);
  ~LogShard();

  bool enabled(LoggerId logger, Level level) const { return loggers_.enabled(logger, level); }

  // Writes the line if the logger's level lets it. `exception` empty = none.
  void log(LoggerId logger, Level level, LogSite const& site, int64_t unix_ns,
           std::string_view message, LogContext const& context,
           std::span<LogField const> extra = {}, std::string_view exception = {});
  void log(LoggerId logger, Level level, LogSite const& site, int64_t unix_ns,
           std::string_view message, LogContext const& context,
           std::initializer_list<LogField> extra, std::string_view exception = {}) {
    log(logger, level, site, unix_ns, message, context, std::span(extra.begin(), extra.size()),
        exception);
  }

  // The same line as log() would write, in a third of the time. The caller has asked enabled().
  void message_line(PreparedMessage const& prepared, MessageLine const& line);

  // Makes the lines so far visible to the collector; once a loop turn.
  void publish();
  // Lines written and dropped so far, by level.
  uint64_t lines(Level level) const { return written_[static_cast<size_t>(level)].value(); }
  uint64_t dropped(Level level) const { return dropped_[static_cast<size_t>(level)].value(); }

  // Hands all published whole lines to take(string_view). Thread: collector.
  template <class Take>
  size_t drain(Take&& take) {
    return ring_->drain(take);
  }

 private:
  LogShard(Loggers const& loggers, Families const& families, Shard& shard, runtime::Signal& wake,
           std::unique_ptr<runtime::ByteRing> ring);
  char* reserve(Level level, size_t n);
  void commit(Level level, size_t n);
  void set_time(int64_t unix_ns);
  void log_message_slowly(PreparedMessage const& prepared, MessageLine const& line);

  Loggers const& loggers_;
  runtime::Signal& wake_;
  std::unique_ptr<runtime::ByteRing> ring_;
  std::array<Counter, kLevels> written_;
  std::array<Counter, kLevels> dropped_;
  int64_t time_ns_ = -1;  // what time_text_ shows
  int64_t time_s_ = -1;
  std::array<char, 64> time_text_;  // a line up to its timestamp's end; padded
  size_t since_wake_ = 0;           // bytes written since `wake_` was raised
  std::string scratch_;             // a line being made; kept for its capacity
};

}  // namespace wscope::telemetry
