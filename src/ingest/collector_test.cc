#include "ingest/collector.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace wscope::ingest {
namespace {

using namespace telemetry;

struct MemorySink final : LogSink {
  std::string text;
  bool refuse = false;
  void write(std::string_view lines) override {
    if (refuse) {
      count_dropped(lines);
    } else {
      text += lines;
    }
  }
  std::string_view name() const override { return "memory"; }
};

struct Spans final : SpanReceiver {
  size_t records = 0;
  size_t full = 0;
  void take(std::span<SpanRecord const> more) override { records += more.size(); }
  void take(std::unique_ptr<model::Span>) override { ++full; }
};

struct CollectorTest : testing::Test {
  base::ManualClock clock;
  Registry registry{clock};
  Loggers loggers;
  LogShard::Families log_families = *LogShard::families(registry);
  std::unique_ptr<Collector> collector = *Collector::make(clock, registry);
  Shard& shard = registry.shard("loop");
  std::unique_ptr<LogShard> logs =
      *LogShard::make(loggers, log_families, shard, collector->wake(), LogShard::kThreadBytes);
  CounterFamily* dropped =
      *registry.counter({.name = "spans_dropped_total", .help = "Dropped.", .labels = {"reason"}});
  TraceShard traces{{.active = true}, dropped->on(shard, {"ring_full"}), collector->wake(), 1024};
  MemorySink sink;
  Spans spans;

  void SetUp() override {
    collector->add(*logs);
    collector->add(traces);
    collector->add(sink);
    collector->set_receiver(spans);
  }
  void log(std::string_view message) {
    logs->log(kLogWscope, Level::info, {"test", "log", 1}, clock.unix_ns(), message, {});
  }
  uint64_t total(std::string_view name) const {
    for (FamilySnapshot const& family : registry.collect()) {
      if (family.info->name == name) return family.children.at(0).count;
    }
    return 0;
  }
};

TEST_F(CollectorTest, DrainsLogsAndSpansOnATick) {
  log("one");
  traces.record({});
  traces.span(std::make_unique<model::Span>());
  collector->tick();
  EXPECT_EQ(sink.text, "");  // nothing was published
  logs->publish();
  traces.publish();
  collector->tick();
  EXPECT_NE(sink.text.find("\"message\":\"one\""), std::string::npos);
  EXPECT_EQ(spans.records, 1U);
  EXPECT_EQ(spans.full, 1U);
  EXPECT_EQ(total("wscope_collector_ticks_total"), 2U);
}

TEST_F(CollectorTest, CountsWhatASinkDrops) {
  sink.refuse = true;
  log("one");
  log("two");
  logs->publish();
  collector->tick();
  collector->tick();
  EXPECT_EQ(total("wscope_log_sink_dropped_lines_total"), 2U);
}

TEST_F(CollectorTest, CallsOnceASecond) {
  std::vector<int64_t> at;
  collector->on_second([&](int64_t unix_ns) { at.push_back(unix_ns); });
  int64_t const start = clock.unix_ns();
  for (int i = 0; i < 25; ++i) {
    collector->tick();
    clock.advance(100 * base::kMilli);
  }
  EXPECT_EQ(at, (std::vector<int64_t>{start, start + base::kSecond, start + 2 * base::kSecond}));
}

TEST_F(CollectorTest, LetsACallbackAddParts) {
  MemorySink late;
  collector->on_second([&](int64_t) { collector->add(late); });
  collector->tick();
  log("one");
  logs->publish();
  collector->tick();
  EXPECT_NE(late.text, "");
}

TEST_F(CollectorTest, RefusesASecondCollectorInARegistry) {
  EXPECT_EQ(Collector::make(clock, registry).error().code, base::Errc::exists);
}

// A writing loop and the collector's thread; stop() leaves nothing behind.
TEST_F(CollectorTest, LosesNothingBetweenStartAndStop) {
  collector->start();
  constexpr size_t kLines = 5'000;
  runtime::Thread loop("loop", [&] {
    auto info = model::ConnectionInfo::make({.correlation_id = "c"});
    SpanRecord record;
    record.connection = info.get();
    for (size_t i = 0; i < kLines; ++i) {
      log("line");
      traces.record(record);
      if (i % 10 == 0) {
        logs->publish();
        traces.publish();
      }
    }
    traces.release(std::move(info));
    logs->publish();
    traces.publish();
  });
  loop.join();
  collector->stop();
  auto const lines = static_cast<size_t>(std::count(sink.text.begin(), sink.text.end(), '\n'));
  EXPECT_EQ(lines + logs->dropped(Level::info), kLines);
  EXPECT_EQ(spans.records + dropped->total(), kLines);
  EXPECT_GT(lines, 0U);
}

}  // namespace
}  // namespace wscope::ingest
