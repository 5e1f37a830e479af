#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/ids.h"
#include "runtime/cells.h"
#include "runtime/sync.h"
#include "telemetry/otlp.h"
#include "telemetry/registry.h"
#include "telemetry/traces.h"

namespace wscope::telemetry {

// What came back from one POST.
struct HttpOutcome {
  int status = 0;                // 0: no answer (refused, timed out, connection lost)
  std::string retry_after = {};  // the header's value: seconds or an HTTP date; or empty
  std::string body = {};         // of the answer
  std::string error = {};        // for status 0, for people
};

// Nanoseconds that a Retry-After value asks to wait (RFC 9110, section 10.2.3): seconds or a date
// (IMF-fixdate); nothing if it is neither. A date in the past is 0.
std::optional<int64_t> parse_retry_after(std::string_view value, int64_t now_unix_ns);

struct ExporterOptions {
  Encoding encoding = Encoding::protobuf;
  ResourceInfo resource = {};
  bool gzip = false;
  size_t batch_spans = 512;
  size_t batch_bytes = 4 << 20;
  int64_t batch_ns = base::kSecond;  // the oldest span of an open batch waits at most this long
  size_t queue_spans = 256 << 10;
  size_t queue_bytes = 64 << 20;
  // Message spans taken for export; more are dropped and counted, so that a flood of messages does
  // not become a flood of exports. One unused second is saved. 0 = no bound.
  size_t spans_per_second = 0;
  int64_t backoff_first_ns = base::kSecond;
  int64_t backoff_max_ns = 30 * base::kSecond;
  int64_t give_up_ns = 300 * base::kSecond;  // a batch is dropped this long after its first failure
  int64_t retry_after_max_ns = 3600 * base::kSecond;
};

enum class SpanDrop : uint8_t {
  ring_full,
  queue_full,
  rejected,
  refused,
  retries_exhausted,
  shutdown,
  rate_limited
};
inline constexpr size_t kSpanDrops = 7;
// The label value: "ring_full", ….
std::string_view span_drop_name(SpanDrop reason);

// wscope_spans_exported_total and wscope_spans_dropped_total{reason}, all reasons at 0. For
// TraceShard: dropped->on(shard, {"ring_full"}).
struct SpanFamilies {
  CounterFamily* exported = nullptr;
  CounterFamily* dropped = nullptr;
};
base::Result<SpanFamilies> span_families(Registry& registry);

// The queue of encoded batches and the rules of OTLP/HTTP for sending them: 200 is success, and
// what partial_success refuses is counted and never sent again; 429, 502, 503, 504 and no answer
// are tried again after Retry-After or an exponential backoff with jitter (half to all of the
// delay); everything else is dropped at once. No thread, no lock, no clock of its own. Full: new
// spans are dropped.
//
// Thread: one at a time.
class ExportQueue {
 public:
  struct Batch {
    std::string spans;  // encoded
    size_t count = 0;
    int64_t first_ns = 0;    // when its first span came
    int64_t failed_ns = -1;  // when sending failed first
    int attempts = 0;
  };
  struct Counts {
    uint64_t exported = 0;
    uint64_t dropped[kSpanDrops] = {};
  };

  ExportQueue(ExporterOptions const& options, uint64_t seed);

  void add(SpanRecord const& record, int64_t now_ns);
  void add(std::span<SpanRecord const> records, int64_t now_ns);
  void add(model::Span const& span, int64_t now_ns);

  // The batch to send now, moved out; nothing if none is due. After it finish() must be called.
  std::optional<Batch> next(int64_t now_ns);
  void finish(Batch batch, HttpOutcome const& outcome, int64_t now_ns, int64_t now_unix_ns);
  // Nanoseconds until next() may have something, at most `most`.
  int64_t due_in(int64_t now_ns, int64_t most) const;
  // Makes the open batch due now and forgets waits: for the end.
  void flush();
  // Drops all that is left for reason shutdown.
  void drop_rest();

  std::string request(Batch const& batch) const { return encoder_.request(batch.spans); }
  size_t spans() const { return spans_; }
  size_t bytes() const { return bytes_; }
  // What happened since the last call.
  Counts take_counts();

 private:
  template <class Item>
  void add_item(Item const& item, int64_t now_ns);
  void seal();
  size_t allowed(size_t wanted, int64_t now_ns);
  void drop(SpanDrop reason, uint64_t n);
  void retry(Batch batch, HttpOutcome const& outcome, int64_t now_ns, int64_t now_unix_ns);

  ExporterOptions const options_;
  SpanEncoder encoder_;
  base::Rng rng_;
  Batch open_;
  std::deque<Batch> sealed_;
  size_t spans_ = 0;  // in open_ and sealed_
  size_t bytes_ = 0;
  double allowance_;  // message spans that may still be taken
  int64_t allowance_ns_ = -1;
  int64_t not_before_ns_ = 0;
  Counts counts_;
};

// Sends spans from a thread of its own.
//
// Thread: take() the collector; start() and stop() main.
class SpanExporter final : public SpanReceiver {
 public:
  // Posts a body and waits for the answer; called on the exporter's thread only. `gzip` says that
  // the body is compressed (Content-Encoding: gzip).
  using Transport =
      std::function<HttpOutcome(std::string const& body, std::string_view content_type, bool gzip)>;

  // Borrows `clock`; `shard` is for the exporter's own thread.
  SpanExporter(base::Clock const& clock, ExporterOptions const& options,
               SpanFamilies const& families, Shard& shard, Transport transport);
  ~SpanExporter() override;

  void start();
  // Sends what waits, each batch once, for at most `grace_ns`; drops the rest. Call after the
  // collector has stopped.
  void stop(int64_t grace_ns = 5 * base::kSecond);

  void take(std::span<SpanRecord const> records) override;
  void take(std::unique_ptr<model::Span> span) override;

  // Words of the last failure, empty after a success.
  std::string last_error() const;

 private:
  void run();
  bool send_one();
  void count(ExportQueue::Counts const& counts);

  base::Clock const& clock_;
  ExporterOptions const options_;
  Transport const transport_;
  runtime::Guarded<ExportQueue> queue_;
  runtime::Guarded<std::string> last_error_;
  Counter exported_;
  std::array<Counter, kSpanDrops> dropped_;
  runtime::Signal wake_;
  runtime::Flag stopping_;
  runtime::Cell stop_at_ns_;
  runtime::Thread thread_;
};

}  // namespace wscope::telemetry
