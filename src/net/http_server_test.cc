#include "net/http_server.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include "base/text.h"
#include "net/gzip.h"
#include "net/socket.h"
#include "net/test_certificate.h"
#include "runtime/sync.h"

namespace wscope::net {
namespace {

struct Reply {
  int status = 0;
  std::string head;
  std::string body;
  std::vector<NameValue> fields;
  std::string field(std::string_view name) const {
    for (auto const& [key, value] : fields) {
      if (base::equals_ignoring_case(key, name)) return value;
    }
    return "(none)";
  }
};

// A client that says exactly what it is told to.
class Client {
 public:
  explicit Client(Address const& address, TlsContext const* tls = nullptr) {
    auto const fd = connect_to(address);
    WSCOPE_CHECK(fd);
    transport_ = Transport(*fd, tls == nullptr ? nullptr : tls->connect(*fd, "localhost"));
    wait(POLLOUT);
    for (;;) {
      IoKind const kind = transport_.handshake().kind;
      if (kind == IoKind::done) break;
      WSCOPE_CHECK(kind == IoKind::again_read || kind == IoKind::again_write);
      wait(kind == IoKind::again_read ? POLLIN : POLLOUT);
    }
  }
  bool send(std::string_view text) {
    while (!text.empty()) {
      IoResult const put = transport_.write(text.data(), text.size());
      if (put.kind == IoKind::error) return false;
      text.remove_prefix(put.bytes);
      if (put.kind != IoKind::done && !wait(POLLOUT)) return false;
    }
    return true;
  }
  // Reads one answer; status 0 if the connection ended instead.
  Reply read(bool to_head = false) {
    Reply out;
    ResponseHead head;
    HeadError error;
    while (parse_response(input_, HeadLimits{}, head, error) == HeadState::need_more) {
      if (!fill()) return out;
    }
    out.status = head.status;
    out.head = input_.substr(0, head.bytes);
    for (Field const& field : head.fields) out.fields.emplace_back(field.name, field.value);
    size_t const length = to_head || head.status < 200 ? 0 : head.content_length;
    size_t const start = head.bytes;
    while (input_.size() < start + length && fill()) {
    }
    out.body = input_.substr(start, length);
    input_.erase(0, start + length);
    return out;
  }
  Reply ask(std::string_view text) { return send(text) ? read() : Reply{}; }
  Reply get(std::string_view path, std::string_view fields = "") {
    return ask("GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(fields) +
               "\r\n");
  }
  // True if the other side ends the connection with nothing more to say.
  bool ended() { return !fill() && input_.empty(); }
  Transport& transport() { return transport_; }

 private:
  bool wait(short events) {
    pollfd one{transport_.fd(), events, 0};
    return ::poll(&one, 1, 10'000) == 1;
  }
  bool fill() {
    char buffer[4096];
    for (;;) {
      IoResult const got = transport_.read(buffer, sizeof buffer);
      if (got.kind == IoKind::done) {
        input_.append(buffer, got.bytes);
        return true;
      }
      if (got.kind == IoKind::eof || got.kind == IoKind::error) return false;
      if (!wait(POLLIN)) return false;
    }
  }
  Transport transport_;
  std::string input_;
};

class HttpServerTest : public ::testing::Test {
 public:
  ~HttpServerTest() override { stop(); }

