// Any bytes as frames, from client and server, with and without compression, in pieces that the
// input itself chooses: no crash, no bound passed, the same verdict as in one piece, and the
// relay's scanner agreeing with the reader about streams that both take.
//
// First byte: bit 0 from a client, bit 1 permessage-deflate. Second byte: seed of the pieces.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/ws/reader.h"
#include "net/ws/scanner.h"

namespace {

using namespace wscope::net::ws;  // NOLINT(google-build-using-namespace)

constexpr ReadLimits kLimits{.message_bytes = 1024, .fragments = 5, .inflation_ratio = 200};

struct Told {
  uint64_t messages = 0;
  uint64_t wire = 0;
  uint64_t controls = 0;
  uint64_t hash = 0xcbf29ce484222325;
  bool bad_close = false;
  Violation why;

  void mix(std::string_view bytes) {
    for (char const c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    hash = (hash ^ bytes.size()) * 0x100000001b3;
  }
  bool on_message(Message const& m) {
    WSCOPE_CHECK(m.opcode == Opcode::text || m.opcode == Opcode::binary);
    WSCOPE_CHECK(m.payload.size() <= kLimits.message_bytes);
    WSCOPE_CHECK(m.frames >= 1 && m.frames <= kLimits.fragments);
    WSCOPE_CHECK(m.compressed || m.wire_bytes >= m.payload.size() + 2 * m.frames);
    wscope::base::Utf8Checker text;
    WSCOPE_CHECK(m.opcode == Opcode::binary || (text.feed(m.payload) && text.complete()));
    ++messages;
    wire += m.wire_bytes;
    mix(m.payload);
    return true;
  }
  bool on_control(Opcode opcode, std::string_view payload) {
    WSCOPE_CHECK(is_control(opcode) && payload.size() <= kControlPayloadMax);
    ++controls;
    mix(payload);
    uint16_t code = 0;
    if (opcode == Opcode::close) {
      bad_close = bad_close || read_close(payload, code).code == kProtocolError;
    }
    return true;
  }
};

struct Scanned {
  uint64_t messages = 0;
  uint64_t wire = 0;
  uint64_t controls = 0;
  uint64_t closes = 0;
  size_t passed = 0;
  Violation why;
  bool boundary = false;

  void on_frame(Opcode opcode, Opcode message, uint64_t payload, size_t header) {
    WSCOPE_CHECK(payload <= kLimits.message_bytes && header <= kHeaderBytesMax);
    WSCOPE_CHECK(is_control(message) == is_control(opcode));
    controls += is_control(opcode);
  }
  void on_message(Opcode, uint64_t payload, uint64_t on_wire, uint32_t frames, bool) {
    WSCOPE_CHECK(payload <= kLimits.message_bytes && frames <= kLimits.fragments);
    ++messages;
    wire += on_wire;
  }
  void on_close(uint16_t code) {
    WSCOPE_CHECK(code == kNoStatus || close_code_sendable(code));
    ++closes;
  }
};

// The length of the next piece; with seed 0 all that is left.
size_t next_piece(uint32_t& state, size_t left) {
  if (state == 0) return left;
  state = state * 1664525 + 1013904223;
  return std::min<size_t>(left, (state >> 24) % 2 == 0 ? 1 : 1 + (state >> 16) % 40);
}

Told read(std::string_view stream, bool from_client, bool deflate, uint32_t seed) {
  Told told;
  Inflater inflater;
  MessageReader reader(from_client, deflate);
  while (!stream.empty()) {
    std::string piece(stream.substr(0, next_piece(seed, stream.size())));
    stream.remove_prefix(piece.size());
    told.why = reader.consume(piece.data(), piece.size(), kLimits, &inflater, told);
    if (told.why) return told;
    WSCOPE_CHECK(reader.held_bytes() <= 4096);
  }
  return told;
}

Scanned scan(std::string_view stream, bool from_client, bool deflate, uint32_t seed) {
  Scanned told;
  FrameScanner scanner(from_client, deflate);
  while (!stream.empty() && !told.why) {
    std::string const piece(stream.substr(0, next_piece(seed, stream.size())));
    stream.remove_prefix(piece.size());
    size_t passed = 0;
    told.why = scanner.feed(piece.data(), piece.size(), kLimits, told, passed);
    WSCOPE_CHECK(passed <= piece.size() && (told.why || passed == piece.size()));
    told.passed += passed;
  }
  told.boundary = scanner.at_boundary();
  return told;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size) {
  if (size < 2) return 0;
  bool const from_client = (data[0] & 1) != 0;
  bool const deflate = (data[0] & 2) != 0;
  std::string_view const stream(reinterpret_cast<char const*>(data) + 2, size - 2);
  uint32_t const seed = data[1];

  Told const whole = read(stream, from_client, deflate, 0);
  Told const pieces = read(stream, from_client, deflate, seed);
  WSCOPE_CHECK(whole.why.code == pieces.why.code && whole.why.error_type == pieces.why.error_type);
  WSCOPE_CHECK(whole.messages == pieces.messages && whole.wire == pieces.wire);
  WSCOPE_CHECK(whole.controls == pieces.controls && whole.hash == pieces.hash);

  Scanned const scanned = scan(stream, from_client, deflate, 0);
  Scanned const split = scan(stream, from_client, deflate, seed);
  WSCOPE_CHECK(scanned.why.error_type == split.why.error_type);
  WSCOPE_CHECK(scanned.messages == split.messages && scanned.wire == split.wire);
  // Where the offending frame came in pieces, more of it had gone on, and nothing may follow it.
  WSCOPE_CHECK(split.passed >= scanned.passed);
  WSCOPE_CHECK(!split.why || (split.passed == scanned.passed) == split.boundary);
  if (scanned.why && !deflate) WSCOPE_CHECK(whole.why || whole.bad_close);
  if (!whole.why && !whole.bad_close) {
    WSCOPE_CHECK(!scanned.why);
    WSCOPE_CHECK(scanned.messages == whole.messages && scanned.wire == whole.wire);
    if (scanned.boundary) WSCOPE_CHECK(scanned.controls == whole.controls);
  }
  return 0;
}
