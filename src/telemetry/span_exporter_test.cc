#include "telemetry/span_exporter.h"

#include <gtest/gtest.h>

namespace wscope::telemetry {
namespace {

using base::kMilli;
using base::kSecond;

struct QueueTest : testing::Test {
  base::ManualClock clock;
  ExporterOptions options{.batch_spans = 4};
  std::unique_ptr<ExportQueue> queue;
  std::unique_ptr<model::ConnectionInfo> connection =
      model::ConnectionInfo::make({.correlation_id = "c"});

  void SetUp() override { restart(); }
  void restart() { queue = std::make_unique<ExportQueue>(options, 7); }
  int64_t now() const { return clock.steady_ns(); }
  void add(int n) {
    SpanRecord record;
    record.connection = connection.get();
    for (int i = 0; i < n; ++i) queue->add(record, now());
  }
  // Sends the batch that is due and gives it this answer; 0 if none is due.
  size_t send(HttpOutcome const& outcome) {
    auto batch = queue->next(now());
    if (!batch) return 0;
    size_t const count = batch->count;
    queue->finish(std::move(*batch), outcome, now(), clock.unix_ns());
    return count;
  }
  static uint64_t dropped(ExportQueue::Counts const& counts, SpanDrop reason) {
    return counts.dropped[static_cast<size_t>(reason)];
  }
};

TEST_F(QueueTest, SendsFullBatchesAtOnceAndOthersAfterASecond) {
  add(5);
  EXPECT_EQ(send({.status = 200}), 4U);
  EXPECT_EQ(send({.status = 200}), 0U);
  EXPECT_EQ(queue->due_in(now(), 10 * kSecond), kSecond);
  clock.advance(kSecond - 1);
  EXPECT_EQ(send({.status = 200}), 0U);
  clock.advance(1);
  EXPECT_EQ(queue->due_in(now(), 10 * kSecond), 0);
  EXPECT_EQ(send({.status = 202}), 1U);
  EXPECT_EQ(queue->take_counts().exported, 5U);
  EXPECT_EQ(queue->spans(), 0U);
  EXPECT_EQ(queue->bytes(), 0U);
}

TEST_F(QueueTest, CountsPartialSuccessAndNeverSendsItAgain) {
  add(4);
  EXPECT_EQ(send({.status = 200, .body = R"({"partialSuccess":{"rejectedSpans":"3"}})"}), 4U);
  auto const counts = queue->take_counts();
  EXPECT_EQ(counts.exported, 1U);
  EXPECT_EQ(dropped(counts, SpanDrop::rejected), 3U);
  clock.advance(3600 * kSecond);
  EXPECT_EQ(send({.status = 200}), 0U);
}

TEST_F(QueueTest, NeverRetriesWhatIsRefused) {
  for (int const status : {301, 400, 401, 404, 413, 500, 501}) {
    add(4);
    EXPECT_EQ(send({.status = status}), 4U);
    clock.advance(3600 * kSecond);
    EXPECT_EQ(send({.status = 200}), 0U) << status;
    EXPECT_EQ(dropped(queue->take_counts(), SpanDrop::refused), 4U) << status;
  }
}

TEST_F(QueueTest, BacksOffExponentiallyWithJitter) {
  for (int const status : {0, 429, 502, 503, 504}) {
    restart();
    add(4);
    int64_t full = kSecond;
    for (int attempt = 0; attempt < 7; ++attempt) {
      ASSERT_EQ(send({.status = status}), 4U) << status << " attempt " << attempt;
      int64_t const wait = queue->due_in(now(), 3600 * kSecond);
      EXPECT_GE(wait, full / 2) << attempt;
      EXPECT_LE(wait, full) << attempt;
      clock.advance(wait - 1);
      EXPECT_EQ(send({.status = 200}), 0U);
      clock.advance(1);
      full = std::min(2 * full, 30 * kSecond);
    }
    EXPECT_EQ(send({.status = 200}), 4U);
    EXPECT_EQ(queue->take_counts().exported, 4U);
  }
}

TEST_F(QueueTest, HonoursRetryAfterInSecondsAndAsADate) {
  add(8);
  EXPECT_EQ(send({.status = 429, .retry_after = "17"}), 4U);
  EXPECT_EQ(queue->due_in(now(), 3600 * kSecond), 17 * kSecond);
  clock.advance(17 * kSecond);
  // The manual clock starts at Tue, 14 Nov 2023 22:13:20 GMT.
  EXPECT_EQ(send({.status = 503, .retry_after = "Tue, 14 Nov 2023 22:14:00 GMT"}), 4U);
  EXPECT_EQ(queue->due_in(now(), 3600 * kSecond), 23 * kSecond);
  clock.advance(23 * kSecond);
  EXPECT_EQ(send({.status = 200}), 4U);
  EXPECT_EQ(send({.status = 200}), 4U);  // the wait was over for all
}

TEST_F(QueueTest, GivesUpAfterFiveMinutes) {
  add(4);
  int attempts = 0;
  int64_t const start = now();
  while (queue->spans() > 0) {
    ASSERT_EQ(send({.status = 503}), 4U);
    ++attempts;
    clock.advance(queue->due_in(now(), 3600 * kSecond));
  }
  EXPECT_GT(attempts, 10);
  EXPECT_LE(now() - start, 3600 * kSecond + 300 * kSecond);
  EXPECT_EQ(dropped(queue->take_counts(), SpanDrop::retries_exhausted), 4U);
}

TEST_F(QueueTest, IsBoundedBySpansAndBytes) {
  options.queue_spans = 10;
  restart();
  add(15);
  EXPECT_EQ(queue->spans(), 10U);
  EXPECT_EQ(dropped(queue->take_counts(), SpanDrop::queue_full), 5U);
  options.queue_spans = 1'000'000;
  options.queue_bytes = 2000;
  restart();
  add(100);
  EXPECT_LT(queue->bytes(), 3000U);
  EXPECT_EQ(queue->spans() + dropped(queue->take_counts(), SpanDrop::queue_full), 100U);
}

TEST_F(QueueTest, CountsWhatIsLeftAtTheEnd) {
  add(6);
  queue->drop_rest();
  EXPECT_EQ(dropped(queue->take_counts(), SpanDrop::shutdown), 6U);
  EXPECT_EQ(queue->spans(), 0U);
}

TEST(RetryAfter, ReadsSecondsAndDates) {
  int64_t const at = 784'111'777 * kSecond;  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(parse_retry_after("120", at), 120 * kSecond);
  EXPECT_EQ(parse_retry_after(" 0 ", at), 0);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:40 GMT", at), 3 * kSecond);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", at), 0);
  EXPECT_EQ(parse_retry_after("99999999999999999", at), 1'000'000'000 * kSecond);
  for (char const* const bad : {"", "soon", "-1", "1.5", "Sun, 06 Foo 1994 08:49:40 GMT",
                                "Sunday, 06-Nov-94 08:49:37 GMT"}) {
    EXPECT_EQ(parse_retry_after(bad, at), std::nullopt) << bad;
  }
}

struct ExporterTest : testing::Test {
  base::RealClock clock;
  Registry registry{clock};
  SpanFamilies families = *span_families(registry);
  std::unique_ptr<model::ConnectionInfo> connection =
      model::ConnectionInfo::make({.correlation_id = "c"});
  runtime::Guarded<std::vector<std::string>> bodies;
  runtime::SharedCell calls;

