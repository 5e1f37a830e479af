#include "net/ws/deflate.h"

#include <gtest/gtest.h>

#include "base/ids.h"
#include "net/ws/test_frames.h"

namespace wscope::net::ws {
namespace {

using namespace std::string_view_literals;
using test::deflated;

std::string random_text(base::Rng& rng, size_t n, uint64_t letters) {
  std::string text(n, '\0');
  for (char& c : text) c = static_cast<char>(rng.below(letters));
  return text;
}

TEST(Deflate, AnyMessageGoesRoundThroughAnyWindow) {
  uint64_t const seed = 51;
  base::Rng rng(seed);
  Deflater deflater;
  Inflater inflater;
  for (int bits = 9; bits <= 15; ++bits) {
    for (size_t const n : {0U, 1U, 2U, 100U, 16383U, 16384U, 16385U, 65535U, 65536U, 300000U}) {
      for (uint64_t const letters : {1U, 4U, 256U}) {
        std::string const text = random_text(rng, n, letters);
        std::string const small(deflater.deflate(text, bits));
        auto const back = inflater.inflate(small, n, 2000);
        ASSERT_TRUE(back) << back.error().what << ' ' << n << ' ' << bits;
        ASSERT_EQ(*back, text) << n << ' ' << bits << " seed " << seed;
      }
    }
  }
}

TEST(Deflate, WindowBitsOutsideTheRangeAreBrought) {
  Inflater inflater;
  for (int const bits : {-1, 8, 16, 100}) {
    std::string const small = deflated("hello hello hello", bits);
    EXPECT_EQ(inflater.inflate(small, 100, 200).value_or(""), "hello hello hello") << bits;
  }
}

TEST(Deflate, EmptyMessageIsOneByte) {
  EXPECT_EQ(deflated(""), "\0"sv);
  Inflater inflater;
  EXPECT_EQ(inflater.inflate("\0"sv, 100, 200), ""sv);
  EXPECT_EQ(inflater.inflate(""sv, 100, 200), ""sv);  // some senders leave the byte out
}

// RFC 7692, section 7.2.3: one block, no compression, a final block, two blocks.
TEST(Inflate, ExamplesOfTheStandard) {
  Inflater inflater;
  EXPECT_EQ(inflater.inflate("\xf2\x48\xcd\xc9\xc9\x07\x00"sv, 100, 200), "Hello"sv);
  EXPECT_EQ(inflater.inflate("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"sv, 100, 200),
            "Hello"sv);
  EXPECT_EQ(inflater.inflate("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"sv, 100, 200), "Hello"sv);
  EXPECT_EQ(inflater.inflate("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"sv, 100, 200),
            "Hello"sv);
}

TEST(Inflate, FinalBlocksMayStandAnywhere) {
  Inflater inflater;
  std::string const final_hello("\xf3\x48\xcd\xc9\xc9\x07\x00", 7);
  EXPECT_EQ(inflater.inflate(final_hello + final_hello + '\0', 100, 200), "HelloHello"sv);
  EXPECT_EQ(inflater.inflate(final_hello, 100, 200), "Hello"sv);
}

TEST(Inflate, WhatIsNoDeflateIsCorrupt) {
  Inflater inflater;
  for (std::string_view const bad : {"\xff\xff\xff\xff"sv, "\x07"sv, "\x00\x05\x00\xfa\xfe"sv}) {
    auto const result = inflater.inflate(bad, 100, 200);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, base::Errc::corrupt);
  }
  EXPECT_EQ(inflater.inflate(deflated("after"), 100, 200), "after"sv);
}

// Half a message must not be taken for a whole one.
TEST(Inflate, EveryTruncationIsCorrupt) {
  Inflater inflater;
  std::string const text =
      "the quick brown fox jumps over the lazy dog, twice: the quick brown fox";
  std::string const small = deflated(text);
  for (size_t n = 1; n < small.size(); ++n) {
    auto const result = inflater.inflate(std::string_view(small).substr(0, n), 1000, 200);
    ASSERT_FALSE(result) << n << " of " << small.size() << " gave " << *result;
    EXPECT_EQ(result.error().code, base::Errc::corrupt);
  }
}

TEST(Inflate, LimitIsExact) {
  Inflater inflater;
  for (size_t const limit : {0U, 5U, 16384U, 100000U}) {
    EXPECT_TRUE(inflater.inflate(deflated(std::string(limit, 'a')), limit, 2000));
    auto const over = inflater.inflate(deflated(std::string(limit + 1, 'a')), limit, 2000);
    ASSERT_FALSE(over);
    EXPECT_EQ(over.error().code, base::Errc::over_limit);
  }
}

TEST(Inflate, BombsAreStoppedByTheirRatio) {
  Inflater inflater;
  size_t const mib = size_t{1} << 20;
  std::string const bomb = deflated(std::string(8 * mib, '\0'));
  EXPECT_LT(bomb.size() * 200, 8 * mib);
  auto const stopped = inflater.inflate(bomb, 16 * mib, 200);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, base::Errc::over_limit);
  EXPECT_TRUE(inflater.inflate(bomb, 16 * mib, 2000));
  EXPECT_TRUE(inflater.inflate(deflated(std::string(mib, '\0')), 16 * mib, 200));
}

}  // namespace
}  // namespace wscope::net::ws
