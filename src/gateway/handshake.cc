#include "gateway/handshake.h"

#include <array>

#include "base/json.h"
#include "base/text.h"
#include "gateway/exchange.h"
#include "gateway/forwarding.h"
#include "gateway/http_guard.h"
#include "gateway/served.h"

namespace wscope::gateway {

using net::IoKind;
using telemetry::Level;
using telemetry::LogField;

namespace {

constexpr int64_t kLingerNs = base::kSecond;
// How long a client may take to ask again on a connection that was kept.
constexpr int64_t kKeepAliveNs = 75 * base::kSecond;
constexpr std::string_view kEchoPath = "/echo";
constexpr std::string_view kRoomPrefix = "/ws/";

// The room of "/ws/{room}", empty if `path` (without query) is none or the name is not acceptable.
std::string_view room_of(std::string_view path) {
  if (!path.starts_with(kRoomPrefix)) return {};
  std::string_view name = path.substr(kRoomPrefix.size());
  if (name.ends_with('/')) name.remove_suffix(1);
  if (name.size() > Rooms::kNameMax || name.find('/') != std::string_view::npos) return {};
  return name;
}

// "[::1]:80" and "name:80" without the port.
std::string_view without_port(std::string_view host) {
  size_t const colon = host.rfind(':');
  bool const port =
      colon != std::string_view::npos && host.find(']', colon) == std::string_view::npos;
  return port ? host.substr(0, colon) : host;
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

}  // namespace

std::string_view reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 426:
      return "Upgrade Required";
    case 431:
      return "Request Header Fields Too Large";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "Error";
  }
}

Handshake::Handshake(Edge& edge, net::Transport&& transport, net::Address const& peer)
    : edge_(edge),
      transport_(std::move(transport)),
      peer_(peer),
      start_ns_(edge.loop.now_ns()),
      state_(transport_.secure() ? State::tls : State::head) {
  edge.handshakes().push_back(*this);
}

Handshake::~Handshake() {
  if (counted_) edge_.shared.totals.connections.sub(1);
}

void Handshake::start(Edge& edge, net::Transport&& transport, net::Address const& peer) {
  auto owned = std::unique_ptr<Handshake>(new Handshake(edge, std::move(transport), peer));
  Handshake& self = *owned.release();  // owned by the loop: see destroy()
  edge.shared.totals.handshakes.add(1);
  edge.loop.arm(self, edge.settings().config.handshake_timeout_ns);
  if (!edge.loop.add(self.transport_.fd(), EPOLLIN, self)) self.destroy();
}

void Handshake::resume(Edge& edge, net::Transport&& transport, runtime::Pollable& watched,
                       net::Address const& peer, std::string early, KeptBackend&& backend) {
  auto owned = std::unique_ptr<Handshake>(new Handshake(edge, std::move(transport), peer));
  Handshake& self = *owned.release();
  self.state_ = State::head;
  self.again_ = true;
  self.backend_ = std::move(backend);
  self.early_ = std::move(early);
  bool const waiting = self.early_.empty();
  edge.loop.arm(self, waiting ? kKeepAliveNs : edge.settings().config.handshake_timeout_ns);
  if (!edge.loop.hand_over(self.transport_.fd(), EPOLLIN, watched, self) || edge.draining()) {
    self.destroy();
    return;
  }
  if (!waiting) {
    std::string const bytes = self.early_;
    self.parse(bytes);
  }
  if (!self.dead_ && self.transport_.more_to_read()) self.read_some();
}

void Handshake::linger_on(Edge& edge, net::Transport&& transport, runtime::Pollable& watched,
                          net::Address const& peer) {
  auto owned = std::unique_ptr<Handshake>(new Handshake(edge, std::move(transport), peer));
  Handshake& self = *owned.release();
  edge.loop.remove(self.transport_.fd(), watched);
  self.again_ = true;
  self.linger();
  if (!edge.loop.add(self.transport_.fd(), EPOLLIN, self)) self.destroy();
}

