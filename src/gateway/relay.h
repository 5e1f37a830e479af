#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/open_connection.h"
#include "net/ws/scanner.h"

namespace wscope::gateway {

// What lies between a handshake's 101 and the first byte of the relay.
struct RelayStart {
  std::string answer;       // the backend's head, as the client is to get it
  std::string from_client;  // frames that came early
  std::string from_backend;
  bool extensions = false;  // one was negotiated, so reserved bits may be set
};

// A connection between a client and the backend. Bytes pass unchanged in both directions, with back
// pressure (what one side does not take stops reading from the other), while a scanner counts. What
// no conforming end point would accept is stopped here: the offending frame does not pass, both
// sides get a close frame.
//
// Thread: loop. Owned by the loop.
class RelayConnection final : public OpenConnection {
 public:
  static void start(Edge& edge, net::Transport&& client, net::Transport&& backend,
                    OpenFacts&& facts, RelayStart&& start);
  ~RelayConnection() override;
  void on_ready(uint32_t events) noexcept override;  // the client's side
  void cut() override;

 private:
  // The backend's side; lies in its connection.
  struct BackendSide final : runtime::Pollable {
    explicit BackendSide(RelayConnection& owner_in) : owner(owner_in) {}
    void on_ready(uint32_t events) noexcept override { owner.side_ready(Direction::out, events); }
    RelayConnection& owner;
  };
  // Client messages that the backend has not said anything after yet.
  struct Asked {
    int64_t at_ns;
    uint32_t count;
    uint32_t relay_us;  // what the gateway itself took, for those never answered
  };
  static constexpr size_t kAskedMax = 3;      // older ones are merged
  static constexpr size_t kWaitingMax = 256;  // spans waiting for their reply
  struct Counter;

  RelayConnection(Edge& edge, net::Transport&& client, net::Transport&& backend, OpenFacts&& facts,
                  bool extensions);
  void on_timer() noexcept override;
  void drain_now() override;
  size_t queued_bytes() const override;

  // `direction` in: the client's socket, whose bytes go to the backend.
  void side_ready(Direction direction, uint32_t events);
  void read_from(Direction direction);
  void pass(Direction direction, std::string_view bytes);
  // A close frame passes: the end has begun.
  void saw_close(Direction direction, uint16_t code);
  void account(Direction direction, Counter& counter);
  void asked(uint32_t count, int64_t spent_ns);
  void answered();
  void unanswered();
  void send(Direction direction, std::string_view bytes);
  void wrote(Direction direction, Sent sent);
  void ended_by(Direction direction);
  // Stops watching the backend's socket and closes it.
  void drop_backend();
  void violation(Direction direction, net::ws::Violation const& why);
  // Sends a close frame of our own to one side, if it is between frames.
  bool say_close(Direction to, uint16_t code, std::string_view reason);
  void stop(uint16_t to_client, uint16_t to_backend, Ending const& ending);
  void watch();
  void destroy(Ending const& ending);

  net::Transport& source(Direction d) { return d == Direction::in ? transport_ : backend_; }
  net::Transport& target(Direction d) { return d == Direction::in ? backend_ : transport_; }
  net::ws::FrameScanner& scanner(Direction d) { return scanners_[static_cast<size_t>(d)]; }
  std::unique_ptr<Backlog>& backlog(Direction d) { return backlogs_[static_cast<size_t>(d)]; }

  net::Transport backend_;
  BackendSide side_;
  net::ws::FrameScanner scanners_[2];
  std::unique_ptr<Backlog> backlogs_[2];  // by the direction of the bytes
  std::unique_ptr<std::vector<telemetry::SpanRecord>> waiting_;
  Asked asked_[kAskedMax];
  uint8_t asked_size_ = 0;
  uint8_t events_[2] = {};   // what each socket is watched for: 1 read, 2 write
  bool eof_[2] = {};         // by direction: its source has ended
  bool close_seen_[2] = {};  // by direction: a close frame passed
  bool stopping_ = false;    // our own close has been sent; what comes is thrown away
  bool dead_ = false;
  Ending ending_{};
};

}  // namespace wscope::gateway
