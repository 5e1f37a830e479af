#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "gateway/edge.h"
#include "gateway/handshake_trace.h"
#include "gateway/list.h"
#include "net/address.h"
#include "net/http_head.h"
#include "net/transport.h"
#include "runtime/loop.h"
#include "runtime/timers.h"

namespace wscope::gateway {

// What is known of a request when its head has been read; owned text, since the head's views die
// with the read.
struct RequestFacts {
  HandshakeTrace trace;
  std::string correlation_id;
  std::string client;  // address:port
  std::string method;
  std::string target;
  std::string user_agent;
  std::string host;           // without the port
  std::string websocket_key;  // of a handshake
  SessionRef session;         // of a handshake that was accepted
  std::string session_key;
  net::Address peer;
  int64_t start_ns = 0;
  int64_t start_unix_ns = 0;
  bool websocket = false;
};

// A connection to the backend that may be used again, and the settings it was made for.
struct KeptBackend {
  net::Transport transport;
  std::shared_ptr<Settings const> settings;
};

// An accepted socket until it is known what it wants: TLS, then a head within the handshake time.
// Then it becomes a ServedConnection, an Exchange with the backend, or is answered with a refusal.
//
// Thread: loop. Owned by the loop.
class Handshake final : public runtime::Pollable, public runtime::Timer, public Link {
 public:
  static void start(Edge& edge, net::Transport&& transport, net::Address const& peer);
  // A client connection that has been answered and may ask again; `early` are bytes that came
  // already; `backend` may hold no connection.
  static void resume(Edge& edge, net::Transport&& transport, runtime::Pollable& watched,
                     net::Address const& peer, std::string early, KeptBackend&& backend);
  // A client connection that has been told all: waits a moment for its end, since closing a socket
  // with unread bytes would reset it and could take the answer with it.
  static void linger_on(Edge& edge, net::Transport&& transport, runtime::Pollable& watched,
                        net::Address const& peer);
  ~Handshake() override;

  void on_ready(uint32_t events) noexcept override;
  // Ends it if it waits for a request; one that is being answered is answered.
  void drain();
  void cut() { destroy(); }

 private:
  enum class State : uint8_t { tls, head, lingering };
  Handshake(Edge& edge, net::Transport&& transport, net::Address const& peer);

  void on_timer() noexcept override;
  void secure();
  void read_some();
  // Parses what there is; `bytes` starts at the head.
  void parse(std::string_view bytes);
  void decide(net::RequestHead const& head, std::string_view after);
  RequestFacts facts_of(net::RequestHead const& head);
  void serve(net::RequestHead const& head, RequestFacts&& facts, std::string_view after);
  void forward(net::RequestHead const& head, RequestFacts&& facts, std::string_view after);
  void built_in_page(net::RequestHead const& head, RequestFacts const& facts);
  // Answers a request that goes nowhere, counts it, and closes.
  void refuse(RequestFacts const& facts, int status, std::string_view error_type,
              std::string_view what, std::string_view header = {});
  void answer(int status, std::string_view content_type, std::string_view body,
              std::string_view header, std::string_view correlation_id);
  void linger();
  void destroy();

  Edge& edge_;
  net::Transport transport_;
  KeptBackend backend_;
  net::Address peer_;
  std::string early_;  // a head that spans reads
  int64_t start_ns_;
  State state_;
  bool again_ = false;  // not the connection's first request
  bool dead_ = false;
  bool counted_ = true;  // in Totals::connections; false once handed on
};

// "Not Found" and so on.
std::string_view reason_phrase(int status);

}  // namespace wscope::gateway
