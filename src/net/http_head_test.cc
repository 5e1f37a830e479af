#include "net/http_head.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace wscope::net {
namespace {

HeadLimits const kLimits;

struct Bad {
  std::string text;
  int status;
  char const* error_type;
};

// Every one is complete, so that none is refused for being cut off.
std::vector<Bad> bad_lines_and_targets() {
  return {
      {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"GET /\r\n\r\n", 400, "bad_request_line"},
      {"GET / \r\n\r\n", 400, "bad_request_line"},
      {"GET  / HTTP/1.1\r\n\r\n", 400, "bad_request_line"},
      {"GET / HTTP/1.1 \r\n\r\n", 400, "bad_request_line"},
      {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"GET / HTTP/11\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"GET / HTTP/1.x\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"GET / XTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request_line"},
      {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "bad_version"},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "bad_version"},
      {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "bad_version"},
      {"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "bad_version"},
      {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501, "connect_unsupported"},
      {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"},
      {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"},
      {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"},
      {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"},
      {"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"},
      {"GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"},
      {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_target"},
  };
}

std::vector<Bad> bad_fields() {
  std::string const ok = "GET / HTTP/1.1\r\nHost: a\r\n";
  using namespace std::string_literals;
  return {
      {"GET / HTTP/1.1\r\n\r\n", 400, "no_host"},
      {ok + "Host: a\r\n\r\n", 400, "two_hosts"},
      {ok + "hOST: b\r\n\r\n", 400, "two_hosts"},
      {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "two_hosts"},
      {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad_host"},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "bad_host"},
      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "bad_host"},
      {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "bad_host"},
      {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "bad_host"},
      {"GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n", 400, "bad_host"},
      {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "bad_host"},
      {"GET / HTTP/1.1\r\nHost: \x80\r\n\r\n", 400, "bad_host"},
      {ok + "X: a\r\n b\r\n\r\n", 400, "obs_fold"},
      {ok + "X: a\r\n\tb\r\n\r\n", 400, "obs_fold"},
      {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "obs_fold"},
      {ok + "X : a\r\n\r\n", 400, "space_before_colon"},
      {ok + "Transfer-Encoding\t: chunked\r\n\r\n", 400, "space_before_colon"},
      {ok + ": a\r\n\r\n", 400, "bad_header"},
      {ok + "no colon\r\n\r\n", 400, "bad_header"},
      {ok + "X(: a\r\n\r\n", 400, "bad_header"},
      {ok + "X\x80: a\r\n\r\n", 400, "bad_header"},
      {ok + "X Y: a\r\n\r\n", 400, "bad_header"},
      {ok + "X: a\0b\r\n\r\n"s, 400, "bad_header"},
      {"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s, 400, "bad_header"},
      {ok + "X: a\x01\r\n\r\n", 400, "bad_header"},
      {ok + "X: a\x7f\r\n\r\n", 400, "bad_header"},
      {ok + "Connection: \"\r\n\r\n", 400, "bad_header"},
      {ok + "X: a\rb\r\n\r\n", 400, "bare_cr"},
      {ok + "X: a\r\r\n\r\n", 400, "bare_cr"},
      {"GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "bare_cr"},
      {ok + "X: a\nY: b\r\n\r\n", 400, "bare_lf"},
      {"GET / HTTP/1.1\nHost: a\n\n", 400, "bare_lf"},
      {ok + "\n", 400, "bare_lf"},
  };
}

std::vector<Bad> bad_framing() {
  std::string const ok = "GET / HTTP/1.1\r\nHost: a\r\n";
  std::string const post = "POST / HTTP/1.1\r\nHost: a\r\n";
  return {
      {post + "Content-Length: x\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length:\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: +5\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: -5\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: 0x5\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: 5, 5\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: 5, 6\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: 5 5\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: 9223372036854775808\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: 99999999999999999999\r\n\r\n", 400, "bad_content_length"},
      {post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, "two_content_lengths"},
      {post + "Content-Length: 5\r\ncontent-length: 6\r\n\r\n", 400, "two_content_lengths"},
      {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "smuggling_cl_te"},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400, "smuggling_cl_te"},
      {post + "Transfer-Encoding: x\r\nContent-Length: 5\r\n\r\n", 400, "smuggling_cl_te"},
      {post + "Transfer-Encoding: gzip\r\n\r\n", 501, "bad_transfer_encoding"},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "bad_transfer_encoding"},
      {post + "Transfer-Encoding: identity\r\n\r\n", 501, "bad_transfer_encoding"},
      {post + "Transfer-Encoding: xchunked\r\n\r\n", 501, "bad_transfer_encoding"},
      {post + "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n",
       400, "bad_header"},
      {post + "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, "bad_transfer_encoding"},
      {post + "Transfer-Encoding: chunked,\r\n\r\n", 400, "bad_transfer_encoding"},
      {post + "Transfer-Encoding:\r\n\r\n", 400, "bad_transfer_encoding"},
      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
       "bad_transfer_encoding"},
      {"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
       "bad_transfer_encoding"},
      {"GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 400,
       "http_1_0_upgrade"},
      {ok + "X: " + std::string(kLimits.bytes, 'x') + "\r\n\r\n", 431, "header_too_large"},
      {"GET /" + std::string(kLimits.bytes, 'x'), 431, "header_too_large"},
  };
}

std::vector<Bad> bad_requests() {
  std::vector<Bad> out = bad_lines_and_targets();
  for (Bad const& c : bad_fields()) out.push_back(c);
  for (Bad const& c : bad_framing()) out.push_back(c);
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 100; ++i) many += "X: y\r\n";
  out.push_back({many + "\r\n", 431, "too_many_fields"});
  return out;
}

TEST(RequestHead, RefusesEveryBadOneForItsReason) {
  for (Bad const& c : bad_requests()) {
    RequestHead head;
    HeadError error;
    std::string const shown = c.text.substr(0, 90);
    ASSERT_EQ(parse_request(c.text, kLimits, head, error), HeadState::bad) << shown;
    EXPECT_EQ(error.status, c.status) << shown << ": " << error.what;
    EXPECT_EQ(error.error_type, c.error_type) << shown << ": " << error.what;
    EXPECT_FALSE(error.what.empty()) << shown;
  }
}

TEST(RequestHead, EveryReasonIsOneOfTheKnown) {
  for (Bad const& c : bad_requests()) {
    EXPECT_NE(std::find(std::begin(kHeadErrorTypes), std::end(kHeadErrorTypes), c.error_type),
              std::end(kHeadErrorTypes))
        << c.error_type;
  }
  for (std::string_view const type : kHeadErrorTypes) {
    if (type == "bad_status_line") continue;  // responses only
    auto const cases = bad_requests();
    EXPECT_TRUE(
        std::any_of(cases.begin(), cases.end(), [&](Bad const& c) { return c.error_type == type; }))
        << type << " has no example";
  }
}

// A prefix of a bad head is either refused already or still open, never taken as complete.
TEST(RequestHead, NeverCompletesAPrefixOfABadOne) {
  for (Bad const& c : bad_requests()) {
    if (c.text.size() > 1000) continue;
    bool refused = false;
    for (size_t n = 0; n <= c.text.size(); ++n) {
      RequestHead head;
      HeadError error;
      HeadState const state = parse_request(c.text.substr(0, n), kLimits, head, error);
      ASSERT_NE(state, HeadState::complete) << c.text.substr(0, n);
      ASSERT_FALSE(refused && state != HeadState::bad) << "bad, then good: " << c.text.substr(0, n);
      refused = state == HeadState::bad;
    }
    EXPECT_TRUE(refused) << c.text;
  }
}

TEST(RequestHead, RefusesEarlyWhatIsNotHttp) {
  for (std::string_view const text :
       {std::string_view("\x16\x03\x01\x02", 4), std::string_view("\0\0", 2),
        std::string_view("{\"a\":1}"), std::string_view("GET / HTTP/1.1\r\nHost a\r\n"),
        std::string_view("GET / HTTP/1.1\n")}) {
    RequestHead head;
    HeadError error;
    EXPECT_EQ(parse_request(text, kLimits, head, error), HeadState::bad) << text;
  }
}

TEST(RequestHead, TakesAHandshakeApart) {
  std::string const text =
      "GET /ws/room?x=1 HTTP/1.1\r\nHost: example.org:8080\r\nUpgrade: WebSocket\r\n"
      "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      "X-Empty:\r\nX-Padded: \t a b \t\r\nCookie: a=b\r\nCookie: c=d\r\n\r\n";
  for (size_t n = 0; n < text.size(); ++n) {
    RequestHead head;
    HeadError error;
    ASSERT_EQ(parse_request(text.substr(0, n), kLimits, head, error), HeadState::need_more) << n;
  }
  RequestHead head;
  HeadError error;
  std::string const more = text + "\x81\x85";
  ASSERT_EQ(parse_request(more, kLimits, head, error), HeadState::complete) << error.what;
  EXPECT_EQ(head.method, "GET");
  EXPECT_EQ(head.target, "/ws/room?x=1");
  EXPECT_EQ(head.path, "/ws/room?x=1");
  EXPECT_EQ(head.minor, 1);
  EXPECT_EQ(head.bytes, text.size());
  EXPECT_EQ(head.start, 0u);
  EXPECT_EQ(head.fields.size(), 8u);
  EXPECT_EQ(head.find("sec-websocket-key"), "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(head.find("X-Padded"), "a b");
  EXPECT_TRUE(head.has("x-empty"));
  EXPECT_FALSE(head.has("x-none"));
  EXPECT_EQ(head.count("COOKIE"), 2u);
  EXPECT_EQ(head.find("cookie"), "a=b");
  EXPECT_TRUE(head.has_token("connection", "upgrade"));
  EXPECT_TRUE(head.upgrade_websocket);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_EQ(head.framing(), Framing::none);
  for (Field const& field : head.fields) {
    EXPECT_GE(field.name.data(), more.data());
    EXPECT_LE(field.value.data() + field.value.size(), more.data() + text.size());
  }
}

TEST(RequestHead, KnowsTargetsVersionsAndFraming) {
  auto const parse = [](std::string const& text) {
    static std::string kept;
    kept = text;
    RequestHead head;
    HeadError error;
    EXPECT_EQ(parse_request(kept, kLimits, head, error), HeadState::complete)
        << text << ": " << error.what;
    return head;
  };
  EXPECT_EQ(parse("GET http://a.b:80/c?d HTTP/1.1\r\nHost: a.b\r\n\r\n").path, "/c?d");
  EXPECT_EQ(parse("GET WS://a HTTP/1.1\r\nHost: [::1]:9\r\n\r\n").path, "/");
  EXPECT_EQ(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, "*");
  EXPECT_EQ(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").start, 2u);
  EXPECT_EQ(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").bytes, 29u);
  EXPECT_FALSE(parse("GET / HTTP/1.0\r\n\r\n").keep_alive);
  EXPECT_TRUE(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
  EXPECT_EQ(parse("GET / HTTP/1.0\r\n\r\n").minor, 0);
  EXPECT_FALSE(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n").keep_alive);
  EXPECT_FALSE(parse("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n").upgrade_websocket);
  EXPECT_FALSE(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
                   .upgrade_websocket);
  auto const sized = parse("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 42\r\n\r\n");
  EXPECT_EQ(sized.framing(), Framing::length);
  EXPECT_EQ(sized.content_length, 42u);
  auto const chunked = parse("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n");
  EXPECT_EQ(chunked.framing(), Framing::chunked);
  EXPECT_FALSE(chunked.has_length);
}

TEST(RequestHead, TakesExactlyTheLimits) {
  HeadLimits limits;
  std::string text = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  text += std::string(limits.bytes - text.size() - 4, 'x') + "\r\n\r\n";
  ASSERT_EQ(text.size(), limits.bytes);
  RequestHead head;
  HeadError error;
  EXPECT_EQ(parse_request(text + "body", limits, head, error), HeadState::complete) << error.what;
  limits.bytes -= 1;
  EXPECT_EQ(parse_request(text, limits, head, error), HeadState::bad);
  std::string fields = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 99; ++i) fields += "X: y\r\n";
  EXPECT_EQ(parse_request(fields + "\r\n", limits, head, error), HeadState::complete) << error.what;
}

TEST(ResponseHead, TakesAnswersApart) {
  std::string const text =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
  ResponseHead head;
  HeadError error;
  for (size_t n = 0; n < text.size(); ++n) {
    ASSERT_EQ(parse_response(text.substr(0, n), kLimits, head, error), HeadState::need_more) << n;
  }
  ASSERT_EQ(parse_response(text, kLimits, head, error), HeadState::complete) << error.what;
  EXPECT_EQ(head.status, 101);
  EXPECT_EQ(head.reason, "Switching Protocols");
  EXPECT_TRUE(head.upgrade_websocket);
  EXPECT_EQ(head.framing(false), Framing::none);

  std::string const no_reason = "HTTP/1.0 200 \r\nContent-Length: 3\r\n\r\n";
  ASSERT_EQ(parse_response(no_reason, kLimits, head, error), HeadState::complete) << error.what;
  EXPECT_EQ(head.reason, "");
  EXPECT_EQ(head.minor, 0);
  EXPECT_FALSE(head.keep_alive);
  EXPECT_EQ(head.framing(false), Framing::length);
  EXPECT_EQ(head.framing(true), Framing::none);

  std::string const open = "HTTP/1.1 200 OK\r\n\r\n";
  ASSERT_EQ(parse_response(open, kLimits, head, error), HeadState::complete) << error.what;
  EXPECT_EQ(head.framing(false), Framing::until_close);
  std::string const unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n";
  ASSERT_EQ(parse_response(unchanged, kLimits, head, error), HeadState::complete) << error.what;
  EXPECT_EQ(head.framing(false), Framing::none);
}

TEST(ResponseHead, RefusesBadOnesAsABadGateway) {
  std::string const ok = "HTTP/1.1 200 OK\r\n";
  for (Bad const& c : std::vector<Bad>{
           {"SSH-2.0-x\r\n", 502, "bad_status_line"},
           {"HTTP/1.1 20 OK\r\n\r\n", 502, "bad_status_line"},
           {"HTTP/1.1 099 OK\r\n\r\n", 502, "bad_status_line"},
           {"HTTP/1.1 2000 OK\r\n\r\n", 502, "bad_status_line"},
           {"HTTP/1.1 200\r\n\r\n", 502, "bad_status_line"},
           {"HTTP/1.1\r\n\r\n", 502, "bad_status_line"},
           {"\r\n\r\n", 502, "bad_status_line"},
           {"HTTP/2.0 200 OK\r\n\r\n", 502, "bad_version"},
           {ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 502, "smuggling_cl_te"},
           {ok + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 502, "two_content_lengths"},
           {ok + "Transfer-Encoding: gzip\r\n\r\n", 502, "bad_transfer_encoding"},
           {ok + "X: a\r\n b\r\n\r\n", 502, "obs_fold"},
           {ok + "X: a\n\r\n", 502, "bare_lf"},
       }) {
    ResponseHead head;
    HeadError error;
    ASSERT_EQ(parse_response(c.text, kLimits, head, error), HeadState::bad) << c.text;
    EXPECT_EQ(error.status, c.status) << c.text;
    EXPECT_EQ(error.error_type, c.error_type) << c.text << ": " << error.what;
  }
}

}  // namespace
}  // namespace wscope::net
