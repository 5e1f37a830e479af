#include "base/json.h"
#include "base/text.h"
#include "net/http_server.h"

namespace wscope::net {

namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The byte that an escape at `at` stands for, or -1.
int escaped_byte(std::string_view text, size_t at) {
  if (text[at] != '%' || text.size() - at < 3) return -1;
  int const high = hex_value(text[at + 1]);
  int const low = hex_value(text[at + 2]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

std::string decode_form_part(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    int const byte = escaped_byte(text, i);
    if (byte >= 0) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

std::vector<NameValue> parse_form(std::string_view text) {
  std::vector<NameValue> out;
  while (!text.empty()) {
    size_t const end = std::min(text.find('&'), text.size());
    std::string_view const part = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (part.empty()) continue;
    size_t const equals = std::min(part.find('='), part.size());
    std::string_view const value = part.substr(std::min(equals + 1, part.size()));
    out.emplace_back(decode_form_part(part.substr(0, equals)), decode_form_part(value));
  }
  return out;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    int const byte = escaped_byte(text, i);
    if (byte <= 0) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

std::string_view Request::header(std::string_view name) const {
  for (auto const& [key, value] : headers) {
    if (base::equals_ignoring_case(key, name)) return value;
  }
  return {};
}

std::optional<std::string_view> Request::param(std::string_view name) const {
  for (auto const& [key, value] : params) {
    if (key == name) return value;
  }
  return std::nullopt;
}

Response Response::json(std::string body, int status) {
  return {status, "application/json", {}, std::move(body)};
}

Response Response::text(std::string body, int status) {
  return {status, "text/plain; charset=utf-8", {}, std::move(body)};
}

Response Response::html(std::string body) {
  return {200, "text/html; charset=utf-8", {}, std::move(body)};
}

Response Response::error(int status, std::string_view error_type, std::string_view what) {
  std::string body;
  base::JsonWriter(body)
      .begin_object()
      .field("status", "error")
      .field("errorType", error_type)
      .field("error", what)
      .end_object();
  body += '\n';
  return json(std::move(body), status);
}

}  // namespace wscope::net
