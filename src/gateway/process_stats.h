#pragma once

#include <cstdint>
#include <string>

namespace wscope::gateway {

// What the process uses and may use. A figure whose source can not be read is 0.
struct ProcessSample {
  uint64_t memory_bytes = 0;  // resident set
  // The lowest memory limit of the process's control groups (v2 memory.max or v1
  // memory.limit_in_bytes, here and in every group above); the machine's memory if none is lower.
  uint64_t memory_limit_bytes = 0;
  double memory_percent = 0;  // of the limit
  double cpu_seconds = 0;     // user and system, of all threads, since the start
  // Cores that the process may use: the CPUs it may run on, or less where its control groups' CPU
  // quota (v2 cpu.max, v1 cpu.cfs_quota_us) is lower. May be a fraction.
  double cpu_cores = 0;
  // CPU time since the sample before over wall time × cpu_cores × 100: 100 means that nothing is
  // left. 0 for the first sample. The kernel counts in steps of 10 ms.
  double cpu_percent = 0;
  uint64_t open_fds = 0;
  uint64_t fds_max = 0;  // soft limit
};

// Reads a ProcessSample from /proc and /sys/fs/cgroup.
//
// Thread: one, and not a loop: where the kernel can not tell the number of descriptors (before
// Linux 6.2) they are listed, which takes about 10 ms for 50,000.
class ProcessStats {
 public:
  // `root` is put before every path; for tests.
  explicit ProcessStats(std::string root = "");

  ProcessSample sample(int64_t steady_ns);

 private:
  // Text of the file, empty if it can not be read.
  std::string text_of(std::string const& path) const;
  uint64_t memory_limit() const;
  double cores() const;
  uint64_t count_fds() const;
  // Calls visit(folder) for the process's group in the hierarchy of `controller` (v2's if empty)
  // and for every group above it, up to the mount.
  template <class Visit>
  void each_group(std::string const& controller, Visit visit) const;

  std::string root_;
  double last_cpu_seconds_ = 0;
  int64_t last_ns_ = 0;
  bool sampled_ = false;
};

}  // namespace wscope::gateway
