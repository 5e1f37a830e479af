#include "runtime/worker_pool.h"

#include <gtest/gtest.h>

#include <mutex>

namespace wscope::runtime {
namespace {

constexpr int64_t kLong = 10 * base::kSecond;

// Holds the only worker until it is let go.
struct Held {
  Signal started;
  Signal go;
  void take(WorkerPool& pool) {
    ASSERT_TRUE(pool.submit(
        [this](bool) {
          started.raise();
          EXPECT_TRUE(go.wait(kLong));
        },
        kLong));
    ASSERT_TRUE(started.wait(kLong));
  }
};

TEST(WorkerPool, RunsEveryJobOnce) {
  base::RealClock const clock;
  Guarded<std::vector<int>> runs(1000, 0);
  SharedCell done;
  Signal all;
  {
    WorkerPool pool(clock, 3, 1000);
    for (size_t i = 0; i < 1000; ++i) {
      ASSERT_TRUE(pool.submit(
          [&, i](bool) {
            runs.with([&](auto& r) { ++r[i]; });
            if (done.add(1) == 1000) all.raise();
          },
          kLong));
    }
    ASSERT_TRUE(all.wait(kLong));
    EXPECT_EQ(pool.refused(), 0U);
  }
  EXPECT_EQ(runs.with([](auto const& r) { return r; }), std::vector<int>(1000, 1));
}

TEST(WorkerPool, OneWorkerKeepsTheOrder) {
  base::RealClock const clock;
  std::vector<int> order;
  Signal all;
  WorkerPool pool(clock, 1, 100);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(pool.submit([&, i](bool) { order.push_back(i); }, kLong));
  }
  ASSERT_TRUE(pool.submit([&](bool) { all.raise(); }, kLong));
  ASSERT_TRUE(all.wait(kLong));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(WorkerPool, IsBoundedAndCountsWhatItRefuses) {
  base::RealClock const clock;
  Held held;
  SharedCell ran;
  Signal all;
  WorkerPool pool(clock, 1, 2);
  held.take(pool);
  auto const job = [&](bool) {
    if (ran.add(1) == 2) all.raise();
  };
  EXPECT_TRUE(pool.submit(job, kLong));
  EXPECT_TRUE(pool.submit(job, kLong));
  EXPECT_FALSE(pool.submit(job, kLong));
  EXPECT_EQ(pool.refused(), 1U);
  held.go.raise();
  ASSERT_TRUE(all.wait(kLong));
  EXPECT_EQ(ran.read(), 2U);
}

// The clock stands still but for the steps that the test makes while the worker is held.
class StepClock final : public base::Clock {
 public:
  int64_t unix_ns() const override { return steady_ns(); }
  int64_t steady_ns() const override { return static_cast<int64_t>(now_.read()); }
  void advance(int64_t ns) { now_.add(static_cast<uint64_t>(ns)); }

 private:
  SharedCell now_;
};

TEST(WorkerPool, AJobIsToldThatItsDeadlinePassed) {
  StepClock clock;
  Held held;
  Signal all;
  std::vector<bool> late;
  WorkerPool pool(clock, 1, 10);
  held.take(pool);
  for (int64_t const deadline : {99, 100, 101}) {
    ASSERT_TRUE(pool.submit([&](bool is) { late.push_back(is); }, deadline));
  }
  ASSERT_TRUE(pool.submit([&](bool) { all.raise(); }, kLong));
  clock.advance(100);
  held.go.raise();
  ASSERT_TRUE(all.wait(kLong));
  EXPECT_EQ(late, (std::vector{true, false, false}));
}

TEST(WorkerPool, ShutdownWaitsForRunningJobsAndDropsWaitingOnes) {
  base::RealClock const clock;
  auto const counted = std::make_shared<int>(0);
  SharedCell finished;
  SharedCell ran;
  Signal started;
  {
    WorkerPool pool(clock, 1, 10);
    ASSERT_TRUE(pool.submit(
        [&](bool) {
          started.raise();
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          finished.add(1);
        },
        kLong));
    ASSERT_TRUE(started.wait(kLong));
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE(pool.submit([&, counted](bool) { ran.add(1); }, kLong));
    }
    EXPECT_EQ(counted.use_count(), 6);
  }
  EXPECT_EQ(finished.read(), 1U);
  EXPECT_EQ(ran.read(), 0U);
  EXPECT_EQ(counted.use_count(), 1);
}

// What a dropped job owns may come back to the pool from its destructor, and is refused.
TEST(WorkerPool, ADroppedJobMayAskThePoolAgain) {
  base::RealClock const clock;
  struct Retries {
    WorkerPool& pool;
    Held& held;
    bool& refused;
    ~Retries() {
      refused = !pool.submit([](bool) {}, kLong);
      held.go.raise();
    }
  };
  bool refused = false;
  Held held;
  {
    WorkerPool pool(clock, 1, 10);
    held.take(pool);
    std::unique_ptr<Retries> retries(new Retries{pool, held, refused});
    ASSERT_TRUE(pool.submit([r = std::move(retries)](bool) { (void)r; }, kLong));
  }
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace wscope::runtime
