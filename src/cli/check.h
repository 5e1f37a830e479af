#pragma once

namespace CLI {
class App;
}

namespace wscope::cli {

// Adds `wscope check`. When it was chosen, sets `exit_code`: 0, or 2 where the file is wrong.
// Borrows both for as long as the command line is parsed.
void add_check_command(CLI::App& app, int& exit_code);

}  // namespace wscope::cli
