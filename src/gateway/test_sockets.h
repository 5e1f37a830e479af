#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <utility>

#include "net/ws/frame.h"
#include "net/ws/test_frames.h"
#include "runtime/cells.h"
#include "runtime/sync.h"

// For tests: plain blocking sockets of 127.0.0.1, and a backend that does what it is told.
namespace wscope::gateway::test {

struct Frame {
  net::ws::Opcode opcode = net::ws::Opcode::continuation;
  bool fin = false;
  uint8_t reserved = 0;
  bool masked = false;
  std::string payload;
  bool good = false;  // false: the connection ended or stood still instead
  // Of a close frame; 0 if it has none.
  uint16_t code() const {
    if (payload.size() < 2) return 0;
    return static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 |
                                 static_cast<uint8_t>(payload[1]));
  }
};

inline std::string close_frame(uint16_t code, bool masked = true) {
  return net::ws::test::frame(net::ws::close_payload(code, {}),
                              {.opcode = net::ws::Opcode::close, .masked = masked});
}
inline std::string text_frame(std::string_view text, bool masked = true) {
  return net::ws::test::frame(text, {.masked = masked});
}

// Sockets of tests that are open now.
inline runtime::SharedCell& live_sockets() {
  static runtime::SharedCell count;
  return count;
}

// One end of a connection. Every wait ends after ten seconds.
//
// Thread: one.
class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {
    if (fd_ < 0) return;
    live_sockets().add(1);
    timeval const wait{.tv_sec = 10, .tv_usec = 0};
    int const on = 1;
    (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    (void)::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    (void)::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  // `receive_buffer` 0: the system's.
  static Socket connect(uint16_t port, int receive_buffer = 0) {
    int const fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer > 0) {
      (void)::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
      ::close(fd);
      return Socket();
    }
    return Socket(fd);
  }
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), held_(std::move(other.held_)) {}
  Socket& operator=(Socket&& other) noexcept {
    if (this == &other) return *this;
    close();
    fd_ = std::exchange(other.fd_, -1);
    held_ = std::move(other.held_);
    return *this;
  }

  bool open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // What the kernel takes without waiting; returns how much that was.
  size_t send_at_once(std::string_view bytes) {
    ssize_t const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n > 0 ? static_cast<size_t>(n) : 0;
  }
  // Up to and with `mark`; empty if that did not come.
  std::string until(std::string_view mark) {
    size_t at;
    while ((at = held_.find(mark)) == std::string::npos) {
      if (!fill()) return {};
    }
    return take(at + mark.size());
  }
  std::string exactly(size_t n) {
    while (held_.size() < n && fill()) {
    }
    return take(std::min(n, held_.size()));
  }
  std::string rest() {
    while (fill()) {
    }
    return std::exchange(held_, {});
  }
  std::string head() { return until("\r\n\r\n"); }
  Frame frame() {
    net::ws::FrameHeader header;
    while (net::ws::parse_header(held_.data(), held_.size(), header) !=
           net::ws::HeaderState::complete) {
      if (!fill()) return {};
    }
    Frame out{header.opcode, header.fin, header.reserved, header.masked, {}, true};
    (void)take(header.bytes);
    out.payload = exactly(header.length);
    out.good = out.payload.size() == header.length;
    if (header.masked) {
      net::ws::apply_mask(out.payload.data(), out.payload.size(), header.mask);
    }
    return out;
  }
  // The peer has ended its direction in order, and nothing came before that.
  bool ended() {
    if (!held_.empty()) return false;
    char byte;
    return ::recv(fd_, &byte, 1, 0) == 0;
  }
  // The connection was reset.
  bool was_reset() {
    char bytes[4096];
    ssize_t n;
    while ((n = ::recv(fd_, bytes, sizeof bytes, 0)) > 0) {
    }
    return n < 0 && errno == ECONNRESET;
  }
  // Nothing is there to be read now.
  bool quiet() const {
    char byte;
    return held_.empty() && ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0;
  }
  void half_close() { (void)::shutdown(fd_, SHUT_WR); }
  // Closes with a reset.
  void reset() {
    linger const at_once{.l_onoff = 1, .l_linger = 0};
    (void)::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
  }
  void close() {
    if (fd_ < 0) return;
    ::close(fd_);
    fd_ = -1;
    live_sockets().sub(1);
  }

 private:
  bool fill() {
    char bytes[64 << 10];
    ssize_t const n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n > 0) held_.append(bytes, static_cast<size_t>(n));
    return n > 0;
  }
  std::string take(size_t n) {
    std::string out = held_.substr(0, n);
    held_.erase(0, n);
    return out;
  }
  int fd_;
  std::string held_;
};

// A server whose `script(socket, n)` runs on a thread of its own for its n-th connection (from 0).
class Backend {
 public:
  using Script = std::function<void(Socket&, int)>;
  explicit Backend(Script script) : script_(std::move(script)) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    WSCOPE_CHECK(::bind(fd_, reinterpret_cast<sockaddr*>(&at), size) == 0);
    WSCOPE_CHECK(::listen(fd_, 1024) == 0);
    WSCOPE_CHECK(::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port_ = ntohs(at.sin_port);
    thread_ = runtime::Thread("backend", [this] { run(); });
  }
  ~Backend() {
    (void)::shutdown(fd_, SHUT_RDWR);
    thread_.join();
    ::close(fd_);
  }
  uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  uint64_t connections() const { return connections_.read(); }

 private:
  void run() {
    std::list<runtime::Thread> threads;
    for (int n = 0;; ++n) {
      int const fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) break;
      connections_.add(1);
      threads.emplace_back("peer", [this, fd, n] {
        Socket socket(fd);
        script_(socket, n);
      });
    }
  }
  Script script_;
  int fd_ = -1;
  uint16_t port_ = 0;
  runtime::SharedCell connections_;
  runtime::Thread thread_;
};

// Answers a handshake with 101; returns its head, empty if none came.
inline std::string accept_handshake(Socket& socket, std::string_view extra = {},
                                    std::string_view behind = {}) {
  std::string const head = socket.head();
  size_t const at = head.find("Sec-WebSocket-Key: ");
  if (at == std::string::npos) return {};
  std::string const key = head.substr(at + 19, 24);
  (void)socket.send(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
      "Upgrade\r\nSec-WebSocket-Accept: " +
      net::ws::accept_key(key) + "\r\n" + std::string(extra) + "\r\n" + std::string(behind));
  return head;
}

inline std::string handshake_text(std::string_view path, std::string_view extra = {}) {
  return "GET " + std::string(path) +
         " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
         std::string(extra) + "\r\n";
}

// A client past its 101; not open if that did not come.
inline Socket upgraded(uint16_t port, std::string_view path, std::string_view extra = {},
                       int receive_buffer = 0) {
  Socket socket = Socket::connect(port, receive_buffer);
  if (!socket.open() || !socket.send(handshake_text(path, extra)) ||
      !socket.head().starts_with("HTTP/1.1 101 ")) {
    return Socket();
  }
  return socket;
}

}  // namespace wscope::gateway::test
