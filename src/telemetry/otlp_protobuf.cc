// Field numbers of opentelemetry/proto/{trace,common,resource}/v1.
#include <algorithm>
#include <protozero/pbf_writer.hpp>

#include "base/utf8.h"
#include "telemetry/otlp_formats.h"

namespace wscope::telemetry {
namespace {

using protozero::pbf_tag_type;
using protozero::pbf_writer;

namespace span_field {
enum : pbf_tag_type {
  trace_id = 1,
  span_id = 2,
  trace_state = 3,
  parent = 4,
  name = 5,
  kind = 6,
  start = 7,
  end = 8,
  attribute = 9,
  link = 13,
  status = 15,
  flags = 16
};
}

// Span.flags: bits 8 and 9 say whether the parent (or link) is known to be remote or not.
constexpr uint32_t kKnowsRemote = 0x100;
constexpr uint32_t kIsRemote = 0x200;

// A receiver refuses a whole batch for one byte of a string that is not UTF-8.
std::string utf8_only(std::string text) {
  for (size_t i = 0; i < text.size();) {
    size_t const length = base::utf8_sequence_length(std::string_view(text).substr(i));
    if (length == 0) text[i] = '?';
    i += std::max<size_t>(length, 1);
  }
  return text;
}

// KeyValue messages in field `field` of `parent`.
class AttributeWriter {
 public:
  AttributeWriter(pbf_writer& parent, pbf_tag_type field) : parent_(parent), field_(field) {}
  void text(std::string_view key, std::string_view value) {
    put(key, [&](pbf_writer& any) { any.add_string(1, value.data(), value.size()); });
  }
  void flag(std::string_view key, bool value) {
    put(key, [&](pbf_writer& any) { any.add_bool(2, value); });
  }
  void number(std::string_view key, int64_t value) {
    put(key, [&](pbf_writer& any) { any.add_int64(3, value); });
  }
  void real(std::string_view key, double value) {
    put(key, [&](pbf_writer& any) { any.add_double(4, value); });
  }
  void all(model::Attributes const& attributes) {
    for (auto const& [key, value] : attributes) {
      if (auto const* const s = std::get_if<std::string>(&value)) text(key, utf8_only(*s));
      if (auto const* const i = std::get_if<int64_t>(&value)) number(key, *i);
      if (auto const* const d = std::get_if<double>(&value)) real(key, *d);
      if (auto const* const b = std::get_if<bool>(&value)) flag(key, *b);
    }
  }

 private:
  template <class Fill>
  void put(std::string_view key, Fill&& fill) {
    pbf_writer pair(parent_, field_);
    pair.add_string(1, key.data(), key.size());
    pbf_writer any(pair, 2);
    fill(any);
  }
  pbf_writer& parent_;
  pbf_tag_type const field_;
};

template <class Id>
void write_id(pbf_writer& out, pbf_tag_type field, Id const& id) {
  out.add_bytes(field, reinterpret_cast<char const*>(id.bytes.data()), id.bytes.size());
}

void write_link(pbf_writer& span, base::TraceId const& trace, base::SpanId const& to,
                uint32_t flags, model::Attributes const& attributes) {
  pbf_writer link(span, span_field::link);
  write_id(link, 1, trace);
  write_id(link, 2, to);
  AttributeWriter(link, 4).all(attributes);
  link.add_fixed32(6, flags);
}

void write_error(pbf_writer& span, model::SpanStatus code, std::string_view message) {
  pbf_writer status(span, span_field::status);
  if (!message.empty()) status.add_string(2, message.data(), message.size());
  status.add_enum(3, static_cast<int32_t>(code));
}

}  // namespace

std::string protobuf_resource(ResourceInfo const& resource) {
  std::string out;
  pbf_writer writer(out);
  AttributeWriter attributes(writer, 1);
  each_resource_attribute(
      resource, [&](std::string_view key, std::string_view value) { attributes.text(key, value); });
  return out;
}

std::string protobuf_scope(std::string_view version) {
  std::string out;
  pbf_writer writer(out);
  writer.add_string(1, kScopeName.data(), kScopeName.size());
  if (!version.empty()) writer.add_string(2, version.data(), version.size());
  return out;
}

void append_protobuf(std::string& spans, SpanRecord const& record) {
  model::ConnectionInfo const& connection = *record.connection;
  pbf_writer parent(spans);
  pbf_writer span(parent, 2);  // ScopeSpans.spans
  write_id(span, span_field::trace_id, record.trace);
  write_id(span, span_field::span_id, record.span);
  std::string_view const name = message_span_name(record);
  span.add_string(span_field::name, name.data(), name.size());
  span.add_enum(span_field::kind, static_cast<int32_t>(message_span_kind(record)));
  span.add_fixed64(span_field::start, static_cast<uint64_t>(record.start_unix_ns));
  span.add_fixed64(span_field::end,
                   static_cast<uint64_t>(record.start_unix_ns + record.duration_ns()));
  AttributeWriter attributes(span, span_field::attribute);
  each_message_attribute(record, attributes);
  if (connection.handshake_span().valid()) {
    write_link(span, connection.trace(), connection.handshake_span(),
               kKnowsRemote | (connection.sampled() ? 1U : 0U), {});
  }
  if (record.error != SpanError::none) write_error(span, model::SpanStatus::error, {});
  span.add_fixed32(span_field::flags, 3);  // sampled, random trace id
}

void append_protobuf(std::string& spans, model::Span const& from) {
  pbf_writer parent(spans);
  pbf_writer span(parent, 2);
  write_id(span, span_field::trace_id, from.trace);
  write_id(span, span_field::span_id, from.span);
  if (!from.trace_state.empty()) span.add_string(span_field::trace_state, from.trace_state);
  if (from.parent.valid()) write_id(span, span_field::parent, from.parent);
  span.add_string(span_field::name, utf8_only(from.name));
  span.add_enum(span_field::kind, static_cast<int32_t>(from.kind));
  span.add_fixed64(span_field::start, static_cast<uint64_t>(from.start_unix_ns));
  span.add_fixed64(span_field::end, static_cast<uint64_t>(from.end_unix_ns));
  AttributeWriter(span, span_field::attribute).all(from.attributes);
  for (model::SpanLink const& link : from.links) {
    write_link(span, link.trace, link.span, 0, link.attributes);
  }
  if (from.status != model::SpanStatus::unset)
    write_error(span, from.status, utf8_only(from.error));
  uint32_t flags = from.trace_flags;
  if (from.parent.valid()) flags |= kKnowsRemote | (from.parent_remote ? kIsRemote : 0);
  span.add_fixed32(span_field::flags, flags);
}

std::string protobuf_request(std::string_view resource, std::string_view scope,
                             std::string_view spans) {
  std::string scope_spans;
  scope_spans.reserve(scope.size() + spans.size() + 16);
  pbf_writer(scope_spans).add_message(1, scope.data(), scope.size());
  scope_spans += spans;
  std::string out;
  out.reserve(resource.size() + scope_spans.size() + 32);
  pbf_writer request(out);
  pbf_writer resource_spans(request, 1);
  resource_spans.add_message(1, resource.data(), resource.size());
  resource_spans.add_message(2, scope_spans);
  return out;
}

}  // namespace wscope::telemetry
