#pragma once

#include <string>
#include <vector>

#include "telemetry/registry.h"

// The formats behind expose(), one .cc each.

namespace wscope::telemetry {

// OpenMetrics 1.0.0 if `open`, else the Prometheus text format 0.0.4.
void write_text(std::vector<FamilySnapshot> const& families, bool open, std::string& out);
// io.prometheus.client.MetricFamily messages, each after its length as a varint.
void write_protobuf(std::vector<FamilySnapshot> const& families, std::string& out);

}  // namespace wscope::telemetry
