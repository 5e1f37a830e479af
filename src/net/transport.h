#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

// OpenSSL's own declaration, so that its headers stay out of this one.
struct ssl_st;

namespace wscope::net {

using SslHandle = ::ssl_st;

enum class IoKind : uint8_t {
  done,         // `bytes` were moved (or the handshake is complete)
  again_read,   // wait until the descriptor is readable, then repeat
  again_write,  // wait until it is writable, then repeat
  eof,          // the peer ended its direction
  error,        // the connection is of no more use: errno (plain), why()
};

struct IoResult {
  IoKind kind;
  size_t bytes;
};

// One connection's bytes, plain or through TLS. Owns the descriptor and the TLS state and closes
// both. 16 bytes; a plain read or write is one call of the kernel and no branch more than `secure`.
//
// Thread: loop. Never raises SIGPIPE.
//
// TLS notes. A write may ask for again_read and a read for again_write. After `again_*` the next
// write must start with the same bytes and be no shorter. Decrypted bytes and a received end lie in
// TLS's own buffer, of which epoll knows nothing: go on reading while more_to_read().
class Transport {
 public:
  explicit Transport(int fd = -1, SslHandle* ssl = nullptr) : fd_(fd), ssl_(ssl) {}
  ~Transport() {
    if (fd_ >= 0) close();
  }
  Transport(Transport&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), ssl_(std::exchange(other.ssl_, nullptr)) {}
  Transport& operator=(Transport&& other) noexcept {
    if (this != &other) {
      if (fd_ >= 0) close();
      fd_ = std::exchange(other.fd_, -1);
      ssl_ = std::exchange(other.ssl_, nullptr);
    }
    return *this;
  }

  int fd() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  bool secure() const { return ssl_ != nullptr; }

  // Goes on with the TLS handshake until `done`; done at once if plain.
  IoResult handshake() { return ssl_ == nullptr ? IoResult{IoKind::done, 0} : tls_handshake(); }

  IoResult read(char* to, size_t size) {
    if (ssl_ != nullptr) return tls_read(to, size);
    for (;;) {
      ssize_t const n = ::recv(fd_, to, size, 0);
      if (n > 0) return {IoKind::done, static_cast<size_t>(n)};
      if (n == 0) return {size == 0 ? IoKind::done : IoKind::eof, 0};
      if (errno != EINTR) return failed(IoKind::again_read);
    }
  }
  bool more_to_read() const { return ssl_ != nullptr && tls_more_to_read(); }

  // May write less than `size`.
  IoResult write(char const* from, size_t size) {
    if (ssl_ != nullptr) return tls_write(from, size);
    for (;;) {
      ssize_t const n = ::send(fd_, from, size, MSG_NOSIGNAL);
      if (n >= 0) return {IoKind::done, static_cast<size_t>(n)};
      if (errno != EINTR) return failed(IoKind::again_write);
    }
  }
  IoResult writev(iovec const* parts, int count) {
    if (ssl_ != nullptr) return tls_writev(parts, count);
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = static_cast<size_t>(count);
    for (;;) {
      ssize_t const n = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
      if (n >= 0) return {IoKind::done, static_cast<size_t>(n)};
      if (errno != EINTR) return failed(IoKind::again_write);
    }
  }

  // Ends our direction (TLS: close_notify first); reading goes on.
  void shutdown_write();
  // Says goodbye where TLS can without waiting, then closes. Nothing happens if closed already.
  void close();
  // Makes close() send a reset instead of an orderly end.
  void abort_on_close();

  // Words for the last `error`, to be asked for before any other call on this thread: why a
  // certificate was not accepted, TLS's own error, or errno's text.
  std::string why() const;

 private:
  static IoResult failed(IoKind again) {
    return {errno == EAGAIN || errno == EWOULDBLOCK ? again : IoKind::error, 0};
  }
  IoResult tls_handshake();
  IoResult tls_read(char* to, size_t size);
  IoResult tls_write(char const* from, size_t size);
  IoResult tls_writev(iovec const* parts, int count);
  bool tls_more_to_read() const;

  int fd_;
  SslHandle* ssl_;
};

static_assert(sizeof(Transport) == 16);

}  // namespace wscope::net
