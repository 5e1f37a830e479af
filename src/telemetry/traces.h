#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/result.h"
#include "model/connection_info.h"
#include "model/span.h"
#include "runtime/ring.h"
#include "runtime/sync.h"
#include "telemetry/registry.h"

namespace wscope::telemetry {

// What went wrong with a message; becomes the attribute error.type.
enum class SpanError : uint8_t {
  none,
  protocol_error,
  invalid_utf8,
  message_too_big,
  policy_violation,
  backend_closed,
  backend_timeout,
  backend_unavailable,
  slow_consumer,
  write_failed,
  abnormal_closure,
  internal_error,
};
// The enumerator's own name; empty for none.
std::string_view span_error_name(SpanError error);

// One message's span, as small as a cache line. The rest of the exported span comes from
// `connection`.
struct alignas(64) SpanRecord {
  static constexpr uint8_t kCompressed = 1;  // permessage-deflate was on the message
  static constexpr uint8_t kKept = 2;        // not drawn, kept because slow or failed
  static constexpr uint8_t kMicros = 4;      // `duration` counts microseconds, not nanoseconds
  static constexpr uint8_t kRelease = 8;     // no message: `connection` ends here (TraceShard only)
  static constexpr uint8_t kFull =
      16;  // no message: `trace` holds a model::Span* (TraceShard only)

  model::ConnectionInfo const* connection = nullptr;
  base::TraceId trace;
  base::SpanId span;
  int64_t start_unix_ns = 0;
  uint32_t duration = 0;
  uint32_t size = 0;       // payload bytes, saturating
  uint32_t wire_size = 0;  // with frame headers, as transferred, saturating
  uint32_t sequence = 0;   // of the connection and direction
  bool outbound = false;
  uint8_t opcode = 1;  // RFC 6455, section 5.2
  uint8_t flags = 0;
  SpanError error = SpanError::none;
  uint16_t frames = 1;

  // Below 4.2 s exact, above to the microsecond, saturating at 71 minutes.
  void set_duration_ns(int64_t ns) {
    auto const value = static_cast<uint64_t>(ns < 0 ? 0 : ns);
    if (value <= UINT32_MAX) [[likely]] {
      duration = static_cast<uint32_t>(value);
      return;
    }
    flags |= kMicros;
    duration = value / 1000 > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(value / 1000);
  }
  int64_t duration_ns() const { return int64_t{duration} * ((flags & kMicros) != 0 ? 1000 : 1); }
};
static_assert(sizeof(SpanRecord) == 64);

struct SamplingOptions {
  bool active = false;                   // false: nothing is recorded at all
  double ratio = 1.0;                    // of traces kept, in [0,1]
  int64_t slow_ns = 500 * base::kMilli;  // messages that take longer are kept in any case
};

// What takes spans from a TraceShard, on the collector.
class SpanReceiver {
 public:
  virtual ~SpanReceiver() = default;
  // Messages; their connections are alive until the call returns.
  virtual void take(std::span<SpanRecord const> records) = 0;
  virtual void take(std::unique_ptr<model::Span> span) = 0;
};

// The spans of one loop on their way to the collector, and the place where it draws ids and decides
// which traces are kept.
// Full: records and full spans are dropped and counted in
// wscope_spans_dropped_total{reason="ring_full"}; a released connection never is, it waits on the
// shard until there is room.
//
// Thread: everything on the owning thread, but drain() on the collector.
class TraceShard {
 public:
  static constexpr size_t kRecords = 64 << 10;     // 4 MiB
  static constexpr size_t kWakeRecords = 8 << 10;  // the collector is woken when so many wait

  // Borrows `wake`. `dropped` counts for reason ring_full on this thread. `records` is the ring's
  // size.
  TraceShard(SamplingOptions const& options, Counter dropped, runtime::Signal& wake,
             size_t records = kRecords);
  ~TraceShard();
  TraceShard(TraceShard const&) = delete;
  TraceShard& operator=(TraceShard const&) = delete;

  bool active() const { return options_.active; }
  // Draws for a new trace. Always false when not active.
  bool sample() { return active() && (rng_.next() >> 1) < threshold_; }
  // Whether a finished message is to be recorded: drawn, failed or slow.
  bool keep(bool sampled, int64_t duration_ns, bool failed) const {
    return sampled || (active() && (failed || duration_ns > options_.slow_ns));
  }
  base::TraceId new_trace() {
    base::TraceId id;
    uint64_t const words[2] = {rng_.next(), rng_.next() | 1};
    std::memcpy(id.bytes.data(), words, sizeof words);
    return id;
  }
  base::SpanId new_span() {
    base::SpanId id;
    uint64_t const word = rng_.next() | 1;
    std::memcpy(id.bytes.data(), &word, sizeof word);
    return id;
  }
  base::Rng& rng() { return rng_; }

  // Does nothing when not active.
  void record(SpanRecord const& record) {
    if (!active()) return;
    if (!ring_.push(record)) [[unlikely]] {
      dropped_.add();
      return;
    }
    ++since_wake_;
  }
  // Takes a finished span. Does nothing (but delete it) when not active.
  void span(std::unique_ptr<model::Span> span);
  // Takes a connection that no later record will refer to; it is deleted when all earlier records
  // have been taken, at once when not active.
  void release(std::unique_ptr<model::ConnectionInfo> connection);

  // Makes the records so far visible to the collector; once a loop turn.
  void publish();

  // Hands what is published to `receiver` and deletes released connections. Thread: collector.
  // Returns the number of ring records taken.
  size_t drain(SpanReceiver& receiver);

 private:
  SamplingOptions const options_;
  uint64_t threshold_;  // of 2^63
  base::Rng rng_;
  Counter dropped_;
  runtime::Signal& wake_;
  runtime::Ring<SpanRecord> ring_;
  size_t since_wake_ = 0;  // records since `wake_` was raised
  std::vector<std::unique_ptr<model::ConnectionInfo>>
      waiting_;  // releases that found the ring full
};

}  // namespace wscope::telemetry
