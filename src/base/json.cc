#include "base/json.h"

#include <cmath>
#include <cstring>

#include "base/text.h"
#include "base/utf8.h"

namespace wscope::base {
namespace {

void append_escape(std::string& out, unsigned char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  constexpr char kDigits[] = "0123456789abcdef";
  char const text[] = {'\\', 'u', '0', '0', kDigits[c >> 4], kDigits[c & 15]};
  out.append(text, sizeof text);
}

bool plain(unsigned char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }

}  // namespace

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  size_t i = 0;
  while (i < text.size()) {
    size_t const start = i;
    while (i < text.size() && plain(static_cast<unsigned char>(text[i]))) ++i;
    out.append(text, start, i - start);
    if (i == text.size()) break;
    auto const c = static_cast<unsigned char>(text[i]);
    if (c < 0x80) {
      append_escape(out, c);
      ++i;
      continue;
    }
    size_t const length = utf8_sequence_length(text.substr(i));
    std::string_view const sequence = text.substr(i, length);
    if (length == 0) {
      out += "\xef\xbf\xbd";
      ++i;
    } else if (sequence == "\xe2\x80\xa8" || sequence == "\xe2\x80\xa9") {
      out += sequence[2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += length;
    } else {
      out += sequence;
      i += length;
    }
  }
  out += '"';
}

void JsonWriter::separate() {
  if (!first_) out_ += ',';
  first_ = false;
}

JsonWriter& JsonWriter::begin_object() {
  separate();
  out_ += '{';
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::end_object() {
  out_ += '}';
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::begin_array() {
  separate();
  out_ += '[';
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::end_array() {
  out_ += ']';
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  append_json_string(out_, name);
  out_ += ':';
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_json_string(out_, text);
  return *this;
}

JsonWriter& JsonWriter::value(bool flag) { return raw(flag ? "true" : "false"); }

JsonWriter& JsonWriter::value(uint64_t number) {
  separate();
  append_uint(out_, number);
  return *this;
}

JsonWriter& JsonWriter::value(int64_t number) {
  separate();
  if (number < 0) out_ += '-';
  append_uint(out_, number < 0 ? uint64_t{0} - static_cast<uint64_t>(number)
                               : static_cast<uint64_t>(number));
  return *this;
}

JsonWriter& JsonWriter::value(double number) {
  if (!std::isfinite(number)) return null();
  separate();
  append_double(out_, number);
  return *this;
}

JsonWriter& JsonWriter::null() { return raw("null"); }

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  out_ += json;
  return *this;
}

}  // namespace wscope::base
