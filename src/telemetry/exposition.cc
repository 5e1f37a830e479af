#include "telemetry/exposition.h"

#include <zlib.h>

#include "telemetry/exposition_formats.h"

namespace wscope::telemetry {

std::string_view content_type(Format format) {
  switch (format) {
    case Format::text004:
      return "text/plain; version=0.0.4; charset=utf-8";
    case Format::openmetrics100:
      return "application/openmetrics-text; version=1.0.0; charset=utf-8";
    case Format::protobuf_delimited:
      return "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; "
             "encoding=delimited";
  }
  return "";
}

void expose(Registry const& registry, Format format, std::string& out) {
  auto const families = registry.collect(format != Format::text004);
  if (format == Format::protobuf_delimited) {
    write_protobuf(families, out);
  } else {
    write_text(families, format == Format::openmetrics100, out);
  }
}

base::Result<std::string> gzip(std::string_view bytes) {
  z_stream stream{};
  constexpr int kGzipWindow = 15 + 16;  // 16 asks for a gzip head and tail
  if (::deflateInit2(&stream, 1, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return base::fail(base::Errc::io, "compress: out of memory");
  }
  std::string out(::deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  int const state = ::deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  ::deflateEnd(&stream);
  if (state != Z_STREAM_END) return base::fail(base::Errc::io, "compress: input too large");
  return out;
}

}  // namespace wscope::telemetry
