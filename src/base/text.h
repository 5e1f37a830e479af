#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace wscope::base {

// ASCII only, as HTTP tokens are compared (RFC 9110, section 5.6.2).
bool equals_ignoring_case(std::string_view a, std::string_view b);
std::string to_lower(std::string_view text);
// Without leading and trailing spaces and tabs.
std::string_view trim(std::string_view text);
// The parts between `separator`, trimmed; empty parts are kept.
std::vector<std::string_view> split(std::string_view text, char separator);
// True if one of the comma-separated parts of `list` equals `token`, ignoring case.
bool list_has_token(std::string_view list, std::string_view token);

// The whole of `text` as a decimal number; nothing on any other byte or overflow.
std::optional<uint64_t> parse_uint(std::string_view text);
std::optional<double> parse_double(std::string_view text);
// "5s", "250ms", "1m30s", "2h", "7d" and plain "0": nanoseconds.
std::optional<int64_t> parse_duration_ns(std::string_view text);
// "16MiB", "10 MB", "512", "32KiB": bytes; KB, MB, GB are powers of ten, KiB, MiB, GiB of two.
std::optional<uint64_t> parse_bytes(std::string_view text);

void append_uint(std::string& out, uint64_t value);
// The shortest text that reads back as the same number; NaN, +Inf, -Inf as Prometheus spells them.
void append_double(std::string& out, double value);

// The known word nearest to `word` by edit distance, or empty if none is near enough to help
// (more than a third of its letters differ).
std::string_view nearest(std::string_view word, std::span<std::string_view const> known);

}  // namespace wscope::base
