#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/ids.h"
#include "base/utf8.h"

namespace wscope::base {
namespace {

std::string json_of(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonString, EveryAsciiByte) {
  for (int c = 0; c < 0x80; ++c) {
    std::string const text(1, static_cast<char>(c));
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
    std::string expected = c < 0x20 || c == 0x7f ? escaped : text;
    if (c == '"') expected = "\\\"";
    if (c == '\\') expected = "\\\\";
    if (c == '\n') expected = "\\n";
    if (c == '\r') expected = "\\r";
    if (c == '\t') expected = "\\t";
    EXPECT_EQ(json_of(text), "\"" + expected + "\"") << c;
    EXPECT_EQ(json_of("ab" + text + "cd"), "\"ab" + expected + "cd\"") << c;
  }
}

TEST(JsonString, Utf8IsKeptAndLineSeparatorsAreEscaped) {
  EXPECT_EQ(json_of("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"),
            "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
  EXPECT_EQ(json_of("a\xe2\x80\xa8"
                    "b\xe2\x80\xa9"
                    "c"),
            "\"a\\u2028b\\u2029c\"");
  EXPECT_EQ(json_of("\xe2\x80\xa7\xe2\x80\xaa"), "\"\xe2\x80\xa7\xe2\x80\xaa\"");
}

TEST(JsonString, WrongBytesBecomeReplacementCharactersEach) {
  std::string const r = "\xef\xbf\xbd";
  EXPECT_EQ(json_of("\xff"), "\"" + r + "\"");
  EXPECT_EQ(json_of("a\x80z"), "\"a" + r + "z\"");
  EXPECT_EQ(json_of("\xc3"), "\"" + r + "\"");
  EXPECT_EQ(json_of("\xe2\x82"), "\"" + r + r + "\"");
  EXPECT_EQ(json_of("\xe2\x82\x22"), "\"" + r + r + "\\\"\"");
  EXPECT_EQ(json_of("\xed\xa0\x80"), "\"" + r + r + r + "\"");
  EXPECT_EQ(json_of("\xc0\xaf"), "\"" + r + r + "\"");
}

// Whatever comes in: one line, UTF-8, and no quote but the outer ones.
TEST(JsonString, AnyBytesGiveOneCleanLine) {
  uint64_t const seed = 21;
  Rng rng(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string text(rng.below(24), '\0');
    for (char& c : text) c = static_cast<char>(rng.next());
    std::string const out = json_of(text);
    Utf8Checker checker;
    ASSERT_TRUE(checker.feed(out) && checker.complete()) << "seed " << seed << " round " << round;
    ASSERT_GE(out.size(), 2U);
    for (size_t i = 1; i + 1 < out.size(); ++i) {
      ASSERT_GE(static_cast<unsigned char>(out[i]), 0x20) << "seed " << seed << " round " << round;
      ASSERT_NE(out[i], '"');
      if (out[i] == '\\') ++i;
    }
    ASSERT_EQ(out.front(), '"');
    ASSERT_EQ(out.back(), '"');
  }
}

TEST(JsonWriter, SetsCommasInNestedStructures) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("a", 1).key("b").begin_array();
  json.value(true).value("x").null().begin_object().end_object().begin_array().end_array();
  json.end_array().key("c").begin_object().field("d", "e").end_object();
  json.key("raw").raw("{\"k\":[1,2]}").field("last", false).end_object();
  EXPECT_EQ(out,
            R"({"a":1,"b":[true,"x",null,{},[]],"c":{"d":"e"},"raw":{"k":[1,2]},"last":false})");
}

TEST(JsonWriter, AppendsToWhatIsThere) {
  std::string out = "line: ";
  JsonWriter(out).begin_array().value(1).value(2).end_array();
  EXPECT_EQ(out, "line: [1,2]");
}

TEST(JsonWriter, Numbers) {
  std::string out;
  JsonWriter json(out);
  json.begin_array()
      .value(std::numeric_limits<uint64_t>::max())
      .value(std::numeric_limits<int64_t>::min())
      .value(std::numeric_limits<int64_t>::max())
      .value(std::numeric_limits<uint32_t>::max())
      .value(-1)
      .value(0.25)
      .value(1e300)
      .value(std::nan(""))
      .value(-std::numeric_limits<double>::infinity())
      .end_array();
  EXPECT_EQ(out,
            "[18446744073709551615,-9223372036854775808,9223372036854775807,4294967295,-1,0.25,"
            "1e+300,null,null]");
}

TEST(JsonWriter, KeysAreEscaped) {
  std::string out;
  JsonWriter(out).begin_object().field("a\"\n", std::string("b\x01")).end_object();
  EXPECT_EQ(out, R"({"a\"\n":"b\u0001"})");
}

}  // namespace
}  // namespace wscope::base