  std::vector<SpanRecord> records(size_t n) const {
    SpanRecord record;
    record.connection = connection.get();
    return std::vector<SpanRecord>(n, record);
  }
};

TEST_F(ExporterTest, SendsFromItsThreadAndTheRestAtTheEnd) {
  SpanExporter exporter(clock, {.encoding = Encoding::json, .batch_spans = 10}, families,
                        registry.shard("export"),
                        [&](std::string const& body, std::string_view type, bool zipped) {
                          EXPECT_EQ(type, "application/json");
                          EXPECT_FALSE(zipped);
                          bodies.with([&](auto& all) { all.push_back(body); });
                          return HttpOutcome{.status = 200};
                        });
  exporter.start();
  auto const some = records(25);
  exporter.take(some);
  exporter.take(std::make_unique<model::Span>());
  exporter.stop();
  EXPECT_EQ(families.exported->total(), 26U);
  EXPECT_EQ(families.dropped->total(), 0U);
  EXPECT_EQ(bodies.with([](auto& all) { return all.size(); }), 3U);
  EXPECT_EQ(exporter.last_error(), "");
}

TEST_F(ExporterTest, CompressesLargeBodiesWhenAsked) {
  SpanExporter exporter(clock, {.gzip = true}, families, registry.shard("export"),
                        [&](std::string const& body, std::string_view type, bool zipped) {
                          EXPECT_EQ(type, "application/x-protobuf");
                          EXPECT_TRUE(zipped);
                          EXPECT_EQ(body.substr(0, 2), "\x1f\x8b");
                          calls.add(1);
                          return HttpOutcome{.status = 200};
                        });
  exporter.start();
  auto const some = records(25);
  exporter.take(some);
  exporter.stop();
  EXPECT_EQ(calls.read(), 1U);
}

TEST_F(ExporterTest, DropsAndCountsWhatADeadReceiverLeavesBehind) {
  SpanExporter exporter(clock, {.batch_spans = 10}, families, registry.shard("export"),
                        [&](std::string const&, std::string_view, bool) {
                          calls.add(1);
                          return HttpOutcome{.error = "connection refused"};
                        });
  exporter.start();
  auto const some = records(30);
  exporter.take(some);
  while (calls.read() == 0) {
  }
  exporter.stop();
  EXPECT_EQ(families.exported->total(), 0U);
  EXPECT_EQ(families.dropped->total(), 30U);
  EXPECT_EQ(exporter.last_error(), "connection refused");
}

}  // namespace
}  // namespace wscope::telemetry
