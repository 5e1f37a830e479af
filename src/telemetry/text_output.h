#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace wscope::telemetry {

// Appends to a string through a pointer: a short piece costs a comparison and a copy, no call.
//
// Thread: one. Borrows `out`, whose content is complete after finish().
class TextOutput {
 public:
  explicit TextOutput(std::string& out) : out_(out), used_(out.size()) {}
  TextOutput(TextOutput const&) = delete;
  TextOutput& operator=(TextOutput const&) = delete;

  TextOutput& text(std::string_view piece) {
    char* const at = room(piece.size());
    std::memcpy(at, piece.data(), piece.size());
    used_ += piece.size();
    return *this;
  }
  TextOutput& number(uint64_t value) {
    char* const at = room(24);
    used_ += static_cast<size_t>(std::to_chars(at, at + 24, value).ptr - at);
    return *this;
  }
  // The shortest text that reads back as the same number.
  TextOutput& number(double value) {
    if (value >= 0 && value < 1e15 && !std::signbit(value)) {
      auto const whole = static_cast<uint64_t>(value);
      if (static_cast<double>(whole) == value) return number(whole);
    }
    if (std::isnan(value)) return text("NaN");
    if (std::isinf(value)) return text(value > 0 ? "+Inf" : "-Inf");
    char* const at = room(32);
    used_ += static_cast<size_t>(std::to_chars(at, at + 32, value).ptr - at);
    return *this;
  }
  // Unix seconds with milliseconds.
  TextOutput& seconds(int64_t unix_ns) {
    auto const ms = static_cast<uint64_t>(unix_ns < 0 ? 0 : unix_ns / 1'000'000);
    number(ms / 1000);
    char const fraction[] = {'.', static_cast<char>('0' + ms / 100 % 10),
                             static_cast<char>('0' + ms / 10 % 10),
                             static_cast<char>('0' + ms % 10)};
    return text({fraction, sizeof fraction});
  }
  void finish() { out_.resize(used_); }

 private:
  char* room(size_t n) {
    if (out_.size() - used_ < n) out_.resize(std::max(2 * out_.size(), used_ + n + 4096));
    return out_.data() + used_;
  }
  std::string& out_;
  size_t used_;
};

// A bucket's bound as Go's %g with the shortest digits writes it, which is what Prometheus' own
// libraries serve: 0.005, 1, 65536, 1.048576e+06, +Inf. `open` adds ".0" to whole numbers, as
// OpenMetrics' canonical form has it.
std::string format_bound(double bound, bool open);

}  // namespace wscope::telemetry
