#include "net/ws/deflate.h"

#include <zlib.h>

#include <algorithm>

namespace wscope::net::ws {
namespace {

constexpr size_t kBufferKept = 256 << 10;        // what an idle loop holds on to
constexpr size_t kRatioGrace = size_t{1} << 20;  // below this output no ratio is judged
constexpr int kAfterBlock = 128;                 // zlib's data_type between two blocks
constexpr char kTail[] = {0, 0, '\xff', '\xff'};

Bytef* bytes_of(char const* data) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(data));  // zlib's next_in predates const
}

}  // namespace

Inflater::Inflater() : stream_(std::make_unique<z_stream_s>()) {
  WSCOPE_CHECK(::inflateInit2(stream_.get(), -15) == Z_OK);
}

Inflater::~Inflater() { ::inflateEnd(stream_.get()); }

base::Result<std::string_view> Inflater::inflate(std::string_view compressed, uint64_t bytes_max,
                                                 uint32_t ratio_max) {
  ::inflateReset(stream_.get());
  if (out_.size() > kBufferKept) out_ = {};
  size_t made = 0;
  bool ended = compressed.empty();
  std::string_view const inputs[2] = {compressed, {kTail, sizeof kTail}};
  for (std::string_view const input : inputs) {
    stream_->next_in = bytes_of(input.data());
    stream_->avail_in = static_cast<uInt>(input.size());
    for (bool more = true; more;) {
      if (made == out_.size()) out_.resize(std::max<size_t>(16384, 2 * out_.size()));
      stream_->next_out = bytes_of(out_.data() + made);
      stream_->avail_out = static_cast<uInt>(out_.size() - made);
      int const code = ::inflate(stream_.get(), Z_SYNC_FLUSH);
      made = out_.size() - stream_->avail_out;
      if (made > bytes_max || (made > kRatioGrace && made / ratio_max > compressed.size())) {
        return base::fail(base::Errc::over_limit, "message inflates past its limit");
      }
      if (code == Z_STREAM_END) {
        // A final block in the middle of a message: what follows starts a new stream (7.2.3.4).
        ::inflateReset(stream_.get());
        more = stream_->avail_in > 0;
        ended = !more;
        continue;
      }
      if (code != Z_OK && code != Z_BUF_ERROR) {
        return base::fail(base::Errc::corrupt, "payload is not a deflate stream");
      }
      more = stream_->avail_out == 0 || (stream_->avail_in > 0 && code == Z_OK);
    }
    // Some senders leave out the empty block after a final one, or in an empty message.
    if (ended) return std::string_view(out_.data(), made);
  }
  // The tail completes the last block, else part of the message is missing.
  if ((stream_->data_type & kAfterBlock) == 0) {
    return base::fail(base::Errc::corrupt, "deflate stream is cut off");
  }
  return std::string_view(out_.data(), made);
}

Deflater::Deflater() = default;

Deflater::~Deflater() {
  for (auto& stream : streams_) {
    if (stream) ::deflateEnd(stream.get());
  }
}

std::string_view Deflater::deflate(std::string_view message, int window_bits) {
  auto& stream = streams_[static_cast<size_t>(std::clamp(window_bits, 9, 15))];
  if (!stream) {
    stream = std::make_unique<z_stream_s>();
    // Level 3: most of the gain at a third of the default's cost.
    WSCOPE_CHECK(::deflateInit2(stream.get(), 3, Z_DEFLATED, -std::clamp(window_bits, 9, 15), 8,
                                Z_DEFAULT_STRATEGY) == Z_OK);
  } else {
    ::deflateReset(stream.get());
  }
  out_.resize(::deflateBound(stream.get(), static_cast<uLong>(message.size())) + 16);
  stream->next_in = bytes_of(message.data());
  stream->avail_in = static_cast<uInt>(message.size());
  stream->next_out = bytes_of(out_.data());
  stream->avail_out = static_cast<uInt>(out_.size());
  WSCOPE_CHECK(::deflate(stream.get(), Z_SYNC_FLUSH) == Z_OK && stream->avail_in == 0 &&
               stream->avail_out > 0);
  size_t made = out_.size() - stream->avail_out;
  // The sync flush ends in 00 00 ff ff, which the receiver adds back.
  WSCOPE_CHECK(made >= 4);
  made -= 4;
  if (made == 0) out_[made++] = 0;  // an empty message is one empty block (7.2.3.6)
  return {out_.data(), made};
}

}  // namespace wscope::net::ws
