#include "net/ws/scanner.h"

#include <algorithm>

namespace wscope::net::ws {

Violation FrameScanner::check(FrameHeader const& frame, ReadLimits const& limits) const {
  if (frame.masked != masked_) {
    return {kProtocolError, masked_ ? "unmasked_frame" : "masked_frame"};
  }
  auto const opcode = static_cast<uint8_t>(frame.opcode);
  if (!extensions_ && frame.reserved != 0) return {kProtocolError, "reserved_bits"};
  if (is_control(frame.opcode)) {
    if (opcode > 10) return {kProtocolError, "reserved_opcode"};
    if (!frame.fin) return {kProtocolError, "fragmented_control"};
    if (frame.length > kControlPayloadMax) return {kProtocolError, "control_too_long"};
    return {};
  }
  if (opcode > 2) return {kProtocolError, "reserved_opcode"};
  bool const continuation = frame.opcode == Opcode::continuation;
  if (continuation != in_message_) {
    return {kProtocolError, continuation ? "unexpected_continuation" : "interleaved_message"};
  }
  uint64_t const before = continuation ? message_bytes_ : 0;
  if (frame.length > limits.message_bytes || before + frame.length > limits.message_bytes) {
    return {kTooBig, "message_too_big"};
  }
  if (continuation && frames_ >= limits.fragments) return {kPolicy, "too_many_fragments"};
  return {};
}

void FrameScanner::start(FrameHeader const& frame) {
  in_frame_ = true;
  left_ = frame.length;
  opcode_ = frame.opcode;
  fin_ = frame.fin;
  mask_ = frame.mask;
  if (is_control(frame.opcode)) {
    close_have_ = 0;
    close_code_ = 0;
    return;
  }
  if (frame.opcode != Opcode::continuation) {
    in_message_ = true;
    message_opcode_ = frame.opcode;
    compressed_ = (frame.reserved & 4) != 0;
    message_bytes_ = wire_bytes_ = 0;
    frames_ = 0;
  }
  ++frames_;
  message_bytes_ += frame.length;
  wire_bytes_ += frame.length + frame.bytes;
}

void FrameScanner::close_bytes(char const* data, size_t n) {
  for (size_t i = 0; i < n && close_have_ < 2; ++i, ++close_have_) {
    auto const key = static_cast<uint8_t>(mask_ >> (8 * close_have_));
    close_code_ = static_cast<uint16_t>(close_code_ << 8 | (static_cast<uint8_t>(data[i]) ^ key));
  }
}

}  // namespace wscope::net::ws
