#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "net/ws/frame.h"
#include "net/ws/reader.h"

// For tests: frames with any bits, right or wrong, and a handler that writes down what it is told.
namespace wscope::net::ws::test {

struct FrameBits {
  Opcode opcode = Opcode::text;
  bool fin = true;
  uint8_t reserved = 0;
  bool masked = true;
  uint32_t mask = 0x12345678;
};

inline std::string frame(std::string_view payload, FrameBits const& bits = {}) {
  auto const first = static_cast<uint8_t>(first_byte(bits.opcode, bits.fin) | bits.reserved << 4);
  char header[kHeaderBytesMax];
  size_t const n = bits.masked ? write_masked_header(header, first, payload.size(), bits.mask)
                               : write_header(header, first, payload.size());
  std::string out(header, n);
  out += payload;
  if (bits.masked) apply_mask(out.data() + n, payload.size(), bits.mask);
  return out;
}

// Only the header, for lengths that nobody wants to send.
inline std::string header_of(uint64_t length, FrameBits const& bits = {}) {
  auto const first = static_cast<uint8_t>(first_byte(bits.opcode, bits.fin) | bits.reserved << 4);
  char header[kHeaderBytesMax];
  size_t const n = bits.masked ? write_masked_header(header, first, length, bits.mask)
                               : write_header(header, first, length);
  return {header, n};
}

// Everything in order, as lines: "text 5/1 hello", "ping abc", "! 1002 reserved_bits".
struct Recorder {
  std::vector<std::string> events;
  uint64_t wire = 0;

  bool on_message(Message const& m) {
    std::string line(name_of(m.opcode));
    line += ' ' + std::to_string(m.wire_bytes) + '/' + std::to_string(m.frames);
    if (m.compressed) line += " deflated";
    line += ' ';
    line += m.payload;
    events.push_back(std::move(line));
    wire += m.wire_bytes;
    return true;
  }
  bool on_control(Opcode opcode, std::string_view payload) {
    events.push_back(std::string(name_of(opcode)) + ' ' + std::string(payload));
    return true;
  }
  void refuse(Violation const& why) {
    events.push_back("! " + std::to_string(why.code) + ' ' + std::string(why.error_type));
  }
};

struct ReadOptions {
  bool from_client = true;
  bool deflate = false;
  ReadLimits limits;
};

// Feeds `stream` in pieces that end at `cuts` and returns what was told; stops at a violation.
inline std::vector<std::string> read_in_pieces(std::string_view stream,
                                               std::vector<size_t> const& cuts,
                                               ReadOptions const& options = {}) {
  Recorder recorder;
  Inflater inflater;
  MessageReader reader(options.from_client, options.deflate);
  size_t done = 0;
  for (size_t i = 0; i <= cuts.size(); ++i) {
    size_t const end = i < cuts.size() ? cuts[i] : stream.size();
    std::string piece(stream.substr(done, end - done));  // of its own, for sanitizers to guard
    done = end;
    if (auto why =
            reader.consume(piece.data(), piece.size(), options.limits, &inflater, recorder)) {
      recorder.refuse(why);
      break;
    }
  }
  return recorder.events;
}

inline std::vector<std::string> read_whole(std::string_view stream,
                                           ReadOptions const& options = {}) {
  return read_in_pieces(stream, {}, options);
}

inline std::string deflated(std::string_view text, int window_bits = 15) {
  Deflater deflater;
  return std::string(deflater.deflate(text, window_bits));
}

}  // namespace wscope::net::ws::test
