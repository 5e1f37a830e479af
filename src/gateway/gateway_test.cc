#include "gateway/gateway.h"

#include <gtest/gtest.h>

#include <list>

#include "gateway/test_gateway.h"

namespace wscope::gateway {
namespace {

using namespace test;
using net::ws::Opcode;

TEST(GatewayTest, EchoesAndCountsExactly) {
  Rig rig;
  Socket client = upgraded(rig.port, "/echo");
  ASSERT_TRUE(client.open());
  ASSERT_TRUE(
      client.send(text_frame("hello") + net::ws::test::frame("", {}) +
                  net::ws::test::frame(std::string(70'000, 'x'), {.opcode = Opcode::binary})));
  EXPECT_EQ(client.frame().payload, "hello");
  EXPECT_EQ(client.frame().payload, "");
  EXPECT_EQ(client.frame().payload.size(), 70'000U);
  ASSERT_TRUE(client.send(net::ws::test::frame("ab", {.fin = false}) +
                          net::ws::test::frame("?", {.opcode = Opcode::ping}) +
                          net::ws::test::frame("cd", {.opcode = Opcode::continuation}) +
                          close_frame(1000)));
  EXPECT_EQ(client.frame().opcode, Opcode::pong);
  EXPECT_EQ(client.frame().payload, "abcd");
  EXPECT_EQ(client.frame().code(), 1000);
  EXPECT_TRUE(client.ended());
  rig.end([&] {
    EXPECT_EQ(rig.value("app_messages_total"), 4);
    EXPECT_EQ(rig.value("app_requests_total"), 5);
    EXPECT_EQ(rig.value("app_errors_total"), 0);
    EXPECT_EQ(rig.observations("app_message_processing_seconds"), 4);
    EXPECT_EQ(rig.observations("app_message_size_bytes"), 4);
    EXPECT_EQ(rig.value("ws_messages_total", {"\"in\"", "\"text\""}), 3);
    EXPECT_EQ(rig.value("ws_messages_total", {"\"out\"", "\"binary\""}), 1);
    EXPECT_EQ(rig.value("ws_frames_total", {"\"in\"", "\"continuation\""}), 1);
    EXPECT_EQ(rig.value("ws_frames_total", {"\"in\"", "\"ping\""}), 1);
    EXPECT_EQ(rig.value("ws_frames_total", {"\"out\"", "\"pong\""}), 1);
    EXPECT_EQ(rig.value("ws_payload_bytes_total", {"\"in\"", "\"text\""}), 9);
    EXPECT_EQ(rig.value("ws_closes_total", {"\"1000\"", "\"client\""}), 1);
    EXPECT_EQ(rig.spans([](Rig::Spans const& s) { return s.records; }), 4U);
    EXPECT_EQ(rig.spans([](Rig::Spans const& s) { return s.full.size(); }), 1U);
  });
}

TEST(GatewayTest, TakesFramesThatCameWithTheHandshake) {
  Rig rig;
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(handshake_text("/echo") + text_frame("early")));
  EXPECT_TRUE(client.head().starts_with("HTTP/1.1 101"));
  EXPECT_EQ(client.frame().payload, "early");
}

TEST(GatewayTest, RefusesAViolationWithItsCodeAndASpan) {
  Rig rig;
  Socket client = upgraded(rig.port, "/echo");
  ASSERT_TRUE(client.send(text_frame("one") + text_frame("two", false)));
  EXPECT_EQ(client.frame().payload, "one");
  EXPECT_EQ(client.frame().code(), 1002);
  EXPECT_TRUE(client.ended());
  client.close();
  rig.end([&] {
    EXPECT_EQ(rig.value("app_errors_total", {"unmasked_frame"}), 1);
    EXPECT_EQ(rig.spans([](Rig::Spans const& s) { return s.failed; }), 1U);
    EXPECT_EQ(rig.value("ws_closes_total", {"\"1002\"", "\"gateway\""}), 1);
  });
}

TEST(GatewayTest, HoldsASlowReaderBackAndThenSendsAll) {
  RigOptions options;
  options.config.send_queue_limit = 256 << 10;
  Rig rig(options);
  Socket client = upgraded(rig.port, "/echo", {}, 16 << 10);
  std::string const message = net::ws::test::frame(std::string(100'000, 'q'));
  std::string sent;
  size_t const total = 300 * message.size();
  // Until nothing is taken any more: all that waits is in buffers of a known size.
  size_t done = 0;
  for (int still = 0; still < 50 && done < total;) {
    std::string_view const rest = std::string_view(message).substr(done % message.size());
    size_t const n = client.send_at_once(rest);
    done += n;
    still = n == 0 ? still + 1 : 0;
    if (n == 0) pause_ms(10);
  }
  EXPECT_LT(done, total);
  EXPECT_LT(rig.value("ws_send_queue_bytes"), 2.0 * (1 << 20));
  EXPECT_GE(rig.value("ws_held_back_total"), 1);
  runtime::Thread writer("writer", [&] {
    while (done < total) {
      std::string_view const rest = std::string_view(message).substr(done % message.size());
      if (!client.send(rest)) break;
      done += rest.size();
    }
  });
  for (int i = 0; i < 300; ++i) {
    Frame const frame = client.frame();
    ASSERT_TRUE(frame.good) << i;
    ASSERT_EQ(frame.payload, std::string(100'000, 'q')) << i;
  }
  writer.join();
  client.close();
  rig.end([&] { EXPECT_EQ(rig.value("app_messages_total"), 300); });
}

// Clients come, talk and go on three loops.
class Traffic {
 public:
  Traffic(uint16_t port, size_t threads, std::string path) {
    for (size_t i = 0; i < threads; ++i) {
      threads_.emplace_back("client", [this, port, path, i] { run(port, path, i); });
    }
  }
  void stop() {
    stop_.raise();
    for (auto& thread : threads_) thread.join();
  }
  ~Traffic() { stop(); }
  uint64_t echoed() const { return echoed_.read(); }
  uint64_t refused() const { return refused_.read(); }
  uint64_t wrong() const { return wrong_.read(); }
  uint64_t restarts() const { return restarts_.read(); }

 private:
  void run(uint16_t port, std::string const& path, size_t seed) {
    for (size_t round = seed; !stop_.up(); ++round) {
      Socket client = upgraded(port, path);
      if (!client.open()) {
        refused_.add(1);
        pause_ms(1);
        continue;
      }
      for (size_t i = 0; i < 20 && !stop_.up(); ++i) {
        std::string const text = std::to_string(round) + " " + std::to_string(i);
        if (!client.send(text_frame(text))) break;
        Frame const frame = client.frame();
        if (!frame.good) break;
        if (frame.opcode == Opcode::close) {
          (frame.code() == 1012 ? restarts_ : wrong_).add(1);
          break;
        }
        (frame.payload == text ? echoed_ : wrong_).add(1);
      }
      if (round % 3 == 0) client.reset();
      if (round % 3 == 1 && client.send(close_frame(1001))) (void)client.rest();
    }
  }
  runtime::Flag stop_;
  runtime::SharedCell echoed_, refused_, wrong_, restarts_;
  std::list<runtime::Thread> threads_;
};

TEST(GatewayTest, ReloadsAndListsWhileTrafficFlows) {
  RigOptions options;
  options.loops = 3;
  Rig rig(options);
  Traffic traffic(rig.port, 6, "/echo");
  runtime::SharedCell listed;
  for (int i = 0; i < 100; ++i) {
    Config next = rig.config;
    next.message_limit = 1'000'000 + static_cast<uint64_t>(i);
    ASSERT_TRUE(rig.gateway->reload(next).has_value());
    rig.gateway->rows(3, [&](std::vector<ConnectionRow> rows) {
      EXPECT_LE(rows.size(), 3U);
      listed.add(1);
    });
    pause_ms(2);
  }
  EXPECT_TRUE(soon([&] { return listed.read() == 100; }));
  traffic.stop();
  EXPECT_GT(traffic.echoed(), 100U);
  EXPECT_EQ(traffic.wrong(), 0U);
  EXPECT_EQ(traffic.refused(), 0U);
  rig.end([&] {
    EXPECT_GE(rig.value("app_messages_total"), static_cast<double>(traffic.echoed()));
    EXPECT_EQ(rig.value("app_errors_total"), 0);
  });
}

TEST(GatewayTest, DrainsWhileTrafficFlows) {
  RigOptions options;
  options.loops = 3;
  options.config.drain_ns = 200 * base::kMilli;
  Rig rig(options);
  std::vector<Socket> idle;
  for (int i = 0; i < 30; ++i) idle.push_back(upgraded(rig.port, i % 2 == 0 ? "/ws/a" : "/echo"));
  Traffic traffic(rig.port, 4, "/echo");
  ASSERT_TRUE(soon([&] { return traffic.echoed() > 100; }));
  runtime::Thread readers("readers", [&] {
    for (Socket& socket : idle) {
      EXPECT_EQ(socket.frame().code(), 1012);
      socket.close();
    }
  });
  rig.gateway->drain();
  readers.join();
  EXPECT_EQ(rig.gateway->sockets(), 0U);
  EXPECT_TRUE(rig.gateway->draining());
  traffic.stop();
  EXPECT_GT(traffic.refused(), 0U);
  EXPECT_EQ(traffic.wrong(), 0U);
  rig.end([&] { EXPECT_GE(rig.value("ws_closes_total", {"\"1012\"", "\"gateway\""}), 30); });
}

TEST(GatewayTest, StopsWithEverythingOpen) {
  // Answers nothing, or half of it: exchanges in every state are cut.
  Backend backend([](Socket& socket, int n) {
    std::string const head = socket.head();
    if (n % 3 == 1) (void)socket.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
    if (n % 3 == 2) (void)socket.send("HTTP/1.1 200");
    (void)socket.rest();
  });
  for (bool relayed : {true, false}) {
    RigOptions options;
    options.loops = 3;
    if (relayed) options.config.upstream = backend.url();
    Rig rig(options);
    std::vector<Socket> clients;
    for (int i = 0; i < 12; ++i) {
      clients.push_back(Socket::connect(rig.port));
      if (i < 6) (void)clients.back().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
      if (i >= 6 && i < 9) (void)clients.back().send("GET / HTT");
      if (i >= 9) (void)clients.back().send(handshake_text("/ws/a"));
    }
    ASSERT_TRUE(soon([&] { return !relayed || backend.connections() >= 9; }));
    ASSERT_TRUE(soon([&] { return rig.gateway->sockets() >= 6; }));
    rig.end();
  }
}

TEST(GatewayTest, TurnsAwayWhatIsOverTheLimits) {
  RigOptions options;
  options.config.connections_max = 2;
  Rig rig(options);
  Socket one = upgraded(rig.port, "/echo");
  Socket two = upgraded(rig.port, "/echo");
  Socket three = Socket::connect(rig.port);
  EXPECT_TRUE(three.head().starts_with("HTTP/1.1 503 "));
  rig.end([&] {
    EXPECT_EQ(rig.value("app_errors_total", {"too_many_connections"}), 1);
    EXPECT_EQ(rig.value("ws_accept_failures_total"), 1);
  });
}

TEST(GatewayTest, BoundsConnectionsInTheirHandshake) {
  RigOptions options;
  options.config.handshakes_max = 2;
  Rig rig(options);
  Socket open = upgraded(rig.port, "/echo");
  Socket one = Socket::connect(rig.port);
  Socket two = Socket::connect(rig.port);
  Socket three = Socket::connect(rig.port);
  EXPECT_TRUE(three.head().starts_with("HTTP/1.1 503 "));
  EXPECT_TRUE(one.send(handshake_text("/echo")));
  EXPECT_TRUE(one.head().starts_with("HTTP/1.1 101 "));
  Socket four = upgraded(rig.port, "/echo");
  EXPECT_TRUE(four.open());
}

// A port probe is no attempt; half a head is one.
TEST(GatewayTest, CountsALateHeadButNoSilence) {
  RigOptions options;
  options.config.handshake_timeout_ns = 100 * base::kMilli;
  Rig rig(options);
  Socket silent = Socket::connect(rig.port);
  Socket late = Socket::connect(rig.port);
  ASSERT_TRUE(late.send("GET /echo HTTP/1.1\r\nHo"));
  EXPECT_TRUE(late.head().starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(silent.ended());
  rig.end([&] {
    EXPECT_EQ(rig.value("app_errors_total"), 1);
    EXPECT_EQ(rig.value("app_requests_total"), 1);
  });
}

TEST(GatewayTest, PingsTheSilentAndEndsTheDead) {
  RigOptions options;
  options.config.ping_interval_ns = 100 * base::kMilli;
  Rig rig(options);
  Socket dead = upgraded(rig.port, "/echo");
  EXPECT_EQ(dead.frame().opcode, Opcode::ping);
  EXPECT_TRUE(dead.ended());
  rig.end([&] { EXPECT_EQ(rig.value("app_errors_total", {"peer_timeout"}), 1); });
}

TEST(GatewayTest, AReloadThatEndsPingsEndsNoConnection) {
  RigOptions options;
  options.config.ping_interval_ns = 100 * base::kMilli;
  Rig rig(options);
  Socket client = upgraded(rig.port, "/echo");
  Config next = rig.config;
  next.ping_interval_ns = 0;
  ASSERT_TRUE(rig.gateway->reload(next).has_value());
  pause_ms(400);
  ASSERT_TRUE(client.send(text_frame("still here")));
  EXPECT_EQ(client.frame().payload, "still here");
}

TEST(GatewayTest, RefusesAReloadThatMovesTheListener) {
  Rig rig;
  Config next = rig.config;
  next.listen = "127.0.0.1:1";
  EXPECT_EQ(rig.gateway->reload(next).error().code, base::Errc::invalid);
  next = rig.config;
  next.upstream = "no url";
  EXPECT_FALSE(rig.gateway->reload(next).has_value());
}

TEST(GatewayTest, AnswersItsOwnPages) {
  Rig rig;
  for (auto const& [request, status] : std::initializer_list<std::pair<char const*, char const*>>{
           {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 "},
           {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 "},
           {"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 426 "},
           {"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 "},
           {"nonsense\r\n\r\n", "HTTP/1.1 400 "}}) {
    Socket client = Socket::connect(rig.port);
    ASSERT_TRUE(client.send(request));
    EXPECT_TRUE(client.rest().starts_with(status)) << request;
  }
}

// A correlation id that could end a line is replaced.
TEST(GatewayTest, LetsNoCorrelationIdSplitTheAnswer) {
  Rig rig;
  for (std::string const& id : {std::string("a b"), std::string(200, 'a'), std::string("\xff")}) {
    Socket client = Socket::connect(rig.port);
    ASSERT_TRUE(client.send(handshake_text("/echo", "X-Correlation-ID: " + id + "\r\n")));
    std::string const head = client.head();
    EXPECT_TRUE(head.starts_with("HTTP/1.1 101 "));
    EXPECT_FALSE(head.contains(id));
  }
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(handshake_text("/echo", "X-Correlation-ID: mine-1\r\n")));
  EXPECT_TRUE(client.head().contains("X-Correlation-ID: mine-1\r\n"));
}

TEST(GatewayTest, FiguresCanBeReadAfterItsEnd) {
  Rig rig;
  rig.end([&] { EXPECT_EQ(rig.value("app_sessions_tracked"), 0); });
}

}  // namespace
}  // namespace wscope::gateway
