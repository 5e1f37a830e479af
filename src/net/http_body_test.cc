#include "net/http_body.h"

#include <gtest/gtest.h>

#include "base/ids.h"

namespace wscope::net {
namespace {

TEST(BodyScanner, CountsALengthAndStopsThere) {
  BodyScanner body;
  std::string payload;
  body.start(Framing::length, 5);
  EXPECT_EQ(body.feed("abc", &payload), 3u);
  EXPECT_FALSE(body.done());
  EXPECT_EQ(body.feed("deGET / HTTP/1.1", &payload), 2u);
  EXPECT_TRUE(body.done());
  EXPECT_EQ(body.feed("more", &payload), 0u);
  EXPECT_EQ(payload, "abcde");
  EXPECT_EQ(body.payload_bytes(), 5u);
}

TEST(BodyScanner, KnowsEmptyBodiesAndEndlessOnes) {
  BodyScanner body;
  body.start(Framing::none, 7);
  EXPECT_TRUE(body.done());
  body.start(Framing::length, 0);
  EXPECT_TRUE(body.done());
  body.start(Framing::until_close, 0);
  EXPECT_EQ(body.feed("anything"), 8u);
  EXPECT_FALSE(body.done());
  EXPECT_EQ(body.payload_bytes(), 8u);
}

TEST(BodyScanner, TakesChunksApartAtEverySplit) {
  std::string const wire =
      "5\r\nhello\r\n006;ext=\"a;b\"\r\n world\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n";
  std::string const after = "GET /";
  for (size_t split = 0; split <= wire.size(); ++split) {
    BodyScanner body;
    std::string payload;
    body.start(Framing::chunked, 0);
    size_t used = body.feed(std::string_view(wire).substr(0, split), &payload);
    EXPECT_EQ(used, split);
    EXPECT_EQ(body.done(), split == wire.size());
    used += body.feed((wire + after).substr(split), &payload);
    EXPECT_EQ(used, wire.size());
    EXPECT_TRUE(body.done());
    EXPECT_EQ(payload, "hello world0123456789");
    EXPECT_EQ(body.payload_bytes(), payload.size());
  }
}

TEST(BodyScanner, RefusesBrokenChunks) {
  std::string const long_extension(BodyScanner::kExtensionBytesMax + 1, 'x');
  std::string const long_trailer(BodyScanner::kTrailerBytesMax + 1, 'x');
  for (std::string const& wire : {
           std::string("\r\n"),
           std::string("g\r\n"),
           std::string("-1\r\n"),
           std::string("0x5\r\n"),
           std::string("5\nhello"),
           std::string("5\r\nhello\n"),
           std::string("5\r\nhelloX"),
           std::string("5\r\rhello"),
           std::string("1000000000000000\r\n"),
           std::string(" 5\r\n"),
           std::string("5 \x01\r\n"),
           std::string("0\r\n\rX"),
           std::string("0\r\nA: b\n\r\n"),
           std::string("5\r\nhello\r\r"),
           std::string("+5\r\n"),
           "1;" + long_extension + "\r\n",
           "0\r\n" + long_trailer,
       }) {
    BodyScanner body;
    body.start(Framing::chunked, 0);
    body.feed(wire);
    EXPECT_TRUE(body.bad()) << wire.substr(0, 40);
    EXPECT_EQ(body.feed("5\r\nhello\r\n"), 0u);
  }
}

TEST(BodyScanner, BoundsTrailersOfManyShortLines) {
  BodyScanner body;
  body.start(Framing::chunked, 0);
  body.feed("0\r\n");
  size_t sent = 0;
  while (!body.bad() && sent < 100'000) sent += body.feed("a\r\n");
  EXPECT_TRUE(body.bad());
  EXPECT_LE(sent, 2 * BodyScanner::kTrailerBytesMax);
}

}  // namespace
}  // namespace wscope::net
