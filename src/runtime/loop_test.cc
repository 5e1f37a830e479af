#include "runtime/loop.h"

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <functional>

namespace wscope::runtime {
namespace {

using base::kMilli;

// An eventfd that the loop watches.
class Watched : public Pollable {
 public:
  explicit Watched(std::function<void(uint32_t)> call)
      : fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), call_(std::move(call)) {}
  ~Watched() override { ::close(fd); }
  void on_ready(uint32_t events) noexcept override {
    ++calls;
    call_(events);
  }
  void make_ready() const {
    uint64_t const one = 1;
    ASSERT_EQ(::write(fd, &one, sizeof one), 8);
  }
  void drain() const {
    uint64_t count = 0;
    ASSERT_EQ(::read(fd, &count, sizeof count), 8);
  }
  int const fd;
  int calls = 0;

 private:
  std::function<void(uint32_t)> call_;
};

class Alarm final : public Timer {
 public:
  explicit Alarm(std::function<void()> call) : call_(std::move(call)) {}

 private:
  void on_timer() noexcept override { call_(); }
  std::function<void()> call_;
};

class LoopTest : public testing::Test {
 protected:
  base::RealClock clock_;
  Loop loop_{clock_};
};

TEST_F(LoopTest, RunsWhatOtherThreadsPost) {
  constexpr int kEach = 3000;
  int sum = 0;
  Thread runner("loop", [&] { loop_.run(); });
  {
    Thread posters[3];
    for (Thread& poster : posters) {
      poster = Thread("poster", [&] {
        for (int i = 0; i < kEach; ++i) ASSERT_TRUE(loop_.post([&] { ++sum; }));
      });
    }
  }
  loop_.stop();
  runner.join();
  EXPECT_EQ(sum, 3 * kEach);
  EXPECT_EQ(loop_.mailbox_dropped(), 0U);
}

TEST_F(LoopTest, StopRunsWhatWasPostedBeforeIt) {
  std::vector<int> done;
  ASSERT_TRUE(loop_.post([&] { done.push_back(1); }));
  ASSERT_TRUE(loop_.post([&] { done.push_back(2); }));
  loop_.stop();
  loop_.run();
  EXPECT_EQ(done, (std::vector{1, 2}));
}

TEST_F(LoopTest, CallsTimersWithTheRealClock) {
  int64_t asked = 0;
  int64_t called = 0;
  Alarm alarm([&] {
    called = clock_.steady_ns();
    loop_.stop();
  });
  ASSERT_TRUE(loop_.post([&] {
    asked = loop_.now_ns() + 30 * kMilli;
    loop_.arm(alarm, 30 * kMilli);
  }));
  loop_.run();
  EXPECT_GE(called, asked);
  EXPECT_LT(called, asked + 5 * base::kSecond);  // the machine may be busy; never is what matters
}

TEST_F(LoopTest, TellsWhichDescriptorIsReady) {
  uint32_t seen = 0;
  Watched watched([&](uint32_t events) {
    seen = events;
    watched.drain();
    loop_.remove(watched.fd, watched);
    loop_.stop();
  });
  ASSERT_TRUE(loop_.add(watched.fd, EPOLLIN, watched));
  watched.make_ready();
  loop_.run();
  EXPECT_EQ(seen, uint32_t{EPOLLIN});
}

TEST_F(LoopTest, ModifyChangesWhatIsWaitedFor) {
  uint32_t seen = 0;
  Watched watched([&](uint32_t events) {
    seen |= events;
    loop_.stop();
  });
  ASSERT_TRUE(loop_.add(watched.fd, EPOLLIN, watched));
  ASSERT_TRUE(loop_.modify(watched.fd, EPOLLOUT, watched));
  loop_.run();
  EXPECT_EQ(seen, uint32_t{EPOLLOUT});
  loop_.remove(watched.fd, watched);
}

TEST_F(LoopTest, AddAndModifyFailOnWhatIsNoDescriptor) {
  Watched watched([](uint32_t) {});
  auto const added = loop_.add(-1, EPOLLIN, watched);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, base::Errc::io);
  EXPECT_FALSE(loop_.modify(watched.fd, EPOLLIN, watched));
  loop_.remove(watched.fd, watched);
}

// Two are ready in one wake-up, and whichever comes first removes both.
TEST_F(LoopTest, RemoveDropsTheEventThatWaitsInTheSameWakeUp) {
  std::unique_ptr<Watched> a;
  std::unique_ptr<Watched> b;
  auto const both = [&](uint32_t) {
    loop_.remove(a->fd, *a);
    loop_.remove(b->fd, *b);
    loop_.stop();
  };
  a = std::make_unique<Watched>(both);
  b = std::make_unique<Watched>(both);
  ASSERT_TRUE(loop_.add(a->fd, EPOLLIN, *a));
  ASSERT_TRUE(loop_.add(b->fd, EPOLLIN, *b));
  a->make_ready();
  b->make_ready();
  loop_.run();
  EXPECT_EQ(a->calls + b->calls, 1);
}

TEST_F(LoopTest, ATaskMayDropAnEventThatWaitsInTheSameWakeUp) {
  Watched watched([](uint32_t) {});
  ASSERT_TRUE(loop_.post([&] {
    loop_.remove(watched.fd, watched);
    loop_.stop();
  }));
  ASSERT_TRUE(loop_.add(watched.fd, EPOLLIN, watched));
  watched.make_ready();
  loop_.run();
  EXPECT_EQ(watched.calls, 0);  // the mailbox became ready first
}

