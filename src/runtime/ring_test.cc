#include "runtime/ring.h"

#include <gtest/gtest.h>

#include "base/ids.h"
#include "runtime/cells.h"
#include "runtime/sync.h"

namespace wscope::runtime {
namespace {

std::vector<int> drain_all(Ring<int>& ring, int* calls = nullptr) {
  std::vector<int> out;
  int called = 0;
  size_t const count = ring.drain([&](std::span<int const> items) {
    ++called;
    EXPECT_FALSE(items.empty());
    out.insert(out.end(), items.begin(), items.end());
  });
  EXPECT_EQ(count, out.size());
  if (calls != nullptr) *calls = called;
  return out;
}

TEST(Ring, RoundsUpToAPowerOfTwo) {
  EXPECT_EQ(Ring<int>(1).slots(), 1U);
  EXPECT_EQ(Ring<int>(5).slots(), 8U);
  EXPECT_EQ(Ring<int>(8).slots(), 8U);
}

TEST(Ring, ShowsNothingBeforePublish) {
  Ring<int> ring(8);
  EXPECT_TRUE(ring.push(1));
  EXPECT_TRUE(ring.push(2));
  EXPECT_TRUE(drain_all(ring).empty());
  ring.publish();
  EXPECT_TRUE(ring.push(3));
  EXPECT_EQ(drain_all(ring), (std::vector{1, 2}));
  EXPECT_TRUE(drain_all(ring).empty());
  ring.publish();
  EXPECT_EQ(drain_all(ring), std::vector{3});
}

TEST(Ring, FullRefusesUntilDrained) {
  Ring<int> ring(4);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(ring.push(i));
  EXPECT_FALSE(ring.push(4));
  EXPECT_EQ(ring.waiting(), 4U);
  ring.publish();
  EXPECT_FALSE(ring.push(4));
  EXPECT_EQ(drain_all(ring), (std::vector{0, 1, 2, 3}));
  EXPECT_TRUE(ring.push(5));
  EXPECT_EQ(ring.waiting(), 1U);
  ring.publish();
  EXPECT_EQ(drain_all(ring), std::vector{5});
}

TEST(Ring, AWrapIsTakenInTwoRunsInOrder) {
  Ring<int> ring(8);
  int next = 0;
  int calls = 0;
  int twice = 0;
  for (int round = 0; round < 100; ++round) {
    std::vector<int> expected;
    for (int i = 0; i < 5; ++i, ++next) {
      ASSERT_TRUE(ring.push(next));
      expected.push_back(next);
    }
    ring.publish();
    ASSERT_EQ(drain_all(ring, &calls), expected);
    ASSERT_LE(calls, 2);
    twice += calls == 2;
  }
  EXPECT_EQ(twice, 50);  // 5 of 8 slots a round: every eighth item but the aligned ones wraps
}

TEST(Ring, TwoThreadsKeepOrderAndCountEveryLoss) {
  for (uint64_t const seed : {1U, 2U, 3U}) {
    constexpr uint64_t kItems = 300'000;
    Ring<uint64_t> ring(64);
    Flag done;
    uint64_t dropped = 0;
    Thread writer("writer", [&] {
      base::Rng rng(seed);
      for (uint64_t i = 1; i <= kItems; ++i) {
        if (!ring.push(i)) ++dropped;
        if (rng.below(20) == 0) ring.publish();
      }
      ring.publish();
      done.raise();
    });
    uint64_t taken = 0;
    uint64_t last = 0;
    auto const take = [&](std::span<uint64_t const> items) {
      for (uint64_t const item : items) {
        ASSERT_GT(item, last) << "seed " << seed;
        last = item;
        ++taken;
      }
    };
    while (!done.up()) ring.drain(take);
    ring.drain(take);
    writer.join();
    EXPECT_EQ(taken + dropped, kItems) << "seed " << seed;
    EXPECT_GT(taken, 0U);
  }
}

std::unique_ptr<ByteRing> make_ring(size_t bytes) {
  auto ring = ByteRing::make(bytes);
  EXPECT_TRUE(ring) << ring.error().what;
  return std::move(*ring);
}

bool put(ByteRing& ring, std::string_view text, size_t headroom = 0) {
  char* const room = ring.reserve(text.size(), headroom);
  if (room == nullptr) return false;
  text.copy(room, text.size());
  ring.commit(text.size());
  return true;
}

std::string drain_all(ByteRing& ring) {
  std::string out;
  size_t const count = ring.drain([&](std::string_view bytes) { out += bytes; });
  EXPECT_EQ(count, out.size());
  return out;
}

TEST(ByteRing, IsAtLeastAPageAndAPowerOfTwo) {
  EXPECT_EQ(make_ring(1)->size(), 4096U);
  EXPECT_EQ(make_ring(4097)->size(), 8192U);
}

TEST(ByteRing, MoreThanTheAddressSpaceIsAnError) {
  auto const ring = ByteRing::make(size_t{1} << 62);
  ASSERT_FALSE(ring);
  EXPECT_EQ(ring.error().code, base::Errc::io);
}

TEST(ByteRing, KeepsWhatIsCommittedAndShowsWhatIsPublished) {
  auto const ring = make_ring(4096);
  char* const room = ring->reserve(100);
  ASSERT_NE(room, nullptr);
  std::string_view("hello world").copy(room, 11);
  ring->commit(5);
  EXPECT_EQ(ring->waiting(), 5U);
  EXPECT_EQ(drain_all(*ring), "");
  ring->publish();
  EXPECT_EQ(drain_all(*ring), "hello");
  EXPECT_EQ(drain_all(*ring), "");
}

TEST(ByteRing, FullToTheLastByteAndNoFurther) {
  auto const ring = make_ring(4096);
  EXPECT_EQ(ring->reserve(4097), nullptr);
  EXPECT_TRUE(put(*ring, std::string(4096, 'a')));
  EXPECT_FALSE(put(*ring, "b"));
  EXPECT_NE(ring->reserve(0), nullptr);
  ring->publish();
  EXPECT_EQ(drain_all(*ring), std::string(4096, 'a'));
  EXPECT_TRUE(put(*ring, "b"));
}

TEST(ByteRing, HeadroomIsKeptForWhatMattersMore) {
  auto const ring = make_ring(4096);
  EXPECT_TRUE(put(*ring, std::string(3000, 'a'), 1000));
  EXPECT_FALSE(put(*ring, std::string(97, 'b'), 1000));
  EXPECT_TRUE(put(*ring, std::string(96, 'b'), 1000));
  EXPECT_FALSE(put(*ring, "c", 1000));
  EXPECT_TRUE(put(*ring, std::string(1000, 'd')));
  EXPECT_FALSE(put(*ring, "e"));
  ring->publish();
  EXPECT_EQ(drain_all(*ring).size(), 4096U);
}

TEST(ByteRing, ALineNeverWraps) {
  auto const ring = make_ring(4096);
  for (int round = 0; round < 1000; ++round) {
    std::string const line(1500, static_cast<char>('a' + round % 26));
    ASSERT_TRUE(put(*ring, line));
    ring->publish();
    int calls = 0;
    ring->drain([&](std::string_view bytes) {
      ++calls;
      ASSERT_EQ(bytes, line) << round;
    });
    ASSERT_EQ(calls, 1);
  }
}

TEST(ByteRing, TwoThreadsPassWholeLines) {
  for (uint64_t const seed : {11U, 12U, 13U}) {
    auto const ring = make_ring(4096);
    Flag done;
    uint64_t sent = 0;
    Thread writer("writer", [&] {
      base::Rng rng(seed);
      for (int i = 0; i < 50'000; ++i) {
        std::string line = std::to_string(i) + ":";
        line.append(rng.below(100), static_cast<char>('a' + i % 26));
        line += '\n';
        if (put(*ring, line)) ++sent;
        if (rng.below(4) == 0) ring->publish();
      }
      ring->publish();
      done.raise();
    });
    uint64_t lines = 0;
    int last = -1;
    auto const take = [&](std::string_view bytes) {
      ASSERT_EQ(bytes.back(), '\n');
      while (!bytes.empty()) {
        size_t const end = bytes.find('\n');
        std::string const line(bytes.substr(0, end));
        bytes.remove_prefix(end + 1);
        int const number = std::stoi(line);
        ASSERT_GT(number, last) << "seed " << seed;
        last = number;
        size_t const text = line.find(':') + 1;
        ASSERT_EQ(line.find_first_not_of(static_cast<char>('a' + number % 26), text),
                  std::string::npos);
        ++lines;
      }
    };
    while (!done.up()) ring->drain(take);
    ring->drain(take);
    writer.join();
    EXPECT_EQ(lines, sent) << "seed " << seed;
    EXPECT_GT(lines, 0U);
  }
}

}  // namespace
}  // namespace wscope::runtime
