#include "gateway/relay.h"

#include <gtest/gtest.h>

#include "gateway/test_gateway.h"

namespace wscope::gateway {
namespace {

using namespace test;
using net::ws::Opcode;

// Sends back every frame as a server would, until the other side closes.
void echo(Socket& socket) {
  for (;;) {
    Frame const frame = socket.frame();
    if (!frame.good) return;
    std::string const out = net::ws::test::frame(
        frame.payload, {.opcode = frame.opcode, .fin = frame.fin, .masked = false});
    if (!socket.send(out) || frame.opcode == Opcode::close) return;
  }
}

RigOptions relayed(Backend const& backend) {
  RigOptions options;
  options.config.upstream = backend.url();
  return options;
}

TEST(RelayTest, PassesBothWaysAndCountsExactly) {
  Backend backend([](Socket& socket, int) {
    if (!accept_handshake(socket, "Sec-WebSocket-Protocol: chat\r\n").empty()) echo(socket);
  });
  Rig rig(relayed(backend));
  Socket client = upgraded(rig.port, "/ws/room/");
  ASSERT_TRUE(client.open());
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(client.send(text_frame("m" + std::to_string(i))));
    ASSERT_EQ(client.frame().payload, "m" + std::to_string(i));
  }
  ASSERT_TRUE(client.send(close_frame(1000)));
  EXPECT_EQ(client.frame().code(), 1000);
  EXPECT_TRUE(client.ended());
  client.close();
  rig.end([&] {
    EXPECT_EQ(rig.value("app_messages_total"), 50);
    EXPECT_EQ(rig.value("app_requests_total"), 51);
    EXPECT_EQ(rig.value("app_errors_total"), 0);
    EXPECT_EQ(rig.observations("app_message_processing_seconds"), 50);
    EXPECT_EQ(rig.observations("ws_reply_seconds"), 50);
    EXPECT_EQ(rig.value("ws_messages_total", {"\"out\""}), 50);
    EXPECT_EQ(rig.value("ws_closes_total", {"\"1000\"", "\"client\""}), 1);
    EXPECT_EQ(rig.spans([](Rig::Spans const& s) { return s.records; }), 100U);
    EXPECT_EQ(rig.spans([](Rig::Spans const& s) { return s.full.size(); }), 2U);
  });
}

TEST(RelayTest, PassesFramesThatCameWithTheHandshakes) {
  Backend backend([](Socket& socket, int) {
    (void)accept_handshake(socket, {}, text_frame("welcome", false));
    echo(socket);
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(handshake_text("/a") + text_frame("early")));
  EXPECT_TRUE(client.head().starts_with("HTTP/1.1 101"));
  EXPECT_EQ(client.frame().payload, "welcome");
  EXPECT_EQ(client.frame().payload, "early");
}

// A violation that came with the handshake: closed, and gone when the time for closing is over.
TEST(RelayTest, RefusesAnEarlyViolationInTime) {
  Backend backend([](Socket& socket, int) {
    (void)accept_handshake(socket);
    (void)socket.frame();
    pause_ms(3'500);  // does not end its side
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(handshake_text("/a") + text_frame("bad", false)));
  EXPECT_TRUE(client.head().starts_with("HTTP/1.1 101"));
  EXPECT_EQ(client.frame().code(), 1002);
  int64_t const since = rig.clock.steady_ns();
  ASSERT_TRUE(soon([&] { return rig.gateway->sockets() == 0; }));
  EXPECT_LT(rig.clock.steady_ns() - since, 3 * base::kSecond);
}

TEST(RelayTest, HoldsASenderBackForASlowClient) {
  constexpr size_t kTotal = 32 << 20;
  std::string message;
  for (size_t i = 0; i < 100'000; ++i) message += static_cast<char>('a' + i % 23);
  std::string const frame = net::ws::test::frame(message, {.masked = false});
  runtime::SharedCell sent;
  Backend backend([&](Socket& socket, int) {
    (void)accept_handshake(socket);
    while (sent.read() < kTotal && socket.send(frame)) sent.add(frame.size());
    (void)socket.send(close_frame(1000, false));
    (void)socket.rest();
  });
  Rig rig(relayed(backend));
  Socket client = upgraded(rig.port, "/a", {}, 16 << 10);
  ASSERT_TRUE(soon([&] { return rig.value("ws_held_back_total") > 0; }));
  pause_ms(200);
  EXPECT_LT(sent.read(), kTotal);
  EXPECT_LT(rig.value("ws_send_queue_bytes"), 600.0 * 1024);
  size_t frames = 0;
  for (;; ++frames) {
    Frame const got = client.frame();
    ASSERT_TRUE(got.good) << frames;
    if (got.opcode == Opcode::close) break;
    ASSERT_EQ(got.payload, message) << frames;
  }
  EXPECT_EQ(frames * frame.size(), sent.read());
  ASSERT_TRUE(client.send(close_frame(1000)));
  EXPECT_TRUE(client.ended());
}

TEST(RelayTest, HoldsAClientBackForASlowBackend) {
  constexpr size_t kFrames = 320;
  std::string const message(100'000, 'c');
  runtime::Flag read;
  runtime::SharedCell got;
  Backend backend([&](Socket& socket, int) {
    (void)accept_handshake(socket);
    while (!read.up()) pause_ms(5);
    for (;;) {
      Frame const frame = socket.frame();
      if (!frame.good || frame.payload != message) break;
      got.add(1);
    }
  });
  Rig rig(relayed(backend));
  Socket client = upgraded(rig.port, "/a");
  runtime::Thread writer("writer", [&] {
    for (size_t i = 0; i < kFrames; ++i) {
      if (!client.send(text_frame(message))) break;
    }
    client.close();
  });
  ASSERT_TRUE(soon([&] { return rig.value("ws_held_back_total") > 0; }));
  EXPECT_LT(rig.value("ws_send_queue_bytes"), 600.0 * 1024);
  read.raise();
  writer.join();
  // What the client sent before it left reaches the backend to the last byte.
  EXPECT_TRUE(soon([&] { return got.read() == kFrames; })) << got.read();
  rig.end([&] {
    EXPECT_EQ(rig.value("app_messages_total"), kFrames);
    EXPECT_EQ(rig.observations("app_message_processing_seconds"), kFrames);
  });
}

TEST(RelayTest, StopsViolationsOfEitherSide) {
  runtime::SharedCell told;
  Backend backend([&](Socket& socket, int n) {
    (void)accept_handshake(socket);
    if (n == 1) {
      (void)socket.send(text_frame("good", false) + text_frame("masked", true));
    }
    Frame const frame = socket.frame();
    told.set(frame.opcode == Opcode::close ? frame.code() : 1);
    (void)socket.rest();
  });
  Rig rig(relayed(backend));
  Socket client = upgraded(rig.port, "/a");
  ASSERT_TRUE(client.send(text_frame("unmasked", false)));
  EXPECT_EQ(client.frame().code(), 1002);
  EXPECT_TRUE(client.ended());
  client.close();
  EXPECT_TRUE(soon([&] { return told.read() == 1001; }));
  Socket second = upgraded(rig.port, "/a");
  EXPECT_EQ(second.frame().payload, "good");
  EXPECT_EQ(second.frame().code(), 1014);
  EXPECT_TRUE(second.ended());
  second.close();
  EXPECT_TRUE(soon([&] { return told.read() == 1002; }));
  rig.end([&] {
    EXPECT_EQ(rig.value("app_errors_total", {"unmasked_frame"}), 1);
    EXPECT_EQ(rig.value("app_errors_total", {"backend_protocol"}), 1);
    EXPECT_EQ(rig.value("app_errors_total"), 2);
  });
}

TEST(RelayTest, SaysThatTheBackendDiedBetweenFramesAndCutsWithinOne) {
  Backend backend([](Socket& socket, int n) {
    (void)accept_handshake(socket);
    std::string const frame = text_frame("whole", false);
    (void)socket.send(n == 0 ? frame : frame + frame.substr(0, 4));
    if (n == 2) socket.reset();
  });
  Rig rig(relayed(backend));
  Socket client = upgraded(rig.port, "/a");
  EXPECT_EQ(client.frame().payload, "whole");
  EXPECT_EQ(client.frame().code(), 1014);
  EXPECT_TRUE(client.ended());
  client.close();
  Socket second = upgraded(rig.port, "/a");
  EXPECT_EQ(second.frame().payload, "whole");
  EXPECT_TRUE(second.was_reset());
  second.close();
  Socket third = upgraded(rig.port, "/a");
  EXPECT_FALSE(third.rest().contains("\x88"));
  third.close();
  rig.end([&] {
    EXPECT_EQ(rig.value("app_errors_total", {"backend_lost"}), 3);
    EXPECT_EQ(rig.value("ws_closes_total", {"\"1014\"", "\"backend\""}), 3);
  });
}

TEST(RelayTest, PassesTheBackendsCloseAndTheClientsAnswer) {
  runtime::SharedCell answer;
  Backend backend([&](Socket& socket, int) {
    (void)accept_handshake(socket);
    (void)socket.send(close_frame(4001, false));
    answer.set(socket.frame().code());
  });
  Rig rig(relayed(backend));
  Socket client = upgraded(rig.port, "/a");
  EXPECT_EQ(client.frame().code(), 4001);
  ASSERT_TRUE(client.send(close_frame(4001)));
  EXPECT_TRUE(client.ended());
  client.close();
  EXPECT_TRUE(soon([&] { return answer.read() == 4001; }));
  rig.end([&] {
    EXPECT_EQ(rig.value("ws_closes_total", {"\"4001\"", "\"backend\""}), 1);
    EXPECT_EQ(rig.value("app_errors_total"), 0);
  });
}

// A backend that is gone and a client that goes on writing must not keep the loop busy.
TEST(RelayTest, RestsWhileAClientTalksToABackendThatClosed) {
  Backend backend([](Socket& socket, int) {
    (void)accept_handshake(socket);
    (void)socket.send(close_frame(1000, false));
  });
  Rig rig(relayed(backend));
  Socket client = upgraded(rig.port, "/a");
  EXPECT_EQ(client.frame().code(), 1000);
  (void)client.send(text_frame("one"));
  pause_ms(50);
  (void)client.send(text_frame("two"));
  int64_t const before = cpu_ns();
  pause_ms(500);
  EXPECT_LT(cpu_ns() - before, 200 * base::kMilli);
}

// The frame it closes with is all a client is told, with or without telemetry.
TEST(RelayTest, ClosesTheSameWithoutTelemetry) {
  Backend backend([](Socket& socket, int n) {
    (void)accept_handshake(socket);
    if (n == 0) (void)socket.send(close_frame(1000, false));
    if (n == 1) (void)socket.send(net::ws::test::header_of(100, {.masked = false}) + "part");
  });
  RigOptions options = relayed(backend);
  options.telemetry = false;
  Rig rig(options);
  Socket client = upgraded(rig.port, "/a");
  EXPECT_EQ(client.frame().code(), 1000);
  EXPECT_TRUE(client.ended());
  Socket second = upgraded(rig.port, "/a");
  EXPECT_EQ(second.rest(), net::ws::test::header_of(100, {.masked = false}) + "part");
}

TEST(RelayTest, DrainsBothSides) {
  runtime::SharedCell told;
  Backend backend([&](Socket& socket, int) {
    (void)accept_handshake(socket);
    told.set(socket.frame().code());
  });
  RigOptions options = relayed(backend);
  options.config.drain_ns = 50 * base::kMilli;
  Rig rig(options);
  Socket client = upgraded(rig.port, "/a");
  runtime::Thread reader("reader", [&] {
    EXPECT_EQ(client.frame().code(), 1012);
    EXPECT_TRUE(client.ended());
    client.close();
  });
  rig.gateway->drain();
  reader.join();
  EXPECT_EQ(rig.gateway->sockets(), 0U);
  EXPECT_TRUE(soon([&] { return told.read() == 1001; }));
}

// An example that a histogram shows is a trace that was exported.
TEST(RelayTest, ShowsOnlyTracesThatWereKept) {
  Backend backend([](Socket& socket, int) {
    if (!accept_handshake(socket).empty()) echo(socket);
  });
  RigOptions options = relayed(backend);
  options.sampling.ratio = 0;
  options.sampling.slow_ns = 60 * base::kSecond;
  Rig rig(options);
  Socket client = upgraded(rig.port, "/a");
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(client.send(text_frame("m")));
    ASSERT_EQ(client.frame().payload, "m");
  }
  client.close();
  rig.end([&] {
    EXPECT_EQ(rig.spans([](Rig::Spans const& s) { return s.records; }), 0U);
    for (auto const& family : rig.registry->collect()) {
      EXPECT_TRUE(family.exemplars.empty()) << family.info->name;
    }
  });
}

TEST(RelayTest, RelaysManyOnThreeLoopsWhileTheyComeAndGo) {
  Backend backend([](Socket& socket, int n) {
    if (accept_handshake(socket).empty()) return;
    if (n % 5 == 4) return;  // dies at once
    echo(socket);
  });
  RigOptions options = relayed(backend);
  options.loops = 3;
  Rig rig(options);
  std::vector<runtime::Thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back("client", [&, t] {
      for (int i = 0; i < 25; ++i) {
        Socket client = upgraded(rig.port, "/a");
        (void)client.send(text_frame("x"));
        (void)client.frame();
        if ((i + t) % 2 == 0) client.reset();
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(rig.gateway->reload(rig.config).has_value());
    rig.gateway->rows(100, [](std::vector<ConnectionRow> const&) {});
    pause_ms(5);
  }
  for (auto& thread : threads) thread.join();
  rig.end([&] { EXPECT_EQ(rig.value("app_connections_total"), 100); });
}

}  // namespace
}  // namespace wscope::gateway
