#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.h"

namespace wscope::model {

using AttributeValue = std::variant<std::string, int64_t, double, bool>;
using Attributes = std::vector<std::pair<std::string, AttributeValue>>;

// Numbers as OTLP has them.
enum class SpanKind : uint8_t { internal = 1, server = 2, client = 3, producer = 4, consumer = 5 };
enum class SpanStatus : uint8_t { unset = 0, ok = 1, error = 2 };

struct SpanLink {
  base::TraceId trace;
  base::SpanId span;
  Attributes attributes;
};

// A finished span in full, for what happens once a connection or request (handshake, backend leg,
// plain HTTP). Messages use telemetry::SpanRecord.
//
// Thread: any (a value).
struct Span {
  base::TraceId trace;
  base::SpanId span;
  base::SpanId parent;  // invalid = root
  bool parent_remote = false;
  std::string trace_state;
  uint8_t trace_flags = 1;  // W3C: bit 0 sampled, bit 1 random trace id
  SpanKind kind = SpanKind::internal;
  std::string name;
  int64_t start_unix_ns = 0;
  int64_t end_unix_ns = 0;
  Attributes attributes;
  std::vector<SpanLink> links;
  SpanStatus status = SpanStatus::unset;
  std::string error;  // the status' message
};

}  // namespace wscope::model
