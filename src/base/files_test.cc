#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace wscope::base {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "files_test.XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(std::string_view name) const { return (folder_ / name).string(); }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (auto const& entry : fs::directory_iterator(folder_)) {
      found.push_back(entry.path().filename().string());
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  fs::path folder_;
};

// From here on no file of this process grows past `bytes`, as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit const now{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FullDisk(FullDisk const&) = delete;
  FullDisk& operator=(FullDisk const&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST_F(Files, WhatIsWrittenIsRead) {
  for (size_t const size : {0U, 1U, 65535U, 65536U, 65537U, 1000000U}) {
    std::string content(size, '\0');
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 31);
    ASSERT_TRUE(write_file_atomic(path("a"), content));
    auto const back = read_file(path("a"));
    ASSERT_TRUE(back) << back.error().what;
    EXPECT_EQ(*back, content);
  }
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(Files, MissingFileIsNotFoundAndNamed) {
  auto const missing = read_file(path("nothing"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::not_found);
  EXPECT_NE(missing.error().what.find(path("nothing")), std::string::npos);
}

TEST_F(Files, AFolderIsNoFile) {
  auto const result = read_file(folder_.string());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::io);
  EXPECT_NE(result.error().what.find("directory"), std::string::npos) << result.error().what;
}

TEST_F(Files, LimitIsExact) {
  for (size_t const limit : {0U, 10U, 65536U, 100000U}) {
    ASSERT_TRUE(write_file_atomic(path("a"), std::string(limit, 'x')));
    auto const fits = read_file(path("a"), limit);
    ASSERT_TRUE(fits);
    EXPECT_EQ(fits->size(), limit);
    ASSERT_TRUE(write_file_atomic(path("a"), std::string(limit + 1, 'x')));
    auto const over = read_file(path("a"), limit);
    ASSERT_FALSE(over);
    EXPECT_EQ(over.error().code, Errc::over_limit);
    EXPECT_NE(over.error().what.find(std::to_string(limit)), std::string::npos);
  }
}

TEST_F(Files, AFailedWriteKeepsTheOldFileAndLeavesNothingBeside) {
  ASSERT_TRUE(write_file_atomic(path("a"), "old"));
  {
    FullDisk const full(1000);
    auto const status = write_file_atomic(path("a"), std::string(5000, 'x'));
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Errc::io);
    EXPECT_NE(status.error().what.find(path("a")), std::string::npos) << status.error().what;
  }
  EXPECT_EQ(read_file(path("a")), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(Files, AFailedRenameLeavesNothingBeside) {
  ASSERT_TRUE(make_folders(path("taken/below")));
  auto const status = write_file_atomic(path("taken"), "x");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::io);
  EXPECT_EQ(names(), std::vector<std::string>{"taken"});
}

TEST_F(Files, WritingIntoAMissingFolderIsAnError) {
  auto const status = write_file_atomic(path("no/such"), "x");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::io);
}

// A reader that opened the old file keeps it whole: the new one is another inode.
TEST_F(Files, AReaderOfTheOldFileIsNotDisturbed) {
  ASSERT_TRUE(write_file_atomic(path("a"), "old content"));
  std::ifstream reader(path("a"));
  ASSERT_TRUE(write_file_atomic(path("a"), "new"));
  std::string text;
  std::getline(reader, text);
  EXPECT_EQ(text, "old content");
  EXPECT_EQ(read_file(path("a")), "new");
}

TEST_F(Files, MakesAllParentsAndRefusesAFileInTheWay) {
  EXPECT_TRUE(make_folders(path("a/b/c")));
  EXPECT_TRUE(fs::is_directory(path("a/b/c")));
  EXPECT_TRUE(make_folders(path("a/b/c")));
  ASSERT_TRUE(write_file_atomic(path("file"), "x"));
  auto const status = make_folders(path("file"));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::exists);
  auto const below = make_folders(path("file/below"));
  ASSERT_FALSE(below);
  EXPECT_EQ(below.error().code, Errc::exists);
}

}  // namespace
}  // namespace wscope::base
