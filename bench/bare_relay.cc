// bare_relay: the least that a TCP relay can do, as the bound for every other one.
//
//   bare_relay LISTEN_PORT UPSTREAM_PORT
//
// One thread, level-triggered epoll, one 512 KiB buffer for all connections: recv from one side,
// send to the other, nothing looked at. What the other side does not take at once is kept, and the
// first side is not read until it is gone, so at most one buffer a direction is held.
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "sockets.h"

namespace wscope::bench {
namespace {

constexpr std::size_t kBufferBytes = 512 * 1024;
constexpr int kEventsPerWait = 256;

struct Pair;

struct Side {
  int fd = -1;
  Pair* pair = nullptr;
  Side* other = nullptr;
  std::string pending;       // bytes for this side that its socket has not taken yet
  bool ended = false;        // this side sends no more
  bool writes_shut = false;  // this side was told that no more comes
  uint32_t events = EPOLLIN;
};

struct Pair {
  Side client;
  Side upstream;
  bool dead = false;
};

class Relay {
 public:
  Relay(uint16_t port, uint16_t upstream_port)
      : epoll_(check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        listener_(listen_on(port)),
        upstream_(loopback(upstream_port)),
        buffer_(new char[kBufferBytes]) {
    watch(epoll_, EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
  }

  [[noreturn]] void run() {
    epoll_event events[kEventsPerWait];
    for (;;) {
      int const count = epoll_wait(epoll_, events, kEventsPerWait, -1);
      for (int i = 0; i < count; ++i) {
        auto* side = static_cast<Side*>(events[i].data.ptr);
        if (!side) {
          accept_all();
        } else if (!side->pair->dead) {
          handle(*side, events[i].events);
        }
      }
      // A pair may have another event in the same batch, so it is freed only after it.
      for (Pair* pair : graveyard_) delete pair;
      graveyard_.clear();
    }
  }

 private:
  void accept_all() {
    for (int fd; (fd = accept_on(listener_)) >= 0;) {
      // On loopback connect() returns at once; a blocking one keeps the relay minimal.
      int const backend = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (backend < 0 ||
          connect(backend, reinterpret_cast<sockaddr const*>(&upstream_), sizeof upstream_) != 0) {
        if (backend >= 0) close(backend);
        close(fd);
        continue;
      }
      int const on = 1;
      setsockopt(backend, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      fcntl(backend, F_SETFL, O_NONBLOCK);
      auto pair = std::make_unique<Pair>();
      add(pair->client, fd, *pair, pair->upstream);
      add(pair->upstream, backend, *pair, pair->client);
      (void)pair.release();  // owned by its two descriptors until bury()
    }
  }

  void add(Side& side, int fd, Pair& pair, Side& other) {
    side.fd = fd;
    side.pair = &pair;
    side.other = &other;
    watch(epoll_, EPOLL_CTL_ADD, fd, side.events, &side);
  }

  void handle(Side& side, uint32_t events) {
    if (events & EPOLLOUT && !flush(side)) return bury(*side.pair);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && side.events & EPOLLIN && !pump(side)) {
      return bury(*side.pair);
    }
  }

  // One recv and one send. False when the pair is at its end.
  bool pump(Side& from) {
    Side& to = *from.other;
    ssize_t const got = recv(from.fd, buffer_.get(), kBufferBytes, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) {
      from.ended = true;
      set_events(from, from.events & ~static_cast<uint32_t>(EPOLLIN));
      if (to.pending.empty()) shut_writes(to);
      return !(from.ended && to.ended);
    }
    auto const length = static_cast<std::size_t>(got);
    ssize_t sent = send(to.fd, buffer_.get(), length, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno != EAGAIN && errno != EINTR) return false;
      sent = 0;
    }
    auto const taken = static_cast<std::size_t>(sent);
    if (taken == length) return true;
    to.pending.assign(buffer_.get() + taken, length - taken);
    set_events(to, to.events | EPOLLOUT);
    set_events(from, from.events & ~static_cast<uint32_t>(EPOLLIN));
    return true;
  }

  bool flush(Side& to) {
    ssize_t const sent = send(to.fd, to.pending.data(), to.pending.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    to.pending.erase(0, static_cast<std::size_t>(sent));
    if (!to.pending.empty()) return true;
    to.pending.shrink_to_fit();
    set_events(to, to.events & ~static_cast<uint32_t>(EPOLLOUT));
    Side& from = *to.other;
    if (from.ended) {
      shut_writes(to);
    } else {
      set_events(from, from.events | EPOLLIN);
    }
    return true;
  }

  static void shut_writes(Side& side) {
    if (!side.writes_shut) shutdown(side.fd, SHUT_WR);
    side.writes_shut = true;
  }

  void set_events(Side& side, uint32_t events) {
    if (side.events == events) return;
    side.events = events;
    watch(epoll_, EPOLL_CTL_MOD, side.fd, events, &side);
  }

  void bury(Pair& pair) {
    pair.dead = true;
    close(pair.client.fd);
    close(pair.upstream.fd);
    graveyard_.push_back(&pair);
  }

  int epoll_;
  int listener_;
  sockaddr_in upstream_;
  std::unique_ptr<char[]> buffer_;
  std::vector<Pair*> graveyard_;
};

}  // namespace
}  // namespace wscope::bench

int main(int argc, char** argv) {
  using namespace wscope::bench;
  if (argc != 3) {
    std::fprintf(stderr, "usage: bare_relay LISTEN_PORT UPSTREAM_PORT\n");
    return 2;
  }
  raise_descriptor_limit();
  Relay(port_argument(argv[1]), port_argument(argv[2])).run();
}
