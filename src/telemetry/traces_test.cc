#include "telemetry/traces.h"

#include <gtest/gtest.h>

#include <set>

#include "telemetry/otlp.h"
#include "telemetry/span_exporter.h"

namespace wscope::telemetry {
namespace {

struct Taken final : SpanReceiver {
  std::vector<SpanRecord> records;
  std::vector<std::string> names;
  std::vector<std::string> correlations;
  void take(std::span<SpanRecord const> more) override {
    for (SpanRecord const& record : more) {
      records.push_back(record);
      // A connection released too early is a use after free here.
      if (record.connection) correlations.emplace_back(record.connection->correlation_id());
    }
  }
  void take(std::unique_ptr<model::Span> span) override { names.push_back(span->name); }
};

struct TracesTest : testing::Test {
  base::ManualClock clock;
  Registry registry{clock};
  SpanFamilies families = *span_families(registry);
  Shard& shard = registry.shard("test");
  runtime::Signal wake;

  std::unique_ptr<TraceShard> make(double ratio, size_t records = 64, bool active = true) {
    return std::make_unique<TraceShard>(SamplingOptions{.active = active, .ratio = ratio},
                                        families.dropped->on(shard, {"ring_full"}), wake, records);
  }
  static std::unique_ptr<model::ConnectionInfo> connection(std::string_view correlation) {
    return model::ConnectionInfo::make({.correlation_id = correlation});
  }
};

TEST_F(TracesTest, SamplesTheRatio) {
  EXPECT_FALSE(make(0)->sample());
  auto const all = make(1);
  auto const quarter = make(0.25);
  int kept = 0;
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_TRUE(all->sample());
    kept += quarter->sample();
  }
  EXPECT_NEAR(kept, 25'000, 1'000);  // seven standard deviations
}

TEST_F(TracesTest, KeepsErrorsAndSlowMessages) {
  auto const none = make(0);
  EXPECT_FALSE(none->keep(false, 500 * base::kMilli, false));
  EXPECT_TRUE(none->keep(false, 500 * base::kMilli + 1, false));
  EXPECT_TRUE(none->keep(false, 0, true));
  EXPECT_TRUE(none->keep(true, 0, false));
  auto const off = make(1, 64, false);
  EXPECT_FALSE(off->keep(false, base::kSecond, true));
}

TEST_F(TracesTest, RecordsNothingWhenNotActive) {
  auto const off = make(1, 64, false);
  Taken taken;
  auto info = connection("c");
  SpanRecord record;
  record.connection = info.get();
  EXPECT_FALSE(off->sample());
  off->record(record);
  off->span(std::make_unique<model::Span>());
  off->release(std::move(info));
  off->publish();
  EXPECT_EQ(off->drain(taken), 0U);
  EXPECT_TRUE(taken.records.empty());
}

TEST_F(TracesTest, HandsOverInOrderAndDeletesConnectionsAfterTheirRecords) {
  auto const traces = make(1);
  Taken taken;
  auto one = connection("one");
  auto two = connection("two");
  SpanRecord record;
  record.connection = one.get();
  traces->record(record);
  record.connection = two.get();
  traces->record(record);
  auto span = std::make_unique<model::Span>();
  span->name = "websocket.connect";
  traces->span(std::move(span));
  traces->release(std::move(one));
  traces->record(record);
  EXPECT_EQ(traces->drain(taken), 0U);
  traces->publish();
  EXPECT_EQ(traces->drain(taken), 5U);
  EXPECT_EQ(taken.correlations, (std::vector<std::string>{"one", "two", "two"}));
  EXPECT_EQ(taken.names, std::vector<std::string>{"websocket.connect"});
}

TEST_F(TracesTest, DropsSpansWhenFullButNeverAReleasedConnection) {
  auto const traces = make(1, 4);
  Taken taken;
  auto info = connection("c");
  SpanRecord record;
  record.connection = info.get();
  for (int i = 0; i < 10; ++i) traces->record(record);
  traces->span(std::make_unique<model::Span>());
  traces->release(std::move(info));
  traces->release(connection("d"));
  EXPECT_EQ(families.dropped->total(), 7U);
  traces->publish();
  traces->drain(taken);
  EXPECT_EQ(taken.records.size(), 4U);
  traces->publish();
  EXPECT_EQ(traces->drain(taken), 2U);  // the two releases
}

TEST_F(TracesTest, WakesTheCollectorOnceAQuarterIsWritten) {
  auto const traces = make(1, 64);
  auto const info = connection("c");
  SpanRecord record;
  record.connection = info.get();
  for (int i = 0; i < 16; ++i) traces->record(record);
  traces->publish();
  EXPECT_FALSE(wake.wait(0));
  traces->record(record);
  traces->publish();
  EXPECT_TRUE(wake.wait(0));
}

TEST_F(TracesTest, FreesWhatNobodyDrained) {
  auto const traces = make(1, 4);  // found by the leak checker if not
  traces->span(std::make_unique<model::Span>());
  for (int i = 0; i < 8; ++i) traces->release(connection("c"));
}

TEST(SpanRecord, KeepsDurationsOfAnyLength) {
  SpanRecord record;
  record.set_duration_ns(4'294'967'295);
  EXPECT_EQ(record.duration_ns(), 4'294'967'295);
  record.set_duration_ns(-1);
  EXPECT_EQ(record.duration_ns(), 0);
  record.set_duration_ns(4'294'967'296);
  EXPECT_EQ(record.duration_ns(), 4'294'967'000);
  SpanRecord endless;
  endless.set_duration_ns(INT64_MAX);
  EXPECT_EQ(endless.duration_ns(), int64_t{UINT32_MAX} * 1000);
}

TEST_F(TracesTest, DrawsIdsThatAreNeverZeroOrRepeated) {
  auto const traces = make(1);
  std::set<std::string> seen;
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(traces->new_span().valid());
    ASSERT_TRUE(seen.insert(base::to_hex(traces->new_trace())).second);
  }
}

// A loop and the collector: every record arrives once, in order, with its connection alive.
TEST_F(TracesTest, CrossesThreads) {
  auto const traces = make(1, 1024);
  constexpr uint32_t kRecords = 50'000;
  runtime::Flag done;
  runtime::Thread loop("loop", [&] {
    auto info = connection("c0");
    for (uint32_t i = 1; i <= kRecords; ++i) {
      SpanRecord record;
      record.connection = info.get();
      record.trace = traces->new_trace();
      record.sequence = i;
      traces->record(record);
      if (i % 100 == 0) {
        traces->release(std::move(info));
        info = connection("c" + std::to_string(i));
        traces->publish();
      }
    }
    traces->release(std::move(info));
    traces->publish();
    done.raise();
  });
  Taken taken;
  while (!done.up()) traces->drain(taken);
  loop.join();
  traces->publish();
  traces->drain(taken);
  traces->publish();
  traces->drain(taken);
  EXPECT_EQ(taken.records.size() + families.dropped->total(), kRecords);
  uint32_t before = 0;
  for (SpanRecord const& record : taken.records) {
    ASSERT_GT(record.sequence, before);
    before = record.sequence;
  }
}

}  // namespace
}  // namespace wscope::telemetry
