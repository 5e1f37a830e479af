#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace wscope::gateway {

// The gauges that are derived from counters once a second: app_messages_per_second, app_error_rate,
// app_response_time_p95 and app_uptime_percentage.

// The q-quantile, 0 <= q <= 1, of a histogram, as Prometheus's histogram_quantile() computes it:
// linear inside a bucket, from 0 in the first one if its bound is above 0, and the highest bound
// where the quantile lies above it. `counts` has one more element than `bounds`, the last for what
// is above all of them, and is not cumulative. 0 where nothing was observed or there are no bounds.
double bucket_quantile(double q, std::span<double const> bounds, std::span<uint64_t const> counts);

// The share of good seconds in the last 30 days, kept by the minute (about 86 KB).
//
// Thread: one.
class Uptime {
 public:
  static constexpr int64_t kMinutes = 30 * 24 * 60;

  Uptime();
  // Counts the second that `unix_ns` lies in. A second given twice counts once, as bad if either
  // was; one never given is not covered. Seconds before the window are ignored.
  void second(int64_t unix_ns, bool good);
  // 0 to 100. 100 while no second is covered: nothing bad was seen; coverage() says how little that
  // means.
  double percentage() const;
  // Covered seconds over all seconds of the window, 0 to 1.
  double coverage() const;

  // For keeping it over a restart: lines of text, the first with the version of the form.
  std::string to_text() const;
  // Replaces what was counted. Returns corrupt (and changes nothing) if `text` was not written by
  // to_text(); minutes out of the window that ends at the newest are left out.
  base::Status from_text(std::string_view text);

 private:
  struct Minute {
    uint8_t good = 0;
    uint8_t covered = 0;
    bool operator==(Minute const&) const = default;
  };
  Minute& at(int64_t minute) { return minutes_[static_cast<size_t>(minute % kMinutes)]; }
  Minute const& at(int64_t minute) const {
    return minutes_[static_cast<size_t>(minute % kMinutes)];
  }
  void advance_to(int64_t minute);
  void put(int64_t minute, Minute value);

  std::vector<Minute> minutes_;
  int64_t newest_ = 0;  // Unix minute; 0 = none yet
  int64_t last_second_ = -1;
  bool last_good_ = false;
  int64_t good_ = 0;
  int64_t covered_ = 0;
};

// What is fed once a second: totals since the start of the process.
struct RateTotals {
  uint64_t messages = 0;
  uint64_t errors = 0;
  // Observations of the response time by bucket, not cumulative, one more than the bounds.
  std::span<uint64_t const> response_buckets;
  bool good = true;  // the service answered this second
};

// Thread: collector. Borrows `clock`.
class Rates {
 public:
  // `bounds`: upper bounds of the response time's buckets, ascending, in seconds.
  Rates(base::Clock const& clock, std::vector<double> bounds);

  // To be called about once a second; a late or missed call makes the windows longer, never the
  // rates wrong.
  void second(RateTotals const& totals);

  // Over the last 60 s, or since the start.
  double messages_per_second() const;
  // Errors in the last 60 s.
  double errors_last_minute() const;
  // Seconds; over the last 5 minutes. 0 if nothing was observed.
  double response_time_p95() const;
  Uptime& uptime() { return uptime_; }
  Uptime const& uptime() const { return uptime_; }

 private:
  static constexpr size_t kCountSeconds = 60;
  static constexpr size_t kResponseSeconds = 300;
  struct Counts {
    int64_t steady_ns;
    uint64_t messages;
    uint64_t errors;
  };
  struct Responses {
    int64_t steady_ns;
    std::vector<uint64_t> buckets;
  };

  base::Clock const& clock_;
  std::vector<double> bounds_;
  std::deque<Counts> counts_;        // oldest first; the first one is the window's start
  std::deque<Responses> responses_;  // likewise
  Uptime uptime_;
};

}  // namespace wscope::gateway
