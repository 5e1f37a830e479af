#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "net/ws/deflate.h"
#include "net/ws/frame.h"
#include "net/ws/mask.h"

namespace wscope::net::ws {

// Why a reader refuses to go on: what to send in the close frame, and the bounded name under which
// it is counted. `code` 0: nothing is wrong.
struct Violation {
  uint16_t code = 0;
  std::string_view error_type;  // a literal
  explicit operator bool() const { return code != 0; }
};

// Bounds of what a peer may send; shared by all connections of a loop.
struct ReadLimits {
  uint64_t message_bytes = 16 << 20;  // payload, after inflating too
  uint32_t fragments = 65'536;        // frames a message
  uint32_t inflation_ratio = 200;     // judged above 1 MiB of output
};

// A data message as it was received. `payload` lies in the receive buffer or in the reader's own
// and is valid during the call only.
struct Message {
  Opcode opcode;  // text or binary
  std::string_view payload;
  uint64_t wire_bytes;  // all its frames with their headers
  uint32_t frames;
  bool compressed;
};

// Reads a close frame's payload (RFC 6455, section 5.5.1): `code` becomes its code, or kNoStatus if
// it is empty. A violation if it is one byte, the code must not be sent, or the reason is not
// UTF-8.
Violation read_close(std::string_view payload, uint16_t& code);

// Turns received bytes into messages (RFC 6455, sections 5 and 8.1): all frames of a read are
// parsed and unmasked in place; only a message that spans reads, is fragmented or compressed is
// copied. An idle reader holds no buffer. Text is checked as its bytes arrive and refused at the
// first wrong one.
//
// Thread: one loop.
class MessageReader {
 public:
  // `from_client`: frames must be masked; otherwise they must not be. `deflate`: permessage-deflate
  // was negotiated.
  explicit MessageReader(bool from_client, bool deflate = false)
      : from_client_(from_client), deflate_(deflate) {}

  // Calls handler.on_message(Message const&) and handler.on_control(Opcode, std::string_view) for
  // what is complete; each returns false to stop reading (the rest of `data` is then dropped).
  // `data` is overwritten. `inflater` is used only where deflate was negotiated.
  template <class Handler>
  Violation consume(char* data, size_t n, ReadLimits const& limits, Inflater* inflater,
                    Handler& handler);

  bool deflate() const { return deflate_; }
  // Bytes held for a message that is not complete.
  size_t held_bytes() const;

 private:
  // What is kept while a frame or a message is incomplete.
  struct Partial {
    char header[kHeaderBytesMax];
    uint8_t header_have = 0;
    bool in_frame = false;
    bool in_message = false;
    bool compressed = false;
    Opcode message_opcode = Opcode::text;
    FrameHeader frame{};
    uint64_t frame_done = 0;
    uint64_t wire_bytes = 0;
    uint32_t frames = 0;
    base::Utf8Checker utf8;
    std::string message;
    std::string control;
  };

  Partial& partial() {
    if (!partial_) partial_ = std::make_unique<Partial>();
    return *partial_;
  }
  bool in_message() const { return partial_ && partial_->in_message; }
  Violation check(FrameHeader const& frame, ReadLimits const& limits) const;
  Violation begin_frame(FrameHeader const& frame);
  // Takes payload bytes of the open frame; returns how many. `why` is set on a violation.
  size_t take_payload(char* data, size_t n, Violation& why);
  template <class Handler>
  Violation frame_done(ReadLimits const& limits, Inflater* inflater, Handler& handler, bool& go_on);
  static Violation check_text(std::string_view text, bool ascii);

  std::unique_ptr<Partial> partial_;
  bool from_client_;
  bool deflate_;
};

template <class Handler>
Violation MessageReader::frame_done(ReadLimits const& limits, Inflater* inflater, Handler& handler,
                                    bool& go_on) {
  Partial& p = *partial_;
  p.in_frame = false;
  if (is_control(p.frame.opcode)) {
    std::string const payload = std::move(p.control);
    p.control.clear();
    Opcode const opcode = p.frame.opcode;
    if (!p.in_message) partial_.reset();
    go_on = handler.on_control(opcode, payload);
    return {};
  }
  if (!p.frame.fin) return {};
  Message message{p.message_opcode, p.message, p.wire_bytes, p.frames, p.compressed};
  if (p.compressed) {
    auto inflated = inflater->inflate(p.message, limits.message_bytes, limits.inflation_ratio);
    if (!inflated) {
      bool const bomb = inflated.error().code == base::Errc::over_limit;
      return bomb ? Violation{kTooBig, "inflation_limit"}
                  : Violation{kInvalidPayload, "bad_deflate"};
    }
    message.payload = *inflated;
    if (p.message_opcode == Opcode::text) {
      if (auto why = check_text(message.payload, false)) return why;
    }
  } else if (p.message_opcode == Opcode::text && !p.utf8.complete()) {
    return {kInvalidPayload, "invalid_utf8"};
  }
  // The handler may close the connection, so the reader's own state is settled first.
  std::unique_ptr<Partial> const held = std::move(partial_);
  go_on = handler.on_message(message);
  return {};
}

template <class Handler>
Violation MessageReader::consume(char* data, size_t n, ReadLimits const& limits, Inflater* inflater,
                                 Handler& handler) {
  char* p = data;
  char* const end = data + n;
  while (p < end) {
    if (partial_ && partial_->in_frame) {
      Violation why;
      p += take_payload(p, static_cast<size_t>(end - p), why);
      if (why) return why;
      if (partial_->frame_done < partial_->frame.length) return {};
      bool go_on = true;
      if (why = frame_done(limits, inflater, handler, go_on); why) return why;
      if (!go_on) return {};
      continue;
    }
    FrameHeader frame;
    HeaderState state;
    size_t used;
    if (partial_ && partial_->header_have > 0) {
      // A header split between reads is put together byte by byte; it has at most 14.
      Partial& held = *partial_;
      held.header[held.header_have++] = *p;
      used = 1;
      state = parse_header(held.header, held.header_have, frame);
      if (state == HeaderState::complete) held.header_have = 0;
    } else {
      state = parse_header(p, static_cast<size_t>(end - p), frame);
      used = frame.bytes;
    }
    if (state == HeaderState::bad_length) return {kProtocolError, "bad_frame_length"};
    if (state == HeaderState::need_more) {
      if (partial_ && partial_->header_have > 0) {
        ++p;
        continue;
      }
      Partial& held = partial();
      held.header_have = static_cast<uint8_t>(end - p);
      std::memcpy(held.header, p, held.header_have);
      return {};
    }
    p += used;
    if (auto why = check(frame, limits)) return why;
    bool const whole = frame.length <= static_cast<uint64_t>(end - p);
    if (whole && !partial_ && frame.fin && frame.reserved == 0) {
      auto const length = static_cast<size_t>(frame.length);
      bool const ascii = frame.masked ? unmask(p, length, frame.mask) : false;
      std::string_view const payload(p, length);
      p += length;
      if (is_control(frame.opcode)) {
        if (!handler.on_control(frame.opcode, payload)) return {};
        continue;
      }
      if (frame.opcode == Opcode::text) {
        if (auto why = check_text(payload, ascii)) return why;
      }
      Message const message{frame.opcode, payload, frame.bytes + frame.length, 1, false};
      if (!handler.on_message(message)) return {};
      continue;
    }
    if (auto why = begin_frame(frame)) return why;
    if (frame.length == 0) {
      bool go_on = true;
      if (auto why = frame_done(limits, inflater, handler, go_on); why) return why;
      if (!go_on) return {};
    }
  }
  return {};
}

}  // namespace wscope::net::ws
