#include "telemetry/span_exporter.h"

#include "telemetry/exposition.h"

namespace wscope::telemetry {
namespace {

constexpr size_t kGzipFrom = 1024;  // smaller bodies gain nothing

std::string words_of(HttpOutcome const& outcome) {
  if (outcome.status == 0) return outcome.error.empty() ? "no answer" : outcome.error;
  if (outcome.status >= 200 && outcome.status < 300) return {};
  return "answer " + std::to_string(outcome.status);
}

}  // namespace

base::Result<SpanFamilies> span_families(Registry& registry) {
  WSCOPE_TRY(exported, registry.counter({.name = "wscope_spans_exported_total",
                                         .help = "Spans that the receiver has accepted.",
                                         .unit = {},
                                         .labels = {}}));
  WSCOPE_TRY(dropped, registry.counter({.name = "wscope_spans_dropped_total",
                                        .help = "Spans that were not exported, by reason.",
                                        .unit = {},
                                        .labels = {"reason"}}));
  for (size_t i = 0; i < kSpanDrops; ++i) {
    WSCOPE_TRY_STATUS(dropped->declare({span_drop_name(static_cast<SpanDrop>(i))}));
  }
  return SpanFamilies{exported, dropped};
}

SpanExporter::SpanExporter(base::Clock const& clock, ExporterOptions const& options,
                           SpanFamilies const& families, Shard& shard, Transport transport)
    : clock_(clock),
      options_(options),
      transport_(std::move(transport)),
      queue_(options, base::Rng().next()),
      exported_(families.exported->on(shard)) {
  for (size_t i = 0; i < kSpanDrops; ++i) {
    dropped_[i] = families.dropped->on(shard, {span_drop_name(static_cast<SpanDrop>(i))});
  }
}

SpanExporter::~SpanExporter() { stop(0); }

void SpanExporter::start() {
  thread_ = runtime::Thread("span-export", [this] { run(); });
}

void SpanExporter::stop(int64_t grace_ns) {
  if (!thread_.running()) return;
  stop_at_ns_.set(static_cast<uint64_t>(clock_.steady_ns() + grace_ns));
  stopping_.raise();
  wake_.raise();
  thread_.join();
}

void SpanExporter::take(std::span<SpanRecord const> records) {
  int64_t const now_ns = clock_.steady_ns();
  // Spans of one batch a turn, so that the sender gets the lock in between.
  while (!records.empty()) {
    size_t const n = std::min(records.size(), options_.batch_spans);
    queue_.with([&](ExportQueue& queue) { queue.add(records.first(n), now_ns); });
    if (n == options_.batch_spans) wake_.raise();
    records = records.subspan(n);
  }
}

void SpanExporter::take(std::unique_ptr<model::Span> span) {
  queue_.with([&](ExportQueue& queue) { queue.add(*span, clock_.steady_ns()); });
}

std::string SpanExporter::last_error() const {
  return last_error_.with([](std::string const& words) { return words; });
}

void SpanExporter::run() {
  // Messages come first: what can not be sent with the time that is left over is dropped and
  // counted.
  runtime::Thread::lower_priority(10);
  while (!stopping_.up()) {
    while (!stopping_.up() && send_one()) {
    }
    int64_t const wait_ns = queue_.with(
        [&](ExportQueue& queue) { return queue.due_in(clock_.steady_ns(), base::kSecond); });
    count(queue_.with([](ExportQueue& queue) { return queue.take_counts(); }));
    if (!stopping_.up() && wait_ns > 0) wake_.wait(wait_ns);
  }
  // Once each: a batch that fails again now would wait for a time that will not come.
  size_t left = queue_.with([](ExportQueue& queue) {
    queue.flush();
    return queue.spans();
  });
  auto const stop_at = static_cast<int64_t>(stop_at_ns_.read());
  while (left > 0 && clock_.steady_ns() < stop_at) {
    if (!send_one()) break;
    left = queue_.with([](ExportQueue& queue) { return queue.spans(); });
  }
  count(queue_.with([](ExportQueue& queue) {
    queue.drop_rest();
    return queue.take_counts();
  }));
}

// False if nothing was due.
bool SpanExporter::send_one() {
  auto batch = queue_.with([&](ExportQueue& queue) { return queue.next(clock_.steady_ns()); });
  if (!batch) return false;
  std::string body = queue_.with([&](ExportQueue& queue) { return queue.request(*batch); });
  bool zipped = false;
  if (options_.gzip && body.size() >= kGzipFrom) {
    if (auto packed = gzip(body)) {
      body = std::move(*packed);
      zipped = true;
    }
  }
  HttpOutcome const outcome = transport_(body, content_type(options_.encoding), zipped);
  last_error_.with([&](std::string& words) { words = words_of(outcome); });
  count(queue_.with([&](ExportQueue& queue) {
    queue.finish(std::move(*batch), outcome, clock_.steady_ns(), clock_.unix_ns());
    return queue.take_counts();
  }));
  return true;
}

void SpanExporter::count(ExportQueue::Counts const& counts) {
  exported_.add(counts.exported);
  for (size_t i = 0; i < kSpanDrops; ++i) dropped_[i].add(counts.dropped[i]);
}

}  // namespace wscope::telemetry
