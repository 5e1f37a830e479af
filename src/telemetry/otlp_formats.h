#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "telemetry/otlp.h"

// The two encodings behind SpanEncoder, one .cc each, and what both say about a message.

namespace wscope::telemetry {

std::string protobuf_resource(ResourceInfo const& resource);
std::string protobuf_scope(std::string_view version);
void append_protobuf(std::string& spans, SpanRecord const& record);
void append_protobuf(std::string& spans, model::Span const& span);
std::string protobuf_request(std::string_view resource, std::string_view scope,
                             std::string_view spans);

std::string json_resource(ResourceInfo const& resource);
std::string json_scope(std::string_view version);
void append_json(std::string& spans, SpanRecord const& record);
void append_json(std::string& spans, model::Span const& span);
std::string json_request(std::string_view resource, std::string_view scope, std::string_view spans);

inline constexpr std::string_view kScopeName = "wscope";

inline std::string_view message_span_name(SpanRecord const& record) {
  return record.outbound ? "websocket.message.send" : "websocket.message.process";
}
inline model::SpanKind message_span_kind(SpanRecord const& record) {
  return record.outbound ? model::SpanKind::producer : model::SpanKind::consumer;
}

// Calls put(key, value) for each resource attribute that is there.
template <class Put>
void each_resource_attribute(ResourceInfo const& resource, Put&& put) {
  put("service.name", resource.service_name);
  if (!resource.service_version.empty()) put("service.version", resource.service_version);
  if (!resource.instance_id.empty()) put("service.instance.id", resource.instance_id);
  if (!resource.host_name.empty()) put("host.name", resource.host_name);
}

// Calls text(key, string_view), number(key, int64_t) or flag(key, bool) of `put` for each attribute
// of a message.
template <class Put>
void each_message_attribute(SpanRecord const& record, Put&& put) {
  model::ConnectionInfo const& connection = *record.connection;
  bool const text = record.opcode == 1;
  put.text("websocket.session_id", connection.session_id());
  if (!connection.room().empty()) put.text("websocket.room_name", connection.room());
  put.number("websocket.message.size", int64_t{record.size});
  put.text("websocket.message.type", text ? "text" : "binary");
  put.number("websocket.message.opcode", int64_t{record.opcode});
  put.number("websocket.message.sequence", int64_t{record.sequence});
  put.number("websocket.message.frames", int64_t{record.frames});
  put.flag("websocket.message.compressed", (record.flags & SpanRecord::kCompressed) != 0);
  put.text("messaging.system", "websocket");
  put.text("messaging.operation.name", record.outbound ? "send" : "process");
  put.text("messaging.operation.type", record.outbound ? "send" : "process");
  put.text("messaging.destination.template", connection.route());
  put.number("messaging.message.body.size", int64_t{record.size});
  put.number("messaging.message.envelope.size", int64_t{record.wire_size});
  put.text("messaging.message.conversation_id", connection.correlation_id());
  put.text("network.io.direction", record.outbound ? "transmit" : "receive");
  put.text("session.id", connection.session_id());
  if (record.error != SpanError::none) put.text("error.type", span_error_name(record.error));
}

}  // namespace wscope::telemetry
