#pragma once

#include <functional>

#include "app/config.h"
#include "base/result.h"

namespace wscope::app {

// Runs the whole program until SIGTERM or SIGINT, then drains. Calls `reload` on SIGHUP; what it
// returns replaces the configuration, and an error leaves the old one in force.
//
// Thread: main. Returns the exit code: 0 after a drain, 1 where something needed could not start
// (said on stderr with the setting to change).
int run_server(Config const& config, std::function<base::Result<Config>()> reload);

}  // namespace wscope::app
