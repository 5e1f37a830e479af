#include "runtime/sync.h"

#include <gtest/gtest.h>
#include <pthread.h>

#include <limits>

#include "runtime/cells.h"

namespace wscope::runtime {
namespace {

TEST(Guarded, OneThreadAtATime) {
  Guarded<std::pair<int, int>> pair(0, 0);
  {
    Thread threads[3];
    for (Thread& thread : threads) {
      thread = Thread("user", [&] {
        for (int i = 0; i < 20'000; ++i) {
          pair.with([](auto& p) {
            EXPECT_EQ(p.first, p.second);
            ++p.first;
            ++p.second;
          });
        }
      });
    }
  }
  Guarded<std::pair<int, int>> const& view = pair;
  EXPECT_EQ(view.with([](auto const& p) { return p.first; }), 60'000);
}

TEST(Published, WhatWasGotStaysAlive) {
  auto first = std::make_shared<int const>(1);
  std::weak_ptr<int const> const watch = first;
  Published<int> published(std::move(first));
  auto held = published.get();
  published.set(std::make_shared<int const>(2));
  EXPECT_EQ(*held, 1);
  EXPECT_EQ(*published.get(), 2);
  held.reset();
  EXPECT_TRUE(watch.expired());
}

// The old value's destructor runs outside the lock: here it looks at the new one.
TEST(Published, TheOldValueMayAskForTheNewOne) {
  struct Asks {
    Published<Asks>* published = nullptr;
    int* seen = nullptr;
    int number = 0;
    ~Asks() {
      if (published != nullptr) *seen = published->get()->number;
    }
  };
  int seen = 0;
  auto const next = std::make_shared<Asks>();
  next->number = 2;
  auto first = std::make_shared<Asks>();
  auto* const raw = first.get();
  Published<Asks> published(std::move(first));
  raw->published = &published;
  raw->seen = &seen;
  published.set(next);
  EXPECT_EQ(seen, 2);
}

TEST(Published, ReadersSeeWholeValuesOnly) {
  Published<std::vector<int>> published(std::make_shared<std::vector<int> const>(10, 0));
  Flag done;
  Thread writer("writer", [&] {
    for (int i = 1; i <= 5'000; ++i) {
      published.set(std::make_shared<std::vector<int> const>(10, i));
    }
    done.raise();
  });
  int last = 0;
  while (!done.up()) {
    auto const view = published.get();
    ASSERT_EQ(*view, std::vector<int>(10, view->front()));
    ASSERT_GE(view->front(), last);
    last = view->front();
  }
}

TEST(Thread, HasItsNameAndIsJoined) {
  std::string name;
  Thread thread("a-name-longer-than-fifteen", [&] {
    char text[32] = {};
    ::pthread_getname_np(::pthread_self(), text, sizeof text);
    name = text;
  });
  EXPECT_TRUE(thread.running());
  thread.join();
  EXPECT_FALSE(thread.running());
  EXPECT_EQ(name, "a-name-longer-t");
  thread.join();
}

TEST(Signal, WakesOnceForAnyNumberOfRaises) {
  Signal signal;
  EXPECT_FALSE(signal.wait(1'000'000));
  signal.raise();
  signal.raise();
  EXPECT_TRUE(signal.wait(0));
  EXPECT_FALSE(signal.wait(0));
  Thread raiser("raiser", [&] { signal.raise(); });
  EXPECT_TRUE(signal.wait(10'000'000'000));
}

TEST(Signal, TheLongestTimeoutDoesNotReturnAtOnce) {
  Signal signal;
  Flag waiting;
  bool got = false;
  Thread waiter("waiter", [&] {
    waiting.raise();
    got = signal.wait(std::numeric_limits<int64_t>::max());
  });
  while (!waiting.up()) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  signal.raise();
  waiter.join();
  EXPECT_TRUE(got);
}

// Whoever waited may destroy the signal at once. Seen by the sanitizers if raise() still uses it.
TEST(Signal, MayBeDestroyedByTheOneItWoke) {
  Guarded<Signal*> next(nullptr);
  Flag done;
  Thread raiser("raiser", [&] {
    while (!done.up()) {
      Signal* const signal = next.with([](Signal*& s) { return std::exchange(s, nullptr); });
      if (signal != nullptr) signal->raise();
    }
  });
  for (int i = 0; i < 5'000; ++i) {
    auto signal = std::make_unique<Signal>();
    next.with([&](Signal*& s) { s = signal.get(); });
    ASSERT_TRUE(signal->wait(10'000'000'000));
  }
  done.raise();
}

TEST(OwnerThreadDeathTest, AnotherThreadStopsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  OwnerThread owner;
  owner.check();
  owner.check();
  EXPECT_DEATH(
      {
        Thread other("other", [&] { owner.check(); });
        other.join();
      },
      "check failed");
  owner.release();
  Thread other("other", [&] { owner.check(); });
  other.join();
  EXPECT_DEATH(owner.check(), "check failed");
}

}  // namespace
}  // namespace wscope::runtime
