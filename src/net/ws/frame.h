#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

// WebSocket frames as bytes (RFC 6455, section 5.2). Pure functions.
namespace wscope::net::ws {

enum class Opcode : uint8_t {
  continuation = 0,
  text = 1,
  binary = 2,
  close = 8,
  ping = 9,
  pong = 10,
};

inline bool is_control(Opcode opcode) { return (static_cast<uint8_t>(opcode) & 8) != 0; }
// "continuation", "text", …; "reserved" for any other value.
std::string_view name_of(Opcode opcode);

// Close codes (RFC 6455, section 7.4.1, and the IANA registry).
enum CloseCode : uint16_t {
  kNormal = 1000,
  kGoingAway = 1001,
  kProtocolError = 1002,
  kUnsupported = 1003,
  kNoStatus = 1005,  // never on the wire: a close frame without a code
  kAbnormal = 1006,  // never on the wire: the connection ended without a close frame
  kInvalidPayload = 1007,
  kPolicy = 1008,
  kTooBig = 1009,
  kInternalError = 1011,
  kServiceRestart = 1012,
  kTryAgainLater = 1013,
  kBadGateway = 1014,
};

// True if an endpoint may send `code` in a close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999.
inline bool close_code_sendable(uint16_t code) {
  if (code < 1000) return false;
  if (code <= 1014) return code != 1004 && code != kNoStatus && code != kAbnormal;
  return code >= 3000 && code <= 4999;
}

inline constexpr size_t kHeaderBytesMax = 14;
inline constexpr size_t kControlPayloadMax = 125;

struct FrameHeader {
  uint64_t length;   // payload bytes
  uint32_t mask;     // the four key bytes in memory order; 0 if not masked
  uint8_t bytes;     // length of the header itself
  uint8_t reserved;  // RSV1 = 4, RSV2 = 2, RSV3 = 1
  Opcode opcode;     // may be a reserved value
  bool fin;
  bool masked;
};

enum class HeaderState : uint8_t { complete, need_more, bad_length };

// Reads a header from the `n` bytes at `data`. bad_length: the 64-bit length has its top bit set,
// or the length was not written in the shortest form, both of which section 5.2 forbids.
inline HeaderState parse_header(char const* data, size_t n, FrameHeader& out) {
  if (n < 2) return HeaderState::need_more;
  auto const b0 = static_cast<uint8_t>(data[0]);
  auto const b1 = static_cast<uint8_t>(data[1]);
  out.fin = (b0 & 0x80) != 0;
  out.reserved = static_cast<uint8_t>((b0 >> 4) & 7);
  out.opcode = static_cast<Opcode>(b0 & 15);
  out.masked = (b1 & 0x80) != 0;
  out.mask = 0;
  size_t at = 2;
  uint64_t length = b1 & 0x7f;
  if (length == 126) {
    if (n < 4) return HeaderState::need_more;
    uint16_t wide;
    std::memcpy(&wide, data + 2, 2);
    length = __builtin_bswap16(wide);
    if (length < 126) return HeaderState::bad_length;
    at = 4;
  } else if (length == 127) {
    if (n < 10) return HeaderState::need_more;
    uint64_t wide;
    std::memcpy(&wide, data + 2, 8);
    length = __builtin_bswap64(wide);
    if (length < 65536 || (length >> 63) != 0) return HeaderState::bad_length;
    at = 10;
  }
  if (out.masked) {
    if (n < at + 4) return HeaderState::need_more;
    std::memcpy(&out.mask, data + at, 4);
    at += 4;
  }
  out.length = length;
  out.bytes = static_cast<uint8_t>(at);
  return HeaderState::complete;
}

// Bytes of an unmasked header for `length`.
inline size_t header_bytes(uint64_t length) { return length < 126 ? 2 : length < 65536 ? 4 : 10; }

// Writes an unmasked header (server to client) to `out`, which has kHeaderBytesMax bytes of room.
// `first` is FIN, RSV and opcode; use first_byte(). Returns its length.
inline size_t write_header(char* out, uint8_t first, uint64_t length) {
  out[0] = static_cast<char>(first);
  if (length < 126) {
    out[1] = static_cast<char>(length);
    return 2;
  }
  if (length < 65536) {
    out[1] = 126;
    uint16_t const wide = __builtin_bswap16(static_cast<uint16_t>(length));
    std::memcpy(out + 2, &wide, 2);
    return 4;
  }
  out[1] = 127;
  uint64_t const wide = __builtin_bswap64(length);
  std::memcpy(out + 2, &wide, 8);
  return 10;
}

inline uint8_t first_byte(Opcode opcode, bool fin = true, bool compressed = false) {
  return static_cast<uint8_t>(static_cast<uint8_t>(opcode) | (fin ? 0x80 : 0) |
                              (compressed ? 0x40 : 0));
}

// Writes a masked header (client to server); `mask` in memory order.
inline size_t write_masked_header(char* out, uint8_t first, uint64_t length, uint32_t mask) {
  size_t const at = write_header(out, first, length);
  out[1] = static_cast<char>(out[1] | '\x80');
  std::memcpy(out + at, &mask, 4);
  return at + 4;
}

// XORs `n` bytes with the mask, starting at key byte `phase` % 4 (section 5.3). In place; masking
// and unmasking are the same.
inline void apply_mask(char* data, size_t n, uint32_t mask, size_t phase = 0) {
  uint32_t const key = std::rotr(mask, static_cast<int>(8 * (phase & 3)));
  uint64_t const wide = (uint64_t{key} << 32) | key;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t word;
    std::memcpy(&word, data + i, 8);
    word ^= wide;
    std::memcpy(data + i, &word, 8);
  }
  for (; i < n; ++i) data[i] = static_cast<char>(data[i] ^ static_cast<char>(key >> (8 * (i & 3))));
}

// Appends a whole unmasked frame.
void append_frame(std::string& out, Opcode opcode, std::string_view payload,
                  bool compressed = false);
// A close frame's payload: the code in network order and the reason, cut at a UTF-8 boundary to fit
// 125 bytes. Code kNoStatus gives an empty payload.
std::string close_payload(uint16_t code, std::string_view reason);

// The Sec-WebSocket-Accept value for a client's Sec-WebSocket-Key (section 4.2.2).
std::string accept_key(std::string_view key);
// True if `key` is base64 of exactly 16 bytes.
bool valid_key(std::string_view key);

}  // namespace wscope::net::ws
