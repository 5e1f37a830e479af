#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "net/http_head.h"

namespace wscope::gateway {

// What the gateway adds to a request on its way to the backend. An empty view adds nothing and
// leaves what the client sent.
struct ForwardInfo {
  std::string_view traceparent;     // replaces the client's
  std::string_view correlation_id;  // replaces X-Correlation-ID
  std::string_view client_ip;       // appended to X-Forwarded-For
  std::string_view scheme;          // "http" or "https": X-Forwarded-Proto
  // False: X-Forwarded-Proto and -Host are what this listener saw. True: a proxy in front is
  // trusted, and what it sent there stays; only what is missing is added.
  bool trust_forwarded = false;
  // The client's traceparent was not valid, so its tracestate means nothing (W3C Trace Context,
  // section 3.3) and is left out.
  bool drop_tracestate = false;
};

// Appends the request head for the backend: request line, fields and blank line.
//
// Fields keep their order, spelling and values; a replaced one keeps the place of its first
// occurrence, and further ones are left out. New ones follow at the end. The version stays the
// client's, so that the backend's answer is framed in a way the client can read. An absolute target
// becomes origin form with its authority as Host (RFC 9112, section 3.2.2); else Host stays as
// sent.
//
// `websocket` false: hop-by-hop fields are left out (RFC 9110, section 7.6.1): Connection and what
// it lists, Keep-Alive, Proxy-*, Upgrade, and TE but for trailers. Connection can not take away
// Host, the framing of the body, or what proxies in front have added. Transfer-Encoding stays:
// bodies pass with their framing. `websocket` true: the handshake goes as it came, Connection,
// Upgrade and Sec-WebSocket-* included; only Proxy-* is left out.
//
// Thread: any. `head` must be one that net::parse_request() accepted.
void append_forwarded_head(std::string& out, net::RequestHead const& head, ForwardInfo const& info,
                           bool websocket);

inline constexpr size_t kCorrelationIdMax = 128;

enum class CorrelationSource : uint8_t {
  received,  // the client's
  made,      // there was none
  replaced,  // the client's was too long or held other characters
};
struct CorrelationId {
  std::string text;
  CorrelationSource source;
};

// `header`, the value of X-Correlation-ID, if it is 1 to kCorrelationIdMax characters of
// [A-Za-z0-9._:/@=+-]; else a new UUID.
CorrelationId correlation_id_from(std::string_view header, base::Rng& rng);

}  // namespace wscope::gateway
