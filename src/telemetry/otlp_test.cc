#include "telemetry/otlp.h"

#include <gtest/gtest.h>

#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

namespace wscope::telemetry {
namespace {

using protozero::pbf_reader;

template <class Id>
Id numbered(uint8_t first) {
  Id id;
  for (uint8_t& byte : id.bytes) byte = first++;
  return id;
}

struct OtlpTest : testing::Test {
  std::unique_ptr<model::ConnectionInfo> connection =
      model::ConnectionInfo::make({.id = 7,
                                   .correlation_id = "corr-1",
                                   .session_id = "sess-1",
                                   .route = "/ws/{room}",
                                   .room = "lobby",
                                   .trace = numbered<base::TraceId>(0xa0),
                                   .handshake_span = numbered<base::SpanId>(0xb0),
                                   .sampled = true});
  SpanRecord record() const {
    SpanRecord r;
    r.connection = connection.get();
    r.trace = numbered<base::TraceId>(0x01);
    r.span = numbered<base::SpanId>(0x11);
    r.start_unix_ns = 1'700'000'000'000'000'001;
    r.set_duration_ns(2'500);
    r.size = 32;
    r.wire_size = 38;
    r.sequence = 17;
    return r;
  }
  static model::Span handshake() {
    model::Span span;
    span.trace = numbered<base::TraceId>(0xa0);
    span.span = numbered<base::SpanId>(0xb0);
    span.parent = numbered<base::SpanId>(0xc0);
    span.parent_remote = true;
    span.trace_state = "a=1";
    span.kind = model::SpanKind::server;
    span.name = "websocket.connect";
    span.start_unix_ns = 5;
    span.end_unix_ns = 9;
    span.attributes = {{"http.response.status_code", int64_t{101}},
                       {"url.path", std::string("/ws/\xff")},
                       {"ratio", 0.5},
                       {"secure", true}};
    return span;
  }
  ResourceInfo resource{.service_name = "wscope", .service_version = "1.2", .host_name = "h"};
};

TEST_F(OtlpTest, WritesAMessageAsJson) {
  SpanEncoder const encoder(Encoding::json, resource);
  std::string spans;
  encoder.append(spans, record());
  EXPECT_EQ(encoder.request(spans),
            R"({"resourceSpans":[{"resource":{"attributes":[)"
            R"({"key":"service.name","value":{"stringValue":"wscope"}},)"
            R"({"key":"service.version","value":{"stringValue":"1.2"}},)"
            R"({"key":"host.name","value":{"stringValue":"h"}}]},)"
            R"("scopeSpans":[{"scope":{"name":"wscope","version":"1.2"},"spans":[)"
            R"({"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"1112131415161718",)"
            R"("name":"websocket.message.process","kind":5,)"
            R"("startTimeUnixNano":"1700000000000000001","endTimeUnixNano":"1700000000000002501",)"
            R"("attributes":[{"key":"websocket.session_id","value":{"stringValue":"sess-1"}},)"
            R"({"key":"websocket.room_name","value":{"stringValue":"lobby"}},)"
            R"({"key":"websocket.message.size","value":{"intValue":"32"}},)"
            R"({"key":"websocket.message.type","value":{"stringValue":"text"}},)"
            R"({"key":"websocket.message.opcode","value":{"intValue":"1"}},)"
            R"({"key":"websocket.message.sequence","value":{"intValue":"17"}},)"
            R"({"key":"websocket.message.frames","value":{"intValue":"1"}},)"
            R"({"key":"websocket.message.compressed","value":{"boolValue":false}},)"
            R"({"key":"messaging.system","value":{"stringValue":"websocket"}},)"
            R"({"key":"messaging.operation.name","value":{"stringValue":"process"}},)"
            R"({"key":"messaging.operation.type","value":{"stringValue":"process"}},)"
            R"({"key":"messaging.destination.template","value":{"stringValue":"/ws/{room}"}},)"
            R"({"key":"messaging.message.body.size","value":{"intValue":"32"}},)"
            R"({"key":"messaging.message.envelope.size","value":{"intValue":"38"}},)"
            R"({"key":"messaging.message.conversation_id","value":{"stringValue":"corr-1"}},)"
            R"({"key":"network.io.direction","value":{"stringValue":"receive"}},)"
            R"({"key":"session.id","value":{"stringValue":"sess-1"}}],)"
            R"("links":[{"traceId":"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf","span)"
            R"(Id":"b0b1b2b3b4b5b6b7","flags":257}],)"
            R"("flags":3}]}]}]})");
}