 protected:
  void start(HttpServerOptions options = {}, TlsContext const* tls = nullptr) {
    server_ = std::make_unique<HttpServer>(loop_, std::move(options));
    server_->route("GET", "/hello", [](Request const&, Responder responder) {
      responder.send(Response::text("hello"));
    });
    server_->route("POST", "/echo", [](Request const& request, Responder responder) {
      responder.send(Response::text(request.body));
    });
    server_->route("GET", "/show/*", [](Request const& request, Responder responder) {
      std::string out = request.method + " " + request.path + " q=" + request.query;
      for (auto const& [name, value] : request.params) out += " [" + name + "=" + value + "]";
      out += " x=" + std::string(request.header("X-Thing"));
      out += " peer=" + host_text(request.peer);
      responder.send(Response::text(out));
    });
    server_->route("GET", "/show/deep/*", [](Request const&, Responder responder) {
      responder.send(Response::text("deep"));
    });
    server_->route("PUT", "/show/deep/*", [](Request const&, Responder responder) {
      responder.send(Response::json("{}", 201));
    });
    server_->route("GET", "/big", [](Request const&, Responder responder) {
      responder.send(Response::text(std::string(kBig, 'x')));
    });
    server_->route("GET", "/forget", [](Request const&, Responder) {});
    server_->route("GET", "/later", [this](Request const&, Responder responder) {
      held_.with([&](auto& held) { held.push_back(std::move(responder)); });
      reached_.raise();
    });
    server_->route("GET", "/inject", [](Request const&, Responder responder) {
      responder.send({200, "text/plain", {{"X-A", "b\r\nX-Evil: 1"}, {"X-C", "d"}}, "ok"});
    });
    address_ = *server_->listen(*parse_address("127.0.0.1:0"), tls);
    thread_ = runtime::Thread("loop", [this] { loop_.run(); });
  }
  void stop() {
    if (!thread_.running()) return;
    loop_.stop();
    thread_.join();
  }
  // Runs `use` on the loop and waits for it.
  template <class Use>
  void on_loop(Use use) {
    // Shared: the loop may still be leaving raise() when the wait is over.
    auto const done = std::make_shared<runtime::Signal>();
    ASSERT_TRUE(loop_.post([use, done] {
      use();
      done->raise();
    }));
    ASSERT_TRUE(done->wait(10 * base::kSecond));
  }
  HttpServerCells const& cells() const { return server_->cells(); }

