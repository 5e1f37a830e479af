#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "net/http_head.h"

namespace wscope::gateway {

class Edge;

// The trace of one request: where it came from, and the ids that the gateway gives it. The
// handshake is a SERVER span that ends with the answer; the backend's leg is a CLIENT span below
// it, and its id is what the backend sees as its parent.
//
// Thread: loop.
struct HandshakeTrace {
  base::TraceId trace;
  base::SpanId server;
  base::SpanId client;  // of the backend's leg
  base::SpanId parent;  // the caller's; invalid: none
  std::string tracestate;
  uint8_t flags = 0;
  bool sampled = false;       // our spans are kept
  bool parent_valid = false;  // the caller sent a good traceparent

  // Reads the caller's headers, draws for sampling, makes ids.
  static HandshakeTrace begin(Edge& edge, net::RequestHead const& head);
  // The traceparent for the backend. Where nothing is exported the caller's own goes on unchanged,
  // so that no span id is made up that nobody will ever see.
  std::string outgoing(Edge const& edge) const;
};

// How a request ended, for its spans.
struct RequestOutcome {
  std::string_view method = {};
  std::string_view route = {};
  std::string_view path = {};
  std::string_view correlation_id = {};
  std::string_view session_id = {};
  std::string_view room = {};
  std::string_view client = {};  // address:port
  std::string_view user_agent = {};
  std::string_view host = {};     // what the client asked for, without the port
  std::string_view backend = {};  // address:port; empty: served here
  std::string_view subprotocol = {};
  std::string_view error_type = {};  // empty: none
  int status = 0;
  bool websocket = false;
  int64_t start_unix_ns = 0;
  int64_t backend_unix_ns = 0;  // when the backend's leg began
};

// Hands the finished SERVER span, and the CLIENT span where there was a backend, to the trace
// shard. Kept if drawn, or if it failed.
void finish_request_spans(Edge& edge, HandshakeTrace const& trace, RequestOutcome const& outcome);

}  // namespace wscope::gateway
