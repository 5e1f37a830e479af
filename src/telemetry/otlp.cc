#include "telemetry/otlp.h"

#include <charconv>
#include <protozero/pbf_reader.hpp>

#include "telemetry/otlp_formats.h"

namespace wscope::telemetry {

std::string_view content_type(Encoding encoding) {
  return encoding == Encoding::json ? "application/json" : "application/x-protobuf";
}

SpanEncoder::SpanEncoder(Encoding encoding, ResourceInfo const& resource)
    : encoding_(encoding),
      resource_(encoding == Encoding::json ? json_resource(resource) : protobuf_resource(resource)),
      scope_(encoding == Encoding::json ? json_scope(resource.service_version)
                                        : protobuf_scope(resource.service_version)) {}

void SpanEncoder::append(std::string& spans, SpanRecord const& record) const {
  if (encoding_ == Encoding::json) {
    append_json(spans, record);
  } else {
    append_protobuf(spans, record);
  }
}

void SpanEncoder::append(std::string& spans, model::Span const& span) const {
  if (encoding_ == Encoding::json) {
    append_json(spans, span);
  } else {
    append_protobuf(spans, span);
  }
}

std::string SpanEncoder::request(std::string_view spans) const {
  return encoding_ == Encoding::json ? json_request(resource_, scope_, spans)
                                     : protobuf_request(resource_, scope_, spans);
}

namespace {

// ExportTraceServiceResponse{partial_success=1: {rejected_spans=1}}.
uint64_t rejected_in_protobuf(std::string_view body) {
  try {
    protozero::pbf_reader response(body.data(), body.size());
    while (response.next()) {
      if (response.tag_and_type() !=
          protozero::tag_and_type(1, protozero::pbf_wire_type::length_delimited)) {
        response.skip();
        continue;
      }
      protozero::pbf_reader partial = response.get_message();
      while (partial.next()) {
        if (partial.tag_and_type() ==
            protozero::tag_and_type(1, protozero::pbf_wire_type::varint)) {
          int64_t const rejected = partial.get_int64();
          return rejected > 0 ? static_cast<uint64_t>(rejected) : 0;
        }
        partial.skip();
      }
    }
  } catch (protozero::exception const&) {
    return 0;
  }
  return 0;
}

// The one number of {"partialSuccess":{"rejectedSpans":"5"}}, as text or number; other text of the
// answer is for people, and a false hit within it would only miscount.
uint64_t rejected_in_json(std::string_view body) {
  constexpr std::string_view kKey = "\"rejectedSpans\"";
  size_t const at = body.find(kKey);
  if (at == std::string_view::npos) return 0;
  body.remove_prefix(at + kKey.size());
  size_t const digit = body.find_first_not_of(": \t\r\n\"");
  if (digit == std::string_view::npos) return 0;
  uint64_t rejected = 0;
  std::from_chars(body.data() + digit, body.data() + body.size(), rejected);
  return rejected;
}

}  // namespace

uint64_t rejected_spans(std::string_view response_body) {
  if (response_body.empty()) return 0;
  return response_body.front() == '{' ? rejected_in_json(response_body)
                                      : rejected_in_protobuf(response_body);
}

}  // namespace wscope::telemetry
