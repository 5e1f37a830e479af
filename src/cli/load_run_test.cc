#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdlib>
#include <filesystem>

#include "cli/load.h"
#include "cli/load_test_peer.h"

namespace wscope::cli {
namespace {

using Fault = PeerManner::Fault;

LoadOptions options_for(LoadTestPeer const& peer) {
  LoadOptions options;
  options.url = peer.url();
  options.connections = 4;
  options.duration_ns = 150 * base::kMilli;
  options.warmup_ns = 20 * base::kMilli;
  return options;
}

LoadReport run(LoadOptions const& options) {
  auto report = run_load(options);
  EXPECT_TRUE(report.has_value()) << report.error().what;
  return report.value_or(LoadReport{});
}

TEST(LoadRun, EchoCountsWhatTheServerSaw) {
  for (auto const& [in_flight, size, binary] : {std::tuple{1, 32, false},
                                                {16, 32, true},
                                                {3, 0, false},
                                                {8, 5, false},
                                                {2, 70'000, true}}) {
    LoadTestPeer peer({});
    LoadOptions options = options_for(peer);
    options.in_flight = static_cast<uint32_t>(in_flight);
    options.size = static_cast<uint64_t>(size);
    options.binary = binary;
    LoadReport const report = run(options);
    EXPECT_TRUE(report.ok()) << to_json(report);
    EXPECT_EQ(report.open, 4u);
    EXPECT_EQ(report.handshakes, 4u);
    EXPECT_EQ(report.deliveries, report.messages);
    EXPECT_EQ(report.payload_bytes, report.messages * options.size);
    // The server also saw the warm-up and the replies that came after the window.
    EXPECT_GT(peer.counters.messages.read(), report.messages);
    EXPECT_LE(report.latency.count, report.messages + 4 * options.in_flight);
    EXPECT_GT(report.latency.count, 0u);
    EXPECT_GT(report.latency.p50, 0);
    EXPECT_LE(report.latency.p50, report.latency.p99);
    EXPECT_LE(report.latency.p99, report.latency.max);
    EXPECT_FALSE(report.coordinated_omission_corrected);
    EXPECT_NEAR(report.duration_s, 0.15, 0.1);
    EXPECT_EQ(peer.counters.closes.read(), 4u);
    EXPECT_EQ(peer.counters.bad_frames.read(), 0u);
  }
}

TEST(LoadRun, FragmentedRepliesAndPingsAreFine) {
  PeerManner manner;
  manner.fragment = true;
  LoadTestPeer peer(manner);
  LoadOptions options = options_for(peer);
  options.in_flight = 5;
  LoadReport const report = run(options);
  EXPECT_TRUE(report.ok()) << to_json(report);
  // Pongs to the last pings may be cut off by the close.
  EXPECT_GT(peer.counters.pongs.read(), report.messages);
  EXPECT_EQ(peer.counters.bad_frames.read(), 0u);
}

struct FaultCase {
  Fault fault;
  uint64_t LoadErrors::*counted;
};

// Each connection runs into the fault once: one error a connection, of the right kind.
TEST(LoadRun, EveryFaultIsCountedAsItsKind) {
  for (FaultCase const& c : {FaultCase{Fault::drop, &LoadErrors::mismatch},
                             {Fault::corrupt, &LoadErrors::mismatch},
                             {Fault::twice, &LoadErrors::mismatch},
                             {Fault::masked, &LoadErrors::protocol},
                             {Fault::close, &LoadErrors::closed},
                             {Fault::reset, &LoadErrors::closed}}) {
    PeerManner manner;
    manner.fault = c.fault;
    manner.fault_after = 50;
    LoadTestPeer peer(manner);
    LoadOptions options = options_for(peer);
    options.in_flight = 4;
    options.duration_ns = 5 * base::kSecond;  // all connections are lost long before
    LoadReport const report = run(options);
    EXPECT_FALSE(report.ok());
    EXPECT_EQ(report.errors.*c.counted, 4u) << to_json(report);
    EXPECT_EQ(report.errors.total() - report.errors.unanswered, 4u) << to_json(report);
    EXPECT_GT(report.errors.unanswered, 0u);
    EXPECT_FALSE(report.first_error.empty());
    EXPECT_LT(report.duration_s, 4);
  }
}

TEST(LoadRun, WithoutVerificationWrongRepliesCountToo) {
  PeerManner manner;
  manner.fault = Fault::corrupt;
  manner.fault_after = 10;
  net::ws::append_frame(manner.greeting, net::ws::Opcode::text, "welcome");
  LoadTestPeer peer(manner);
  LoadOptions options = options_for(peer);
  options.verify = false;
  LoadReport const report = run(options);
  EXPECT_TRUE(report.ok()) << to_json(report);
  EXPECT_GT(report.messages, 10u);
  options.verify = true;
  EXPECT_EQ(run(options).errors.mismatch, 4u);
}

TEST(LoadRun, RefusedHandshakesAreCounted) {
  PeerManner forbidden;
  forbidden.answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
  PeerManner accept;
  accept.wrong_accept = true;
  PeerManner extension;
  extension.answer = "garbage\r\n\r\n";
  for (PeerManner const& manner : {forbidden, accept, extension}) {
    LoadTestPeer peer(manner);
    LoadReport const report = run(options_for(peer));
    EXPECT_EQ(report.errors.handshake, 4u) << to_json(report);
    EXPECT_EQ(report.errors.total(), 4u);
    EXPECT_EQ(report.messages, 0u);
    EXPECT_FALSE(report.ok());
  }
}

TEST(LoadRun, NobodyListens) {
  LoadOptions options;
  {
    LoadTestPeer peer({});
    options = options_for(peer);
  }
  for (LoadMode const mode : {LoadMode::echo, LoadMode::fanout, LoadMode::idle, LoadMode::churn}) {
    options.mode = mode;
    LoadReport const report = run(options);
    EXPECT_EQ(report.errors.connect, 4u) << to_json(report);
    EXPECT_NE(report.first_error.find("refused"), std::string::npos) << report.first_error;
    EXPECT_FALSE(report.ok());
  }
}

TEST(LoadRun, FanoutDeliversEachMessageToEachMember) {
  PeerManner manner;
  manner.room = true;
  for (double const rate : {0.0, 500.0}) {
    LoadTestPeer peer(manner);
    LoadOptions options = options_for(peer);
    options.mode = LoadMode::fanout;
    options.connections = 10;
    options.in_flight = 4;
    options.rate = rate;
    LoadReport const report = run(options);
    EXPECT_TRUE(report.ok()) << to_json(report);
    // Members run ahead and behind of each other by what is under way.
    EXPECT_NEAR(static_cast<double>(report.deliveries), 10.0 * static_cast<double>(report.messages),
                200);
    EXPECT_GT(report.latency.count, 10u);
    EXPECT_EQ(report.coordinated_omission_corrected, rate > 0);
  }
}

TEST(LoadRun, FanoutNoticesAMemberThatIsLeftOut) {
  LoadTestPeer peer({});  // an echo server: nobody but the publisher receives anything
  LoadOptions options = options_for(peer);
  options.mode = LoadMode::fanout;
  options.connections = 2;
  options.duration_ns = 50 * base::kMilli;
  options.drain_ns = 100 * base::kMilli;
  LoadReport const report = run(options);
  EXPECT_GT(report.errors.unanswered, 0u) << to_json(report);
  EXPECT_FALSE(report.ok());
}

TEST(LoadRun, IdleHoldsAndAnnounces) {
  PeerManner manner;
  net::ws::append_frame(manner.greeting, net::ws::Opcode::ping, "are you there");
  LoadTestPeer peer(manner);
  LoadOptions options = options_for(peer);
  options.mode = LoadMode::idle;
  options.connections = 500;
  uint64_t announced = 0;
  options.on_ready = [&](uint64_t open) { announced = open; };
  LoadReport const report = run(options);
  EXPECT_TRUE(report.ok()) << to_json(report);
  EXPECT_EQ(announced, 500u);
  EXPECT_EQ(report.open, 500u);
  EXPECT_EQ(report.messages, 0u);
  EXPECT_EQ(peer.counters.pongs.read(), 500u);
  EXPECT_EQ(peer.counters.closes.read(), 500u);
}

TEST(LoadRun, ChurnOpensAndCloses) {
  for (uint32_t const messages : {0u, 3u}) {
    LoadTestPeer peer({});
    LoadOptions options = options_for(peer);
    options.mode = LoadMode::churn;
    options.messages = messages;
    LoadReport const report = run(options);
    EXPECT_TRUE(report.ok()) << to_json(report);
    EXPECT_GT(report.handshakes, 10u);
    EXPECT_GE(peer.counters.handshakes.read(), report.handshakes);
    EXPECT_EQ(peer.counters.closes.read(), peer.counters.handshakes.read());
    // Those that were just opening at the end close without a message.
    EXPECT_LE(peer.counters.messages.read(), messages * peer.counters.handshakes.read());
    EXPECT_GE(peer.counters.messages.read() + 4 * messages,
              messages * peer.counters.handshakes.read());
    EXPECT_GT(report.latency.p50, 0);
  }
}

TEST(LoadRun, RateIsKeptAndLatencyCountsFromTheSchedule) {
  LoadTestPeer peer({});
  LoadOptions options = options_for(peer);
  options.rate = 2'000;
  options.duration_ns = 500 * base::kMilli;
  LoadReport const report = run(options);
  EXPECT_TRUE(report.ok()) << to_json(report);
  EXPECT_NEAR(report.per_second(report.messages), 2'000, 300);
  EXPECT_TRUE(report.coordinated_omission_corrected);
  EXPECT_NE(to_json(report).find("\"coordinated_omission_corrected\":true"), std::string::npos);
}

TEST(LoadRun, AServerThatNeverHangsUpIsLeftAfterTwoSeconds) {
  PeerManner manner;
  manner.no_hang_up = true;
  LoadTestPeer peer(manner);
  int64_t const before = base::RealClock().steady_ns();
  LoadReport const report = run(options_for(peer));
  EXPECT_TRUE(report.ok()) << to_json(report);
  EXPECT_LT(base::RealClock().steady_ns() - before, 5 * base::kSecond);
}

TEST(LoadRun, HeadersAndSubprotocolReachTheServer) {
  LoadTestPeer peer({});
  LoadOptions options = options_for(peer);
  options.url = peer.url("/ws/room?x=1");
  options.headers = {"Cookie: sessionid=abc", "host: example.test"};
  options.subprotocol = "soap, chat";
  EXPECT_TRUE(run(options).ok());
  std::string const head = peer.first_head.with([](std::string const& text) { return text; });
  EXPECT_EQ(head.find("GET /ws/room?x=1 HTTP/1.1\r\nHost: example.test\r\n"), 0u) << head;
  EXPECT_NE(head.find("\r\nCookie: sessionid=abc\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("\r\nSec-WebSocket-Protocol: soap, chat\r\n"), std::string::npos) << head;
  options.subprotocol = "soap";  // the server answers with chat
  EXPECT_EQ(run(options).errors.handshake, 4u);
}

TEST(LoadRun, Tls) {
  std::filesystem::path const folder =
      std::filesystem::temp_directory_path() / ("load_run_test." + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  std::string const cert = folder / "cert.pem", key = folder / "key.pem";
  ASSERT_TRUE(write_test_certificate(cert, key));
  auto const tls = net::TlsContext::server(cert, key);
  ASSERT_TRUE(tls.has_value()) << tls.error().what;
  PeerManner manner;
  manner.tls = tls->get();
  LoadTestPeer peer(manner);
  LoadOptions options = options_for(peer);
  LoadReport const distrusted = run(options);
  EXPECT_EQ(distrusted.errors.handshake, 4u) << to_json(distrusted);
  EXPECT_EQ(distrusted.messages, 0u);
  options.ca_file = cert;
  for (auto const& [in_flight, size] : {std::pair{16, 32}, {4, 300'000}}) {
    options.in_flight = static_cast<uint32_t>(in_flight);
    options.size = static_cast<uint64_t>(size);
    LoadReport const report = run(options);
    EXPECT_TRUE(report.ok()) << to_json(report);
  }
  options.ca_file.clear();
  options.insecure = true;
  EXPECT_TRUE(run(options).ok());
  std::filesystem::remove_all(folder);
}

TEST(LoadRun, WrongOptionsAreNamed) {
  LoadTestPeer peer({});
  using Change = std::function<void(LoadOptions&)>;
  std::vector<std::pair<Change, std::string>> const cases{
      {[](auto& o) { o.connections = 0; }, "--connections"},
      {[](auto& o) { o.in_flight = 0; }, "--in-flight"},
      {[](auto& o) { o.in_flight = 65'537; }, "--in-flight"},
      {[](auto& o) { o.size = 65 << 20; }, "--size"},
      {[](auto& o) { o.rate = -1; }, "--rate"},
      {[](auto& o) { o.rate = 10, o.mode = LoadMode::idle; }, "--rate"},
      {[](auto& o) { o.duration_ns = 0; }, "--duration"},
      {[](auto& o) { o.warmup_ns = -1; }, "--warmup"},
      {[](auto& o) { o.drain_ns = -1; }, "--drain"},
      {[](auto& o) { o.messages = 1; }, "--messages"},
      {[](auto& o) { o.cpu = 100'000; }, "--cpu"},
      {[](auto& o) { o.headers = {"nocolon"}; }, "--header"},
      {[](auto& o) { o.headers = {"A: b\r\nC: d"}; }, "--header"},
      {[](auto& o) { o.headers = {"upgrade: x"}; }, "--header"},
      {[](auto& o) { o.subprotocol = "a b"; }, "--subprotocol"},
      {[](auto& o) { o.sources = {"::1"}; }, "--source"},
      {[](auto& o) { o.insecure = true; }, "--insecure"},
      {[](auto& o) { o.url = "http://127.0.0.1:1/"; }, "ws://"},
  };
  for (auto const& [change, word] : cases) {
    LoadOptions options = options_for(peer);
    change(options);
    auto const report = run_load(options);
    ASSERT_FALSE(report.has_value()) << word;
    EXPECT_EQ(report.error().code, base::Errc::invalid) << word;
    EXPECT_NE(report.error().what.find(word), std::string::npos) << report.error().what;
  }
}

int run_command_line(std::string const& line) {
  CLI::App app("test");
  int exit_code = -1;
  add_load_command(app, exit_code);
  try {
    app.parse(line);
  } catch (CLI::ParseError const&) {
    return 2;
  }
  return exit_code;
}

TEST(LoadCommand, ExitCodes) {
  LoadTestPeer peer({});
  std::string const quick = " --duration 50ms --warmup 0 --connections 2 ";
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_command_line("load " + peer.url() + quick + "--json --size 1KiB --in-flight 2"), 0);
  std::string const json = testing::internal::GetCapturedStdout();
  EXPECT_EQ(json.find("{\"mode\":\"echo\",\"connections\":2,\"in_flight\":2,\"size\":1024,"), 0u)
      << json;
  EXPECT_EQ(std::count(json.begin(), json.end(), '\n'), 1);
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_command_line("load " + peer.url() + quick + "--mode idle --header 'A: b'"), 0);
  EXPECT_EQ(testing::internal::GetCapturedStdout().find("ready 2\n"), 0u);
  testing::internal::CaptureStdout();
  EXPECT_EQ(run_command_line("load ws://127.0.0.1:1/" + quick), 1);
  (void)testing::internal::GetCapturedStdout();
  EXPECT_EQ(run_command_line("load " + peer.url() + " --mode juggle"), 2);
  EXPECT_EQ(run_command_line("load " + peer.url() + " --duration soon"), 2);
  EXPECT_EQ(run_command_line("load " + peer.url() + " --connections 0"), 2);
  EXPECT_EQ(run_command_line("load"), 2);
}

}  // namespace
}  // namespace wscope::cli
