#include "cli/load_handshake.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "net/ws/frame.h"

namespace wscope::cli {

namespace {

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    bool const alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return alnum || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) < 32 && c != '\t') || c == 127;
  });
}

bool is_own_field(std::string_view name) {
  constexpr std::string_view kOwn[] = {
      "upgrade",        "connection",        "sec-websocket-key",        "sec-websocket-version",
      "content-length", "transfer-encoding", "sec-websocket-extensions", "sec-websocket-protocol"};
  std::string const lower = base::to_lower(name);
  return std::find(std::begin(kOwn), std::end(kOwn), lower) != std::end(kOwn);
}

}  // namespace

base::Result<LoadHandshake> LoadHandshake::create(net::Url const& url,
                                                  std::span<std::string const> headers,
                                                  std::string_view subprotocols, uint64_t seed) {
  LoadHandshake handshake(seed);
  std::string host = url.authority();
  std::string fields;
  for (std::string const& header : headers) {
    size_t const colon = header.find(':');
    std::string_view const name = std::string_view(header).substr(0, colon);
    if (colon == std::string::npos || !is_token(name) || has_control(header)) {
      return base::fail(base::Errc::invalid, "--header '" + header + "': expected 'Name: value'");
    }
    if (is_own_field(name)) {
      return base::fail(base::Errc::invalid,
                        "--header '" + header + "': the handshake sets this field itself");
    }
    std::string_view const value = base::trim(std::string_view(header).substr(colon + 1));
    if (base::equals_ignoring_case(name, "host")) {
      host = value;
    } else {
      fields.append(name).append(": ").append(value).append("\r\n");
    }
  }
  if (!subprotocols.empty()) {
    for (std::string_view const one : base::split(subprotocols, ',')) {
      if (!is_token(one)) {
        return base::fail(base::Errc::invalid,
                          "--subprotocol '" + std::string(subprotocols) + "': not a token");
      }
    }
    fields.append("Sec-WebSocket-Protocol: ").append(subprotocols).append("\r\n");
  }
  handshake.subprotocols_ = subprotocols;
  handshake.before_key_ = "GET " + url.path + " HTTP/1.1\r\nHost: " + host +
                          "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ";
  handshake.after_key_ = "\r\n" + fields + "\r\n";
  return handshake;
}

std::string LoadHandshake::make_key() {
  std::array<uint64_t, 2> const bytes{rng_.next(), rng_.next()};
  unsigned char text[25];
  EVP_EncodeBlock(text, reinterpret_cast<unsigned char const*>(bytes.data()), sizeof bytes);
  return {reinterpret_cast<char const*>(text), 24};
}

void LoadHandshake::append_request(std::string& out, std::string_view key) const {
  out.append(before_key_).append(key).append(after_key_);
}

char const* LoadHandshake::check(net::ResponseHead const& head, std::string_view key) const {
  if (head.status != 101) return "the status is not 101";
  if (!head.upgrade_websocket) return "101 without Upgrade: websocket and Connection: Upgrade";
  if (head.count("sec-websocket-accept") != 1 ||
      head.find("sec-websocket-accept") != net::ws::accept_key(key)) {
    return "Sec-WebSocket-Accept is missing or wrong";
  }
  if (head.has("sec-websocket-extensions")) return "an extension that was not offered";
  std::string_view const chosen = head.find("sec-websocket-protocol");
  if (head.has("sec-websocket-protocol")) {
    std::vector<std::string_view> const offered = base::split(subprotocols_, ',');
    if (chosen.empty() || std::find(offered.begin(), offered.end(), chosen) == offered.end()) {
      return "a subprotocol that was not offered";
    }
  }
  return nullptr;
}

}  // namespace wscope::cli
