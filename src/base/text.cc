#include "base/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace wscope::base {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> above(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      bool const same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + !same});
      // Two letters in the wrong order are one slip, not two.
      bool const crossed = i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                           lower(a[i - 2]) == lower(b[j - 1]);
      if (crossed) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

struct Unit {
  std::string_view name;
  double factor;
};

template <size_t N>
std::optional<double> factor_of(std::string_view name, Unit const (&units)[N]) {
  for (Unit const& unit : units) {
    if (equals_ignoring_case(unit.name, name)) return unit.factor;
  }
  return std::nullopt;
}

// The length of the number (digits and one point) that `text` starts with.
size_t number_length(std::string_view text) {
  size_t n = 0;
  while (n < text.size() && ((text[n] >= '0' && text[n] <= '9') || text[n] == '.')) ++n;
  return n;
}

size_t word_length(std::string_view text) {
  size_t n = 0;
  while (n < text.size() && ((lower(text[n]) >= 'a' && lower(text[n]) <= 'z'))) ++n;
  return n;
}

}  // namespace

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

std::string to_lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), lower);
  return out;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    size_t const end = text.find(separator);
    parts.push_back(trim(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

bool list_has_token(std::string_view list, std::string_view token) {
  for (;;) {
    size_t const end = list.find(',');
    if (equals_ignoring_case(trim(list.substr(0, end)), token)) return true;
    if (end == std::string_view::npos) return false;
    list.remove_prefix(end + 1);
  }
}

std::optional<uint64_t> parse_uint(std::string_view text) {
  uint64_t value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_double(std::string_view text) {
  double value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  // from_chars also reads "nan" and "inf", which are no decimal numbers.
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<int64_t> parse_duration_ns(std::string_view text) {
  static constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3},   {"ms", 1e6},    {"s", 1e9},
                                    {"m", 60e9}, {"h", 3600e9}, {"d", 86400e9}, {"w", 604800e9}};
  text = trim(text);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    size_t const digits = number_length(text);
    auto const amount = parse_double(text.substr(0, digits));
    text.remove_prefix(digits);
    size_t const letters = word_length(text);
    auto const factor = factor_of(text.substr(0, letters), kUnits);
    text.remove_prefix(letters);
    if (!amount || !factor) return std::nullopt;
    total += *amount * *factor;
  }
  if (total > 9.2e18) return std::nullopt;
  return std::llround(total);
}

std::optional<uint64_t> parse_bytes(std::string_view text) {
  static constexpr Unit kUnits[] = {
      {"", 1},     {"B", 1},      {"KB", 1e3},      {"MB", 1e6},
      {"GB", 1e9}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824.0},
      {"k", 1e3},  {"M", 1e6},    {"G", 1e9}};
  text = trim(text);
  size_t const digits = number_length(text);
  auto const amount = parse_double(text.substr(0, digits));
  auto const factor = factor_of(trim(text.substr(digits)), kUnits);
  if (!amount || !factor || *amount * *factor > 1e18) return std::nullopt;
  return static_cast<uint64_t>(std::llround(*amount * *factor));
}

void append_uint(std::string& out, uint64_t value) {
  char digits[24];
  auto const [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, end);
}

void append_double(std::string& out, double value) {
  if (std::isnan(value)) {
    out += "NaN";
  } else if (std::isinf(value)) {
    out += value > 0 ? "+Inf" : "-Inf";
  } else {
    char digits[32];
    auto const [end, error] = std::to_chars(digits, digits + sizeof digits, value);
    out.append(digits, end);
  }
}

std::string_view nearest(std::string_view word, std::span<std::string_view const> known) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, (word.size() + 1) / 3) + 1;
  for (std::string_view candidate : known) {
    size_t const distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace wscope::base
