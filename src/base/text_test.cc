#include "base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "base/ids.h"

namespace wscope::base {
namespace {

using testing::ElementsAre;

TEST(Text, CaseIsIgnoredInAsciiOnly) {
  EXPECT_TRUE(equals_ignoring_case("WebSocket", "websocket"));
  EXPECT_TRUE(equals_ignoring_case("", ""));
  EXPECT_FALSE(equals_ignoring_case("a", "ab"));
  EXPECT_FALSE(equals_ignoring_case("@", "`"));  // 32 apart, but no letters
  EXPECT_FALSE(equals_ignoring_case("[", "{"));
  EXPECT_FALSE(equals_ignoring_case("\xc3\x84", "\xc3\xa4"));
  EXPECT_EQ(to_lower("AZaz@[\xc3\x84 09"), "azaz@[\xc3\x84 09");
}

TEST(Text, TrimTakesSpacesAndTabs) {
  EXPECT_EQ(trim(" \t a b\t "), "a b");
  EXPECT_EQ(trim(" \t "), "");
  EXPECT_EQ(trim(""), "");
  EXPECT_EQ(trim("\na\n"), "\na\n");
}

TEST(Text, SplitKeepsEmptyParts) {
  EXPECT_THAT(split("a, b ,,c", ','), ElementsAre("a", "b", "", "c"));
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_THAT(split(",", ','), ElementsAre("", ""));
  EXPECT_THAT(split("a;b", ','), ElementsAre("a;b"));
}

TEST(Text, TokenIsAWholePart) {
  EXPECT_TRUE(list_has_token("keep-alive, Upgrade", "upgrade"));
  EXPECT_TRUE(list_has_token("upgrade", "upgrade"));
  EXPECT_TRUE(list_has_token("a,\tUPGRADE\t,b", "upgrade"));
  EXPECT_FALSE(list_has_token("upgraded", "upgrade"));
  EXPECT_FALSE(list_has_token("an upgrade", "upgrade"));
  EXPECT_FALSE(list_has_token("", "upgrade"));
}

TEST(Text, UnsignedNumbersAreWholeAndInRange) {
  EXPECT_EQ(parse_uint("0"), 0U);
  EXPECT_EQ(parse_uint("18446744073709551615"), std::numeric_limits<uint64_t>::max());
  for (char const* bad :
       {"", "-1", "+1", " 1", "1 ", "1.0", "0x10", "18446744073709551616", "1e3"}) {
    EXPECT_FALSE(parse_uint(bad)) << bad;
  }
}

TEST(Text, DecimalNumbersAreWholeAndFinite) {
  EXPECT_EQ(parse_double("0.25"), 0.25);
  EXPECT_EQ(parse_double("-1.5e3"), -1500);
  EXPECT_EQ(parse_double(".5"), 0.5);
  for (char const* bad : {"", " 1", "1 ", "1.2.3", "0x1p3", "1e999", "nan", "NaN", "inf", "-inf",
                          "infinity", "nan(1)", "1,5"}) {
    EXPECT_FALSE(parse_double(bad)) << bad;
  }
}

TEST(Text, Durations) {
  EXPECT_EQ(parse_duration_ns("0"), 0);
  EXPECT_EQ(parse_duration_ns("1ns"), 1);
  EXPECT_EQ(parse_duration_ns("7us"), 7'000);
  EXPECT_EQ(parse_duration_ns("250ms"), 250'000'000);
  EXPECT_EQ(parse_duration_ns("5s"), 5'000'000'000);
  EXPECT_EQ(parse_duration_ns(" 5s "), 5'000'000'000);
  EXPECT_EQ(parse_duration_ns("1m30s"), 90'000'000'000);
  EXPECT_EQ(parse_duration_ns("1.5h"), 5'400'000'000'000);
  EXPECT_EQ(parse_duration_ns("2h"), 7'200'000'000'000);
  EXPECT_EQ(parse_duration_ns("7d"), 604'800'000'000'000);
  EXPECT_EQ(parse_duration_ns("1w"), 604'800'000'000'000);
  EXPECT_EQ(parse_duration_ns("0s"), 0);
  EXPECT_EQ(parse_duration_ns("5S"), 5'000'000'000);
  for (char const* bad : {"", "5", "s", "-5s", "5 s", "5x", "5s5", "1..5s", "1e3s", "5s,",
                          "300000d", "999999999999999999999999s", "nans", "infs"}) {
    EXPECT_FALSE(parse_duration_ns(bad)) << bad;
  }
}

TEST(Text, Bytes) {
  EXPECT_EQ(parse_bytes("0"), 0U);
  EXPECT_EQ(parse_bytes("512"), 512U);
  EXPECT_EQ(parse_bytes("512B"), 512U);
  EXPECT_EQ(parse_bytes("16MiB"), 16'777'216U);
  EXPECT_EQ(parse_bytes("10 MB"), 10'000'000U);
  EXPECT_EQ(parse_bytes("32KiB"), 32'768U);
  EXPECT_EQ(parse_bytes("1.5kib"), 1536U);
  EXPECT_EQ(parse_bytes("2GiB"), uint64_t{2} << 30);
  EXPECT_EQ(parse_bytes("3G"), 3'000'000'000U);
  for (char const* bad :
       {"", "-1", "MiB", "1 MiB x", "1TiB", "1..2", "nan", "inf", "9999999999GiB"}) {
    EXPECT_FALSE(parse_bytes(bad)) << bad;
  }
}

std::string text_of(double value) {
  std::string out;
  append_double(out, value);
  return out;
}

TEST(Text, NumbersAreWrittenShortAndReadBack) {
  std::string out = "x";
  append_uint(out, 0);
  append_uint(out, std::numeric_limits<uint64_t>::max());
  EXPECT_EQ(out, "x018446744073709551615");
  EXPECT_EQ(text_of(0.1), "0.1");
  EXPECT_EQ(text_of(5), "5");
  EXPECT_EQ(text_of(-0.005), "-0.005");
  EXPECT_EQ(text_of(std::nan("")), "NaN");
  EXPECT_EQ(text_of(std::numeric_limits<double>::infinity()), "+Inf");
  EXPECT_EQ(text_of(-std::numeric_limits<double>::infinity()), "-Inf");
  uint64_t const seed = 11;
  Rng rng(seed);
  for (int i = 0; i < 100'000; ++i) {
    auto const value = std::bit_cast<double>(rng.next());
    if (!std::isfinite(value)) continue;
    auto const back = parse_double(text_of(value));
    ASSERT_TRUE(back) << text_of(value) << " seed " << seed;
    ASSERT_EQ(*back, value) << "seed " << seed;
  }
}

TEST(Text, NearestHelpsOnlyWhenItIsNear) {
  std::string_view const known[] = {"listen", "upstream", "upstream_ca", "drain", "session"};
  EXPECT_EQ(nearest("listne", known), "listen");
  EXPECT_EQ(nearest("Upstream", known), "upstream");
  EXPECT_EQ(nearest("upstraem_ca", known), "upstream_ca");
  EXPECT_EQ(nearest("sesion", known), "session");
  EXPECT_EQ(nearest("dran", known), "drain");
  EXPECT_EQ(nearest("colour", known), "");
  EXPECT_EQ(nearest("li", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest("listen", {}), "");
}

}  // namespace
}  // namespace wscope::base
