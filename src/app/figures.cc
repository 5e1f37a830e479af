#include "app/figures.h"

#include <algorithm>

namespace wscope::app {

using telemetry::FamilySnapshot;

namespace {

// The bounds of app_message_processing_seconds as it was registered.
std::vector<double> processing_bounds(telemetry::Registry& registry) {
  for (FamilySnapshot const& family : registry.collect(false)) {
    if (family.info->name != "app_message_processing_seconds") continue;
    auto const bounds = family.info->layout->bounds();
    return {bounds.begin(), bounds.end()};
  }
  return {};
}

uint64_t total(FamilySnapshot const& family, std::string_view label = {},
               std::string_view value = {}) {
  auto const& labels = family.info->labels;
  auto const at =
      static_cast<size_t>(std::find(labels.begin(), labels.end(), label) - labels.begin());
  uint64_t sum = 0;
  for (auto const& child : family.children) {
    if (label.empty() || (at < labels.size() && child.info->values[at] == value)) {
      sum += child.count;
    }
  }
  return sum;
}

}  // namespace

Figures::Gauge const Figures::kNames[kGauges] = {
    {"app_error_rate", "Errors in the last 60 seconds."},
    {"app_messages_per_second", "Messages processed a second, over the last 60 seconds."},
    {"app_response_time_p95", "95th percentile of processing in seconds, last 5 minutes."},
    {"app_uptime_percentage", "Share of good seconds in the last 30 days, 0 to 100."},
    {"app_memory_usage_bytes", "Resident memory of this process."},
    {"app_memory_total_bytes", "Memory that this process may use: its limit, or the machine's."},
    {"app_memory_usage_percent", "Resident memory in percent of the limit."},
    {"app_cpu_usage_percent", "CPU time in percent of the cores that may be used."},
    {"process_open_fds", "Open descriptors."},
    {"process_max_fds", "Descriptors that may be open."},
    {"wscope_uptime_coverage_ratio", "Share of the last 30 days that app_uptime_percentage saw."},
};

Figures::Figures(base::Clock const& clock, telemetry::Registry& registry)
    : clock_(clock), registry_(registry), rates_(clock, processing_bounds(registry)) {
  for (size_t i = 0; i < kGauges; ++i) {
    auto const added = registry.gauge_callback(
        {.name = kNames[i].name, .help = kNames[i].help, .unit = "", .labels = {}},
        [this, i] { return values_[i].read_double(); });
    WSCOPE_CHECK(added.has_value());
  }
  set(3, 100);
}

api::StatusSample Figures::second(int64_t unix_ns, bool good, uint64_t open, uint64_t sessions) {
  api::StatusSample sample{.unix_ns = unix_ns, .connections_open = open, .sessions = sessions};
  std::vector<uint64_t> buckets;
  uint64_t messages = 0;
  uint64_t spans_lost = 0;
  uint64_t lines_lost = 0;
  for (FamilySnapshot const& family : registry_.collect(false)) {
    std::string const& name = family.info->name;
    if (name == "app_messages_total") messages = total(family);
    if (name == "app_errors_total") sample.errors = total(family);
    if (name == "app_connections_total") sample.connections_total = total(family);
    if (name == "wscope_log_dropped_total") lines_lost += total(family);
    if (name == "wscope_log_sink_dropped_lines_total") lines_lost += total(family);
    if (name == "wscope_spans_dropped_total") spans_lost += total(family);
    if (name == "ws_messages_total") {
      sample.messages_in = total(family, "direction", "in");
      sample.messages_out = total(family, "direction", "out");
    }
    if (name == "ws_payload_bytes_total") {
      sample.bytes_in = total(family, "direction", "in");
      sample.bytes_out = total(family, "direction", "out");
    }
    if (name == "app_message_processing_seconds" && !family.histograms.empty()) {
      buckets = family.histograms.front().buckets;
    }
  }
  if (lines_lost > 0) sample.dropped.emplace_back("log lines", lines_lost);
  if (spans_lost > 0) sample.dropped.emplace_back("spans", spans_lost);
  rates_.uptime().second(unix_ns, good);
  rates_.second(
      {.messages = messages, .errors = sample.errors, .response_buckets = buckets, .good = good});
  gateway::ProcessSample const process = process_.sample(clock_.steady_ns());
  sample.p95_s = rates_.response_time_p95();
  sample.memory_bytes = process.memory_bytes;
  sample.cpu_ratio = process.cpu_percent / 100 * process.cpu_cores;
  double const values[kGauges] = {rates_.errors_last_minute(),
                                  rates_.messages_per_second(),
                                  sample.p95_s,
                                  rates_.uptime().percentage(),
                                  static_cast<double>(process.memory_bytes),
                                  static_cast<double>(process.memory_limit_bytes),
                                  process.memory_percent,
                                  process.cpu_percent,
                                  static_cast<double>(process.open_fds),
                                  static_cast<double>(process.fds_max),
                                  rates_.uptime().coverage()};
  for (size_t i = 0; i < kGauges; ++i) set(i, values[i]);
  return sample;
}

}  // namespace wscope::app
