#include "cli/load_connection.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "cli/load_socket.h"
#include "net/http_head.h"
#include "net/socket.h"

namespace wscope::cli {

namespace ws = net::ws;
using net::IoKind;

namespace {

// Reused by all handshakes of the thread, for the capacity of its list.
net::ResponseHead& head_scratch() {
  thread_local net::ResponseHead head;
  return head;
}

bool has_peer(int fd) {
  sockaddr_storage peer;
  socklen_t length = sizeof peer;
  return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) == 0;
}

}  // namespace

LoadConnection::~LoadConnection() { abandon(); }

void LoadConnection::open(int64_t now_ns) {
  ++life_;
  started_ns_ = now_ns;
  connected_ = wants_write_ = wrote_data_last_ = close_received_ = false;
  sent_ = answered = owed_bytes_ = 0;
  send_at_ = 0;
  head_.clear();
  control_.clear();
  reader_.reset();
  log.clear();
  uint64_t const attempt = shared_.opened++;
  net::Address const* const from =
      shared_.sources.empty() ? nullptr : &shared_.sources[attempt % shared_.sources.size()];
  auto fd = connect_from(shared_.to, from);
  if (!fd) return fail(LoadEnd::connect, fd.error().what);
  net::SslHandle* ssl = nullptr;
  if (shared_.tls != nullptr) {
    ssl = shared_.tls->connect(*fd, shared_.host);
    if (ssl != nullptr && shared_.insecure) SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr);
  }
  transport_ = net::Transport(*fd, ssl);
  watched_ = EPOLLIN;
  if (auto added = shared_.loop.add(*fd, watched_, *this); !added) {
    transport_.close();
    return fail(LoadEnd::connect, added.error().what);
  }
  // A connection to this machine is up by now, and the first write spares a turn of the loop;
  // otherwise the write asks to wait.
  if (shared_.tls != nullptr) {
    state_ = State::securing;
    secure();
  } else {
    start_handshake();
  }
}

void LoadConnection::secure() {
  net::IoResult const result = transport_.handshake();
  wants_write_ = result.kind == IoKind::again_write;
  switch (result.kind) {
    case IoKind::done:
      return start_handshake();
    case IoKind::again_read:
      connected_ = true;
      [[fallthrough]];
    case IoKind::again_write:
      return watch();
    case IoKind::eof:
      return gone("the server hung up within the TLS handshake");
    case IoKind::error: {
      std::string const why = "TLS: " + transport_.why();
      // A fast server may have answered within the first call.
      connected_ = connected_ || has_peer(transport_.fd());
      return gone(why);
    }
  }
}

void LoadConnection::start_handshake() {
  state_ = State::handshaking;
  key_ = shared_.handshake.make_key();
  shared_.handshake.append_request(control_, key_);
  flush();
}

void LoadConnection::on_ready(uint32_t events) noexcept {
  uint32_t const life = life_;
  if (!connected_ && (events & (EPOLLERR | EPOLLHUP)) != 0) {
    int const error = net::connect_error(transport_.fd());
    if (error != 0) return gone(std::strerror(error));
  }
  if (state_ == State::securing) {
    secure();
    if (life != life_ || state_ == State::securing || state_ == State::closed) return;
  } else if (wants_write_ && (events & EPOLLOUT) != 0) {
    flush();
    if (life != life_ || state_ == State::closed) return;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) read();
}

void LoadConnection::read() {
  uint32_t const life = life_;
  do {
    net::IoResult const result = transport_.read(shared_.buffer.data(), shared_.buffer.size());
    switch (result.kind) {
      case IoKind::done:
        break;
      case IoKind::again_write:
        wants_write_ = true;
        return watch();
      case IoKind::again_read:
        return;
      case IoKind::eof:
        return gone("the server hung up");
      case IoKind::error:
        return gone(transport_.why());
    }
    int64_t const now_ns = shared_.loop.read_now_ns();
    std::string_view const bytes(shared_.buffer.data(), result.bytes);
    if (state_ == State::handshaking) {
      take_head(bytes, now_ns);
    } else {
      take_frames(bytes, now_ns);
    }
  } while (life == life_ && state_ != State::closed && transport_.more_to_read());
}

void LoadConnection::take_head(std::string_view bytes, int64_t now_ns) {
  bool const in_parts = !head_.empty();
  if (in_parts) bytes = head_.append(bytes);
  net::ResponseHead& head = head_scratch();
  net::HeadError error;
  switch (net::parse_response(bytes, {kHeadBytesMax, 100}, head, error)) {
    case net::HeadState::bad:
      return fail(LoadEnd::handshake, "handshake: " + error.what);
    case net::HeadState::need_more:
      if (!in_parts) head_.assign(bytes);
      return;
    case net::HeadState::complete:
      break;
  }
  if (char const* const wrong = shared_.handshake.check(head, key_)) {
    return fail(LoadEnd::handshake, "handshake: " + std::string(wrong) + " (" +
                                        std::to_string(head.status) + " " +
                                        std::string(head.reason) + ")");
  }
  // Bytes after the head may lie in head_, which a new life would clear.
  std::string const kept = in_parts ? std::string(bytes.substr(head.bytes)) : std::string();
  std::string_view const rest = in_parts ? std::string_view(kept) : bytes.substr(head.bytes);
  head_.clear();
  uint32_t const life = life_;
  state_ = State::open;
  shared_.events.on_open(*this, now_ns);
  if (!rest.empty() && life == life_ && state_ != State::closed) take_frames(rest, now_ns);
}

