#include "base/clock.h"

#include <ctime>

namespace wscope::base {
namespace {

int64_t read_clock(clockid_t id) {
  timespec t{};
  ::clock_gettime(id, &t);
  return int64_t{t.tv_sec} * kSecond + t.tv_nsec;
}

}  // namespace

int64_t RealClock::unix_ns() const { return read_clock(CLOCK_REALTIME); }
int64_t RealClock::steady_ns() const { return read_clock(CLOCK_MONOTONIC); }

}  // namespace wscope::base
