#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/config.h"
#include "base/result.h"

namespace wscope::cli {

// Runs the program with a configuration until it is told to stop and returns the exit code; see
// app::run_server, which this is but in tests.
using Server = std::function<int(app::Config const&, std::function<base::Result<app::Config>()>)>;

// The whole program for arguments without the program's name. Returns the exit code: 0, 1 where the
// world was against it, 2 where the command line or the configuration is wrong.
//
// Thread: main.
int run(std::vector<std::string> arguments, Server const& server);

}  // namespace wscope::cli
