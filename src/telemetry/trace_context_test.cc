#include "telemetry/trace_context.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace wscope::telemetry {
namespace {

constexpr std::string_view kGood = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceParent, ReadsWhatItWrites) {
  auto const parent = parse_traceparent(kGood);
  ASSERT_TRUE(parent);
  EXPECT_EQ(base::to_hex(parent->trace), "0af7651916cd43dd8448eb211c80319c");
  EXPECT_EQ(base::to_hex(parent->span), "b7ad6b7169203331");
  EXPECT_TRUE(parent->sampled());
  EXPECT_EQ(format_traceparent(*parent), kGood);
  EXPECT_EQ(parse_traceparent(std::string(1, ' ').append(kGood).append("\t")), parent);
}

TEST(TraceParent, KeepsOnlyKnownFlags) {
  std::string text(kGood);
  text.replace(53, 2, "ff");
  EXPECT_EQ(parse_traceparent(text)->flags, kFlagSampled | kFlagRandom);
  text.replace(53, 2, "00");
  EXPECT_FALSE(parse_traceparent(text)->sampled());
}

TEST(TraceParent, ReadsTheFirstFieldsOfLaterVersions) {
  std::string text(kGood);
  text.replace(0, 2, "cc");
  EXPECT_EQ(parse_traceparent(text), parse_traceparent(kGood));
  EXPECT_EQ(parse_traceparent(text + "-what-ever"), parse_traceparent(kGood));
  EXPECT_FALSE(parse_traceparent(text + "x"));
}

TEST(TraceParent, IgnoresWhatIsMalformed) {
  std::string const good(kGood);
  std::vector<std::string> const all = {
      "",
      good.substr(1),
      good + "-00",
      good + ".",
      "ff" + good.substr(2),
      "0x" + good.substr(2),
      "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
      "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-001",
  };
  for (std::string const& bad : all) {
    EXPECT_FALSE(parse_traceparent(bad)) << bad;
  }
}

TEST(TraceState, DropsMalformedAndRepeatedMembers) {
  EXPECT_EQ(clean_tracestate(""), "");
  EXPECT_EQ(clean_tracestate("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE");
  EXPECT_EQ(clean_tracestate(" a=1 ,, b=2,\tc=3"), "a=1,b=2,c=3");
  EXPECT_EQ(clean_tracestate("a=1,a=2,b=3"), "a=1,b=3");
  EXPECT_EQ(clean_tracestate("A=1,=2,c,d=,e=x=y,f=\x01,g=ok"), "g=ok");
  EXPECT_EQ(clean_tracestate("1tenant@sys=v"), "1tenant@sys=v");
  std::string long_parts(257, 'k');
  long_parts += "=v,b=";
  long_parts.append(257, 'v');
  long_parts += ",c=1";
  EXPECT_EQ(clean_tracestate(long_parts), "c=1");
}

TEST(TraceState, KeepsAtLeast512AndAtMostItsBound) {
  std::string member512 = "a=";
  member512.append(255, 'x');
  member512 += ",b=";
  member512.append(252, 'y');
  EXPECT_EQ(clean_tracestate(member512), member512);
  std::string many;
  for (int i = 0; i < 100; ++i) many += "k" + std::to_string(i) + "=v,";
  std::string const kept = clean_tracestate(many);
  EXPECT_EQ(std::count(kept.begin(), kept.end(), '='), 32);
  EXPECT_TRUE(kept.starts_with("k0=v,k1=v"));
  std::string wide;
  for (int i = 0; i < 20; ++i)
    wide.append("k" + std::to_string(i) + "=").append(200, 'v').append(",");
  EXPECT_LE(clean_tracestate(wide).size(), kTraceStateMax);
}

}  // namespace
}  // namespace wscope::telemetry
