#include "gateway/rates.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/text.h"

namespace wscope::gateway {
namespace {

constexpr std::string_view kUptimeForm = "wscope-uptime 1";
constexpr int64_t kMinuteSeconds = 60;

uint64_t grown(uint64_t now, uint64_t before) { return now > before ? now - before : 0; }

// Drops samples from the front until the first one is the youngest that is at least `seconds` old;
// half a second of slack, since ticks come a little early or late.
template <class Sample>
void keep_window(std::deque<Sample>& samples, int64_t now_ns, size_t seconds) {
  int64_t const start_ns =
      now_ns - static_cast<int64_t>(seconds) * base::kSecond + base::kSecond / 2;
  while (samples.size() > 1 && (samples.size() > seconds + 1 || samples[1].steady_ns <= start_ns)) {
    samples.pop_front();
  }
}

// The numbers of one line of an uptime text: first minute, run length, good, covered.
std::optional<std::array<uint64_t, 4>> run_of(std::string_view line) {
  std::array<uint64_t, 4> run{};
  auto const words = base::split(line, ' ');
  if (words.size() != run.size()) return std::nullopt;
  for (size_t i = 0; i < run.size(); ++i) {
    auto const number = base::parse_uint(words[i]);
    if (!number) return std::nullopt;
    run[i] = *number;
  }
  bool const sane = run[0] > 0 && run[0] < (uint64_t{1} << 40) && run[1] > 0 &&
                    run[1] <= static_cast<uint64_t>(Uptime::kMinutes) && run[2] <= run[3] &&
                    run[3] > 0 && run[3] <= static_cast<uint64_t>(kMinuteSeconds);
  return sane ? std::optional(run) : std::nullopt;
}

}  // namespace

double bucket_quantile(double q, std::span<double const> bounds, std::span<uint64_t const> counts) {
  if (bounds.empty() || counts.size() != bounds.size() + 1) return 0;
  uint64_t const total = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  if (total == 0) return 0;
  double const rank = q * static_cast<double>(total);
  double below = 0;
  for (size_t i = 0; i < bounds.size(); ++i) {
    auto const here = static_cast<double>(counts[i]);
    if (here == 0 || below + here < rank) {
      below += here;
      continue;
    }
    if (i == 0 && bounds[0] <= 0) return bounds[0];
    double const start = i == 0 ? 0 : bounds[i - 1];
    return start + (bounds[i] - start) * ((rank - below) / here);
  }
  return bounds.back();
}

Uptime::Uptime() : minutes_(kMinutes) {}

void Uptime::advance_to(int64_t minute) {
  if (minute <= newest_) return;
  // A jump over the whole window clears it once, however far it goes.
  for (int64_t m = std::max(newest_ + 1, minute - kMinutes + 1); m <= minute; ++m) {
    good_ -= at(m).good;
    covered_ -= at(m).covered;
    at(m) = {};
  }
  newest_ = minute;
}

void Uptime::put(int64_t minute, Minute value) {
  advance_to(minute);
  if (minute <= newest_ - kMinutes) return;
  good_ += value.good - at(minute).good;
  covered_ += value.covered - at(minute).covered;
  at(minute) = value;
}

void Uptime::second(int64_t unix_ns, bool good) {
  int64_t const now = unix_ns / base::kSecond;
  int64_t const minute = now / kMinuteSeconds;
  if (minute <= 0) return;
  advance_to(minute);
  if (minute <= newest_ - kMinutes) return;
  Minute value = at(minute);
  if (now == last_second_) {
    if (good || !last_good_) return;
    --value.good;
  } else {
    // A clock set back runs through the same seconds again.
    if (value.covered >= kMinuteSeconds) return;
    ++value.covered;
    value.good = static_cast<uint8_t>(value.good + (good ? 1 : 0));
  }
  last_second_ = now;
  last_good_ = good;
  put(minute, value);
}

double Uptime::percentage() const {
  if (covered_ == 0) return 100;
  return 100.0 * static_cast<double>(good_) / static_cast<double>(covered_);
}

double Uptime::coverage() const {
  return static_cast<double>(covered_) / static_cast<double>(kMinutes * kMinuteSeconds);
}

std::string Uptime::to_text() const {
  std::string out(kUptimeForm);
  out += '\n';
  int64_t minute = std::max<int64_t>(1, newest_ - kMinutes + 1);
  while (minute <= newest_) {
    Minute const value = at(minute);
    int64_t end = minute + 1;
    while (end <= newest_ && at(end) == value) ++end;
    if (value.covered > 0) {
      for (int64_t n : {minute, end - minute, int64_t{value.good}, int64_t{value.covered}}) {
        base::append_uint(out, static_cast<uint64_t>(n));
        out += ' ';
      }
      out.back() = '\n';
    }
    minute = end;
  }
  return out;
}

base::Status Uptime::from_text(std::string_view text) {
  Uptime read;
  auto const lines = base::split(text, '\n');
  if (lines.front() != kUptimeForm) {
    return base::fail(base::Errc::corrupt,
                      "uptime: the first line is not '" + std::string(kUptimeForm) + "'");
  }
  uint64_t minutes = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    if (lines[i].empty()) continue;
    auto const run = run_of(lines[i]);
    if (run) minutes += (*run)[1];
    bool const ascends = run && static_cast<int64_t>((*run)[0]) > read.newest_;
    if (!ascends || minutes > static_cast<uint64_t>(kMinutes)) {
      return base::fail(base::Errc::corrupt, "uptime: line " + std::to_string(i + 1) +
                                                 " is not minute, run, good, covered");
    }
    Minute const value{static_cast<uint8_t>((*run)[2]), static_cast<uint8_t>((*run)[3])};
    for (uint64_t n = 0; n < (*run)[1]; ++n) read.put(static_cast<int64_t>((*run)[0] + n), value);
  }
  *this = std::move(read);
  return {};
}

