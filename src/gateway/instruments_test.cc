#include "gateway/instruments.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include "base/clock.h"
#include "gateway/http_guard.h"
#include "net/http_head.h"

namespace wscope::gateway {
namespace {

struct InstrumentsTest : testing::Test {
  base::RealClock clock;
  telemetry::Registry registry{clock};
  Families families{registry};
  telemetry::Shard& shard = registry.shard("loop");
  LoopInstruments in{families, shard};

  // Children of a family: labels and count.
  std::map<std::string, uint64_t> children(std::string_view name) const {
    std::map<std::string, uint64_t> out;
    for (auto const& family : registry.collect()) {
      if (family.info->name != name) continue;
      for (auto const& child : family.children) out[child.info->labels] = child.count;
    }
    return out;
  }
  uint64_t total(std::string_view name) const {
    uint64_t sum = 0;
    for (auto const& [labels, count] : children(name)) sum += count;
    return sum;
  }
};

TEST_F(InstrumentsTest, EveryKnownErrorExistsAtZeroOnce) {
  std::vector<ErrorKind> const known = known_errors();
  std::set<std::pair<std::string_view, std::string_view>> distinct;
  for (ErrorKind const& kind : known) distinct.insert({kind.type, kind.code});
  EXPECT_EQ(distinct.size(), known.size());
  auto const before = children("app_errors_total");
  EXPECT_EQ(before.size(), known.size());
  for (auto const& [labels, count] : before) EXPECT_EQ(count, 0U) << labels;
  for (ErrorKind const& kind : known) in.error(kind);
  EXPECT_EQ(children("app_errors_total").size(), known.size());
  EXPECT_EQ(total("app_errors_total"), known.size());
}

// Whatever refuses a head or a handshake has its child from the start.
TEST_F(InstrumentsTest, KnowsTheErrorsOfTheParsers) {
  std::set<std::string_view> types;
  for (ErrorKind const& kind : known_errors()) types.insert(kind.type);
  for (std::string_view type : kHandshakeErrorTypes) EXPECT_TRUE(types.contains(type)) << type;
  for (std::string_view type : net::kHeadErrorTypes) {
    EXPECT_EQ(types.contains(type), type != "bad_status_line") << type;
  }
}

TEST_F(InstrumentsTest, ClosesKeepTheirSumWhateverCodesPeersChoose) {
  constexpr uint64_t kRoutes = 4;
  for (uint16_t code = 3000; code < 5000; ++code) {
    for (uint64_t route = 0; route < kRoutes; ++route) {
      in.closed("/" + std::to_string(route), code, Initiator::client);
    }
  }
  EXPECT_EQ(total("ws_closes_total"), 2000 * kRoutes);
  EXPECT_LE(children("ws_closes_total").size(), 1001U);
}

TEST_F(InstrumentsTest, LabelsMethodsFromAClosedList) {
  EXPECT_EQ(method_label("GET"), "GET");
  EXPECT_EQ(method_label("get"), "other");
  EXPECT_EQ(method_label("X\"} 1"), "other");
  auto const before = children("django_http_requests_total");
  in.http_request("BREW", "/pot", 418, 0.1);
  auto const after = children("django_http_requests_total");
  EXPECT_EQ(after.size(), before.size() + 1);
  EXPECT_EQ(after.at("method=\"other\",endpoint=\"/pot\",status=\"418\""), 1U);
}

TEST_F(InstrumentsTest, ATurnsTallyReachesTheCellsOnce) {
  RouteInstruments& route = in.route(1, "/echo");
  in.tally(route).messages[0][1] += 3;
  in.tally(route).frames[1][5] += 2;
  in.tally(route).wire[0][2] += 100;
  in.add_messages(5, 3);
  EXPECT_EQ(total("ws_messages_total"), 0U);
  in.flush();
  in.flush();
  EXPECT_EQ(total("ws_messages_total"), 3U);
  EXPECT_EQ(total("ws_frames_total"), 2U);
  EXPECT_EQ(total("ws_wire_bytes_total"), 100U);
  EXPECT_EQ(total("app_messages_total"), 5U);
  EXPECT_EQ(total("app_requests_total"), 3U);
}

TEST_F(InstrumentsTest, IndexesFramesWithoutGaps) {
  using net::ws::Opcode;
  std::set<size_t> seen;
  for (Opcode opcode : {Opcode::continuation, Opcode::text, Opcode::binary, Opcode::close,
                        Opcode::ping, Opcode::pong}) {
    seen.insert(frame_index(opcode));
  }
  EXPECT_EQ(seen, (std::set<size_t>{0, 1, 2, 3, 4, 5}));
}

}  // namespace
}  // namespace wscope::gateway
