#include "gateway/forwarding.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace wscope::gateway {
namespace {

// Parses `text`, forwards it, and returns what the backend gets.
std::string forwarded(std::string const& text, ForwardInfo const& info, bool websocket) {
  net::RequestHead head;
  net::HeadError error;
  net::HeadState const state = net::parse_request(text, {}, head, error);
  if (state != net::HeadState::complete) return "not a head: " + error.what;
  std::string out = "before|";
  append_forwarded_head(out, head, info, websocket);
  EXPECT_TRUE(out.starts_with("before|")) << "appends";
  return out.substr(7);
}

ForwardInfo full_info() {
  return {.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
          .correlation_id = "c-1",
          .client_ip = "192.0.2.7",
          .scheme = "https"};
}

TEST(Forwarding, HandshakeGoesAsItCame) {
  std::string const fields =
      "Host: chat.example:8080\r\n"
      "cOnNection: keep-alive, Upgrade, X-Odd\r\n"
      "X-Odd: 1\r\n"
      "Upgrade: websocket\r\n"
      "Keep-Alive: timeout=5\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      "Sec-WebSocket-Version: 13\r\n"
      "sec-websocket-protocol: a, b\r\n"
      "Sec-WebSocket-Protocol: c\r\n"
      "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
      "Cookie: sessionid=abc; theme=\"dark  mode\"\r\n"
      "X-Empty: \r\n"
      "Tracestate: a=1,b=2\r\n"
      "Origin: https://chat.example\r\n";
  std::string const request = "GET /ws/a?x=%20&y HTTP/1.1\r\n" + fields + "\r\n";
  EXPECT_EQ(forwarded(request, full_info(), true),
            "GET /ws/a?x=%20&y HTTP/1.1\r\n" + fields +
                "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
                "X-Correlation-ID: c-1\r\n"
                "X-Forwarded-For: 192.0.2.7\r\n"
                "X-Forwarded-Proto: https\r\n"
                "X-Forwarded-Host: chat.example:8080\r\n"
                "\r\n");
  EXPECT_EQ(forwarded(request, {}, true), "GET /ws/a?x=%20&y HTTP/1.1\r\n" + fields +
                                              "X-Forwarded-Host: chat.example:8080\r\n\r\n")
      << "what is not given leaves the client's";
}

TEST(Forwarding, ReplacesInPlaceAndOnlyOnce) {
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\n"
                      "x-correlation-id: old\r\n"
                      "X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\n"
                      "Host: h\r\n"
                      "TraceParent: 00-x\r\n"
                      "X-Forwarded-Proto: gopher\r\n"
                      "x-forwarded-for: 10.0.0.2\r\n"
                      "X-Forwarded-Host: evil\r\n"
                      "X-Correlation-ID: older\r\n"
                      "tracestate: a=1\r\n"
                      "\r\n",
                      full_info(), false),
            "GET / HTTP/1.1\r\n"
            "x-correlation-id: c-1\r\n"
            "X-Forwarded-For: 203.0.113.9, 10.0.0.1, 10.0.0.2, 192.0.2.7\r\n"
            "Host: h\r\n"
            "TraceParent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
            "X-Forwarded-Proto: https\r\n"
            "X-Forwarded-Host: h\r\n"
            "tracestate: a=1\r\n"
            "\r\n");
}

TEST(Forwarding, TrustsAProxyInFrontWhenTold) {
  ForwardInfo info = full_info();
  info.scheme = "http";
  info.trust_forwarded = true;
  info.traceparent = info.correlation_id = {};
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n"
                      "X-Forwarded-Host: public.example\r\n\r\n",
                      info, false),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https\r\n"
            "X-Forwarded-Host: public.example\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n");
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\n\r\n", info, false),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n"
            "X-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n\r\n");
}

TEST(Forwarding, DropsTracestateOfAnInvalidParent) {
  ForwardInfo info;
  info.drop_tracestate = true;
  EXPECT_EQ(forwarded("GET / HTTP/1.1\r\nHost: h\r\nTracestate: a=1\r\n\r\n", info, true),
            "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-Host: h\r\n\r\n");
}

