#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <ctime>

#include "base/text.h"
#include "telemetry/span_exporter.h"

namespace wscope::telemetry {
namespace {

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7).
std::optional<int64_t> parse_http_date(std::string_view text) {
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (text.size() != 29 || text.substr(3, 2) != ", " || text.substr(25) != " GMT") {
    return std::nullopt;
  }
  size_t const month = kMonths.find(text.substr(8, 3));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  auto const day = base::parse_uint(text.substr(5, 2));
  auto const year = base::parse_uint(text.substr(12, 4));
  auto const hour = base::parse_uint(text.substr(17, 2));
  auto const minute = base::parse_uint(text.substr(20, 2));
  auto const second = base::parse_uint(text.substr(23, 2));
  if (!day || !year || !hour || !minute || !second) return std::nullopt;
  std::tm parts{};
  parts.tm_year = static_cast<int>(*year) - 1900;
  parts.tm_mon = static_cast<int>(month / 3);
  parts.tm_mday = static_cast<int>(*day);
  parts.tm_hour = static_cast<int>(*hour);
  parts.tm_min = static_cast<int>(*minute);
  parts.tm_sec = static_cast<int>(*second);
  return int64_t{::timegm(&parts)};
}

bool worth_retrying(int status) {
  return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

std::optional<int64_t> parse_retry_after(std::string_view value, int64_t now_unix_ns) {
  value = base::trim(value);
  if (auto const seconds = base::parse_uint(value)) {
    return static_cast<int64_t>(std::min<uint64_t>(*seconds, 1'000'000'000)) * base::kSecond;
  }
  auto const at = parse_http_date(value);
  if (!at) return std::nullopt;
  return std::max<int64_t>(0, *at * base::kSecond - now_unix_ns);
}

std::string_view span_drop_name(SpanDrop reason) {
  constexpr std::array<std::string_view, kSpanDrops> kNames = {
      "ring_full",         "queue_full", "rejected",    "refused",
      "retries_exhausted", "shutdown",   "rate_limited"};
  return kNames[static_cast<size_t>(reason)];
}

ExportQueue::ExportQueue(ExporterOptions const& options, uint64_t seed)
    : options_(options),
      encoder_(options.encoding, options.resource),
      rng_(seed),
      allowance_(static_cast<double>(options.spans_per_second)) {}

size_t ExportQueue::allowed(size_t wanted, int64_t now_ns) {
  if (options_.spans_per_second == 0) return wanted;
  if (allowance_ns_ >= 0) {
    allowance_ += static_cast<double>(now_ns - allowance_ns_) * 1e-9 *
                  static_cast<double>(options_.spans_per_second);
    allowance_ = std::min(allowance_, static_cast<double>(options_.spans_per_second));
  }
  allowance_ns_ = now_ns;
  size_t const granted = std::min(wanted, static_cast<size_t>(allowance_));
  allowance_ -= static_cast<double>(granted);
  return granted;
}

template <class Item>
void ExportQueue::add_item(Item const& item, int64_t now_ns) {
  if (spans_ >= options_.queue_spans || bytes_ >= options_.queue_bytes) {
    drop(SpanDrop::queue_full, 1);
    return;
  }
  if (open_.count == 0) open_.first_ns = now_ns;
  size_t const before = open_.spans.size();
  encoder_.append(open_.spans, item);
  bytes_ += open_.spans.size() - before;
  ++spans_;
  if (++open_.count >= options_.batch_spans || open_.spans.size() >= options_.batch_bytes) seal();
}

void ExportQueue::add(SpanRecord const& record, int64_t now_ns) { add_item(record, now_ns); }
void ExportQueue::add(std::span<SpanRecord const> records, int64_t now_ns) {
  size_t const granted = allowed(records.size(), now_ns);
  if (granted < records.size()) drop(SpanDrop::rate_limited, records.size() - granted);
  records = records.first(granted);
  while (!records.empty() && spans_ < options_.queue_spans && bytes_ < options_.queue_bytes) {
    add_item(records.front(), now_ns);
    records = records.subspan(1);
  }
  if (!records.empty()) drop(SpanDrop::queue_full, records.size());
}

void ExportQueue::add(model::Span const& span, int64_t now_ns) { add_item(span, now_ns); }

void ExportQueue::seal() {
  if (open_.count == 0) return;
  size_t const likely_bytes = open_.spans.size();
  sealed_.push_back(std::move(open_));
  open_ = {};
  open_.spans.reserve(likely_bytes);
}

std::optional<ExportQueue::Batch> ExportQueue::next(int64_t now_ns) {
  if (open_.count > 0 && now_ns - open_.first_ns >= options_.batch_ns) seal();
  if (sealed_.empty() || now_ns < not_before_ns_) return std::nullopt;
  Batch batch = std::move(sealed_.front());
  sealed_.pop_front();
  spans_ -= batch.count;
  bytes_ -= batch.spans.size();
  return batch;
}

void ExportQueue::finish(Batch batch, HttpOutcome const& outcome, int64_t now_ns,
                         int64_t now_unix_ns) {
  if (outcome.status >= 200 && outcome.status < 300) {
    not_before_ns_ = 0;
    uint64_t const rejected = std::min<uint64_t>(rejected_spans(outcome.body), batch.count);
    drop(SpanDrop::rejected, rejected);
    counts_.exported += batch.count - rejected;
  } else if (worth_retrying(outcome.status)) {
    retry(std::move(batch), outcome, now_ns, now_unix_ns);
  } else {
    drop(SpanDrop::refused, batch.count);
  }
}

// The destination is what needs the rest, so the wait holds for all batches.
void ExportQueue::retry(Batch batch, HttpOutcome const& outcome, int64_t now_ns,
                        int64_t now_unix_ns) {
  if (batch.failed_ns < 0) batch.failed_ns = now_ns;
  int const doublings = std::min(batch.attempts, 20);
  int64_t const full =
      std::min(options_.backoff_max_ns, options_.backoff_first_ns * (int64_t{1} << doublings));
  int64_t wait = full / 2 + static_cast<int64_t>(rng_.below(static_cast<uint64_t>(full / 2) + 1));
  if (auto const asked = parse_retry_after(outcome.retry_after, now_unix_ns)) {
    wait = std::min(*asked, options_.retry_after_max_ns);
  }
  ++batch.attempts;
  not_before_ns_ = now_ns + wait;
  if (not_before_ns_ - batch.failed_ns > options_.give_up_ns) {
    drop(SpanDrop::retries_exhausted, batch.count);
    return;
  }
  spans_ += batch.count;
  bytes_ += batch.spans.size();
  sealed_.push_front(std::move(batch));
}

int64_t ExportQueue::due_in(int64_t now_ns, int64_t most) const {
  int64_t at = now_ns + most;
  if (!sealed_.empty()) {
    at = not_before_ns_;
  } else if (open_.count > 0) {
    at = std::max(not_before_ns_, open_.first_ns + options_.batch_ns);
  }
  return std::clamp<int64_t>(at - now_ns, 0, most);
}

void ExportQueue::flush() {
  seal();
  not_before_ns_ = 0;
}

void ExportQueue::drop_rest() {
  seal();
  drop(SpanDrop::shutdown, spans_);
  sealed_.clear();
  spans_ = 0;
  bytes_ = 0;
}

void ExportQueue::drop(SpanDrop reason, uint64_t n) {
  counts_.dropped[static_cast<size_t>(reason)] += n;
}

ExportQueue::Counts ExportQueue::take_counts() { return std::exchange(counts_, {}); }

}  // namespace wscope::telemetry
