#include "gateway/sessions.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"

namespace wscope::gateway {
namespace {

using base::kSecond;

constexpr int64_t kStart = 1'700'000'000 * kSecond;
constexpr int64_t kGrace = 30 * kSecond;

TEST(SessionKey, FindsCookies) {
  EXPECT_EQ(cookie_value("sessionid=abc", "sessionid"), "abc");
  EXPECT_EQ(cookie_value("a=1; sessionid=abc; b=2", "sessionid"), "abc");
  EXPECT_EQ(cookie_value("xsessionid=no;sessionid=\"q=1\"", "sessionid"), "q=1");
  EXPECT_EQ(cookie_value("sessionid=first; sessionid=second", "sessionid"), "first");
  EXPECT_EQ(cookie_value("SESSIONID=abc", "sessionid"), "") << "cookie names are case-sensitive";
  EXPECT_EQ(cookie_value("sessionid", "sessionid"), "");
  EXPECT_EQ(cookie_value("sessionid=", "sessionid"), "");
  EXPECT_EQ(cookie_value(";;=;", "sessionid"), "");
  EXPECT_EQ(cookie_value("", "sessionid"), "");
  EXPECT_EQ(cookie_value("s=\"", "s"), "\"");
}

TEST(SessionKey, FindsQueryParameters) {
  EXPECT_EQ(query_value("/ws/a?token=t1&x=2", "token"), "t1");
  EXPECT_EQ(query_value("/ws/a?x=2&token=t%201#f", "token"), "t%201");
  EXPECT_EQ(query_value("/ws/a?mytoken=1", "token"), "");
  EXPECT_EQ(query_value("/ws/a?token", "token"), "");
  EXPECT_EQ(query_value("/ws/token=1", "token"), "");
  EXPECT_EQ(query_value("/ws?&&=&token==", "token"), "=");
}

TEST(SessionKey, TakesCookieThenHeaderThenQuery) {
  net::RequestHead head;
  head.target = "/ws/a?sid=from-query";
  head.fields = {{"Cookie", "other=1"}, {"X-Session", "from-header"}, {"cookie", "sessionid=c"}};
  SessionConfig names;
  EXPECT_EQ(session_key(head, names), "c");
  names = {.cookie = "absent", .header = "x-session", .query = "sid"};
  EXPECT_EQ(session_key(head, names), "from-header");
  names.header = "x-absent";
  EXPECT_EQ(session_key(head, names), "from-query");
  names.query = "absent";
  EXPECT_EQ(session_key(head, names), "");
  names = {.cookie = "", .header = "", .query = ""};
  EXPECT_EQ(session_key(head, names), "");
}

TEST(SessionTable, HashIsSipHash) {
  // The paper's test vector: key 00 … 0f, input 00 … 0e.
  SessionTable table(kGrace, 10, {{0x0706050403020100, 0x0f0e0d0c0b0a0908}});
  std::string input;
  for (char c = 0; c < 15; ++c) input += c;
  EXPECT_EQ(table.ref_of(input).value, 0xa129ca6149be45e5u);
  EXPECT_EQ(masked(table.ref_of(input)), "a129ca61");
  SessionTable other(kGrace), another(kGrace);
  EXPECT_NE(other.ref_of(input), another.ref_of(input)) << "each table draws its own secret";
}

TEST(SessionTable, LivesOverReconnectsWithinGrace) {
  SessionTable table(kGrace);
  SessionRef const a = table.open("alice", kStart);
  EXPECT_EQ(table.count(), 1u);
  table.close(a, kStart + 10 * kSecond);
  EXPECT_TRUE(table.expire(kStart + 39 * kSecond).empty());
  EXPECT_EQ(table.count(), 1u) << "within grace";
  EXPECT_EQ(table.open("alice", kStart + 39 * kSecond), a);
  EXPECT_TRUE(table.expire(kStart + 500 * kSecond).empty()) << "connected";
  table.close("alice", kStart + 600 * kSecond);
  EXPECT_TRUE(table.expire(kStart + 630 * kSecond - 1).empty());
  EXPECT_EQ(table.expire(kStart + 630 * kSecond), std::vector<int64_t>{600 * kSecond});
  EXPECT_EQ(table.count(), 0u);
}

TEST(SessionTable, CountsConnectionsOfOneSession) {
  SessionTable table(kGrace);
  SessionRef const ref = table.open("k", kStart);
  table.open("k", kStart + 1);
  EXPECT_EQ(table.count(), 1u);
  table.close(ref, kStart + 5);
  EXPECT_TRUE(table.expire(INT64_MAX).empty()) << "one connection is left";
  auto const row = table.find(ref);
  ASSERT_TRUE(row);
  EXPECT_EQ(row->connections, 1u);
  EXPECT_EQ(row->opened, 2u);
  EXPECT_EQ(row->first_open_ns, kStart);
  EXPECT_EQ(row->last_close_ns, kStart + 5);
  table.close(ref, kStart + 7);
  table.close(ref, kStart + 99);
  EXPECT_EQ(table.expire(INT64_MAX), std::vector<int64_t>{7}) << "a close too many changes nothing";
  EXPECT_FALSE(table.find(ref));
}

TEST(SessionTable, BoundIsCountedAndHarmless) {
  SessionTable table(kGrace, 2);
  SessionRef const a = table.open("a", kStart);
  table.open("b", kStart);
  SessionRef const c = table.open("c", kStart);
  EXPECT_FALSE(c.tracked());
  EXPECT_EQ(table.untracked(), 1u);
  table.close(c, kStart + 1);
  EXPECT_EQ(table.open("a", kStart), a) << "a known one still connects";
  EXPECT_FALSE(table.open("", kStart).tracked());
  EXPECT_EQ(table.untracked(), 1u) << "no key is no loss";
  EXPECT_EQ(table.count(), 2u);
}

TEST(SessionTable, ClockSetBackGivesNoNegativeDuration) {
  SessionTable table(kGrace);
  table.close(table.open("a", kStart), kStart - kSecond);
  EXPECT_EQ(table.expire(INT64_MAX), std::vector<int64_t>{0});
}

TEST(SessionTable, ListsRowsInPages) {
  SessionTable table(kGrace);
  std::map<uint64_t, int> seen;
  for (int i = 0; i < 25; ++i) table.open("key" + std::to_string(i), kStart + i);
  for (size_t offset = 0; offset < 40; offset += 10) {
    for (SessionRow const& row : table.rows(offset, 10)) ++seen[row.session.value];
  }
  EXPECT_EQ(seen.size(), 25u);
  for (auto const& [hash, times] : seen) EXPECT_EQ(times, 1);
  EXPECT_EQ(table.rows(24, 10).size(), 1u);
}

// Random opens, closes and ticks against a plain map of the same rules.
TEST(SessionTable, AgreesWithAPlainModel) {
  struct Model {
    int64_t first = 0, last = 0;
    int connections = 0;
  };
  SessionTable table(kGrace);
  std::map<std::string, Model> model;
  base::Rng rng(3);
  int64_t now = kStart;
  for (int step = 0; step < 50'000; ++step) {
    std::string const key = "k" + std::to_string(rng.below(200));
    now += static_cast<int64_t>(rng.below(2)) * kSecond;
    if (rng.below(2) == 0) {
      table.open(key, now);
      auto& m = model.try_emplace(key, Model{now, 0, 0}).first->second;
      ++m.connections;
    } else if (auto const it = model.find(key); it != model.end() && it->second.connections > 0) {
      table.close(key, now);
      --it->second.connections;
      it->second.last = now;
    }
    std::multiset<int64_t> want;
    std::erase_if(model, [&](auto const& entry) {
      Model const& m = entry.second;
      if (m.connections > 0 || m.last > now - kGrace) return false;
      want.insert(m.last - m.first);
      return true;
    });
    std::vector<int64_t> const got = table.expire(now);
    ASSERT_EQ(std::multiset<int64_t>(got.begin(), got.end()), want) << "seed 3 step " << step;
    ASSERT_EQ(table.count(), model.size()) << "seed 3 step " << step;
  }
}

TEST(SessionTable, StaysWithinAHundredBytesASession) {
  size_t const before = ::mallinfo2().uordblks;
  auto table = std::make_unique<SessionTable>(kGrace);
  constexpr size_t kSessions = 200'000;
  for (size_t i = 0; i < kSessions; ++i) table->open("key" + std::to_string(i), kStart);
  size_t const grown = ::mallinfo2().uordblks - before;
  // Large arrays are mapped apart from the heap, so ask for those too.
  size_t const mapped = ::mallinfo2().hblkhd;
  if (grown == 0) GTEST_SKIP() << "this allocator does not say what it holds";
  EXPECT_LE((grown + mapped) / kSessions, 100u);
}

}  // namespace
}  // namespace wscope::gateway
