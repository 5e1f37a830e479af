#include "net/http_head.h"

#include <algorithm>
#include <array>
#include <boost/beast/http/basic_parser.hpp>

#include "base/text.h"

namespace wscope::net {

namespace http = boost::beast::http;
using base::equals_ignoring_case;
using boost::beast::error_code;

namespace {

// ---- Character classes (RFC 9110, section 5.6.2; RFC 3986, section 2) ----

enum : uint8_t { kToken = 1, kText = 2, kHost = 4 };

constexpr std::array<uint8_t, 256> make_classes() {
  std::array<uint8_t, 256> out{};
  auto const add = [&](std::string_view chars, uint8_t bits) {
    for (char const c : chars) out[static_cast<unsigned char>(c)] |= bits;
  };
  for (size_t c = 0; c < 256; ++c) {
    if ((c >= 0x20 && c != 0x7f) || c == '\t') out[c] |= kText;
    bool const letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter || (c >= '0' && c <= '9')) out[c] |= kToken | kHost;
  }
  add("!#$%&'*+-.^_`|~", kToken);
  add("-._~%!$&'()*+,;=", kHost);
  return out;
}
constexpr std::array<uint8_t, 256> kClasses = make_classes();

bool is(char c, uint8_t bits) { return (kClasses[static_cast<unsigned char>(c)] & bits) != 0; }
bool all(std::string_view text, uint8_t bits) {
  return std::all_of(text.begin(), text.end(), [&](char c) { return is(c, bits); });
}

HeadState refuse(HeadError& error, int status, std::string_view type, std::string_view what) {
  error = {status, type, std::string(what)};
  return HeadState::bad;
}

// ---- What can be told line by line, before the head is complete ----

struct Lines {
  size_t bytes = 0;  // with the blank line
  size_t fields = 0;
  int content_lengths = 0;
  int transfer_encodings = 0;
};

// Everything but the line's end. `complete` says whether that end has been seen.
HeadState check_text(std::string_view line, bool complete, HeadError& error) {
  for (size_t i = 0; i < line.size(); ++i) {
    if (is(line[i], kText)) continue;
    if (line[i] != '\r') {
      return refuse(error, 400, "bad_header", "a control character in the head");
    }
    if (complete || i + 1 < line.size()) {
      return refuse(error, 400, "bare_cr", "CR without LF in the head");
    }
  }
  return HeadState::need_more;
}

HeadState check_field(std::string_view line, Lines& lines, HeadError& error) {
  if (line[0] == ' ' || line[0] == '\t') {
    return refuse(error, 400, "obs_fold", "a field continued on a second line");
  }
  size_t const colon = line.find(':');
  if (colon == 0 || colon == std::string_view::npos) {
    return refuse(error, 400, "bad_header", "a field without a name");
  }
  std::string_view const name = line.substr(0, colon);
  if (name.back() == ' ' || name.back() == '\t') {
    return refuse(error, 400, "space_before_colon", "white space between field name and colon");
  }
  if (!all(name, kToken)) return refuse(error, 400, "bad_header", "a field name that is no token");
  lines.content_lengths += equals_ignoring_case(name, "content-length") ? 1 : 0;
  lines.transfer_encodings += equals_ignoring_case(name, "transfer-encoding") ? 1 : 0;
  return HeadState::need_more;
}

// Walks the lines up to the blank one. `check_start` looks at the first line.
template <class CheckStart>
HeadState check_lines(std::string_view bytes, HeadLimits const& limits, CheckStart&& check_start,
                      Lines& lines, HeadError& error) {
  std::string_view const window = bytes.substr(0, limits.bytes);
  size_t at = 0;
  bool first = true;
  while (at < window.size()) {
    size_t const lf = window.find('\n', at);
    bool const complete = lf != std::string_view::npos;
    std::string_view line = window.substr(at, complete ? lf - at : std::string_view::npos);
    if (complete) {
      if (line.empty() || line.back() != '\r') {
        return refuse(error, 400, "bare_lf", "LF without CR in the head");
      }
      line.remove_suffix(1);
    }
    if (check_text(line, complete, error) == HeadState::bad) return HeadState::bad;
    if (complete && line.empty() && !first) {
      lines.bytes = lf + 1;
      return HeadState::complete;
    }
    if (first) {
      if (check_start(line, complete, error) == HeadState::bad) return HeadState::bad;
    } else if (complete) {
      if (++lines.fields > limits.fields) {
        return refuse(error, 431, "too_many_fields",
                      "more than " + std::to_string(limits.fields) + " fields");
      }
      if (check_field(line, lines, error) == HeadState::bad) return HeadState::bad;
    }
    if (!complete) break;
    at = lf + 1;
    first = false;
  }
  if (bytes.size() < limits.bytes) return HeadState::need_more;
  return refuse(error, 431, "header_too_large",
                "a head of more than " + std::to_string(limits.bytes) + " bytes");
}

HeadState check_version(std::string_view version, std::string_view type, HeadError& error) {
  auto const digit = [](char c) { return c >= '0' && c <= '9'; };
  if (version.size() != 8 || !version.starts_with("HTTP/") || !digit(version[5]) ||
      version[6] != '.' || !digit(version[7])) {
    return refuse(error, 400, type, "no HTTP version where one is expected");
  }
  if (version == "HTTP/1.1" || version == "HTTP/1.0") return HeadState::need_more;
  return refuse(error, 505, "bad_version", "an HTTP version other than 1.0 and 1.1");
}

HeadState check_request_line(std::string_view line, bool complete, HeadError& error) {
  size_t const first = line.find(' ');
  std::string_view const method = line.substr(0, first);
  // A CR may be waiting for its LF at the end of what is there.
  std::string_view const seen =
      !complete && method.ends_with('\r') ? method.substr(0, method.size() - 1) : method;
  if (!all(seen, kToken) || (first == 0)) {
    return refuse(error, 400, "bad_request_line", "a method that is no token");
  }
  if (!complete) return HeadState::need_more;
  size_t const second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos || second == first + 1) {
    return refuse(error, 400, "bad_request_line", "not method, target and version");
  }
  return check_version(line.substr(second + 1), "bad_request_line", error);
}

