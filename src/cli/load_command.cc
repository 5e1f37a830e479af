#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>

#include "base/text.h"
#include "cli/load.h"

namespace wscope::cli {

namespace {

struct Command {
  LoadOptions options;
  bool json = false;
  bool progress = false;
};

// "10", "0.5" (seconds), "250ms", "1m30s".
std::string read_duration(std::string const& text, int64_t& out_ns) {
  if (auto const seconds = base::parse_double(text);
      seconds && std::isfinite(*seconds) && std::abs(*seconds) < 1e9) {
    out_ns = static_cast<int64_t>(*seconds * static_cast<double>(base::kSecond));
    return {};
  }
  if (auto const ns = base::parse_duration_ns(text)) {
    out_ns = *ns;
    return {};
  }
  return "expected seconds or a duration as 250ms, 1m30s; found '" + text + "'";
}

CLI::Option* add_duration(CLI::App& app, std::string const& name, int64_t& out_ns,
                          std::string const& about) {
  return app
      .add_option_function<std::string>(
          name,
          [&out_ns, name](std::string const& text) {
            std::string const wrong = read_duration(text, out_ns);
            if (!wrong.empty()) throw CLI::ValidationError(name, wrong);
          },
          about)
      ->type_name("SECONDS");
}

void add_traffic_options(CLI::App& app, LoadOptions& o) {
  app.add_option("url", o.url, "ws://HOST:PORT/PATH or wss://…")->required()->type_name("");
  std::map<std::string, LoadMode> const modes{{"echo", LoadMode::echo},
                                              {"fanout", LoadMode::fanout},
                                              {"idle", LoadMode::idle},
                                              {"churn", LoadMode::churn}};
  app.add_option_function<std::string>(
         "--mode",
         [&o, modes](std::string const& name) {
           auto const found = modes.find(name);
           if (found == modes.end()) {
             throw CLI::ValidationError(
                 "--mode", "expected echo, fanout, idle or churn; found '" + name + "'");
           }
           o.mode = found->second;
         },
         "echo: each connection exchanges messages; fanout: one publishes to all in a room; "
         "idle: connections are held; churn: they come and go (echo)")
      ->type_name("MODE");
  app.add_option("--connections", o.connections, "how many (100)")->type_name("N");
  app.add_option("--in-flight", o.in_flight, "messages outstanding a connection (1)")
      ->type_name("N");
  app.add_option_function<std::string>(
         "--size",
         [&o](std::string const& text) {
           auto const bytes = base::parse_bytes(text);
           if (!bytes) throw CLI::ValidationError("--size", "expected bytes, as 32 or 16KiB");
           o.size = *bytes;
         },
         "payload of a message (32)")
      ->type_name("BYTES");
  app.add_option("--rate", o.rate,
                 "messages a second over all connections, on a fixed schedule; latency then counts "
                 "from the scheduled time (0: as fast as replies come)")
      ->type_name("MSG_PER_S");
  add_duration(app, "--duration", o.duration_ns, "measured time (10)");
  add_duration(app, "--warmup", o.warmup_ns, "traffic before it that is not measured (1)");
  add_duration(app, "--drain", o.drain_ns, "how long the last replies are waited for (5)");
  app.add_option("--messages", o.messages, "churn: echoes on each connection (0)")->type_name("N");
  app.add_flag("--binary", o.binary, "binary messages instead of text");
  app.add_flag_callback(
      "--no-verify", [&o] { o.verify = false; },
      "count replies without comparing them with what was sent");
}

void add_peer_options(CLI::App& app, Command& command) {
  LoadOptions& o = command.options;
  app.add_option("--header", o.headers, "a field of the handshake, as 'Name: value'; repeatable")
      ->type_name("FIELD")
      ->expected(1)
      ->take_all();
  app.add_option("--subprotocol", o.subprotocol, "subprotocols to offer, separated by commas")
      ->type_name("NAME");
  app.add_option("--source", o.sources, "local address to connect from; repeatable, used in turn")
      ->type_name("ADDR")
      ->expected(1)
      ->take_all();
  app.add_option("--ca", o.ca_file, "wss: authorities to trust, PEM")->type_name("FILE");
  app.add_flag("--insecure", o.insecure, "wss: take any certificate");
  app.add_option("--cpu", o.cpu, "stay on this processor")->type_name("N");
  app.add_option("--seed", o.seed, "of payloads and masks (1)")->type_name("N");
  app.add_flag("--json", command.json, "one JSON object on stdout");
  app.add_flag("--progress", command.progress, "a line each second on stderr, terminal or not");
}

int run_command(Command& command) {
  LoadOptions& o = command.options;
  o.catch_signals = true;
  o.progress_in_place = ::isatty(STDERR_FILENO) == 1;
  o.progress = command.progress || o.progress_in_place;
  o.on_ready = [mode = o.mode](uint64_t open) {
    // Whoever measures an idle server waits for this line.
    if (mode != LoadMode::idle) return;
    std::printf("ready %llu\n", static_cast<unsigned long long>(open));
    std::fflush(stdout);
  };
  auto const report = run_load(o);
  if (o.progress_in_place) std::fputs("\r\033[K", stderr);
  if (!report) {
    std::fprintf(stderr, "wscope load: %s\n", report.error().what.c_str());
    return report.error().code == base::Errc::invalid ? 2 : 1;
  }
  std::fputs((command.json ? to_json(*report) + "\n" : to_text(*report)).c_str(), stdout);
  std::fflush(stdout);
  if (report->ok()) return 0;
  if (!report->first_error.empty()) {
    std::fprintf(stderr, "wscope load: first error: %s\n", report->first_error.c_str());
  } else {
    std::fputs("wscope load: nothing was exchanged\n", stderr);
  }
  return 1;
}

}  // namespace

void add_load_command(CLI::App& app, int& exit_code) {
  CLI::App* const load =
      app.add_subcommand("load", "put load on a WebSocket server and measure it");
  load->footer(
      "In closed loop (no --rate) a message goes out when one was answered, and latency counts "
      "from\n"
      "sending. With --mode idle the line `ready N` on stdout says that all connections are open.\n"
      "Exit status: 0 fine, 1 errors or nothing exchanged, 2 wrong usage. Ctrl-C ends early and\n"
      "prints the result. No extension is offered (permessage-deflate included).");
  auto const command = std::make_shared<Command>();
  add_traffic_options(*load, command->options);
  add_peer_options(*load, *command);
  load->callback([command, &exit_code] { exit_code = run_command(*command); });
}

}  // namespace wscope::cli
