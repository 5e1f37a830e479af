#include "gateway/rooms.h"

#include <gtest/gtest.h>

#include <list>
#include <map>

#include "gateway/test_gateway.h"

namespace wscope::gateway {
namespace {

using namespace test;
using net::ws::Opcode;

std::string const kDeflate = "Sec-WebSocket-Extensions: permessage-deflate";

// Many members on three loops talk at once: each hears everything once, in the order it was said by
// each.
TEST(RoomsTest, TellsEveryMemberOfEveryLoopOnce) {
  constexpr size_t kMembers = 9;
  constexpr size_t kMessages = 300;
  RigOptions options;
  options.loops = 3;
  Rig rig(options);
  std::vector<Socket> members;
  for (size_t i = 0; i < kMembers; ++i) members.push_back(upgraded(rig.port, "/ws/all"));
  ASSERT_TRUE(rig.comes_to("app_active_connections", kMembers));
  std::list<runtime::Thread> threads;
  std::vector<std::string> faults(kMembers);
  for (size_t i = 0; i < kMembers; ++i) {
    threads.emplace_back("member", [&, i] {
      size_t next[kMembers] = {};
      size_t said = 0;
      for (size_t heard = 0; heard < kMembers * kMessages; ++heard) {
        // A few at a time, so that what is said here meets what comes from elsewhere.
        while (said < kMessages && said * kMembers <= heard + 8 * kMembers) {
          if (!members[i].send(text_frame(std::to_string(i) + ":" + std::to_string(said++)))) break;
        }
        Frame const frame = members[i].frame();
        size_t const colon = frame.payload.find(':');
        if (!frame.good || colon == std::string::npos) {
          faults[i] = "ended after " + std::to_string(heard);
          return;
        }
        size_t const by = std::stoul(frame.payload.substr(0, colon));
        if (std::stoul(frame.payload.substr(colon + 1)) != next[by]++) {
          faults[i] = "got " + frame.payload + " and expected " + std::to_string(next[by] - 1);
          return;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (std::string const& fault : faults) EXPECT_EQ(fault, "");
  pause_ms(50);
  for (Socket& member : members) EXPECT_TRUE(member.quiet());
  members.clear();
  rig.end([&] {
    EXPECT_EQ(rig.value("app_messages_total"), kMembers * kMessages);
    EXPECT_EQ(rig.value("ws_deliveries_total"), kMembers * kMembers * kMessages);
    EXPECT_EQ(rig.value("ws_messages_total", {"\"out\""}), kMembers * kMembers * kMessages);
    EXPECT_EQ(rig.observations("app_message_processing_seconds"), kMembers * kMessages);
    EXPECT_EQ(rig.spans([](Rig::Spans const& s) { return s.records; }), kMembers * kMessages);
  });
}

TEST(RoomsTest, KeepsAMembersOwnWordsFromItIfAsked) {
  Rig rig;
  Socket quiet = upgraded(rig.port, "/ws/a?echo=0");
  Socket other = upgraded(rig.port, "/ws/a");
  Socket elsewhere = upgraded(rig.port, "/ws/b");
  ASSERT_TRUE(quiet.send(text_frame("one") + text_frame("two")));
  EXPECT_EQ(other.frame().payload, "one");
  EXPECT_EQ(other.frame().payload, "two");
  ASSERT_TRUE(other.send(text_frame("three")));
  EXPECT_EQ(quiet.frame().payload, "three");
  EXPECT_EQ(other.frame().payload, "three");
  EXPECT_TRUE(elsewhere.quiet());
  rig.end([&] { EXPECT_EQ(rig.value("ws_deliveries_total"), 4); });
}

// A client that can only look back 512 bytes is sent nothing that looks further.
TEST(RoomsTest, CompressesWithinTheWindowThatWasAgreed) {
  Rig rig;
  Socket small = upgraded(rig.port, "/ws/a", kDeflate + "; server_max_window_bits=9\r\n");
  Socket large = upgraded(rig.port, "/ws/a", kDeflate + "\r\n");
  Socket plain = upgraded(rig.port, "/ws/a");
  base::Rng rng;
  std::string noise;
  while (noise.size() < 4000) noise += static_cast<char>('a' + rng.below(26));
  noise += noise;  // repeats at a distance of 4,000
  ASSERT_TRUE(plain.send(text_frame(noise)));
  EXPECT_EQ(plain.frame().payload, noise);
  Frame const packed = large.frame();
  EXPECT_EQ(packed.reserved, 4);
  net::ws::Inflater inflater;
  auto const inflated = inflater.inflate(packed.payload, 1 << 20, 200);
  ASSERT_TRUE(inflated.has_value());
  EXPECT_EQ(*inflated, noise);
  Frame const narrow = small.frame();
  if (narrow.reserved == 0) {
    EXPECT_EQ(narrow.payload, noise);
  } else {
    // Half of it can not be told in terms of the other half.
    EXPECT_GT(narrow.payload.size(), noise.size() / 2);
  }
  double const compressed = narrow.reserved == 0 ? 1 : 2;
  rig.end([&] {
    EXPECT_EQ(rig.value("ws_compressed_messages_total", {"\"out\""}), compressed);
    EXPECT_EQ(rig.value("ws_compressed_messages_total", {"\"in\""}), 0);
  });
}

TEST(RoomsTest, EndsASlowConsumerAndGoesOn) {
  RigOptions options;
  options.config.send_queue_limit = 256 << 10;
  Rig rig(options);
  Socket slow = upgraded(rig.port, "/ws/a", {}, 8 << 10);
  Socket talker = upgraded(rig.port, "/ws/a");
  std::string const message(50'000, 'm');
  size_t said = 0;
  while (said < 2000 && rig.value("app_errors_total", {"slow_consumer"}) == 0) {
    ASSERT_TRUE(talker.send(text_frame(message)));
    ASSERT_EQ(talker.frame().payload, message);
    ++said;
  }
  ASSERT_LT(said, 2000U);
  ASSERT_TRUE(talker.send(text_frame("after")));
  EXPECT_EQ(talker.frame().payload, "after");
  // Whatever the slow one was sent, it is whole messages but for the last.
  std::string const got = slow.rest();
  double const sent = static_cast<double>(said);
  talker.close();
  rig.end([&] {
    EXPECT_EQ(rig.value("app_messages_total"), sent + 1);
    // The message it was ended for was not delivered to it.
    EXPECT_EQ(rig.value("ws_deliveries_total"), 2 * sent);
    EXPECT_EQ(rig.value("ws_closes_total", {"\"1008\"", "\"gateway\""}), 1);
  });
  EXPECT_LE(got.size(), (said - 1) * (message.size() + 4));
}

TEST(RoomsTest, MembersComeAndGoWhileOthersTalk) {
  RigOptions options;
  options.loops = 3;
  Rig rig(options);
  runtime::Flag stop;
  std::list<runtime::Thread> threads;
  for (size_t i = 0; i < 4; ++i) {
    threads.emplace_back("guest", [&, i] {
      for (size_t round = 0; !stop.up(); ++round) {
        Socket guest = upgraded(rig.port, round % 2 == 0 ? "/ws/x" : "/ws/y",
                                i % 2 == 0 ? kDeflate + "\r\n" : "");
        if (!guest.send(text_frame("hi"))) continue;
        (void)guest.frame();
        if (round % 2 == 0) guest.reset();
      }
    });
  }
  Socket talker = upgraded(rig.port, "/ws/x");
  size_t heard = 0;
  for (int i = 0; i < 500; ++i) {
    std::string const mine = "mine " + std::to_string(i);
    ASSERT_TRUE(talker.send(text_frame(mine)));
    for (;;) {
      Frame const frame = talker.frame();
      ASSERT_TRUE(frame.good);
      ++heard;
      if (frame.payload == mine) break;
      ASSERT_EQ(frame.payload, "hi");
    }
  }
  stop.raise();
  for (auto& thread : threads) thread.join();
  EXPECT_GE(heard, 500U);
  talker.close();
  rig.end([&] { EXPECT_EQ(rig.value("app_errors_total"), 0); });
}

}  // namespace
}  // namespace wscope::gateway
