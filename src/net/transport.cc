#include "net/transport.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace wscope::net {

namespace {

// Small parts are sealed together: a record each would cost 29 bytes and a cipher call.
constexpr size_t kRecordBytes = 16 << 10;

IoResult outcome(SSL const* ssl, int result) {
  switch (SSL_get_error(ssl, result)) {
    case SSL_ERROR_WANT_READ:
      return {IoKind::again_read, 0};
    case SSL_ERROR_WANT_WRITE:
      return {IoKind::again_write, 0};
    case SSL_ERROR_ZERO_RETURN:
      return {IoKind::eof, 0};
    default:
      return {IoKind::error, 0};
  }
}

}  // namespace

IoResult Transport::tls_handshake() {
  ERR_clear_error();
  int const result = SSL_do_handshake(ssl_);
  if (result == 1) return {IoKind::done, 0};
  IoResult const out = outcome(ssl_, result);
  // A peer that leaves in the middle has not finished anything in order.
  return out.kind == IoKind::eof ? IoResult{IoKind::error, 0} : out;
}

// Fills `to` from as many records as there are, so that the caller seldom has to ask again.
IoResult Transport::tls_read(char* to, size_t size) {
  size_t filled = 0;
  while (filled < size) {
    ERR_clear_error();
    size_t n = 0;
    int const result = SSL_read_ex(ssl_, to + filled, size - filled, &n);
    if (result != 1) {
      IoResult const out = outcome(ssl_, result);
      if (filled > 0) break;
      return out;
    }
    filled += n;
  }
  return {IoKind::done, filled};
}

bool Transport::tls_more_to_read() const {
  return SSL_has_pending(ssl_) == 1 || (SSL_get_shutdown(ssl_) & SSL_RECEIVED_SHUTDOWN) != 0;
}

IoResult Transport::tls_write(char const* from, size_t size) {
  size_t written = 0;
  while (written < size) {
    ERR_clear_error();
    size_t n = 0;
    int const result = SSL_write_ex(ssl_, from + written, size - written, &n);
    if (result != 1) {
      IoResult const out = outcome(ssl_, result);
      // Once the peer has ended its direction, that is what any failed write is put down to.
      if (out.kind == IoKind::eof) return {IoKind::error, 0};
      if (written > 0 && out.kind != IoKind::error) break;
      return out;
    }
    written += n;
  }
  return {IoKind::done, written};
}

IoResult Transport::tls_writev(iovec const* parts, int count) {
  std::array<char, kRecordBytes> record;
  size_t written = 0;
  int part = 0;
  size_t offset = 0;
  while (part < count) {
    size_t filled = 0;
    int next = part;
    size_t next_offset = offset;
    while (next < count && filled < record.size()) {
      size_t const n = std::min(parts[next].iov_len - next_offset, record.size() - filled);
      std::memcpy(record.data() + filled,
                  static_cast<char const*>(parts[next].iov_base) + next_offset, n);
      filled += n;
      next_offset += n;
      if (next_offset == parts[next].iov_len) {
        ++next;
        next_offset = 0;
      }
    }
    if (filled == 0) break;
    IoResult const out = tls_write(record.data(), filled);
    if (out.kind != IoKind::done) {
      if (written > 0 && out.kind != IoKind::error) break;
      return out;
    }
    written += out.bytes;
    if (out.bytes < filled) break;
    part = next;
    offset = next_offset;
  }
  return {IoKind::done, written};
}

void Transport::shutdown_write() {
  if (fd_ < 0) return;
  if (ssl_ != nullptr && SSL_is_init_finished(ssl_) == 1) {
    ERR_clear_error();
    (void)SSL_shutdown(ssl_);
  }
  (void)::shutdown(fd_, SHUT_WR);
}

void Transport::close() {
  if (fd_ < 0) return;
  if (ssl_ != nullptr) {
    if (SSL_is_init_finished(ssl_) == 1) {
      ERR_clear_error();
      (void)SSL_shutdown(ssl_);
    }
    SSL_free(ssl_);
    ssl_ = nullptr;
    ERR_clear_error();
  }
  ::close(fd_);
  fd_ = -1;
}

void Transport::abort_on_close() {
  linger const at_once{.l_onoff = 1, .l_linger = 0};
  if (fd_ >= 0) (void)::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

std::string Transport::why() const {
  int const number = errno;
  if (ssl_ != nullptr) {
    long const verified = SSL_get_verify_result(ssl_);
    if (verified != X509_V_OK) {
      return std::string("certificate not accepted: ") + X509_verify_cert_error_string(verified);
    }
    unsigned long const code = ERR_peek_last_error();
    char const* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    if (reason != nullptr) return std::string("TLS: ") + reason;
    if (number == 0) return "TLS: the peer hung up";
  }
  return number == 0 ? "the peer hung up" : std::strerror(number);
}

}  // namespace wscope::net
