#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.h"

// W3C Trace Context, level 2: what comes in with a handshake and goes on to the backend. All of it
// is text from an untrusted client.

namespace wscope::telemetry {

inline constexpr uint8_t kFlagSampled = 1;
inline constexpr uint8_t kFlagRandom = 2;

struct TraceParent {
  base::TraceId trace;
  base::SpanId span;
  uint8_t flags = 0;  // bits other than sampled and random are dropped
  bool sampled() const { return (flags & kFlagSampled) != 0; }
  bool operator==(TraceParent const&) const = default;
};

// Nothing if the header is against section 3.2 (wrong length, upper-case digits, zero ids, version
// ff): then a new trace starts. Of a version above 00 the first four fields are read.
std::optional<TraceParent> parse_traceparent(std::string_view header);
// Version 00: 55 characters.
std::string format_traceparent(TraceParent const& parent);

// At least the 512 characters of section 3.3.1.5 are kept.
inline constexpr size_t kTraceStateMax = 1024;
inline constexpr size_t kTraceStateMembersMax = 32;

// The list members that are well-formed, in their order, the first of each key, joined by commas.
// Members that would make it longer than kTraceStateMax characters or kTraceStateMembersMax members
// are dropped from the right. Several headers are joined with commas by the caller. Never fails;
// may be empty.
std::string clean_tracestate(std::string_view header);

}  // namespace wscope::telemetry
