#include "net/http_server.h"

#include <openssl/crypto.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "net/http_server_impl.h"
#include "net/socket.h"

namespace wscope::net {

namespace {

constexpr int kAcceptsPerTurn = 64;
constexpr int64_t kAcceptPauseNs = 100 * base::kMilli;

// The gate of the server whose handler runs on this thread: an answer given within the handler
// needs no way through the mailbox.
thread_local HttpGate const* inside_handler_of = nullptr;

std::string allowed(std::vector<HttpServer::Impl::Route const*> const& routes) {
  std::string out;
  for (auto const* route : routes) {
    out += route->method + ", ";
    if (route->method == "GET") out += "HEAD, ";
  }
  return out + "OPTIONS";
}

}  // namespace

// ---- Responder ----

Responder::~Responder() {
  if (gate_) send(Response::error(500, "internal", "the request was not answered"));
}

void Responder::send(Response response) {
  std::shared_ptr<HttpGate> const gate = std::exchange(gate_, nullptr);
  if (!gate) return;
  uint64_t const connection = connection_;
  uint64_t const request = request_;
  if (inside_handler_of == gate.get()) {
    HttpServer* const server = gate->target.with([](auto const& target) { return target.server; });
    if (server == nullptr) return;
    auto const found = server->impl_->connections.find(connection);
    if (found != server->impl_->connections.end()) {
      found->second->deliver(request, std::move(response), true);
    }
    return;
  }
  auto task = [gate, connection, request, response = std::move(response)]() mutable {
    HttpServer* const server = gate->target.with([](auto const& target) { return target.server; });
    if (server == nullptr) return;
    auto const found = server->impl_->connections.find(connection);
    if (found != server->impl_->connections.end()) {
      found->second->deliver(request, std::move(response), false);
    }
  };
  // Posted under the lock, so that the loop is there; a full mailbox drops it, counts it, and the
  // handler's time limit answers.
  gate->target.with([&](auto const& target) {
    if (target.loop != nullptr) (void)target.loop->post(std::move(task));
  });
}

// ---- Routing ----

std::vector<HttpServer::Impl::Route const*> HttpServer::Impl::routes_for(
    std::string_view path) const {
  std::vector<Route const*> out;
  size_t best = 0;
  for (Route const& route : routes) {
    bool const fits = route.prefix ? path.size() > route.path.size() && path.starts_with(route.path)
                                   : path == route.path;
    // An exact path has no equal in length: it ends where the longest prefix still goes on.
    size_t const rank = route.prefix ? route.path.size() : SIZE_MAX;
    if (!fits || rank < best) continue;
    if (rank > best) out.clear();
    best = rank;
    out.push_back(&route);
  }
  return out;
}

bool HttpServer::Impl::authorized(Request const& request) const {
  if (options.token.empty()) return true;
  if (std::find(options.open_paths.begin(), options.open_paths.end(), request.path) !=
      options.open_paths.end()) {
    return true;
  }
  constexpr std::string_view kScheme = "bearer ";
  std::string_view const given = request.header("authorization");
  if (given.size() != kScheme.size() + options.token.size() ||
      !base::equals_ignoring_case(given.substr(0, kScheme.size()), kScheme)) {
    return false;
  }
  return CRYPTO_memcmp(given.data() + kScheme.size(), options.token.data(), options.token.size()) ==
         0;
}

std::optional<Response> HttpServer::Impl::answer_early(Request const& request) const {
  if (!authorized(request)) {
    Response out = Response::error(401, "unauthorized", "a bearer token is wanted");
    out.headers.emplace_back("WWW-Authenticate", "Bearer");
    return out;
  }
  if (request.path == "*") return Response{204, "", {{"Allow", "GET, HEAD, OPTIONS"}}, ""};
  auto const found = routes_for(request.path);
  if (found.empty()) return Response::error(404, "not_found", "no such path");
  bool const is_head = request.method == "HEAD";
  for (Route const* route : found) {
    if (route->method == request.method || (is_head && route->method == "GET")) return std::nullopt;
  }
  if (request.method == "OPTIONS") return Response{204, "", {{"Allow", allowed(found)}}, ""};
  Response out = Response::error(405, "method_not_allowed", "allowed here: " + allowed(found));
  out.headers.emplace_back("Allow", allowed(found));
  return out;
}

void HttpServer::Impl::dispatch(Request const& request, uint64_t connection, uint64_t number) {
  Route const* chosen = nullptr;
  for (Route const* route : routes_for(request.path)) {
    bool const exact = route->method == request.method;
    if (exact || (chosen == nullptr && request.method == "HEAD" && route->method == "GET")) {
      chosen = route;
    }
  }
  Responder responder(gate, connection, number);
  if (chosen == nullptr) return;
  HttpGate const* const outer = std::exchange(inside_handler_of, gate.get());
  chosen->handler(request, std::move(responder));
  inside_handler_of = outer;
}

// ---- Listener ----

HttpListener::~HttpListener() {
  if (fd_ >= 0) ::close(fd_);
}

base::Status HttpListener::start() { return server_.loop.add(fd_, EPOLLIN, *this); }

void HttpListener::stop() {
  cancel();
  if (fd_ < 0) return;
  server_.loop.remove(fd_, *this);
  ::close(std::exchange(fd_, -1));
}

void HttpListener::on_ready(uint32_t) noexcept {
  for (int i = 0; i < kAcceptsPerTurn && fd_ >= 0; ++i) {
    Address peer;
    int const fd = accept_from(fd_, &peer);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      // Watching on would spin: the connection that can not be taken stays ready.
      server_.cells.accept_failures.add(1);
      server_.loop.remove(fd_, *this);
      server_.loop.arm(*this, kAcceptPauseNs);
      return;
    }
    server_.accepted(fd, peer, tls_);
  }
}

