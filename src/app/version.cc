#include "app/version.h"

namespace wscope::app {

std::string_view version() { return WSCOPE_VERSION; }

}  // namespace wscope::app
