#include "gateway/http_guard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace wscope::gateway {
namespace {

// A handshake as a browser sends it; a test spoils one thing. Views into literals.
net::RequestHead good_head() {
  net::RequestHead head;
  head.method = "GET";
  head.target = "/ws/a";
  head.fields = {{"Host", "h"},
                 {"Upgrade", "websocket"},
                 {"Connection", "keep-alive, Upgrade"},
                 {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                 {"Sec-WebSocket-Version", "13"}};
  return head;
}

void set(net::RequestHead& head, std::string_view name, std::string_view value) {
  for (net::Field& field : head.fields) {
    if (field.name == name) field.value = value;
  }
}
void drop(net::RequestHead& head, std::string_view name) {
  std::erase_if(head.fields, [&](net::Field const& field) { return field.name == name; });
}
void add(net::RequestHead& head, std::string_view name, std::string_view value) {
  head.fields.push_back({name, value});
}

TEST(CheckHandshake, AcceptsWhatTheRfcAllows) {
  std::vector<std::function<void(net::RequestHead&)>> const changes = {
      [](auto&) {},
      [](auto& h) { set(h, "Upgrade", "h2c, WebSocket"); },
      [](auto& h) { set(h, "Connection", "UPGRADE"); },
      [](auto& h) { add(h, "Connection", "close"); },
      [](auto& h) { add(h, "Sec-WebSocket-Protocol", "chat, super.chat"); },
      [](auto& h) {
        add(h, "Sec-WebSocket-Protocol", "chat");
        add(h, "Sec-WebSocket-Protocol", "Chat");
      },
      [](auto& h) { add(h, "Sec-WebSocket-Extensions", "permessage-deflate, x-own; a=\"b\";c"); },
      [](auto& h) { add(h, "Sec-WebSocket-Extensions", ""); },
      [](auto& h) { h.has_length = true; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    net::RequestHead head = good_head();
    changes[i](head);
    auto const refusal = check_handshake(head);
    EXPECT_FALSE(refusal) << "case " << i << ": " << refusal->error_type;
  }
}

TEST(CheckHandshake, RefusesEachThingThatIsWrong) {
  struct Case {
    std::function<void(net::RequestHead&)> change;
    int status;
    std::string_view error_type;
    std::string_view headers = {};
  };
  constexpr std::string_view kVersion = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
  Case const cases[] = {
      {[](auto& h) { h.minor = 0; }, 400, "http_1_0_upgrade"},
      {[](auto& h) { h.method = "POST"; }, 405, "bad_method", "Allow: GET\r\n"},
      {[](auto& h) { h.method = "get"; }, 405, "bad_method", "Allow: GET\r\n"},
      {[](auto& h) { drop(h, "Host"); }, 400, "no_host"},
      {[](auto& h) { add(h, "host", "h"); }, 400, "two_hosts"},
      {[](auto& h) { drop(h, "Upgrade"); }, 426, "no_upgrade", "Upgrade: websocket\r\n"},
      {[](auto& h) { set(h, "Upgrade", "websockets"); }, 426, "no_upgrade",
       "Upgrade: websocket\r\n"},
      {[](auto& h) { drop(h, "Connection"); }, 400, "no_connection_upgrade"},
      {[](auto& h) { set(h, "Connection", "keep-alive"); }, 400, "no_connection_upgrade"},
      {[](auto& h) { h.chunked = true; }, 400, "handshake_body"},
      {[](auto& h) { h.content_length = 1; }, 400, "handshake_body"},
      {[](auto& h) { drop(h, "Sec-WebSocket-Version"); }, 426, "bad_websocket_version", kVersion},
      {[](auto& h) { set(h, "Sec-WebSocket-Version", "8"); }, 426, "bad_websocket_version",
       kVersion},
      {[](auto& h) { set(h, "Sec-WebSocket-Version", "13, 8"); }, 426, "bad_websocket_version",
       kVersion},
      {[](auto& h) { set(h, "Sec-WebSocket-Version", "013"); }, 426, "bad_websocket_version",
       kVersion},
      {[](auto& h) { add(h, "sec-websocket-version", "13"); }, 426, "bad_websocket_version",
       kVersion},
      {[](auto& h) { drop(h, "Sec-WebSocket-Key"); }, 400, "no_websocket_key"},
      {[](auto& h) { add(h, "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="); }, 400,
       "two_websocket_keys"},
      {[](auto& h) { set(h, "Sec-WebSocket-Key", ""); }, 400, "bad_websocket_key"},
      {[](auto& h) { set(h, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"); }, 400,
       "bad_websocket_key"},
      {[](auto& h) { set(h, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ="); }, 400,
       "bad_websocket_key"},
      {[](auto& h) { add(h, "Sec-WebSocket-Protocol", ""); }, 400, "bad_subprotocol"},
      {[](auto& h) { add(h, "Sec-WebSocket-Protocol", "a,,b"); }, 400, "bad_subprotocol"},
      {[](auto& h) { add(h, "Sec-WebSocket-Protocol", "a b"); }, 400, "bad_subprotocol"},
      {[](auto& h) { add(h, "Sec-WebSocket-Protocol", "a, b, a"); }, 400, "bad_subprotocol"},
      {[](auto& h) {
         add(h, "Sec-WebSocket-Protocol", "a");
         add(h, "Sec-WebSocket-Protocol", "a");
       },
       400, "bad_subprotocol"},
      {[](auto& h) { add(h, "Sec-WebSocket-Extensions", "a b"); }, 400, "bad_extensions"},
      {[](auto& h) { add(h, "Sec-WebSocket-Extensions", "a;"); }, 400, "bad_extensions"},
      {[](auto& h) { add(h, "Sec-WebSocket-Extensions", "a; b="); }, 400, "bad_extensions"},
      {[](auto& h) { add(h, "Sec-WebSocket-Extensions", "a; b=\"c"); }, 400, "bad_extensions"},
      {[](auto& h) { add(h, "Sec-WebSocket-Extensions", "a; b=\"\""); }, 400, "bad_extensions"},
      {[](auto& h) { add(h, "Sec-WebSocket-Extensions", "=1"); }, 400, "bad_extensions"},
  };
  for (Case const& c : cases) {
    net::RequestHead head = good_head();
    c.change(head);
    auto const refusal = check_handshake(head);
    ASSERT_TRUE(refusal) << c.error_type;
    EXPECT_EQ(refusal->status, c.status) << c.error_type;
    EXPECT_EQ(refusal->error_type, c.error_type);
    EXPECT_EQ(refusal->headers, c.headers) << c.error_type;
    EXPECT_FALSE(refusal->what.empty());
    EXPECT_NE(std::ranges::find(kHandshakeErrorTypes, refusal->error_type),
              std::end(kHandshakeErrorTypes));
  }
}

TEST(CheckHandshake, BoundsItsLists) {
  auto list = [](size_t n) {
    std::string out;
    for (size_t i = 0; i < n; ++i) out += (i == 0 ? "p" : ",p") + std::to_string(i);
    return out;
  };
  for (std::string_view name : {"Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"}) {
    std::string const most = list(100), more = list(101);
    net::RequestHead head = good_head();
    add(head, name, most);
    EXPECT_FALSE(check_handshake(head)) << name;
    set(head, name, more);
    EXPECT_TRUE(check_handshake(head)) << name;
  }
}

TEST(ChooseDeflate, AnswersTheFirstAcceptableOffer) {
  struct Case {
    std::string_view offer, answer;
  };
  std::string const base =
      "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  std::string const client10 = base + "; client_max_window_bits=10";
  std::string const client8 = base + "; client_max_window_bits=8";
  std::string const server9 = base + "; server_max_window_bits=9";
  std::string const both = base + "; server_max_window_bits=15; client_max_window_bits=15";
  Case const cases[] = {
      {"permessage-deflate", base},
      {"PerMessage-Deflate; Client_Max_Window_Bits", base},
      {"permessage-deflate; client_max_window_bits", base},
      {"permessage-deflate;client_max_window_bits=10", client10},
      {"permessage-deflate ; client_max_window_bits = \"10\"", client10},
      {"permessage-deflate; client_max_window_bits=8", client8},
      {"permessage-deflate; server_max_window_bits=9", server9},
      {"permessage-deflate; client_max_window_bits=15; server_max_window_bits=15", both},
      {"permessage-deflate; server_no_context_takeover; client_no_context_takeover", base},
      {"x-unknown; a=1, permessage-deflate", base},
      {"permessage-deflate; server_max_window_bits=8, permessage-deflate", base},
      {"permessage-deflate; unknown, permessage-deflate; server_max_window_bits=9", server9},
      {",, permessage-deflate ,", base},
      // Declined.
      {"", ""},
      {"x-webkit-deflate-frame", ""},
      {"permessage-deflate; server_max_window_bits=8", ""},
      {"permessage-deflate; server_max_window_bits", ""},
      {"permessage-deflate; server_max_window_bits=16", ""},
      {"permessage-deflate; server_max_window_bits=7", ""},
      {"permessage-deflate; server_max_window_bits=010", ""},
      {"permessage-deflate; server_max_window_bits=x", ""},
      {"permessage-deflate; server_max_window_bits=99999999999999999999", ""},
      {"permessage-deflate; client_max_window_bits=7", ""},
      {"permessage-deflate; client_max_window_bits=16", ""},
      {"permessage-deflate; client_max_window_bits; client_max_window_bits=10", ""},
      {"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", ""},
      {"permessage-deflate; server_no_context_takeover=1", ""},
      {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", ""},
      {"permessage-deflate; client_no_context_takeover=true", ""},
      {"permessage-deflate; mystery", ""},
      {"permessage-deflate, a b", ""},
  };
  for (Case const& c : cases) {
    auto const offer = choose_deflate(c.offer);
    EXPECT_EQ(offer ? deflate_answer(*offer) : "", c.answer) << c.offer;
  }
}

TEST(ChooseDeflate, AgreesToNoContextAndTheOfferedWindows) {
  auto const offer =
      choose_deflate("permessage-deflate; server_max_window_bits=11; client_max_window_bits=12");
  ASSERT_TRUE(offer);
  EXPECT_FALSE(offer->params.server_no_context_takeover) << "as offered";
  DeflateParams const params = agreed(*offer);
  EXPECT_TRUE(params.server_no_context_takeover);
  EXPECT_TRUE(params.client_no_context_takeover);
  EXPECT_EQ(params.server_max_window_bits, 11);
  EXPECT_EQ(params.client_max_window_bits, 12);
}

TEST(ChooseDeflate, FieldsAreOneList) {
  net::RequestHead head = good_head();
  EXPECT_FALSE(choose_deflate(head));
  add(head, "Sec-WebSocket-Extensions", "x-own");
  add(head, "sec-websocket-extensions", "permessage-deflate; server_max_window_bits=12");
  auto const offer = choose_deflate(head);
  ASSERT_TRUE(offer);
  EXPECT_EQ(offer->params.server_max_window_bits, 12);
}

// Whatever is offered, an answer holds nothing that its offer did not allow, and reads back as an
// acceptable offer.
TEST(ChooseDeflate, RandomOffersNeverGiveAWrongAnswer) {
  static constexpr std::string_view kPieces[] = {"permessage-deflate",
                                                 ";",
                                                 ";",
                                                 ",",
                                                 "=",
                                                 "\"",
                                                 " ",
                                                 "8",
                                                 "9",
                                                 "15",
                                                 "0",
                                                 "server_max_window_bits",
                                                 "client_max_window_bits",
                                                 "server_no_context_takeover",
                                                 "client_no_context_takeover",
                                                 "x",
                                                 "\t",
                                                 "\\"};
  base::Rng rng(23);
  int accepted = 0;
  for (int i = 0; i < 200'000; ++i) {
    std::string text = "permessage-deflate";
    for (uint64_t n = rng.below(8); n > 0; --n) text += kPieces[rng.below(std::size(kPieces))];
    auto const offer = choose_deflate(text);
    if (!offer) continue;
    ++accepted;
    std::string const answer = deflate_answer(*offer);
    auto const back = choose_deflate(answer);
    ASSERT_TRUE(back) << "seed 23: " << text;
    ASSERT_EQ(deflate_answer(*back), answer) << "seed 23: " << text;
    if (answer.contains("client_max_window_bits")) {
      ASSERT_TRUE(text.contains("client_max_window_bits"));
    }
  }
  EXPECT_GT(accepted, 1000) << "the pieces do form good offers";
}

}  // namespace
}  // namespace wscope::gateway
