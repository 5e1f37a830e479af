#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "api/status.h"
#include "base/clock.h"
#include "gateway/process_stats.h"
#include "gateway/rates.h"
#include "runtime/cells.h"
#include "telemetry/registry.h"

namespace wscope::app {

// The gauges that follow from counters once a second (app_error_rate, app_messages_per_second,
// app_response_time_p95, app_uptime_percentage, memory and CPU) and the sample that the start page
// shows.
//
// Thread: constructed by main; second() on the collector; the gauges are read anywhere.
class Figures {
 public:
  // Borrows both. CHECK-fails if a name is taken: they are ours.
  Figures(base::Clock const& clock, telemetry::Registry& registry);

  // Reads all counters and sets the gauges. `good`: the service answered this second.
  // Returns what the start page shows.
  api::StatusSample second(int64_t unix_ns, bool good, uint64_t open, uint64_t sessions);

  // Lines of text to be kept over a restart: the 30 days of uptime.
  std::string uptime_text() const { return rates_.uptime().to_text(); }
  base::Status restore_uptime(std::string_view text) { return rates_.uptime().from_text(text); }

 private:
  struct Gauge {
    char const* name;
    char const* help;
  };
  static constexpr size_t kGauges = 11;
  static Gauge const kNames[kGauges];
  void set(size_t index, double value) { values_[index].set_double(value); }

  base::Clock const& clock_;
  telemetry::Registry& registry_;
  gateway::ProcessStats process_;
  gateway::Rates rates_;
  std::array<runtime::Cell, kGauges> values_;
};

}  // namespace wscope::app
