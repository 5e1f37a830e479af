#include "gateway/rates.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/ids.h"

namespace wscope::gateway {
namespace {

using base::kSecond;

TEST(BucketQuantile, InterpolatesInsideABucket) {
  std::vector<double> const bounds = {0.1, 0.5, 1};
  auto q = [&](double share, std::vector<uint64_t> const& counts) {
    return bucket_quantile(share, bounds, counts);
  };
  EXPECT_DOUBLE_EQ(q(0.5, {10, 0, 0, 0}), 0.05);
  EXPECT_DOUBLE_EQ(q(0.95, {0, 100, 0, 0}), 0.1 + 0.4 * 0.95);
  EXPECT_DOUBLE_EQ(q(0.95, {90, 0, 10, 0}), 0.5 + 0.5 * 0.5);
  EXPECT_DOUBLE_EQ(q(0.9, {90, 0, 10, 0}), 0.1) << "the bucket that reaches the rank";
  EXPECT_DOUBLE_EQ(q(0.95, {90, 0, 0, 10}), 1) << "above all bounds: the highest";
  EXPECT_DOUBLE_EQ(q(1, {1, 1, 1, 0}), 1);
  EXPECT_DOUBLE_EQ(q(0.95, {0, 0, 0, 0}), 0) << "no data";
  EXPECT_DOUBLE_EQ(bucket_quantile(0.95, {}, std::vector<uint64_t>{5}), 0);
  std::vector<double> const negative = {-1, 1};
  EXPECT_DOUBLE_EQ(bucket_quantile(0.5, negative, std::vector<uint64_t>{9, 1, 0}), -1);
}

class RatesTest : public testing::Test {
 protected:
  void tick(int64_t ns = kSecond) {
    clock_.advance(ns);
    rates_.second({messages_, errors_, buckets_, good_});
  }
  base::ManualClock clock_;
  Rates rates_{clock_, {0.1, 0.5, 1}};
  uint64_t messages_ = 0;
  uint64_t errors_ = 0;
  std::vector<uint64_t> buckets_ = {0, 0, 0, 0};
  bool good_ = true;
};

TEST_F(RatesTest, AreZeroBeforeAnythingHappened) {
  EXPECT_DOUBLE_EQ(rates_.messages_per_second(), 0);
  EXPECT_DOUBLE_EQ(rates_.errors_last_minute(), 0);
  EXPECT_DOUBLE_EQ(rates_.response_time_p95(), 0);
  tick();
  EXPECT_DOUBLE_EQ(rates_.messages_per_second(), 0);
  EXPECT_DOUBLE_EQ(rates_.response_time_p95(), 0);
}

TEST_F(RatesTest, MessagesPerSecondIsOverSixtySeconds) {
  for (int i = 0; i < 10; ++i) {
    messages_ += 50;
    tick();
  }
  EXPECT_DOUBLE_EQ(rates_.messages_per_second(), 50) << "since the start while younger";
  for (int i = 0; i < 60; ++i) {
    messages_ += 120;
    tick();
  }
  EXPECT_DOUBLE_EQ(rates_.messages_per_second(), 120);
  for (int i = 0; i < 30; ++i) tick();
  EXPECT_DOUBLE_EQ(rates_.messages_per_second(), 60) << "half of the window is silent";
  for (int i = 0; i < 30; ++i) tick();
  EXPECT_DOUBLE_EQ(rates_.messages_per_second(), 0);
}

TEST_F(RatesTest, LateTicksDoNotBendTheRate) {
  base::Rng rng(5);
  for (int i = 0; i < 200; ++i) {
    int64_t const ms = 900 + static_cast<int64_t>(rng.below(2200));
    messages_ += static_cast<uint64_t>(ms);  // exactly 1000 a second
    tick(ms * base::kMilli);
    ASSERT_NEAR(rates_.messages_per_second(), 1000, 1e-6) << "seed 5 step " << i;
  }
}

TEST_F(RatesTest, ErrorsAreThoseOfTheLastMinute) {
  errors_ = 7;
  tick();
  EXPECT_DOUBLE_EQ(rates_.errors_last_minute(), 7) << "the first second counts";
  for (int i = 0; i < 59; ++i) tick();
  EXPECT_DOUBLE_EQ(rates_.errors_last_minute(), 7);
  tick();
  EXPECT_DOUBLE_EQ(rates_.errors_last_minute(), 0);
  errors_ += 2;
  tick();
  EXPECT_DOUBLE_EQ(rates_.errors_last_minute(), 2);
}

TEST_F(RatesTest, P95IsOverFiveMinutes) {
  buckets_ = {100, 0, 0, 0};
  tick();
  EXPECT_DOUBLE_EQ(rates_.response_time_p95(), 0.095);
  for (int i = 0; i < 298; ++i) tick();
  buckets_[2] += 100;
  tick();
  EXPECT_DOUBLE_EQ(rates_.response_time_p95(), 0.5 + 0.5 * 0.9) << "rank 190 of 200";
  tick();
  EXPECT_DOUBLE_EQ(rates_.response_time_p95(), 0.5 + 0.5 * 0.95) << "the first hundred are gone";
  for (int i = 0; i < 300; ++i) tick();
  EXPECT_DOUBLE_EQ(rates_.response_time_p95(), 0);
}

TEST_F(RatesTest, UptimeIsTheShareOfGoodSeconds) {
  EXPECT_DOUBLE_EQ(rates_.uptime().percentage(), 100);
  EXPECT_DOUBLE_EQ(rates_.uptime().coverage(), 0);
  for (int i = 0; i < 300; ++i) {
    good_ = i % 4 != 0;
    tick();
  }
  EXPECT_DOUBLE_EQ(rates_.uptime().percentage(), 75);
  EXPECT_DOUBLE_EQ(rates_.uptime().coverage(), 300.0 / (30 * 86400));
}

constexpr int64_t kStart = 1'700'000'040 * kSecond;  // the start of a minute

TEST(Uptime, ForgetsAfterThirtyDays) {
  Uptime uptime;
  for (int i = 0; i < 60; ++i) uptime.second(kStart + i * kSecond, false);
  int64_t const day = 86400 * kSecond;
  uptime.second(kStart + 30 * day - kSecond, true);
  EXPECT_DOUBLE_EQ(uptime.percentage(), 100.0 / 61);
  uptime.second(kStart + 30 * day, true);
  EXPECT_DOUBLE_EQ(uptime.percentage(), 100) << "the bad minute has left the window";
  uptime.second(kStart + 5000 * day, false);
  EXPECT_DOUBLE_EQ(uptime.percentage(), 0);
  EXPECT_DOUBLE_EQ(uptime.coverage(), 1.0 / (30 * 86400));
}

TEST(Uptime, CountsASecondOnceAndBadWins) {
  Uptime uptime;
  uptime.second(kStart, true);
  uptime.second(kStart + 999 * base::kMilli, true);
  EXPECT_DOUBLE_EQ(uptime.coverage() * 30 * 86400, 1);
  uptime.second(kStart + 1, false);
  EXPECT_DOUBLE_EQ(uptime.percentage(), 0);
  uptime.second(kStart + 2, false);
  uptime.second(kStart + 3, true);
  EXPECT_DOUBLE_EQ(uptime.percentage(), 0);
  EXPECT_DOUBLE_EQ(uptime.coverage() * 30 * 86400, 1);
}

TEST(Uptime, ClockSetBackNeverCoversMoreThanThereIs) {
  Uptime uptime;
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 60; ++i) uptime.second(kStart + i * kSecond, true);
  }
  EXPECT_DOUBLE_EQ(uptime.coverage() * 30 * 86400, 60);
  uptime.second(kStart - 31 * 86400 * kSecond, false);
  EXPECT_DOUBLE_EQ(uptime.percentage(), 100);
}

