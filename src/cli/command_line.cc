#include "cli/command_line.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>

#include "base/text.h"
#include "cli/check.h"
#include "cli/load.h"
#include "cli/up.h"
#include "cli/version.h"

namespace wscope::cli {
namespace {

constexpr char kFooter[] =
    "Examples:\n"
    "  wscope up                                    built-in rooms and echo on 127.0.0.1:8080\n"
    "  wscope up --upstream http://127.0.0.1:8000   in front of a backend\n"
    "  wscope load ws://127.0.0.1:8080/echo         measure it\n"
    "The page is on http://127.0.0.1:9600 while it runs. `wscope COMMAND --help` tells more.";

CLI::App const& chosen(CLI::App const& app) {
  auto const commands = app.get_subcommands();
  return commands.empty() ? app : *commands.front();
}

std::vector<std::string> words_of(CLI::App const& app, bool options) {
  std::vector<std::string> words;
  if (options) {
    for (CLI::Option const* option : app.get_options()) {
      for (std::string const& name : option->get_lnames()) words.push_back("--" + name);
    }
  } else {
    for (CLI::App const* command : app.get_subcommands([](CLI::App const*) { return true; })) {
      words.push_back(command->get_name());
    }
  }
  return words;
}

// What was not understood, with the nearest thing that is.
std::string describe_unknown(CLI::App const& app, std::string const& word) {
  bool const option = word.starts_with('-');
  std::string const name = word.substr(0, option ? word.find('=') : std::string::npos);
  std::vector<std::string> const words = words_of(app, option);
  std::vector<std::string_view> const known(words.begin(), words.end());
  std::string_view const near = base::nearest(name, known);
  bool const top = app.get_parent() == nullptr;
  std::string out =
      option ? "unknown option " : (top ? "unknown command " : "unexpected argument ");
  out += name;
  if (!near.empty()) out += "; did you mean '" + std::string(near) + "'?";
  return out;
}

int refuse(CLI::App const& app, CLI::ParseError const& error) {
  CLI::App const& command = chosen(app);
  bool const top = &command == &app;
  std::string const name = top ? "wscope" : "wscope " + command.get_name();
  std::vector<std::string> const left = command.remaining();
  std::string const what = dynamic_cast<CLI::ExtrasError const*>(&error) != nullptr && !left.empty()
                               ? describe_unknown(command, left.front())
                               : std::string(error.what());
  std::fprintf(stderr, "%s: %s\n`%s --help` shows what there is.\n", name.c_str(), what.c_str(),
               name.c_str());
  return 2;
}

}  // namespace

int run(std::vector<std::string> arguments, Server const& server) {
  int exit_code = 0;
  CLI::App app("An observability gateway for WebSocket services.", "wscope");
  app.footer(kFooter);
  app.get_formatter()->column_width(28);
  app.set_help_flag("-h,--help", "print this");
  add_up_command(app, server, exit_code);
  add_load_command(app, exit_code);
  add_check_command(app, exit_code);
  add_version_command(app, exit_code);
  // The library takes them from the back.
  std::reverse(arguments.begin(), arguments.end());
  try {
    app.parse(std::move(arguments));
  } catch (CLI::ParseError const& error) {
    if (error.get_exit_code() == 0) return app.exit(error);
    return refuse(app, error);
  }
  if (app.get_subcommands().empty()) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  return exit_code;
}

}  // namespace wscope::cli