TEST_F(OtlpTest, MarksFailedAndOutboundMessages) {
  SpanEncoder const encoder(Encoding::json, resource);
  SpanRecord r = record();
  r.outbound = true;
  r.opcode = 2;
  r.flags = SpanRecord::kCompressed;
  r.error = SpanError::invalid_utf8;
  std::string spans;
  encoder.append(spans, r);
  for (char const* const part :
       {R"("name":"websocket.message.send","kind":4)", R"({"stringValue":"binary"})",
        R"({"key":"websocket.message.compressed","value":{"boolValue":true}})",
        R"({"key":"network.io.direction","value":{"stringValue":"transmit"}})",
        R"({"key":"error.type","value":{"stringValue":"invalid_utf8"}})",
        R"("status":{"code":2})"}) {
    EXPECT_NE(spans.find(part), std::string::npos) << part;
  }
}

TEST_F(OtlpTest, WritesFullSpansAsJson) {
  SpanEncoder const encoder(Encoding::json, resource);
  model::Span span = handshake();
  span.status = model::SpanStatus::error;
  span.error = "bad \"gateway\"";
  span.links.push_back({numbered<base::TraceId>(1), numbered<base::SpanId>(2), {}});
  std::string spans;
  encoder.append(spans, span);
  encoder.append(spans, span);
  EXPECT_EQ(std::count(spans.begin(), spans.end(), '\n'), 0);
  EXPECT_NE(spans.find("\"flags\":769},{\"traceId\""), std::string::npos)
      << "no comma between spans";
  for (
      char const* const part :
      {R"("traceState":"a=1","parentSpanId":"c0c1c2c3c4c5c6c7","name":)"
       R"("websocket.connect","kind":2)",
       R"({"key":"http.response.status_code","value":{"intValue":"101"}})",
       R"({"key":"ratio","value":{"doubleValue":0.5}},{"key":"secure","value":{"boolValue":true}})",
       R"("links":[{"traceId":"0102030405060708090a0b0c0d0e0f10","span)"
       R"(Id":"0203040506070809","attributes":[]}])",
       R"("status":{"message":"bad \"gateway\"","code":2},"flags":769)"}) {
    EXPECT_NE(spans.find(part), std::string::npos) << part << "\n" << spans;
  }
}

// The spans of a request, field by field as text.
struct DecodedSpan {
  std::map<int, std::string> bytes;
  std::map<int, uint64_t> numbers;
  std::map<std::string, std::string> attributes;
  std::map<int, std::string> link;
  uint64_t status = 0;
};

std::string any_value(pbf_reader any) {
  while (any.next()) {
    switch (any.tag()) {
      case 1:
        return any.get_string();
      case 2:
        return any.get_bool() ? "true" : "false";
      case 3:
        return std::to_string(any.get_int64());
      case 4:
        return std::to_string(any.get_double());
      default:
        any.skip();
    }
  }
  return "(nothing)";
}

std::pair<std::string, std::string> key_value(pbf_reader pair) {
  std::pair<std::string, std::string> out;
  while (pair.next()) {
    if (pair.tag() == 1) {
      out.first = pair.get_string();
    } else {
      out.second = any_value(pair.get_message());
    }
  }
  return out;
}

DecodedSpan decode_span(pbf_reader span) {
  DecodedSpan out;
  while (span.next()) {
    auto const tag = static_cast<int>(span.tag());
    if (tag == 9) {
      out.attributes.insert(key_value(span.get_message()));
    } else if (tag == 13) {
      pbf_reader link = span.get_message();
      while (link.next()) {
        auto const field = static_cast<int>(link.tag());
        if (field == 1 || field == 2) {
          std::string const id = link.get_string();
          out.link.emplace(field, id);
        } else {
          link.skip();
        }
      }
    } else if (tag == 15) {
      pbf_reader status = span.get_message();
      while (status.next()) {
        if (status.tag() == 3) {
          out.status = static_cast<uint64_t>(status.get_enum());
        } else {
          status.skip();
        }
      }
    } else if (span.wire_type() == protozero::pbf_wire_type::length_delimited) {
      out.bytes[tag] = span.get_string();
    } else if (span.wire_type() == protozero::pbf_wire_type::fixed64) {
      out.numbers[tag] = span.get_fixed64();
    } else if (span.wire_type() == protozero::pbf_wire_type::fixed32) {
      out.numbers[tag] = span.get_fixed32();
    } else {
      out.numbers[tag] = static_cast<uint64_t>(span.get_enum());
    }
  }
  return out;
}

