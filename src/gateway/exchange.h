#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "gateway/cork.h"
#include "gateway/edge.h"
#include "gateway/handshake.h"
#include "gateway/list.h"
#include "gateway/open_connection.h"
#include "net/http_body.h"
#include "net/transport.h"
#include "runtime/loop.h"
#include "runtime/timers.h"

namespace wscope::gateway {

// A request on its way to the backend.
struct ExchangeRequest {
  std::string head;  // as the backend is to get it
  net::Framing framing = net::Framing::none;
  uint64_t content_length = 0;
  bool keep_alive = false;
  RequestFacts facts;
  std::string early;       // bytes behind the head that came with it
  net::Transport backend;  // an idle connection to use, or none
};

// One request and its answer between a client and the backend: connect, pass the head and the
// bodies in both directions with back pressure, read the answer's head. A handshake that is
// answered with 101 becomes a RelayConnection; anything else is relayed as HTTP, and the client may
// ask again. Backend not there: 502 at once; no answer in time: 504.
//
// Thread: loop. Owned by the loop.
class Exchange final : public runtime::Pollable, public runtime::Timer, public Link {
 public:
  static void start(Edge& edge, net::Transport&& client, runtime::Pollable& watched,
                    ExchangeRequest&& request);
  ~Exchange() override;
  void on_ready(uint32_t events) noexcept override;  // the client's side
  // Ends it now, without a word.
  void cut() { destroy(); }

 private:
  // The backend's side; lies in its Exchange.
  struct BackendSide final : runtime::Pollable {
    explicit BackendSide(Exchange& owner_in) : owner(owner_in) {}
    void on_ready(uint32_t events) noexcept override { owner.backend_ready(events); }
    Exchange& owner;
  };
  enum class State : uint8_t { connecting, securing, waiting, answering };

  Exchange(Edge& edge, net::Transport&& client, ExchangeRequest&& request);
  void on_timer() noexcept override;

  void connect();
  void connected();
  void send_request();
  void client_ready();
  void backend_ready(uint32_t events);
  void read_client();
  void read_backend();
  void client_bytes(std::string_view bytes);
  void backend_bytes(std::string_view bytes);
  void backend_ended();
  void answer_head(net::ResponseHead const& head, std::string_view raw, std::string_view after);
  void upgraded(net::ResponseHead const& head, std::string_view raw, std::string_view after);
  bool try_again();
  bool kept_backend_is_quiet() const;
  void progress();
  void finish_if_done();
  void to_client(std::string_view bytes);
  void to_backend(std::string_view bytes);
  void watch();
  void finished();
  // The request came to nothing: answers `status` if nothing was answered yet.
  void fail(int status, std::string_view error_type, std::string_view what);
  void account(int status, std::string_view error_type);
  // Hands the client's socket to a Handshake that waits for its end, and ends.
  void linger();
  void log_request(std::string_view endpoint, int status, std::string_view error_type);
  void destroy();

  Edge& edge_;
  std::shared_ptr<Settings const> settings_;
  ExchangeRequest request_;
  net::Transport client_;
  net::Transport backend_;
  BackendSide side_;
  Backlog to_client_;
  Backlog to_backend_;
  std::string session_text_;  // of an accepted handshake
  std::string room_text_;
  std::string answer_;  // an answer's head that spans reads
  net::BodyScanner request_body_;
  net::BodyScanner answer_body_;
  State state_ = State::connecting;
  size_t head_sent_ = 0;  // bytes of the head that went out with the connect
  int64_t backend_unix_ns_ = 0;
  int status_ = 0;
  uint32_t client_events_ = 0;
  uint32_t backend_events_ = 0;
  bool reused_ = false;
  bool answer_keeps_ = false;
  bool until_close_ = false;   // the backend's end is the answer's
  bool backend_done_ = false;  // it ended behind a whole answer that the client has not read yet
  bool client_eof_ = false;
  bool accounted_ = false;
  bool dead_ = false;
  bool counted_ = true;
};

// What Handshake and Exchange both need once a request is answered with 101.
OpenFacts make_open_facts(Edge& edge, RequestFacts const& facts, uint16_t route,
                          std::string_view room);
void count_handshake(Edge& edge, RequestFacts const& facts, uint16_t route, int status);

}  // namespace wscope::gateway
