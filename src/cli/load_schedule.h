#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/clock.h"

namespace wscope::cli {

// A constant rate as a timetable: message i is to be sent at due_ns(i), whatever happened to those
// before it. Up to 20,000 messages a second each has its own time; above that they leave in bursts
// 50 us apart, for no timer is finer than that.
//
// Thread: any (a value). Rates from 0.001 to 100 M a second.
class LoadSchedule {
 public:
  static constexpr int64_t kBurstNs = 50 * base::kMicro;

  LoadSchedule() = default;
  LoadSchedule(double rate, int64_t start_ns) : start_ns_(start_ns) {
    double const gap_ns = static_cast<double>(base::kSecond) / rate;
    tick_ns_ = std::max(kBurstNs, static_cast<int64_t>(std::llround(gap_ns)));
    a_tick_ = std::max(1.0, static_cast<double>(tick_ns_) / gap_ns);
    if (tick_ns_ > kBurstNs) a_tick_ = 1;
  }

  int64_t start_ns() const { return start_ns_; }
  int64_t tick_ns() const { return tick_ns_; }
  int64_t due_ns(uint64_t i) const {
    return start_ns_ + static_cast<int64_t>(static_cast<double>(i) / a_tick_) * tick_ns_;
  }
  // How many messages are due by `now_ns`: due_ns(n - 1) <= now_ns < due_ns(n).
  uint64_t due_by(int64_t now_ns) const {
    if (now_ns < start_ns_) return 0;
    auto const ticks = static_cast<double>((now_ns - start_ns_) / tick_ns_ + 1);
    auto n = static_cast<uint64_t>(ticks * a_tick_);
    // Rounding of the product may be off by one either way.
    while (n > 0 && due_ns(n - 1) > now_ns) --n;
    while (due_ns(n) <= now_ns) ++n;
    return n;
  }

 private:
  int64_t start_ns_ = 0;
  int64_t tick_ns_ = base::kSecond;
  double a_tick_ = 1;
};

}  // namespace wscope::cli
