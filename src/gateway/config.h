#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace wscope::gateway {

// Paths of a certificate chain and its private key, both PEM. Empty = no TLS.
struct TlsFiles {
  std::string cert;
  std::string key;
  bool enabled() const { return !cert.empty(); }
};

// Where the key of a session comes from: the first of cookie, header, query parameter that is named
// here and present in the handshake; else the connection is a session of its own.
struct SessionConfig {
  std::string cookie = "sessionid";
  std::string header;
  std::string query;
  // Nanoseconds that a session outlives its last connection.
  int64_t grace_ns = 30'000'000'000;
};

// What the gateway is told. The file's keys of the same names under `gateway:` fill it
// (app/config.h); every value is checked before it gets here.
//
// Thread: any (a value).
struct Config {
  // Address of the listening sockets, "ADDR:PORT"; every loop opens its own (SO_REUSEPORT).
  std::string listen = "127.0.0.1:8080";
  TlsFiles tls;

  // The backend, "http://HOST:PORT" or "https://HOST:PORT". Empty = the built-in rooms and echo.
  std::string upstream;
  // CA certificates (PEM) that the backend's certificate is checked against; empty = the system's.
  std::string upstream_ca;
  // Nanoseconds for TCP and TLS to the backend, and for its answer to a handshake or a request.
  int64_t connect_timeout_ns = 5'000'000'000;
  int64_t response_timeout_ns = 60'000'000'000;

  // Bytes of one message after inflating; one more is closed with 1009.
  uint64_t message_limit = 16'777'216;
  // Bytes of one request head; more is answered with 431.
  uint64_t head_limit = 32'768;
  // Nanoseconds from accept to a whole head (and TLS); later is answered with 408.
  int64_t handshake_timeout_ns = 10'000'000'000;
  // Open sockets over all loops; more are answered with 503.
  uint64_t connections_max = 100'000;
  // Connections that may be in their handshake at once, over all loops.
  uint64_t handshakes_max = 10'000;
  // Nanoseconds of silence before a served connection is pinged; a second one ends it. 0 = never.
  int64_t ping_interval_ns = 30'000'000'000;
  // Bytes waiting for one reader; then its senders are held back, or, in a room, it is closed.
  uint64_t send_queue_limit = 1'048'576;
  // Frames of one message; more is closed with 1008.
  uint64_t fragments_max = 16'384;
  // Control frames a client may send in one second; more is closed with 1008.
  uint64_t pings_per_second_max = 1'000;
  // Nanoseconds over which connections are closed on SIGTERM.
  int64_t drain_ns = 10'000'000'000;

  // Also count what goes to clients in app_messages_total (ws_messages_total always has both).
  bool count_outbound = false;

  SessionConfig session;
};

}  // namespace wscope::gateway
