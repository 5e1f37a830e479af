// A fuzz target that must be found failing: it proves that the drivers see a crash.
//
// The seed in fuzz/corpus/canary_fuzz is one bit away from the input that aborts, so a driver that
// mutates at all reaches it soon; one that loses inputs or swallows crashes never reports it.
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size) {
  std::string_view const input(reinterpret_cast<char const*>(data), size);
  if (input.starts_with("wsc!")) std::abort();
  return 0;
}