TEST(Forwarding, HopByHopFieldsEndHere) {
  EXPECT_EQ(
      forwarded("POST /u HTTP/1.1\r\n"
                "Host: h\r\n"
                "Connection: close, X-Hop, Host, Content-Length, X-Forwarded-For, X-Real-IP\r\n"
                "connection: x-hop-2\r\n"
                "X-Hop: 1\r\n"
                "X-Hop-2: 1\r\n"
                "X-Hop-3: 1\r\n"
                "X-Real-IP: 203.0.113.9\r\n"
                "Keep-Alive: timeout=5\r\n"
                "Proxy-Authorization: Basic eA==\r\n"
                "Proxy-Connection: keep-alive\r\n"
                "Upgrade: h2c\r\n"
                "TE: gzip\r\n"
                "Content-Length: 3\r\n"
                "\r\n",
                {}, false),
      "POST /u HTTP/1.1\r\n"
      "Host: h\r\n"
      "X-Hop-3: 1\r\n"
      "X-Real-IP: 203.0.113.9\r\n"
      "Content-Length: 3\r\n"
      "X-Forwarded-Host: h\r\n"
      "\r\n");
}

TEST(Forwarding, KeepsTrailersAndFraming) {
  EXPECT_EQ(forwarded("POST /u HTTP/1.1\r\nHost: h\r\nTE: trailers, deflate\r\nConnection: TE\r\n"
                      "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
                      {}, false),
            "POST /u HTTP/1.1\r\nHost: h\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n"
            "X-Forwarded-Host: h\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
}

TEST(Forwarding, KeepsTheClientsVersion) {
  EXPECT_EQ(forwarded("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", {}, false),
            "GET / HTTP/1.0\r\n\r\n");
}

TEST(Forwarding, AbsoluteTargetBecomesOriginForm) {
  EXPECT_EQ(
      forwarded("GET http://real.example:81/p?q=/ HTTP/1.1\r\nHost: other\r\n\r\n", {}, false),
      "GET /p?q=/ HTTP/1.1\r\nHost: real.example:81\r\n"
      "X-Forwarded-Host: real.example:81\r\n\r\n");
  EXPECT_EQ(forwarded("GET http://real.example HTTP/1.1\r\nHost: x\r\n\r\n", {}, false),
            "GET / HTTP/1.1\r\nHost: real.example\r\nX-Forwarded-Host: real.example\r\n\r\n");
  EXPECT_EQ(forwarded("OPTIONS http://real.example HTTP/1.1\r\nHost: x\r\n\r\n", {}, false),
            "OPTIONS * HTTP/1.1\r\nHost: real.example\r\nX-Forwarded-Host: real.example\r\n\r\n");
  EXPECT_EQ(forwarded("GET /to?u=http://a/b HTTP/1.1\r\nHost: x\r\n\r\n", {}, false),
            "GET /to?u=http://a/b HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: x\r\n\r\n");
}

TEST(CorrelationId, KeepsAGoodOne) {
  base::Rng rng(1);
  for (std::string const& good :
       {std::string("a"), std::string("req-1.2_3:4/5@6=7+8"), std::string(128, 'x')}) {
    CorrelationId const id = correlation_id_from(good, rng);
    EXPECT_EQ(id.text, good);
    EXPECT_EQ(id.source, CorrelationSource::received);
  }
}

TEST(CorrelationId, MakesOneForNoneAndForABadOne) {
  base::Rng rng(1);
  CorrelationId const made = correlation_id_from("", rng);
  EXPECT_EQ(made.source, CorrelationSource::made);
  EXPECT_EQ(made.text.size(), 36u);
  for (std::string const& bad :
       {std::string("a b"), std::string("a\nb"), std::string("a\"b"), std::string("a{b}"),
        std::string("\xc3\xa4"), std::string("a\0b", 3), std::string(129, 'x')}) {
    CorrelationId const id = correlation_id_from(bad, rng);
    EXPECT_EQ(id.source, CorrelationSource::replaced) << bad;
    EXPECT_EQ(id.text.size(), 36u);
    EXPECT_NE(id.text, made.text);
  }
}

}  // namespace
}  // namespace wscope::gateway
