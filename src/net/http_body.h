#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/http_head.h"

namespace wscope::net {

// Finds the end of a message's body as its bytes pass (RFC 9112, sections 6 and 7), and takes the
// chunk framing off where asked to. Strict: chunk sizes of at most 15 hex digits, CRLF only,
// extensions and trailers bounded.
//
// Thread: one. Copies nothing unless `payload` is given.
class BodyScanner {
 public:
  static constexpr size_t kExtensionBytesMax = 4096;  // of one chunk
  static constexpr size_t kTrailerBytesMax = 8192;    // of all trailer fields

  // `length` counts for Framing::length only.
  void start(Framing framing, uint64_t length);

  // How many of `bytes` belong to this body, framing included; all of them unless the body ends or
  // is bad there. Appends the payload among them to `payload` if that is not null.
  size_t feed(std::string_view bytes, std::string* payload = nullptr);

  // The body is complete. With Framing::until_close it never is: the end of the connection ends it.
  bool done() const { return state_ == State::done; }
  // The framing is broken: what follows can not be told from the body.
  bool bad() const { return state_ == State::bad; }
  // Payload seen so far, without framing.
  uint64_t payload_bytes() const { return payload_bytes_; }

 private:
  enum class State : uint8_t {
    done,
    bad,
    raw,
    until_close,
    size,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer_line,
    trailer_lf,
    end_lf,
  };
  size_t feed_chunked(std::string_view bytes, std::string* payload);
  size_t take(std::string_view bytes, std::string* payload);
  State step(char c);
  State step_size(char c);

  State state_ = State::done;
  uint8_t digits_ = 0;
  uint16_t overhead_ = 0;  // bytes of this extension or of the trailer
  uint64_t left_ = 0;      // of the body or of this chunk
  uint64_t payload_bytes_ = 0;
};

}  // namespace wscope::net
