#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wscope::base {

// Appends `text` as a JSON string with its quotes. Control characters, quotes and backslashes are
// escaped; U+2028, U+2029 and DEL too, so that one value stays one line in any viewer; bytes that
// are not UTF-8 become U+FFFD each.
void append_json_string(std::string& out, std::string_view text);

// Writes JSON by appending to a string that the caller owns. Commas are set by the writer; nesting
// must be closed by the caller.
//
// Thread: one.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(char const* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool flag);
  JsonWriter& value(uint64_t number);
  JsonWriter& value(int64_t number);
  JsonWriter& value(uint32_t number) { return value(uint64_t{number}); }
  JsonWriter& value(int number) { return value(int64_t{number}); }
  // NaN and infinities have no JSON form and become null.
  JsonWriter& value(double number);
  JsonWriter& null();
  // Text that is JSON already.
  JsonWriter& raw(std::string_view json);
  template <class T>
  JsonWriter& field(std::string_view name, T const& v) {
    return key(name).value(v);
  }

 private:
  void separate();
  std::string& out_;
  bool first_ = true;
};

}  // namespace wscope::base
