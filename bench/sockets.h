// The few socket calls that the peers' servers share.
//
// Thread: any; nothing here keeps state. The caller owns every descriptor returned.
// A failure at start ends the program with the system's message: these are tools of a measurement.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace wscope::bench {

inline int check(int result, char const* what) {
  if (result >= 0) return result;
  std::perror(what);
  std::exit(1);
}

inline sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A port number from the command line, or the end of the program.
inline uint16_t port_argument(char const* text) {
  long const port = std::strtol(text, nullptr, 10);
  if (port > 0 && port < 65536) return static_cast<uint16_t>(port);
  std::fprintf(stderr, "not a port: %s\n", text);
  std::exit(2);
}

// Non-blocking listener on 127.0.0.1.
inline int listen_on(uint16_t port) {
  int const fd = check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  int const on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in const address = loopback(port);
  check(bind(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address), "bind");
  check(listen(fd, 4096), "listen");
  return fd;
}

// The next waiting connection, non-blocking and without Nagle's delay; -1 when none waits.
inline int accept_on(int listener) {
  int const fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  int const on = 1;
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

// Adds (EPOLL_CTL_ADD) or changes (EPOLL_CTL_MOD) what is waited for.
inline void watch(int epoll, int operation, int fd, uint32_t events, void* data) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = data;
  check(epoll_ctl(epoll, operation, fd, &event), "epoll_ctl");
}

// As many descriptors as the system lets this user have.
inline void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace wscope::bench