void LoadConnection::take_frames(std::string_view bytes, int64_t now_ns) {
  if (close_received_) return;
  Replies const replies = reader_.feed(bytes, control_);
  uint32_t const life = life_;
  if (replies.messages > 0) {
    shared_.events.on_replies(*this, replies, now_ns);
    if (life != life_ || state_ == State::closed) return;
  }
  switch (replies.problem) {
    case ReplyProblem::none:
      break;
    case ReplyProblem::mismatch:
      return fail(LoadEnd::mismatch, replies.what);
    case ReplyProblem::protocol:
      return fail(LoadEnd::protocol, replies.what);
    case ReplyProblem::closed:
      close_received_ = true;
      if (state_ == State::closing) return;  // the server hangs up first (RFC 6455, 7.1.1)
      append_masked_control(control_, ws::Opcode::close, ws::close_payload(replies.close_code, {}));
      owed_bytes_ = 0;
      flush();
      if (life == life_ && state_ != State::closed) {
        fail(LoadEnd::closed, "the server closed with code " + std::to_string(replies.close_code));
      }
      return;
  }
  if (!control_.empty()) flush();
}

size_t LoadConnection::frame_rest() const {
  size_t const frame = shared_.cycle.outgoing_frame();
  size_t const into = send_at_ % frame;
  return into == 0 ? 0 : frame - into;
}

// True if something else may be written next.
bool LoadConnection::write_control() {
  net::IoResult const result = transport_.write(control_.data(), control_.size());
  if (result.kind == IoKind::done) {
    connected_ = true;
    control_.erase(0, result.bytes);
    return true;
  }
  if (result.kind == IoKind::error || result.kind == IoKind::eof) {
    gone(transport_.why());
    return false;
  }
  wants_write_ = result.kind == IoKind::again_write;
  wrote_data_last_ = false;
  watch();
  return false;
}

void LoadConnection::flush() {
  std::string_view const outgoing = shared_.cycle.outgoing();
  for (;;) {
    size_t most = SIZE_MAX;
    if (!control_.empty()) {
      // A control frame goes between two frames, and never before bytes that TLS was given already.
      size_t const rest = frame_rest();
      if (rest == 0 && !wrote_data_last_) {
        if (!write_control()) return;
        continue;
      }
      most = rest;
    }
    if (owed_bytes_ == 0) break;
    if (wrote_data_last_) most = SIZE_MAX;
    auto const n = std::min<size_t>({owed_bytes_, outgoing.size() - send_at_, most});
    net::IoResult const result = transport_.write(outgoing.data() + send_at_, n);
    if (result.kind == IoKind::done) {
      wrote_data_last_ = false;
      owed_bytes_ -= result.bytes;
      send_at_ += result.bytes;
      if (send_at_ >= shared_.cycle.outgoing_round()) send_at_ -= shared_.cycle.outgoing_round();
      continue;
    }
    if (result.kind == IoKind::error || result.kind == IoKind::eof) return gone(transport_.why());
    wants_write_ = result.kind == IoKind::again_write;
    wrote_data_last_ = true;
    return watch();
  }
  wrote_data_last_ = false;
  if (wants_write_) {
    wants_write_ = false;
    watch();
  }
}

void LoadConnection::watch() {
  uint32_t const wanted = EPOLLIN | (wants_write_ ? uint32_t{EPOLLOUT} : 0u);
  if (wanted == watched_) return;
  watched_ = wanted;
  if (auto changed = shared_.loop.modify(transport_.fd(), wanted, *this); !changed) {
    gone(changed.error().what);
  }
}

void LoadConnection::finish(int64_t now_ns) {
  if (state_ != State::open) return;
  state_ = State::closing;
  closing_ns_ = now_ns;
  // What was not begun is not sent any more. What TLS was given already must be offered again.
  if (!wrote_data_last_) owed_bytes_ = std::min<uint64_t>(owed_bytes_, frame_rest());
  append_masked_control(control_, ws::Opcode::close, ws::close_payload(ws::kNormal, {}));
  flush();
}

void LoadConnection::check_time(int64_t now_ns) {
  switch (state_) {
    case State::closed:
    case State::open:
      return;
    case State::securing:
    case State::handshaking:
      if (now_ns - started_ns_ > kOpenTimeoutNs) {
        fail(connected_ ? LoadEnd::handshake : LoadEnd::connect, "no answer within 10 s");
      }
      return;
    case State::closing:
      if (now_ns - closing_ns_ > kCloseTimeoutNs) fail(LoadEnd::finished, {});
      return;
  }
}

void LoadConnection::gone(std::string const& why) {
  switch (state_) {
    case State::closed:
      return;
    case State::securing:
    case State::handshaking:
      return fail(connected_ ? LoadEnd::handshake : LoadEnd::connect,
                  (connected_ ? "handshake: " : "connect: ") + why);
    case State::open:
      return fail(LoadEnd::closed, why);
    case State::closing:
      return fail(LoadEnd::finished, {});
  }
}

void LoadConnection::abandon() {
  if (transport_.open()) {
    shared_.loop.remove(transport_.fd(), *this);
    transport_.close();
  }
  state_ = State::closed;
}

void LoadConnection::fail(LoadEnd kind, std::string const& what) {
  abandon();
  shared_.events.on_end(*this, kind, what);
}

}  // namespace wscope::cli