TEST(Uptime, TextReadsBackTheSame) {
  Uptime uptime;
  base::Rng rng(17);
  int64_t now = kStart;
  for (int i = 0; i < 20'000; ++i) {
    uptime.second(now, rng.below(50) != 0);
    now += static_cast<int64_t>(1 + (rng.below(200) == 0 ? rng.below(100'000) : 0)) * kSecond;
  }
  std::string const text = uptime.to_text();
  Uptime back;
  ASSERT_TRUE(back.from_text(text)) << "seed 17";
  EXPECT_EQ(back.percentage(), uptime.percentage());
  EXPECT_EQ(back.coverage(), uptime.coverage());
  EXPECT_EQ(back.to_text(), text);
  back.second(now, true);
  uptime.second(now, true);
  EXPECT_EQ(back.to_text(), uptime.to_text()) << "and goes on from there";
}

TEST(Uptime, TextOfASteadyMonthIsShort) {
  Uptime uptime;
  for (int64_t i = 0; i < Uptime::kMinutes * 60; ++i) uptime.second(kStart + i * kSecond, true);
  EXPECT_DOUBLE_EQ(uptime.coverage(), 1);
  EXPECT_EQ(uptime.to_text(), "wscope-uptime 1\n28333334 43200 60 60\n");
}

TEST(Uptime, RefusesTextThatIsNotItsOwn) {
  Uptime uptime;
  uptime.second(kStart, false);
  std::string const before = uptime.to_text();
  for (std::string_view bad :
       {"", "wscope-uptime 2\n", "wscope-uptime 1\n1 2 3\n", "wscope-uptime 1\n5 1 61 61\n",
        "wscope-uptime 1\n5 1 3 2\n", "wscope-uptime 1\n5 1 0 0\n", "wscope-uptime 1\n0 1 1 1\n",
        "wscope-uptime 1\n5 43201 1 1\n", "wscope-uptime 1\n5 2 1 1\n6 1 1 1\n",
        "wscope-uptime 1\n5 0 1 1\n", "wscope-uptime 1\nx 1 1 1\n",
        "wscope-uptime 1\n9999999999999 1 1 1\n",
        "wscope-uptime 1\n5 30000 1 1\n50000 30000 1 1\n"}) {
    base::Status const status = uptime.from_text(bad);
    ASSERT_FALSE(status) << bad;
    EXPECT_EQ(status.error().code, base::Errc::corrupt);
    EXPECT_EQ(uptime.to_text(), before) << "nothing changed";
  }
}

}  // namespace
}  // namespace wscope::gateway
