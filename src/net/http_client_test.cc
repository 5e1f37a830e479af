#include "net/http_client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "net/http_server.h"
#include "net/socket.h"
#include "net/test_certificate.h"
#include "runtime/sync.h"

namespace wscope::net {
namespace {

// A server on a loop of its own that answers by path.
class HttpClientTest : public ::testing::Test {
 public:
  HttpClientTest() : server_(loop_, {}) {
    server_.route("POST", "/echo", [](Request const& request, Responder responder) {
      Response out = Response::text(request.body);
      out.headers.emplace_back("X-Seen", request.header("x-sent"));
      out.headers.emplace_back("X-Seen-Type", request.header("content-type"));
      out.headers.emplace_back("X-Seen-Agent", request.header("user-agent"));
      responder.send(std::move(out));
    });
    server_.route("GET", "/big", [](Request const&, Responder responder) {
      responder.send(Response::text(std::string(3000, 'x')));
    });
    server_.route("GET", "/wait", [](Request const&, Responder responder) {
      Response out = Response::error(503, "busy", "later");
      out.headers.emplace_back("Retry-After", "7");
      responder.send(std::move(out));
    });
    server_.route("GET", "/away", [](Request const&, Responder responder) {
      responder.send({302, "", {{"Location", "/big"}}, ""});
    });
    server_.route("GET", "/never", [this](Request const&, Responder responder) {
      held_.push_back(std::move(responder));
      reached_.raise();
    });
    address_ = *server_.listen(*parse_address("127.0.0.1:0"));
    thread_ = runtime::Thread("loop", [this] { loop_.run(); });
  }
  ~HttpClientTest() override {
    loop_.stop();
    thread_.join();
    held_.clear();
  }

 protected:
  HttpRequest get(std::string const& path) {
    return {
        .url = "http://" + to_text(address_) + path, .method = "GET", .headers = {}, .body = ""};
  }

