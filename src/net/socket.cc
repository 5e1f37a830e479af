#include "net/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace wscope::net {

using base::Errc;
using base::fail;
using base::fail_errno;
using base::Result;

namespace {

bool set_option(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// Closes unless released: for the ways out of a constructor-like function.
class Guard {
 public:
  explicit Guard(int fd) : fd_(fd) {}
  ~Guard() {
    if (fd_ < 0) return;
    int const kept = errno;
    ::close(fd_);
    errno = kept;
  }
  Guard(Guard const&) = delete;
  Guard& operator=(Guard const&) = delete;
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

int open_socket(Address const& address) {
  return ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

}  // namespace

bool set_no_delay(int fd) { return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }

bool set_keep_alive(int fd, int idle_s, unsigned unacknowledged_ms) {
  return set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1) &&
         set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s) &&
         set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10) &&
         set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 6) &&
         set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(unacknowledged_ms));
}

Result<int> listen_on(Address const& address, bool reuse_port, int backlog) {
  std::string const where = to_text(address);
  int const fd = open_socket(address);
  if (fd < 0) return fail_errno("socket for " + where);
  Guard guard(fd);
  // REUSEADDR: a restart need not wait for the old connections' TIME_WAIT.
  if (!set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) ||
      (reuse_port && !set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1)) ||
      (address.storage.ss_family == AF_INET6 && !set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1))) {
    return fail_errno("socket options for " + where);
  }
  if (!set_no_delay(fd) || !set_keep_alive(fd)) return fail_errno("socket options for " + where);
  if (::bind(fd, address.raw(), address.len) != 0 || ::listen(fd, backlog) != 0) {
    if (errno == EADDRINUSE) return fail(Errc::exists, "address " + where + " is in use");
    if (errno == EADDRNOTAVAIL) {
      return fail(Errc::invalid, where + " is not an address of this machine");
    }
    return fail_errno("listen on " + where);
  }
  return guard.release();
}

Result<int> connect_to(Address const& address) {
  std::string const where = to_text(address);
  int const fd = open_socket(address);
  if (fd < 0) return fail_errno("socket for " + where);
  Guard guard(fd);
  (void)set_no_delay(fd);
  if (::connect(fd, address.raw(), address.len) != 0 && errno != EINPROGRESS) {
    if (errno == ECONNREFUSED || errno == ENETUNREACH || errno == EHOSTUNREACH) {
      return fail(Errc::refused, "connect to " + where + ": " + std::strerror(errno));
    }
    return fail_errno("connect to " + where);
  }
  return guard.release();
}

int connect_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

int accept_from(int listen_fd, Address* peer) {
  for (;;) {
    Address address;
    address.len = sizeof address.storage;
    int const fd = ::accept4(
        listen_fd, peer == nullptr ? nullptr : reinterpret_cast<sockaddr*>(&address.storage),
        peer == nullptr ? nullptr : &address.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (peer != nullptr) *peer = address;
      return fd;
    }
    // The network errors of a connection that waited are reported here (accept(2)).
    if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO && errno != ENETDOWN &&
        errno != EHOSTUNREACH && errno != ENETUNREACH) {
      return -1;
    }
  }
}

Result<Address> local_address(int fd) {
  Address out;
  out.len = sizeof out.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&out.storage), &out.len) != 0) {
    return fail_errno("getsockname");
  }
  return out;
}

}  // namespace wscope::net
