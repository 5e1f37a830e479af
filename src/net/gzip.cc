#include "net/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace wscope::net {

using base::Errc;
using base::fail;
using base::Result;

namespace {

constexpr int kGzipWindow = 15 + 16;     // zlib: 32 KiB window, gzip framing
constexpr size_t kPieceBytes = 1 << 30;  // zlib counts in 32 bits

Bytef* as_bytes(char* p) { return reinterpret_cast<Bytef*>(p); }

// The weight of one element of a list, "gzip;q=0.5"; 1 without one, 0 if it is not a number.
double weight_of(std::string_view element) {
  size_t const semicolon = element.find(';');
  if (semicolon == std::string_view::npos) return 1;
  std::string_view const parameter = base::trim(element.substr(semicolon + 1));
  if (!parameter.starts_with("q=") && !parameter.starts_with("Q=")) return 1;
  return base::parse_double(parameter.substr(2)).value_or(0);
}

}  // namespace

Result<std::string> gzip(std::string_view data, int level) {
  z_stream stream{};
  if (::deflateInit2(&stream, level, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return fail(Errc::io, "gzip: no memory");
  }
  std::string out(::deflateBound(&stream, static_cast<uLong>(data.size())), '\0');
  size_t read = 0;
  int state = Z_OK;
  while (state == Z_OK) {
    size_t const take = std::min(data.size() - read, kPieceBytes);
    stream.next_in = as_bytes(const_cast<char*>(data.data() + read));
    stream.avail_in = static_cast<uInt>(take);
    size_t const room = std::min(out.size() - stream.total_out, kPieceBytes);
    stream.next_out = as_bytes(out.data() + stream.total_out);
    stream.avail_out = static_cast<uInt>(room);
    state = ::deflate(&stream, read + take == data.size() ? Z_FINISH : Z_NO_FLUSH);
    read += take - stream.avail_in;
  }
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (state != Z_STREAM_END) return fail(Errc::io, "gzip: compression failed");
  return out;
}

Result<std::string> gunzip(std::string_view data, size_t bytes_max) {
  z_stream stream{};
  if (data.size() > kPieceBytes) return fail(Errc::over_limit, "gunzip: input over 1 GiB");
  if (::inflateInit2(&stream, kGzipWindow) != Z_OK) return fail(Errc::io, "gunzip: no memory");
  std::string out;
  std::array<char, 16 << 10> piece;
  stream.next_in = as_bytes(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uInt>(data.size());
  int state = Z_OK;
  while (state == Z_OK && out.size() <= bytes_max) {
    stream.next_out = as_bytes(piece.data());
    stream.avail_out = piece.size();
    state = ::inflate(&stream, Z_NO_FLUSH);
    out.append(piece.data(), piece.size() - stream.avail_out);
  }
  ::inflateEnd(&stream);
  if (out.size() > bytes_max) {
    return fail(Errc::over_limit, "gunzip: more than " + std::to_string(bytes_max) + " bytes");
  }
  if (state != Z_STREAM_END) return fail(Errc::corrupt, "gunzip: not gzip, or cut off");
  return out;
}

bool accepts_gzip(std::string_view accept_encoding) {
  double gzip_weight = -1;
  double any_weight = -1;
  for (std::string_view const element : base::split(accept_encoding, ',')) {
    std::string_view const name = base::trim(element.substr(0, element.find(';')));
    if (base::equals_ignoring_case(name, "gzip") || base::equals_ignoring_case(name, "x-gzip")) {
      gzip_weight = weight_of(element);
    } else if (name == "*") {
      any_weight = weight_of(element);
    }
  }
  return gzip_weight >= 0 ? gzip_weight > 0 : any_weight > 0;
}

}  // namespace wscope::net
