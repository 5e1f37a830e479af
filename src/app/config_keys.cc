#include "app/config_keys.h"

#include <algorithm>

#include "base/clock.h"
#include "base/text.h"
#include "net/address.h"

namespace wscope::app {
namespace {

using base::kMilli;
using base::kSecond;

constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kKiB = 1024;
constexpr int64_t kMiB = 1024 * kKiB;
constexpr int64_t kGiB = 1024 * kMiB;

constexpr std::string_view kLevels[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
constexpr std::string_view kEncodings[] = {"protobuf", "json"};
constexpr std::string_view kTrue[] = {"true", "on", "yes"};
constexpr std::string_view kFalse[] = {"false", "off", "no"};
constexpr std::string_view kBooleans[] = {"true", "on", "yes", "false", "off", "no"};

#define WSCOPE_FIELD(member) [](Config& c) -> Field { return &c.member; }

using K = KeyKind;
Key const kKeys[] = {
    {"loops", K::count, WSCOPE_FIELD(loops), "loop threads; 0 = one fewer than cores", 0, 1024},
    {"data", K::path, WSCOPE_FIELD(data), "folder for everything that is kept"},
    {"telemetry", K::boolean, WSCOPE_FIELD(telemetry), "measure the message path"},
    {"gateway.listen", K::address, WSCOPE_FIELD(gateway.listen), "address for clients"},
    {"gateway.tls.cert", K::path, WSCOPE_FIELD(gateway.tls.cert), "certificate chain, PEM"},
    {"gateway.tls.key", K::path, WSCOPE_FIELD(gateway.tls.key), "private key, PEM"},
    {"gateway.upstream", K::upstream, WSCOPE_FIELD(gateway.upstream),
     "the backend; empty = built-in rooms and echo"},
    {"gateway.upstream_ca", K::path, WSCOPE_FIELD(gateway.upstream_ca),
     "CA for an https backend, PEM; empty = the system's"},
    {"gateway.connect_timeout", K::duration, WSCOPE_FIELD(gateway.connect_timeout_ns),
     "for a connection to the backend", 10 * kMilli, kHour},
    {"gateway.response_timeout", K::duration, WSCOPE_FIELD(gateway.response_timeout_ns),
     "for the backend's answer", 10 * kMilli, 24 * kHour},
    {"gateway.message_limit", K::bytes, WSCOPE_FIELD(gateway.message_limit),
     "of one message after inflating", 1, 4 * kGiB},
    {"gateway.head_limit", K::bytes, WSCOPE_FIELD(gateway.head_limit), "of one request head", kKiB,
     kMiB},
    {"gateway.handshake_timeout", K::duration, WSCOPE_FIELD(gateway.handshake_timeout_ns),
     "from accept to a whole request head", 10 * kMilli, kHour},
    {"gateway.connections", K::count, WSCOPE_FIELD(gateway.connections_max),
     "open at once, over all loops", 1, 10'000'000},
    {"gateway.handshakes", K::count, WSCOPE_FIELD(gateway.handshakes_max),
     "in their handshake at once, over all loops", 1, 10'000'000},
    {"gateway.ping_interval", K::duration, WSCOPE_FIELD(gateway.ping_interval_ns),
     "of silence before a ping; 0 = never", 0, 24 * kHour},
    {"gateway.send_queue_limit", K::bytes, WSCOPE_FIELD(gateway.send_queue_limit),
     "waiting for one slow reader", 4 * kKiB, 4 * kGiB},
    {"gateway.fragments", K::count, WSCOPE_FIELD(gateway.fragments_max), "frames of one message", 1,
     1'000'000'000},
    {"gateway.pings_per_second", K::count, WSCOPE_FIELD(gateway.pings_per_second_max),
     "control frames of one client", 1, 1'000'000'000},
    {"gateway.drain", K::duration, WSCOPE_FIELD(gateway.drain_ns),
     "over which connections are closed on SIGTERM", 0, kHour},
    {"gateway.count_outbound", K::boolean, WSCOPE_FIELD(gateway.count_outbound),
     "count messages to clients in app_messages_total too"},
    {"gateway.session.cookie", K::header, WSCOPE_FIELD(gateway.session.cookie),
     "cookie that holds the session's key"},
    {"gateway.session.header", K::header, WSCOPE_FIELD(gateway.session.header),
     "header that holds the session's key"},
    {"gateway.session.query", K::header, WSCOPE_FIELD(gateway.session.query),
     "query parameter that holds the session's key"},
    {"gateway.session.grace", K::duration, WSCOPE_FIELD(gateway.session.grace_ns),
     "a session lives on without a connection", 0, 24 * kHour},
    {"observer.listen", K::address, WSCOPE_FIELD(observer.listen), "address of page, API, metrics"},
    {"observer.token", K::secret, WSCOPE_FIELD(observer.token), "bearer token that is asked for"},
    {"observer.token_file", K::path, WSCOPE_FIELD(observer.token_file), "file holding the token"},
    {"observer.tls.cert", K::path, WSCOPE_FIELD(observer.tls.cert), "certificate chain, PEM"},
    {"observer.tls.key", K::path, WSCOPE_FIELD(observer.tls.key), "private key, PEM"},
    {"observer.insecure", K::boolean, WSCOPE_FIELD(observer.insecure),
     "allow other than loopback without TLS and token"},
    {"log.level", K::choice, WSCOPE_FIELD(log.level), "of loggers not named below", 0, 0, kLevels},
    {"log.console", K::boolean, WSCOPE_FIELD(log.console), "JSON lines on stderr"},
    {"log.file", K::path, WSCOPE_FIELD(log.file), "rotating file within data; empty = none"},
    {"log.max_bytes", K::bytes, WSCOPE_FIELD(log.max_bytes), "of one log file", 4 * kKiB,
     1024 * kGiB},
    {"log.backups", K::count, WSCOPE_FIELD(log.backups), "rotated files kept", 0, 1000},
    {"log.loggers", K::levels, WSCOPE_FIELD(log.loggers), "level of single loggers"},
    {"trace.otlp", K::url, WSCOPE_FIELD(trace.otlp), "OTLP/HTTP receiver; empty = no spans"},
    {"trace.ca", K::path, WSCOPE_FIELD(trace.ca), "CA for an https receiver, PEM"},
    {"trace.ratio", K::ratio, WSCOPE_FIELD(trace.ratio), "share of messages recorded"},
    {"trace.slow", K::duration, WSCOPE_FIELD(trace.slow_ns), "from which a message is always kept",
     0, 24 * kHour},
    {"trace.encoding", K::choice, WSCOPE_FIELD(trace.encoding), "of exported spans", 0, 0,
     kEncodings},
    {"trace.queue", K::count, WSCOPE_FIELD(trace.queue_max), "spans waiting for export", 512,
     16'777'216},
    {"trace.spans_per_second", K::count, WSCOPE_FIELD(trace.spans_per_second),
     "message spans exported a second; 0 = no bound", 0, 10'000'000},
};

#undef WSCOPE_FIELD

bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

bool is_visible(std::string_view text, char first) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    auto const byte = static_cast<unsigned char>(c);
    return byte >= static_cast<unsigned char>(first) && byte != 0x7f;
  });
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

// A place on the net: empty, or http(s) with a host, a port that can be connected to and no user.
bool is_url(std::string_view text, bool with_path) {
  if (text.empty()) return true;
  if (!is_ascii(text) || !is_visible(text, '!')) return false;
  if (text.find_first_of("@?#") != std::string_view::npos) return false;
  auto const url = net::parse_url(text);
  if (!url || (url->scheme != "http" && url->scheme != "https")) return false;
  if (url->host.empty() || url->port == 0) return false;
  return with_path || url->path.empty() || url->path == "/";
}

// An address to listen on: names other than localhost are not looked up, for the answer could
// change.
bool is_address(std::string_view text) {
  constexpr std::string_view kLiteral = "0123456789abcdefABCDEF.:[]";
  bool const literal = text.find_first_not_of(kLiteral) == std::string_view::npos;
  return (literal || text.starts_with("localhost:")) && net::parse_address(text).has_value();
}

bool is_text(KeyKind kind, std::string_view text) {
  switch (kind) {
    case K::address:
      return is_address(text);
    case K::upstream:
      return is_url(text, false);
    case K::url:
      return is_url(text, true);
    case K::header:
      return is_token(text);
    case K::secret:
      return is_ascii(text) && is_visible(text, '!') && text.size() <= 4096;
    default:
      return is_visible(text, ' ') && text.size() <= 4096;
  }
}

std::string upper_or_lower_as(std::string_view text, std::span<std::string_view const> choices) {
  for (std::string_view choice : choices) {
    if (base::equals_ignoring_case(text, choice)) return std::string(choice);
  }
  return {};
}

std::optional<uint64_t> number_within(Key const& key, std::optional<uint64_t> value) {
  if (!value || *value < static_cast<uint64_t>(key.min)) return std::nullopt;
  if (*value > static_cast<uint64_t>(key.max)) return std::nullopt;
  return value;
}

// "a=DEBUG,b=INFO"; nothing if a name or a level is unknown.
std::optional<Levels> parse_levels(std::string_view text) {
  Levels out;
  if (base::trim(text).empty()) return out;
  for (std::string_view part : base::split(text, ',')) {
    size_t const equals = part.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    std::string_view const name = base::trim(part.substr(0, equals));
    std::string const level = upper_or_lower_as(base::trim(part.substr(equals + 1)), kLevels);
    if (level.empty() || std::ranges::find(kLoggerNames, name) == std::end(kLoggerNames)) {
      return std::nullopt;
    }
    out[std::string(name)] = level;
  }
  return out;
}

std::string print_bytes(uint64_t bytes) {
  struct Unit {
    uint64_t factor;
    char const* name;
  };
  constexpr Unit kUnits[] = {{kGiB, "GiB"}, {kMiB, "MiB"}, {kKiB, "KiB"}};
  for (Unit const& unit : kUnits) {
    if (bytes >= unit.factor && bytes % unit.factor == 0) {
      return std::to_string(bytes / unit.factor) + unit.name;
    }
  }
  return std::to_string(bytes) + "B";
}

std::string print_duration(int64_t ns) {
  struct Unit {
    int64_t factor;
    char const* name;
  };
  constexpr Unit kUnits[] = {{kHour, "h"},   {kMinute, "m"}, {kSecond, "s"},
                             {kMilli, "ms"}, {1000, "us"},   {1, "ns"}};
  if (ns == 0) return "0s";
  for (Unit const& unit : kUnits) {
    if (ns % unit.factor == 0) return std::to_string(ns / unit.factor) + unit.name;
  }
  return {};
}

// The choice that `text` cuts short ("warn"), else the nearest one.
std::string nearest_choice(std::string_view text, std::span<std::string_view const> choices) {
  for (std::string_view choice : choices) {
    if (text.size() >= 3 && base::equals_ignoring_case(text, choice.substr(0, text.size()))) {
      return std::string(choice);
    }
  }
  return std::string(base::nearest(text, choices));
}

std::string list_of(std::span<std::string_view const> words) {
  std::string out;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
    out += words[i];
  }
  return out;
}

}  // namespace

std::span<Key const> keys() { return kKeys; }

std::string expected_level() { return list_of(kLevels); }
std::string nearest_level(std::string_view text) { return nearest_choice(text, kLevels); }

Key const* find_key(std::string_view path) {
  auto const found = std::ranges::find(kKeys, path, &Key::path);
  return found == std::end(kKeys) ? nullptr : found;
}

bool is_section(std::string_view path) {
  return std::ranges::any_of(kKeys, [&](Key const& key) {
    return key.path.size() > path.size() && key.path.starts_with(path) &&
           key.path[path.size()] == '.';
  });
}

std::string environment_name(std::string_view path) {
  std::string out = "WSCOPE_";
  for (char const c : path) {
    out += c == '.' ? '_' : (c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c);
  }
  return out;
}

std::string expected(Key const& key) {
  switch (key.kind) {
    case K::text:
      return "text";
    case K::secret:
      return "text without spaces";
    case K::path:
      return "a path";
    case K::address:
      return "ADDR:PORT, as '127.0.0.1:8080'";
    case K::upstream:
      return "http://HOST:PORT or https://HOST:PORT without a path";
    case K::url:
      return "http://HOST:PORT or https://HOST:PORT, with an optional path";
    case K::header:
      return "a name of letters, digits and '-_.'";
    case K::count:
      return "a whole number from " + std::to_string(key.min) + " to " + std::to_string(key.max);
    case K::bytes:
      return "a size from " + print_bytes(static_cast<uint64_t>(key.min)) + " to " +
             print_bytes(static_cast<uint64_t>(key.max)) + ", as '16MiB'";
    case K::duration:
      return "a time from " + print_duration(key.min) + " to " + print_duration(key.max) +
             ", as '5s' or '500ms'";
    case K::ratio:
      return "a number from 0 to 1";
    case K::boolean:
      return "true or false";
    case K::choice:
      return list_of(key.choices);
    case K::levels:
      return "levels by logger, as '{websocket.message: DEBUG}'";
  }
  return {};
}

bool assign(Config& config, Key const& key, std::string_view text) {
  Field const field = key.field(config);
  switch (key.kind) {
    case K::count:
    case K::bytes: {
      auto const number = number_within(
          key, key.kind == K::count ? base::parse_uint(text) : base::parse_bytes(text));
      if (number) *std::get<uint64_t*>(field) = *number;
      return number.has_value();
    }
    case K::duration: {
      auto const ns = base::parse_duration_ns(text);
      if (!ns || *ns < key.min || *ns > key.max) return false;
      *std::get<int64_t*>(field) = *ns;
      return true;
    }
    case K::ratio: {
      auto const ratio = base::parse_double(text);
      if (!ratio || !(*ratio >= 0 && *ratio <= 1)) return false;
      *std::get<double*>(field) = *ratio;
      return true;
    }
    case K::boolean: {
      bool const yes = !upper_or_lower_as(text, kTrue).empty();
      if (!yes && upper_or_lower_as(text, kFalse).empty()) return false;
      *std::get<bool*>(field) = yes;
      return true;
    }
    case K::choice: {
      std::string const choice = upper_or_lower_as(text, key.choices);
      if (choice.empty()) return false;
      *std::get<std::string*>(field) = choice;
      return true;
    }
    case K::levels: {
      auto const levels = parse_levels(text);
      if (!levels) return false;
      for (auto const& [name, level] : *levels) (*std::get<Levels*>(field))[name] = level;
      return true;
    }
    default:
      if (!is_text(key.kind, text)) return false;
      *std::get<std::string*>(field) = text;
      return true;
  }
}

std::string print(Config const& config, Key const& key) {
  // The accessors hand out pointers for writing; nothing is written through this one.
  Field const field = key.field(const_cast<Config&>(config));
  if (auto const* text = std::get_if<std::string*>(&field)) {
    return key.kind == K::secret && !(*text)->empty() ? "***" : **text;
  }
  if (auto const* number = std::get_if<uint64_t*>(&field)) {
    return key.kind == K::bytes ? print_bytes(**number) : std::to_string(**number);
  }
  if (auto const* ns = std::get_if<int64_t*>(&field)) return print_duration(**ns);
  if (auto const* flag = std::get_if<bool*>(&field)) return **flag ? "true" : "false";
  std::string out;
  if (auto const* ratio = std::get_if<double*>(&field)) {
    base::append_double(out, **ratio);
    return out;
  }
  for (auto const& [name, level] : *std::get<Levels*>(field)) {
    out += (out.empty() ? "" : ",") + name + "=" + level;
  }
  return out;
}

bool takes_empty(Key const& key) {
  Config scratch;
  return key.kind != K::levels && key.path != "data" && assign(scratch, key, "");
}

std::string suggestion(Key const& key, std::string_view text) {
  Config scratch;
  switch (key.kind) {
    case K::choice:
      return nearest_choice(text, key.choices);
    case K::boolean:
      return std::string(base::nearest(text, kBooleans));
    case K::duration: {
      std::string const seconds = std::string(text) + "s";
      return assign(scratch, key, seconds) ? seconds : "";
    }
    case K::upstream:
    case K::url: {
      std::string const whole = "http://" + std::string(text);
      return text.find("://") == std::string_view::npos && assign(scratch, key, whole) ? whole : "";
    }
    case K::address: {
      std::string const port(text.starts_with(':') ? text.substr(1) : text);
      std::string const local = "127.0.0.1:" + port;
      return base::parse_uint(port) && assign(scratch, key, local) ? local : "";
    }
    default:
      return {};
  }
}

}  // namespace wscope::app
