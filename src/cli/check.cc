#include "cli/check.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>

#include "app/config.h"

namespace wscope::cli {
namespace {

struct Command {
  app::Sources sources;
  bool print = false;
  bool keys = false;
};

int run_check(Command& command) {
  if (command.keys) {
    std::fputs(app::key_reference().c_str(), stdout);
    return 0;
  }
  if (command.sources.file.empty()) {
    std::fputs("wscope check: expected a FILE, or --keys\n", stderr);
    return 2;
  }
  command.sources.environment = app::process_environment();
  auto const loaded = app::load(command.sources);
  if (!loaded) {
    std::fprintf(stderr, "%s\n", loaded.error().what.c_str());
    return 2;
  }
  for (std::string const& warning : loaded->warnings) {
    std::fprintf(stderr, "wscope: %s\n", warning.c_str());
  }
  if (command.print) {
    std::fputs(app::to_yaml(loaded->config).c_str(), stdout);
  } else {
    std::printf("%s: ok\n", command.sources.file.c_str());
  }
  return 0;
}

}  // namespace

void add_check_command(CLI::App& app, int& exit_code) {
  CLI::App* const check = app.add_subcommand("check", "check a configuration file");
  auto const command = std::make_shared<Command>();
  check->add_option("FILE", command->sources.file, "the YAML file")->type_name("");
  check->add_flag("--print", command->print,
                  "print the configuration in force: file, environment, defaults (no secrets)");
  check->add_flag("--keys", command->keys, "print a table of all keys instead");
  check->footer("Exit status: 0 fine, 2 something is wrong: FILE:LINE: KEY: what was expected.");
  check->callback([command, &exit_code] { exit_code = run_check(*command); });
}

}  // namespace wscope::cli
