#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "telemetry/registry.h"

namespace wscope::telemetry {

enum class Format : uint8_t {
  text004,             // Prometheus text format 0.0.4
  openmetrics100,      // OpenMetrics 1.0.0: exemplars, _created, units
  protobuf_delimited,  // io.prometheus.client.MetricFamily, each after its varint length; native
                       // histograms
};

struct Negotiated {
  Format format;
  bool gzip;
  std::string_view content_type;  // a literal
};

// The format for an HTTP request's Accept and Accept-Encoding values (RFC 9110, sections 12.5.1 and
// 12.5.3): highest q wins, among equal ones the one named first; a more specific range decides over
// a wildcard. Nothing known is asked for: text 0.0.4. Never fails.
//
// Thread: any (pure).
Negotiated negotiate(std::string_view accept, std::string_view accept_encoding);

std::string_view content_type(Format format);

// Appends the whole exposition of `registry` to `out`.
//
// Thread: any; does not stop writers.
void expose(Registry const& registry, Format format, std::string& out);

// Compresses to one gzip member (RFC 1952), level 1. Returns io if zlib has no memory.
base::Result<std::string> gzip(std::string_view bytes);

}  // namespace wscope::telemetry
