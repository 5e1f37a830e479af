#include "telemetry/exposition.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>
#include <limits>
#include <protozero/pbf_reader.hpp>

#include "telemetry/text_output.h"

namespace wscope::telemetry {
namespace {

std::string exposed(Registry const& registry, Format format) {
  std::string out;
  expose(registry, format, out);
  return out;
}

// From a family's first line on.
std::string from(std::string const& text, std::string const& start) {
  size_t const at = text.find(start);
  return at == std::string::npos ? "missing: " + start + " in\n" + text : text.substr(at);
}

struct ExpositionTest : testing::Test {
  base::ManualClock clock{1'700'000'000'123'000'000};
  Registry registry{clock};
  Shard& shard = registry.shard("test");
  base::TraceId trace;
  base::SpanId span;

  void SetUp() override {
    for (size_t i = 0; i < 16; ++i) trace.bytes[i] = static_cast<uint8_t>(i + 1);
    for (size_t i = 0; i < 8; ++i) span.bytes[i] = static_cast<uint8_t>(0xf0 + i);
    auto* const counter = *registry.counter({.name = "app_errors_total",
                                             .help = "Errors \"seen\"\nby \\ all.",
                                             .unit = {},
                                             .labels = {"error_type"}});
    counter->on(shard, {"bad\"one"}).add_with_exemplar(3, trace, span, clock.unix_ns());
    auto* const gauge =
        *registry.gauge({.name = "open", .help = "Open.", .unit = {}, .labels = {}});
    gauge->on(shard).set(2.5);
    auto* const histogram = *registry.histogram(
        {.name = "work_seconds", .help = "Work.", .unit = "seconds", .labels = {"route"}},
        {.bounds = {0.005, 1, 1048576}});
    Histogram h = histogram->on(shard, {"/ws"});
    h.observe_with_exemplar(0.5, trace, span, clock.unix_ns());
    h.observe(0.001);
    h.observe(2'000'000);
  }
};

TEST_F(ExpositionTest, WritesText004) {
  EXPECT_EQ(from(exposed(registry, Format::text004), "# HELP app_errors_total"),
            "# HELP app_errors_total Errors \"seen\"\\nby \\\\ all.\n"
            "# TYPE app_errors_total counter\n"
            "app_errors_total{error_type=\"bad\\\"one\"} 3\n"
            "# HELP open Open.\n"
            "# TYPE open gauge\n"
            "open 2.5\n"
            "# HELP work_seconds Work.\n"
            "# TYPE work_seconds histogram\n"
            "work_seconds_bucket{route=\"/ws\",le=\"0.005\"} 1\n"
            "work_seconds_bucket{route=\"/ws\",le=\"1\"} 2\n"
            "work_seconds_bucket{route=\"/ws\",le=\"1.048576e+06\"} 2\n"
            "work_seconds_bucket{route=\"/ws\",le=\"+Inf\"} 3\n"
            "work_seconds_sum{route=\"/ws\"} 2000000.501\n"
            "work_seconds_count{route=\"/ws\"} 3\n");
}

TEST_F(ExpositionTest, WritesOpenMetrics) {
  std::string const exemplar =
      " # {trace_id=\"0102030405060708090a0b0c0d0e0f10\",span_id=\"f0f1f2f3f4f5f6f7\"} ";
  EXPECT_EQ(from(exposed(registry, Format::openmetrics100), "# TYPE app_errors "),
            "# TYPE app_errors counter\n"
            "# HELP app_errors Errors \\\"seen\\\"\\nby \\\\ all.\n"
            "app_errors_total{error_type=\"bad\\\"one\"} 3" +
                exemplar +
                "3 1700000000.123\n"
                "app_errors_created{error_type=\"bad\\\"one\"} 1700000000.123\n"
                "# TYPE open gauge\n"
                "# HELP open Open.\n"
                "open 2.5\n"
                "# TYPE work_seconds histogram\n"
                "# UNIT work_seconds seconds\n"
                "# HELP work_seconds Work.\n"
                "work_seconds_bucket{route=\"/ws\",le=\"0.005\"} 1\n"
                "work_seconds_bucket{route=\"/ws\",le=\"1.0\"} 2" +
                exemplar +
                "0.5 1700000000.123\n"
                "work_seconds_bucket{route=\"/ws\",le=\"1.048576e+06\"} 2\n"
                "work_seconds_bucket{route=\"/ws\",le=\"+Inf\"} 3\n"
                "work_seconds_sum{route=\"/ws\"} 2000000.501\n"
                "work_seconds_count{route=\"/ws\"} 3\n"
                "work_seconds_created{route=\"/ws\"} 1700000000.123\n"
                "# EOF\n");
}

// What the messages must hold, read back by field number.
struct DecodedHistogram {
  uint64_t count = 0;
  uint64_t zero_count = 0;
  int schema = 99;
  std::vector<uint64_t> cumulative;
  std::vector<double> bounds;
  std::map<int, uint64_t> native;
  size_t exemplars = 0;
  bool created = false;
};

DecodedHistogram decode_histogram(protozero::pbf_reader reader) {
  DecodedHistogram out;
  std::vector<std::pair<int, uint32_t>> spans;
  std::vector<int64_t> deltas;
  while (reader.next()) {
    switch (reader.tag()) {
      case 1:
        out.count = reader.get_uint64();
        break;
      case 3: {
        protozero::pbf_reader bucket = reader.get_message();
        while (bucket.next()) {
          if (bucket.tag() == 1) {
            out.cumulative.push_back(bucket.get_uint64());
          } else if (bucket.tag() == 2) {
            out.bounds.push_back(bucket.get_double());
          } else {
            ++out.exemplars;
            bucket.skip();
          }
        }
        break;
      }
      case 5:
        out.schema = reader.get_sint32();
        break;
      case 7:
        out.zero_count = reader.get_uint64();
        break;
      case 12: {
        protozero::pbf_reader span = reader.get_message();
        int offset = 0;
        uint32_t length = 0;
        while (span.next())
          (span.tag() == 1) ? void(offset = span.get_sint32()) : void(length = span.get_uint32());
        spans.emplace_back(offset, length);
        break;
      }
      case 13:
        for (int64_t const delta : reader.get_packed_sint64()) deltas.push_back(delta);
        break;
      case 15:
        out.created = true;
        reader.skip();
        break;
      default:
        reader.skip();
    }
  }
  int index = 0;
  int64_t value = 0;
  size_t next = 0;
  for (auto const& [offset, length] : spans) {
    index += offset;
    for (uint32_t i = 0; i < length; ++i) {
      value += deltas.at(next++);
      out.native[index++] = static_cast<uint64_t>(value);
    }
  }
  EXPECT_EQ(next, deltas.size());
  return out;
}

// The histogram of the family `name` in a delimited stream.
DecodedHistogram find_histogram(std::string const& stream, std::string const& name) {
  char const* at = stream.data();
  char const* const end = at + stream.size();
  while (at != end) {
    uint64_t const length = protozero::decode_varint(&at, end);
    protozero::pbf_reader family(at, length);
    at += length;
    bool found = false;
    while (family.next()) {
      if (family.tag() == 1) {
        found = family.get_string() == name;
      } else if (family.tag() == 4 && found) {
        protozero::pbf_reader metric = family.get_message();
        while (metric.next()) {
          if (metric.tag() == 7) return decode_histogram(metric.get_message());
          metric.skip();
        }
      } else {
        family.skip();
      }
    }
  }
  ADD_FAILURE() << "no histogram " << name;
  return {};
}

TEST_F(ExpositionTest, WritesNativeHistogramsInProtobuf) {
  auto const found = find_histogram(exposed(registry, Format::protobuf_delimited), "work_seconds");
  EXPECT_EQ(found.count, 3U);
  EXPECT_EQ(found.schema, 3);
  EXPECT_EQ(found.zero_count, 0U);
  EXPECT_EQ(found.cumulative, (std::vector<uint64_t>{1, 2, 2, 3}));
  EXPECT_EQ(found.bounds.back(), std::numeric_limits<double>::infinity());
  EXPECT_EQ(found.exemplars, 1U);
  EXPECT_TRUE(found.created);
  std::map<int, uint64_t> used;
  for (auto const& [index, n] : found.native) {
    if (n > 0) used[index] = n;
  }
  // ceil(8 log2 v) of 0.001, 0.5 and 2,000,000.
  EXPECT_EQ(used, (std::map<int, uint64_t>{{-79, 1}, {-8, 1}, {168, 1}}));
}

TEST_F(ExpositionTest, NativeBucketsAddUpToTheCountForAnyObservations) {
  uint64_t const seed = 4711;
  base::Rng rng(seed);
  auto* const family = *registry.histogram(
      {.name = "r_seconds", .help = "R.", .unit = "seconds", .labels = {}}, {.bounds = {1}});
  Histogram h = family->on(shard);
  for (int i = 0; i < 5000; ++i) h.observe(std::exp2(rng.unit() * 80 - 40));
  auto const found = find_histogram(exposed(registry, Format::protobuf_delimited), "r_seconds");
  uint64_t sum = found.zero_count;
  for (auto const& [index, n] : found.native) sum += n;
  EXPECT_EQ(sum, 5000U) << "seed " << seed;
  EXPECT_EQ(found.count, 5000U);
}

TEST_F(ExpositionTest, MarksAnEmptyHistogramAsNative) {
  ASSERT_TRUE(registry.histogram(
      {.name = "e_seconds", .help = "E.", .unit = "seconds", .labels = {}}, {.bounds = {1}}));
  auto const found = find_histogram(exposed(registry, Format::protobuf_delimited), "e_seconds");
  EXPECT_EQ(found.schema, 3);
  EXPECT_EQ(found.count, 0U);
  EXPECT_TRUE(found.native.empty());
}

TEST(Gzip, UnpacksToTheSameBytes) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "line " + std::to_string(i) + "\n";
  auto const packed = gzip(text);
  ASSERT_TRUE(packed);
  EXPECT_LT(packed->size(), text.size() / 2);
  std::string out(text.size() + 10, '\0');
  z_stream stream{};
  ASSERT_EQ(::inflateInit2(&stream, 31), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed->data()));
  stream.avail_in = static_cast<uInt>(packed->size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(::inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  ::inflateEnd(&stream);
  EXPECT_EQ(out, text);
}

TEST(FormatBound, IsWhatGoWrites) {
  EXPECT_EQ(format_bound(0.005, false), "0.005");
  EXPECT_EQ(format_bound(0.0001, false), "0.0001");
  EXPECT_EQ(format_bound(0.00001, false), "1e-05");
  EXPECT_EQ(format_bound(1, false), "1");
  EXPECT_EQ(format_bound(1, true), "1.0");
  EXPECT_EQ(format_bound(0, true), "0.0");
  EXPECT_EQ(format_bound(65536, true), "65536.0");
  EXPECT_EQ(format_bound(999999, true), "999999.0");
  EXPECT_EQ(format_bound(1e6, true), "1e+06");
  EXPECT_EQ(format_bound(1048576, false), "1.048576e+06");
  EXPECT_EQ(format_bound(-2.5, true), "-2.5");
  EXPECT_EQ(format_bound(std::numeric_limits<double>::infinity(), true), "+Inf");
}

std::string number(double value) {
  std::string out;
  TextOutput text(out);
  text.number(value);
  text.finish();
  return out;
}

TEST(TextOutput, WritesTheShortestNumberThatReadsBack) {
  EXPECT_EQ(number(0), "0");
  EXPECT_EQ(number(1.5), "1.5");
  EXPECT_EQ(number(0.1), "0.1");
  EXPECT_EQ(number(0.000001), "0.000001");
  EXPECT_EQ(number(12.050), "12.05");
  EXPECT_EQ(number(-3), "-3");
  EXPECT_EQ(number(-0.0), "-0");
  EXPECT_EQ(number(std::nan("")), "NaN");
  EXPECT_EQ(number(-std::numeric_limits<double>::infinity()), "-Inf");
  uint64_t const seed = 99;
  base::Rng rng(seed);
  for (int i = 0; i < 100'000; ++i) {
    double value = std::ldexp(rng.unit(), static_cast<int>(rng.below(80)) - 30);
    if (i % 2 == 0) value = std::round(value * 1e6) / 1e6;
    std::string const text = number(value);
    ASSERT_EQ(std::stod(text), value) << "seed " << seed << " " << text;
    char shortest[40];
    auto const end = std::to_chars(shortest, shortest + 40, value).ptr;
    ASSERT_LE(text.size(), static_cast<size_t>(end - shortest) + 5) << text;
  }
}

struct Asked {
  std::string_view accept;
  Format format;
};

TEST(Negotiate, ChoosesByQualityThenByOrder) {
  constexpr std::string_view kProtobuf =
      "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
  std::string const prometheus3 =
      "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
      "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
      "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
  std::string const native = [&] {
    std::string text(kProtobuf);
    text += ";q=0.7,";
    return text += prometheus3;
  }();
  Asked const cases[] = {
      {"", Format::text004},
      {"*/*", Format::text004},
      {"garbage;;;,,=", Format::text004},
      {"text/html", Format::text004},
      {"text/plain", Format::text004},
      {"text/plain;version=0.0.4;q=0.5", Format::text004},
      {"application/openmetrics-text", Format::openmetrics100},
      {"application/openmetrics-text; version=\"1.0.0\"", Format::openmetrics100},
      {"application/openmetrics-text;version=9.0.0", Format::text004},
      {"APPLICATION/OpenMetrics-Text;Version=1.0.0;Q=1", Format::openmetrics100},
      {"application/openmetrics-text;q=0,*/*", Format::text004},
      {"text/plain;q=0.5,application/openmetrics-text;q=0.9", Format::openmetrics100},
      {"text/plain,application/openmetrics-text", Format::text004},
      {"application/openmetrics-text,text/plain", Format::openmetrics100},
      {"text/plain;q=0,*/*;q=0.1", Format::openmetrics100},
      {"application/vnd.google.protobuf", Format::text004},
      {kProtobuf, Format::protobuf_delimited},
      {prometheus3, Format::openmetrics100},
      {native, Format::protobuf_delimited},
      {"text/plain;q=nonsense,application/openmetrics-text;q=0.1", Format::openmetrics100},
  };
  for (Asked const& c : cases) {
    Negotiated const got = negotiate(c.accept, "");
    EXPECT_EQ(got.format, c.format) << c.accept;
    EXPECT_EQ(got.content_type, content_type(c.format));
    EXPECT_FALSE(got.gzip);
  }
}

TEST(Negotiate, CompressesOnlyWhenAsked) {
  EXPECT_TRUE(negotiate("", "gzip").gzip);
  EXPECT_TRUE(negotiate("", "deflate, x-gzip;q=0.4").gzip);
  EXPECT_TRUE(negotiate("", "*").gzip);
  EXPECT_TRUE(negotiate("", "gzip;q=0.5, identity;q=0.2").gzip);
  EXPECT_FALSE(negotiate("", "").gzip);
  EXPECT_FALSE(negotiate("", "br").gzip);
  EXPECT_FALSE(negotiate("", "gzip;q=0, *").gzip);
  EXPECT_FALSE(negotiate("", "gzip;q=0.5, identity").gzip);
}

}  // namespace
}  // namespace wscope::telemetry
