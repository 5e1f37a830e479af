#include "base/utf8.h"

#include <cstring>

namespace wscope::base {

bool Utf8Checker::step(unsigned char c) {
  if (need_ > 0) {
    if (c < low_ || c > high_) return false;
    low_ = 0x80;
    high_ = 0xbf;
    --need_;
    return true;
  }
  if (c < 0x80) return true;
  if (c < 0xc2 || c > 0xf4) return false;
  need_ = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
  // The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF
  // (RFC 3629, section 4).
  if (c == 0xe0) low_ = 0xa0;
  if (c == 0xed) high_ = 0x9f;
  if (c == 0xf0) low_ = 0x90;
  if (c == 0xf4) high_ = 0x8f;
  return true;
}

bool Utf8Checker::feed(std::string_view piece) {
  if (failed_) return false;
  char const* p = piece.data();
  char const* const end = p + piece.size();
  while (p < end) {
    if (need_ == 0) {
      // Most text is ASCII: 32 bytes a step while no high bit is set.
      while (end - p >= 32) {
        uint64_t words[4];
        std::memcpy(words, p, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) & 0x8080808080808080) break;
        p += 32;
      }
      while (p < end && static_cast<unsigned char>(*p) < 0x80) ++p;
      if (p == end) break;
    }
    if (!step(static_cast<unsigned char>(*p++))) {
      failed_ = true;
      return false;
    }
  }
  return true;
}

size_t utf8_sequence_length(std::string_view text) {
  Utf8Checker checker;
  for (size_t i = 0; i < text.size() && i < 4; ++i) {
    if (!checker.feed(text.substr(i, 1))) return 0;
    if (checker.complete()) return i + 1;
  }
  return 0;
}

}  // namespace wscope::base
