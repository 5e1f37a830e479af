#include "net/ws/mask.h"

#include <bit>
#include <cstring>

namespace wscope::net::ws {
namespace {

using Wide = uint64_t __attribute__((vector_size(32)));

constexpr uint64_t kHighBits = 0x8080808080808080;

// Blocks of 128 bytes; returns the bits seen. Built twice, picked at start by the CPU. Not by
// target_clones: its resolver runs before ThreadSanitizer is ready, and the program dies.
inline __attribute__((always_inline)) uint64_t unmask_each(char* data, size_t blocks,
                                                           uint64_t key) {
  Wide const wide = {key, key, key, key};
  Wide seen = {};
  for (size_t i = 0; i < blocks; ++i, data += 128) {
    Wide words[4];
    std::memcpy(words, data, sizeof words);
    for (Wide& word : words) {
      word ^= wide;
      seen |= word;
    }
    std::memcpy(data, words, sizeof words);
  }
  return seen[0] | seen[1] | seen[2] | seen[3];
}

#ifdef __x86_64__
__attribute__((target("avx2"))) uint64_t unmask_avx2(char* data, size_t blocks, uint64_t key) {
  return unmask_each(data, blocks, key);
}
bool const has_avx2 = __builtin_cpu_supports("avx2") != 0;
#endif

uint64_t unmask_blocks(char* data, size_t blocks, uint64_t key) {
#ifdef __x86_64__
  if (has_avx2) return unmask_avx2(data, blocks, key);
#endif
  return unmask_each(data, blocks, key);
}

}  // namespace

bool unmask(char* data, size_t n, uint32_t mask, size_t phase) {
  uint32_t const key = std::rotr(mask, static_cast<int>(8 * (phase & 3)));
  uint64_t const wide = (uint64_t{key} << 32) | key;
  uint64_t seen = 0;
  size_t i = 0;
  if (n >= 256) {
    size_t const blocks = n / 128;
    seen = unmask_blocks(data, blocks, wide);
    i = blocks * 128;
  }
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    std::memcpy(&word, data + i, 8);
    word ^= wide;
    seen |= word;
    std::memcpy(data + i, &word, 8);
  }
  for (; i < n; ++i) {
    auto const byte = static_cast<uint8_t>(static_cast<uint8_t>(data[i]) ^
                                           static_cast<uint8_t>(key >> (8 * (i & 3))));
    seen |= byte;
    data[i] = static_cast<char>(byte);
  }
  return (seen & kHighBits) == 0;
}

}  // namespace wscope::net::ws
