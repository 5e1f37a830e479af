#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gateway/config.h"

namespace wscope::app {

// The page, the API and /metrics.
struct ObserverConfig {
  std::string listen = "127.0.0.1:9600";
  // Bearer token asked of everything but the start page, /healthz and /readyz. Empty = none. When
  // token_file is set, load() has read that file into it.
  std::string token;
  std::string token_file;
  gateway::TlsFiles tls;
  // Allows a non-loopback address without TLS and a token.
  bool insecure = false;
};

struct LogConfig {
  // DEBUG, INFO, WARNING, ERROR or CRITICAL; of every logger not named in `loggers`.
  std::string level = "INFO";
  // JSON lines on stderr.
  bool console = true;
  // Path of the rotating file, relative to the data folder unless absolute. Empty = none.
  std::string file = "logs/wscope.log";
  uint64_t max_bytes = 10 * 1'048'576;
  uint64_t backups = 5;
  // Logger name -> level, as `level` is spelt.
  std::map<std::string, std::string> loggers;
};

struct TraceConfig {
  // OTLP/HTTP receiver, "http://HOST:PORT" with an optional path (/v1/traces when it has none).
  // Empty = nothing is recorded.
  std::string otlp;
  // CA certificates (PEM) for an https receiver; empty = the system's.
  std::string ca;
  // Share of messages recorded, 0 to 1; errors and slow ones always are.
  double ratio = 1.0;
  // Nanoseconds from which a message counts as slow.
  int64_t slow_ns = 500'000'000;
  // "protobuf" or "json".
  std::string encoding = "protobuf";
  // Spans waiting for export; more are dropped and counted.
  uint64_t queue_max = 65'536;
  // Message spans exported a second; more are dropped and counted. 0 = no bound.
  uint64_t spans_per_second = 20'000;
};

// The loggers that the program has; `log.loggers` may name these.
inline constexpr std::string_view kLoggerNames[] = {"wscope", "websocket", "websocket.message",
                                                    "http"};

// The whole program's configuration, checked. Every key of the file has a default, so Config{} is
// what runs without one.
//
// Thread: any (a value).
struct Config {
  // Loop threads; 0 = one fewer than cores, at least 1.
  uint64_t loops = 0;
  // Folder for everything that is kept.
  std::string data = "data";
  // False: no instruments, logs of messages or spans on the message path (for measuring their
  // cost).
  bool telemetry = true;
  gateway::Config gateway;
  ObserverConfig observer;
  LogConfig log;
  TraceConfig trace;

  // The log file's path with the data folder in front where it is relative; empty = none.
  std::string log_path() const;
};

// One value from outside the file. `name` is what the user typed ("--listen",
// "WSCOPE_GATEWAY_LISTEN"); errors show it.
struct Setting {
  std::string path;  // the key, "gateway.listen"
  std::string value;
  std::string name;
};

// Where a configuration comes from; later ones win: defaults, file, environment, flags. Keep it to
// load again on SIGHUP.
struct Sources {
  std::string file;                           // empty = no file
  std::vector<std::string> environment = {};  // "NAME=VALUE" lines; only WSCOPE_… ones count
  std::vector<Setting> flags = {};
};

// Something that does not stop the program but is likely a mistake, for a person.
struct Loaded {
  Config config;
  std::vector<std::string> warnings;
};

// Reads and checks everything. On any fault returns invalid with one line a fault (at most 20, then
// how many more), each `file:line: key: expected X, found Y; did you mean 'Z'?`; not_found or io
// where the file or a token file cannot be read.
base::Result<Loaded> load(Sources const& sources);

// The same for text that is the file's content; `name` stands for the file in errors.
base::Result<Loaded> load_text(std::string_view yaml, std::string const& name,
                               Sources const& sources);

// The environment of this process as Sources takes it.
std::vector<std::string> process_environment();

// The effective configuration as a YAML file with every key; secrets are '***'.
std::string to_yaml(Config const& config);

// A table of every key in Markdown: key, environment variable, default, what is expected, meaning.
std::string key_reference();

}  // namespace wscope::app
