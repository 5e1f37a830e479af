#include "base/utf8.h"

#include <gtest/gtest.h>

#include "base/ids.h"

namespace wscope::base {
namespace {

// The table of RFC 3629, section 4, row by row: the length of the sequence at the start, 0 for
// none.
size_t model_length(std::string_view s) {
  struct Row {
    unsigned char first_low, first_high, second_low, second_high;
    size_t length;
  };
  static constexpr Row kRows[] = {
      {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
      {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
      {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
  };
  auto const at = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  if (s.empty()) return 0;
  for (Row const& row : kRows) {
    if (at(0) < row.first_low || at(0) > row.first_high) continue;
    if (s.size() < row.length) return 0;
    if (row.length > 1 && (at(1) < row.second_low || at(1) > row.second_high)) return 0;
    for (size_t i = 2; i < row.length; ++i) {
      if (at(i) < 0x80 || at(i) > 0xbf) return 0;
    }
    return row.length;
  }
  return 0;
}

bool model_valid(std::string_view s) {
  while (!s.empty()) {
    size_t const n = model_length(s);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

bool valid(std::string_view s) {
  Utf8Checker checker;
  return checker.feed(s) && checker.complete();
}

std::string encode(uint32_t c) {
  auto const byte = [](uint32_t b) { return static_cast<char>(b); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xc0 | c >> 6), byte(0x80 | (c & 63))};
  if (c < 0x10000) {
    return {byte(0xe0 | c >> 12), byte(0x80 | (c >> 6 & 63)), byte(0x80 | (c & 63))};
  }
  return {byte(0xf0 | c >> 18), byte(0x80 | (c >> 12 & 63)), byte(0x80 | (c >> 6 & 63)),
          byte(0x80 | (c & 63))};
}

// How many bytes are taken before the checker fails; size() if it does not.
size_t fails_at(std::string_view s) {
  Utf8Checker checker;
  for (size_t i = 0; i < s.size(); ++i) {
    if (!checker.feed(s.substr(i, 1))) return i;
  }
  return s.size();
}

TEST(Utf8, EveryCodePointAndNoSurrogate) {
  for (uint32_t c = 0; c < 0x120000; ++c) {
    std::string const text = encode(c);
    bool const good = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
    ASSERT_EQ(valid(text), good) << std::hex << c;
    ASSERT_EQ(utf8_sequence_length(text), good ? text.size() : 0) << std::hex << c;
  }
}

TEST(Utf8, EveryOneTwoAndThreeBytesAsTheModel) {
  for (uint32_t n = 0; n < 1U << 24; ++n) {
    char const bytes[] = {static_cast<char>(n), static_cast<char>(n >> 8),
                          static_cast<char>(n >> 16)};
    size_t const shortest = n < 256 ? 1 : n < 65536 ? 2 : 3;
    for (size_t length = shortest; length <= 3; ++length) {
      ASSERT_EQ(valid({bytes, length}), model_valid({bytes, length})) << n << " of " << length;
    }
  }
}

TEST(Utf8, FourBytesAtEveryBoundaryAsTheModel) {
  static constexpr unsigned char kEdges[] = {0x00, 0x41, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x9f, 0xa0,
                                             0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed,
                                             0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff};
  for (int first = 0; first < 256; ++first) {
    for (unsigned char const b : kEdges) {
      for (unsigned char const c : kEdges) {
        for (unsigned char const d : kEdges) {
          char const bytes[] = {static_cast<char>(first), static_cast<char>(b),
                                static_cast<char>(c), static_cast<char>(d)};
          std::string_view const text(bytes, 4);
          ASSERT_EQ(valid(text), model_valid(text)) << first << ' ' << int{b} << ' ' << int{c};
          ASSERT_EQ(utf8_sequence_length(text), model_length(text)) << first << ' ' << int{b};
        }
      }
    }
  }
}

std::vector<std::string> samples() {
  std::string const kosme = "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5";
  std::string const ascii(70, 'a');
  return {"",
          "plain",
          kosme,
          kosme +
              "\xed\xa0\x80"
              "edited",
          kosme +
              "\xf4\x90\x80\x80"
              "edited",
          ascii + "\xf0\x9f\x98\x80" + ascii,
          ascii + "\xff" + ascii,
          ascii + ascii + "\xe2\x82",
          "\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\xee\x80\x80\xef\xbf\xbf\xed\x9f\xbf",
          "\xc2\x80\xdf\xbf\xe0\xa0\x80",
          std::string("\0\x7f", 2)};
}

TEST(Utf8, EverySplitGivesTheSameVerdict) {
  for (std::string const& text : samples()) {
    bool const whole = model_valid(text);
    EXPECT_EQ(valid(text), whole);
    for (size_t i = 0; i <= text.size(); ++i) {
      for (size_t k = i; k <= text.size(); ++k) {
        std::string_view const view = text;
        Utf8Checker checker;
        bool good = checker.feed(view.substr(0, i));
        good = checker.feed(view.substr(i, k - i)) && good;
        good = checker.feed(view.substr(k)) && good;
        ASSERT_EQ(good && checker.complete(), whole) << text << " at " << i << ' ' << k;
      }
    }
  }
}

TEST(Utf8, FailsAtTheFirstWrongByte) {
  EXPECT_EQ(fails_at("abc\xff"
                     "d"),
            3U);
  EXPECT_EQ(fails_at("\xc0\x80"), 0U);
  EXPECT_EQ(fails_at("\xe0\x9f\xbf"), 1U);      // overlong: the second byte tells
  EXPECT_EQ(fails_at("\xed\xa0\x80"), 1U);      // surrogate
  EXPECT_EQ(fails_at("\xf4\x90\x80\x80"), 1U);  // above U+10FFFF
  EXPECT_EQ(fails_at("\xf0\x8f\xbf\xbf"), 1U);
  EXPECT_EQ(fails_at("\xe2\x82"
                     "a"),
            2U);
  EXPECT_EQ(fails_at("\xf0\x9f\x98"
                     "a"),
            3U);
  EXPECT_EQ(fails_at("\xf5"), 0U);
  EXPECT_EQ(fails_at("\x80"), 0U);
}

TEST(Utf8, OnceWrongStaysWrongUntilReset) {
  Utf8Checker checker;
  EXPECT_FALSE(checker.feed("\xff"));
  EXPECT_FALSE(checker.feed("good"));
  EXPECT_FALSE(checker.feed(""));
  checker.reset();
  EXPECT_TRUE(checker.feed("good"));
  EXPECT_TRUE(checker.complete());
  EXPECT_TRUE(checker.feed("\xe2"));
  EXPECT_FALSE(checker.complete());
  checker.reset();
  EXPECT_TRUE(checker.complete());
  EXPECT_TRUE(checker.feed("a"));
}

TEST(Utf8, RandomTextAsTheModel) {
  uint64_t const seed = 31;
  Rng rng(seed);
  int good = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    while (text.size() < 80) {
      uint64_t const kind = rng.below(200);
      if (kind == 0) {
        text += static_cast<char>(rng.next());
      } else if (kind < 100) {
        text.append(rng.below(40), 'a');
      } else {
        uint32_t const c = static_cast<uint32_t>(rng.below(0x10ffff));
        text += encode(c >= 0xd800 && c < 0xe000 ? 0x20ac : c);
      }
    }
    ASSERT_EQ(valid(text), model_valid(text)) << "seed " << seed << " round " << round;
    good += valid(text);
  }
  EXPECT_GT(good, 1000);
  EXPECT_LT(good, 20'000);
}

}  // namespace
}  // namespace wscope::base
