#include "cli/version.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <string>

#include "app/version.h"

namespace wscope::cli {

void add_version_command(CLI::App& app, int& exit_code) {
  std::string const line = "wscope " + std::string(app::version());
  app.set_version_flag("--version", line, "print the version");
  app.add_subcommand("version", "print the version")->callback([line, &exit_code] {
    std::printf("%s\n", line.c_str());
    exit_code = 0;
  });
}

}  // namespace wscope::cli
