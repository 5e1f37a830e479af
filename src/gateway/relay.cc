#include "gateway/relay.h"

#include <algorithm>

namespace wscope::gateway {

using net::IoKind;
using net::ws::Opcode;

namespace {

// Bytes that may wait for one side before the other is not read from any more.
constexpr size_t kHeldMax = 64 << 10;
// How long the sides may take to end after a close frame.
constexpr int64_t kCloseWaitNs = 2 * base::kSecond;
// How long a side may take to answer the other's close frame.
constexpr int64_t kCloseAnswerNs = 10 * base::kSecond;
// A request that nothing followed for so long was none.
constexpr int64_t kReplyWaitNs = 60 * base::kSecond;
constexpr uint8_t kRead = 1;
constexpr uint8_t kWrite = 2;

size_t index(Direction direction) { return static_cast<size_t>(direction); }
Direction other(Direction direction) {
  return direction == Direction::in ? Direction::out : Direction::in;
}

}  // namespace

// What one read came to, counted once at its end.
struct RelayConnection::Counter {
  Counter(RelayConnection& owner_in, Direction direction_in, telemetry::Histogram app_sizes,
          bool count_app_in)
      : owner(owner_in),
        direction(direction_in),
        count_app(count_app_in),
        sizes(owner.edge_.in.ws_message_bytes[index(direction)],
              count_app ? app_sizes : owner.edge_.in.ws_message_bytes[index(direction)],
              count_app) {}

  void on_frame(Opcode opcode, Opcode message, uint64_t payload, size_t header) {
    size_t const of = frame_index(message);
    ++frames[frame_index(opcode)];
    wire[of] += payload + header;
    data[of] += payload;
  }
  void on_message(Opcode opcode, uint64_t size, uint64_t wire_bytes, uint32_t parts,
                  bool is_compressed) {
    ++messages[message_index(opcode)];
    compressed += is_compressed;
    sizes.add(size);
    Edge& edge = owner.edge_;
    if (!tracing && !lines) return;
    uint64_t const sequence = owner.messages(direction) + messages[0] + messages[1];
    edge.record_message(owner.info(),
                        {.opcode = opcode,
                         .size = size,
                         .wire = wire_bytes,
                         .frames = parts,
                         .sequence = sequence,
                         .compressed = is_compressed,
                         .outbound = direction == Direction::out},
                        [&](telemetry::SpanRecord const& span) { edge.spans.push_back(span); });
  }
  void on_close(uint16_t code) {
    close_code = code;
    closed = true;
  }