void Handshake::destroy() {
  if (dead_) return;
  dead_ = true;
  if (!again_) edge_.shared.totals.handshakes.sub(1);
  cancel();
  unlink();
  if (transport_.open()) {
    edge_.loop.forget(*this);
    transport_.close();
  }
  edge_.loop.retire(std::unique_ptr<runtime::Pollable>(this));
}

void Handshake::drain() {
  if (state_ != State::lingering) destroy();
}

void Handshake::on_ready(uint32_t) noexcept {
  if (state_ == State::tls) {
    secure();
  } else {
    read_some();
  }
}

void Handshake::on_timer() noexcept {
  // A connection that never said anything is a port probe or a browser's spare, not an attempt; one
  // that began a head and did not end it is.
  if (state_ == State::lingering || (state_ == State::head && early_.empty())) {
    destroy();
    return;
  }
  edge_.in.requests.add();
  edge_.in.error({"handshake_timeout", "408"});
  edge_.log(Level::warning, WSCOPE_SITE("handshake"), "handshake took too long", {},
            std::array{LogField{"client", net::to_text(peer_)}});
  if (state_ == State::tls) {
    destroy();
    return;
  }
  answer(408, "text/plain", "the request did not arrive in time\n", {}, {});
  linger();
}

void Handshake::secure() {
  net::IoResult const result = transport_.handshake();
  switch (result.kind) {
    case IoKind::done:
      state_ = State::head;
      (void)edge_.loop.modify(transport_.fd(), EPOLLIN, *this);
      if (transport_.more_to_read()) read_some();
      return;
    case IoKind::again_read:
      (void)edge_.loop.modify(transport_.fd(), EPOLLIN, *this);
      return;
    case IoKind::again_write:
      (void)edge_.loop.modify(transport_.fd(), EPOLLOUT, *this);
      return;
    case IoKind::eof:
    case IoKind::error:
      break;
  }
  std::string const why = transport_.why();
  edge_.in.requests.add();
  edge_.in.error({"tls_handshake", "525"});
  edge_.log(Level::warning, WSCOPE_SITE("handshake"), "TLS handshake failed", {},
            std::array{LogField{"client", net::to_text(peer_)}, LogField{"reason", why}});
  destroy();
}

void Handshake::read_some() {
  char* const buffer = edge_.read_buffer.get();
  net::IoResult const result = transport_.read(buffer, Edge::kReadBytes);
  if (result.kind == IoKind::again_read || result.kind == IoKind::again_write) return;
  if (result.kind != IoKind::done) {
    if (state_ == State::head && !early_.empty()) {
      edge_.in.requests.add();
      edge_.in.error({"handshake_aborted", "499"});
    }
    destroy();
    return;
  }
  if (state_ == State::lingering) return;
  if (early_.empty()) {
    parse({buffer, result.bytes});
    return;
  }
  early_.append(buffer, result.bytes);
  std::string const bytes = early_;
  parse(bytes);
}

void Handshake::parse(std::string_view bytes) {
  net::RequestHead& head = edge_.head;
  net::HeadError error;
  switch (net::parse_request(bytes, edge_.settings().head_limits, head, error)) {
    case net::HeadState::complete:
      decide(head, bytes.substr(head.bytes));
      return;
    case net::HeadState::need_more:
      // On a kept connection the head's time begins with its first byte.
      if (again_ && early_.empty()) {
        edge_.loop.arm(*this, edge_.settings().config.handshake_timeout_ns);
      }
      if (early_.size() != bytes.size()) early_ = std::string(bytes);
      return;
    case net::HeadState::bad:
      break;
  }
  RequestFacts facts;
  facts.correlation_id = edge_.rng.uuid();
  facts.client = net::to_text(peer_);
  facts.start_unix_ns = edge_.loop.unix_ns();
  facts.trace.trace = edge_.telemetry.traces.new_trace();
  facts.trace.server = edge_.telemetry.traces.new_span();
  edge_.in.requests.add();
  refuse(facts, error.status, error.error_type, error.what);
}

