#include "runtime/cells.h"

#include <gtest/gtest.h>

#include "runtime/sync.h"

namespace wscope::runtime {
namespace {

TEST(Cell, HoldsACountOrADouble) {
  Cell cell;
  EXPECT_EQ(cell.read(), 0U);
  EXPECT_EQ(cell.read_double(), 0.0);
  cell.add(3);
  cell.add(4);
  EXPECT_EQ(cell.read(), 7U);
  cell.set(1);
  EXPECT_EQ(cell.read(), 1U);
  cell.set_double(0.5);
  cell.add_double(0.25);
  EXPECT_EQ(cell.read_double(), 0.75);
}

TEST(Cell, AReaderSeesACountThatOnlyGrowsAndNothingIsLost) {
  constexpr uint64_t kAdds = 2'000'000;
  Cell cell;
  Flag done;
  Thread writer("writer", [&] {
    for (uint64_t i = 0; i < kAdds; ++i) cell.add(1);
    done.raise();
  });
  uint64_t last = 0;
  while (!done.up()) {
    uint64_t const now = cell.read();
    ASSERT_GE(now, last);
    last = now;
  }
  EXPECT_EQ(cell.read(), kAdds);
}

TEST(SharedCell, NoUpdateOfAnyThreadIsLost) {
  SharedCell cell;
  {
    Thread threads[3];
    for (Thread& thread : threads) {
      thread = Thread("adder", [&] {
        for (int i = 0; i < 100'000; ++i) {
          cell.add(3);
          cell.sub(1);
        }
      });
    }
  }
  EXPECT_EQ(cell.read(), 600'000U);
  EXPECT_EQ(cell.add(5), 600'005U);
  cell.set(2);
  EXPECT_EQ(cell.read(), 2U);
}

TEST(Flag, SaysWhetherItWasUp) {
  Flag flag;
  EXPECT_FALSE(flag.up());
  EXPECT_FALSE(flag.exchange_up());
  EXPECT_TRUE(flag.exchange_up());
  flag.lower();
  EXPECT_FALSE(flag.up());
}

// Under ThreadSanitizer this fails if the flag does not order what was written before.
TEST(Flag, WhatWasWrittenBeforeIsSeen) {
  for (int round = 0; round < 200; ++round) {
    int value = 0;
    Flag flag;
    Thread writer("writer", [&] {
      value = 42;
      flag.raise();
    });
    while (!flag.up()) std::this_thread::yield();
    ASSERT_EQ(value, 42);
  }
}

struct Record {
  uint64_t words[8];
};

TEST(Slot, IsEmptyUntilWritten) {
  Slot<Record> slot;
  Record out{};
  EXPECT_FALSE(slot.read(out));
  slot.write({{1, 2, 3, 4, 5, 6, 7, 8}});
  ASSERT_TRUE(slot.read(out));
  EXPECT_EQ(out.words[0], 1U);
  EXPECT_EQ(out.words[7], 8U);
}

TEST(Slot, NoReaderEverSeesATornRecord) {
  Slot<Record> slot;
  Flag done;
  Thread writer("writer", [&] {
    for (uint64_t i = 1; i <= 300'000; ++i) {
      Record record;
      for (uint64_t k = 0; k < 8; ++k) record.words[k] = i * 8 + k;
      slot.write(record);
    }
    done.raise();
  });
  uint64_t last = 0;
  uint64_t seen = 0;
  while (!done.up()) {
    Record out;
    if (!slot.read(out)) continue;
    for (uint64_t k = 0; k < 8; ++k) ASSERT_EQ(out.words[k], out.words[0] + k);
    ASSERT_GE(out.words[0], last);
    last = out.words[0];
    ++seen;
  }
  Record out{};
  ASSERT_TRUE(slot.read(out));
  EXPECT_EQ(out.words[0], 300'000U * 8);
  RecordProperty("reads", static_cast<int>(seen));
}

TEST(Pointer, FollowsWhatWasSet) {
  Pointer<int> pointer;
  EXPECT_EQ(pointer.get(), nullptr);
  int value = 0;
  Thread writer("writer", [&] {
    value = 9;
    pointer.set(&value);
  });
  while (pointer.get() == nullptr) std::this_thread::yield();
  EXPECT_EQ(*pointer.get(), 9);
}

}  // namespace
}  // namespace wscope::runtime
