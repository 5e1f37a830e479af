#include "cli/load_schedule.h"

#include <gtest/gtest.h>

namespace wscope::cli {
namespace {

TEST(LoadSchedule, SlowRatesGiveEachMessageItsTime) {
  LoadSchedule const schedule(1'000, 5);
  EXPECT_EQ(schedule.tick_ns(), base::kMilli);
  for (uint64_t i : {0u, 1u, 2u, 999u, 123'456u}) {
    EXPECT_EQ(schedule.due_ns(i), 5 + static_cast<int64_t>(i) * base::kMilli);
  }
  EXPECT_EQ(schedule.due_by(4), 0u);
  EXPECT_EQ(schedule.due_by(5), 1u);
  EXPECT_EQ(schedule.due_by(4 + base::kMilli), 1u);
  EXPECT_EQ(schedule.due_by(5 + base::kMilli), 2u);
}

TEST(LoadSchedule, FastRatesLeaveInBurstsAndKeepTheRate) {
  for (double const rate : {20'001.0, 33'333.0, 1e6, 2'345'678.9}) {
    LoadSchedule const schedule(rate, 0);
    EXPECT_EQ(schedule.tick_ns(), LoadSchedule::kBurstNs);
    EXPECT_NEAR(static_cast<double>(schedule.due_by(10 * base::kSecond)), 10 * rate,
                rate * 1e-4 + 2);
  }
}

TEST(LoadSchedule, DueByAndDueNsAgree) {
  for (double const rate : {0.5, 7.0, 19'999.0, 20'000.0, 33'333.3, 777'777.0}) {
    LoadSchedule const schedule(rate, 1'000);
    int64_t now = 0;
    uint64_t before = 0;
    for (int i = 0; i < 2'000; ++i) {
      now += 17'003;
      uint64_t const n = schedule.due_by(now);
      ASSERT_GE(n, before);
      if (n > 0) {
        ASSERT_LE(schedule.due_ns(n - 1), now) << rate;
      }
      ASSERT_GT(schedule.due_ns(n), now) << rate;
      before = n;
    }
  }
}

}  // namespace
}  // namespace wscope::cli
