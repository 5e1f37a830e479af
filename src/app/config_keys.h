#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "app/config.h"

namespace wscope::app {

// What a key's value must look like.
enum class KeyKind : uint8_t {
  text,      // any text without control characters
  secret,    // visible ASCII, printed as ***
  path,      // of a file or folder
  address,   // ADDR:PORT
  upstream,  // http(s)://HOST[:PORT], or empty
  url,       // http(s)://HOST[:PORT][/PATH], or empty
  header,    // an HTTP field name, cookie name or query parameter, or empty
  count,     // a whole number within bounds
  bytes,     // a size with unit, within bounds
  duration,  // a time with unit, within bounds (nanoseconds)
  ratio,     // 0 to 1
  boolean,   // true, false, on, off, yes, no
  choice,    // one of `choices`
  levels,    // a map logger -> level; as one text "a=DEBUG,b=INFO"
};

using Levels = std::map<std::string, std::string>;
// Where a key's value lies in a Config.
using Field = std::variant<std::string*, uint64_t*, int64_t*, double*, bool*, Levels*>;

// One key of the configuration. The table of these drives reading, environment, flags, printing,
// suggestions and the reference; a new setting is a field and a line here.
struct Key {
  std::string_view path;
  KeyKind kind;
  Field (*field)(Config&);
  std::string_view help;
  int64_t min = 0;  // of count, bytes, duration, in the field's unit
  int64_t max = 0;
  std::span<std::string_view const> choices = {};
};

// All keys, in the order of the printed file; keys of one section follow each other.
std::span<Key const> keys();
// Null if there is none.
Key const* find_key(std::string_view path);
// True if `path` is the head of a key: "gateway", "gateway.tls".
bool is_section(std::string_view path);
// "gateway.listen" -> "WSCOPE_GATEWAY_LISTEN".
std::string environment_name(std::string_view path);

// What is expected, for errors and the reference: "a time from 1ms to 1h, as '5s'".
std::string expected(Key const& key);
// Reads `text` into the key's field. False, with the field untouched, if it is not as expected.
// Levels are merged into what is there.
bool assign(Config& config, Key const& key, std::string_view text);
// The field as text that assign() reads back; a secret as '***' when set.
std::string print(Config const& config, Key const& key);
// True if the empty text is a value of the key, as for a path that may be left out.
bool takes_empty(Key const& key);
// What the writer of `text` may have meant, or empty.
std::string suggestion(Key const& key, std::string_view text);

// The levels in words for errors, and the one that `text` is nearest to, or empty.
std::string expected_level();
std::string nearest_level(std::string_view text);

}  // namespace wscope::app
