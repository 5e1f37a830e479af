#include "cli/load.h"

#include <cmath>

#include "cli/load_run.h"
#include "cli/load_socket.h"

namespace wscope::cli {

using base::Errc;
using base::fail;

namespace {

constexpr uint32_t kConnectionsMax = 1'000'000;
constexpr uint32_t kInFlightMax = 65'536;
constexpr uint64_t kOutstandingMax = 1 << 24;  // what is remembered of each: 16 bytes
constexpr uint64_t kSizeMax = 64 << 20;
constexpr double kRateMax = 100e6;
constexpr double kRateMin = 0.001;
constexpr int64_t kDurationMaxNs = 7 * 24 * 3600 * base::kSecond;
// Connections that one local address is asked to hold: the system keeps about 28,000 ports for it.
constexpr uint32_t kConnectionsPerSource = 20'000;
constexpr uint32_t kChurnSources = 64;  // ports rest for a minute after use

base::Status invalid(std::string what) { return fail(Errc::invalid, std::move(what)); }

base::Status check_counts(LoadOptions const& o) {
  if (o.connections < 1 || o.connections > kConnectionsMax) {
    return invalid("--connections: expected 1 to 1000000");
  }
  if (o.in_flight < 1 || o.in_flight > kInFlightMax) {
    return invalid("--in-flight: expected 1 to 65536");
  }
  if (o.mode == LoadMode::echo && uint64_t{o.connections} * o.in_flight > kOutstandingMax) {
    return invalid("--connections times --in-flight: at most 16777216");
  }
  if (o.size > kSizeMax) return invalid("--size: at most 64MiB");
  if (o.messages > kInFlightMax) return invalid("--messages: at most 65536");
  return {};
}

base::Status check(LoadOptions const& o) {
  WSCOPE_TRY_STATUS(check_counts(o));
  if (o.duration_ns <= 0 || o.duration_ns > kDurationMaxNs) {
    return invalid("--duration: expected more than 0 and at most 7 days");
  }
  if (o.warmup_ns < 0 || o.warmup_ns > kDurationMaxNs) {
    return invalid("--warmup: expected 0 to 7 days");
  }
  if (o.drain_ns < 0 || o.drain_ns > kDurationMaxNs) {
    return invalid("--drain: expected 0 to 7 days");
  }
  if (o.rate != 0) {
    if (!(o.rate >= kRateMin && o.rate <= kRateMax)) {
      return invalid("--rate: expected 0.001 to 100000000 messages a second");
    }
    if (o.mode != LoadMode::echo && o.mode != LoadMode::fanout) {
      return invalid("--rate: only with --mode echo or fanout");
    }
  }
  if (o.messages > 0 && o.mode != LoadMode::churn) {
    return invalid("--messages: only with --mode churn");
  }
  return {};
}

base::Result<LoadRun::Target> find_target(LoadOptions const& o) {
  LoadRun::Target target;
  WSCOPE_TRY(url, net::parse_url(o.url));
  if (url.scheme != "ws" && url.scheme != "wss") {
    return fail(Errc::invalid, "'" + o.url + "': expected ws:// or wss://");
  }
  target.url = std::move(url);
  WSCOPE_TRY(address, net::resolve(target.url.host, target.url.port));
  target.address = address;
  uint32_t const sources = o.mode == LoadMode::churn ? kChurnSources
                                                     : (o.connections + kConnectionsPerSource - 1) /
                                                           kConnectionsPerSource;
  WSCOPE_TRY(found, source_addresses(o.sources, target.address, sources));
  target.sources = std::move(found);
  if (target.url.secure()) {
    WSCOPE_TRY(tls, net::TlsContext::client(o.ca_file));
    target.tls = std::move(tls);
  } else if (o.insecure || !o.ca_file.empty()) {
    return fail(Errc::invalid, "--ca and --insecure: only with wss://");
  }
  return target;
}

}  // namespace

base::Result<LoadReport> run_load(LoadOptions const& options) {
  WSCOPE_TRY_STATUS(check(options));
  WSCOPE_TRY(target, find_target(options));
  WSCOPE_TRY(handshake,
             LoadHandshake::create(target.url, options.headers, options.subprotocol, options.seed));
  // 400 KiB of loop and timers: not for the stack of whoever calls.
  auto run = std::make_unique<LoadRun>(options, std::move(target), std::move(handshake));
  return run->run();
}

}  // namespace wscope::cli