RequestFacts Handshake::facts_of(net::RequestHead const& head) {
  RequestFacts facts;
  facts.trace = HandshakeTrace::begin(edge_, head);
  facts.correlation_id = correlation_id_from(head.find("x-correlation-id"), edge_.rng).text;
  facts.client = net::to_text(peer_);
  facts.method = head.method;
  facts.target = head.path;
  facts.user_agent = head.find("user-agent").substr(0, 256);
  facts.host = without_port(head.find("host"));
  facts.websocket_key = head.find("sec-websocket-key");
  facts.session_key = session_key(head, edge_.settings().config.session);
  facts.peer = peer_;
  facts.start_ns = edge_.loop.now_ns();
  facts.start_unix_ns = edge_.loop.unix_ns();
  facts.websocket = head.has("sec-websocket-key") || head.has("sec-websocket-version") ||
                    head.has_token("upgrade", "websocket");
  return facts;
}

void Handshake::decide(net::RequestHead const& head, std::string_view after) {
  RequestFacts facts = facts_of(head);
  bool const relayed = edge_.settings().upstream != nullptr;
  if (facts.websocket) {
    edge_.in.requests.add();
    if (auto const refusal = check_handshake(head)) {
      refuse(facts, refusal->status, refusal->error_type, refusal->what, refusal->headers);
      return;
    }
    if (!relayed) {
      serve(head, std::move(facts), after);
      return;
    }
  }
  if (relayed) {
    forward(head, std::move(facts), after);
  } else {
    built_in_page(head, facts);
  }
}

void Handshake::serve(net::RequestHead const& head, RequestFacts&& facts, std::string_view after) {
  std::string_view const path = path_of(facts.target);
  std::string_view const room = room_of(path);
  if (room.empty() && path != kEchoPath) {
    refuse(facts, 404, "not_found", "no such endpoint; there are /ws/{room} and /echo");
    return;
  }
  Service service{room, query_value(facts.target, "echo") != "0", 0};
  std::string text =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Accept: ";
  text += net::ws::accept_key(head.find("sec-websocket-key"));
  text += "\r\nX-Correlation-ID: " + facts.correlation_id;
  std::string_view const protocols = head.find("sec-websocket-protocol");
  std::string_view const protocol = base::trim(protocols.substr(0, protocols.find(',')));
  if (!protocol.empty()) (text += "\r\nSec-WebSocket-Protocol: ") += protocol;
  if (auto const deflate = choose_deflate(head)) {
    service.window_bits = static_cast<uint8_t>(agreed(*deflate).server_max_window_bits);
    (text += "\r\nSec-WebSocket-Extensions: ") += deflate_answer(*deflate);
  }
  text += "\r\n\r\n";
  net::IoResult const wrote = transport_.write(text.data(), text.size());
  if (wrote.kind != IoKind::done || wrote.bytes != text.size()) {
    edge_.in.error({"handshake_aborted", "499"});
    destroy();
    return;
  }
  uint16_t const route = edge_.routes.id_of(facts.target);
  std::string_view const route_text = edge_.routes.text(route);
  facts.session = edge_.shared.sessions.open(facts.session_key, facts.start_unix_ns);
  OpenFacts open = make_open_facts(edge_, facts, route, room);
  open.subprotocol = protocol;
  RequestOutcome const outcome{.method = facts.method,
                               .route = route_text,
                               .path = facts.target,
                               .correlation_id = facts.correlation_id,
                               .session_id = open.info->session_id(),
                               .room = room,
                               .client = facts.client,
                               .user_agent = facts.user_agent,
                               .host = facts.host,
                               .backend = {},
                               .subprotocol = protocol,
                               .error_type = {},
                               .status = 101,
                               .websocket = true,
                               .start_unix_ns = facts.start_unix_ns};
  finish_request_spans(edge_, facts.trace, outcome);
  count_handshake(edge_, facts, route, 101);
  counted_ = false;
  std::string const early(after);
  ServedConnection::start(edge_, std::move(transport_), *this, std::move(open), service, early);
  destroy();
}

