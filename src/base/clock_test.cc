#include "base/clock.h"

#include <gtest/gtest.h>

#include <ctime>

namespace wscope::base {
namespace {

TEST(RealClock, GivesTheSystemsTimes) {
  RealClock const clock;
  int64_t const before = int64_t{::time(nullptr)} - 1;
  int64_t const now = clock.unix_ns();
  int64_t const after = int64_t{::time(nullptr)} + 1;
  EXPECT_GE(now, before * kSecond);
  EXPECT_LE(now, after * kSecond);
}

TEST(RealClock, SteadyNeverGoesBack) {
  RealClock const clock;
  int64_t last = clock.steady_ns();
  int64_t const first = last;
  for (int i = 0; i < 100'000; ++i) {
    int64_t const now = clock.steady_ns();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_GT(last, first);
}

TEST(ManualClock, MovesOnlyWhenTold) {
  ManualClock clock(5 * kSecond);
  int64_t const steady = clock.steady_ns();
  EXPECT_EQ(clock.unix_ns(), 5 * kSecond);
  EXPECT_EQ(clock.steady_ns(), steady);
  clock.advance(3 * kMilli);
  EXPECT_EQ(clock.unix_ns(), 5 * kSecond + 3 * kMilli);
  EXPECT_EQ(clock.steady_ns(), steady + 3 * kMilli);
}

TEST(ManualClock, AStepOfTheWallClockLeavesTheSteadyOne) {
  ManualClock clock;
  int64_t const steady = clock.steady_ns();
  int64_t const wall = clock.unix_ns();
  clock.step_unix(-3600 * kSecond);
  EXPECT_EQ(clock.unix_ns(), wall - 3600 * kSecond);
  EXPECT_EQ(clock.steady_ns(), steady);
}

}  // namespace
}  // namespace wscope::base
