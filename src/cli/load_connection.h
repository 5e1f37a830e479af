#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cli/load_handshake.h"
#include "cli/load_stream.h"
#include "net/address.h"
#include "net/tls.h"
#include "net/transport.h"
#include "runtime/loop.h"

namespace wscope::cli {

class LoadConnection;

// How a connection came to its end.
enum class LoadEnd : uint8_t {
  finished,  // we closed it, and the server answered or hung up
  connect,   // these five as in LoadErrors
  handshake,
  protocol,
  closed,
  mismatch,
};

// Told by connections what happens to them. May call anything of the connection, open() included.
//
// Thread: loop.
class LoadEvents {
 public:
  virtual ~LoadEvents() = default;
  virtual void on_open(LoadConnection& connection, int64_t now_ns) = 0;
  // `replies.messages` > 0. `now_ns` was read when their bytes had been read.
  virtual void on_replies(LoadConnection& connection, Replies const& replies, int64_t now_ns) = 0;
  // The connection is closed already.
  virtual void on_end(LoadConnection& connection, LoadEnd end, std::string const& what) = 0;
};

// What all connections of a run share. Everything is borrowed and outlives them.
struct LoadShared {
  runtime::Loop& loop;
  LoadEvents& events;
  MessageCycle const& cycle;
  LoadHandshake& handshake;
  net::Address to;
  std::span<net::Address const> sources;  // in turn; none: the system chooses
  net::TlsContext const* tls = nullptr;   // null: plain
  std::string host;                       // for TLS
  bool insecure = false;
  bool verify = true;
  std::span<char> buffer;  // of the loop, for what is being read
  uint64_t opened = 0;     // attempts so far
};

// Times at which batches of messages were sent and that are not answered yet, oldest first.
//
// Thread: loop.
class SendLog {
 public:
  // At most `messages_max` messages will be outstanding.
  void prepare(uint32_t messages_max) { batches_.resize(messages_max); }
  void clear() { head_ = used_ = 0; }
  void push(int64_t sent_ns, uint32_t count) {
    if (used_ == batches_.size()) return;
    batches_[wrap(head_ + used_++)] = {sent_ns, count};
  }
  // Calls use(sent_ns, count) for the oldest `count` messages.
  template <class Use>
  void pop(uint64_t count, Use&& use) {
    while (count > 0 && used_ > 0) {
      Batch& oldest = batches_[head_];
      auto const n = static_cast<uint32_t>(count < oldest.count ? count : oldest.count);
      use(oldest.sent_ns, n);
      count -= n;
      oldest.count -= n;
      if (oldest.count == 0) {
        head_ = wrap(head_ + 1);
        --used_;
      }
    }
  }

 private:
  struct Batch {
    int64_t sent_ns;
    uint32_t count;
  };
  size_t wrap(size_t i) const { return i < batches_.size() ? i : i - batches_.size(); }
  std::vector<Batch> batches_;
  size_t head_ = 0;
  size_t used_ = 0;
};

// One WebSocket client connection of the generator: connects, shakes hands, sends from the cycle,
// checks what comes. It may be opened again after its end.
//
// Thread: loop.
class LoadConnection final : public runtime::Pollable {
 public:
  static constexpr int64_t kOpenTimeoutNs = 10 * base::kSecond;
  static constexpr int64_t kCloseTimeoutNs = 2 * base::kSecond;
  static constexpr size_t kHeadBytesMax = 16 << 10;

  enum class State : uint8_t { closed, securing, handshaking, open, closing };

  explicit LoadConnection(LoadShared& shared)
      : shared_(shared), reader_(shared.cycle, shared.verify) {}
  ~LoadConnection() override;

  void open(int64_t now_ns);
  // Adds `count` messages to what is to be sent; flush() sends.
  void publish(uint64_t count) {
    sent_ += count;
    owed_bytes_ += count * shared_.cycle.outgoing_frame();
  }
  void flush();
  // Sends a close frame (1000) and waits for the answer; `events` hears of the end.
  void finish(int64_t now_ns);
  // Ends it if it has been opening or closing for too long.
  void check_time(int64_t now_ns);
  // Closes at once and tells `events`.
  void fail(LoadEnd kind, std::string const& what);
  // Closes without a word to anyone.
  void abandon();

  State state() const { return state_; }
  bool is_open() const { return state_ == State::open; }
  // Messages given to publish() since open().
  uint64_t sent() const { return sent_; }
  // When open() was called.
  int64_t started_ns() const { return started_ns_; }

  void on_ready(uint32_t events) noexcept override;

  // For the owner of the run; log and answered start anew with open().
  SendLog log;
  uint64_t answered = 0;  // messages received that something was sent for
  uint32_t lane = 0;
  bool dirty = false;

 private:
  void secure();
  void start_handshake();
  void read();
  void take_head(std::string_view bytes, int64_t now_ns);
  void take_frames(std::string_view bytes, int64_t now_ns);
  void gone(std::string const& why);
  bool write_control();
  void watch();
  size_t frame_rest() const;

  LoadShared& shared_;
  net::Transport transport_;
  ReplyReader reader_;
  State state_ = State::closed;
  bool connected_ = false;        // the server's TCP answered
  bool wants_write_ = false;      // a write is waiting for room
  bool wrote_data_last_ = false;  // the write that waits was one of messages
  bool close_received_ = false;
  uint32_t watched_ = 0;  // events asked of the loop
  uint32_t life_ = 0;     // counts open()
  uint64_t sent_ = 0;
  uint64_t owed_bytes_ = 0;  // of frames, not yet taken by the kernel
  size_t send_at_ = 0;       // in the round of outgoing frames
  int64_t started_ns_ = 0;
  int64_t closing_ns_ = 0;
  std::string key_;
  std::string head_;     // of the answer, while it is not complete
  std::string control_;  // handshake, pongs, close: goes out before further messages
};

}  // namespace wscope::cli
