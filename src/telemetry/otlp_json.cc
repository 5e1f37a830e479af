// OTLP's JSON mapping: ids in hex, enums as integers, 64-bit integers as text, lowerCamelCase keys.
#include "base/json.h"
#include "base/text.h"
#include "telemetry/otlp_formats.h"

namespace wscope::telemetry {
namespace {

using base::JsonWriter;

void key_value(JsonWriter& json, std::string_view key, std::string_view kind,
               std::string_view text) {
  json.begin_object().field("key", key).key("value").begin_object();
  json.field(kind, text).end_object().end_object();
}

class AttributeWriter {
 public:
  explicit AttributeWriter(JsonWriter& json) : json_(json) {}
  void text(std::string_view key, std::string_view value) {
    key_value(json_, key, "stringValue", value);
  }
  void number(std::string_view key, int64_t value) {
    key_value(json_, key, "intValue", std::to_string(value));
  }
  void flag(std::string_view key, bool value) {
    open(key).field("boolValue", value).end_object().end_object();
  }
  // Numbers that JSON has no form for are text in protobuf's JSON mapping.
  void real(std::string_view key, double value) {
    open(key).key("doubleValue");
    if (value - value == 0) {
      json_.value(value);
    } else {
      json_.value(value != value ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
    }
    json_.end_object().end_object();
  }
  void all(model::Attributes const& attributes) {
    for (auto const& [key, value] : attributes) {
      if (auto const* const s = std::get_if<std::string>(&value)) text(key, *s);
      if (auto const* const i = std::get_if<int64_t>(&value)) number(key, *i);
      if (auto const* const d = std::get_if<double>(&value)) real(key, *d);
      if (auto const* const b = std::get_if<bool>(&value)) flag(key, *b);
    }
  }

 private:
  JsonWriter& open(std::string_view key) {
    return json_.begin_object().field("key", key).key("value").begin_object();
  }
  JsonWriter& json_;
};

void write_status(JsonWriter& json, model::SpanStatus code, std::string_view message) {
  json.key("status").begin_object();
  if (!message.empty()) json.field("message", message);
  json.field("code", static_cast<int>(code)).end_object();
}

void begin_span(std::string& spans, JsonWriter& json, base::TraceId const& trace,
                base::SpanId const& span) {
  if (!spans.empty()) spans += ',';
  json.begin_object();
  json.field("traceId", base::to_hex(trace)).field("spanId", base::to_hex(span));
}

void write_times(JsonWriter& json, int64_t start, int64_t end) {
  json.field("startTimeUnixNano", std::to_string(start));
  json.field("endTimeUnixNano", std::to_string(end));
}

void begin_link(JsonWriter& json, base::TraceId const& trace, base::SpanId const& span) {
  json.begin_object();
  json.field("traceId", base::to_hex(trace)).field("spanId", base::to_hex(span));
}

}  // namespace

std::string json_resource(ResourceInfo const& resource) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().key("attributes").begin_array();
  AttributeWriter attributes(json);
  each_resource_attribute(
      resource, [&](std::string_view key, std::string_view value) { attributes.text(key, value); });
  json.end_array().end_object();
  return out;
}

std::string json_scope(std::string_view version) {
  std::string out;
  JsonWriter json(out);
  json.begin_object().field("name", kScopeName);
  if (!version.empty()) json.field("version", version);
  json.end_object();
  return out;
}

void append_json(std::string& spans, SpanRecord const& record) {
  model::ConnectionInfo const& connection = *record.connection;
  JsonWriter json(spans);
  begin_span(spans, json, record.trace, record.span);
  json.field("name", message_span_name(record));
  json.field("kind", static_cast<int>(message_span_kind(record)));
  write_times(json, record.start_unix_ns, record.start_unix_ns + record.duration_ns());
  json.key("attributes").begin_array();
  each_message_attribute(record, AttributeWriter(json));
  json.end_array();
  if (connection.handshake_span().valid()) {
    json.key("links").begin_array();
    begin_link(json, connection.trace(), connection.handshake_span());
    json.field("flags", 256 + (connection.sampled() ? 1 : 0)).end_object();
    json.end_array();
  }
  if (record.error != SpanError::none) write_status(json, model::SpanStatus::error, {});
  json.field("flags", 3).end_object();
}

void append_json(std::string& spans, model::Span const& from) {
  JsonWriter json(spans);
  begin_span(spans, json, from.trace, from.span);
  if (!from.trace_state.empty()) json.field("traceState", from.trace_state);
  if (from.parent.valid()) json.field("parentSpanId", base::to_hex(from.parent));
  json.field("name", from.name).field("kind", static_cast<int>(from.kind));
  write_times(json, from.start_unix_ns, from.end_unix_ns);
  json.key("attributes").begin_array();
  AttributeWriter(json).all(from.attributes);
  json.end_array();
  if (!from.links.empty()) {
    json.key("links").begin_array();
    for (model::SpanLink const& link : from.links) {
      begin_link(json, link.trace, link.span);
      json.key("attributes").begin_array();
      AttributeWriter(json).all(link.attributes);
      json.end_array().end_object();
    }
    json.end_array();
  }
  if (from.status != model::SpanStatus::unset) write_status(json, from.status, from.error);
  int const remote = from.parent.valid() ? 256 + (from.parent_remote ? 512 : 0) : 0;
  json.field("flags", from.trace_flags + remote).end_object();
}

std::string json_request(std::string_view resource, std::string_view scope,
                         std::string_view spans) {
  std::string out = R"({"resourceSpans":[{"resource":)";
  out += resource;
  out += R"(,"scopeSpans":[{"scope":)";
  out += scope;
  out += R"(,"spans":[)";
  out += spans;
  out += "]}]}]}";
  return out;
}

}  // namespace wscope::telemetry