  RelayConnection& owner;
  Direction direction;
  bool count_app;
  bool tracing = owner.edge_.telemetry.traces.active();
  bool lines = owner.edge_.message_lines();
  bool closed = false;
  uint16_t close_code = 0;
  uint64_t messages[2] = {};
  uint64_t frames[6] = {};
  uint64_t wire[6] = {};  // by the message's opcode
  uint64_t data[6] = {};
  uint64_t compressed = 0;
  SizeRun sizes;
};

RelayConnection::RelayConnection(Edge& edge, net::Transport&& client, net::Transport&& backend,
                                 OpenFacts&& facts, bool extensions)
    : OpenConnection(edge, std::move(client), std::move(facts)),
      backend_(std::move(backend)),
      side_(*this),
      scanners_{net::ws::FrameScanner(true, extensions), net::ws::FrameScanner(false, extensions)} {
}

RelayConnection::~RelayConnection() = default;

void RelayConnection::start(Edge& edge, net::Transport&& client, net::Transport&& backend,
                            OpenFacts&& facts, RelayStart&& start) {
  auto owned = std::unique_ptr<RelayConnection>(new RelayConnection(
      edge, std::move(client), std::move(backend), std::move(facts), start.extensions));
  RelayConnection& self = *owned.release();  // owned by the loop: see destroy()
  if (!edge.loop.modify(self.transport_.fd(), EPOLLIN, self) ||
      !edge.loop.modify(self.backend_.fd(), EPOLLIN, self.side_)) {
    self.destroy({net::ws::kInternalError, Initiator::gateway, {}});
    return;
  }
  self.events_[0] = self.events_[1] = kRead;
  // First, for what came early may end the connection and set a shorter time.
  if (edge.draining()) {
    self.drain_in(0);
  } else {
    edge.loop.arm(self, kReplyWaitNs);
  }
  self.send(Direction::out, start.answer);
  if (!self.dead_ && !start.from_backend.empty()) self.pass(Direction::out, start.from_backend);
  if (!self.dead_ && !self.stopping_ && !start.from_client.empty()) {
    self.pass(Direction::in, start.from_client);
  }
  if (self.dead_) return;
  if (self.transport_.more_to_read()) self.read_from(Direction::in);
  if (!self.dead_ && self.backend_.more_to_read()) self.read_from(Direction::out);
}

size_t RelayConnection::queued_bytes() const {
  size_t bytes = 0;
  for (auto const& waiting : backlogs_) bytes += waiting ? waiting->size() : 0;
  return bytes;
}

void RelayConnection::on_ready(uint32_t events) noexcept { side_ready(Direction::in, events); }

void RelayConnection::side_ready(Direction direction, uint32_t events) {
  Direction const toward = other(direction);  // bytes that this socket is written
  if ((events & EPOLLOUT) != 0 && backlog(toward)) {
    size_t const before = backlog(toward)->size();
    Sent const sent = write_backlog(target(toward), *backlog(toward));
    edge_.in.queue_bytes.add(static_cast<double>(backlog(toward)->size()) -
                             static_cast<double>(before));
    wrote(toward, sent);
  }
  if (dead_) return;
  if (eof_[index(direction)]) {
    // Of a socket that has ended, the kernel reports a hang-up without end; what is not written to
    // it by now never will be.
    if ((events & (EPOLLHUP | EPOLLERR)) == 0) return;
    if (direction == Direction::in) {
      destroy(ending_);
    } else {
      drop_backend();
    }
    return;
  }
  // What TLS held while its reader was slow would not wake the loop.
  if (!backlog(toward) && !eof_[index(toward)] && source(toward).more_to_read()) {
    read_from(toward);
    if (dead_) return;
  }
  bool const readable = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0;
  bool const wanted = (events_[index(direction)] & kRead) != 0;
  if (readable && (wanted || (events & (EPOLLHUP | EPOLLERR)) != 0)) read_from(direction);
}

void RelayConnection::read_from(Direction direction) {
  net::Transport& from = source(direction);
  do {
    net::IoResult const result = from.read(edge_.read_buffer.get(), Edge::kReadBytes);
    if (result.kind == IoKind::again_read || result.kind == IoKind::again_write) return;
    if (result.kind != IoKind::done) {
      ended_by(direction);
      return;
    }
    if (!stopping_) pass(direction, {edge_.read_buffer.get(), result.bytes});
  } while (!dead_ && from.more_to_read() && backlog(direction) == nullptr);
}

void RelayConnection::pass(Direction direction, std::string_view bytes) {
  bool const app = direction == Direction::in || edge_.settings().config.count_outbound;
  Counter counter(*this, direction, edge_.in.message_bytes, app);
  size_t passed = 0;
  net::ws::Violation const why =
      scanner(direction).feed(bytes.data(), bytes.size(), edge_.settings().limits, counter, passed);
  bool const counted = edge_.shared.telemetry_on;
  bool const said = counter.messages[0] + counter.messages[1] > 0;
  if (counted && direction == Direction::out && said) answered();
  // Noted before it is sent: the peer may be gone, and that is then the end of a closing handshake.
  if (counter.closed) saw_close(direction, counter.close_code);
  send(direction, bytes.substr(0, passed));
  if (counted) account(direction, counter);
  if (dead_) {
    unanswered();
    return;
  }
  if (why) violation(direction, why);
}

void RelayConnection::saw_close(Direction direction, uint16_t code) {
  if (close_seen_[index(direction)]) return;
  close_seen_[index(direction)] = true;
  if (close_seen_[index(other(direction))]) {
    edge_.loop.arm(*this, kCloseWaitNs);
    return;
  }
  ending_ = {code, direction == Direction::in ? Initiator::client : Initiator::backend, {}};
  edge_.loop.arm(*this, kCloseAnswerNs);
}

void RelayConnection::account(Direction direction, Counter& counter) {
  LoopInstruments& in = edge_.in;
  size_t const d = index(direction);
  uint64_t const count = counter.messages[0] + counter.messages[1];
  uint64_t wire = 0;
  RouteTally& tally = edge_.in.tally(route_);
  for (size_t i = 0; i < 6; ++i) {
    wire += counter.wire[i];
    tally.frames[d][i] += counter.frames[i];
    tally.wire[d][i] += counter.wire[i];
    tally.payload[d][i] += counter.data[i];
  }
  add_traffic(direction, count, wire);
  if (count == 0) return;
  for (size_t i = 0; i < 2; ++i) tally.messages[d][i] += counter.messages[i];
  if (counter.compressed > 0) in.compressed[d].add(counter.compressed);
  int64_t const spent = edge_.loop.read_now_ns() - edge_.loop.now_ns();
  in.relay_seconds[d].observe_n(static_cast<double>(spent) * 1e-9, count);
  in.add_messages(counter.count_app ? count : 0, direction == Direction::in ? count : 0);
  if (direction == Direction::in) {
    asked(static_cast<uint32_t>(count), spent);
    return;
  }
  for (telemetry::SpanRecord& record : edge_.spans) edge_.finish_span(record, spent);
  edge_.spans.clear();
}

// Client messages went out: their time runs until the backend says something.
void RelayConnection::asked(uint32_t count, int64_t spent_ns) {
  auto const relay_us = static_cast<uint32_t>(std::min<int64_t>(spent_ns / 1000, UINT32_MAX));
  if (asked_size_ == kAskedMax) {
    asked_[kAskedMax - 1].count += count;
  } else {
    asked_[asked_size_++] = {edge_.loop.now_ns(), count, relay_us};
  }
  if (edge_.spans.empty()) return;
  if (!waiting_) waiting_ = std::make_unique<std::vector<telemetry::SpanRecord>>();
  for (telemetry::SpanRecord& record : edge_.spans) {
    if (waiting_->size() < kWaitingMax) {
      waiting_->push_back(record);
    } else {
      edge_.finish_span(record, spent_ns);
    }
  }
  edge_.spans.clear();
}

void RelayConnection::answered() {
  telemetry::SpanRecord kept;
  if (waiting_) {
    for (telemetry::SpanRecord& record : *waiting_) {
      bool const taken = edge_.finish_span(record, edge_.loop.unix_ns() - record.start_unix_ns);
      if (taken && !kept.trace.valid()) kept = record;
    }
    waiting_.reset();
  }
  for (uint8_t i = 0; i < asked_size_; ++i) {
    double const seconds = static_cast<double>(edge_.loop.now_ns() - asked_[i].at_ns) * 1e-9;
    uint32_t count = asked_[i].count;
    route_.reply_seconds.observe_n(seconds, count);
    if (i == 0 && kept.trace.valid()) {
      edge_.in.processing_seconds.observe_with_exemplar(seconds, kept.trace, kept.span,
                                                        edge_.loop.unix_ns());
      --count;
    }
    if (count > 0) edge_.in.processing_seconds.observe_n(seconds, count);
  }
  asked_size_ = 0;
}

// Nothing followed: what is known is the gateway's own share.
void RelayConnection::unanswered() {
  for (uint8_t i = 0; i < asked_size_; ++i) {
    edge_.in.processing_seconds.observe_n(asked_[i].relay_us * 1e-6, asked_[i].count);
    route_.unmatched.add(asked_[i].count);
  }
  int64_t const spent = asked_size_ > 0 ? int64_t{asked_[0].relay_us} * 1000 : 0;
  asked_size_ = 0;
  if (!waiting_) return;
  for (telemetry::SpanRecord& record : *waiting_) edge_.finish_span(record, spent);
  waiting_.reset();
}

void RelayConnection::send(Direction direction, std::string_view bytes) {
  if (bytes.empty() || dead_) return;
  std::unique_ptr<Backlog>& waiting = backlog(direction);
  if (waiting) {
    waiting->append(bytes);
    edge_.in.queue_bytes.add(static_cast<double>(bytes.size()));
    wrote(direction, Sent::waits);
    return;
  }
  Backlog rest;
  Sent const sent = write_or_keep(target(direction), rest, bytes);
  if (sent == Sent::all) return;
  if (!rest.empty()) {
    edge_.in.queue_bytes.add(static_cast<double>(rest.size()));
    waiting = std::make_unique<Backlog>(std::move(rest));
  }
  wrote(direction, sent);
}

void RelayConnection::wrote(Direction direction, Sent sent) {
  if (sent == Sent::failed) {
    ended_by(other(direction));
    return;
  }
  if (sent == Sent::all && backlog(direction) && backlog(direction)->empty()) {
    backlog(direction).reset();
    // Its source ended while this was waiting.
    if (eof_[index(direction)] || stopping_) target(direction).shutdown_write();
    if (direction == Direction::in && eof_[index(direction)]) {
      destroy(ending_);
      return;
    }
  }
  watch();
}

void RelayConnection::watch() {
  for (Direction direction : {Direction::in, Direction::out}) {
    auto const& waiting = backlog(direction);
    bool const held = waiting && waiting->size() > kHeldMax && !stopping_;
    uint8_t wanted = 0;
    if (!held && !eof_[index(direction)]) wanted |= kRead;
    if (backlog(other(direction))) wanted |= kWrite;
    uint8_t& now = events_[index(direction)];
    if (wanted == now) continue;
    if ((now & kRead) != 0 && held) edge_.in.held_back[index(direction)].add();
    now = wanted;
    uint32_t const events = ((wanted & kRead) != 0 ? static_cast<uint32_t>(EPOLLIN) : 0) |
                            ((wanted & kWrite) != 0 ? static_cast<uint32_t>(EPOLLOUT) : 0);
    runtime::Pollable& target_side =
        direction == Direction::in ? static_cast<runtime::Pollable&>(*this) : side_;
    (void)edge_.loop.modify(source(direction).fd(), events, target_side);
  }
}

// The socket that `direction` comes from has ended, in order or not.
void RelayConnection::ended_by(Direction direction) {
  if (dead_ || eof_[index(direction)]) return;
  eof_[index(direction)] = true;
  bool const closing = close_seen_[0] || close_seen_[1];
  if (direction == Direction::in) {
    if (!closing && !stopping_) ending_ = {net::ws::kAbnormal, Initiator::client, {}};
    if (stopping_ || eof_[index(Direction::out)] || !backlog(direction)) {
      destroy(ending_);
      return;
    }
    // What it sent before it left still goes to the backend.
    edge_.loop.arm(*this, kCloseWaitNs);
    watch();
    return;
  }
  if (eof_[index(Direction::in)]) {
    destroy(ending_);
    return;
  }
  if (stopping_) {
    // The client is still to read what it was told.
    drop_backend();
    return;
  }
  if (!closing) {
    stop(net::ws::kBadGateway, 0, {net::ws::kBadGateway, Initiator::backend, "backend_lost"});
    return;
  }
  // The backend closes first, as a server should (RFC 6455, section 7.1.1); the client gets the end
  // behind what still waits for it.
  if (!backlog(direction)) target(direction).shutdown_write();
  edge_.loop.arm(*this, kCloseWaitNs);
  watch();
}

void RelayConnection::violation(Direction direction, net::ws::Violation const& why) {
  edge_.record_refusal(info(), why, messages(direction) + 1, direction == Direction::out);
  if (direction == Direction::in) {
    stop(why.code, net::ws::kGoingAway, {why.code, Initiator::gateway, why.error_type});
  } else {
    stop(net::ws::kBadGateway, why.code,
         {net::ws::kBadGateway, Initiator::backend, "backend_protocol"});
  }
}

void RelayConnection::drop_backend() {
  if (!backend_.open()) return;
  edge_.loop.forget(side_);
  backend_.close();
}

bool RelayConnection::say_close(Direction to, uint16_t code, std::string_view reason) {
  if (eof_[index(other(to))] || !scanner(to).at_boundary() || close_seen_[index(to)]) return false;
  std::string const payload = net::ws::close_payload(code, reason);
  std::string frame;
  if (to == Direction::out) {
    net::ws::append_frame(frame, Opcode::close, payload);
  } else {
    auto const mask = static_cast<uint32_t>(edge_.rng.next());
    char header[net::ws::kHeaderBytesMax];
    size_t const n = net::ws::write_masked_header(header, net::ws::first_byte(Opcode::close),
                                                  payload.size(), mask);
    frame.assign(header, n).append(payload);
    net::ws::apply_mask(frame.data() + n, payload.size(), mask);
  }
  ++edge_.in.tally(route_).frames[index(to)][frame_index(Opcode::close)];
  send(to, frame);
  return true;
}

void RelayConnection::stop(uint16_t to_client, uint16_t to_backend, Ending const& ending) {
  if (dead_ || stopping_) return;
  ending_ = ending;
  // First, so that a side that fails meanwhile does not begin another end.
  stopping_ = true;
  bool const said =
      close_seen_[index(Direction::out)] || say_close(Direction::out, to_client, ending.error_type);
  if (dead_) return;
  if (to_backend != 0) say_close(Direction::in, to_backend, {});
  if (dead_) return;
  unanswered();
  ended(ending);
  if (!said) {
    // In the middle of a frame there is no place for a close: cutting is all that is left.
    transport_.abort_on_close();
    destroy(ending);
    return;
  }
  for (Direction direction : {Direction::in, Direction::out}) {
    if (!backlog(direction) && !eof_[index(other(direction))]) {
      target(direction).shutdown_write();
    }
  }
  if (eof_[index(Direction::out)]) drop_backend();
  edge_.loop.arm(*this, kCloseWaitNs);
  watch();
}

void RelayConnection::drain_now() {
  stop(net::ws::kServiceRestart, net::ws::kGoingAway,
       {net::ws::kServiceRestart, Initiator::gateway, {}});
}

void RelayConnection::on_timer() noexcept {
  if (stopping_ || close_seen_[0] || close_seen_[1] || eof_[0] || eof_[1]) {
    destroy(ending_);
    return;
  }
  if (draining()) {
    drain_now();
    return;
  }
  if (asked_size_ > 0 && edge_.loop.now_ns() - asked_[0].at_ns > kReplyWaitNs) unanswered();
  edge_.loop.arm(*this, kReplyWaitNs);
}

// Where a closing handshake has begun, that is how it ends.
void RelayConnection::cut() {
  if (close_seen_[0] || close_seen_[1] || eof_[0] || eof_[1]) {
    destroy(ending_);
  } else {
    destroy({net::ws::kAbnormal, Initiator::gateway, {}});
  }
}

void RelayConnection::destroy(Ending const& ending) {
  if (dead_) return;
  dead_ = true;
  unanswered();
  ended(ending);
  cancel();
  unlink();
  if (size_t const queued = queued_bytes(); queued > 0) {
    edge_.in.queue_bytes.add(-static_cast<double>(queued));
  }
  edge_.loop.forget(*this);
  transport_.close();
  drop_backend();
  edge_.loop.retire(std::unique_ptr<runtime::Pollable>(this));
}

}  // namespace wscope::gateway
