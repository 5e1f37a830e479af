#include "gateway/served.h"

#include <algorithm>

namespace wscope::gateway {

using net::IoKind;
using net::ws::Message;
using net::ws::Opcode;

namespace {

// How long a peer may take to answer our close frame.
constexpr int64_t kCloseWaitNs = 2 * base::kSecond;

constexpr size_t kIn = static_cast<size_t>(Direction::in);
constexpr size_t kOut = static_cast<size_t>(Direction::out);

}  // namespace

// What one read came to: added to the cells at its end, once for all its messages.
struct ServedConnection::Counts {
  uint64_t messages[2] = {};  // received: text, binary
  uint64_t frames = 0;        // received data frames beyond the first of their message
  uint64_t payload[2] = {};
  uint64_t wire[2] = {};
  uint64_t control_wire = 0;
  uint64_t replies[2] = {};
  uint64_t reply_payload[2] = {};
  uint64_t reply_wire[2] = {};
  uint64_t for_room = 0;  // received messages whose time ends with the room's flush
};

struct ServedConnection::Turn {
  explicit Turn(Edge& edge)
      : sizes(edge.in.message_bytes, edge.in.ws_message_bytes[kIn]),
        counted(edge.shared.telemetry_on),
        recorded(edge.message_lines() || edge.telemetry.traces.active()) {}
  SizeRun sizes;
  bool counted;
  bool recorded;  // each message leaves a line or a span
  Counts counts;
};

ServedConnection::ServedConnection(Edge& edge, net::Transport&& transport, OpenFacts&& facts,
                                   Service const& service)
    : OpenConnection(edge, std::move(transport), std::move(facts)),
      reader_(true, service.window_bits != 0),
      heard_ns_(edge.loop.now_ns()),
      window_bits_(service.window_bits),
      own_(service.own) {
  if (!service.room.empty()) room_ = &edge.rooms.join(service.room, *this);
}

void ServedConnection::start(Edge& edge, net::Transport&& transport, runtime::Pollable& watched,
                             OpenFacts&& facts, Service const& service, std::string_view early) {
  auto connection = std::unique_ptr<ServedConnection>(
      new ServedConnection(edge, std::move(transport), std::move(facts), service));
  ServedConnection& self = *connection.release();  // owned by the loop: see destroy()
  if (self.edge_.draining()) self.drain_in(0);
  if (!edge.loop.hand_over(self.transport_.fd(), EPOLLIN, watched, self)) {
    self.destroy({net::ws::kInternalError, Initiator::gateway, {}});
    return;
  }
  int64_t const ping = edge.settings().config.ping_interval_ns;
  if (ping > 0 && !self.armed()) edge.loop.arm(self, ping);
  if (early.empty() && !self.transport_.more_to_read()) return;
  std::memcpy(edge.read_buffer.get(), early.data(), early.size());
  if (!early.empty()) self.handle(edge.read_buffer.get(), early.size());
  if (!self.dead_ && self.transport_.more_to_read()) self.read_some();
}

ServedConnection::~ServedConnection() {
  if (room_ != nullptr) edge_.rooms.leave(*room_, *this);
}

void ServedConnection::destroy(Ending const& ending) {
  if (dead_) return;
  dead_ = true;
  if (turn_ != nullptr) settle(*turn_);
  ended(ending);
  cancel();
  unlink();
  if (room_ != nullptr) edge_.rooms.leave(*std::exchange(room_, nullptr), *this);
  if (backlog_) edge_.in.queue_bytes.add(-static_cast<double>(backlog_->size()));
  edge_.loop.forget(*this);
  transport_.close();
  edge_.loop.retire(std::unique_ptr<runtime::Pollable>(this));
}

void ServedConnection::cut() { destroy({net::ws::kAbnormal, Initiator::gateway, {}}); }

void ServedConnection::on_ready(uint32_t events) noexcept {
  if ((events & EPOLLOUT) != 0 && backlog_) {
    size_t const before = backlog_->size();
    Sent const sent = write_backlog(transport_, *backlog_);
    edge_.in.queue_bytes.add(static_cast<double>(backlog_->size()) - static_cast<double>(before));
    if (!wrote(sent)) return;
  } else if ((events & EPOLLOUT) != 0) {
    // TLS had to write before it could read on.
    writable_wanted_ = false;
    watch();
    events |= EPOLLIN;
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 && !transport_.more_to_read()) return;
  if (closing_) {
    discard();
  } else if (reading_ || (events & (EPOLLHUP | EPOLLERR)) != 0) {
    read_some();
  }
}

void ServedConnection::read_some() {
  do {
    net::IoResult const result = transport_.read(edge_.read_buffer.get(), Edge::kReadBytes);
    if (result.kind == IoKind::done) {
      handle(edge_.read_buffer.get(), result.bytes);
    } else if (result.kind == IoKind::eof || result.kind == IoKind::error) {
      destroy({net::ws::kAbnormal, Initiator::client, {}});
    } else {
      if (result.kind == IoKind::again_write && !writable_wanted_) {
        writable_wanted_ = true;
        watch();
      }
      return;
    }
  } while (!dead_ && !closing_ && reading_ && transport_.more_to_read());
}

void ServedConnection::handle(char* data, size_t n) {
  heard_ns_ = edge_.loop.now_ns();
  pinged_ = false;
  Turn turn(edge_);
  turn_ = &turn;
  net::ws::Violation const why =
      reader_.consume(data, n, edge_.settings().limits, &edge_.inflater, *this);
  if (!dead_ && edge_.cork.size() > 0) flush_cork();
  settle(turn);
  turn_ = nullptr;
  edge_.cork.clear();
  // Lines are handed on while the cache still holds them.
  if (turn.recorded) edge_.telemetry.log.publish();
  if (why && !dead_ && !closing_) {
    edge_.record_refusal(info(), why, messages(Direction::in) + 1, false);
    close(why.code, {why.code, Initiator::gateway, why.error_type});
  }
}

// The clock is read once here, for all messages of the read: they left in one write. Leaves the
// turn empty.
void ServedConnection::settle(Turn& turn) {
  Counts const counts = std::exchange(turn.counts, {});
  uint64_t const received = counts.messages[0] + counts.messages[1];
  uint64_t const sent = counts.replies[0] + counts.replies[1];
  add_traffic(Direction::in, received, counts.wire[0] + counts.wire[1] + counts.control_wire);
  add_traffic(Direction::out, sent, counts.reply_wire[0] + counts.reply_wire[1]);
  if (!edge_.shared.telemetry_on || received == 0) return;
  bool const both = edge_.settings().config.count_outbound;
  edge_.in.add_messages(both ? received + sent : received, received);
  RouteTally& tally = edge_.in.tally(route_);
  for (size_t kind : {0, 1}) {
    tally.messages[kIn][kind] += counts.messages[kind];
    tally.frames[kIn][kind + 1] += counts.messages[kind];
    tally.payload[kIn][kind + 1] += counts.payload[kind];
    tally.wire[kIn][kind + 1] += counts.wire[kind];
    tally.messages[kOut][kind] += counts.replies[kind];
    tally.frames[kOut][kind + 1] += counts.replies[kind];
    tally.payload[kOut][kind + 1] += counts.reply_payload[kind];
    tally.wire[kOut][kind + 1] += counts.reply_wire[kind];
  }
  tally.frames[kIn][0] += counts.frames;
  if (received == counts.for_room) return;
  int64_t const spent = edge_.loop.read_now_ns() - edge_.loop.now_ns();
  edge_.finish_messages(edge_.spans, received - counts.for_room, spent);
}

bool ServedConnection::on_message(Message const& message) {
  Counts& turn = turn_->counts;
  size_t const kind = message_index(message.opcode);
  ++turn.messages[kind];
  turn.frames += message.frames - 1;
  turn.payload[kind] += message.payload.size();
  turn.wire[kind] += message.wire_bytes;
  if (turn_->counted) turn_->sizes.add(message.payload.size());
  if (message.compressed) edge_.in.compressed[kIn].add();
  if (turn_->recorded) record(message, false);
  if (room_ != nullptr) {
    ++turn.for_room;
    room_->publish(this, message.opcode, message.payload);
    return !dead_;
  }
  ++turn.replies[kind];
  reply(message.opcode, message.payload, message.compressed);
  return !dead_;
}

void ServedConnection::record(Message const& message, bool outbound) {
  uint64_t const sequence =
      messages(Direction::in) + turn_->counts.messages[0] + turn_->counts.messages[1];
  edge_.record_message(info(),
                       {.opcode = message.opcode,
                        .size = message.payload.size(),
                        .wire = message.wire_bytes,
                        .frames = message.frames,
                        .sequence = sequence,
                        .compressed = message.compressed,
                        .outbound = outbound},
                       [this](telemetry::SpanRecord const& span) {
                         if (room_ != nullptr) {
                           room_->add_span(span);
                         } else {
                           edge_.spans.push_back(span);
                         }
                       });
}

void ServedConnection::reply(Opcode opcode, std::string_view payload, bool compress) {
  if (compress) {
    payload = edge_.deflater.deflate(payload, window_bits_);
    edge_.in.compressed[kOut].add();
  }
  size_t const header = net::ws::header_bytes(payload.size());
  if (!net::ws::is_control(opcode)) {
    turn_->counts.reply_payload[message_index(opcode)] += payload.size();
    turn_->counts.reply_wire[message_index(opcode)] += header + payload.size();
  }
  uint8_t const first = net::ws::first_byte(opcode, true, compress);
  if (payload.size() >= Cork::kLarge) {
    if (edge_.cork.size() > 0 && !flush_cork()) return;
    char head[net::ws::kHeaderBytesMax];
    size_t const n = net::ws::write_header(head, first, payload.size());
    if (!backlog_) {
      Backlog rest;
      Sent const sent = write_or_keep(transport_, rest, {head, n}, payload);
      if (!rest.empty()) {
        backlog_ = std::make_unique<Backlog>(std::move(rest));
        edge_.in.queue_bytes.add(static_cast<double>(backlog_->size()));
      }
      wrote(sent);
    } else if (write({head, n})) {
      write(payload);
    }
    return;
  }
  if (edge_.cork.room() < header + payload.size() && !flush_cork()) return;
  char* const to = edge_.cork.end();
  net::ws::write_header(to, first, payload.size());
  std::memcpy(to + header, payload.data(), payload.size());
  edge_.cork.added(header + payload.size());
}

bool ServedConnection::flush_cork() {
  bool const alive = write(edge_.cork.view());
  edge_.cork.clear();
  return alive;
}

bool ServedConnection::write(std::string_view bytes) {
  if (dead_) return false;
  if (backlog_) {
    edge_.in.queue_bytes.add(static_cast<double>(bytes.size()));
    return wrote(write_or_keep(transport_, *backlog_, bytes));
  }
  Backlog rest;
  Sent const sent = write_or_keep(transport_, rest, bytes);
  if (!rest.empty()) {
    backlog_ = std::make_unique<Backlog>(std::move(rest));
    edge_.in.queue_bytes.add(static_cast<double>(backlog_->size()));
  }
  return wrote(sent);
}

bool ServedConnection::wrote(Sent sent) {
  if (sent == Sent::failed) {
    destroy({net::ws::kAbnormal, Initiator::client, {}});
    return false;
  }
  if (sent == Sent::all && backlog_ && backlog_->empty()) {
    backlog_.reset();
    if (closing_) transport_.shutdown_write();
  }
  // A peer that does not read its replies is not read from either.
  bool const read =
      !backlog_ || closing_ || backlog_->size() < edge_.settings().config.send_queue_limit / 2;
  bool const write_wanted = backlog_ != nullptr;
  if (read != reading_ || write_wanted != writable_wanted_) {
    if (!read && reading_) edge_.in.held_back[kIn].add();
    reading_ = read;
    writable_wanted_ = write_wanted;
    watch();
  }
  return true;
}

void ServedConnection::watch() {
  uint32_t const events = (reading_ ? EPOLLIN : 0u) | (writable_wanted_ ? EPOLLOUT : 0u);
  (void)edge_.loop.modify(transport_.fd(), events, *this);
}

void ServedConnection::deliver(std::string_view frames, Talk const& talk) {
  if (dead_ || closing_) return;
  if (queued_bytes() + frames.size() > edge_.settings().config.send_queue_limit &&
      queued_bytes() > 0) {
    // It has not read a megabyte of the room's talk: its connection ends, the room goes on.
    destroy({net::ws::kPolicy, Initiator::gateway, "slow_consumer"});
    return;
  }
  add_traffic(Direction::out, talk.count(), frames.size());
  if (edge_.shared.telemetry_on) count_delivery(talk);
  write(frames);
}

void ServedConnection::count_control(Direction direction, Opcode opcode, size_t payload) {
  auto const d = static_cast<size_t>(direction);
  size_t const i = frame_index(opcode);
  size_t const wire = payload + (direction == Direction::in ? 6 : 2);
  if (direction == Direction::in) turn_->counts.control_wire += wire;
  RouteTally& tally = edge_.in.tally(route_);
  ++tally.frames[d][i];
  tally.payload[d][i] += payload;
  tally.wire[d][i] += wire;
}

void ServedConnection::count_delivery(Talk const& talk) {
  route_.deliveries.add(talk.count());
  if (packs() && talk.packed > 0) edge_.in.compressed[kOut].add(talk.packed);
  if (edge_.settings().config.count_outbound) edge_.in.add_messages(talk.count(), 0);
  RouteTally& tally = edge_.in.tally(route_);
  auto const& wire = packs() ? talk.packed_wire : talk.plain_wire;
  for (size_t kind : {0, 1}) {
    tally.messages[kOut][kind] += talk.messages[kind];
    tally.frames[kOut][kind + 1] += talk.messages[kind];
    tally.payload[kOut][kind + 1] += talk.payload[kind];
    tally.wire[kOut][kind + 1] += wire[kind];
  }
}

bool ServedConnection::on_control(Opcode opcode, std::string_view payload) {
  count_control(Direction::in, opcode, payload.size());
  if (opcode == Opcode::close) {
    uint16_t code = net::ws::kNoStatus;
    if (net::ws::Violation const why = net::ws::read_close(payload, code)) {
      close(why.code, {why.code, Initiator::gateway, why.error_type});
      return false;
    }
    if (edge_.cork.size() > 0 && !flush_cork()) return false;
    std::string frame;
    net::ws::append_frame(frame, Opcode::close, net::ws::close_payload(code, {}));
    count_control(Direction::out, opcode, frame.size() - 2);
    if (!write(frame)) return false;
    destroy({code, Initiator::client, {}});
    return false;
  }
  auto const second = static_cast<uint32_t>(edge_.loop.now_ns() / base::kSecond);
  if (second != controls_s_) {
    controls_s_ = second;
    controls_ = 0;
  }
  if (++controls_ > edge_.settings().config.pings_per_second_max) {
    close(net::ws::kPolicy, {net::ws::kPolicy, Initiator::gateway, "ping_flood"});
    return false;
  }
  if (opcode == Opcode::ping) {
    count_control(Direction::out, Opcode::pong, payload.size());
    reply(Opcode::pong, payload, false);
  }
  return !dead_;
}

void ServedConnection::close(uint16_t code, Ending const& ending) {
  if (dead_ || closing_) return;
  if (edge_.cork.size() > 0 && !flush_cork()) return;
  std::string frame;
  net::ws::append_frame(frame, Opcode::close, net::ws::close_payload(code, ending.error_type));
  count_control(Direction::out, Opcode::close, frame.size() - 2);
  closing_ = true;
  if (!write(frame)) return;
  if (turn_ != nullptr) settle(*turn_);
  ended(ending);
  if (room_ != nullptr) edge_.rooms.leave(*std::exchange(room_, nullptr), *this);
  // Closing a socket with unread bytes would reset it and could overtake the close frame, so what
  // still comes is read and thrown away until the peer is done.
  if (!backlog_) transport_.shutdown_write();
  if (!reading_) {
    reading_ = true;
    watch();
  }
  edge_.loop.arm(*this, kCloseWaitNs);
}

void ServedConnection::discard() {
  for (int reads = 0; reads < 16; ++reads) {
    net::IoResult const result = transport_.read(edge_.read_buffer.get(), Edge::kReadBytes);
    if (result.kind == IoKind::done) continue;
    if (result.kind == IoKind::eof || result.kind == IoKind::error) destroy({});
    return;
  }
}

void ServedConnection::drain_now() {
  close(net::ws::kServiceRestart, {net::ws::kServiceRestart, Initiator::gateway, {}});
}

void ServedConnection::on_timer() noexcept {
  if (closing_) {
    destroy({});
    return;
  }
  if (draining()) {
    drain_now();
    return;
  }
  int64_t const interval = edge_.settings().config.ping_interval_ns;
  if (interval <= 0) return;
  int64_t const silent = edge_.loop.now_ns() - heard_ns_;
  if (silent + base::kMilli < interval) {
    edge_.loop.arm(*this, interval - silent);
    return;
  }
  if (pinged_) {
    destroy({net::ws::kAbnormal, Initiator::client, "peer_timeout"});
    return;
  }
  pinged_ = true;
  count_control(Direction::out, Opcode::ping, 0);
  edge_.loop.arm(*this, interval);
  write(std::string_view("\x89\x00", 2));
}

}  // namespace wscope::gateway
