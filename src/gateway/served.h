#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "gateway/open_connection.h"
#include "gateway/rooms.h"
#include "net/ws/reader.h"

namespace wscope::gateway {

// What the built-in service does on a connection.
struct Service {
  std::string_view room;    // empty: echo
  bool own = true;          // in a room: send a member its own messages too
  uint8_t window_bits = 0;  // of permessage-deflate, 0 = not negotiated
};

// A connection of the built-in service: /echo, or a member of a room.
//
// Thread: loop.
class ServedConnection final : public OpenConnection {
 public:
  // Takes over an upgraded socket that the loop watches for `watched`; `early` are bytes that came
  // with the handshake.
  static void start(Edge& edge, net::Transport&& transport, runtime::Pollable& watched,
                    OpenFacts&& facts, Service const& service, std::string_view early);
  ~ServedConnection() override;

  void on_ready(uint32_t events) noexcept override;
  void cut() override;

  // For rooms.
  void deliver(std::string_view frames, Talk const& talk);
  bool wants_own() const { return own_; }
  // Takes what a room compresses, which is done once for all and with the whole window.
  bool packs() const { return window_bits_ == 15; }
  size_t seat() const { return seat_; }
  void set_seat(size_t seat) { seat_ = static_cast<uint32_t>(seat); }
  RouteInstruments& route() { return route_; }

  // For the reader.
  bool on_message(net::ws::Message const& message);
  bool on_control(net::ws::Opcode opcode, std::string_view payload);

 private:
  struct Counts;
  struct Turn;
  ServedConnection(Edge& edge, net::Transport&& transport, OpenFacts&& facts,
                   Service const& service);

  void on_timer() noexcept override;
  void drain_now() override;
  size_t queued_bytes() const override { return backlog_ ? backlog_->size() : 0; }

  void read_some();
  void handle(char* data, size_t n);
  void settle(Turn& turn);
  void count_delivery(Talk const& talk);
  void count_control(Direction direction, net::ws::Opcode opcode, size_t payload);
  void reply(net::ws::Opcode opcode, std::string_view payload, bool compress);
  void record(net::ws::Message const& message, bool outbound);
  // Writes what the cork holds.
  bool flush_cork();
  bool write(std::string_view bytes);
  bool wrote(Sent sent);
  void watch();
  // Sends a close frame and waits for the peer's for a while.
  void close(uint16_t code, Ending const& ending);
  void discard();
  void destroy(Ending const& ending);

  net::ws::MessageReader reader_;
  std::unique_ptr<Backlog> backlog_;
  Room* room_ = nullptr;
  Turn* turn_ = nullptr;  // while a read is handled
  int64_t heard_ns_;      // when bytes last came
  uint32_t seat_ = 0;
  uint32_t controls_ = 0;  // control frames in the second controls_s_
  uint32_t controls_s_ = 0;
  uint8_t window_bits_;
  bool own_;
  bool pinged_ = false;
  bool closing_ = false;
  bool reading_ = true;
  bool writable_wanted_ = false;
  bool dead_ = false;
};

}  // namespace wscope::gateway