void HttpListener::on_timer() noexcept {
  if (fd_ >= 0 && !start()) server_.loop.arm(*this, kAcceptPauseNs);
}

void HttpServer::Impl::accepted(int fd, Address const& peer, TlsContext const* tls) {
  cells.accepted.add(1);
  if (connections.size() >= options.connections_max) {
    cells.refused.add(1);
    static constexpr std::string_view kBusy =
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n"
        "Connection: close\r\n\r\n";
    Transport over(fd);
    if (tls == nullptr) (void)over.write(kBusy.data(), kBusy.size());
    return;
  }
  Transport transport(fd, tls == nullptr ? nullptr : tls->accept(fd));
  if (tls != nullptr && !transport.secure()) {
    cells.tls_failures.add(1);
    return;
  }
  uint64_t const id = next_id++;
  auto made = std::make_unique<HttpConnection>(*this, id, std::move(transport), peer);
  HttpConnection& connection = *made;
  connections.emplace(id, std::move(made));
  cells.open.set(connections.size());
  if (!connection.start()) remove(id);
}

void HttpServer::Impl::remove(uint64_t id) {
  auto found = connections.find(id);
  if (found == connections.end()) return;
  found->second->release();
  loop.retire(std::move(found->second));
  connections.erase(found);
  cells.open.set(connections.size());
}

// ---- HttpServer ----

HttpServer::HttpServer(runtime::Loop& loop, HttpServerOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(options))) {
  impl_->gate->target.with([&](auto& target) { target = {&loop, this}; });
}

HttpServer::~HttpServer() {
  impl_->gate->target.with([](auto& target) { target = {}; });
  close();
}

void HttpServer::route(std::string method, std::string path, Handler handler) {
  bool const prefix = path.ends_with("/*");
  if (prefix) path.pop_back();
  impl_->routes.push_back({std::move(method), std::move(path), prefix, std::move(handler)});
}

base::Result<Address> HttpServer::listen(Address const& address, TlsContext const* tls) {
  WSCOPE_TRY(fd, listen_on(address, false));
  auto listener = std::make_unique<HttpListener>(*impl_, fd, tls);
  WSCOPE_TRY(bound, local_address(fd));
  WSCOPE_TRY_STATUS(listener->start());
  impl_->listeners.push_back(std::move(listener));
  return bound;
}

void HttpServer::drain() {
  impl_->draining = true;
  for (auto& listener : impl_->listeners) {
    listener->stop();
    impl_->loop.retire(std::move(listener));
  }
  impl_->listeners.clear();
  std::vector<uint64_t> idle;
  for (auto const& [id, connection] : impl_->connections) {
    if (connection->idle()) idle.push_back(id);
  }
  for (uint64_t const id : idle) impl_->remove(id);
}

void HttpServer::close() {
  drain();
  while (!impl_->connections.empty()) impl_->remove(impl_->connections.begin()->first);
}

HttpServerCells const& HttpServer::cells() const { return impl_->cells; }

}  // namespace wscope::net
