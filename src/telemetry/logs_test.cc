#include "telemetry/logs.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/clock.h"

namespace wscope::telemetry {
namespace {

constexpr int64_t kTime = 1'767'323'045'678'901'234;  // 2026-01-02T03:04:05.678901234Z

struct LogsTest : testing::Test {
  base::ManualClock clock;
  Registry registry{clock};
  Loggers loggers;
  runtime::Signal wake;
  LogShard::Families families = *LogShard::families(registry);
  std::unique_ptr<LogShard> shard = make(64 << 10);

  std::unique_ptr<LogShard> make(size_t bytes) {
    return *LogShard::make(loggers, families, registry.shard("test"), wake, bytes);
  }
  std::string drained() {
    std::string out;
    shard->publish();
    shard->drain([&](std::string_view lines) { out += lines; });
    return out;
  }
  uint64_t dropped(Level level) const { return shard->dropped(level); }
};

TEST_F(LogsTest, WritesEveryKeyInOrder) {
  shard->log(kLogWebsocket, Level::warning, {"edge", "on_close", 42}, kTime, "closed",
             {.correlation_id = "c1", .session_id = "s1", .connection_id = "7"},
             {{"code", uint64_t{1006}},
              {"reason", std::string_view("gone")},
              {"delta", int64_t{-3}},
              {"seconds", 1.5},
              {"clean", false}},
             "broken pipe");
  EXPECT_EQ(
      drained(),
      R"({"timestamp":"2026-01-02T03:04:05.678901Z","level":"WARNING","logger":"websocket",)"
      R"("message":"closed","module":"edge","function":"on_close","line":42,)"
      R"("correlation_id":"c1","trace_id":null,"span_id":null,"session_id":"s1",)"
      R"("connection_id":"7","exception":"broken pipe",)"
      R"("extra_fields":{"code":1006,"reason":"gone","delta":-3,"seconds":1.5,"clean":false}})"
      "\n");
}

TEST_F(LogsTest, WritesNullsAndAnEmptyObjectForWhatIsAbsent) {
  base::TraceId trace;
  trace.bytes[15] = 0xab;
  base::SpanId span;
  span.bytes[0] = 0xcd;
  shard->log(kLogWscope, Level::info, {"m", "f", 1}, 0, "x", {.trace_id = trace, .span_id = span});
  EXPECT_EQ(drained(),
            R"({"timestamp":"1970-01-01T00:00:00.000000Z","level":"INFO","logger":"wscope",)"
            R"("message":"x","module":"m","function":"f","line":1,"correlation_id":null,)"
            R"("trace_id":"000000000000000000000000000000ab","span_id":"cd00000000000000",)"
            R"("session_id":null,"connection_id":null,"exception":null,"extra_fields":{}})"
            "\n");
}

TEST_F(LogsTest, LetsNoValueForgeALine) {
  std::string const evil = "x\"}\n{\"level\":\"ERROR\"\r\x1b[31m\xff\xe2\x80\xa8";
  shard->log(kLogWscope, Level::info, {"m", "f", 1}, kTime, evil,
             {.correlation_id = evil, .session_id = evil, .connection_id = evil}, {{evil, evil}},
             evil);
  std::string const line = drained();
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_EQ(line.back(), '\n');
  EXPECT_EQ(line.find('\x1b'), std::string::npos);
  EXPECT_EQ(line.find('\r'), std::string::npos);
  EXPECT_EQ(line.find("\"level\":\"ERROR\""), std::string::npos);
}

TEST_F(LogsTest, WritesNumbersWithoutAJsonFormAsText) {
  shard->log(kLogWscope, Level::info, {"m", "f", 1}, kTime, "x", {},
             {{"a", std::nan("")}, {"b", INFINITY}, {"c", UINT64_MAX}, {"d", INT64_MIN}});
  EXPECT_NE(drained().find(R"("extra_fields":{"a":"NaN","b":"+Inf","c":18446744073709551615,)"
                           R"("d":-9223372036854775808})"),
            std::string::npos);
}

TEST_F(LogsTest, CutsEndlessTextAndSaysSo) {
  shard = make(1 << 20);
  std::string const text(LogShard::kLineTextMax - 1, 'a');
  shard->log(kLogWscope, Level::info, {"m", "f", 1}, kTime, text + "\xc3\xa4rest", {},
             {{"more", std::string_view("lost")}});
  std::string const line = drained();
  EXPECT_NE(line.find("a [+6 bytes]\",\"module\""), std::string::npos);
  EXPECT_NE(line.find("\"extra_fields\":{\"fields_cut\":1}"), std::string::npos);
}

TEST_F(LogsTest, ObeysLevelsThatChangeAtRunTime) {
  EXPECT_FALSE(shard->enabled(kLogMessage, Level::debug));
  shard->log(kLogMessage, Level::debug, {"m", "f", 1}, kTime, "off", {});
  EXPECT_EQ(drained(), "");
  ASSERT_TRUE(loggers.set_level("websocket.message", Level::debug));
  EXPECT_TRUE(shard->enabled(kLogMessage, Level::debug));
  EXPECT_FALSE(shard->enabled(kLogWebsocket, Level::debug));
  shard->log(kLogMessage, Level::debug, {"m", "f", 1}, kTime, "on", {});
  EXPECT_NE(drained().find("\"message\":\"on\""), std::string::npos);
  ASSERT_TRUE(loggers.set_level("websocket.message", Level::critical));
  EXPECT_FALSE(shard->enabled(kLogMessage, Level::error));
}

TEST_F(LogsTest, NamesTheNearestLogger) {
  auto const status = loggers.set_level("websockt", Level::info);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, base::Errc::not_found);
  EXPECT_NE(status.error().what.find("did you mean 'websocket'?"), std::string::npos);
  EXPECT_EQ(loggers.add("websocket")->value, kLogWebsocket.value);
  EXPECT_EQ(loggers.name(*loggers.add("mine", Level::error)), "mine");
  EXPECT_EQ(loggers.list().size(), 5U);
  EXPECT_EQ(loggers.list()[4].level, Level::error);
  for (int i = 0; i < 100; ++i) (void)loggers.add("logger" + std::to_string(i));
  EXPECT_EQ(loggers.add("one more").error().code, base::Errc::over_limit);
}

TEST(Level, IsReadByName) {
  EXPECT_EQ(parse_level("debug"), Level::debug);
  EXPECT_EQ(parse_level("Warn"), Level::warning);
  EXPECT_EQ(parse_level("CRITICAL"), Level::critical);
  EXPECT_EQ(parse_level("verbose"), std::nullopt);
  EXPECT_EQ(level_name(Level::error), "ERROR");
}

// An error must find room where an info no longer does.
TEST_F(LogsTest, DropsByImportanceAndCounts) {
  auto const log = [&](Level level) {
    shard->log(kLogWscope, level, {"m", "f", 1}, kTime, std::string(200, 'x'), {});
  };
  while (dropped(Level::info) == 0) log(Level::info);
  EXPECT_EQ(dropped(Level::warning), 0U);
  log(Level::warning);
  EXPECT_EQ(dropped(Level::warning), 0U);
  while (dropped(Level::warning) == 0) log(Level::warning);
  log(Level::error);
  log(Level::critical);
  EXPECT_EQ(dropped(Level::error), 0U);
  EXPECT_EQ(dropped(Level::critical), 0U);
  while (dropped(Level::error) == 0) log(Level::error);
  std::string const all = drained();
  uint64_t lines = 0;
  for (size_t i = 0; i < kLevels; ++i) lines += shard->lines(static_cast<Level>(i));
  EXPECT_EQ(static_cast<uint64_t>(std::count(all.begin(), all.end(), '\n')), lines);
  EXPECT_EQ(families.dropped->total(),
            dropped(Level::info) + dropped(Level::warning) + dropped(Level::error));
  log(Level::info);  // there is room again
  EXPECT_EQ(dropped(Level::info), 1U);
}

TEST_F(LogsTest, WakesTheCollectorOnceAQuarterIsWritten) {
  EXPECT_FALSE(wake.wait(0));
  shard->log(kLogWscope, Level::info, {"m", "f", 1}, kTime, "x", {});
  shard->publish();
  EXPECT_FALSE(wake.wait(0));
  shard->log(kLogWscope, Level::info, {"m", "f", 1}, kTime, std::string(17'000, 'x'), {});
  shard->publish();
  EXPECT_TRUE(wake.wait(0));
  shard->publish();
  EXPECT_FALSE(wake.wait(0));
}

TEST_F(LogsTest, ShowsTheRightTimeOverYears) {
  struct Case {
    int64_t seconds;
    std::string_view text;
  };
  for (Case const& c : {Case{951'782'399, "2000-02-28T23:59:59.000007Z"},
                        Case{951'782'400, "2000-02-29T00:00:00.000007Z"},
                        Case{951'868'800, "2000-03-01T00:00:00.000007Z"},
                        Case{1'767'225'599, "2025-12-31T23:59:59.000007Z"},
                        Case{4'107'542'400, "2100-03-01T00:00:00.000007Z"}}) {
    shard->log(kLogWscope, Level::info, {"m", "f", 1}, c.seconds * base::kSecond + 7'999, "x", {});
    EXPECT_EQ(drained().substr(14, 27), c.text);
  }
}

struct MessageTest : LogsTest {
  base::Rng rng{3};
  PreparedMessage prepared{
      loggers, kLogMessage, Level::debug, {"edge", "on_message", 9}, "message"};

  std::unique_ptr<model::ConnectionInfo> connection(std::string_view session,
                                                    std::string_view correlation = "corr-1",
                                                    std::string_view route = "/echo") {
    return model::ConnectionInfo::make({.id = 4711,
                                        .correlation_id = correlation,
                                        .session_id = session,
                                        .route = route,
                                        .trace = rng.trace_id(),
                                        .handshake_span = rng.span_id()});
  }
  // The line by the general form.
  std::string slow(MessageLine const& line) {
    model::ConnectionInfo const& c = *line.connection;
    std::string const id = std::to_string(c.id());
    constexpr std::string_view kNames[] = {"continuation", "text",  "binary", "other",
                                           "other",        "other", "other",  "other",
                                           "close",        "ping",  "pong"};
    shard->log(kLogMessage, Level::debug, {"edge", "on_message", 9}, line.unix_ns, "message",
               {c.correlation_id(), c.session_id(), id, line.trace.valid() ? line.trace : c.trace(),
                line.span},
               {{"direction", std::string_view(line.outbound ? "out" : "in")},
                {"opcode", kNames[line.opcode]},
                {"size", line.size},
                {"wire", line.wire},
                {"route", c.route()},
                {"seq", line.sequence}});
    return drained();
  }
};

TEST_F(MessageTest, FastFormWritesWhatTheGeneralFormDoes) {
  ASSERT_TRUE(loggers.set_level("websocket.message", Level::debug));
  std::string const long_text(model::ConnectionInfo::kTextMax, 'z');
  std::string const sessions[] = {"",       "s",        "0123456789abcdef", "0123456789abcdef0",
                                  "a\"b\n", "\xc3\xa4", long_text};
  uint64_t const seed = 5;
  base::Rng random(seed);
  for (int round = 0; round < 300; ++round) {
    auto const info =
        connection(sessions[static_cast<size_t>(round) % 7], round % 5 == 0 ? "" : "corr-1",
                   round % 11 == 0 ? std::string_view(long_text) : "/ws/{room}");
    MessageLine line{.connection = info.get(),
                     .unix_ns = kTime + static_cast<int64_t>(random.below(100'000'000'000'000)),
                     .size = random.next() >> random.below(64),
                     .wire = random.next() >> random.below(64),
                     .sequence = random.next() >> random.below(64),
                     .outbound = round % 2 == 0,
                     .opcode = static_cast<uint8_t>(random.below(11))};
    if (round % 3 == 0) line.span = rng.span_id();
    if (round % 4 == 0) line.trace = rng.trace_id();
    shard->message_line(prepared, line);
    std::string const fast = drained();
    ASSERT_EQ(fast, slow(line)) << "seed " << seed << " round " << round;
  }
  EXPECT_EQ(dropped(Level::debug), 0U);
}

TEST_F(MessageTest, FastFormIsBoundedAndCounted) {
  auto const info = connection("s");
  MessageLine line{.connection = info.get(), .unix_ns = kTime};
  for (int i = 0; i < 1000; ++i) shard->message_line(prepared, line);
  EXPECT_GT(dropped(Level::debug), 0U);
  EXPECT_EQ(shard->lines(Level::debug) + dropped(Level::debug), 1000U);
  std::string const all = drained();
  EXPECT_LE(all.size(), (64U << 10) * 3 / 4);
  EXPECT_EQ(static_cast<uint64_t>(std::count(all.begin(), all.end(), '\n')),
            shard->lines(Level::debug));
}

// A writer and the collector on two threads: all lines arrive whole and in order.
TEST_F(MessageTest, LinesArriveWholeAcrossThreads) {
  auto const info = connection("s");
  constexpr uint64_t kLines = 20'000;
  uint64_t expected = 0;
  runtime::Flag done;
  runtime::Thread writer("writer", [&] {
    MessageLine line{.connection = info.get(), .unix_ns = kTime};
    for (uint64_t i = 0; i < kLines; ++i) {
      line.sequence = i;
      shard->message_line(prepared, line);
      if (i % 32 == 0) shard->publish();
    }
    shard->publish();
    done.raise();
  });
  uint64_t seen = 0;
  auto const check = [&](std::string_view lines) {
    while (!lines.empty()) {
      size_t const end = lines.find('\n');
      ASSERT_NE(end, std::string_view::npos);
      std::string_view const line = lines.substr(0, end);
      ASSERT_TRUE(line.starts_with("{\"timestamp\"")) << line;
      size_t const at = line.rfind("\"seq\":") + 6;
      uint64_t const sequence = std::stoull(std::string(line.substr(at)));
      ASSERT_GE(sequence, expected);
      expected = sequence + 1;
      ++seen;
      lines.remove_prefix(end + 1);
    }
  };
  while (!done.up()) shard->drain(check);
  writer.join();
  shard->drain(check);
  EXPECT_EQ(seen + dropped(Level::debug), kLines);
  EXPECT_GT(seen, 0U);
}

}  // namespace
}  // namespace wscope::telemetry
