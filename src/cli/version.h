#pragma once

namespace CLI {
class App;
}

namespace wscope::cli {

// Adds `wscope version` and `wscope --version`; sets `exit_code` to 0.
void add_version_command(CLI::App& app, int& exit_code);

}  // namespace wscope::cli
