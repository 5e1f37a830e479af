#include "net/ws/reader.h"

#include <algorithm>

namespace wscope::net::ws {

Violation read_close(std::string_view payload, uint16_t& code) {
  code = kNoStatus;
  if (payload.empty()) return {};
  if (payload.size() == 1) return {kProtocolError, "bad_close_frame"};
  code = static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 |
                               static_cast<uint8_t>(payload[1]));
  if (!close_code_sendable(code)) return {kProtocolError, "bad_close_frame"};
  base::Utf8Checker checker;
  if (!checker.feed(payload.substr(2)) || !checker.complete()) {
    return {kInvalidPayload, "invalid_utf8"};
  }
  return {};
}

size_t MessageReader::held_bytes() const {
  return partial_ ? sizeof(Partial) + partial_->message.capacity() : 0;
}

Violation MessageReader::check(FrameHeader const& frame, ReadLimits const& limits) const {
  if (frame.masked != from_client_) {
    return {kProtocolError, from_client_ ? "unmasked_frame" : "masked_frame"};
  }
  auto const opcode = static_cast<uint8_t>(frame.opcode);
  if (is_control(frame.opcode)) {
    if (opcode > 10) return {kProtocolError, "reserved_opcode"};
    if (frame.reserved != 0) return {kProtocolError, "reserved_bits"};
    if (!frame.fin) return {kProtocolError, "fragmented_control"};
    if (frame.length > kControlPayloadMax) return {kProtocolError, "control_too_long"};
    return {};
  }
  if (opcode > 2) return {kProtocolError, "reserved_opcode"};
  bool const continuation = frame.opcode == Opcode::continuation;
  // RSV1 marks a compressed message and stands on its first frame only (RFC 7692, section 6.1).
  uint8_t const allowed = deflate_ && !continuation ? 4 : 0;
  if ((frame.reserved & ~allowed) != 0) return {kProtocolError, "reserved_bits"};
  if (continuation != in_message()) {
    return {kProtocolError, continuation ? "unexpected_continuation" : "interleaved_message"};
  }
  uint64_t const before = continuation ? partial_->message.size() : 0;
  if (frame.length > limits.message_bytes || before + frame.length > limits.message_bytes) {
    return {kTooBig, "message_too_big"};
  }
  if (continuation && partial_->frames >= limits.fragments) {
    return {kPolicy, "too_many_fragments"};
  }
  return {};
}

Violation MessageReader::begin_frame(FrameHeader const& frame) {
  Partial& p = partial();
  p.frame = frame;
  p.frame_done = 0;
  p.in_frame = true;
  if (is_control(frame.opcode)) {
    p.control.clear();
    return {};
  }
  if (frame.opcode != Opcode::continuation) {
    p.in_message = true;
    p.message_opcode = frame.opcode;
    p.compressed = (frame.reserved & 4) != 0;
    p.wire_bytes = 0;
    p.frames = 0;
    p.message.clear();
    p.utf8.reset();
  }
  ++p.frames;
  p.wire_bytes += frame.bytes + frame.length;
  // A single frame's size is known: one allocation, but never more than what has been promised and
  // not yet sent would cost: 1 MiB ahead.
  if (frame.fin) {
    p.message.reserve(p.message.size() + std::min<uint64_t>(frame.length, uint64_t{1} << 20));
  }
  return {};
}

size_t MessageReader::take_payload(char* data, size_t n, Violation& why) {
  Partial& p = *partial_;
  size_t const take = static_cast<size_t>(std::min<uint64_t>(n, p.frame.length - p.frame_done));
  bool ascii = false;
  if (p.frame.masked) {
    ascii = unmask(data, take, p.frame.mask, static_cast<size_t>(p.frame_done & 3));
  }
  p.frame_done += take;
  std::string_view const piece(data, take);
  if (is_control(p.frame.opcode)) {
    p.control.append(piece);
    return take;
  }
  if (p.message_opcode == Opcode::text && !p.compressed && !(ascii && p.utf8.complete()) &&
      !p.utf8.feed(piece)) {
    why = {kInvalidPayload, "invalid_utf8"};
  }
  p.message.append(piece);
  return take;
}

Violation MessageReader::check_text(std::string_view text, bool ascii) {
  if (ascii) return {};
  base::Utf8Checker checker;
  if (checker.feed(text) && checker.complete()) return {};
  return {kInvalidPayload, "invalid_utf8"};
}

}  // namespace wscope::net::ws