// A timer that is due in the wake-up in which its connection became ready closes it first.
TEST(Loop, ATimerDropsTheEventThatWaitsInTheSameWakeUp) {
  base::ManualClock clock;
  Loop loop(clock);
  Watched watched([](uint32_t) {});
  Alarm alarm([&] {
    loop.remove(watched.fd, watched);
    loop.stop();
  });
  ASSERT_TRUE(loop.add(watched.fd, EPOLLIN, watched));
  loop.arm(alarm, 10 * kMilli);
  clock.advance(20 * kMilli);
  watched.make_ready();
  loop.run();
  EXPECT_EQ(watched.calls, 0);
}

TEST_F(LoopTest, RetireDestroysAtTheEndOfTheTurn) {
  struct Gone final : Pollable {
    explicit Gone(bool& flag) : destroyed(flag) {}
    ~Gone() override { destroyed = true; }
    void on_ready(uint32_t) noexcept override {}
    bool& destroyed;
  };
  bool destroyed = false;
  bool destroyed_in_turn = true;
  int hooks = 0;
  bool destroyed_at_hook = true;
  loop_.at_turn_end([&] {
    ++hooks;
    if (hooks == 1) destroyed_at_hook = destroyed;
  });
  ASSERT_TRUE(loop_.post([&] {
    loop_.retire(std::make_unique<Gone>(destroyed));
    destroyed_in_turn = destroyed;
    ASSERT_TRUE(loop_.post([&] {
      EXPECT_TRUE(destroyed);
      loop_.stop();
    }));
  }));
  loop_.run();
  EXPECT_FALSE(destroyed_in_turn);
  EXPECT_FALSE(destroyed_at_hook);
  EXPECT_TRUE(destroyed);
  EXPECT_EQ(hooks, 2);
  EXPECT_EQ(loop_.turns(), 2U);
}

TEST_F(LoopTest, WhatIsRetiredMayRetireMore) {
  struct Chain final : Pollable {
    Chain(Loop& l, int n, int& c) : loop(l), left(n), count(c) {}
    ~Chain() override {
      ++count;
      if (left > 0) loop.retire(std::make_unique<Chain>(loop, left - 1, count));
    }
    void on_ready(uint32_t) noexcept override {}
    Loop& loop;
    int left;
    int& count;
  };
  int count = 0;
  ASSERT_TRUE(loop_.post([&] {
    loop_.retire(std::make_unique<Chain>(loop_, 3, count));
    loop_.stop();
  }));
  loop_.run();
  EXPECT_EQ(count, 4);
}

// Tasks that never ran may own connections, whose destructors use the loop.
TEST(Loop, ATaskThatNeverRanMayRetireFromItsDestructor) {
  struct Nothing final : Pollable {
    explicit Nothing(int& c) : count(c) {}
    ~Nothing() override { ++count; }
    void on_ready(uint32_t) noexcept override {}
    int& count;
  };
  struct Retires {
    Loop& loop;
    int& count;
    ~Retires() { loop.retire(std::make_unique<Nothing>(count)); }
  };
  base::RealClock const clock;
  int count = 0;
  {
    Loop loop(clock);
    std::unique_ptr<Retires> retires(new Retires{loop, count});
    ASSERT_TRUE(loop.post([r = std::move(retires)] { (void)r; }));
  }
  EXPECT_EQ(count, 1);
}

TEST_F(LoopTest, KnowsTheTimeOfTheWakeUp) {
  int64_t unix_ns = 0;
  int64_t steady_ns = 0;
  int64_t later_ns = 0;
  ASSERT_TRUE(loop_.post([&] {
    unix_ns = loop_.unix_ns();
    steady_ns = loop_.now_ns();
    later_ns = loop_.read_now_ns();
    loop_.stop();
  }));
  int64_t const before = clock_.steady_ns();
  int64_t const unix_before = clock_.unix_ns();
  loop_.run();
  EXPECT_GE(steady_ns, before);
  EXPECT_GE(later_ns, steady_ns);
  EXPECT_LE(later_ns, clock_.steady_ns());
  EXPECT_NEAR(static_cast<double>(unix_ns - unix_before), 0, 5e9);
}

TEST_F(LoopTest, CountsTheTimeItWorks) {
  int turns = 0;
  std::function<void()> again = [&] {
    int64_t const end = clock_.steady_ns() + kMilli / 10;
    while (clock_.steady_ns() < end) {
    }
    if (++turns == 200) {
      loop_.stop();
    } else {
      ASSERT_TRUE(loop_.post([&] { again(); }));
    }
  };
  ASSERT_TRUE(loop_.post([&] { again(); }));
  loop_.run();
  // Three turns were timed for 64 each, of at least 0.1 ms.
  EXPECT_GE(loop_.busy_ns(), uint64_t{3 * 64 * kMilli / 10});
}

TEST(LoopDeathTest, BelongsToOneThread) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        base::RealClock const clock;
        Loop loop(clock);
        loop.stop();
        loop.run();
        Thread other("other", [&] { loop.run(); });
        other.join();
      },
      "check failed");
}

}  // namespace
}  // namespace wscope::runtime
