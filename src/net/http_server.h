#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "net/address.h"
#include "net/http_head.h"
#include "net/tls.h"
#include "runtime/cells.h"
#include "runtime/loop.h"

namespace wscope::net {

class HttpServer;
class HttpConnection;
struct HttpGate;

using NameValue = std::pair<std::string, std::string>;

// "a=1&b=x+y%21" decoded: plus is a space; a broken escape stays as it is.
std::vector<NameValue> parse_form(std::string_view text);
// Percent-decodes; nothing if an escape is broken or yields NUL.
std::optional<std::string> percent_decode(std::string_view text);

// Thread: any (owns its text; a copy may go to a worker).
struct Request {
  std::string method;              // as sent; HEAD reaches the handler of GET as "HEAD"
  std::string path;                // percent-decoded, not normalised, without the query
  std::string query;               // as sent, without '?'
  std::vector<NameValue> params;   // of the query, decoded, in order
  std::vector<NameValue> headers;  // as sent, in order
  std::string body;                // chunk framing taken off
  Address peer;

  // First header of that name, case ignored; empty if there is none.
  std::string_view header(std::string_view name) const;
  // First parameter of that name; nothing if there is none.
  std::optional<std::string_view> param(std::string_view name) const;
};

// Content-Length, Date, Connection, Content-Encoding and Vary are the server's; the rest is free.
struct Response {
  int status = 200;
  std::string content_type = "application/json";  // empty = no such field
  std::vector<NameValue> headers;
  std::string body;

  static Response json(std::string body, int status = 200);
  static Response text(std::string body, int status = 200);
  static Response html(std::string body);
  // {"status":"error","errorType":…,"error":…}
  static Response error(int status, std::string_view error_type, std::string_view what);
};

// The right to answer one request, once. Destroyed without an answer it answers 500.
//
// Thread: any; may outlive the connection and the server (the answer is then dropped), not the
// loop.
class Responder {
 public:
  Responder(Responder&&) noexcept = default;
  Responder& operator=(Responder&&) = delete;
  ~Responder();
  // May be called within the handler or at any later time.
  void send(Response response);

 private:
  friend class HttpServer;
  Responder(std::shared_ptr<HttpGate> gate, uint64_t connection, uint64_t request)
      : gate_(std::move(gate)), connection_(connection), request_(request) {}
  std::shared_ptr<HttpGate> gate_;  // null once answered
  uint64_t connection_;
  uint64_t request_;
};

// Called on the loop; must not block. The request is valid until it returns.
using Handler = std::function<void(Request const&, Responder)>;

struct HttpServerOptions {
  HeadLimits head;
  size_t body_bytes_max = 4 << 20;  // over it: 413
  size_t connections_max = 1024;    // over it: 503 and closed
  uint32_t requests_max = 10'000;   // a connection; the last one is answered with close
  int64_t head_timeout_ns = 10 * base::kSecond;  // TLS handshake, and first byte to blank line; 408
  int64_t body_timeout_ns = 30 * base::kSecond;  // whole body; 408
  int64_t idle_timeout_ns = 60 * base::kSecond;  // between requests; closed
  int64_t handler_timeout_ns = 120 * base::kSecond;  // until the answer; 503
  int64_t write_timeout_ns = 30 * base::kSecond;     // whole answer, and what the rate adds; closed
  size_t write_bytes_per_second_min = 16 << 10;
  size_t gzip_bytes_min = 1024;  // bodies over it are compressed where asked for
  // Not empty: `Authorization: Bearer <token>` is wanted, but for these exact paths; else 401.
  std::string token;
  std::vector<std::string> open_paths;
};

// Counted by the loop, read anywhere.
struct HttpServerCells {
  runtime::Cell accepted;
  runtime::Cell open;             // now
  runtime::Cell refused;          // over connections_max
  runtime::Cell accept_failures;  // no descriptor to be had; accepting pauses for 100 ms
  runtime::Cell requests;         // heads parsed
  runtime::Cell bad_requests;     // answered 4xx or 5xx by the server itself before a handler
  runtime::Cell unauthorized;
  runtime::Cell timeouts;  // of any stage
  runtime::Cell tls_failures;
  runtime::Cell responses[5];  // by class: 1xx … 5xx
  runtime::Cell bytes_in;
  runtime::Cell bytes_out;
};

// HTTP/1.1 on a Loop, for the observer's pages and API: keep-alive, pipelined requests answered in
// order, chunked bodies in, Content-Length out, gzip where asked for, HEAD and OPTIONS from what is
// routed, 404, 405 with Allow; its own errors are JSON. Everything is bounded by HttpServerOptions.
//
// Thread: loop, or the constructing thread while the loop does not run; cells() and local() any.
class HttpServer {
 public:
  // Borrows `loop`, which outlives it.
  HttpServer(runtime::Loop& loop, HttpServerOptions options);
  ~HttpServer();
  HttpServer(HttpServer const&) = delete;
  HttpServer& operator=(HttpServer const&) = delete;

  // Before the first request. `path` is exact, or a prefix if it ends in "/*" ("/api/*" takes
  // "/api/x" and what lies below, not "/api"); exact wins over prefix, the longer prefix wins.
  void route(std::string method, std::string path, Handler handler);

  // Starts to listen; may be called for several addresses. `tls` may be null, is borrowed and
  // outlives the server. Returns what listen_on() returns, and the address with the port in use.
  base::Result<Address> listen(Address const& address, TlsContext const* tls = nullptr);

  // Stops accepting and closes idle connections; others close after their answer.
  void drain();
  // Closes everything at once.
  void close();

  HttpServerCells const& cells() const;

  // Known to the files of the server only.
  struct Impl;

 private:
  friend class Responder;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wscope::net
