#include "gateway/exchange.h"

#include <array>

#include "base/json.h"
#include "base/text.h"
#include "gateway/relay.h"
#include "net/socket.h"

namespace wscope::gateway {

using net::IoKind;
using telemetry::Level;
using telemetry::LogField;

namespace {

// Bytes that may wait for one side before the other is not read from any more.
constexpr size_t kHeldMax = 256 << 10;

// Fields of an answer that the gateway sets itself, or that end at it (RFC 9110, section 7.6.1).
bool hop_by_hop(std::string_view name) {
  for (std::string_view own :
       {"connection", "keep-alive", "proxy-connection", "x-correlation-id"}) {
    if (base::equals_ignoring_case(name, own)) return true;
  }
  return false;
}

// What a backend's path ends in: by custom the room, "/ws/chat/lobby/". Empty if there is one part
// only.
std::string_view last_part(std::string_view target) {
  std::string_view path = target.substr(0, target.find('?'));
  if (path.ends_with('/')) path.remove_suffix(1);
  size_t const slash = path.rfind('/');
  return slash == std::string_view::npos || slash == 0 ? std::string_view()
                                                       : path.substr(slash + 1, Rooms::kNameMax);
}

double seconds_since(Edge const& edge, int64_t start_ns) {
  return static_cast<double>(edge.loop.read_now_ns() - start_ns) * 1e-9;
}

}  // namespace

OpenFacts make_open_facts(Edge& edge, RequestFacts const& facts, uint16_t route,
                          std::string_view room) {
  static runtime::SharedCell last_id;
  uint64_t const id = last_id.add(1);
  std::string const own = "c" + std::to_string(id);
  std::string const session = facts.session.tracked() ? masked(facts.session) : own;
  OpenFacts open;
  open.info = model::ConnectionInfo::make({.id = id,
                                           .correlation_id = facts.correlation_id,
                                           .session_id = session,
                                           .route = edge.routes.text(route),
                                           .room = room,
                                           .client = facts.client,
                                           .trace = facts.trace.trace,
                                           .handshake_span = facts.trace.server,
                                           .sampled = facts.trace.sampled,
                                           .opened_unix_ns = facts.start_unix_ns});
  open.route = route;
  open.session = facts.session;
  return open;
}

void count_handshake(Edge& edge, RequestFacts const& facts, uint16_t route, int status) {
  std::string_view const text = edge.routes.text(route);
  edge.in.handshake(text, status);
  edge.in.route(route, text).handshake_seconds.observe(seconds_since(edge, facts.start_ns));
}

Exchange::Exchange(Edge& edge, net::Transport&& client, ExchangeRequest&& request)
    : edge_(edge),
      settings_(edge.settings_ref()),
      request_(std::move(request)),
      client_(std::move(client)),
      backend_(std::move(request_.backend)),
      side_(*this) {}

Exchange::~Exchange() {
  if (counted_) edge_.shared.totals.connections.sub(1);
}

void Exchange::start(Edge& edge, net::Transport&& client, runtime::Pollable& watched,
                     ExchangeRequest&& request) {
  auto owned = std::unique_ptr<Exchange>(new Exchange(edge, std::move(client), std::move(request)));
  Exchange& self = *owned.release();  // owned by the loop: see destroy()
  edge.exchanges().push_back(self);
  if (!self.request_.facts.websocket) edge.in.http_active.add(1);
  self.client_events_ = EPOLLRDHUP;
  if (!edge.loop.hand_over(self.client_.fd(), self.client_events_, watched, self)) {
    self.destroy();
    return;
  }
  self.request_body_.start(self.request_.framing, self.request_.content_length);
  self.backend_unix_ns_ = edge.loop.unix_ns();
  if (self.backend_.open()) {
    self.reused_ = self.kept_backend_is_quiet();
    if (self.reused_ && edge.loop.add(self.backend_.fd(), EPOLLIN, self.side_)) {
      self.backend_events_ = EPOLLIN;
      self.send_request();
      return;
    }
    self.backend_.close();
  }
  self.connect();
}

// A kept connection that has something to say has ended, or answers what nobody asked: what comes
// from it would be taken for the answer to this request.
bool Exchange::kept_backend_is_quiet() const {
  char byte;
  return ::recv(backend_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
         (errno == EAGAIN || errno == EWOULDBLOCK) && !backend_.more_to_read();
}

void Exchange::connect() {
  state_ = State::connecting;
  reused_ = false;
  auto fd = net::connect_to(settings_->upstream->address);
  if (!fd) {
    fail(502, "backend_unreachable", fd.error().what);
    return;
  }
  Upstream const& upstream = *settings_->upstream;
  backend_ =
      net::Transport(*fd, upstream.tls ? upstream.tls->connect(*fd, upstream.host) : nullptr);
  edge_.loop.arm(*this, settings_->config.connect_timeout_ns);
  // On one machine a connection stands at once, and the head can go without waiting to be told.
  head_sent_ = 0;
  if (!backend_.secure()) {
    net::IoResult const sent = backend_.write(request_.head.data(), request_.head.size());
    if (sent.kind == IoKind::error) {
      fail(502, "backend_unreachable", "connect to " + upstream.text + ": " + backend_.why());
      return;
    }
    if (sent.kind == IoKind::done) head_sent_ = sent.bytes;
  }
  backend_events_ = head_sent_ > 0 ? EPOLLIN : EPOLLOUT;
  if (!edge_.loop.add(*fd, backend_events_, side_)) {
    fail(502, "backend_unreachable", "no descriptor");
  } else if (head_sent_ > 0) {
    send_request();
  }
}

void Exchange::connected() {
  if (state_ == State::connecting) {
    if (int const error = net::connect_error(backend_.fd()); error != 0) {
      errno = error;
      fail(502, "backend_unreachable",
           base::fail_errno("connect to " + settings_->upstream->text).error().what);
      return;
    }
    state_ = State::securing;
  }
  net::IoResult const result = backend_.handshake();
  if (result.kind == IoKind::done) {
    send_request();
    return;
  }
  if (result.kind == IoKind::eof || result.kind == IoKind::error) {
    fail(502, "backend_unreachable", "TLS to " + settings_->upstream->text + ": " + backend_.why());
    return;
  }
  backend_events_ = result.kind == IoKind::again_read ? EPOLLIN : EPOLLOUT;
  (void)edge_.loop.modify(backend_.fd(), backend_events_, side_);
}

void Exchange::send_request() {
  state_ = State::waiting;
  edge_.loop.arm(*this, settings_->config.response_timeout_ns);
  to_backend(std::string_view(request_.head).substr(head_sent_));
  if (dead_) return;
  std::string const early = std::exchange(request_.early, {});
  // What a client sends behind its handshake is frames: they are the backend's when it has agreed.
  if (request_.facts.websocket) {
    request_.early = early;
  } else {
    client_bytes(early);
  }
  if (dead_) return;
  watch();
  // What TLS holds already would not wake the loop.
  if (!request_.facts.websocket && !request_body_.done() && client_.more_to_read()) read_client();
}

// Time runs from byte to byte, in either direction, not over the whole.
void Exchange::progress() {
  if (state_ >= State::waiting) edge_.loop.arm(*this, settings_->config.response_timeout_ns);
}

void Exchange::finish_if_done() {
  if (state_ != State::answering || !to_client_.empty()) return;
  if (answer_body_.done() || backend_done_) finished();
}

// Reading goes on only where there is room for what is read; a handshake's frames wait in the
// kernel.
void Exchange::watch() {
  bool const body = !request_.facts.websocket && !request_body_.done();
  uint32_t client = 0;
  if (state_ >= State::waiting && body && to_backend_.size() < kHeldMax) client |= EPOLLIN;
  if (!to_client_.empty()) client |= EPOLLOUT;
  if (client == 0 && !client_eof_) client = EPOLLRDHUP;
  if (client != client_events_) {
    client_events_ = client;
    (void)edge_.loop.modify(client_.fd(), client, *this);
  }
  uint32_t backend = 0;
  if (to_client_.size() < kHeldMax) backend |= EPOLLIN;
  if (!to_backend_.empty()) backend |= EPOLLOUT;
  if (state_ >= State::waiting && backend != backend_events_ && backend_.open()) {
    backend_events_ = backend;
    (void)edge_.loop.modify(backend_.fd(), backend, side_);
  }
}

void Exchange::on_ready(uint32_t events) noexcept {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) {
    account(499, {});
    destroy();
    return;
  }
  if ((events & EPOLLRDHUP) != 0 && (events & EPOLLIN) == 0) {
    // The client has said all it will say; it may still be reading.
    client_eof_ = true;
    if (request_.facts.websocket) {
      edge_.in.error({"handshake_aborted", "499"});
      account(499, {});
      destroy();
      return;
    }
  }
  if ((events & EPOLLOUT) != 0) {
    if (write_backlog(client_, to_client_) == Sent::failed) {
      account(499, {});
      destroy();
      return;
    }
    progress();
  }
  if ((events & EPOLLIN) != 0) read_client();
  if (!dead_) finish_if_done();
  if (dead_) return;
  // What TLS held while the client was slow would not wake the loop.
  if (backend_.open() && to_client_.size() < kHeldMax && backend_.more_to_read()) read_backend();
  if (!dead_) watch();
}

void Exchange::read_client() {
  do {
    net::IoResult const result = client_.read(edge_.read_buffer.get(), Edge::kReadBytes);
    if (result.kind == IoKind::again_read || result.kind == IoKind::again_write) return;
    if (result.kind != IoKind::done) {
      account(499, {});
      destroy();
      return;
    }
    client_bytes({edge_.read_buffer.get(), result.bytes});
  } while (!dead_ && client_.more_to_read() && !request_body_.done());
}

void Exchange::client_bytes(std::string_view bytes) {
  if (!bytes.empty()) progress();
  size_t const body = request_body_.feed(bytes);
  if (request_body_.bad()) {
    fail(400, "bad_request_body", "the body's chunks are malformed");
    return;
  }
  to_backend(bytes.substr(0, body));
  request_.early.append(bytes.substr(body));  // the next request
}

void Exchange::backend_ready(uint32_t events) {
  if (state_ <= State::securing) {
    connected();
    return;
  }
  if ((events & EPOLLOUT) != 0 && write_backlog(backend_, to_backend_) == Sent::failed) {
    // What the backend has answered before it closed may still be there to be read.
    to_backend_.clear();
  }
  if (backend_.open()) read_backend();
  if (!dead_) watch();
}

void Exchange::read_backend() {
  do {
    net::IoResult const result = backend_.read(edge_.read_buffer.get(), Edge::kReadBytes);
    if (result.kind == IoKind::again_read || result.kind == IoKind::again_write) return;
    if (result.kind != IoKind::done) {
      backend_ended();
      return;
    }
    backend_bytes({edge_.read_buffer.get(), result.bytes});
  } while (!dead_ && backend_.open() && to_client_.size() < kHeldMax && backend_.more_to_read());
}

void Exchange::backend_bytes(std::string_view bytes) {
  progress();
  if (state_ == State::answering) {
    size_t const body = answer_body_.feed(bytes);
    if (answer_body_.bad()) {
      account(status_, "bad_response");
      destroy();
      return;
    }
    if (body < bytes.size()) answer_keeps_ = false;
    to_client(bytes.substr(0, body));
    if (!dead_) finish_if_done();
    return;
  }
  std::string held;
  if (!answer_.empty()) {
    answer_.append(bytes);
    held = answer_;
    bytes = held;
  }
  for (;;) {
    net::ResponseHead head;
    net::HeadError error;
    switch (net::parse_response(bytes, settings_->head_limits, head, error)) {
      case net::HeadState::bad:
        fail(502, "bad_response", error.what);
        return;
      case net::HeadState::need_more:
        answer_ = std::string(bytes);
        return;
      case net::HeadState::complete:
        break;
    }
    std::string_view const raw = bytes.substr(0, head.bytes);
    bytes.remove_prefix(head.bytes);
    if (head.status >= 200 || head.status == 101) {
      answer_head(head, raw, bytes);
      return;
    }
    to_client(raw);  // 100 Continue and its like come before the answer
    if (dead_) return;
    answer_.clear();
    if (bytes.empty()) return;
  }
}

void Exchange::answer_head(net::ResponseHead const& head, std::string_view raw,
                           std::string_view after) {
  status_ = head.status;
  if (head.status == 101) {
    if (!request_.facts.websocket) {
      fail(502, "bad_response", "the backend switched protocols without being asked");
      return;
    }
    if (head.find("sec-websocket-accept") != net::ws::accept_key(request_.facts.websocket_key)) {
      fail(502, "bad_response", "the backend's Sec-WebSocket-Accept does not fit the key");
      return;
    }
    upgraded(head, raw, after);
    return;
  }
  state_ = State::answering;
  if (request_.facts.websocket) account(status_, {});  // refused by the backend
  net::Framing const framing = head.framing(request_.facts.method == "HEAD");
  until_close_ = framing == net::Framing::until_close;
  answer_keeps_ = head.keep_alive && !until_close_;
  bool const keep = request_.keep_alive && !until_close_ && !request_.facts.websocket &&
                    request_body_.done() && !edge_.draining();
  request_.keep_alive = keep;
  std::string text(raw.substr(0, raw.find("\r\n") + 2));
  for (net::Field const& field : head.fields) {
    if (hop_by_hop(field.name)) continue;
    ((text += field.name) += ": ") += field.value;
    text += "\r\n";
  }
  text += "X-Correlation-ID: " + request_.facts.correlation_id + "\r\n";
  text += keep ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  answer_body_.start(framing, head.content_length);
  size_t const body = answer_body_.feed(after);
  if (body < after.size()) answer_keeps_ = false;
  text.append(after.substr(0, body));
  to_client(text);
  if (!dead_) finish_if_done();
}

void Exchange::upgraded(net::ResponseHead const& head, std::string_view raw,
                        std::string_view after) {
  RequestFacts& facts = request_.facts;
  uint16_t const route = edge_.routes.id_of(facts.target);
  facts.session = edge_.shared.sessions.open(facts.session_key, facts.start_unix_ns);
  OpenFacts open = make_open_facts(edge_, facts, route, last_part(facts.target));
  std::string const protocol(head.find("sec-websocket-protocol"));
  open.subprotocol = protocol;
  open.backend = settings_->upstream->text;
  session_text_ = open.info->session_id();
  room_text_ = open.info->room();
  account(101, {});
  cancel();
  std::string answer(to_client_.view());
  answer += raw.substr(0, raw.size() - 2);
  if (!head.has("x-correlation-id")) answer += "X-Correlation-ID: " + facts.correlation_id + "\r\n";
  answer += "\r\n";
  edge_.loop.forget(*this);
  edge_.loop.forget(side_);
  counted_ = false;
  dead_ = true;
  unlink();
  RelayConnection::start(edge_, std::move(client_), std::move(backend_), std::move(open),
                         {.answer = answer,
                          .from_client = request_.early,
                          .from_backend = std::string(after),
                          .extensions = head.has("sec-websocket-extensions")});
  edge_.loop.retire(std::unique_ptr<runtime::Pollable>(this));
}

// A kept connection may be closed by the backend at the very moment it is used again: a request
// that nothing was answered to, that may be repeated and has no body goes out once more.
bool Exchange::try_again() {
  std::string_view const method = request_.facts.method;
  bool const safe = method == "GET" || method == "HEAD" || method == "OPTIONS";
  if (!reused_ || !answer_.empty() || !safe || request_.framing != net::Framing::none) return false;
  edge_.loop.forget(side_);
  backend_.close();
  to_backend_.clear();
  connect();
  return true;
}

void Exchange::backend_ended() {
  if (state_ == State::answering) {
    if (!until_close_ && !answer_body_.done()) {
      account(status_, "backend_closed");  // it promised more
      destroy();
      return;
    }
    edge_.loop.forget(side_);
    backend_.close();
    answer_keeps_ = false;
    backend_done_ = true;
    finish_if_done();
    return;
  }
  if (!try_again()) fail(502, "backend_closed", "the backend closed without an answer");
}

void Exchange::to_client(std::string_view bytes) {
  if (write_or_keep(client_, to_client_, bytes) == Sent::failed) {
    account(status_ == 0 ? 499 : status_, {});
    destroy();
  }
}

void Exchange::to_backend(std::string_view bytes) {
  if (bytes.empty()) return;
  if (write_or_keep(backend_, to_backend_, bytes) == Sent::failed) to_backend_.clear();
}

void Exchange::on_timer() noexcept {
  if (state_ == State::answering) {
    account(status_, "backend_timeout");
    destroy();
    return;
  }
  bool const connecting = state_ <= State::securing;
  fail(504, "backend_timeout",
       connecting ? "the backend could not be connected in time"
                  : "the backend did not answer in time");
}

void Exchange::fail(int status, std::string_view error_type, std::string_view what) {
  if (dead_) return;
  if (state_ == State::answering) {
    // A second head has no place behind the first.
    account(status_, error_type);
    destroy();
    return;
  }
  LogField const fields[] = {{"status", int64_t{status}},
                             {"error_type", error_type},
                             {"reason", what},
                             {"backend", settings_->upstream->text},
                             {"path", std::string_view(request_.facts.target).substr(0, 1024)},
                             {"client", request_.facts.client}};
  telemetry::LogContext const context{.correlation_id = request_.facts.correlation_id,
                                      .session_id = {},
                                      .connection_id = {},
                                      .trace_id = request_.facts.trace.trace,
                                      .span_id = request_.facts.trace.server};
  edge_.log(Level::error, WSCOPE_SITE("exchange"), "backend request failed", context, fields,
            request_.facts.websocket ? telemetry::kLogWebsocket : telemetry::kLogHttp);
  if (request_.facts.websocket) edge_.in.error({error_type, std::to_string(status)});
  account(status, error_type);
  std::string body = "{\"status\":\"error\",\"errorType\":";
  base::append_json_string(body, error_type);
  body += ",\"error\":";
  base::append_json_string(body, status == 400   ? what
                                 : status == 504 ? "the backend did not answer in time"
                                                 : "the backend can not be reached");
  body += "}\n";
  std::string text = "HTTP/1.1 " + std::to_string(status) + " ";
  (text += reason_phrase(status)) += "\r\nContent-Type: application/json\r\nContent-Length: ";
  text += std::to_string(body.size()) + "\r\nX-Correlation-ID: ";
  text += request_.facts.correlation_id + "\r\nConnection: close\r\n\r\n";
  if (request_.facts.method != "HEAD") text += body;
  to_client(text);
  if (!dead_) linger();
}

void Exchange::account(int status, std::string_view error_type) {
  if (accounted_) return;
  accounted_ = true;
  RequestFacts const& facts = request_.facts;
  // Paths that the backend does not know would use up the templates.
  bool const known = status != 404 && status != 499 && error_type.empty();
  uint16_t const route = known ? edge_.routes.id_of(facts.target) : kRouteOtherId;
  std::string_view const text = edge_.routes.text(route);
  if (facts.websocket) {
    count_handshake(edge_, facts, route, status);
  } else {
    edge_.in.http_active.add(-1);
    edge_.in.http_request(facts.method, text, status, seconds_since(edge_, facts.start_ns));
    if (!error_type.empty()) edge_.in.http_error(error_type);
    log_request(text, status, error_type);
  }
  finish_request_spans(edge_, facts.trace,
                       {.method = facts.method,
                        .route = text,
                        .path = facts.target,
                        .correlation_id = facts.correlation_id,
                        .session_id = session_text_,
                        .room = room_text_,
                        .client = facts.client,
                        .user_agent = facts.user_agent,
                        .host = facts.host,
                        .backend = settings_->upstream->text,
                        .error_type = error_type,
                        .status = status,
                        .websocket = facts.websocket,
                        .start_unix_ns = facts.start_unix_ns,
                        .backend_unix_ns = backend_unix_ns_});
}

void Exchange::log_request(std::string_view endpoint, int status, std::string_view error_type) {
  RequestFacts const& facts = request_.facts;
  telemetry::LogContext const context{.correlation_id = facts.correlation_id,
                                      .session_id = {},
                                      .connection_id = {},
                                      .trace_id = facts.trace.trace,
                                      .span_id = facts.trace.server};
  LogField const fields[] = {
      {"endpoint", endpoint},      {"method", method_label(facts.method)},
      {"status", int64_t{status}}, {"response_time", seconds_since(edge_, facts.start_ns)},
      {"error_type", error_type},  {"client", facts.client}};
  Level const level = !error_type.empty() ? Level::error
                      : status >= 500     ? Level::warning
                                          : Level::info;
  edge_.log(level, WSCOPE_SITE("exchange"), "request", context, fields, telemetry::kLogHttp);
}

void Exchange::finished() {
  account(status_, {});
  if (!request_.keep_alive) {
    linger();
    return;
  }
  cancel();
  unlink();
  edge_.loop.remove(backend_.fd(), side_);
  // One that was not sent the whole request would take the rest for the next one.
  if (!answer_keeps_ || !to_backend_.empty()) backend_.close();
  counted_ = false;
  dead_ = true;
  Handshake::resume(edge_, std::move(client_), *this, request_.facts.peer,
                    std::move(request_.early), {std::move(backend_), settings_});
  edge_.loop.retire(std::unique_ptr<runtime::Pollable>(this));
}

void Exchange::linger() {
  cancel();
  unlink();
  if (backend_.open()) {
    edge_.loop.forget(side_);
    backend_.close();
  }
  counted_ = false;
  dead_ = true;
  Handshake::linger_on(edge_, std::move(client_), *this, request_.facts.peer);
  edge_.loop.retire(std::unique_ptr<runtime::Pollable>(this));
}

void Exchange::destroy() {
  if (dead_) return;
  dead_ = true;
  account(status_ == 0 ? 499 : status_, {});
  cancel();
  unlink();
  if (backend_.open()) {
    edge_.loop.forget(side_);
    backend_.close();
  }
  if (client_.open()) {
    edge_.loop.forget(*this);
    client_.close();
  }
  edge_.loop.retire(std::unique_ptr<runtime::Pollable>(this));
}

}  // namespace wscope::gateway
