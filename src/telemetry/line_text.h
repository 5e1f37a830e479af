#pragma once

#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/ids.h"

// Writing text at a pointer, for lines whose bound has been reserved. Each returns the new end.

namespace wscope::telemetry {

inline char* put(char* out, std::string_view text) {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

// A literal: its length is known, so the copy is a few moves.
template <size_t N>
inline char* put_literal(char* out, char const (&text)[N]) {
  std::memcpy(out, text, N - 1);
  return out + N - 1;
}

// Copies in blocks of 16: up to 15 bytes behind `text` are read and behind the end are written.
inline char* put_blocks(char* out, char const* text, size_t size) {
  for (size_t i = 0; i < size; i += 16) std::memcpy(out + i, text + i, 16);
  return out + size;
}

inline char* put_uint(char* out, uint64_t value) {
  if (value < 10) {
    *out = static_cast<char>('0' + value);
    return out + 1;
  }
  return std::to_chars(out, out + 20, value).ptr;
}

// 16 or 32 lower-case hex digits.
inline char* put_hex(char* out, uint8_t const* bytes, size_t n) {
#if defined(__SSE2__)
  __m128i const low_half = _mm_set1_epi8(15);
  __m128i const in = n == 16 ? _mm_loadu_si128(reinterpret_cast<__m128i const*>(bytes))
                             : _mm_loadl_epi64(reinterpret_cast<__m128i const*>(bytes));
  __m128i const high = _mm_and_si128(_mm_srli_epi16(in, 4), low_half);
  __m128i const low = _mm_and_si128(in, low_half);
  auto const digits = [](__m128i nibbles) {
    __m128i const letter = _mm_cmpgt_epi8(nibbles, _mm_set1_epi8(9));
    return _mm_add_epi8(_mm_add_epi8(nibbles, _mm_set1_epi8('0')),
                        _mm_and_si128(letter, _mm_set1_epi8('a' - '0' - 10)));
  };
  auto* const place = reinterpret_cast<__m128i*>(out);
  _mm_storeu_si128(place, digits(_mm_unpacklo_epi8(high, low)));
  if (n == 16) _mm_storeu_si128(place + 1, digits(_mm_unpackhi_epi8(high, low)));
  return out + 2 * n;
#else
  return base::write_hex(out, bytes, n);
#endif
}

}  // namespace wscope::telemetry
