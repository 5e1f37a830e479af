#include "cli/load_histogram.h"

#include <algorithm>
#include <cmath>

namespace wscope::cli {

LoadHistogram::LoadHistogram() : counts_(bucket_of(kHighestNs) + 1) {}

void LoadHistogram::clear() {
  std::fill(counts_.begin(), counts_.end(), 0);
  total_ = 0;
  sum_ns_ = 0;
  max_ns_ = 0;
}

int64_t LoadHistogram::highest_of(uint32_t bucket) {
  if (bucket < kLinear) return bucket;
  // Bucket = (shift << kSubBits) + top, where top has kSubBits + 1 bits with the highest one set.
  int const shift = static_cast<int>(bucket >> kSubBits) - 1;
  int64_t const top = bucket - (int64_t{shift} << kSubBits);
  return ((top + 1) << shift) - 1;
}

int64_t LoadHistogram::quantile_ns(double q) const {
  if (total_ == 0) return 0;
  auto const wanted =
      static_cast<uint64_t>(std::ceil(std::clamp(q, 0.0, 1.0) * static_cast<double>(total_)));
  uint64_t seen = 0;
  for (uint32_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= std::max<uint64_t>(wanted, 1)) return std::min(highest_of(i), max_ns_);
  }
  return max_ns_;
}

}  // namespace wscope::cli
