#include "gateway/cork.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/ids.h"
#include "base/result.h"

namespace wscope::gateway {
namespace {

// Both ends of a connection whose writer does not wait.
struct CorkTest : testing::Test {
  CorkTest() {
    std::array<int, 2> ends{};
    WSCOPE_CHECK(
        ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) == 0);
    writer = net::Transport(ends[0]);
    reader = net::Transport(ends[1]);
  }
  std::string read_all() {
    std::string out;
    char bytes[4096];
    for (;;) {
      net::IoResult const result = reader.read(bytes, sizeof bytes);
      if (result.kind != net::IoKind::done) return out;
      out.append(bytes, result.bytes);
    }
  }
  net::Transport writer;
  net::Transport reader;
  Backlog backlog;
};

TEST(BacklogTest, GivesBackWhatWasAppendedInOrder) {
  Backlog backlog;
  uint64_t const seed = base::Rng().next();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  base::Rng rng(seed);
  std::string expected;
  std::string got;
  size_t longest = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string const piece(rng.below(900), static_cast<char>('a' + i % 26));
    backlog.append(piece);
    expected += piece;
    size_t const take = std::min<size_t>(backlog.size(), rng.below(1000));
    got += backlog.view().substr(0, take);
    backlog.consumed(take);
    longest = std::max(longest, backlog.size());
  }
  got += backlog.view();
  backlog.consumed(backlog.size());
  EXPECT_TRUE(backlog.empty());
  EXPECT_EQ(backlog.size(), 0U);
  EXPECT_TRUE(got == expected);
}

TEST_F(CorkTest, WritesAtOnceWhatTheKernelTakes) {
  EXPECT_EQ(write_or_keep(writer, backlog, "abc"), Sent::all);
  EXPECT_EQ(write_or_keep(writer, backlog, "head ", "body"), Sent::all);
  EXPECT_EQ(write_or_keep(writer, backlog, ""), Sent::all);
  EXPECT_TRUE(backlog.empty());
  EXPECT_EQ(read_all(), "abchead body");
}

// Whatever the kernel takes in the middle of, every byte goes out once and in order.
TEST_F(CorkTest, KeepsTheRestInOrder) {
  std::string expected;
  std::string got;
  std::string const body(50'000, 'b');
  int waited = 0;
  for (int i = 0; i < 100; ++i) {
    std::string const header = "<" + std::to_string(i) + ">";
    Sent const sent = i % 2 == 0 ? write_or_keep(writer, backlog, header, body)
                                 : write_or_keep(writer, backlog, header + body);
    ASSERT_NE(sent, Sent::failed);
    ASSERT_EQ(sent == Sent::waits, !backlog.empty());
    expected += header + body;
    if (sent == Sent::all) continue;
    ++waited;
    if (i % 3 != 0) continue;
    got += read_all();
    ASSERT_NE(write_backlog(writer, backlog), Sent::failed);
  }
  EXPECT_GT(waited, 10);
  while (!backlog.empty()) {
    got += read_all();
    ASSERT_NE(write_backlog(writer, backlog), Sent::failed);
  }
  got += read_all();
  EXPECT_TRUE(got == expected);
}

TEST_F(CorkTest, SaysWhenThePeerIsGone) {
  reader.close();
  EXPECT_EQ(write_or_keep(writer, backlog, "abc"), Sent::failed);
  EXPECT_EQ(write_or_keep(writer, backlog, "a", "b"), Sent::failed);
  backlog.append("c");
  EXPECT_EQ(write_backlog(writer, backlog), Sent::failed);
}

TEST(CorkBytesTest, HoldsWhatIsAdded) {
  Cork cork;
  EXPECT_EQ(cork.room(), Cork::kBytes);
  std::memcpy(cork.end(), "abc", 3);
  cork.added(3);
  std::memcpy(cork.end(), "de", 2);
  cork.added(2);
  EXPECT_EQ(cork.view(), "abcde");
  EXPECT_EQ(cork.room(), Cork::kBytes - 5);
  cork.clear();
  EXPECT_EQ(cork.size(), 0U);
}

}  // namespace
}  // namespace wscope::gateway
