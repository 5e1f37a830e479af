#include "gateway/process_stats.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/clock.h"

namespace wscope::gateway {
namespace {

namespace fs = std::filesystem;
using base::kSecond;

// A /proc and /sys of our own making.
class FakeRoot : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/wscope-process-stats-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    write("/proc/self/statm", "5000 1000 300 10 0 400 0\n");
    write("/proc/meminfo", "MemTotal:        8000000 kB\nMemFree:  1 kB\n");
    write("/proc/self/cgroup", "0::/\n");
    write("/proc/self/status", "Name:\tx\nCpus_allowed_list:\t0-3,8\nMems_allowed:\t1\n");
    write("/proc/self/limits",
          "Limit                     Soft Limit           Hard Limit           Units\n"
          "Max open files            1024                 4096                 files\n");
    set_ticks(100, 50);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(std::string const& path, std::string const& text) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void set_ticks(int user, int system) {
    write("/proc/self/stat", "7 (odd ) (name) S 1 7 7 0 -1 4194304 1 2 3 4 " +
                                 std::to_string(user) + " " + std::to_string(system) +
                                 " 9 9 20 0 3 0 100 1 1\n");
  }

  std::string root_;
};

TEST_F(FakeRoot, ReadsMemoryAndDescriptors) {
  for (char const* fd : {"0", "1", "2", "17"}) write(std::string("/proc/self/fd/") + fd, "");
  ProcessSample const s = ProcessStats(root_).sample(0);
  auto const page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  EXPECT_EQ(s.memory_bytes, 1000 * page);
  EXPECT_EQ(s.memory_limit_bytes, uint64_t{8'000'000} * 1024);
  EXPECT_DOUBLE_EQ(s.memory_percent, 100.0 * static_cast<double>(1000 * page) / (8e6 * 1024));
  EXPECT_EQ(s.open_fds, 4u);
  EXPECT_EQ(s.fds_max, 1024u);
}

TEST_F(FakeRoot, TakesTheLowestGroupLimitOfV2) {
  write("/proc/self/cgroup", "0::/system.slice/ws:1.service\n");
  write("/sys/fs/cgroup/system.slice/ws:1.service/memory.max", "max\n");
  write("/sys/fs/cgroup/system.slice/ws:1.service/cpu.max", "max 100000\n");
  write("/sys/fs/cgroup/system.slice/memory.max", "1048576\n");
  write("/sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n");
  ProcessSample const s = ProcessStats(root_).sample(0);
  EXPECT_EQ(s.memory_limit_bytes, 1048576u);
  EXPECT_DOUBLE_EQ(s.cpu_cores, 1.5);
}

TEST_F(FakeRoot, AContainerSeesItsLimitAtTheMount) {
  write("/sys/fs/cgroup/memory.max", "2097152\n");
  write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
  ProcessSample const s = ProcessStats(root_).sample(0);
  EXPECT_EQ(s.memory_limit_bytes, 2097152u);
  EXPECT_DOUBLE_EQ(s.cpu_cores, 0.5);
}

TEST_F(FakeRoot, ReadsV1Groups) {
  write("/proc/self/cgroup", "9:name=systemd:/\n4:memory:/job/a\n3:cpu,cpuacct:/job\n0::/\n");
  write("/sys/fs/cgroup/memory/job/a/memory.limit_in_bytes", "3145728\n");
  write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "200000\n");
  write("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  ProcessSample const s = ProcessStats(root_).sample(0);
  EXPECT_EQ(s.memory_limit_bytes, 3145728u);
  EXPECT_DOUBLE_EQ(s.cpu_cores, 2.0);
}

TEST_F(FakeRoot, CpuPercentIsOfTheCoresItMayUse) {
  auto const tick = static_cast<double>(::sysconf(_SC_CLK_TCK));
  ProcessStats stats(root_);
  ProcessSample s = stats.sample(10 * kSecond);
  EXPECT_DOUBLE_EQ(s.cpu_seconds, 150 / tick);
  EXPECT_DOUBLE_EQ(s.cpu_percent, 0);
  EXPECT_DOUBLE_EQ(s.cpu_cores, 5) << "CPUs 0-3 and 8";
  set_ticks(100 + static_cast<int>(tick), 50 + static_cast<int>(tick));
  s = stats.sample(12 * kSecond);
  EXPECT_DOUBLE_EQ(s.cpu_percent, 100.0 * 2 / (2 * 5));
  s = stats.sample(12 * kSecond);
  EXPECT_DOUBLE_EQ(s.cpu_percent, 0) << "no time has passed";
}

TEST_F(FakeRoot, WhatIsMissingIsZero) {
  fs::remove_all(root_ + "/proc");
  ProcessSample const s = ProcessStats(root_).sample(0);
  EXPECT_EQ(s.memory_bytes, 0u);
  EXPECT_EQ(s.memory_limit_bytes, 0u);
  EXPECT_EQ(s.memory_percent, 0);
  EXPECT_EQ(s.open_fds, 0u);
  EXPECT_GE(s.cpu_cores, 1);
}

TEST(ProcessStats, SeesThisProcess) {
  base::RealClock clock;
  ProcessStats stats;
  ProcessSample const before = stats.sample(clock.steady_ns());
  EXPECT_GT(before.memory_bytes, 1u << 20);
  EXPECT_GT(before.memory_limit_bytes, before.memory_bytes);
  EXPECT_GT(before.cpu_cores, 0);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(before.fds_max, limit.rlim_cur);
  std::vector<int> fds(10);
  for (int& fd : fds) fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  int64_t const start = clock.steady_ns();
  uint64_t spins = 0;
  while (clock.steady_ns() - start < 200 * base::kMilli) ++spins;
  ProcessSample const after = stats.sample(clock.steady_ns());
  for (int fd : fds) ::close(fd);
  EXPECT_EQ(after.open_fds, before.open_fds + 10);
  EXPECT_GT(after.cpu_percent, 0) << spins;
  EXPECT_LE(after.cpu_percent, 150);
}

}  // namespace
}  // namespace wscope::gateway
