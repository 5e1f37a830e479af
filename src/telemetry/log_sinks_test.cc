#include "telemetry/log_sinks.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/files.h"

namespace wscope::telemetry {
namespace {

namespace fs = std::filesystem;

std::string line_of(char c, size_t n) {
  std::string line(n, c);
  line += '\n';
  return line;
}

struct FileSinkTest : testing::Test {
  base::ManualClock clock;
  fs::path folder = fs::temp_directory_path() / ("sink_test_" + std::to_string(::getpid()));
  std::string path = (folder / "logs" / "wscope.log").string();

  void SetUp() override { fs::remove_all(folder); }
  void TearDown() override { fs::remove_all(folder); }
  std::unique_ptr<RotatingFileSink> open(uint64_t bytes_max = 100, int backups = 3) {
    auto sink =
        RotatingFileSink::open(clock, {.path = path, .bytes_max = bytes_max, .backups = backups});
    EXPECT_TRUE(sink) << sink.error().what;
    return std::move(*sink);
  }
  std::string content(std::string const& suffix = "") const {
    auto const text = base::read_file(path + suffix);
    return text ? *text : "(none)";
  }
};

TEST_F(FileSinkTest, RotatesAtLineEndsAndKeepsSoMany) {
  auto const sink = open(100, 2);
  std::string all;
  for (char c = 'a'; c < 'j'; ++c) all += line_of(c, 39);
  sink->write(all);
  EXPECT_EQ(content(), line_of('i', 39));
  EXPECT_EQ(content(".1"), line_of('g', 39) + line_of('h', 39));
  EXPECT_EQ(content(".2"), line_of('e', 39) + line_of('f', 39));
  EXPECT_EQ(content(".3"), "(none)");
  EXPECT_EQ(sink->lines_dropped(), 0U);
  EXPECT_EQ(sink->bytes_written(), all.size());
  EXPECT_EQ(sink->errors(), 0U);
}

TEST_F(FileSinkTest, FillsAFileToItsLastByte) {
  auto const sink = open(20);
  sink->write("123456789\n123456789\n");
  EXPECT_EQ(content(".1"), "(none)");
  sink->write("x\n");
  EXPECT_EQ(content(), "x\n");
  EXPECT_EQ(content(".1"), "123456789\n123456789\n");
}

TEST_F(FileSinkTest, GivesALineThatIsTooLargeAFileOfItsOwn) {
  auto const sink = open(20);
  std::string const large = line_of('L', 50);
  sink->write("a\n" + large + "b\n");
  EXPECT_EQ(content(".2"), "a\n");
  EXPECT_EQ(content(".1"), large);
  EXPECT_EQ(content(), "b\n");
}

TEST_F(FileSinkTest, GoesOnBehindWhatIsThereEvenIfTorn) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path) << "first\nhalf a li";
  auto const sink = open();
  sink->write("next\n");
  EXPECT_EQ(content(), "first\nhalf a li\nnext\n");
}

TEST_F(FileSinkTest, EmptiesTheFileWithoutBackups) {
  auto const sink = open(10, 0);
  sink->write("12345678\n");
  sink->write("abc\n");
  EXPECT_EQ(content(), "abc\n");
  EXPECT_EQ(content(".1"), "(none)");
}

TEST_F(FileSinkTest, MakesAFileAnewThatSomeoneMovedAway) {
  auto const sink = open();
  sink->write("one\n");
  fs::rename(path, path + ".moved");
  clock.advance(2 * base::kSecond);
  sink->write("two\n");
  EXPECT_EQ(content(), "two\n");
  EXPECT_EQ(content(".moved"), "one\n");
}

TEST_F(FileSinkTest, CountsWhatAFullDiskRefusesAndTriesAgain) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full here";
  fs::create_directories(fs::path(path).parent_path());
  fs::create_symlink("/dev/full", path);
  auto const sink = open();
  sink->write("one\ntwo\n");
  EXPECT_EQ(sink->lines_dropped(), 2U);
  EXPECT_EQ(sink->errors(), 1U);
  fs::remove(path);
  sink->write("three\n");  // within the second: not even tried
  EXPECT_EQ(sink->lines_dropped(), 3U);
  clock.advance(base::kSecond);
  sink->write("four\n");
  EXPECT_EQ(sink->lines_dropped(), 3U);
  EXPECT_EQ(content(), "four\n");
}

TEST_F(FileSinkTest, NamesThePathItCanNotOpen) {
  fs::create_directories(folder);
  std::ofstream(folder / "logs") << "a file where a folder should be";
  auto const sink = RotatingFileSink::open(clock, {.path = path});
  ASSERT_FALSE(sink);
  EXPECT_NE(sink.error().what.find("logs"), std::string::npos);
}

struct Pipe {
  int read_end = -1;
  int write_end = -1;
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return;
    read_end = ends[0];
    write_end = ends[1];
    ::fcntl(read_end, F_SETFL, O_NONBLOCK);
  }
  ~Pipe() {
    ::close(read_end);
    ::close(write_end);
  }
  std::string take() const {
    std::string out;
    char bytes[65536];
    for (ssize_t n = 0; (n = ::read(read_end, bytes, sizeof bytes)) > 0;) {
      out.append(bytes, static_cast<size_t>(n));
    }
    return out;
  }
};

TEST(ConsoleSink, WritesAndLeavesTheSharedFlagsAlone) {
  Pipe pipe;
  {
    ConsoleSink sink(pipe.write_end);
    sink.write("hello\nworld\n");
    EXPECT_EQ(::fcntl(pipe.write_end, F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_EQ(pipe.take(), "hello\nworld\n");
}

TEST(ConsoleSink, NeverWaitsForAReaderThatIsGoneAsleep) {
  Pipe pipe;
  ConsoleSink sink(pipe.write_end);
  std::string block;
  for (int i = 0; i < 1000; ++i) block += "line " + std::to_string(i) + line_of('.', 60);
  uint64_t offered = 0;
  for (int i = 0; i < 40; ++i) {  // 2.7 MB into a pipe of 64 KiB
    sink.write(block);
    offered += 1000;
  }
  EXPECT_GT(sink.lines_dropped(), 10'000U);
  std::string received;
  for (std::string part; !(part = pipe.take()).empty();) {
    received += part;
    sink.flush();
  }
  // Whole lines only, and none lost without being counted.
  EXPECT_EQ(received.back(), '\n');
  auto const lines = static_cast<uint64_t>(std::count(received.begin(), received.end(), '\n'));
  EXPECT_EQ(lines + sink.lines_dropped(), offered);
  size_t from = 0;
  while (from < received.size()) {
    ASSERT_EQ(received.compare(from, 5, "line "), 0) << received.substr(from, 40);
    from = received.find('\n', from) + 1;
  }
}

TEST(ConsoleSink, CountsAClosedReader) {
  ::signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  ConsoleSink sink(pipe.write_end);
  ::close(std::exchange(pipe.read_end, -1));
  sink.write("lost\n");
  EXPECT_GE(sink.errors(), 1U);
}

}  // namespace
}  // namespace wscope::telemetry
