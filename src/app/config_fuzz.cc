// Any bytes as a configuration file: a value or faults, never a crash; and what was read prints as
// a file that reads back as the same values.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "app/config.h"

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size) {
  using namespace wscope;
  app::Sources sources;
  std::string_view text(reinterpret_cast<char const*>(data), size);
  // A last line that starts with "env " is a variable: the other way in.
  size_t const cut = text.rfind("\nenv ");
  if (cut != std::string_view::npos) {
    sources.environment.emplace_back(text.substr(cut + 5));
    text = text.substr(0, cut);
  }
  auto const loaded = app::load_text(text, "f.yaml", sources);
  if (!loaded) {
    if (loaded.error().what.empty()) std::abort();
    return 0;
  }
  // A secret prints as ***, which is a token too, so the printed form is compared twice printed.
  std::string const printed = app::to_yaml(loaded->config);
  if (!loaded->config.observer.token_file.empty()) return 0;
  auto const again = app::load_text(printed, "printed.yaml", {});
  if (!again) {
    std::fprintf(stderr, "%s\n%s\n", again.error().what.c_str(), printed.c_str());
    std::abort();
  }
  if (app::to_yaml(again->config) != printed) std::abort();
  return 0;
}
