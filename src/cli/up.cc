#include "cli/up.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>

namespace wscope::cli {
namespace {

// A flag of `up` and the key of the configuration that it sets.
struct ValueFlag {
  char const* name;
  char const* key;
  char const* type;
  char const* about;
};
constexpr ValueFlag kValueFlags[] = {
    {"--listen", "gateway.listen", "ADDR:PORT", "where clients connect (127.0.0.1:8080)"},
    {"--observer", "observer.listen", "ADDR:PORT", "page, API and metrics (127.0.0.1:9600)"},
    {"--upstream", "gateway.upstream", "URL", "the backend; without it: built-in rooms and echo"},
    {"--data", "data", "DIR", "folder for everything that is kept (data)"},
    {"--otlp", "trace.otlp", "URL", "send spans there, as http://127.0.0.1:4318"},
    {"--trace-ratio", "trace.ratio", "R", "share of messages recorded as spans, 0 to 1 (1)"},
    {"--loops", "loops", "N", "loop threads; 0 = one fewer than cores (0)"},
    {"--log-level", "log.level", "LEVEL", "DEBUG, INFO, WARNING, ERROR or CRITICAL (INFO)"},
    {"--telemetry", "telemetry", "on|off", "measure the message path (on)"},
    {"--tls-cert", "gateway.tls.cert", "FILE", "certificate chain for clients, PEM"},
    {"--tls-key", "gateway.tls.key", "FILE", "its private key, PEM"},
    {"--upstream-ca", "gateway.upstream_ca", "FILE", "CA of an https backend, PEM"},
};

// A flag without a value, and what it sets.
struct SwitchFlag {
  char const* name;
  char const* key;
  char const* value;
  char const* about;
};
constexpr SwitchFlag kSwitchFlags[] = {
    {"--log-messages", "log.loggers", "websocket.message=DEBUG", "a log line for every message"},
    {"--no-console", "log.console", "false", "no log lines on stderr"},
    {"--insecure", "observer.insecure", "true",
     "allow an observer beyond loopback without TLS and token"},
};

int run_up(app::Sources sources, Server const& server) {
  sources.environment = app::process_environment();
  auto const loaded = app::load(sources);
  if (!loaded) {
    std::fprintf(stderr, "%s\n", loaded.error().what.c_str());
    return 2;
  }
  for (std::string const& warning : loaded->warnings) {
    std::fprintf(stderr, "wscope: %s\n", warning.c_str());
  }
  return server(loaded->config, [sources]() -> base::Result<app::Config> {
    WSCOPE_TRY(again, app::load(sources));
    return std::move(again.config);
  });
}

}  // namespace

void add_up_command(CLI::App& app, Server const& server, int& exit_code) {
  CLI::App* const up = app.add_subcommand("up", "run the gateway and its observer");
  auto const sources = std::make_shared<app::Sources>();
  up->add_option("--config", sources->file, "YAML file; SIGHUP reads it again")->type_name("FILE");
  for (ValueFlag const& flag : kValueFlags) {
    up->add_option_function<std::string>(
          flag.name,
          [sources, &flag](std::string const& value) {
            sources->flags.push_back({flag.key, value, flag.name});
          },
          flag.about)
        ->type_name(flag.type);
  }
  for (SwitchFlag const& flag : kSwitchFlags) {
    up->add_flag_callback(
        flag.name,
        [sources, &flag] {
          sources->flags.push_back({flag.key, flag.value, flag.name});
        },
        flag.about);
  }
  up->footer(
      "Environment variables override the file, flags override both: WSCOPE_GATEWAY_LISTEN,\n"
      "WSCOPE_OBSERVER_TOKEN, …; `wscope check --keys` lists them all.\n"
      "Exit status: 0 after SIGTERM or SIGINT, 1 could not start, 2 wrong configuration.");
  up->callback([sources, &server, &exit_code] { exit_code = run_up(*sources, server); });
}

}  // namespace wscope::cli
