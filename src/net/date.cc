#include "net/date.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "base/clock.h"
#include "base/text.h"

namespace wscope::net {

namespace {

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 7> kLongDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};
constexpr int64_t kYear9999EndS = 253'402'300'799;

void append_padded(std::string& out, unsigned number, int digits) {
  char text[4];
  for (int i = digits - 1; i >= 0; --i, number /= 10)
    text[i] = static_cast<char>('0' + number % 10);
  out.append(text, static_cast<size_t>(digits));
}

// Takes the text apart from the front; `good` goes down at the first thing that is not as wanted.
struct Reader {
  std::string_view rest;
  bool good = true;

  void expect(std::string_view text) {
    good = good && rest.starts_with(text);
    if (good) rest.remove_prefix(text.size());
  }
  int digits(size_t count) {
    auto const number = good ? base::parse_uint(rest.substr(0, count)) : std::nullopt;
    good = number.has_value() && rest.size() >= count;
    if (!good) return 0;
    rest.remove_prefix(count);
    return static_cast<int>(*number);
  }
  template <size_t N>
  int word(std::array<std::string_view, N> const& words) {
    for (size_t i = 0; good && i < N; ++i) {
      if (rest.starts_with(words[i])) {
        rest.remove_prefix(words[i].size());
        return static_cast<int>(i);
      }
    }
    good = false;
    return 0;
  }
};

struct Moment {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;

  void read_time(Reader& in) {
    hour = in.digits(2);
    in.expect(":");
    minute = in.digits(2);
    in.expect(":");
    second = in.digits(2);
  }
  std::optional<int64_t> unix_s() const {
    std::chrono::year_month_day const date{std::chrono::year(year),
                                           std::chrono::month(static_cast<unsigned>(month)),
                                           std::chrono::day(static_cast<unsigned>(day))};
    // A leap second (60) is allowed by the grammar and counts as the second after.
    if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
    return int64_t{std::chrono::sys_days(date).time_since_epoch().count()} * 86400 + hour * 3600 +
           minute * 60 + second;
  }
};

std::optional<int64_t> finish(Reader const& in, Moment const& moment) {
  return in.good && in.rest.empty() ? moment.unix_s() : std::nullopt;
}

// "Sun, 06 Nov 1994 08:49:37 GMT"
std::optional<int64_t> parse_fixdate(std::string_view text) {
  Reader in{text};
  Moment at;
  in.word(kDays);
  in.expect(", ");
  at.day = in.digits(2);
  in.expect(" ");
  at.month = in.word(kMonths) + 1;
  in.expect(" ");
  at.year = in.digits(4);
  in.expect(" ");
  at.read_time(in);
  in.expect(" GMT");
  return finish(in, at);
}

// "Sunday, 06-Nov-94 08:49:37 GMT"
std::optional<int64_t> parse_rfc850(std::string_view text, int64_t now_unix_s) {
  Reader in{text};
  Moment at;
  in.word(kLongDays);
  in.expect(", ");
  at.day = in.digits(2);
  in.expect("-");
  at.month = in.word(kMonths) + 1;
  in.expect("-");
  int const short_year = in.digits(2);
  in.expect(" ");
  at.read_time(in);
  in.expect(" GMT");
  std::chrono::sys_days const today{std::chrono::floor<std::chrono::days>(
      std::chrono::sys_seconds(std::chrono::seconds(now_unix_s)))};
  int const this_year = static_cast<int>(std::chrono::year_month_day(today).year());
  at.year = this_year - this_year % 100 + short_year;
  if (at.year > this_year + 50) at.year -= 100;
  if (at.year <= this_year - 50) at.year += 100;
  return finish(in, at);
}

// "Sun Nov  6 08:49:37 1994"
std::optional<int64_t> parse_asctime(std::string_view text) {
  Reader in{text};
  Moment at;
  in.word(kDays);
  in.expect(" ");
  at.month = in.word(kMonths) + 1;
  in.expect(" ");
  bool const padded = in.good && in.rest.starts_with(' ');
  if (padded) in.expect(" ");
  at.day = in.digits(padded ? 1 : 2);
  in.expect(" ");
  at.read_time(in);
  in.expect(" ");
  at.year = in.digits(4);
  return finish(in, at);
}

}  // namespace

std::string format_http_date(int64_t unix_s) {
  unix_s = std::clamp<int64_t>(unix_s, 0, kYear9999EndS);
  std::chrono::sys_seconds const at{std::chrono::seconds(unix_s)};
  auto const days = std::chrono::floor<std::chrono::days>(at);
  std::chrono::year_month_day const date(days);
  auto const in_day = static_cast<unsigned>((at - days).count());
  std::string out(kDays[std::chrono::weekday(days).c_encoding()]);
  out += ", ";
  append_padded(out, static_cast<unsigned>(date.day()), 2);
  out += ' ';
  out += kMonths[static_cast<unsigned>(date.month()) - 1];
  out += ' ';
  append_padded(out, static_cast<unsigned>(static_cast<int>(date.year())), 4);
  out += ' ';
  append_padded(out, in_day / 3600, 2);
  out += ':';
  append_padded(out, in_day / 60 % 60, 2);
  out += ':';
  append_padded(out, in_day % 60, 2);
  out += " GMT";
  return out;
}

std::optional<int64_t> parse_http_date(std::string_view text, int64_t now_unix_s) {
  if (auto const found = parse_fixdate(text)) return found;
  if (auto const found = parse_rfc850(text, now_unix_s)) return found;
  return parse_asctime(text);
}

std::optional<int64_t> parse_retry_after(std::string_view value, int64_t now_unix_ns) {
  constexpr int64_t kDayS = 86'400;
  value = base::trim(value);
  if (auto const seconds = base::parse_uint(value)) {
    return static_cast<int64_t>(std::min<uint64_t>(*seconds, kDayS)) * base::kSecond;
  }
  int64_t const now_s = now_unix_ns / base::kSecond;
  auto const date = parse_http_date(value, now_s);
  if (!date) return std::nullopt;
  return std::clamp<int64_t>(*date - now_s, 0, kDayS) * base::kSecond;
}

}  // namespace wscope::net
