#include "net/date.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace wscope::net {
namespace {

constexpr int64_t kExample = 784111777;  // 1994-11-06 08:49:37
constexpr int64_t kNow = 1'700'000'000;  // 2023-11-14 22:13:20

TEST(HttpDate, FormatsFixdate) {
  EXPECT_EQ(format_http_date(kExample), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(format_http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(format_http_date(951782400), "Tue, 29 Feb 2000 00:00:00 GMT");
  EXPECT_EQ(format_http_date(-5), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(format_http_date(INT64_MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
}

TEST(HttpDate, ReadsAllThreeForms) {
  EXPECT_EQ(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT", kNow), kExample);
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", kNow), kExample);
  EXPECT_EQ(parse_http_date("Sun Nov  6 08:49:37 1994", kNow), kExample);
  EXPECT_EQ(parse_http_date("Sun Nov 16 08:49:37 1994", kNow), kExample + 10 * 86400);
  // 50 years ahead is the furthest that a short year can mean.
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-73 08:49:37 GMT", kNow), 3277183777);
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-74 08:49:37 GMT", kNow), 152959777);
}

TEST(HttpDate, ReadsBackWhatItWrites) {
  for (int64_t at = 0; at < 253'402'300'799; at += 86'400 * 97 + 3'671) {
    ASSERT_EQ(parse_http_date(format_http_date(at), kNow), at);
  }
}

TEST(HttpDate, RefusesOtherText) {
  for (char const* text : {"", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET",
                           "Sun, 6 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT",
                           "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:00 GMT",
                           "Sun, 06 nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT ",
                           "Sun, 06 Nov 199 08:49:37 GMT"}) {
    EXPECT_FALSE(parse_http_date(text, kNow)) << text;
  }
}

TEST(RetryAfter, TakesSecondsAndDatesWithinADay) {
  int64_t const now_ns = (kExample - 30) * base::kSecond;
  EXPECT_EQ(parse_retry_after("120", now_ns), 120 * base::kSecond);
  EXPECT_EQ(parse_retry_after(" 0 ", now_ns), 0);
  EXPECT_EQ(parse_retry_after("99999999999", now_ns), 86'400 * base::kSecond);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now_ns), 30 * base::kSecond);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:00:00 GMT", now_ns), 0);
  EXPECT_FALSE(parse_retry_after("", now_ns));
  EXPECT_FALSE(parse_retry_after("-1", now_ns));
  EXPECT_FALSE(parse_retry_after("soon", now_ns));
}

}  // namespace
}  // namespace wscope::net
