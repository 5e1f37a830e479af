#include "telemetry/traces.h"

#include <algorithm>
#include <cmath>

namespace wscope::telemetry {
namespace {

uint64_t threshold_of(double ratio) {
  if (std::isnan(ratio) || ratio <= 0) return 0;
  if (ratio >= 1) return uint64_t{1} << 63;
  return static_cast<uint64_t>(std::ldexp(ratio, 63));
}

SpanRecord release_record(model::ConnectionInfo const* connection) {
  SpanRecord record;
  record.connection = connection;
  record.flags = SpanRecord::kRelease;
  return record;
}

model::Span* full_span(SpanRecord const& record) {
  model::Span* span = nullptr;
  std::memcpy(&span, record.trace.bytes.data(), sizeof span);
  return span;
}

}  // namespace

std::string_view span_error_name(SpanError error) {
  switch (error) {
    case SpanError::none:
      return "";
    case SpanError::protocol_error:
      return "protocol_error";
    case SpanError::invalid_utf8:
      return "invalid_utf8";
    case SpanError::message_too_big:
      return "message_too_big";
    case SpanError::policy_violation:
      return "policy_violation";
    case SpanError::backend_closed:
      return "backend_closed";
    case SpanError::backend_timeout:
      return "backend_timeout";
    case SpanError::backend_unavailable:
      return "backend_unavailable";
    case SpanError::slow_consumer:
      return "slow_consumer";
    case SpanError::write_failed:
      return "write_failed";
    case SpanError::abnormal_closure:
      return "abnormal_closure";
    case SpanError::internal_error:
      return "internal_error";
  }
  return "";
}

TraceShard::TraceShard(SamplingOptions const& options, Counter dropped, runtime::Signal& wake,
                       size_t records)
    : options_(options),
      threshold_(threshold_of(options.ratio)),
      dropped_(dropped),
      wake_(wake),
      ring_(records) {}

TraceShard::~TraceShard() {
  struct Nobody final : SpanReceiver {
    void take(std::span<SpanRecord const>) override {}
    void take(std::unique_ptr<model::Span>) override {}
  };
  ring_.publish();
  Nobody nobody;
  drain(nobody);
}

void TraceShard::span(std::unique_ptr<model::Span> span) {
  if (!active()) return;
  SpanRecord record;
  record.flags = SpanRecord::kFull;
  model::Span* const raw = span.get();
  std::memcpy(record.trace.bytes.data(), &raw, sizeof raw);
  if (!ring_.push(record)) {
    dropped_.add();
    return;
  }
  (void)span.release();  // drain() owns it from here on
  ++since_wake_;
}

void TraceShard::release(std::unique_ptr<model::ConnectionInfo> connection) {
  if (!active() || !connection) return;
  // Behind those that wait already, so that the ring is not asked again and again while full.
  if (waiting_.empty() && ring_.push(release_record(connection.get()))) {
    (void)connection.release();
    ++since_wake_;
    return;
  }
  waiting_.push_back(std::move(connection));
}

void TraceShard::publish() {
  while (!waiting_.empty() && ring_.push(release_record(waiting_.back().get()))) {
    (void)waiting_.back().release();
    waiting_.pop_back();
  }
  ring_.publish();
  if (since_wake_ <= std::min(ring_.slots() / 4, kWakeRecords)) return;
  since_wake_ = 0;
  wake_.raise();
}

size_t TraceShard::drain(SpanReceiver& receiver) {
  auto const special = [](SpanRecord const& record) {
    return (record.flags & (SpanRecord::kRelease | SpanRecord::kFull)) != 0;
  };
  return ring_.drain([&](std::span<SpanRecord const> records) {
    while (!records.empty()) {
      auto const end = std::find_if(records.begin(), records.end(), special);
      auto const plain = static_cast<size_t>(end - records.begin());
      if (plain > 0) receiver.take(records.first(plain));
      records = records.subspan(plain);
      if (records.empty()) break;
      SpanRecord const& record = records.front();
      if ((record.flags & SpanRecord::kFull) != 0) {
        receiver.take(std::unique_ptr<model::Span>(full_span(record)));
      } else {
        std::unique_ptr<model::ConnectionInfo const> const gone(record.connection);
      }
      records = records.subspan(1);
    }
  });
}

}  // namespace wscope::telemetry