Rates::Rates(base::Clock const& clock, std::vector<double> bounds)
    : clock_(clock), bounds_(std::move(bounds)) {
  int64_t const now = clock_.steady_ns();
  // All totals were 0 when the process began.
  counts_.push_back({now, 0, 0});
  responses_.push_back({now, std::vector<uint64_t>(bounds_.size() + 1)});
}

void Rates::second(RateTotals const& totals) {
  int64_t const now = clock_.steady_ns();
  counts_.push_back({now, totals.messages, totals.errors});
  keep_window(counts_, now, kCountSeconds);
  std::vector<uint64_t> buckets;
  // The oldest vector is used again once the window is full.
  if (responses_.size() > kResponseSeconds) {
    buckets = std::move(responses_.front().buckets);
    responses_.pop_front();
  }
  buckets.assign(totals.response_buckets.begin(), totals.response_buckets.end());
  buckets.resize(bounds_.size() + 1);
  responses_.push_back({now, std::move(buckets)});
  keep_window(responses_, now, kResponseSeconds);
  uptime_.second(clock_.unix_ns(), totals.good);
}

double Rates::messages_per_second() const {
  Counts const& first = counts_.front();
  Counts const& last = counts_.back();
  if (last.steady_ns <= first.steady_ns) return 0;
  // In the first second a rate over the time so far would be a guess from next to nothing.
  int64_t const span_ns = std::max(last.steady_ns - first.steady_ns, base::kSecond);
  return static_cast<double>(grown(last.messages, first.messages)) /
         (static_cast<double>(span_ns) / 1e9);
}

double Rates::errors_last_minute() const {
  return static_cast<double>(grown(counts_.back().errors, counts_.front().errors));
}

double Rates::response_time_p95() const {
  std::vector<uint64_t> counts(bounds_.size() + 1);
  for (size_t i = 0; i < counts.size(); ++i) {
    counts[i] = grown(responses_.back().buckets[i], responses_.front().buckets[i]);
  }
  return bucket_quantile(0.95, bounds_, counts);
}

}  // namespace wscope::gateway
