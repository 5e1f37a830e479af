// upstream_echo: the backend that every relay of a row stands in front of.
//
//   upstream_echo PORT
//
// One thread, level-triggered epoll, one 512 KiB receive buffer for all connections. All complete
// frames of a read are unmasked and turned into answers in place, and leave in one send, so the
// backend costs no more than the relay before it. It trusts its client (the load generator, through
// a relay): frames are not validated. Ping is answered, Close is answered and ends the connection.
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <strings.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sockets.h"

namespace wscope::bench {
namespace {

constexpr std::size_t kBufferBytes = 512 * 1024;
constexpr std::size_t kMessageBytesMax = 16 * 1024 * 1024;
constexpr int kEventsPerWait = 256;
constexpr std::string_view kKeySuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455, 1.3

struct Connection {
  int fd = -1;
  bool open = false;     // the handshake is done
  bool closing = false;  // ends when `out` is empty
  bool dead = false;
  std::string partial;  // an incomplete head or frame
  std::string out;      // what the socket has not taken yet
};

// Sec-WebSocket-Accept for the request, empty when it has no key.
std::string accept_key(std::string_view head) {
  constexpr std::string_view name = "sec-websocket-key:";
  for (std::size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at)) {
    at += 2;
    std::string_view line = head.substr(at, head.find("\r\n", at) - at);
    if (line.size() < name.size() || strncasecmp(line.data(), name.data(), name.size()) != 0)
      continue;
    line.remove_prefix(name.size());
    while (line.starts_with(' ')) line.remove_prefix(1);
    while (line.ends_with(' ')) line.remove_suffix(1);
    std::string const joined = std::string(line) + std::string(kKeySuffix);
    unsigned char digest[SHA_DIGEST_LENGTH];
    SHA1(reinterpret_cast<unsigned char const*>(joined.data()), joined.size(), digest);
    unsigned char text[32];
    int const length = EVP_EncodeBlock(text, digest, SHA_DIGEST_LENGTH);
    return std::string(reinterpret_cast<char const*>(text), static_cast<std::size_t>(length));
  }
  return {};
}

// Moves `length` masked bytes from `from` down to `to` (to <= from), unmasked.
void unmask(unsigned char* to, unsigned char const* from, std::size_t length, uint32_t key) {
  uint64_t const wide = (static_cast<uint64_t>(key) << 32) | key;
  std::size_t i = 0;
  for (; i + 8 <= length; i += 8) {
    uint64_t word;
    std::memcpy(&word, from + i, 8);
    word ^= wide;
    std::memcpy(to + i, &word, 8);
  }
  for (; i < length; ++i) to[i] = from[i] ^ static_cast<unsigned char>(key >> (8 * (i % 4)));
}

struct FrameHead {
  std::size_t bytes;  // header with mask; 0 when not all of it is here
  std::size_t payload;
};

FrameHead frame_head(unsigned char const* data, std::size_t size) {
  if (size < 2) return {0, 0};
  std::size_t const code = data[1] & 0x7f;
  std::size_t const extended = code == 126 ? 2U : code == 127 ? 8U : 0U;
  std::size_t const bytes = 2 + extended + 4;
  if (size < bytes) return {0, 0};
  std::size_t payload = extended == 0 ? code : 0;
  for (std::size_t i = 0; i < extended; ++i) payload = payload << 8 | data[2 + i];
  return {bytes, payload};
}

// The header of an unmasked frame; its length (2, 4 or 10) is never more than the masked one's.
std::size_t put_head(unsigned char* to, unsigned char first, std::size_t payload) {
  to[0] = first;
  if (payload < 126) {
    to[1] = static_cast<unsigned char>(payload);
    return 2;
  }
  bool const wide = payload > 0xffff;
  to[1] = wide ? 127 : 126;
  std::size_t const extended = wide ? 8 : 2;
  for (std::size_t i = 0; i < extended; ++i) {
    to[2 + i] = static_cast<unsigned char>(payload >> (8 * (extended - 1 - i)));
  }
  return 2 + extended;
}

class Server {
 public:
  explicit Server(uint16_t port)
      : epoll_(check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        listener_(listen_on(port)),
        buffer_(kBufferBytes) {
    watch(epoll_, EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
  }

  [[noreturn]] void run() {
    epoll_event events[kEventsPerWait];
    for (;;) {
      int const count = epoll_wait(epoll_, events, kEventsPerWait, -1);
      for (int i = 0; i < count; ++i) {
        auto* connection = static_cast<Connection*>(events[i].data.ptr);
        if (!connection) {
          accept_all();
        } else if (!connection->dead && !handle(*connection, events[i].events)) {
          connection->dead = true;
          close(connection->fd);
          graveyard_.push_back(connection);
        }
      }
      for (Connection* connection : graveyard_) delete connection;
      graveyard_.clear();
    }
  }

 private:
  void accept_all() {
    for (int fd; (fd = accept_on(listener_)) >= 0;) {
      auto* connection = new Connection{};
      connection->fd = fd;
      watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN, connection);
    }
  }

  bool handle(Connection& connection, uint32_t events) {
    if (events & EPOLLOUT) {
      if (!flush(connection)) return false;
      if (!connection.out.empty()) return true;
      watch(epoll_, EPOLL_CTL_MOD, connection.fd, EPOLLIN, &connection);
    }
    return !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || receive(connection);
  }

  bool receive(Connection& connection) {
    // A frame larger than the buffer grows it: it stays so for the next one.
    std::size_t const kept = connection.partial.size();
    if (kept > kMessageBytesMax) return false;
    if (buffer_.size() < kept + kBufferBytes) buffer_.resize(kept + kBufferBytes);
    std::memcpy(buffer_.data(), connection.partial.data(), kept);
    ssize_t const got = recv(connection.fd, buffer_.data() + kept, buffer_.size() - kept, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    std::size_t const size = kept + static_cast<std::size_t>(got);
    std::size_t used = 0;
    if (!connection.open) {
      std::string_view const text(reinterpret_cast<char const*>(buffer_.data()), size);
      std::size_t const end = text.find("\r\n\r\n");
      if (end == std::string_view::npos) return keep(connection, 0, size);
      used = end + 4;
      if (!upgrade(connection, text.substr(0, end + 2))) return false;
    }
    return answer(connection, used, size);
  }

  bool upgrade(Connection& connection, std::string_view head) {
    std::string const key = accept_key(head);
    if (key.empty()) return false;
    connection.open = true;
    std::string const reply =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: " +
        key + "\r\n\r\n";
    return write(connection, reply.data(), reply.size());
  }

  // Turns the frames in [from, size) into answers in place and sends them in one call.
  bool answer(Connection& connection, std::size_t from, std::size_t size) {
    unsigned char* const data = buffer_.data();
    std::size_t const start = from;
    std::size_t to = from;
    while (!connection.closing) {
      FrameHead const head = frame_head(data + from, size - from);
      if (head.bytes == 0 || size - from - head.bytes < head.payload) break;
      unsigned char first = data[from];
      uint32_t key;
      std::memcpy(&key, data + from + head.bytes - 4, 4);
      unsigned char const opcode = first & 0x0f;
      if (opcode == 0x9) first = static_cast<unsigned char>((first & 0xf0) | 0xa);
      connection.closing = opcode == 0x8;
      std::size_t const frame_end = from + head.bytes + head.payload;
      if (opcode != 0xa) {
        std::size_t const header = put_head(data + to, first, head.payload);
        unmask(data + to + header, data + from + head.bytes, head.payload, key);
        to += header + head.payload;
      }
      from = frame_end;
    }
    if (!keep(connection, from, size)) return false;
    if (to > start && !write(connection, reinterpret_cast<char const*>(data) + start, to - start)) {
      return false;
    }
    return !(connection.closing && connection.out.empty());
  }

  bool keep(Connection& connection, std::size_t from, std::size_t size) {
    connection.partial.assign(reinterpret_cast<char const*>(buffer_.data()) + from, size - from);
    return true;
  }

  bool write(Connection& connection, char const* data, std::size_t size) {
    ssize_t sent = connection.out.empty() ? send(connection.fd, data, size, MSG_NOSIGNAL) : 0;
    if (sent < 0) {
      if (errno != EAGAIN && errno != EINTR) return false;
      sent = 0;
    }
    auto const taken = static_cast<std::size_t>(sent);
    if (taken == size) return true;
    connection.out.append(data + taken, size - taken);
    // Only writing is waited for: a client that does not read is not read either.
    watch(epoll_, EPOLL_CTL_MOD, connection.fd, EPOLLOUT, &connection);
    return true;
  }

  bool flush(Connection& connection) {
    ssize_t const sent =
        send(connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    connection.out.erase(0, static_cast<std::size_t>(sent));
    return !(connection.closing && connection.out.empty());
  }

  int epoll_;
  int listener_;
  std::vector<unsigned char> buffer_;
  std::vector<Connection*> graveyard_;
};

}  // namespace
}  // namespace wscope::bench

int main(int argc, char** argv) {
  using namespace wscope::bench;
  if (argc != 2) {
    std::fprintf(stderr, "usage: upstream_echo PORT\n");
    return 2;
  }
  raise_descriptor_limit();
  Server(port_argument(argv[1])).run();
}
