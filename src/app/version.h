#pragma once

#include <string_view>

namespace wscope::app {

// "0.1.0".
// Thread: any.
std::string_view version();

}  // namespace wscope::app
