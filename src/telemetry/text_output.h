#pragma once

#include <algorithm>
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
    if (value >= 0 && value < 1e9 && !std::signbit(value)) {
      // Up to 15 digits every decimal text reads back as a number of its own, so if this one reads
      // back as `value` it is, without its trailing zeros, the shortest.
      auto const millionths = static_cast<uint64_t>(value * 1e6 + 0.5);
      if (static_cast<double>(millionths) / 1e6 == value) return decimal(millionths);
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
  // Makes room for so many more bytes at once.
  void reserve(size_t bytes) { (void)room(bytes); }
  void finish() { out_.resize(used_); }

 private:
  TextOutput& decimal(uint64_t millionths) {
    number(millionths / 1'000'000);
    auto fraction = static_cast<uint32_t>(millionths % 1'000'000);
    if (fraction == 0) return *this;
    char* const at = room(8);
    *at = '.';
    size_t used = 1;
    for (uint32_t unit = 100'000; fraction != 0; unit /= 10) {
      at[used++] = static_cast<char>('0' + fraction / unit);
      fraction %= unit;
    }
    used_ += used;
    return *this;
  }
  char* room(size_t n) {
    if (out_.size() - used_ < n) [[unlikely]] {
      size_t const size = std::max(2 * out_.size(), used_ + n + 4096);
      out_.resize_and_overwrite(size, [](char*, size_t all) { return all; });
    }
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
