#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace wscope::base {

// A W3C trace id: 16 bytes, all zero = none. `bytes` are in the order in which they are printed.
struct TraceId {
  std::array<uint8_t, 16> bytes{};
  bool valid() const {
    uint64_t words[2];
    std::memcpy(words, bytes.data(), sizeof words);
    return (words[0] | words[1]) != 0;
  }
  bool operator==(TraceId const&) const = default;
};

// A W3C span id: 8 bytes, all zero = none.
struct SpanId {
  std::array<uint8_t, 8> bytes{};
  bool valid() const {
    uint64_t word;
    std::memcpy(&word, bytes.data(), sizeof word);
    return word != 0;
  }
  bool operator==(SpanId const&) const = default;
};

// Writes 2 × n lower-case hex digits of `bytes` to `out` and returns the end.
char* write_hex(char* out, uint8_t const* bytes, size_t n);
std::string to_hex(TraceId const& id);
std::string to_hex(SpanId const& id);
// Reads exactly 2 × n lower-case hex digits; false on any other byte or length.
bool read_hex(std::string_view text, uint8_t* bytes, size_t n);

// A small fast generator (xoshiro256++) for ids, sampling and jitter. Not for secrets.
//
// Thread: one; each loop owns one. Seeded from the system unless a seed is given (tests).
class Rng {
 public:
  Rng();
  explicit Rng(uint64_t seed);

  uint64_t next() {
    uint64_t const result = rotl(state_[0] + state_[3], 23) + state_[0];
    uint64_t const t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotl(state_[3], 45);
    return result;
  }
  // Uniform in [0, bound); bound > 0. The bias of the multiply-shift is below 2^-32 for bounds
  // under 2^32.
  uint64_t below(uint64_t bound) {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  // Never all zero.
  TraceId trace_id();
  SpanId span_id();
  // A version 4 UUID (RFC 9562): 36 characters.
  std::string uuid();

 private:
  static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  uint64_t state_[4];
};

}  // namespace wscope::base
