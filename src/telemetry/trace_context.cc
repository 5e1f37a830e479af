#include "telemetry/trace_context.h"

#include <vector>

#include "base/text.h"

namespace wscope::telemetry {
namespace {

bool lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool key_char(char c) {
  return lower_or_digit(c) || c == '_' || c == '-' || c == '*' || c == '/' || c == '@';
}

// Section 3.3.1.3.1, in the form of level 2: begins with a letter or digit, at most 256 characters.
bool good_key(std::string_view key) {
  if (key.empty() || key.size() > 256 || !lower_or_digit(key.front())) return false;
  for (char const c : key) {
    if (!key_char(c)) return false;
  }
  return true;
}

// Section 3.3.1.3.2: printable ASCII without comma and equals sign, not ending in a space.
bool good_value(std::string_view value) {
  if (value.empty() || value.size() > 256 || value.back() == ' ') return false;
  for (char const c : value) {
    if (c < 0x20 || c > 0x7e || c == ',' || c == '=') return false;
  }
  return true;
}

}  // namespace

std::optional<TraceParent> parse_traceparent(std::string_view header) {
  header = base::trim(header);
  constexpr size_t kSize = 55;  // of version 00; later versions may only append
  if (header.size() < kSize) return std::nullopt;
  if (header[2] != '-' || header[35] != '-' || header[52] != '-') return std::nullopt;
  uint8_t version = 0;
  TraceParent parent;
  if (!base::read_hex(header.substr(0, 2), &version, 1) || version == 0xff) return std::nullopt;
  if (version == 0 && header.size() != kSize) return std::nullopt;
  if (header.size() > kSize && header[kSize] != '-') return std::nullopt;
  if (!base::read_hex(header.substr(3, 32), parent.trace.bytes.data(), 16)) return std::nullopt;
  if (!base::read_hex(header.substr(36, 16), parent.span.bytes.data(), 8)) return std::nullopt;
  if (!base::read_hex(header.substr(53, 2), &parent.flags, 1)) return std::nullopt;
  if (!parent.trace.valid() || !parent.span.valid()) return std::nullopt;
  parent.flags &= kFlagSampled | kFlagRandom;
  return parent;
}

std::string format_traceparent(TraceParent const& parent) {
  std::string out = "00-" + base::to_hex(parent.trace) + "-" + base::to_hex(parent.span) + "-00";
  base::write_hex(out.data() + 53, &parent.flags, 1);
  return out;
}

std::string clean_tracestate(std::string_view header) {
  std::vector<std::string_view> keys;
  std::string out;
  while (!header.empty() && keys.size() < kTraceStateMembersMax) {
    size_t const end = header.find(',');
    std::string_view const member = base::trim(header.substr(0, end));
    header.remove_prefix(end == std::string_view::npos ? header.size() : end + 1);
    size_t const equals = member.find('=');
    if (equals == std::string_view::npos) continue;
    std::string_view const key = member.substr(0, equals);
    if (!good_key(key) || !good_value(member.substr(equals + 1))) continue;
    bool seen = false;
    for (std::string_view const before : keys) seen = seen || before == key;
    if (seen) continue;
    if (out.size() + member.size() + 1 > kTraceStateMax) break;
    if (!out.empty()) out += ',';
    out += member;
    keys.push_back(key);
  }
  return out;
}

}  // namespace wscope::telemetry
