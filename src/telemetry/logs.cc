#include "telemetry/logs.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/text.h"
#include "telemetry/line_text.h"

namespace wscope::telemetry {
namespace {

constexpr std::string_view kLevelNames[kLevels] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
constexpr size_t kContextTextMax = 1024;

// `text` cut to `budget` bytes between characters; what is missing is said in the text itself.
std::string cut_text(std::string_view text, size_t& budget) {
  size_t keep = std::min(text.size(), budget);
  while (keep > 0 && keep < text.size() &&
         (static_cast<unsigned char>(text[keep]) & 0xc0) == 0x80) {
    --keep;
  }
  budget -= keep;
  return std::string(text.substr(0, keep)) + " [+" + std::to_string(text.size() - keep) + " bytes]";
}

void append_text(std::string& out, std::string_view text, size_t& budget) {
  if (text.size() > budget) {
    base::append_json_string(out, cut_text(text, budget));
    return;
  }
  budget -= text.size();
  base::append_json_string(out, text);
}

void append_or_null(std::string& out, std::string_view text) {
  if (text.empty()) {
    out += "null";
  } else {
    base::append_json_string(out, text.substr(0, kContextTextMax));
  }
}

template <class Id>
void append_id(std::string& out, Id const& id) {
  if (id.valid()) {
    out += '"';
    out += base::to_hex(id);
    out += '"';
  } else {
    out += "null";
  }
}

void append_double_value(std::string& out, double value) {
  if (std::isfinite(value)) {
    base::append_double(out, value);
    return;
  }
  out += '"';
  base::append_double(out, value);
  out += '"';
}

void append_int(std::string& out, int64_t value) {
  if (value < 0) out += '-';
  auto const bits = static_cast<uint64_t>(value);
  base::append_uint(out, value < 0 ? uint64_t{0} - bits : bits);
}

struct ValueWriter {
  std::string& out;
  size_t& budget;
  void operator()(std::string_view text) const { append_text(out, text, budget); }
  void operator()(int64_t value) const { append_int(out, value); }
  void operator()(uint64_t value) const { base::append_uint(out, value); }
  void operator()(double value) const { append_double_value(out, value); }
  void operator()(bool value) const { out += value ? "true" : "false"; }
};

// A caller with endless fields is cut too; a field costs its name and 16 bytes.
void append_fields(std::string& out, std::span<LogField const> fields, size_t& budget) {
  out += '{';
  for (size_t i = 0; i < fields.size(); ++i) {
    if (i > 0) out += ',';
    size_t const cost = fields[i].name.size() + 16;
    if (cost > budget) {
      out += "\"fields_cut\":";
      base::append_uint(out, fields.size() - i);
      break;
    }
    budget -= cost;
    base::append_json_string(out, fields[i].name);
    out += ':';
    std::visit(ValueWriter{out, budget}, fields[i].value);
  }
  out += '}';
}

// What comes before the correlation id, but for the timestamp.
void append_head(std::string& out, Level level, std::string_view logger, std::string_view message,
                 LogSite const& site, size_t& budget) {
  out += ",\"level\":\"";
  out += level_name(level);
  out += "\",\"logger\":";
  base::append_json_string(out, logger);
  out += ",\"message\":";
  append_text(out, message, budget);
  out += ",\"module\":";
  base::append_json_string(out, site.module);
  out += ",\"function\":";
  base::append_json_string(out, site.function);
  out += ",\"line\":";
  append_int(out, site.line);
  out += ",\"correlation_id\":";
}

// Days since 1970-01-01 to a date of the proleptic Gregorian calendar (Howard Hinnant's algorithm).
struct Date {
  int64_t year;
  unsigned month;
  unsigned day;
};
Date date_of(int64_t days) {
  days += 719'468;
  int64_t const era = (days >= 0 ? days : days - 146'096) / 146'097;
  auto const day_of_era = static_cast<unsigned>(days - era * 146'097);
  unsigned const year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  unsigned const day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  unsigned const shifted = (5 * day_of_year + 2) / 153;
  unsigned const month = shifted < 10 ? shifted + 3 : shifted - 9;
  int64_t const year = static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2);
  return {year, month, day_of_year - (153 * shifted + 2) / 5 + 1};
}

void put_digits(char* at, uint64_t value, int digits) {
  for (int i = digits - 1; i >= 0; --i, value /= 10) at[i] = static_cast<char>('0' + value % 10);
}

constexpr char kTimeHead[] = "{\"timestamp\":\"1970-01-01T00:00:00.000000Z\"";
constexpr size_t kTimeStart = 14;  // of the year
constexpr size_t kTimeSize = sizeof kTimeHead - 1;

// From the exception to the payload's size; padded for put_blocks.
struct Middle {
  char text[96];
  size_t size;
};
constexpr size_t kOpcodeNames = 7;
using Middles = std::array<std::array<Middle, kOpcodeNames>, 2>;

Middles make_middles() {
  constexpr std::string_view kOpcodes[kOpcodeNames] = {"continuation", "text", "binary", "close",
                                                       "ping",         "pong", "other"};
  Middles all{};
  for (size_t direction = 0; direction < 2; ++direction) {
    for (size_t opcode = 0; opcode < kOpcodeNames; ++opcode) {
      std::string text = "\",\"exception\":null,\"extra_fields\":{\"direction\":\"";
      text += direction == 0 ? "in" : "out";
      text += "\",\"opcode\":\"";
      text += kOpcodes[opcode];
      text += "\",\"size\":";
      WSCOPE_CHECK(text.size() <= sizeof(Middle::text));
      text.copy(all[direction][opcode].text, text.size());
      all[direction][opcode].size = text.size();
    }
  }
  return all;
}

// Padded text that needs no escape.
char* put_plain_or_null(char* out, std::string_view text) {
  if (text.empty()) return put_literal(out, "null");
  return put_literal(put_blocks(put_literal(out, "\""), text.data(), text.size()), "\"");
}

template <class Id>
char* put_id_or_null(char* out, Id const& id) {
  if (!id.valid()) return put_literal(out, "null");
  return put_literal(put_hex(put_literal(out, "\""), id.bytes.data(), id.bytes.size()), "\"");
}

size_t opcode_index(uint8_t opcode) {
  if (opcode <= 2) return opcode;
  if (opcode >= 8 && opcode <= 10) return opcode - 5U;
  return kOpcodeNames - 1;
}

std::string_view opcode_text(uint8_t opcode) {
  constexpr std::string_view kTexts[kOpcodeNames] = {"continuation", "text", "binary", "close",
                                                     "ping",         "pong", "other"};
  return kTexts[opcode_index(opcode)];
}

Middles const kMiddles = make_middles();

}  // namespace

std::string_view level_name(Level level) { return kLevelNames[static_cast<size_t>(level)]; }

std::optional<Level> parse_level(std::string_view name) {
  for (size_t i = 0; i < kLevels; ++i) {
    if (base::equals_ignoring_case(kLevelNames[i], name)) return static_cast<Level>(i);
  }
  if (base::equals_ignoring_case(name, "WARN")) return Level::warning;
  if (base::equals_ignoring_case(name, "FATAL")) return Level::critical;
  return std::nullopt;
}

Loggers::Loggers() {
  names_.with([](std::vector<std::string>& names) { names.reserve(kLoggersMax); });
  for (char const* const name : {"wscope", "websocket", "websocket.message", "http"}) {
    WSCOPE_CHECK(add(name).has_value());
  }
}

base::Result<LoggerId> Loggers::add(std::string name, Level level) {
  return names_.with([&](std::vector<std::string>& names) -> base::Result<LoggerId> {
    auto const found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return LoggerId{static_cast<uint16_t>(found - names.begin())};
    if (names.size() == kLoggersMax) {
      return base::fail(base::Errc::over_limit, "logger " + name + ": there are " +
                                                    std::to_string(kLoggersMax) + " already");
    }
    levels_[names.size()].set(static_cast<uint64_t>(level));
    by_id_[names.size()].set(&names.emplace_back(std::move(name)));
    return LoggerId{static_cast<uint16_t>(names.size() - 1)};
  });
}

base::Status Loggers::set_level(std::string_view name, Level level) {
  return names_.with([&](std::vector<std::string> const& names) -> base::Status {
    auto const found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) {
      levels_[static_cast<size_t>(found - names.begin())].set(static_cast<uint64_t>(level));
      return {};
    }
    std::vector<std::string_view> const known(names.begin(), names.end());
    std::string_view const near = base::nearest(name, known);
    std::string what = "logger '" + std::string(name) + "': no such logger";
    if (!near.empty()) what += "; did you mean '" + std::string(near) + "'?";
    return base::fail(base::Errc::not_found, std::move(what));
  });
}

std::vector<Loggers::Entry> Loggers::list() const {
  return names_.with([&](std::vector<std::string> const& names) {
    std::vector<Entry> entries;
    for (size_t i = 0; i < names.size(); ++i) {
      entries.push_back({names[i], level(LoggerId{static_cast<uint16_t>(i)})});
    }
    return entries;
  });
}

PreparedMessage::PreparedMessage(Loggers const& loggers, LoggerId logger, Level level,
                                 LogSite const& site, std::string_view message)
    : logger_(logger), level_(level), message_(message), site_(site) {
  size_t budget = LogShard::kLineTextMax;
  append_head(head_, level, loggers.name(logger), message, site, budget);
  head_size_ = head_.size();
  head_.append(16, '\0');
}

base::Result<LogShard::Families> LogShard::families(Registry& registry) {
  WSCOPE_TRY(lines, registry.counter({.name = "wscope_log_lines_total",
                                      .help = "Log lines written to the collector's ring.",
                                      .unit = {},
                                      .labels = {"level"}}));
  WSCOPE_TRY(dropped, registry.counter({.name = "wscope_log_dropped_total",
                                        .help = "Log lines dropped because the ring was full.",
                                        .unit = {},
                                        .labels = {"level"}}));
  for (std::string_view const level : kLevelNames) {
    WSCOPE_TRY_STATUS(lines->declare({level}));
    WSCOPE_TRY_STATUS(dropped->declare({level}));
  }
  return Families{lines, dropped};
}

base::Result<std::unique_ptr<LogShard>> LogShard::make(Loggers const& loggers,
                                                       Families const& families, Shard& shard,
                                                       runtime::Signal& wake, size_t bytes) {
  WSCOPE_TRY(ring, runtime::ByteRing::make(bytes));
  return std::unique_ptr<LogShard>(new LogShard(loggers, families, shard, wake, std::move(ring)));
}

LogShard::LogShard(Loggers const& loggers, Families const& families, Shard& shard,
                   runtime::Signal& wake, std::unique_ptr<runtime::ByteRing> ring)
    : loggers_(loggers), wake_(wake), ring_(std::move(ring)) {
  for (size_t i = 0; i < kLevels; ++i) {
    written_[i] = families.lines->on(shard, {kLevelNames[i]});
    dropped_[i] = families.dropped->on(shard, {kLevelNames[i]});
  }
  std::memset(time_text_.data(), 0, time_text_.size());
  std::memcpy(time_text_.data(), kTimeHead, kTimeSize);
}

LogShard::~LogShard() = default;

char* LogShard::reserve(Level level, size_t n) {
  size_t headroom = 0;
  if (level <= Level::info) {
    headroom = ring_->size() / 4;
  } else if (level == Level::warning) {
    headroom = ring_->size() / 10;
  }
  char* const place = ring_->reserve(n, headroom);
  if (place == nullptr) [[unlikely]]
    dropped_[static_cast<size_t>(level)].add();
  return place;
}

void LogShard::commit(Level level, size_t n) {
  ring_->commit(n);
  since_wake_ += n;
  written_[static_cast<size_t>(level)].add();
}

// Lines of one turn share a timestamp, and turns of one second all but the fraction.
void LogShard::set_time(int64_t unix_ns) {
  if (unix_ns == time_ns_) [[likely]]
    return;
  time_ns_ = unix_ns;
  int64_t const us = unix_ns / 1000;
  int64_t const second = us / 1'000'000;
  char* const text = time_text_.data() + kTimeStart;
  put_digits(text + 20, static_cast<uint64_t>(us % 1'000'000), 6);
  if (second == time_s_) return;
  time_s_ = second;
  Date const date = date_of(second / 86'400);
  auto const in_day = static_cast<uint64_t>(second % 86'400);
  put_digits(text, static_cast<uint64_t>(date.year), 4);
  put_digits(text + 5, date.month, 2);
  put_digits(text + 8, date.day, 2);
  put_digits(text + 11, in_day / 3600, 2);
  put_digits(text + 14, in_day / 60 % 60, 2);
  put_digits(text + 17, in_day % 60, 2);
}

void LogShard::log(LoggerId logger, Level level, LogSite const& site, int64_t unix_ns,
                   std::string_view message, LogContext const& context,
                   std::span<LogField const> extra, std::string_view exception) {
  if (!enabled(logger, level)) return;
  set_time(std::max<int64_t>(unix_ns, 0));
  size_t budget = kLineTextMax;
  scratch_.assign(time_text_.data(), kTimeSize);
  append_head(scratch_, level, loggers_.name(logger), message, site, budget);
  append_or_null(scratch_, context.correlation_id);
  scratch_ += ",\"trace_id\":";
  append_id(scratch_, context.trace_id);
  scratch_ += ",\"span_id\":";
  append_id(scratch_, context.span_id);
  scratch_ += ",\"session_id\":";
  append_or_null(scratch_, context.session_id);
  scratch_ += ",\"connection_id\":";
  append_or_null(scratch_, context.connection_id);
  scratch_ += ",\"exception\":";
  if (exception.empty()) {
    scratch_ += "null";
  } else {
    append_text(scratch_, exception, budget);
  }
  scratch_ += ",\"extra_fields\":";
  append_fields(scratch_, extra, budget);
  scratch_ += "}\n";
  char* const place = reserve(level, scratch_.size());
  if (place == nullptr) return;
  std::memcpy(place, scratch_.data(), scratch_.size());
  commit(level, scratch_.size());
}

void LogShard::message_line(PreparedMessage const& prepared, MessageLine const& line) {
  model::ConnectionInfo const& connection = *line.connection;
  if (!connection.json_plain()) [[unlikely]] {
    log_message_slowly(prepared, line);
    return;
  }
  std::string_view const correlation = connection.correlation_id();
  std::string_view const session = connection.session_id();
  std::string_view const route = connection.route();
  // Fixed text, ids and numbers take less than 400 bytes, with what block copies write too far.
  size_t const most =
      prepared.head_size_ + correlation.size() + session.size() + route.size() + 512;
  char* const start = reserve(prepared.level_, most);
  if (start == nullptr) [[unlikely]]
    return;
  set_time(line.unix_ns);
  base::TraceId const& trace = line.trace.valid() ? line.trace : connection.trace();
  char* out = put_blocks(start, time_text_.data(), kTimeSize);
  out = put_blocks(out, prepared.head_.data(), prepared.head_size_);
  out = put_plain_or_null(out, correlation);
  out = put_id_or_null(put_literal(out, ",\"trace_id\":"), trace);
  out = put_id_or_null(put_literal(out, ",\"span_id\":"), line.span);
  out = put_plain_or_null(put_literal(out, ",\"session_id\":"), session);
  out = put_uint(put_literal(out, ",\"connection_id\":\""), connection.id());
  Middle const& middle = kMiddles[line.outbound][opcode_index(line.opcode)];
  out = put_uint(put_blocks(out, middle.text, middle.size), line.size);
  out = put_uint(put_literal(out, ",\"wire\":"), line.wire);
  out = put_blocks(put_literal(out, ",\"route\":\""), route.data(), route.size());
  out = put_uint(put_literal(out, "\",\"seq\":"), line.sequence);
  out = put_literal(out, "}}\n");
  commit(prepared.level_, static_cast<size_t>(out - start));
}

void LogShard::log_message_slowly(PreparedMessage const& prepared, MessageLine const& line) {
  model::ConnectionInfo const& connection = *line.connection;
  std::string const id = std::to_string(connection.id());
  LogContext const context{connection.correlation_id(), connection.session_id(), id,
                           line.trace.valid() ? line.trace : connection.trace(), line.span};
  std::string_view const direction = line.outbound ? "out" : "in";
  LogField const fields[] = {{"direction", direction},      {"opcode", opcode_text(line.opcode)},
                             {"size", line.size},           {"wire", line.wire},
                             {"route", connection.route()}, {"seq", line.sequence}};
  log(prepared.logger_, prepared.level_, prepared.site_, line.unix_ns, prepared.message_, context,
      fields);
}

void LogShard::publish() {
  ring_->publish();
  if (since_wake_ <= std::min(ring_->size() / 4, kWakeBytes)) return;
  since_wake_ = 0;
  wake_.raise();
}

}  // namespace wscope::telemetry