HeadState check_status_line(std::string_view line, bool complete, HeadError& error) {
  if (!complete) {
    std::string_view const expected = "HTTP/";
    size_t const n = std::min(line.size(), expected.size());
    if (line.substr(0, n) == expected.substr(0, n)) return HeadState::need_more;
    return refuse(error, 502, "bad_status_line", "not an HTTP response");
  }
  auto const digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string_view const code = line.substr(std::min<size_t>(line.size(), 8));
  if (check_version(line.substr(0, 8), "bad_status_line", error) == HeadState::bad) {
    return HeadState::bad;
  }
  if (code.size() < 5 || code[0] != ' ' || code[1] < '1' || !digit(code[1]) || !digit(code[2]) ||
      !digit(code[3]) || code[4] != ' ') {
    return refuse(error, 502, "bad_status_line", "no status code of three digits");
  }
  return HeadState::need_more;
}

// ---- Beast's parser: start line, fields, and the meaning of the framing fields ----

constexpr std::string_view view(boost::beast::string_view text) {
  return {text.data(), text.size()};
}

template <bool IsRequest, class Head>
class HeadParser final : public http::basic_parser<IsRequest> {
 public:
  explicit HeadParser(Head& out) : out_(out) {
    this->skip(true);
    this->body_limit(boost::none);
  }
  bool upgrade_listed = false;
  bool websocket_listed = false;
  bool close_listed = false;
  bool keep_alive_listed = false;
  int hosts = 0;
  std::string_view host;
  bool has_encoding = false;
  std::string_view encoding;