  base::RealClock clock_;
  runtime::Loop loop_{clock_};
  std::vector<Responder> held_;
  runtime::Signal reached_;
  HttpServer server_;
  Address address_;
  runtime::Thread thread_;
};

TEST_F(HttpClientTest, PostsAndReadsTheReply) {
  HttpClient client(clock_);
  std::string body(100'000, 'b');
  body[50] = '\0';
  for (int i = 0; i < 5; ++i) {
    auto const reply = client.post({.url = "http://" + to_text(address_) + "/echo",
                                    .method = "POST",
                                    .headers = {{"X-Sent", "abc"}, {"Content-Type", "a/b"}},
                                    .body = body});
    ASSERT_TRUE(reply) << reply.error().what;
    EXPECT_EQ(reply->status, 200);
    EXPECT_EQ(reply->body, body);
    EXPECT_EQ(reply->header("x-seen"), "abc");
    EXPECT_EQ(reply->header("x-seen-type"), "a/b");
    EXPECT_EQ(reply->header("x-seen-agent"), "wscope");
    EXPECT_FALSE(reply->retry_after_ns);
  }
  // All five went over one connection.
  EXPECT_EQ(server_.cells().accepted.read(), 1u);
}

TEST_F(HttpClientTest, BoundsTheReply) {
  HttpClientOptions options;
  options.response_bytes_max = 2999;
  HttpClient small(clock_, options);
  EXPECT_EQ(small.send(get("/big")).error().code, base::Errc::over_limit);
  options.response_bytes_max = 3000;
  HttpClient enough(clock_, options);
  EXPECT_EQ(enough.send(get("/big"))->body.size(), 3000u);
}

TEST_F(HttpClientTest, ShowsRetryAfterAndFollowsNothing) {
  HttpClient client(clock_);
  auto const busy = client.send(get("/wait"));
  ASSERT_TRUE(busy);
  EXPECT_EQ(busy->status, 503);
  EXPECT_EQ(busy->retry_after_ns, 7 * base::kSecond);
  EXPECT_EQ(client.send(get("/away"))->status, 302);
  HttpClientOptions options;
  options.redirects_max = 1;
  HttpClient following(clock_, options);
  EXPECT_EQ(following.send(get("/away"))->body.size(), 3000u);
}

TEST_F(HttpClientTest, GivesUpInTime) {
  HttpClientOptions options;
  options.total_timeout_ns = 50 * base::kMilli;
  HttpClient client(clock_, options);
  auto const reply = client.send(get("/never"));
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, base::Errc::timeout);
}

TEST_F(HttpClientTest, CanBeCancelledFromAnotherThread) {
  HttpClientOptions options;
  options.total_timeout_ns = 60 * base::kSecond;
  HttpClient client(clock_, options);
  runtime::Thread other("cancel", [&] {
    EXPECT_TRUE(reached_.wait(10 * base::kSecond));
    client.cancel();
  });
  int64_t const start = clock_.steady_ns();
  auto const reply = client.send(get("/never"));
  EXPECT_LT(clock_.steady_ns() - start, 10 * base::kSecond);
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, base::Errc::closed);
  EXPECT_EQ(client.send(get("/big")).error().code, base::Errc::closed);
  other.join();
}

TEST_F(HttpClientTest, SaysWhatIsWrongWithoutSecrets) {
  HttpClient client(clock_);
  HttpRequest request = get("/big");
  request.url = "ftp://host/";
  EXPECT_EQ(client.send(request).error().code, base::Errc::invalid);
  request.url = "http://no-such-host.invalid/";
  EXPECT_EQ(client.send(request).error().code, base::Errc::not_found);
  auto const gone = listen_on(*parse_address("127.0.0.1:0"), false);
  request.url =
      "http://me:hunter2@" + to_text(*local_address(*gone)) + "/path?token=hunter2#hunter2";
  ::close(*gone);
  auto const reply = client.send(request);
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code, base::Errc::refused);
  EXPECT_EQ(reply.error().what.find("hunter2"), std::string::npos) << reply.error().what;
  EXPECT_NE(reply.error().what.find("/path"), std::string::npos) << reply.error().what;
  request = get("/big");
  request.headers.emplace_back("X", "a\r\nY: b");
  EXPECT_EQ(client.send(request).error().code, base::Errc::invalid);
}

TEST(HttpClientTls, VerifiesTheServer) {
  TestFolder const folder;
  auto const files = make_test_certificate(folder.path(), "one");
  auto const other = make_test_certificate(folder.path(), "other");
  auto const context = TlsContext::server(files.cert_file, files.key_file);
  ASSERT_TRUE(context);
  base::RealClock const clock;
  runtime::Loop loop(clock);
  HttpServer server(loop, {});
  server.route("GET", "/", [](Request const&, Responder responder) {
    responder.send(Response::text("secret"));
  });
  auto const address = server.listen(*parse_address("127.0.0.1:0"), context->get());
  ASSERT_TRUE(address);
  runtime::Thread thread("loop", [&] { loop.run(); });
  HttpRequest const request{
      .url = "https://" + to_text(*address) + "/", .method = "GET", .headers = {}, .body = ""};
  HttpClientOptions options;
  options.ca_file = files.cert_file;
  auto const reply = HttpClient(clock, options).send(request);
  ASSERT_TRUE(reply) << reply.error().what;
  EXPECT_EQ(reply->body, "secret");
  options.ca_file = other.cert_file;
  EXPECT_EQ(HttpClient(clock, options).send(request).error().code, base::Errc::refused);
  EXPECT_EQ(HttpClient(clock).send(request).error().code, base::Errc::refused);
  options.ca_file = folder.path() + "/missing.pem";
  EXPECT_EQ(HttpClient(clock, options).send(request).error().code, base::Errc::invalid);
  while (server.cells().tls_failures.read() < 2) ::usleep(1000);
  loop.stop();
  thread.join();
}

}  // namespace
}  // namespace wscope::net
