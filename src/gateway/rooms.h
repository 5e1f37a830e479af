#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/instruments.h"
#include "net/ws/frame.h"
#include "telemetry/traces.h"

namespace wscope::gateway {

class Edge;
class ServedConnection;
class Rooms;

// How much was said, by kind of message: text, binary.
struct Talk {
  uint32_t messages[2] = {};
  uint64_t payload[2] = {};
  uint64_t plain_wire[2] = {};
  uint64_t packed_wire[2] = {};
  uint32_t packed = 0;  // messages that members with compression get compressed

  uint32_t count() const { return messages[0] + messages[1]; }
  void add(Talk const& other) {
    packed += other.packed;
    for (size_t i = 0; i < 2; ++i) {
      messages[i] += other.messages[i];
      payload[i] += other.payload[i];
      plain_wire[i] += other.plain_wire[i];
      packed_wire[i] += other.packed_wire[i];
    }
  }
  void remove(Talk const& other) {
    packed -= other.packed;
    for (size_t i = 0; i < 2; ++i) {
      messages[i] -= other.messages[i];
      payload[i] -= other.payload[i];
      plain_wire[i] -= other.plain_wire[i];
      packed_wire[i] -= other.packed_wire[i];
    }
  }
};

// A room's members on this loop, and what was said in it during this turn. Frames from a server are
// not masked, so one text serves all members; it goes out once a turn, one write a member.
//
// Thread: loop.
class Room {
 public:
  Room(Edge& edge, std::string name) : edge_(edge), name_(std::move(name)) {}
  std::string const& name() const { return name_; }

  // Says `payload` to all members; `sender` may be null (it came from elsewhere).
  void publish(ServedConnection* sender, net::ws::Opcode opcode, std::string_view payload);
  // A message's span, to be ended when the room has been written to.
  void add_span(telemetry::SpanRecord const& record) { spans_.push_back(record); }
  // Frames said in this room on another loop.
  void deliver(std::string const& frames, Talk const& talk);

 private:
  friend class Rooms;
  // Where in plain_ and packed_ a member's own words lie, for those that do not want them back.
  struct Said {
    ServedConnection* by;
    size_t plain_from, plain_to, packed_from, packed_to;
    Talk talk;
  };
  void flush();
  void send_to(ServedConnection& member);
  void settle();
  std::string without(ServedConnection const& member, bool packed) const;
  void publish_to_peers();

  Edge& edge_;
  std::string const name_;
  std::vector<ServedConnection*> members_;
  std::vector<ServedConnection*> walk_;  // kept for its capacity
  uint32_t packing_members_ = 0;         // that take compressed frames
  std::string plain_;
  std::string packed_;
  std::vector<Said> said_;
  // Where in plain_ lies what was said on other loops, and how much that is.
  std::vector<std::pair<size_t, size_t>> foreign_;
  Talk foreign_talk_;
  std::vector<telemetry::SpanRecord> spans_;
  uint32_t from_here_ = 0;  // messages of this turn from members of this loop
  Talk talk_;               // all messages of this turn
  bool dirty_ = false;
};

// The rooms of one loop.
//
// Thread: loop.
class Rooms {
 public:
  explicit Rooms(Edge& edge) : edge_(edge) {}
  ~Rooms();
  Rooms(Rooms const&) = delete;
  Rooms& operator=(Rooms const&) = delete;

  // Adds `member`; the room is made if need be and lives until its last member leaves.
  Room& join(std::string_view name, ServedConnection& member);
  void leave(Room& room, ServedConnection& member);
  // Null if nobody of this loop is in it.
  Room* find(std::string_view name);
  // Writes what was said during this turn.
  void flush();
  size_t size() const { return rooms_.size(); }

  static constexpr size_t kNameMax = 128;
  // Bytes said in one turn after which a room is written to at once.
  static constexpr size_t kTurnBytesMax = 256 << 10;

 private:
  friend class Room;
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  Edge& edge_;
  std::unordered_map<std::string, std::unique_ptr<Room>, Hash, std::equal_to<>> rooms_;
  std::vector<Room*> dirty_;
};

}  // namespace wscope::gateway
