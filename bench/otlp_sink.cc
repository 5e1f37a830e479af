// otlp_sink: takes every HTTP POST, answers 200 with an empty body (an empty OTLP response) and
// forgets it.
//
//   otlp_sink PORT
//
// One thread. Understands Content-Length, chunked bodies and Expect: 100-continue, keeps
// connections alive. On SIGTERM prints {"requests":N,"body_bytes":N} and ends.
#include <strings.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sockets.h"

namespace wscope::bench {
namespace {

constexpr std::size_t kBufferBytes = 512 * 1024;
constexpr std::size_t kHeadBytesMax = 64 * 1024;
constexpr std::string_view kAccepted =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

enum class Stage : uint8_t { head, body, chunk_size, chunk, chunk_end, trailer };

struct Connection {
  int fd = -1;
  Stage stage = Stage::head;
  std::size_t left = 0;  // bytes of the body or chunk still to come
  std::string text;      // an incomplete head or line
};

struct Totals {
  uint64_t requests = 0;
  uint64_t body_bytes = 0;
};

// The value of a header, empty when absent. `head` starts with the request line.
std::string_view header(std::string_view head, std::string_view name) {
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at)) {
    at += 2;
    std::string_view line = head.substr(at, head.find("\r\n", at) - at);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    if (strncasecmp(line.data(), name.data(), name.size()) != 0) continue;
    line.remove_prefix(name.size() + 1);
    while (line.starts_with(' ')) line.remove_prefix(1);
    return line;
  }
  return {};
}

bool say(int fd, std::string_view text) {
  return send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

class Sink {
 public:
  explicit Sink(uint16_t port)
      : epoll_(check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        listener_(listen_on(port)),
        buffer_(kBufferBytes) {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigprocmask(SIG_BLOCK, &mask, nullptr);
    signals_ = check(signalfd(-1, &mask, SFD_CLOEXEC), "signalfd");
    watch(epoll_, EPOLL_CTL_ADD, listener_, EPOLLIN, &listener_);
    watch(epoll_, EPOLL_CTL_ADD, signals_, EPOLLIN, &signals_);
  }

  void run() {
    for (;;) {
      // One event a time: a closed connection can not have another one waiting in the batch.
      epoll_event event;
      if (epoll_wait(epoll_, &event, 1, -1) != 1) continue;
      if (event.data.ptr == &signals_) return;
      if (event.data.ptr == &listener_) {
        for (int fd; (fd = accept_on(listener_)) >= 0;) {
          auto* connection = new Connection{};
          connection->fd = fd;
          watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN, connection);
        }
        continue;
      }
      auto* connection = static_cast<Connection*>(event.data.ptr);
      if (!receive(*connection)) {
        close(connection->fd);
        delete connection;
      }
    }
  }

  [[nodiscard]] Totals totals() const { return totals_; }

 private:
  bool receive(Connection& connection) {
    ssize_t const got = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    std::string_view data(buffer_.data(), static_cast<std::size_t>(got));
    while (!data.empty()) {
      if (!step(connection, data)) return false;
    }
    return true;
  }

  // Takes some bytes off `data`; false ends the connection.
  bool step(Connection& connection, std::string_view& data) {
    switch (connection.stage) {
      case Stage::head:
        return take_head(connection, data);
      case Stage::body:
        skip(connection, data);
        return connection.left > 0 || finish(connection);
      case Stage::chunk:
        skip(connection, data);
        if (connection.left == 0) connection.stage = Stage::chunk_end;
        return true;
      default:
        return take_line(connection, data);
    }
  }

  void skip(Connection& connection, std::string_view& data) {
    std::size_t const taken = std::min(connection.left, data.size());
    data.remove_prefix(taken);
    connection.left -= taken;
    totals_.body_bytes += taken;
  }

  bool take_head(Connection& connection, std::string_view& data) {
    std::size_t const before = connection.text.size();
    connection.text.append(data);
    std::size_t const end = connection.text.find("\r\n\r\n");
    if (end == std::string::npos) {
      data = {};
      return connection.text.size() < kHeadBytesMax;
    }
    data.remove_prefix(end + 4 - before);
    std::string const head = connection.text.substr(0, end + 2);
    connection.text.clear();
    if (!header(head, "Expect").empty() && !say(connection.fd, kContinue)) return false;
    if (header(head, "Transfer-Encoding").starts_with("chunked")) {
      connection.stage = Stage::chunk_size;
      return true;
    }
    std::string const length(header(head, "Content-Length"));
    connection.left = std::strtoul(length.c_str(), nullptr, 10);
    connection.stage = Stage::body;
    return connection.left > 0 || finish(connection);
  }

  bool take_line(Connection& connection, std::string_view& data) {
    std::size_t const end = data.find('\n');
    connection.text.append(data.substr(0, end));
    data.remove_prefix(end == std::string_view::npos ? data.size() : end + 1);
    if (end == std::string_view::npos) return connection.text.size() < kHeadBytesMax;
    std::string const line = std::exchange(connection.text, {});
    if (connection.stage == Stage::chunk_end) {
      connection.stage = Stage::chunk_size;
    } else if (connection.stage == Stage::chunk_size) {
      connection.left = std::strtoul(line.c_str(), nullptr, 16);
      connection.stage = connection.left > 0 ? Stage::chunk : Stage::trailer;
    } else if (line == "\r" || line.empty()) {
      return finish(connection);
    }
    return true;
  }

  bool finish(Connection& connection) {
    ++totals_.requests;
    connection.stage = Stage::head;
    return say(connection.fd, kAccepted);
  }

  int epoll_;
  int listener_;
  int signals_ = -1;
  std::vector<char> buffer_;
  Totals totals_;
};

}  // namespace
}  // namespace wscope::bench

int main(int argc, char** argv) {
  using namespace wscope::bench;
  if (argc != 2) {
    std::fprintf(stderr, "usage: otlp_sink PORT\n");
    return 2;
  }
  Sink sink(port_argument(argv[1]));
  sink.run();
  std::printf("{\"requests\":%llu,\"body_bytes\":%llu}\n",
              static_cast<unsigned long long>(sink.totals().requests),
              static_cast<unsigned long long>(sink.totals().body_bytes));
  return 0;
}
