#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "model/span.h"
#include "telemetry/traces.h"

// Spans as OTLP/HTTP bodies (opentelemetry-proto 1.x, trace/v1 and collector/trace/v1).

namespace wscope::telemetry {

enum class Encoding : uint8_t { protobuf, json };

// "application/x-protobuf" or "application/json".
std::string_view content_type(Encoding encoding);

// Who the spans come from.
struct ResourceInfo {
  std::string service_name = "wscope";
  std::string service_version = {};
  std::string instance_id = {};
  std::string host_name = {};
};

// Writes spans one by one and wraps any number of them into an ExportTraceServiceRequest.
//
// A message becomes the root of its own trace with a link to its connection's handshake span:
// inbound `websocket.message.process` (CONSUMER), outbound `websocket.message.send` (PRODUCER),
// with websocket.session_id, websocket.room_name, websocket.message.size, websocket.message.type
// and the messaging attributes of OpenTelemetry's conventions.
//
// Thread: any (immutable).
class SpanEncoder {
 public:
  SpanEncoder(Encoding encoding, ResourceInfo const& resource);

  // Appends one span to `spans`, which begin_request() can wrap. Nothing is bounded here.
  void append(std::string& spans, SpanRecord const& record) const;
  void append(std::string& spans, model::Span const& span) const;
  // The request body that holds `spans` (what append() wrote, any number).
  std::string request(std::string_view spans) const;
  Encoding encoding() const { return encoding_; }

 private:
  Encoding encoding_;
  std::string resource_;  // encoded
  std::string scope_;     // encoded
};

// What an Export…Response says was refused, 0 if nothing; JSON or protobuf by its first byte. A
// body that is neither counts as nothing refused.
uint64_t rejected_spans(std::string_view response_body);

}  // namespace wscope::telemetry
