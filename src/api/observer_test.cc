// The routes as a client sees them: a real server on a real loop.
#include "api/observer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/clock.h"
#include "net/address.h"
#include "net/http_client.h"
#include "runtime/loop.h"
#include "runtime/sync.h"

namespace wscope::api {
namespace {

using testing::HasSubstr;

class Observer {
 public:
  explicit Observer(std::string token)
      : board_({"1.2.3", 0, 1, "http://e:1", "http://o:2", ""}), loop_(clock_) {
    net::HttpServerOptions options;
    options.token = std::move(token);
    options.open_paths = open_paths();
    server_ = std::make_unique<net::HttpServer>(loop_, options);
    ObserverSources sources;
    sources.metrics = [](std::string_view accept) {
      return MetricsBody{"text/plain; version=0.0.4", "# " + std::string(accept) + "\n"};
    };
    sources.readiness = [] { return Readiness{false, {"draining"}}; };
    sources.sessions = [](size_t, size_t, SessionDone const& done) { done({}); };
    sources.loggers = {[this] { return level_.with([](std::string const& l) { return rows(l); }); },
                       [this](std::string_view name, std::string_view level) -> base::Status {
                         if (name != "websocket.message")
                           return base::fail(base::Errc::not_found, "no logger");
                         level_.with([&](std::string& l) { l = level; });
                         return {};
                       }};
    sources.config = [] { return std::string("loops: 1\n"); };
    add_observer(*server_, board_, std::move(sources));
    auto const address = server_->listen(net::parse_address("127.0.0.1:0").value());
    EXPECT_TRUE(address.has_value());
    base_ = "http://" + net::to_text(*address);
    thread_ = runtime::Thread("observer", [this] { loop_.run(); });
  }
  ~Observer() {
    loop_.stop();
    thread_.join();
  }

  net::HttpReply ask(std::string const& method, std::string const& path, std::string body = "",
                     std::string const& token = "") {
    net::HttpRequest request;
    request.method = method;
    request.url = base_ + path;
    request.body = std::move(body);
    if (!token.empty()) request.headers.emplace_back("Authorization", "Bearer " + token);
    auto reply = client_.send(request);
    EXPECT_TRUE(reply.has_value()) << (reply ? "" : reply.error().what);
    return reply ? *reply : net::HttpReply{};
  }

 private:
  static std::vector<LoggerRow> rows(std::string const& level) {
    return {{"websocket.message", level}};
  }

  base::RealClock clock_;
  StatusBoard board_;
  runtime::Guarded<std::string> level_{"INFO"};
  runtime::Loop loop_;
  std::unique_ptr<net::HttpServer> server_;
  net::HttpClient client_{clock_};
  std::string base_;
  runtime::Thread thread_;
};

TEST(Observer, ServesEveryRoute) {
  Observer observer("");
  struct Case {
    char const* path;
    int status;
    char const* holds;
  };
  for (Case const& c : {Case{"/", 200, "<title>wscope</title>"},
                        {"/metrics", 200, "# */*"},
                        {"/healthz", 200, "\"ok\""},
                        {"/readyz", 503, "\"draining\""},
                        {"/api/v1/status", 200, "\"version\":\"1.2.3\""},
                        {"/api/v1/sessions", 200, "\"total\":0"},
                        {"/api/v1/sessions?limit=x", 400, "bad_data"},
                        {"/api/v1/loggers", 200, "websocket.message"},
                        {"/api/v1/loggers/nobody", 404, "not_found"},
                        {"/api/v1/status/config", 200, "loops: 1"},
                        {"/nothing", 404, "\"status\":\"error\""}}) {
    net::HttpReply const reply = observer.ask("GET", c.path);
    EXPECT_EQ(reply.status, c.status) << c.path;
    EXPECT_THAT(reply.body, HasSubstr(c.holds)) << c.path;
  }
}

TEST(Observer, PutChangesALevelAndGetSeesIt) {
  Observer observer("");
  std::string const path = "/api/v1/loggers/websocket%2Emessage";
  EXPECT_THAT(observer.ask("GET", path).body, HasSubstr("\"level\":\"INFO\""));
  EXPECT_EQ(observer.ask("PUT", path, R"({"level":"DEBUG"})").status, 200);
  EXPECT_THAT(observer.ask("GET", path).body, HasSubstr("\"level\":\"DEBUG\""));
  EXPECT_EQ(observer.ask("PUT", path, "level=INFO").status, 400);
  EXPECT_EQ(observer.ask("PUT", "/api/v1/loggers/x", R"({"level":"DEBUG"})").status, 404);
  EXPECT_EQ(observer.ask("PUT", "/api/v1/loggers", "{}").status, 405);
}

TEST(Observer, TokenGuardsAllButPageAndHealth) {
  Observer observer("s3cret");
  for (std::string const& path : open_paths()) {
    EXPECT_NE(observer.ask("GET", path).status, 401) << path;
  }
  for (char const* path : {"/metrics", "/api/v1/status", "/api/v1/sessions", "/api/v1/loggers",
                           "/api/v1/loggers/websocket.message", "/api/v1/status/config"}) {
    EXPECT_EQ(observer.ask("GET", path).status, 401) << path;
    EXPECT_EQ(observer.ask("GET", path, "", "wrong").status, 401) << path;
    EXPECT_EQ(observer.ask("GET", path, "", "s3cret").status, 200) << path;
  }
  EXPECT_EQ(observer.ask("PUT", "/api/v1/loggers/websocket.message", "{}").status, 401);
}

}  // namespace
}  // namespace wscope::api
