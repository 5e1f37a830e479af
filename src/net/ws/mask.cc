#include "net/ws/mask.h"

#include <bit>
#include <cstring>

namespace wscope::net::ws {
namespace {

using Wide = uint64_t __attribute__((vector_size(32)));

constexpr uint64_t kHighBits = 0x8080808080808080;

// Blocks of 128 bytes; returns the bits seen. Built twice; the loader picks by the CPU.
__attribute__((target_clones("avx2", "default"))) uint64_t unmask_blocks(char* data, size_t blocks,
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