 private:
  using string_view = boost::beast::string_view;
  void on_request_impl(http::verb, string_view method, string_view target, int version,
                       error_code&) override {
    if constexpr (IsRequest) {
      out_.method = view(method);
      out_.target = view(target);
    }
    out_.minor = version - 10;
  }
  void on_response_impl(int code, string_view reason, int version, error_code&) override {
    if constexpr (!IsRequest) {
      out_.status = code;
      out_.reason = view(reason);
    }
    out_.minor = version - 10;
  }
  void on_field_impl(http::field id, string_view raw_name, string_view raw_value,
                     error_code&) override {
    std::string_view const value = view(raw_value);
    out_.fields.push_back({view(raw_name), value});
    switch (id) {
      case http::field::connection:
        upgrade_listed = upgrade_listed || base::list_has_token(value, "upgrade");
        close_listed = close_listed || base::list_has_token(value, "close");
        keep_alive_listed = keep_alive_listed || base::list_has_token(value, "keep-alive");
        break;
      case http::field::upgrade:
        websocket_listed = websocket_listed || base::list_has_token(value, "websocket");
        break;
      case http::field::host:
        ++hosts;
        host = value;
        break;
      case http::field::transfer_encoding:
        has_encoding = true;
        encoding = value;
        break;
      default:
        break;
    }
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  size_t on_body_impl(string_view body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override {
    return body.size();
  }
  void on_finish_impl(error_code&) override {}

  Head& out_;
};

HeadState check_framing(Lines const& lines, HeadError& error) {
  if (lines.content_lengths > 0 && lines.transfer_encodings > 0) {
    return refuse(error, 400, "smuggling_cl_te", "both Content-Length and Transfer-Encoding");
  }
  if (lines.content_lengths > 1) {
    return refuse(error, 400, "two_content_lengths", "more than one Content-Length");
  }
  if (lines.transfer_encodings > 1) {
    return refuse(error, 400, "bad_transfer_encoding", "more than one Transfer-Encoding");
  }
  return HeadState::complete;
}

HeadState check_encoding(std::string_view encoding, int minor, HeadError& error) {
  if (minor == 0) {
    return refuse(error, 400, "bad_transfer_encoding", "Transfer-Encoding in HTTP/1.0");
  }
  if (equals_ignoring_case(encoding, "chunked")) return HeadState::complete;
  // Codings not known are 501 (RFC 9112, section 6.1); a list of known ones is just wrong.
  auto const parts = base::split(encoding, ',');
  bool const known = std::all_of(parts.begin(), parts.end(), [](std::string_view part) {
    return part.empty() || equals_ignoring_case(part, "chunked");
  });
  return refuse(error, known ? 400 : 501, "bad_transfer_encoding",
                "a Transfer-Encoding other than chunked");
}

// Runs Beast over a head that passed check_lines() and fills what both kinds of head share.
template <bool IsRequest, class Head>
HeadState parse_fields(std::string_view head, Lines const& lines,
                       HeadParser<IsRequest, Head>& parser, Head& out, HeadError& error) {
  if (check_framing(lines, error) == HeadState::bad) return HeadState::bad;
  error_code code;
  parser.header_limit(static_cast<uint32_t>(head.size()));
  parser.put(boost::asio::const_buffer(head.data(), head.size()), code);
  if (code == http::error::bad_content_length || code == http::error::multiple_content_length) {
    return refuse(error, 400, "bad_content_length", "a Content-Length that is not a number");
  }
  if (code == http::error::bad_target || code == http::error::bad_method) {
    return refuse(error, 400, "bad_request_line", "a malformed request line");
  }
  if (code || !parser.is_header_done()) {
    return refuse(error, 400, "bad_header", "a malformed field: " + code.message());
  }
  if (parser.has_encoding && check_encoding(parser.encoding, out.minor, error) == HeadState::bad) {
    return HeadState::bad;
  }
  out.chunked = parser.has_encoding;
  out.has_length = lines.content_lengths > 0;
  out.content_length = 0;
  if (out.has_length) {
    // Beast takes lists of equal numbers, and lengths that no sum of sizes could hold.
    auto const length = base::parse_uint(out.find("content-length"));
    if (!length || *length > uint64_t{INT64_MAX}) {
      return refuse(error, 400, "bad_content_length", "a Content-Length that is not a number");
    }
    out.content_length = *length;
  }
  out.keep_alive = !parser.close_listed && (out.minor == 1 || parser.keep_alive_listed);
  out.upgrade_websocket = parser.upgrade_listed && parser.websocket_listed;
  return HeadState::complete;
}

// ---- What only requests have ----

// uri-host [ ":" port ] (RFC 9110, section 7.2).
bool is_host(std::string_view text) {
  std::string_view rest;
  if (text.starts_with('[')) {
    size_t const end = text.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    std::string_view const inside = text.substr(1, end - 1);
    if (!std::all_of(inside.begin(), inside.end(),
                     [](char c) { return c == ':' || is(c, kHost); })) {
      return false;
    }
    rest = text.substr(end + 1);
  } else {
    size_t const colon = std::min(text.find(':'), text.size());
    if (colon == 0 || !all(text.substr(0, colon), kHost)) return false;
    rest = text.substr(colon);
  }
  if (rest.empty() || rest == ":") return true;
  auto const port = base::parse_uint(rest.substr(1));
  return rest[0] == ':' && port && *port <= 65535;
}

HeadState read_target(RequestHead& out, HeadError& error) {
  std::string_view const target = out.target;
  if (out.method == "CONNECT") {
    return refuse(error, 501, "connect_unsupported", "CONNECT is not served");
  }
  if (target.find('#') != std::string_view::npos) {
    return refuse(error, 400, "bad_target", "a fragment in the target");
  }
  if (target.starts_with('/') || (target == "*" && out.method == "OPTIONS")) {
    out.path = target;
    return HeadState::complete;
  }
  size_t const mark = target.find("://");
  std::string_view const scheme = target.substr(0, std::min(mark, target.size()));
  bool known = false;
  for (std::string_view const one : {"http", "https", "ws", "wss"}) {
    known = known || equals_ignoring_case(scheme, one);
  }
  if (mark != std::string_view::npos && known) {
    std::string_view const rest = target.substr(mark + 3);
    size_t const end = std::min(rest.find_first_of("/?"), rest.size());
    out.path = end == rest.size() ? std::string_view("/") : rest.substr(end);
    if (is_host(rest.substr(0, end)) && out.path[0] == '/') return HeadState::complete;
  }
  return refuse(error, 400, "bad_target", "a target that is neither a path nor a URL");
}

HeadState check_host(int hosts, std::string_view host, int minor, HeadError& error) {
  if (hosts > 1) return refuse(error, 400, "two_hosts", "more than one Host");
  if (hosts == 0) {
    if (minor == 0) return HeadState::complete;
    return refuse(error, 400, "no_host", "HTTP/1.1 without Host");
  }
  if (is_host(host)) return HeadState::complete;
  return refuse(error, 400, "bad_host", "a Host that is not host or host:port");
}

}  // namespace

std::string_view Fields::find(std::string_view name) const {
  for (Field const& field : fields) {
    if (equals_ignoring_case(field.name, name)) return field.value;
  }
  return {};
}

size_t Fields::count(std::string_view name) const {
  return static_cast<size_t>(std::count_if(fields.begin(), fields.end(), [&](Field const& field) {
    return equals_ignoring_case(field.name, name);
  }));
}

bool Fields::has_token(std::string_view name, std::string_view token) const {
  return std::any_of(fields.begin(), fields.end(), [&](Field const& field) {
    return equals_ignoring_case(field.name, name) && base::list_has_token(field.value, token);
  });
}

Framing RequestHead::framing() const {
  if (chunked) return Framing::chunked;
  return has_length ? Framing::length : Framing::none;
}

Framing ResponseHead::framing(bool to_head) const {
  if (to_head || status < 200 || status == 204 || status == 304) return Framing::none;
  if (chunked) return Framing::chunked;
  return has_length ? Framing::length : Framing::until_close;
}

HeadState parse_request(std::string_view bytes, HeadLimits const& limits, RequestHead& out,
                        HeadError& error) {
  // One empty line before a request is passed over (RFC 9112, section 2.2).
  out.start = bytes.starts_with("\r\n") ? 2 : 0;
  if (bytes == "\r") return HeadState::need_more;
  std::string_view const rest = bytes.substr(out.start);
  Lines lines;
  HeadState const state = check_lines(rest, limits, check_request_line, lines, error);
  if (state != HeadState::complete) return state;
  out.fields.clear();
  out.bytes = out.start + lines.bytes;
  HeadParser<true, RequestHead> parser(out);
  if (parse_fields(rest.substr(0, lines.bytes), lines, parser, out, error) == HeadState::bad ||
      read_target(out, error) == HeadState::bad ||
      check_host(parser.hosts, parser.host, out.minor, error) == HeadState::bad) {
    return HeadState::bad;
  }
  if (out.upgrade_websocket && out.minor == 0) {
    return refuse(error, 400, "http_1_0_upgrade", "a WebSocket handshake in HTTP/1.0");
  }
  return HeadState::complete;
}

HeadState parse_response(std::string_view bytes, HeadLimits const& limits, ResponseHead& out,
                         HeadError& error) {
  Lines lines;
  HeadState state = check_lines(bytes, limits, check_status_line, lines, error);
  if (state == HeadState::complete) {
    out.fields.clear();
    out.bytes = lines.bytes;
    HeadParser<false, ResponseHead> parser(out);
    state = parse_fields(bytes.substr(0, lines.bytes), lines, parser, out, error);
  }
  // Whatever is wrong with it: to our client it is a bad gateway.
  if (state == HeadState::bad) error.status = 502;
  return state;
}

}  // namespace wscope::net
