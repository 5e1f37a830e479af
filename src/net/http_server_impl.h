#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/http_body.h"
#include "net/http_server.h"
#include "net/transport.h"
#include "runtime/sync.h"

namespace wscope::net {

// Inside of HttpServer; included by http_server.cc and http_connection.cc only.

// What Responders hold: the way to the server as long as there is one.
struct HttpGate {
  struct Target {
    runtime::Loop* loop = nullptr;
    HttpServer* server = nullptr;
  };
  runtime::Guarded<Target> target;
};

// One client's connection: reads a request, hands it over, writes the answer, and so on.
//
// Thread: loop. Owned by the server; leaves through Loop::retire().
class HttpConnection final : public runtime::Pollable, private runtime::Timer {
 public:
  HttpConnection(HttpServer::Impl& server, uint64_t id, Transport transport, Address const& peer);

  // Begins to watch the descriptor. False if the loop does not take it.
  bool start();
  void on_ready(uint32_t events) noexcept override;
  void on_timer() noexcept override;
  // The answer to request `number`; an outdated one is dropped. `inside` = called by the handler.
  void deliver(uint64_t number, Response response, bool inside);
  bool idle() const { return state_ == State::idle; }
  // Stops watching and closes. The server then retires the object.
  void release();

 private:
  enum class State : uint8_t {
    handshake,
    idle,  // no byte of a request yet
    head,
    body,
    handling,   // a handler has it
    lingering,  // answered and ended; what still arrives is thrown away
    closed,
  };
  enum class Step : uint8_t { again, wait, gone };

  void run();
  Step step();
  Step shake_hands();
  Step fill();
  Step read_head();
  Step read_body();
  Step flush();
  Step linger();
  Step begin(RequestHead const& head);
  Step dispatch();
  void fill_request(RequestHead const& head);
  // Answers by ourselves and ends the connection after it.
  void refuse(int status, std::string_view type, std::string_view what);
  void reply(Response response);
  void after_reply();
  void enter(State state, int64_t timeout_ns);
  void watch(uint32_t events);
  Step drop();

  HttpServer::Impl& server_;
  uint64_t const id_;
  Transport transport_;
  Address const peer_;
  State state_ = State::handshake;
  bool close_after_ = false;
  bool head_only_ = false;
  bool minor_0_ = false;
  bool gzip_wanted_ = false;
  bool write_timed_ = false;
  bool running_ = false;
  int reads_left_ = 0;  // of this turn
  uint32_t watched_ = 0;
  uint64_t number_ = 0;  // of the request at hand
  size_t lingered_ = 0;
  std::string input_;
  std::string output_;
  size_t written_ = 0;  // of output_
  BodyScanner body_;
  std::optional<Response> early_;  // decided by the head alone
  std::unique_ptr<Request> request_;
};

// One listening socket. Pauses for 100 ms when no descriptor can be had.
class HttpListener final : public runtime::Pollable, private runtime::Timer {
 public:
  HttpListener(HttpServer::Impl& server, int fd, TlsContext const* tls)
      : server_(server), fd_(fd), tls_(tls) {}
  ~HttpListener() override;
  base::Status start();
  void stop();
  void on_ready(uint32_t events) noexcept override;
  void on_timer() noexcept override;

 private:
  HttpServer::Impl& server_;
  int fd_;
  TlsContext const* tls_;
};

struct HttpServer::Impl {
  struct Route {
    std::string method;
    std::string path;  // of a prefix: with its last slash
    bool prefix;
    Handler handler;
  };

  Impl(runtime::Loop& its_loop, HttpServerOptions its_options)
      : loop(its_loop), options(std::move(its_options)), buffer(64 << 10) {}

  void accepted(int fd, Address const& peer, TlsContext const* tls);
  void remove(uint64_t id);
  // What the head alone decides: 401, 404, 405, OPTIONS. Nothing if a handler shall answer.
  std::optional<Response> answer_early(Request const& request) const;
  bool authorized(Request const& request) const;
  // The routes of the path that fits best; empty if none does.
  std::vector<Route const*> routes_for(std::string_view path) const;
  // Hands over to the handler; the route is there, for answer_early() has looked.
  void dispatch(Request const& request, uint64_t connection, uint64_t number);

  runtime::Loop& loop;
  HttpServerOptions const options;
  HttpServerCells cells;
  std::shared_ptr<HttpGate> gate = std::make_shared<HttpGate>();
  std::vector<Route> routes;
  std::vector<std::unique_ptr<HttpListener>> listeners;
  std::unordered_map<uint64_t, std::unique_ptr<HttpConnection>> connections;
  uint64_t next_id = 1;
  bool draining = false;
  std::vector<char> buffer;  // every connection reads through it
  RequestHead head;          // kept for its capacity
};

}  // namespace wscope::net
