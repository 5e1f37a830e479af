#pragma once

#include "cli/command_line.h"

namespace CLI {
class App;
}

namespace wscope::cli {

// Adds `wscope up`. When it was chosen, sets `exit_code` to what `server` returned, or 2 where the
// configuration is wrong. Borrows all for as long as the command line is parsed.
void add_up_command(CLI::App& app, Server const& server, int& exit_code);

}  // namespace wscope::cli
