#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct z_stream_s;

// permessage-deflate (RFC 7692) without context take-over in either direction: one compressor and
// one decompressor serve all connections of a loop, and an idle connection keeps no window.
namespace wscope::net::ws {

// Thread: one loop.
class Inflater {
 public:
  Inflater();
  ~Inflater();
  Inflater(Inflater const&) = delete;
  Inflater& operator=(Inflater const&) = delete;

  // Inflates one whole message (section 7.2.2) into a buffer that stays valid until the next call.
  // Returns over_limit if the output passes `bytes_max`, or passes 1 MiB at more than `ratio_max`
  // times its input (a bomb is stopped after a millisecond, not after 16 MiB); corrupt if the input
  // is no deflate stream or ends before one does.
  base::Result<std::string_view> inflate(std::string_view compressed, uint64_t bytes_max,
                                         uint32_t ratio_max);

 private:
  std::unique_ptr<z_stream_s> stream_;
  std::string out_;
};

// Thread: one loop.
class Deflater {
 public:
  Deflater();
  ~Deflater();
  Deflater(Deflater const&) = delete;
  Deflater& operator=(Deflater const&) = delete;

  // Compresses one message (section 7.2.1) with a window of 2^window_bits (9 to 15) into a buffer
  // that stays valid until the next call.
  std::string_view deflate(std::string_view message, int window_bits);

 private:
  std::array<std::unique_ptr<z_stream_s>, 16> streams_;
  std::string out_;
};

}  // namespace wscope::net::ws
