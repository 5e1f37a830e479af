#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/ws/frame.h"

namespace wscope::cli {

// The messages that a connection sends, over and over in the same order, and the replies to them,
// both as ready bytes. Each payload begins with its number in the cycle (eight hex digits, fewer if
// the message is shorter), so that a lost, doubled or swapped message is noticed; each frame has a
// mask of its own.
//
// Thread: any (constant once made). At most three times kBytesMax of memory, or 9 frames.
class MessageCycle {
 public:
  static constexpr uint64_t kBytesMax = 64 << 20;

  // `ahead`: how many messages may be outstanding. The cycle is longer, so that losing all of them
  // is noticed too, as long as kBytesMax allows.
  MessageCycle(uint64_t size, bool binary, uint32_t ahead, uint64_t seed);

  net::ws::Opcode opcode() const { return opcode_; }
  uint64_t size() const { return size_; }
  uint64_t slots() const { return slots_; }
  size_t outgoing_frame() const { return outgoing_frame_; }
  size_t expected_frame() const { return expected_frame_; }
  // Bytes of one round of masked frames; outgoing() holds that and a part of the next round, so
  // that a batch that passes the end is still one write.
  size_t outgoing_round() const { return outgoing_frame_ * slots_; }
  std::string_view outgoing() const { return outgoing_; }
  // One round of unmasked, unfragmented frames.
  std::string_view expected() const { return expected_; }
  std::string_view payload(uint64_t slot) const {
    return std::string_view(expected_).substr((slot + 1) * expected_frame_ - size_, size_);
  }

 private:
  net::ws::Opcode opcode_;
  uint64_t size_;
  uint64_t slots_;
  size_t outgoing_frame_;
  size_t expected_frame_;
  std::string outgoing_;
  std::string expected_;
};

enum class ReplyProblem : uint8_t { none, mismatch, protocol, closed };

struct Replies {
  uint64_t messages = 0;
  uint64_t payload_bytes = 0;
  ReplyProblem problem = ReplyProblem::none;
  uint16_t close_code = 0;     // if closed; kNoStatus if the frame had none
  char const* what = nullptr;  // if mismatch or protocol
};

// Reads what a server sends and compares it with what must come.
//
// As long as the server frames as everybody does (one frame a message, no control frame between), a
// read of any number of messages is one memcmp and nothing is parsed or kept. A frame that begins
// otherwise is read by the rules of RFC 6455 until the stream is back at the start of a message.
//
// Thread: one. Borrows the cycle.
class ReplyReader {
 public:
  ReplyReader(MessageCycle const& cycle, bool verify)
      : cycle_(cycle), verify_(verify), parsing_(!verify) {}

  // Forgets the stream; the next byte is the first one after a handshake.
  void reset();
  // Reads on. Answers to pings are appended to `answers` as masked frames. After a problem nothing
  // more may be fed.
  Replies feed(std::string_view bytes, std::string& answers);

 private:
  size_t compare(std::string_view bytes, Replies& out);
  void advance(size_t n, Replies& out);
  size_t parse(std::string_view bytes, Replies& out, std::string& answers);
  size_t parse_header(std::string_view bytes, Replies& out);
  void check_header(Replies& out) const;
  void take_payload(std::string_view piece, Replies& out);
  void end_frame(Replies& out, std::string& answers);
  void end_control(Replies& out, std::string& answers);
  static void fail(Replies& out, ReplyProblem problem, char const* what);

  MessageCycle const& cycle_;
  bool const verify_;
  bool parsing_;         // by frame instead of by comparison
  size_t round_at_ = 0;  // bytes of this round of expected frames that have come
  size_t frame_at_ = 0;  // bytes of the expected frame among them
  // Of the parser:
  bool in_payload_ = false;
  bool message_open_ = false;  // a fragment came, its end did not
  uint8_t header_bytes_ = 0;
  uint8_t control_bytes_ = 0;
  uint64_t left_ = 0;        // of the frame's payload
  uint64_t message_at_ = 0;  // payload bytes of this message before the next byte
  net::ws::FrameHeader header_{};
  std::array<char, net::ws::kHeaderBytesMax> header_text_;
  std::array<char, net::ws::kControlPayloadMax> control_;
};

// Appends a masked control frame.
void append_masked_control(std::string& out, net::ws::Opcode opcode, std::string_view payload);

}  // namespace wscope::cli
