#pragma once

#include <cstdint>

namespace wscope::base {

inline constexpr int64_t kMicro = 1'000;
inline constexpr int64_t kMilli = 1'000'000;
inline constexpr int64_t kSecond = 1'000'000'000;

// Where time comes from. Everything that waits, expires or stamps takes one of these, so that
// tests run hours in milliseconds.
//
// Thread: any.
class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds since the Unix epoch; may step when the system's clock is set.
  virtual int64_t unix_ns() const = 0;
  // Nanoseconds since an arbitrary start; never goes back.
  virtual int64_t steady_ns() const = 0;
};

// The system's clocks (CLOCK_REALTIME, CLOCK_MONOTONIC).
class RealClock final : public Clock {
 public:
  int64_t unix_ns() const override;
  int64_t steady_ns() const override;
};

// A clock that moves only when told to.
//
// Thread: one; the test that owns it. Both readings advance together.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t start_unix_ns = 1'700'000'000 * kSecond) : unix_ns_(start_unix_ns) {}
  int64_t unix_ns() const override { return unix_ns_; }
  int64_t steady_ns() const override { return steady_ns_; }
  void advance(int64_t ns) {
    unix_ns_ += ns;
    steady_ns_ += ns;
  }
  // Steps only the wall clock, as an administrator or NTP does.
  void step_unix(int64_t ns) { unix_ns_ += ns; }

 private:
  int64_t unix_ns_;
  int64_t steady_ns_ = kSecond;
};

}  // namespace wscope::base
