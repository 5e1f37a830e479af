#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace wscope::net {

// HTTP's dates (RFC 9110, section 5.6.7), in whole seconds since the Unix epoch.
//
// Thread: any.

// "Sun, 06 Nov 1994 08:49:37 GMT". Years 1970 to 9999; others are clamped.
std::string format_http_date(int64_t unix_s);

// All three forms; the obsolete two-digit year means the one nearest to `now_unix_s` that is at
// most 50 years ahead. Nothing on any other text.
std::optional<int64_t> parse_http_date(std::string_view text, int64_t now_unix_s);

// The wait that a Retry-After field asks for (seconds or a date), in nanoseconds, from 0 to one
// day. Nothing if the value is neither.
std::optional<int64_t> parse_retry_after(std::string_view value, int64_t now_unix_ns);

}  // namespace wscope::net
