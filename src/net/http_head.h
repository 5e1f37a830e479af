#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wscope::net {

// Heads of HTTP/1.0 and 1.1 messages (RFC 9112), strictly: whatever two parsers could read
// differently is refused. Views point into the bytes that were parsed.
//
// Thread: any (pure functions).

struct Field {
  std::string_view name;
  std::string_view value;  // without the white space around it
};

struct HeadLimits {
  size_t bytes = 32 << 10;  // start line, fields and blank line
  size_t fields = 100;
};

// The fields of a message. Names compare without regard to case.
class Fields {
 public:
  // The first one's value; an empty view if there is none (or it is empty: see has()).
  std::string_view find(std::string_view name) const;
  bool has(std::string_view name) const { return count(name) != 0; }
  size_t count(std::string_view name) const;
  // True if one of the comma-separated parts of any such field equals `token`, ignoring case.
  bool has_token(std::string_view name, std::string_view token) const;

  std::vector<Field> fields;  // in order; capacity is kept from parse to parse
};

// How the end of a body is known (RFC 9112, section 6.3).
enum class Framing : uint8_t { none, length, chunked, until_close };

struct RequestHead : Fields {
  std::string_view method;
  std::string_view target;  // as sent: origin-form, absolute-form, or "*" (OPTIONS only)
  std::string_view path;    // path and query of the target: "/…", or "*"
  int minor = 1;            // HTTP/1.minor: 0 or 1
  uint64_t content_length = 0;
  bool has_length = false;
  bool chunked = false;
  bool keep_alive = true;          // what version and Connection say
  bool upgrade_websocket = false;  // Connection has upgrade and Upgrade has websocket
  size_t start = 0;  // where the request line begins: 2 if an empty line came first, else 0
  size_t bytes = 0;  // length of the head with `start` and the blank line

  Framing framing() const;
};

struct ResponseHead : Fields {
  int status = 0;
  std::string_view reason;
  int minor = 1;
  uint64_t content_length = 0;
  bool has_length = false;
  bool chunked = false;
  bool keep_alive = true;  // what version and Connection say; framing() until_close ends it too
  bool upgrade_websocket = false;
  size_t bytes = 0;

  // `to_head`: the answer to a HEAD request. 1xx, 204 and 304 have no body whatever the fields say.
  Framing framing(bool to_head) const;
};

enum class HeadState : uint8_t {
  complete,
  need_more,  // good so far; parse again from the start when more bytes are there
  bad,
};

// Why a head is refused. `error_type` is one of kHeadErrorTypes, so it may label a metric.
struct HeadError {
  int status = 0;               // to answer with: 400, 431, 501, 505; 502 for responses
  std::string_view error_type;  // static storage
  std::string what;             // for a person; never holds bytes of the message
};

inline constexpr std::string_view kHeadErrorTypes[] = {
    "bad_request_line",       // method, target or version malformed                     400
    "bad_status_line",        // of a response                                           502
    "bad_target",             // a target form that its method does not take             400
    "bad_version",            // neither HTTP/1.0 nor HTTP/1.1                           505
    "connect_unsupported",    // CONNECT                                                 501
    "header_too_large",       // HeadLimits::bytes                                       431
    "too_many_fields",        // HeadLimits::fields                                      431
    "bad_header",             // a name that is no token, a control character in a value 400
    "space_before_colon",     //                                                         400
    "obs_fold",               // a field continued on the next line                      400
    "bare_cr",                // CR without LF                                           400
    "bare_lf",                // LF without CR                                           400
    "no_host",                // HTTP/1.1 without Host                                   400
    "two_hosts",              // more than one Host                                      400
    "bad_host",               // not host[:port]                                         400
    "bad_content_length",     // not a plain number, or too large for one                400
    "two_content_lengths",    // repeated, equal or not                                  400
    "smuggling_cl_te",        // Content-Length and Transfer-Encoding                    400
    "bad_transfer_encoding",  // not exactly "chunked" (501 if another coding), or in 1.0
    "http_1_0_upgrade",       // a WebSocket handshake in HTTP/1.0 (RFC 6455, 4.2.1)     400
};

// Parses the head at the start of `bytes`. `out` is defined only if complete, `error` only if bad.
// What can not become good is refused without waiting for the end of the head.
HeadState parse_request(std::string_view bytes, HeadLimits const& limits, RequestHead& out,
                        HeadError& error);
HeadState parse_response(std::string_view bytes, HeadLimits const& limits, ResponseHead& out,
                         HeadError& error);

}  // namespace wscope::net
