#include "runtime/timers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "base/clock.h"
#include "base/ids.h"

namespace wscope::runtime {
namespace {

using base::kMilli;
using base::kSecond;

class Probe final : public Timer {
 public:
  explicit Probe(std::function<void()> call = {}) : call_(std::move(call)) {}
  int calls = 0;

 private:
  void on_timer() noexcept override {
    ++calls;
    if (call_) call_();
  }
  std::function<void()> call_;
};

class TimersTest : public testing::Test {
 protected:
  void arm(Timer& timer, int64_t delay_ns) { timers_.arm(timer, clock_.steady_ns(), delay_ns); }
  // Moves on in steps as a loop that is woken often would.
  void run_for(int64_t ns, int64_t step_ns = kMilli) {
    int64_t const end = clock_.steady_ns() + ns;
    while (clock_.steady_ns() < end) {
      clock_.advance(std::min(step_ns, end - clock_.steady_ns()));
      timers_.advance(clock_.steady_ns());
    }
  }
  int64_t next_due() const { return timers_.next_due_ns(clock_.steady_ns()); }

  base::ManualClock clock_;
  Timers timers_{clock_.steady_ns()};
};

TEST_F(TimersTest, NothingArmedNothingDue) {
  EXPECT_EQ(next_due(), -1);
  run_for(3 * kSecond, kSecond);
  EXPECT_EQ(next_due(), -1);
}

TEST_F(TimersTest, NeverEarlyAndAtMostOneTickLate) {
  for (int64_t const delay :
       {int64_t{0}, int64_t{1}, kMilli, 4 * kMilli, 5 * kMilli, kSecond, 1023 * kMilli,
        1024 * kMilli, 1025 * kMilli, 2048 * kMilli, 10 * kSecond}) {
    int64_t const asked = clock_.steady_ns() + delay;
    int64_t called = -1;
    Probe probe([&] { called = clock_.steady_ns(); });
    arm(probe, delay);
    EXPECT_TRUE(probe.armed());
    run_for(delay + 20 * kMilli, kMilli / 4);
    ASSERT_EQ(probe.calls, 1) << delay;
    EXPECT_FALSE(probe.armed());
    EXPECT_GE(called, asked) << delay;
    // A delay of 0 waits for the next tick; all others are rounded up to theirs.
    EXPECT_LE(called, asked + Timers::kTickNs + kMilli / 4) << delay;
    clock_.advance(777'777);
  }
}

TEST_F(TimersTest, CascadesBeyondBothWheels) {
  for (int64_t const delay :
       {262 * kSecond, 263 * kSecond, 300 * kSecond, 3600 * kSecond, 90'000 * kSecond}) {
    int64_t const asked = clock_.steady_ns() + delay;
    int64_t called = -1;
    Probe probe([&] { called = clock_.steady_ns(); });
    arm(probe, delay);
    run_for(delay - 8 * kMilli, 50 * kMilli);
    EXPECT_EQ(probe.calls, 0) << delay;
    run_for(20 * kMilli, kMilli);
    ASSERT_EQ(probe.calls, 1) << delay;
    EXPECT_GE(called, asked) << delay;
    EXPECT_LE(called, asked + Timers::kTickNs + kMilli) << delay;
  }
}

TEST_F(TimersTest, AJumpOfTheClockCallsAllThatIsDueInOrder) {
  std::vector<int> order;
  Probe a([&] { order.push_back(1); });
  Probe b([&] { order.push_back(2); });
  Probe c([&] { order.push_back(3); });
  Probe d([&] { order.push_back(4); });
  arm(c, 400 * kSecond);
  arm(a, 10 * kMilli);
  arm(b, 5 * kSecond);
  arm(d, 4000 * kSecond);
  clock_.advance(1000 * kSecond);
  timers_.advance(clock_.steady_ns());
  EXPECT_EQ(order, (std::vector{1, 2, 3}));
  EXPECT_TRUE(d.armed());
}

// A process that slept for a year must not count every tick of it.
TEST_F(TimersTest, ALongIdleTimeIsSkippedAndNotWalked) {
  Probe probe;
  arm(probe, kSecond);
  clock_.advance(400 * int64_t{86'400} * kSecond);
  base::RealClock const real;
  int64_t const before = real.steady_ns();
  timers_.advance(clock_.steady_ns());
  EXPECT_LT(real.steady_ns() - before, kSecond);
  EXPECT_EQ(probe.calls, 1);
  int64_t const now = clock_.steady_ns();
  arm(probe, 20 * kMilli);
  EXPECT_LE(next_due(), 24 * kMilli);
  run_for(30 * kMilli);
  EXPECT_EQ(probe.calls, 2);
  EXPECT_GE(clock_.steady_ns(), now + 20 * kMilli);
}

TEST_F(TimersTest, ReArmingMovesIt) {
  Probe probe;
  arm(probe, 10 * kMilli);
  run_for(8 * kMilli);
  arm(probe, 10 * kMilli);
  run_for(9 * kMilli);
  EXPECT_EQ(probe.calls, 0);
  run_for(10 * kMilli);
  EXPECT_EQ(probe.calls, 1);
}

TEST_F(TimersTest, MayReArmItselfWhileCalled) {
  Probe* self = nullptr;
  Probe probe([&] { arm(*self, 1024 * kMilli); });  // the very slot that is being run
  self = &probe;
  arm(probe, 1024 * kMilli);
  run_for(10 * kSecond, 4 * kMilli);
  EXPECT_EQ(probe.calls, 9);
  Probe* quick = nullptr;
  Probe always([&] { arm(*quick, 0); });
  quick = &always;
  arm(always, 0);
  clock_.advance(40 * kMilli);
  timers_.advance(clock_.steady_ns());
  EXPECT_GE(always.calls, 1);
  EXPECT_LE(always.calls, 2);  // no endless loop within one advance
}

TEST_F(TimersTest, MayCancelAnotherOfTheSameSlot) {
  Probe second;
  Probe first([&] { second.cancel(); });
  arm(first, 10 * kMilli);
  arm(second, 10 * kMilli);
  run_for(20 * kMilli);
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 0);
  EXPECT_FALSE(second.armed());
}

TEST_F(TimersTest, MayMoveOrDestroyAnotherOfTheSameSlotOrItself) {
  Probe moved;
  auto gone = std::make_unique<Probe>();
  Probe* const address = gone.get();
  std::unique_ptr<Probe> self;
  self = std::make_unique<Probe>([&] { self.reset(); });
  Probe first([&] {
    gone.reset();
    arm(moved, kSecond);
  });
  arm(first, 10 * kMilli);
  arm(*address, 10 * kMilli);
  arm(moved, 10 * kMilli);
  arm(*self, 10 * kMilli);
  run_for(20 * kMilli);
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(moved.calls, 0);
  EXPECT_EQ(self, nullptr);
  run_for(kSecond);
  EXPECT_EQ(moved.calls, 1);
}

TEST_F(TimersTest, DestroyedWhileArmedIsForgotten) {
  Probe other;
  arm(other, 10 * kMilli);
  for (int64_t const delay : {10 * kMilli, 5 * kSecond, 1000 * kSecond}) {
    Probe probe;
    arm(probe, delay);
  }
  run_for(2000 * kSecond, kSecond);
  EXPECT_EQ(other.calls, 1);
}

TEST_F(TimersTest, TimersMayGoBeforeWhatIsArmed) {
  Probe near;
  Probe far;
  {
    Timers timers(0);
    timers.arm(near, 0, kMilli);
    timers.arm(far, 0, 100 * kSecond);
  }
  EXPECT_FALSE(near.armed());
  EXPECT_FALSE(far.armed());
  near.cancel();
}

TEST_F(TimersTest, NegativeDelayIsNow) {
  Probe probe;
  arm(probe, -kSecond);
  EXPECT_LE(next_due(), Timers::kTickNs);
  run_for(8 * kMilli);
  EXPECT_EQ(probe.calls, 1);
}

TEST_F(TimersTest, NextDueIsNeverLaterThanTheFirstTimer) {
  for (int64_t const delay : {int64_t{1}, 5 * kMilli, 1020 * kMilli, 1100 * kMilli, 100 * kSecond,
                              300 * kSecond, 5000 * kSecond}) {
    Probe probe;
    arm(probe, delay);
    int64_t const asked = clock_.steady_ns() + delay;
    int wakes = 0;
    while (probe.calls == 0) {
      int64_t const due = next_due();
      ASSERT_GE(due, 0) << delay;
      ASSERT_LE(clock_.steady_ns() + due, asked + Timers::kTickNs) << delay;
      clock_.advance(std::max<int64_t>(due, 1));
      timers_.advance(clock_.steady_ns());
      ++wakes;
    }
    // Sleeping exactly as told costs a wake-up a cascade, not one a tick.
    EXPECT_LE(wakes, 3 + delay / (200 * kSecond)) << delay;
    EXPECT_GE(clock_.steady_ns(), asked);
    EXPECT_LE(clock_.steady_ns(), asked + Timers::kTickNs);
  }
}

// Against a plain list of times: arm, re-arm and cancel at random, advance by random steps.
TEST(TimersModel, AgreesWithAPlainList) {
  struct Entry final : Timer {
    void on_timer() noexcept override {
      ++calls;
      called_ns = clock->steady_ns();
    }
    base::ManualClock* clock = nullptr;
    int calls = 0;
    int64_t called_ns = 0;
    int64_t asked_ns = -1;  // of the model; -1: not armed
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    base::Rng rng(seed);
    base::ManualClock clock;
    Timers timers(clock.steady_ns());
    std::vector<std::unique_ptr<Entry>> entries;
    for (int i = 0; i < 50; ++i) {
      entries.push_back(std::make_unique<Entry>());
      entries.back()->clock = &clock;
    }
    for (int round = 0; round < 3000; ++round) {
      int64_t const scale[] = {10 * kMilli, kSecond, 20 * kSecond, 400 * kSecond};
      Entry& entry = *entries[rng.below(entries.size())];
      if (rng.below(5) == 0) {
        entry.cancel();
        entry.asked_ns = -1;
      } else {
        auto const delay =
            static_cast<int64_t>(rng.below(static_cast<uint64_t>(scale[rng.below(4)])));
        timers.arm(entry, clock.steady_ns(), delay);
        entry.asked_ns = clock.steady_ns() + delay;
      }
      int64_t const due = timers.next_due_ns(clock.steady_ns());
      int64_t const step =
          rng.below(3) == 0 && due >= 0
              ? due
              : static_cast<int64_t>(rng.below(rng.below(10) == 0 ? 30 * kSecond : 20 * kMilli));
      clock.advance(step);
      timers.advance(clock.steady_ns());
      int64_t const now = clock.steady_ns();
      int64_t const ticks = now / Timers::kTickNs;
      int64_t first = -1;
      for (auto& each : entries) {
        int64_t const due_tick = (each->asked_ns + Timers::kTickNs - 1) / Timers::kTickNs;
        bool const called = each->calls > 0;
        each->calls = 0;
        if (called) {
          ASSERT_GE(each->asked_ns, 0) << "called though idle; seed " << seed << " round " << round;
          ASSERT_LE(each->asked_ns, now) << "early; seed " << seed << " round " << round;
          each->asked_ns = -1;
        } else if (each->asked_ns >= 0) {
          // Armed within this tick it waits for the next one.
          ASSERT_GE(due_tick + 1, ticks) << "late; seed " << seed << " round " << round;
          if (first < 0 || each->asked_ns < first) first = each->asked_ns;
        }
        ASSERT_EQ(each->armed(), each->asked_ns >= 0) << "seed " << seed << " round " << round;
      }
      int64_t const next = timers.next_due_ns(now);
      if (first >= 0) {
        ASSERT_GE(next, 0);
        ASSERT_LE(now + next, std::max(first, now) + Timers::kTickNs) << "seed " << seed;
      }
    }
  }
}

}  // namespace
}  // namespace wscope::runtime
