// Accept and Accept-Encoding (apart by the first newline) of an untrusted scrape.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "telemetry/exposition.h"

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size) {
  using namespace wscope::telemetry;
  std::string_view const input(reinterpret_cast<char const*>(data), size);
  size_t const line = input.find('\n');
  std::string_view const accept = input.substr(0, line);
  std::string_view const encoding =
      line == std::string_view::npos ? std::string_view() : input.substr(line + 1);
  Negotiated const got = negotiate(accept, encoding);
  if (got.content_type != content_type(got.format)) std::abort();
  if (encoding.empty() && got.gzip) std::abort();
  return 0;
}
