#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "net/ws/frame.h"
#include "net/ws/reader.h"

namespace wscope::net::ws {

// Watches one direction of a relayed connection without touching a byte: reads frame headers, skips
// payloads, and reads of those only a close frame's code. 64 bytes, no allocation.
//
// Thread: one loop.
class FrameScanner {
 public:
  // `masked`: frames of this direction must be masked (client to server). `extensions`: an
  // extension was negotiated, so reserved bits may be set.
  explicit FrameScanner(bool masked, bool extensions = false)
      : masked_(masked), extensions_(extensions) {}

  // Calls handler.on_frame(Opcode frame, Opcode message, uint64_t payload, size_t header) when a
  // header is read (`message` is the opcode of the message that a continuation belongs to),
  // handler.on_message(Opcode, uint64_t payload, uint64_t wire, uint32_t frames, bool compressed)
  // when a data message's last byte is in `data`, and handler.on_close(uint16_t code) when a close
  // frame is complete (kNoStatus if it has no code). Returns a violation where a conforming
  // endpoint would refuse; the scanner must not be fed after that. `passed` is then how many bytes
  // of `data` lie before the offending frame; where that began in an earlier call it is 0, and
  // at_boundary() stays false, for part of the frame has gone on.
  template <class Handler>
  Violation feed(char const* data, size_t n, ReadLimits const& limits, Handler& handler,
                 size_t& passed);

  // True between frames: here a frame of our own may be put in.
  bool at_boundary() const { return left_ == 0 && header_have_ == 0 && !torn_; }
  bool in_message() const { return in_message_; }

 private:
  Violation check(FrameHeader const& frame, ReadLimits const& limits) const;
  void start(FrameHeader const& frame);
  void close_bytes(char const* data, size_t n);
  // Ends the open frame; a violation if it was a close frame that must not be.
  template <class Handler>
  Violation end_frame(Handler& handler);

  uint64_t left_ = 0;  // payload bytes of the open frame still to come
  uint64_t message_bytes_ = 0;
  uint64_t wire_bytes_ = 0;
  uint32_t frames_ = 0;
  uint32_t mask_ = 0;
  uint16_t close_code_ = 0;
  uint8_t close_have_ = 0;
  Opcode opcode_ = Opcode::text;          // of the open frame
  Opcode message_opcode_ = Opcode::text;  // of the open message
  bool fin_ = true;
  bool in_frame_ = false;
  bool in_message_ = false;
  bool compressed_ = false;
  bool torn_ = false;  // a violation was found in a frame that had passed in part
  bool masked_;
  bool extensions_;
  uint8_t header_have_ = 0;
  char header_[kHeaderBytesMax];
};

template <class Handler>
Violation FrameScanner::end_frame(Handler& handler) {
  in_frame_ = false;
  if (opcode_ == Opcode::close) {
    if (close_have_ == 1 || (close_have_ == 2 && !close_code_sendable(close_code_))) {
      return {kProtocolError, "bad_close_frame"};
    }
    handler.on_close(close_have_ == 2 ? close_code_ : uint16_t{kNoStatus});
  } else if (!is_control(opcode_) && fin_) {
    in_message_ = false;
    handler.on_message(message_opcode_, message_bytes_, wire_bytes_, frames_, compressed_);
  }
  return {};
}

template <class Handler>
Violation FrameScanner::feed(char const* data, size_t n, ReadLimits const& limits, Handler& handler,
                             size_t& passed) {
  char const* p = data;
  char const* const end = data + n;
  char const* begun = nullptr;  // where the open frame began, if it did in `data`
  passed = n;
  while (p < end) {
    if (in_frame_) {
      uint64_t const here = std::min<uint64_t>(left_, static_cast<uint64_t>(end - p));
      if (opcode_ == Opcode::close) close_bytes(p, static_cast<size_t>(here));
      left_ -= here;
      p += here;
      if (left_ > 0) return {};
      if (Violation const why = end_frame(handler)) {
        // Of a frame that began in an earlier read a part has passed already.
        torn_ = begun == nullptr;
        passed = torn_ ? 0 : static_cast<size_t>(begun - data);
        return why;
      }
      continue;
    }
    FrameHeader frame;
    char const* const at = p;
    HeaderState state;
    bool const split = header_have_ > 0;
    if (split) {
      header_[header_have_++] = *p++;
      state = parse_header(header_, header_have_, frame);
      if (state == HeaderState::need_more) continue;
      header_have_ = 0;
    } else {
      state = parse_header(p, static_cast<size_t>(end - p), frame);
      if (state == HeaderState::need_more) {
        header_have_ = static_cast<uint8_t>(end - p);
        std::memcpy(header_, p, header_have_);
        return {};
      }
      p += frame.bytes;
    }
    Violation why = state == HeaderState::bad_length ? Violation{kProtocolError, "bad_frame_length"}
                                                     : check(frame, limits);
    if (why) {
      torn_ = split;
      passed = split ? 0 : static_cast<size_t>(at - data);
      return why;
    }
    start(frame);
    handler.on_frame(frame.opcode, is_control(frame.opcode) ? frame.opcode : message_opcode_,
                     frame.length, frame.bytes);
    begun = split ? nullptr : at;
    if (left_ == 0) (void)end_frame(handler);
  }
  return {};
}

}  // namespace wscope::net::ws
