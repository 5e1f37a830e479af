#include "gateway/rooms.h"

#include <algorithm>

#include "gateway/served.h"

namespace wscope::gateway {

using net::ws::Opcode;

void Room::publish(ServedConnection* sender, Opcode opcode, std::string_view payload) {
  if (plain_.size() + payload.size() > Rooms::kTurnBytesMax && !plain_.empty()) flush();
  size_t const plain_from = plain_.size();
  size_t const packed_from = packed_.size();
  net::ws::append_frame(plain_, opcode, payload);
  if (packing_members_ > 0) {
    net::ws::append_frame(packed_, opcode, edge_.deflater.deflate(payload, 15), true);
  }
  Talk said;
  size_t const kind = message_index(opcode);
  said.messages[kind] = 1;
  said.payload[kind] = payload.size();
  said.plain_wire[kind] = plain_.size() - plain_from;
  said.packed_wire[kind] = packed_.size() - packed_from;
  said.packed = packing_members_ > 0 ? 1 : 0;
  if (sender != nullptr) {
    ++from_here_;
    if (!sender->wants_own()) {
      said_.push_back({sender, plain_from, plain_.size(), packed_from, packed_.size(), said});
    }
  }
  talk_.add(said);
  if (!dirty_) {
    dirty_ = true;
    edge_.rooms.dirty_.push_back(this);
  }
}

void Room::deliver(std::string const& frames, Talk const& talk) {
  if (plain_.size() + frames.size() > Rooms::kTurnBytesMax && !plain_.empty()) flush();
  foreign_.emplace_back(plain_.size(), plain_.size() + frames.size());
  plain_ += frames;
  // A member that negotiated compression takes plain frames as well (RFC 7692, section 6).
  if (packing_members_ > 0) packed_ += frames;
  Talk said = talk;
  said.packed = 0;
  for (size_t i = 0; i < 2; ++i) said.packed_wire[i] = said.plain_wire[i];
  foreign_talk_.add(said);
  talk_.add(said);
  if (!dirty_) {
    dirty_ = true;
    edge_.rooms.dirty_.push_back(this);
  }
}

std::string Room::without(ServedConnection const& member, bool packed) const {
  std::string const& all = packed ? packed_ : plain_;
  std::string rest;
  size_t at = 0;
  for (Said const& said : said_) {
    if (said.by != &member) continue;
    rest.append(all, at, (packed ? said.packed_from : said.plain_from) - at);
    at = packed ? said.packed_to : said.plain_to;
  }
  rest.append(all, at);
  return rest;
}

void Room::send_to(ServedConnection& member) {
  bool const packed = member.packs();
  Talk rest = talk_;
  for (Said const& said : said_) {
    if (said.by == &member) rest.remove(said.talk);
  }
  if (rest.count() == talk_.count()) {
    member.deliver(packed ? packed_ : plain_, rest);
  } else if (rest.count() > 0) {
    member.deliver(without(member, packed), rest);
  }
}

// The other loops are told what was said here, and not what they said themselves.
void Room::publish_to_peers() {
  if (from_here_ == 0 || edge_.peers().empty()) return;
  if (foreign_.empty()) {
    edge_.publish_to_peers(name_, plain_, talk_);
    return;
  }
  std::string own;
  size_t at = 0;
  for (auto const& [from, to] : foreign_) {
    own.append(plain_, at, from - at);
    at = to;
  }
  own.append(plain_, at);
  Talk talk = talk_;
  talk.remove(foreign_talk_);
  edge_.publish_to_peers(name_, own, talk);
}

// The messages of this turn have been handed to the kernel: their time ends here.
void Room::settle() {
  if (from_here_ == 0 || !edge_.shared.telemetry_on) return;
  edge_.finish_messages(spans_, from_here_, edge_.loop.read_now_ns() - edge_.loop.now_ns());
}

void Room::flush() {
  if (!dirty_) return;
  std::erase(edge_.rooms.dirty_, this);
  publish_to_peers();
  // A member that fails leaves the room while it is walked, so the walk is over a copy. `dirty_`
  // stays up meanwhile, which keeps an emptied room alive.
  walk_ = members_;
  for (ServedConnection* member : walk_) send_to(*member);
  settle();
  plain_.clear();
  packed_.clear();
  if (plain_.capacity() > Rooms::kTurnBytesMax) plain_.shrink_to_fit();
  if (packed_.capacity() > Rooms::kTurnBytesMax) packed_.shrink_to_fit();
  said_.clear();
  foreign_.clear();
  foreign_talk_ = {};
  spans_.clear();
  from_here_ = 0;
  talk_ = {};
  dirty_ = false;
}

Rooms::~Rooms() = default;

Room* Rooms::find(std::string_view name) {
  auto const found = rooms_.find(name);
  return found == rooms_.end() ? nullptr : found->second.get();
}

Room& Rooms::join(std::string_view name, ServedConnection& member) {
  auto found = rooms_.find(name);
  if (found == rooms_.end()) {
    found =
        rooms_.emplace(std::string(name), std::make_unique<Room>(edge_, std::string(name))).first;
  }
  Room& room = *found->second;
  // What was said before it came is not for it, and the frames of the turn are made for those who
  // are there.
  room.flush();
  member.set_seat(room.members_.size());
  room.members_.push_back(&member);
  room.packing_members_ += member.packs();
  return room;
}

void Rooms::leave(Room& room, ServedConnection& member) {
  // What the others were told this turn still reaches them; what this one said stays said.
  ServedConnection* const last = room.members_.back();
  room.members_[member.seat()] = last;
  last->set_seat(member.seat());
  room.members_.pop_back();
  room.packing_members_ -= member.packs();
  for (Room::Said& said : room.said_) {
    if (said.by == &member) said.by = nullptr;
  }
  if (room.members_.empty() && !room.dirty_) rooms_.erase(rooms_.find(room.name()));
}

void Rooms::flush() {
  while (!dirty_.empty()) {
    Room& room = *dirty_.back();
    room.flush();
    if (room.members_.empty()) rooms_.erase(rooms_.find(room.name()));
  }
}

}  // namespace wscope::gateway