// The message in field `tag`, or several.
std::vector<pbf_reader> messages(pbf_reader reader, protozero::pbf_tag_type tag) {
  std::vector<pbf_reader> out;
  while (reader.next()) {
    if (reader.tag() == tag) {
      out.push_back(reader.get_message());
    } else {
      reader.skip();
    }
  }
  return out;
}

TEST_F(OtlpTest, WritesBothKindsAsProtobuf) {
  SpanEncoder const encoder(Encoding::protobuf, resource);
  std::string spans;
  encoder.append(spans, record());
  encoder.append(spans, handshake());
  std::string const body = encoder.request(spans);
  auto const resources = messages(pbf_reader(body), 1);
  ASSERT_EQ(resources.size(), 1U);
  auto const attributes = messages(messages(resources[0], 1).at(0), 1);
  ASSERT_EQ(attributes.size(), 3U);
  EXPECT_EQ(key_value(attributes[0]),
            std::pair(std::string("service.name"), std::string("wscope")));
  auto const decoded = messages(messages(resources[0], 2).at(0), 2);
  ASSERT_EQ(decoded.size(), 2U);
  DecodedSpan const message = decode_span(decoded[0]);
  EXPECT_EQ(message.bytes.at(1), std::string("\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20"));
  EXPECT_EQ(message.bytes.at(2).size(), 8U);
  EXPECT_EQ(message.bytes.at(5), "websocket.message.process");
  EXPECT_EQ(message.bytes.count(4), 0U);  // a root
  EXPECT_EQ(message.numbers.at(6), 5U);
  EXPECT_EQ(message.numbers.at(8) - message.numbers.at(7), 2500U);
  EXPECT_EQ(message.attributes.at("websocket.message.size"), "32");
  EXPECT_EQ(message.attributes.at("websocket.room_name"), "lobby");
  EXPECT_EQ(message.attributes.size(), 17U);
  EXPECT_EQ(message.link.at(1).front(), '\xa0');
  EXPECT_EQ(message.link.at(2).size(), 8U);
  DecodedSpan const connect = decode_span(decoded[1]);
  EXPECT_EQ(connect.bytes.at(3), "a=1");
  EXPECT_EQ(connect.bytes.at(4).front(), '\xc0');
  EXPECT_EQ(connect.bytes.at(5), "websocket.connect");
  EXPECT_EQ(connect.attributes.at("url.path"), "/ws/?");
  EXPECT_EQ(connect.attributes.at("secure"), "true");
  EXPECT_EQ(connect.numbers.at(16), 0x301U);
}

TEST(RejectedSpans, ReadsBothEncodings) {
  EXPECT_EQ(rejected_spans(""), 0U);
  EXPECT_EQ(rejected_spans("{}"), 0U);
  EXPECT_EQ(rejected_spans(R"({"partialSuccess":{"rejectedSpans":"5","errorMessage":"x"}})"), 5U);
  EXPECT_EQ(rejected_spans(R"({"partialSuccess": {"rejectedSpans" : 12}})"), 12U);
  EXPECT_EQ(rejected_spans(R"({"partialSuccess":{"rejectedSpans":null}})"), 0U);
  std::string body;
  {
    protozero::pbf_writer writer(body);
    protozero::pbf_writer partial(writer, 1);
    partial.add_string(2, "why");
    partial.add_int64(1, 300);
  }
  EXPECT_EQ(rejected_spans(body), 300U);
  EXPECT_EQ(rejected_spans(body.substr(0, body.size() - 1)), 0U);
  EXPECT_EQ(rejected_spans("<html>bad gateway</html>"), 0U);
}

}  // namespace
}  // namespace wscope::telemetry
