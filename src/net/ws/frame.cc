#include "net/ws/frame.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "base/utf8.h"

namespace wscope::net::ws {

std::string_view name_of(Opcode opcode) {
  switch (opcode) {
    case Opcode::continuation:
      return "continuation";
    case Opcode::text:
      return "text";
    case Opcode::binary:
      return "binary";
    case Opcode::close:
      return "close";
    case Opcode::ping:
      return "ping";
    case Opcode::pong:
      return "pong";
  }
  return "reserved";
}

void append_frame(std::string& out, Opcode opcode, std::string_view payload, bool compressed) {
  char header[kHeaderBytesMax];
  size_t const n = write_header(header, first_byte(opcode, true, compressed), payload.size());
  out.append(header, n);
  out.append(payload);
}

std::string close_payload(uint16_t code, std::string_view reason) {
  if (code == kNoStatus) return {};
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 255)};
  while (!reason.empty()) {
    size_t const length = base::utf8_sequence_length(reason);
    if (length == 0 || payload.size() + length > kControlPayloadMax) break;
    payload.append(reason.substr(0, length));
    reason.remove_prefix(length);
  }
  return payload;
}

std::string accept_key(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<unsigned char const*>(text.data()), text.size(), digest);
  unsigned char base64[32];
  int const n = EVP_EncodeBlock(base64, digest, sizeof digest);
  return {reinterpret_cast<char const*>(base64), static_cast<size_t>(n)};
}

bool valid_key(std::string_view key) {
  // The decoder takes '=' anywhere, so the padding is looked at here.
  if (key.size() != 24 || key.find('=') != 22 || key[23] != '=') return false;
  unsigned char decoded[24];
  if (EVP_DecodeBlock(decoded, reinterpret_cast<unsigned char const*>(key.data()), 24) != 18) {
    return false;
  }
  // The 22nd character carries four bits of padding, which a proper encoder leaves at zero; others
  // are accepted, as servers commonly do.
  return true;
}

}  // namespace wscope::net::ws
