#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "api/envelope.h"
#include "api/json_body.h"
#include "api/observer.h"
#include "api/page.h"
#include "base/clock.h"

namespace wscope::api {
namespace {

using base::kSecond;
using testing::HasSubstr;

// 2026-01-02T03:04:05.678Z
constexpr int64_t kSomeTime = 1'767'323'045'678'000'000;

net::Request get(std::vector<net::NameValue> params = {}) {
  net::Request request;
  request.method = "GET";
  request.params = std::move(params);
  return request;
}

std::string header(net::Response const& response, std::string_view name) {
  for (auto const& [key, value] : response.headers) {
    if (key == name) return value;
  }
  return "";
}

LoggerSource two_loggers(std::vector<LoggerRow>& rows) {
  return {[&] { return rows; },
          [&](std::string_view name, std::string_view level) -> base::Status {
            if (level != "DEBUG" && level != "INFO") {
              return base::fail(base::Errc::invalid, "no level '" + std::string(level) + "'");
            }
            for (LoggerRow& row : rows) {
              if (row.name != name) continue;
              row.level = level;
              return {};
            }
            return base::fail(base::Errc::not_found, "no logger '" + std::string(name) + "'");
          }};
}

TEST(Envelope, WritesTimesInUtcWithMilliseconds) {
  EXPECT_EQ(utc_text(kSomeTime), "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(utc_text(0), "1970-01-01T00:00:00.000Z");
}

TEST(Envelope, ErrorsHaveTheStatusTheirKindCallsFor) {
  struct Case {
    base::Errc code;
    int status;
    char const* type;
  };
  for (Case const c : {Case{base::Errc::invalid, 400, "bad_data"},
                       {base::Errc::over_limit, 400, "bad_data"},
                       {base::Errc::not_found, 404, "not_found"},
                       {base::Errc::exists, 422, "execution"},
                       {base::Errc::timeout, 503, "unavailable"},
                       {base::Errc::closed, 503, "unavailable"},
                       {base::Errc::io, 500, "internal"}}) {
    net::Response const response = failure({c.code, "say \"why\""});
    EXPECT_EQ(response.status, c.status);
    EXPECT_THAT(response.body, HasSubstr("\"errorType\":\"" + std::string(c.type) + "\""));
    EXPECT_THAT(response.body, HasSubstr(R"(say \"why\")"));
  }
}

TEST(Metrics, JoinsAcceptFieldsAndPassesWhatTheSourceSays) {
  std::string asked;
  net::Request request = get();
  request.headers = {{"Accept", "text/plain"}, {"X", "y"}, {"ACCEPT", "a/b;q=0.5"}};
  net::Response const response = metrics(request, [&](std::string_view accept) {
    asked = accept;
    return MetricsBody{"text/plain; version=0.0.4; charset=utf-8", "up 1\n"};
  });
  EXPECT_EQ(asked, "text/plain, a/b;q=0.5");
  EXPECT_EQ(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(response.body, "up 1\n");
  EXPECT_EQ(header(response, "Cache-Control"), "no-store");
}

TEST(Health, ReadySaysWhyNot) {
  EXPECT_EQ(healthz().status, 200);
  EXPECT_EQ(healthz().body, "{\"status\":\"ok\"}\n");
  EXPECT_EQ(readyz({}).status, 200);
  EXPECT_EQ(readyz({}).body, "{\"status\":\"ready\"}\n");
  net::Response const draining = readyz({false, {"draining", "no \"loop\""}});
  EXPECT_EQ(draining.status, 503);
  EXPECT_EQ(draining.body, R"({"status":"not_ready","reasons":["draining","no \"loop\""]})"
                           "\n");
}

TEST(Sessions, ListsWhatThePageHolds) {
  SessionRow row;
  row.key = mask_key("k3Xaaaaaaaaaaaaa");
  row.connections = 2;
  row.opened_unix_ns = kSomeTime;
  row.last_seen_unix_ns = kSomeTime + kSecond;
  row.messages_in = 3;
  row.messages_out = 4;
  row.bytes_in = 5;
  row.bytes_out = 6;
  row.route = "/ws/{room}";
  row.client = "127.0.0.1";
  size_t asked_offset = 0;
  size_t asked_limit = 0;
  SessionSource const source = [&](size_t offset, size_t limit, SessionDone const& done) {
    asked_offset = offset;
    asked_limit = limit;
    done(SessionPage{{row}, 12});
  };
  auto const answer = [&source](net::Request const& request) {
    net::Response out;
    sessions(request, source, [&out](net::Response response) { out = std::move(response); });
    return out;
  };
  EXPECT_EQ(answer(get({{"offset", "11"}, {"limit", "5"}})).body,
            R"j({"status":"success","data":{"sessions":[{"session":"k3Xa… (16)","connections":2,)j"
            R"("opened":"2026-01-02T03:04:05.678Z","last_seen":"2026-01-02T03:04:06.678Z",)"
            R"("messages_in":3,"messages_out":4,"bytes_in":5,"bytes_out":6,"route":"/ws/{room}",)"
            R"("client":"127.0.0.1"}],"total":12,"limit":5,"offset":11}})"
            "\n");
  EXPECT_EQ(asked_offset, 11u);
  EXPECT_EQ(asked_limit, 5u);
  EXPECT_EQ(answer(get()).status, 200);
  EXPECT_EQ(asked_limit, kRowsDefault);
  EXPECT_EQ(asked_offset, 0u);
  for (char const* limit : {"-1", "x", "10001", ""}) {
    EXPECT_EQ(answer(get({{"limit", limit}})).status, 400) << limit;
  }
  EXPECT_EQ(answer(get({{"offset", "1.5"}})).status, 400);
}

TEST(Sessions, MaskedKeysDoNotGiveTheKeyAway) {
  EXPECT_EQ(mask_key(""), "… (0)");
  EXPECT_EQ(mask_key("short-key-1"), "… (11)");
  EXPECT_EQ(mask_key("0123456789ab"), "0123… (12)");
  EXPECT_EQ(mask_key("\n\x80\"<789abcdef"), "\?\?\"<… (13)");
}

TEST(Loggers, ListsReadsAndSetsLevels) {
  std::vector<LoggerRow> rows = {{"http", "INFO"}, {"websocket", "INFO"}};
  LoggerSource const source = two_loggers(rows);
  EXPECT_EQ(loggers(source).body,
            R"({"status":"success","data":{"loggers":[{"name":"http","level":"INFO"},)"
            R"({"name":"websocket","level":"INFO"}]}})"
            "\n");
  net::Response const set = set_logger("http", R"( { "level" : "DEBUG" } )", source);
  EXPECT_EQ(set.status, 200);
  EXPECT_EQ(set.body,
            "{\"status\":\"success\",\"data\":{\"name\":\"http\",\"level\":\"DEBUG\"}}\n");
  EXPECT_EQ(rows[0].level, "DEBUG");
  EXPECT_EQ(logger("http", source).body, set.body);
  EXPECT_THAT(logger("websokcet", source).body, HasSubstr("did you mean 'websocket'?"));
  EXPECT_EQ(logger("websokcet", source).status, 404);
  EXPECT_EQ(set_logger("nobody", R"({"level":"DEBUG"})", source).status, 404);
  EXPECT_EQ(set_logger("http", R"({"level":"LOUD"})", source).status, 400);
  EXPECT_EQ(rows[0].level, "DEBUG") << "a refused level changes nothing";
}

TEST(JsonBody, TakesExactlyOneTextMember) {
  EXPECT_EQ(only_text_member(R"({"level":"\u0044EBUG"})", "level").value(), "DEBUG");
  for (char const* bad :
       {"", "{", "[]", "\"level\"", "{}", R"({"level":1})", R"({"level":null})", R"({"levl":"A"})",
        R"({"level":"A","x":1})", R"({"level":"A","level":"B"})", R"({"level":"A"}x)",
        R"({'level':'A'})", "{\"level\":\"\xff\"}", R"({"level":["A"]})"}) {
    auto const read = only_text_member(bad, "level");
    ASSERT_FALSE(read) << bad;
    EXPECT_EQ(read.error().code, base::Errc::invalid);
    EXPECT_THAT(read.error().what,
                testing::StartsWith("body: expected {\"level\": \"…\"}, found "));
  }
  EXPECT_FALSE(only_text_member(std::string(100'000, ' ') + R"({"level":"A"})", "level"));
  EXPECT_FALSE(only_text_member(std::string(50'000, '['), "level"));
}

TEST(ConfigApi, CarriesTheYamlAsText) {
  EXPECT_EQ(config([] { return std::string("a: '***'\nb: 1\n"); }).body,
            "{\"status\":\"success\",\"data\":{\"yaml\":\"a: '***'\\nb: 1\\n\"}}\n");
}

StatusSample sample_at(int64_t second, uint64_t messages) {
  StatusSample sample;
  sample.unix_ns = kSomeTime + second * kSecond;
  sample.connections_open = 7;
  sample.messages_in = messages;
  sample.messages_out = 2 * messages;
  sample.p95_s = 0.25;
  sample.dropped = {{"spans", 1}};
  return sample;
}

StatusFacts facts() {
  return {"1.2.3", kSomeTime - 10 * kSecond, 2, "http://e:1", "http://o:2", ""};
}

TEST(Status, IsValidAndEmptyBeforeTheFirstSample) {
  StatusBoard const board(facts());
  EXPECT_EQ(board.json({false, {"starting"}}),
            R"({"version":"1.2.3","started":"2026-01-02T03:03:55.678Z","ready":false,)"
            R"("reasons":["starting"],"loops":2,"edge":"http://e:1","observer":"http://o:2",)"
            R"("upstream":"","uptime_seconds":0,"connections_total":0,"messages_in":0,)"
            R"("messages_out":0,"bytes_in":0,"bytes_out":0,"errors":0,"connections_open":null,)"
            R"("messages_in_per_second":null,"messages_out_per_second":null,)"
            R"("errors_per_second":null,"p95_seconds":null,"sessions":null,"memory_bytes":null,)"
            R"("cpu_ratio":null,"dropped":{},"history":{"unix_ms":[],"connections_open":[],)"
            R"("messages_in_per_second":[],"messages_out_per_second":[],"errors_per_second":[],)"
            R"("p95_seconds":[],"sessions":[],"memory_bytes":[],"cpu_ratio":[]}})");
}

TEST(Status, MakesRatesFromTotalsOverTheTimeBetweenSamples) {
  StatusBoard board(facts());
  board.push(sample_at(0, 1000));
  board.push(sample_at(2, 1500));
  StatusSample idle = sample_at(3, 1500);
  idle.p95_s = std::numeric_limits<double>::quiet_NaN();
  board.push(idle);
  std::string const json = board.json({});
  EXPECT_THAT(json, HasSubstr(R"("uptime_seconds":13,)"));
  EXPECT_THAT(json, HasSubstr(R"("messages_in":1500,"messages_out":3000,)"));
  EXPECT_THAT(json, HasSubstr(R"("connections_open":7,"messages_in_per_second":0,)"));
  EXPECT_THAT(json, HasSubstr(R"("messages_in_per_second":[0,250,0])"));
  EXPECT_THAT(json, HasSubstr(R"("messages_out_per_second":[0,500,0])"));
  EXPECT_THAT(json, HasSubstr(R"("p95_seconds":[0.25,0.25,null])"));
  EXPECT_THAT(json, HasSubstr(R"("dropped":{"spans":1})"));
}

TEST(Status, IgnoresSamplesThatGoBackInTime) {
  StatusBoard board(facts());
  board.push(sample_at(5, 10));
  board.push(sample_at(5, 20));
  board.push(sample_at(1, 30));
  EXPECT_THAT(board.json({}), HasSubstr(R"("messages_in":10,)"));
}

TEST(Status, KeepsTheLastFiveMinutesOldestFirst) {
  StatusBoard board(facts());
  for (int64_t i = 0; i < 450; ++i) board.push(sample_at(i, static_cast<uint64_t>(i * i)));
  std::string const json = board.json({});
  int64_t const first_ms = (kSomeTime + 150 * kSecond) / 1'000'000;
  EXPECT_THAT(json, HasSubstr("\"unix_ms\":[" + std::to_string(first_ms) + "," +
                              std::to_string(first_ms + 1000) + ","));
  // i² − (i − 1)² = 2i − 1, for i = 150 … 449.
  EXPECT_THAT(json, HasSubstr(R"("messages_in_per_second":[299,301,303,)"));
  EXPECT_THAT(json, HasSubstr(R"(895,897],"messages_out_per_second":[)"));
}

TEST(Page, PolicyAllowsItsOwnStyleAndScriptAndNothingFromElsewhere) {
  net::Response const response = page();
  EXPECT_EQ(response.status, 200);
  EXPECT_THAT(response.content_type, testing::StartsWith("text/html"));
  std::string const policy = header(response, "Content-Security-Policy");
  EXPECT_THAT(policy,
              testing::MatchesRegex("default-src 'none'; connect-src 'self'; img-src data:; "
                                    "style-src 'sha256-[A-Za-z0-9+/]{43}='; "
                                    "script-src 'sha256-[A-Za-z0-9+/]{43}='; base-uri 'none'; "
                                    "form-action 'none'; frame-ancestors 'none'"));
  PageParts const parts = page_parts();
  EXPECT_THAT(response.body, HasSubstr("<style>" + std::string(parts.style) + "</style>"));
  EXPECT_THAT(response.body, HasSubstr("<script>" + std::string(parts.script) + "</script>"));
  EXPECT_GT(parts.style.size(), 1000u);
  EXPECT_GT(parts.script.size(), 1000u);
  for (char const* outside : {"src=\"", "@import", "url(", "//cdn", "innerHTML", "{{"}) {
    EXPECT_EQ(response.body.find(outside), std::string::npos) << outside;
  }
}

}  // namespace
}  // namespace wscope::api
