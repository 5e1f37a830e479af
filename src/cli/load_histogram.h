#pragma once

#include <cstdint>
#include <vector>

namespace wscope::cli {

// Durations from 1 us to 60 s in nanoseconds, to three significant digits, in fixed memory (221
// KiB): below 2,048 ns each value has its bucket, above that each doubling is cut in 1,024 equal
// ones, so the error is below 0.1 %. Shorter values are counted as 1 us, longer ones as 60 s; max()
// stays exact.
//
// Thread: one.
class LoadHistogram {
 public:
  static constexpr int64_t kLowestNs = 1'000;
  static constexpr int64_t kHighestNs = 60'000'000'000;

  LoadHistogram();

  void record(int64_t ns, uint64_t count = 1) {
    counts_[bucket_of(ns)] += count;
    total_ += count;
    sum_ns_ += static_cast<double>(ns) * static_cast<double>(count);
    if (ns > max_ns_) max_ns_ = ns;
  }
  void clear();

  uint64_t count() const { return total_; }
  double mean_ns() const { return total_ == 0 ? 0 : sum_ns_ / static_cast<double>(total_); }
  int64_t max_ns() const { return max_ns_; }
  // The highest value that the bucket of the q-quantile (0 to 1; the smallest value which at least
  // that share does not exceed) can hold, and at most max_ns(). 0 if nothing was recorded.
  int64_t quantile_ns(double q) const;

 private:
  static constexpr int kSubBits = 10;
  static constexpr int64_t kLinear = int64_t{2} << kSubBits;
  static uint32_t bucket_of(int64_t ns) {
    if (ns < kLowestNs) ns = kLowestNs;
    if (ns > kHighestNs) ns = kHighestNs;
    if (ns < kLinear) return static_cast<uint32_t>(ns);
    int const shift = 63 - __builtin_clzll(static_cast<unsigned long long>(ns)) - kSubBits;
    return static_cast<uint32_t>((shift << kSubBits) + (ns >> shift));
  }
  static int64_t highest_of(uint32_t bucket);

  std::vector<uint64_t> counts_;
  uint64_t total_ = 0;
  double sum_ns_ = 0;
  int64_t max_ns_ = 0;
};

}  // namespace wscope::cli
