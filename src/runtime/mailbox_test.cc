#include "runtime/mailbox.h"

#include <gtest/gtest.h>
#include <poll.h>

#include "runtime/sync.h"

namespace wscope::runtime {
namespace {

bool readable(int fd, int timeout_ms = 0) {
  pollfd poll{fd, POLLIN, 0};
  return ::poll(&poll, 1, timeout_ms) == 1;
}

TEST(Mailbox, RunsInOrderAndWakesOnceABatch) {
  Mailbox box;
  EXPECT_FALSE(readable(box.fd()));
  EXPECT_EQ(box.run(), 0U);
  std::vector<int> done;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(box.post([&done, i] { done.push_back(i); }));
  EXPECT_TRUE(readable(box.fd()));
  EXPECT_EQ(box.run(), 5U);
  EXPECT_EQ(done, (std::vector{0, 1, 2, 3, 4}));
  EXPECT_FALSE(readable(box.fd()));
}

TEST(Mailbox, ATaskMayPostAndIsRunNextTime) {
  Mailbox box;
  int runs = 0;
  ASSERT_TRUE(box.post([&] {
    ++runs;
    ASSERT_TRUE(box.post([&] { ++runs; }));
  }));
  EXPECT_EQ(box.run(), 1U);
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(readable(box.fd()));
  EXPECT_EQ(box.run(), 1U);
  EXPECT_EQ(runs, 2);
}

TEST(Mailbox, WakesWithoutATask) {
  Mailbox box;
  box.wake();
  EXPECT_TRUE(readable(box.fd()));
  EXPECT_EQ(box.run(), 0U);
  EXPECT_FALSE(readable(box.fd()));
}

TEST(Mailbox, IsBoundedAndCountsWhatItRefuses) {
  Mailbox box;
  size_t run = 0;
  for (size_t i = 0; i < Mailbox::kTasksMax; ++i) ASSERT_TRUE(box.post([&run] { ++run; }));
  EXPECT_EQ(box.dropped(), 0U);
  EXPECT_FALSE(box.post([&run] { ++run; }));
  EXPECT_FALSE(box.post([&run] { ++run; }));
  EXPECT_EQ(box.dropped(), 2U);
  EXPECT_EQ(box.run(), Mailbox::kTasksMax);
  EXPECT_EQ(run, Mailbox::kTasksMax);
  EXPECT_TRUE(box.post([] {}));
}

TEST(Mailbox, WaitingTasksAreDestroyedWithIt) {
  auto const held = std::make_shared<int>(1);
  {
    Mailbox box;
    ASSERT_TRUE(box.post([held] {}));
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1);
}

TEST(Mailbox, ClearDestroysWithoutRunning) {
  auto const held = std::make_shared<int>(1);
  Mailbox box;
  bool ran = false;
  ASSERT_TRUE(box.post([&ran, held] { ran = true; }));
  box.clear();
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_EQ(box.run(), 0U);
  EXPECT_FALSE(ran);
  ASSERT_TRUE(box.post([&ran] { ran = true; }));
  EXPECT_TRUE(readable(box.fd()));
  EXPECT_EQ(box.run(), 1U);
  EXPECT_TRUE(ran);
}

TEST(Mailbox, ManyThreadsEachInTheirOwnOrder) {
  constexpr int kThreads = 4;
  constexpr int kTasks = 5'000;
  Mailbox box;
  std::vector<int> last(kThreads, -1);
  Thread threads[kThreads];
  for (int t = 0; t < kThreads; ++t) {
    threads[t] = Thread("poster", [&box, &last, t] {
      for (int i = 0; i < kTasks; ++i) {
        ASSERT_TRUE(box.post([&last, t, i] {
          EXPECT_EQ(last[static_cast<size_t>(t)], i - 1);
          last[static_cast<size_t>(t)] = i;
        }));
      }
    });
  }
  size_t done = 0;
  while (done < size_t{kThreads} * kTasks) {
    // Every batch must wake: if one did not, this would time out.
    ASSERT_TRUE(readable(box.fd(), 10'000));
    done += box.run();
  }
  EXPECT_EQ(last, std::vector<int>(kThreads, kTasks - 1));
  EXPECT_EQ(box.dropped(), 0U);
}

}  // namespace
}  // namespace wscope::runtime