void Handshake::forward(net::RequestHead const& head, RequestFacts&& facts,
                        std::string_view after) {
  ExchangeRequest request;
  std::string const traceparent = facts.trace.outgoing(edge_);
  std::string const client_ip = net::host_text(peer_);
  ForwardInfo const info{.traceparent = traceparent,
                         .correlation_id = facts.correlation_id,
                         .client_ip = client_ip,
                         .scheme = edge_.shared.tls ? "https" : "http",
                         .drop_tracestate = !facts.trace.parent_valid};
  append_forwarded_head(request.head, head, info, facts.websocket);
  request.framing = head.framing();
  request.content_length = head.content_length;
  request.keep_alive = head.keep_alive;
  request.facts = std::move(facts);
  request.early = after;
  // After a reload the backend may be another.
  if (backend_.settings == edge_.settings_ref()) request.backend = std::move(backend_.transport);
  counted_ = false;
  cancel();
  Exchange::start(edge_, std::move(transport_), *this, std::move(request));
  destroy();
}

void Handshake::built_in_page(net::RequestHead const& head, RequestFacts const& facts) {
  std::string_view const path = path_of(facts.target);
  bool const known = path == kEchoPath || !room_of(path).empty();
  int const status = path == "/" ? 200 : known ? 426 : 404;
  constexpr std::string_view kText = "wscope: WebSocket endpoints here are /ws/{room} and /echo\n";
  std::string_view const endpoint =
      status == 404 ? kRouteOther : edge_.routes.text(edge_.routes.id_of(facts.target));
  edge_.in.http_request(head.method, endpoint, status, 0);
  answer(status, "text/plain; charset=utf-8", head.method == "HEAD" ? std::string_view() : kText,
         known ? "Upgrade: websocket\r\n" : "", facts.correlation_id);
  linger();
}

void Handshake::refuse(RequestFacts const& facts, int status, std::string_view error_type,
                       std::string_view what, std::string_view header) {
  edge_.in.error({error_type, std::to_string(status)});
  edge_.in.handshake(kRouteOther, status);
  telemetry::LogContext const context{.correlation_id = facts.correlation_id,
                                      .session_id = {},
                                      .connection_id = {},
                                      .trace_id = facts.trace.trace,
                                      .span_id = facts.trace.server};
  LogField const fields[] = {{"status", int64_t{status}},
                             {"error_type", error_type},
                             {"reason", what},
                             {"path", std::string_view(facts.target).substr(0, 1024)},
                             {"client", facts.client}};
  edge_.log(Level::warning, WSCOPE_SITE("handshake"), "handshake refused", context, fields);
  RequestOutcome const outcome{.method = facts.method,
                               .route = kRouteOther,
                               .path = facts.target,
                               .correlation_id = facts.correlation_id,
                               .client = facts.client,
                               .user_agent = facts.user_agent,
                               .host = facts.host,
                               .error_type = error_type,
                               .status = status,
                               .websocket = true,
                               .start_unix_ns = facts.start_unix_ns};
  finish_request_spans(edge_, facts.trace, outcome);
  std::string body = "{\"status\":\"error\",\"errorType\":";
  base::append_json_string(body, error_type);
  body += ",\"error\":";
  base::append_json_string(body, what);
  body += "}\n";
  answer(status, "application/json", body, header, facts.correlation_id);
  linger();
}

void Handshake::answer(int status, std::string_view content_type, std::string_view body,
                       std::string_view header, std::string_view correlation_id) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " ";
  (text += reason_phrase(status)) += "\r\nContent-Type: ";
  text += content_type;
  text += "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  if (!correlation_id.empty()) ((text += "X-Correlation-ID: ") += correlation_id) += "\r\n";
  text += header;
  if (!header.empty() && !header.ends_with("\r\n")) text += "\r\n";
  text += "Connection: close\r\n\r\n";
  text += body;
  (void)transport_.write(text.data(), text.size());
}

void Handshake::linger() {
  state_ = State::lingering;
  early_.clear();
  transport_.shutdown_write();
  edge_.loop.arm(*this, kLingerNs);
}

}  // namespace wscope::gateway
