#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace CLI {
class App;
}

// The load generator behind `wscope load`. One thread; its cost a message is that of the system
// calls, so that it can measure a server which is as fast: per readable connection one recv, one
// comparison of everything received with the bytes that must come, one clock read and one send of
// frames that were masked before the start.
namespace wscope::cli {

enum class LoadMode : uint8_t {
  echo,    // each connection keeps messages outstanding and checks each reply
  fanout,  // one member of a room publishes, all members check what is delivered
  idle,    // connections are held open
  churn,   // connections are opened and closed over and over
};
std::string_view name_of(LoadMode mode);

// What to do. Durations in nanoseconds. Bounds are checked by run_load().
struct LoadOptions {
  std::string url;  // ws://… or wss://…
  LoadMode mode = LoadMode::echo;
  uint32_t connections = 100;  // 1 to 1,000,000; fanout: members, the publisher among them
  uint32_t in_flight = 1;      // messages outstanding a connection, 1 to 65,536; unused with a rate
  uint64_t size = 32;          // payload bytes, at most 64 MiB
  // Messages a second over all connections, sent on a fixed schedule whether or not replies come
  // (open loop); 0: a message goes out when one was answered (closed loop).
  double rate = 0;
  int64_t duration_ns = 10 * base::kSecond;
  int64_t warmup_ns = base::kSecond;     // traffic before the measured window; not for idle
  int64_t drain_ns = 5 * base::kSecond;  // how long the last replies are waited for
  uint32_t messages = 0;                 // churn: echoes on each connection before it is closed
  bool binary = false;                   // text if not
  bool verify = true;  // false: replies are counted, whatever they hold (services that do not echo)
  int cpu = -1;        // pins the calling thread; -1 does not
  std::vector<std::string> headers;  // "Name: value"
  std::string subprotocol;           // one, or several separated by commas
  std::string ca_file;               // wss: PEM; empty = the authorities of the system
  bool insecure = false;             // wss: any certificate will do
  // Local addresses to connect from, in turn. Empty: the system's choice, but for a target in
  // 127.0.0.0/8 as many of 127.0.0.1, 127.0.0.2, … as the number of ports asks for.
  std::vector<std::string> sources;
  uint64_t seed = 1;               // of payloads, masks and keys
  bool catch_signals = false;      // SIGINT and SIGTERM end the run early, with its result
  bool progress = false;           // a line each second on stderr
  bool progress_in_place = false;  // rewriting one line, for a terminal
  // Called once with the number of open connections when no more will open (not churn).
  std::function<void(uint64_t)> on_ready;
};

// What went wrong, counted over the whole run, opening and closing included.
struct LoadErrors {
  uint64_t connect = 0;     // no TCP connection
  uint64_t handshake = 0;   // TLS or upgrade refused, wrong or later than 10 s
  uint64_t protocol = 0;    // the server broke RFC 6455
  uint64_t closed = 0;      // the server ended an open connection
  uint64_t mismatch = 0;    // a reply was not what was sent, or not in order, or not asked for
  uint64_t unanswered = 0;  // messages (fanout: deliveries) that did not come within drain_ns
  uint64_t total() const { return connect + handshake + protocol + closed + mismatch + unanswered; }
};

// Microseconds.
struct LoadLatency {
  uint64_t count = 0;
  double mean = 0, p50 = 0, p90 = 0, p99 = 0, p999 = 0, max = 0;
};

// Counts are those of the measured window unless said otherwise.
struct LoadReport {
  LoadMode mode = LoadMode::echo;
  uint32_t connections = 0;
  uint32_t in_flight = 0;
  uint64_t size = 0;
  double rate = 0;
  double duration_s = 0;    // of the window
  uint64_t open = 0;        // connections open at the end of the window
  uint64_t messages = 0;    // sent and answered (fanout: published and delivered to the publisher)
  uint64_t deliveries = 0;  // messages received, verified
  uint64_t payload_bytes = 0;  // of deliveries
  uint64_t handshakes = 0;     // churn: in the window; else while opening
  double handshakes_per_s = 0;
  // echo: send to reply; fanout: publication to delivery, all members; churn: connect to 101.
  // With a rate from the time at which the schedule wanted the message sent, so a server that
  // stalls is charged for all it delayed.
  LoadLatency latency;
  bool coordinated_omission_corrected = false;
  LoadErrors errors;
  std::string first_error;  // in words; empty if there was none
  double cpu_s = 0;         // of the generator itself, in the window
  bool interrupted = false;

  double per_second(uint64_t count) const {
    return duration_s > 0 ? static_cast<double>(count) / duration_s : 0;
  }
  // No error, and what the mode is about took place.
  bool ok() const;
};

// Does what `options` ask for, on the calling thread. A peer that fails is counted in the report.
// Returns invalid (an option; `what` names it), not_found (host name), over_limit (descriptors) or
// io (no thread pinning, no timer).
//
// Thread: any one at a time; blocks it for the whole run.
base::Result<LoadReport> run_load(LoadOptions const& options);

// One JSON object without line end.
std::string to_json(LoadReport const& report);
// A few lines for a person.
std::string to_text(LoadReport const& report);

// Adds `wscope load`. When it was chosen, sets `exit_code`: 0, 1 (errors, or nothing was
// exchanged), 2 (wrong options). Borrows both for as long as the command line is parsed.
void add_load_command(CLI::App& app, int& exit_code);

}  // namespace wscope::cli
