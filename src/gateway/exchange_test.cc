#include "gateway/exchange.h"

#include <gtest/gtest.h>

#include "gateway/test_gateway.h"

namespace wscope::gateway {
namespace {

using namespace test;

RigOptions relayed(Backend const& backend) {
  RigOptions options;
  options.config.upstream = backend.url();
  return options;
}

std::string get(std::string_view path, std::string_view extra = {}) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(extra) + "\r\n";
}
std::string post(std::string_view path, std::string_view body) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}
std::string ok(std::string_view body, std::string_view extra = {}) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(extra) + "\r\n" + std::string(body);
}
// The first line of the next answer, whose body has `size` bytes.
std::string answer(Socket& socket, size_t size, std::string* body = nullptr) {
  std::string const head = socket.head();
  std::string const bytes = socket.exactly(size);
  if (body != nullptr) *body = bytes;
  return head.substr(0, head.find("\r\n"));
}

TEST(ExchangeTest, KeepsBothConnections) {
  Backend backend([](Socket& socket, int) {
    while (!socket.head().empty()) (void)socket.send(ok("hello"));
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(client.send(get("/a")));
    EXPECT_EQ(answer(client, 5), "HTTP/1.1 200 OK");
  }
  // All at once.
  ASSERT_TRUE(client.send(get("/a") + get("/a") + get("/a")));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(answer(client, 5), "HTTP/1.1 200 OK");
  EXPECT_EQ(backend.connections(), 1U);
  client.close();
  rig.end([&] {
    EXPECT_EQ(rig.value("django_http_requests_total", {"\"200\"", "GET"}), 8);
    EXPECT_EQ(rig.observations("django_http_request_duration_seconds"), 8);
    EXPECT_EQ(rig.lines("\"logger\":\"http\""), 8);
    EXPECT_EQ(rig.spans([](Rig::Spans const& s) { return s.full.size(); }), 16U);
  });
}

// Whatever is asked next, a connection that the backend has closed meanwhile is not used again.
TEST(ExchangeTest, AsksAnewWhereTheKeptConnectionWasClosed) {
  Backend backend([](Socket& socket, int) {
    std::string const head = socket.head();
    if (head.starts_with("POST")) (void)socket.exactly(4);
    (void)socket.send(ok("hello"));
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(client.send(i % 2 == 0 ? get("/a") : post("/a", "body")));
    EXPECT_EQ(answer(client, 5), "HTTP/1.1 200 OK") << i;
    pause_ms(50);
  }
  EXPECT_EQ(backend.connections(), 4U);
  client.close();
  rig.end([&] { EXPECT_EQ(rig.value("ws_http_relay_errors_total"), 0); });
}

// What a backend says unasked is nobody's answer.
TEST(ExchangeTest, DoesNotTakeLeftOversForTheNextAnswer) {
  Backend backend([](Socket& socket, int) {
    while (!socket.head().empty()) {
      (void)socket.send(ok("right"));
      pause_ms(50);
      (void)socket.send(ok("wrong"));
    }
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.send(get("/a")));
    std::string body;
    EXPECT_EQ(answer(client, 5, &body), "HTTP/1.1 200 OK");
    EXPECT_EQ(body, "right");
    pause_ms(120);
  }
}

TEST(ExchangeTest, SlowReadersGetWholeAnswers) {
  std::string body;
  for (size_t i = 0; i < (6 << 20); ++i) body += static_cast<char>('a' + i % 19);
  for (bool until_close : {false, true}) {
    Backend backend([&](Socket& socket, int) {
      (void)socket.head();
      (void)socket.send(until_close ? "HTTP/1.1 200 OK\r\n\r\n" + body : ok(body));
    });
    Rig rig(relayed(backend));
    for (std::string const& extra : {std::string(), std::string("Connection: close\r\n")}) {
      Socket client = Socket::connect(rig.port, 16 << 10);
      ASSERT_TRUE(client.send(get("/a", extra)));
      pause_ms(200);
      std::string const head = client.head();
      EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK"));
      std::string const got = client.exactly(body.size());
      EXPECT_EQ(got.size(), body.size());
      EXPECT_TRUE(got == body);
      EXPECT_TRUE((!until_close && extra.empty()) || client.ended());
    }
    rig.end([&] { EXPECT_EQ(rig.value("ws_http_relay_errors_total"), 0); });
  }
}

TEST(ExchangeTest, SaysWhenAnAnswerWasCutShort) {
  Backend backend([](Socket& socket, int) {
    (void)socket.head();
    (void)socket.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf");
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(get("/a", "Connection: close\r\n")));
  EXPECT_TRUE(client.rest().ends_with("half"));
  client.close();
  rig.end([&] { EXPECT_EQ(rig.value("ws_http_relay_errors_total", {"backend_closed"}), 1); });
}

TEST(ExchangeTest, PassesInterimAnswersAndHeads) {
  Backend backend([](Socket& socket, int) {
    for (;;) {
      std::string const head = socket.head();
      if (head.empty()) return;
      if (head.starts_with("HEAD")) {
        (void)socket.send("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
      } else if (head.contains("100-continue")) {
        (void)socket.send("HTTP/1.1 100 Continue\r\n\r\n");
        (void)socket.send(ok(socket.exactly(4)));
      } else {
        (void)socket.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" +
                          std::string("HTTP/1.1 204 No Content\r\n\r\n"));
      }
    }
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_EQ(answer(client, 0), "HTTP/1.1 200 OK");
  ASSERT_TRUE(
      client.send("POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                  "Content-Length: 4\r\n\r\n"));
  EXPECT_EQ(answer(client, 0), "HTTP/1.1 100 Continue");
  ASSERT_TRUE(client.send("body"));
  std::string body;
  EXPECT_EQ(answer(client, 4, &body), "HTTP/1.1 200 OK");
  EXPECT_EQ(body, "body");
  ASSERT_TRUE(client.send(get("/a")));
  EXPECT_EQ(answer(client, 0), "HTTP/1.1 103 Early Hints");
  EXPECT_EQ(answer(client, 0), "HTTP/1.1 204 No Content");
  EXPECT_EQ(backend.connections(), 1U);
}

TEST(ExchangeTest, SpeaksWithOldClients) {
  Backend backend([](Socket& socket, int) {
    while (!socket.head().empty()) (void)socket.send(ok("hello"));
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send("GET /a HTTP/1.0\r\n\r\n"));
  client.half_close();
  std::string const text = client.rest();
  EXPECT_TRUE(text.contains("Connection: close\r\n"));
  EXPECT_TRUE(text.ends_with("hello"));
}

// Time is measured from byte to byte, not over the whole answer.
TEST(ExchangeTest, AnAnswerMayTakeItsTime) {
  Backend backend([](Socket& socket, int n) {
    (void)socket.head();
    (void)socket.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
    for (int i = 0; i < (n == 0 ? 8 : 3); ++i) {
      pause_ms(100);
      (void)socket.send("x");
    }
    (void)socket.rest();
  });
  RigOptions options = relayed(backend);
  options.config.response_timeout_ns = 300 * base::kMilli;
  Rig rig(options);
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(get("/a")));
  std::string body;
  EXPECT_EQ(answer(client, 8, &body), "HTTP/1.1 200 OK");
  EXPECT_EQ(body, "xxxxxxxx");
  Socket second = Socket::connect(rig.port);
  ASSERT_TRUE(second.send(get("/a")));
  EXPECT_TRUE(second.rest().ends_with("xxx"));
  client.close();
  rig.end([&] { EXPECT_EQ(rig.value("ws_http_relay_errors_total", {"backend_timeout"}), 1); });
}

// A client that is still sending its body gets to read why nobody wants it.
TEST(ExchangeTest, ARefusalReachesAClientThatIsStillSending) {
  std::string url;
  {
    Backend gone([](Socket&, int) {});
    url = gone.url();
  }
  RigOptions options;
  options.config.upstream = url;
  Rig rig(options);
  for (int i = 0; i < 5; ++i) {
    Socket client = Socket::connect(rig.port);
    std::string const body(1 << 20, 'b');
    std::string const text = post("/a", body);
    ASSERT_TRUE(client.send(text.substr(0, 300'000)));
    pause_ms(20);
    (void)client.send(text.substr(300'000, 100'000));
    EXPECT_TRUE(client.rest().starts_with("HTTP/1.1 502 ")) << i;
  }
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(handshake_text("/a")));
  EXPECT_TRUE(client.head().starts_with("HTTP/1.1 502 "));
  rig.end([&] {
    EXPECT_EQ(rig.value("ws_http_relay_errors_total", {"backend_unreachable"}), 5);
    EXPECT_EQ(rig.value("app_errors_total", {"backend_unreachable"}), 1);
  });
}

TEST(ExchangeTest, NamesWhatBackendsDoWrong) {
  Backend backend([](Socket& socket, int) {
    std::string const head = socket.head();
    if (head.contains("/close")) return;
    if (head.contains("/part")) (void)socket.send("HTTP/1.1 200 OK\r\nA:");
    if (head.contains("/split")) (void)socket.send("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n");
    if (head.contains("/junk")) (void)socket.send("junk\r\n\r\n");
    if (head.contains("/switch")) (void)socket.send("HTTP/1.1 101 S\r\n\r\n");
    if (head.contains("/silent")) (void)socket.rest();
  });
  RigOptions options = relayed(backend);
  options.config.response_timeout_ns = 200 * base::kMilli;
  Rig rig(options);
  for (auto const& [path, status] :
       std::initializer_list<std::pair<char const*, char const*>>{{"/close", "502"},
                                                                  {"/part", "502"},
                                                                  {"/split", "502"},
                                                                  {"/junk", "502"},
                                                                  {"/switch", "502"},
                                                                  {"/silent", "504"}}) {
    for (bool websocket : {false, true}) {
      Socket client = Socket::connect(rig.port);
      ASSERT_TRUE(client.send(websocket ? handshake_text(path) : get(path)));
      std::string const text = client.rest();
      EXPECT_TRUE(text.starts_with("HTTP/1.1 " + std::string(status) + " ")) << path << text;
    }
  }
  rig.end([&] {
    EXPECT_EQ(rig.value("app_errors_total"), 6);
    EXPECT_EQ(rig.value("app_requests_total"), 6);
    EXPECT_EQ(rig.value("ws_http_relay_errors_total"), 6);
    EXPECT_EQ(rig.value("ws_handshakes_total", {"\"502\""}), 5);
  });
}

// The first answer is on its way: a second head must not follow it.
TEST(ExchangeTest, ABadBodyEndsAnAnswerThatHasBegun) {
  Backend backend([](Socket& socket, int) {
    (void)socket.head();
    (void)socket.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun");
    (void)socket.rest();
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"));
  EXPECT_TRUE(client.head().starts_with("HTTP/1.1 200"));
  EXPECT_EQ(client.exactly(5), "begun");
  ASSERT_TRUE(client.send("nonsense\r\n"));
  EXPECT_EQ(client.rest(), "");
}

TEST(ExchangeTest, RelaysARefusedHandshake) {
  Backend backend([](Socket& socket, int) {
    (void)socket.head();
    (void)socket.send(
        "HTTP/1.1 403 Forbidden\r\nX-Correlation-ID: theirs\r\n"
        "Content-Length: 2\r\n\r\nno");
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(handshake_text("/a", "X-Correlation-ID: ours\r\n")));
  std::string const text = client.rest();
  EXPECT_TRUE(text.starts_with("HTTP/1.1 403 Forbidden\r\n"));
  EXPECT_TRUE(text.contains("X-Correlation-ID: ours\r\n"));
  EXPECT_FALSE(text.contains("theirs"));
  EXPECT_TRUE(text.ends_with("no"));
}

// A head that dribbles in on a kept connection has the time of any other, not that of an idle one.
TEST(ExchangeTest, TheNextHeadHasItsTimeToo) {
  Backend backend([](Socket& socket, int) {
    while (!socket.head().empty()) (void)socket.send(ok("hello"));
  });
  RigOptions options = relayed(backend);
  options.config.handshake_timeout_ns = 200 * base::kMilli;
  Rig rig(options);
  Socket client = Socket::connect(rig.port);
  ASSERT_TRUE(client.send(get("/a")));
  EXPECT_EQ(answer(client, 5), "HTTP/1.1 200 OK");
  pause_ms(300);  // idle: that is no fault
  ASSERT_TRUE(client.send("GET /a HT"));
  EXPECT_EQ(answer(client, 0), "HTTP/1.1 408 Request Timeout");
}

TEST(ExchangeTest, AReloadMovesKeptConnectionsToTheNewBackend) {
  auto const serve = [](char const* text) {
    return [text](Socket& socket, int) {
      while (!socket.head().empty()) (void)socket.send(ok(text));
    };
  };
  Backend first(serve("first"));
  Backend other(serve("other"));
  Rig rig(relayed(first));
  Socket client = Socket::connect(rig.port);
  std::string body;
  ASSERT_TRUE(client.send(get("/a")));
  (void)answer(client, 5, &body);
  EXPECT_EQ(body, "first");
  Config next = rig.config;
  next.upstream = other.url();
  ASSERT_TRUE(rig.gateway->reload(next).has_value());
  ASSERT_TRUE(client.send(get("/a")));
  (void)answer(client, 5, &body);
  EXPECT_EQ(body, "other");
}

// Uploads wait for a slow backend, and every byte arrives.
TEST(ExchangeTest, HoldsAnUploadBack) {
  constexpr size_t kBytes = 24 << 20;
  runtime::Flag read;
  Backend backend([&](Socket& socket, int) {
    (void)socket.head();
    while (!read.up()) pause_ms(5);
    std::string const body = socket.exactly(kBytes);
    bool const right = body == std::string(kBytes, 'u');
    (void)socket.send(ok(right ? "right" : "wrong"));
  });
  Rig rig(relayed(backend));
  Socket client = Socket::connect(rig.port);
  std::string const text = post("/a", std::string(kBytes, 'u'));
  runtime::SharedCell sent;
  runtime::Thread writer("writer", [&] {
    for (size_t at = 0; at < text.size(); at += 100'000) {
      if (!client.send(std::string_view(text).substr(at, 100'000))) return;
      sent.add(1);
    }
  });
  pause_ms(300);
  EXPECT_LT(sent.read(), text.size() / 100'000);
  read.raise();
  writer.join();
  std::string body;
  EXPECT_EQ(answer(client, 5, &body), "HTTP/1.1 200 OK");
  EXPECT_EQ(body, "right");
}

}  // namespace
}  // namespace wscope::gateway
