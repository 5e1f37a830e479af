// traceparent and tracestate from an untrusted handshake: what is accepted must survive being
// written and read again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "telemetry/trace_context.h"

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size) {
  using namespace wscope::telemetry;
  std::string_view const input(reinterpret_cast<char const*>(data), size);
  if (auto const parent = parse_traceparent(input)) {
    if (!parent->trace.valid() || !parent->span.valid()) std::abort();
    if (parse_traceparent(format_traceparent(*parent)) != parent) std::abort();
  }
  std::string const state = clean_tracestate(input);
  if (state.size() > kTraceStateMax || clean_tracestate(state) != state) std::abort();
  return 0;
}
