#include "base/ids.h"

#include <sys/random.h>

#include <bit>
#include <cstring>
#include <ctime>

namespace wscope::base {
namespace {

constexpr auto kHexPairs = [] {
  std::array<char, 512> table{};
  constexpr char kDigits[] = "0123456789abcdef";
  for (size_t i = 0; i < 256; ++i) {
    table[2 * i] = kDigits[i >> 4];
    table[2 * i + 1] = kDigits[i & 15];
  }
  return table;
}();

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// SplitMix64, the seeding recommended for xoshiro.
uint64_t split_mix(uint64_t& x) {
  x += 0x9e3779b97f4a7c15;
  uint64_t z = x;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

uint64_t system_seed() {
  uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
    timespec t{};
    ::clock_gettime(CLOCK_REALTIME, &t);
    seed = static_cast<uint64_t>(t.tv_nsec) ^ (static_cast<uint64_t>(t.tv_sec) << 32) ^
           std::bit_cast<uintptr_t>(&seed);
  }
  return seed;
}

}  // namespace

char* write_hex(char* out, uint8_t const* bytes, size_t n) {
  for (size_t i = 0; i < n; ++i, out += 2) std::memcpy(out, &kHexPairs[size_t{2} * bytes[i]], 2);
  return out;
}

std::string to_hex(TraceId const& id) {
  std::string text(32, '0');
  write_hex(text.data(), id.bytes.data(), id.bytes.size());
  return text;
}

std::string to_hex(SpanId const& id) {
  std::string text(16, '0');
  write_hex(text.data(), id.bytes.data(), id.bytes.size());
  return text;
}

bool read_hex(std::string_view text, uint8_t* bytes, size_t n) {
  if (text.size() != 2 * n) return false;
  for (size_t i = 0; i < n; ++i) {
    int const high = hex_value(text[2 * i]);
    int const low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

Rng::Rng() : Rng(system_seed()) {}

Rng::Rng(uint64_t seed) {
  for (uint64_t& word : state_) word = split_mix(seed);
}

TraceId Rng::trace_id() {
  TraceId id;
  do {
    uint64_t const words[2] = {next(), next()};
    std::memcpy(id.bytes.data(), words, sizeof words);
  } while (!id.valid());
  return id;
}

SpanId Rng::span_id() {
  SpanId id;
  do {
    uint64_t const word = next();
    std::memcpy(id.bytes.data(), &word, sizeof word);
  } while (!id.valid());
  return id;
}

std::string Rng::uuid() {
  TraceId id = trace_id();
  id.bytes[6] = static_cast<uint8_t>((id.bytes[6] & 0x0f) | 0x40);
  id.bytes[8] = static_cast<uint8_t>((id.bytes[8] & 0x3f) | 0x80);
  std::string text(36, '-');
  char* out = text.data();
  size_t done = 0;
  for (size_t part : {4, 2, 2, 2, 6}) {
    out = write_hex(out, id.bytes.data() + done, part);
    done += part;
    ++out;
  }
  return text;
}

}  // namespace wscope::base
