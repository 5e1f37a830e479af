#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wscope::base {

// The length of the well-formed UTF-8 sequence that `text` starts with (RFC 3629: no overlong
// forms, no surrogates, nothing above U+10FFFF); 0 if it starts with none.
size_t utf8_sequence_length(std::string_view text);

// Checks UTF-8 as it arrives, in pieces of any size, and fails at the first byte that can not
// continue a well-formed sequence.
//
// Thread: one. Eight bytes of state; start anew for each message.
class Utf8Checker {
 public:
  // False once any byte so far is wrong.
  bool feed(std::string_view piece);
  // True if the text may end here (no sequence is open).
  bool complete() const { return need_ == 0; }
  void reset() { *this = {}; }

 private:
  bool step(unsigned char c);
  uint8_t need_ = 0;    // continuation bytes still to come
  uint8_t low_ = 0x80;  // bounds of the next one
  uint8_t high_ = 0xbf;
  bool failed_ = false;
};

}  // namespace wscope::base