  static constexpr size_t kBig = 20'000'000;
  base::RealClock clock_;
  runtime::Loop loop_{clock_};
  runtime::Guarded<std::vector<Responder>> held_;
  runtime::Signal reached_;
  std::unique_ptr<HttpServer> server_;
  Address address_;
  runtime::Thread thread_;
};

TEST_F(HttpServerTest, AnswersOverOneConnection) {
  start();
  Client client(address_);
  for (int i = 0; i < 3; ++i) {
    Reply const reply = client.get("/hello");
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.body, "hello");
    EXPECT_EQ(reply.field("content-type"), "text/plain; charset=utf-8");
    EXPECT_EQ(reply.field("content-length"), "5");
    EXPECT_EQ(reply.field("connection"), "(none)");
    EXPECT_TRUE(reply.field("date").ends_with(" GMT"));
  }
  EXPECT_EQ(cells().accepted.read(), 1u);
  EXPECT_EQ(cells().requests.read(), 3u);
  EXPECT_EQ(cells().responses[1].read(), 3u);
}

TEST_F(HttpServerTest, AnswersPipelinedRequestsInOrder) {
  start();
  Client client(address_);
  std::string batch;
  for (int i = 0; i < 200; ++i) {
    std::string const body = "number " + std::to_string(i);
    batch += "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) +
             "\r\n\r\n" + body;
    batch += "GET /show/" + std::to_string(i) + " HTTP/1.1\r\nHost: a\r\n\r\n";
  }
  ASSERT_TRUE(client.send(batch));
  for (int i = 0; i < 200; ++i) {
    ASSERT_EQ(client.read().body, "number " + std::to_string(i));
    ASSERT_TRUE(client.read().body.starts_with("GET /show/" + std::to_string(i) + " "));
  }
}

TEST_F(HttpServerTest, ReadsBytesOneByOne) {
  start();
  Client client(address_);
  for (char const c :
       std::string_view("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                        "chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n")) {
    ASSERT_TRUE(client.send(std::string_view(&c, 1)));
  }
  EXPECT_EQ(client.read().body, "abcde");
  EXPECT_EQ(client.get("/hello").body, "hello");
}

TEST_F(HttpServerTest, TakesTargetsApart) {
  start();
  Client client(address_);
  EXPECT_EQ(client.get("/show/a%20b?x=1&y=p+q%21&x=2&flag&=", "X-Thing: t\r\n").body,
            "GET /show/a b q=x=1&y=p+q%21&x=2&flag&= [x=1] [y=p q!] [x=2] [flag=] [=] x=t "
            "peer=127.0.0.1");
  EXPECT_EQ(client.get("/show/deep/x").body, "deep");
  EXPECT_EQ(client.get("http://a/show/abs").body.substr(0, 13), "GET /show/abs");
  EXPECT_EQ(client.get("/show/").status, 404);
  EXPECT_EQ(client.get("/none").status, 404);
  EXPECT_EQ(client.get("/hello/").status, 404);
  EXPECT_EQ(client.get("/none").body,
            "{\"status\":\"error\",\"errorType\":\"not_found\",\"error\":\"no such path\"}\n");
  EXPECT_EQ(client.get("/show/%zz").status, 400);
}

TEST_F(HttpServerTest, KnowsMethods) {
  start();
  Client client(address_);
  Reply reply = client.ask("DELETE /show/deep/x HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.field("allow"), "GET, HEAD, PUT, OPTIONS");
  reply = client.ask("OPTIONS /echo HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.field("allow"), "POST, OPTIONS");
  EXPECT_EQ(reply.field("content-length"), "(none)");
  EXPECT_EQ(client.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status, 204);
  ASSERT_TRUE(client.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
  reply = client.read(true);
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.field("content-length"), "5");
  EXPECT_EQ(client.ask("PUT /show/deep/x HTTP/1.1\r\nHost: a\r\n\r\n").status, 201);
}

TEST_F(HttpServerTest, EndsWhereTheClientWantsTo) {
  start();
  Client one(address_);
  EXPECT_EQ(one.get("/hello", "Connection: close\r\n").field("connection"), "close");
  EXPECT_TRUE(one.ended());
  Client two(address_);
  EXPECT_EQ(two.ask("GET /hello HTTP/1.0\r\n\r\n").field("connection"), "close");
  EXPECT_TRUE(two.ended());
  Client three(address_);
  EXPECT_EQ(three.ask("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").field("connection"),
            "keep-alive");
  EXPECT_EQ(three.get("/hello").body, "hello");
}

TEST_F(HttpServerTest, CompressesWhereAskedTo) {
  start();
  Client client(address_);
  Reply const packed = client.get("/big", "Accept-Encoding: br, gzip\r\n");
  EXPECT_EQ(packed.field("content-encoding"), "gzip");
  EXPECT_EQ(packed.field("vary"), "Accept-Encoding");
  EXPECT_LT(packed.body.size(), kBig / 100);
  EXPECT_EQ(gunzip(packed.body, kBig)->size(), kBig);
  Reply const plain = client.get("/big");
  EXPECT_EQ(plain.field("content-encoding"), "(none)");
  EXPECT_EQ(plain.field("vary"), "Accept-Encoding");
  EXPECT_EQ(plain.body.size(), kBig);
  EXPECT_EQ(client.get("/hello", "Accept-Encoding: gzip\r\n").field("content-encoding"), "(none)");
}

TEST_F(HttpServerTest, RefusesBadRequestsAndGoesOnWithOthers) {
  start();
  Client other(address_);
  EXPECT_EQ(other.get("/hello").status, 200);
  struct Case {
    std::string text;
    int status;
    std::string_view type;
  };
  std::string const post = "POST /echo HTTP/1.1\r\nHost: a\r\n";
  std::vector<Case> const cases = {
      {"GARBAGE\r\n\r\n", 400, "bad_request_line"},
      {"GET / HTTP/1.1\r\n\r\n", 400, "no_host"},
      {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "bad_version"},
      {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "smuggling_cl_te"},
      {post + "Transfer-Encoding: chunked\r\n\r\nxyz", 400, "bad_chunk"},
      {post + "Content-Length: 99999999\r\n\r\n", 413, "too_large"},
      {post + "Content-Length: 1\r\nExpect: tea\r\n\r\nx", 417, "bad_data"},
      {"GET / HTTP/1.1\r\nHost: a\r\nX: " + std::string(40'000, 'x'), 431, "header_too_large"},
  };
  for (Case const& c : cases) {
    Client client(address_);
    // More than one read holds, so that an answer cut off by a reset would show.
    client.send(c.text + std::string(100'000, 'z'));
    Reply const reply = client.read();
    EXPECT_EQ(reply.status, c.status) << c.text.substr(0, 60);
    EXPECT_NE(reply.body.find("\"errorType\":\"" + std::string(c.type) + "\""), std::string::npos)
        << reply.body;
    EXPECT_EQ(reply.field("connection"), "close");
    EXPECT_TRUE(client.ended());
  }
  EXPECT_EQ(cells().bad_requests.read(), cases.size());
  EXPECT_EQ(other.get("/hello").status, 200);
}

TEST_F(HttpServerTest, BoundsChunkedBodies) {
  HttpServerOptions options;
  options.body_bytes_max = 10;
  start(options);
  Client client(address_);
  EXPECT_EQ(client
                .ask("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "5\r\nabcde\r\n5\r\nfghij\r\n0\r\n\r\n")
                .body,
            "abcdefghij");
  EXPECT_EQ(client
                .ask("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                     "5\r\nabcde\r\n6\r\nfghijk\r\n0\r\n\r\n")
                .status,
            413);
  EXPECT_TRUE(client.ended());
}

TEST_F(HttpServerTest, SaysContinue) {
  start();
  Client client(address_);
  ASSERT_TRUE(client.send(
      "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"));
  EXPECT_EQ(client.read().status, 100);
  EXPECT_EQ(client.ask("abc").body, "abc");
  EXPECT_EQ(client
                .ask("POST /none HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                     "Content-Length: 3\r\n\r\n")
                .status,
            404);
  EXPECT_TRUE(client.ended());
}

TEST_F(HttpServerTest, TakesAnswersFromOtherThreads) {
  start();
  Client client(address_);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.send(
        "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(reached_.wait(10 * base::kSecond));
    held_.with([](auto& held) { held.back().send(Response::text("late")); });
    EXPECT_EQ(client.read().body, "late");
    EXPECT_EQ(client.read().body, "hello");
  }
  // Each right to answer is used up: sending again does nothing.
  held_.with([](auto& held) { held.back().send(Response::text("again")); });
  EXPECT_EQ(client.get("/hello").body, "hello");
  EXPECT_EQ(client.get("/forget").status, 500);
}

TEST_F(HttpServerTest, AnswersMayOutliveConnectionAndServer) {
  start();
  {
    Client client(address_);
    ASSERT_TRUE(client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(reached_.wait(10 * base::kSecond));
    client.transport().abort_on_close();
  }
  while (cells().open.read() != 0) ::usleep(1000);
  held_.with([](auto& held) { held.back().send(Response::text("too late")); });
  Client client(address_);
  ASSERT_TRUE(client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
  ASSERT_TRUE(reached_.wait(10 * base::kSecond));
  on_loop([&] { server_.reset(); });
  held_.with([](auto& held) { held.back().send(Response::text("far too late")); });
  EXPECT_EQ(client.read().status, 0);
}

TEST_F(HttpServerTest, WantsTheToken) {
  HttpServerOptions options;
  options.token = "s3cret";
  options.open_paths = {"/hello"};
  start(options);
  Client client(address_);
  EXPECT_EQ(client.get("/hello").status, 200);
  for (char const* field : {"", "Authorization: Bearer wrong1\r\n",
                            "Authorization: Bearer s3cre\r\n", "Authorization: Bearer s3cretx\r\n",
                            "Authorization: Basic s3cret\r\n", "Authorization: s3cret\r\n"}) {
    Reply const reply = client.get("/show/x", field);
    EXPECT_EQ(reply.status, 401) << field;
    EXPECT_EQ(reply.field("www-authenticate"), "Bearer");
  }
  EXPECT_EQ(client.get("/none").status, 401);
  EXPECT_EQ(client.get("/show/x", "Authorization: bearer s3cret\r\n").status, 200);
  EXPECT_EQ(cells().unauthorized.read(), 7u);
}

TEST_F(HttpServerTest, BoundsConnectionsAndRequests) {
  HttpServerOptions options;
  options.connections_max = 2;
  options.requests_max = 2;
  start(options);
  Client one(address_);
  Client two(address_);
  EXPECT_EQ(one.get("/hello").field("connection"), "(none)");
  EXPECT_EQ(two.get("/hello").status, 200);
  Client three(address_);
  EXPECT_EQ(three.read().status, 503);
  EXPECT_EQ(cells().refused.read(), 1u);
  EXPECT_EQ(one.get("/hello").field("connection"), "close");
  EXPECT_TRUE(one.ended());
}

TEST_F(HttpServerTest, LosesPatienceAtEveryStage) {
  HttpServerOptions options;
  options.head_timeout_ns = options.body_timeout_ns = options.idle_timeout_ns = 30 * base::kMilli;
  options.handler_timeout_ns = options.write_timeout_ns = 30 * base::kMilli;
  options.write_bytes_per_second_min = 1 << 30;
  start(options);
  Client silent(address_);
  EXPECT_TRUE(silent.ended());
  EXPECT_EQ(cells().timeouts.read(), 0u);  // between requests it is no fault
  Client head(address_);
  EXPECT_EQ(head.ask("GET / HT").status, 408);
  Client body(address_);
  EXPECT_EQ(body.ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab").status, 408);
  EXPECT_TRUE(body.ended());
  Client handler(address_);
  EXPECT_EQ(handler.get("/later").status, 503);
  EXPECT_TRUE(handler.ended());
  held_.with([](auto& held) { held.back().send(Response::text("late")); });
  EXPECT_EQ(cells().timeouts.read(), 3u);
  Client reader(address_);
  ASSERT_TRUE(reader.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n"));
  while (cells().timeouts.read() < 4) ::usleep(1000);
  EXPECT_LT(reader.read().body.size(), kBig);
}

TEST_F(HttpServerTest, DoesNotLetAValueWriteFields) {
  start();
  Client client(address_);
  Reply const reply = client.get("/inject");
  EXPECT_EQ(reply.body, "ok");
  EXPECT_EQ(reply.field("x-evil"), "(none)");
  EXPECT_EQ(reply.field("x-a"), "(none)");
  EXPECT_EQ(reply.field("x-c"), "d");
}

TEST_F(HttpServerTest, DrainsAfterTheAnswerUnderWay) {
  start();
  Client idle(address_);
  EXPECT_EQ(idle.get("/hello").status, 200);
  Client busy(address_);
  ASSERT_TRUE(busy.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n"));
  ASSERT_TRUE(reached_.wait(10 * base::kSecond));
  on_loop([&] { server_->drain(); });
  EXPECT_TRUE(idle.ended());
  held_.with([](auto& held) { held.back().send(Response::text("last")); });
  Reply const reply = busy.read();
  EXPECT_EQ(reply.body, "last");
  EXPECT_EQ(reply.field("connection"), "close");
  EXPECT_TRUE(busy.ended());
  auto const again = listen_on(address_, false);
  ASSERT_TRUE(again) << again.error().what;
  ::close(*again);
}

TEST_F(HttpServerTest, SpeaksTls) {
  TestFolder const folder;
  auto const files = make_test_certificate(folder.path(), "one");
  auto const server_tls = TlsContext::server(files.cert_file, files.key_file);
  auto const client_tls = TlsContext::client(files.cert_file);
  ASSERT_TRUE(server_tls && client_tls);
  start({}, server_tls->get());
  Client client(address_, client_tls->get());
  // More than a record at once, so that bytes wait in TLS's buffer between requests.
  std::string batch;
  for (int i = 0; i < 300; ++i) {
    batch += "GET /show/" + std::to_string(i) +
             " HTTP/1.1\r\nHost: a\r\nX-Thing: " + std::string(100, 'p') + "\r\n\r\n";
  }
  ASSERT_TRUE(client.send(batch));
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(client.read().body.starts_with("GET /show/" + std::to_string(i) + " "));
  }
  std::string const body(1'000'000, 'b');
  ASSERT_TRUE(
      client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + body));
  EXPECT_EQ(client.read().body, body);
  ASSERT_TRUE(
      client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"));
  ASSERT_TRUE(reached_.wait(10 * base::kSecond));
  held_.with([](auto& held) { held.back().send(Response::text("late")); });
  EXPECT_EQ(client.read().body, "late");
  EXPECT_EQ(client.read().body, "hello");
  Client plain(address_);
  plain.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(plain.read().status, 0);
  EXPECT_EQ(cells().tls_failures.read(), 1u);
  EXPECT_EQ(client.get("/big").body.size(), kBig);
  stop();
  server_.reset();
}

}  // namespace
}  // namespace wscope::net
