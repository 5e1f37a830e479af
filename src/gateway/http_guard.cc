#include "gateway/http_guard.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/text.h"
#include "net/ws/frame.h"

namespace wscope::gateway {
namespace {

constexpr std::string_view kUpgradeLine = "Upgrade: websocket\r\n";
constexpr std::string_view kVersionLines = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";

bool is_token_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

struct Parameter {
  std::string_view name;
  std::string_view value;
  bool has_value = false;
};
struct Extension {
  std::string_view name;
  std::vector<Parameter> parameters;
};

// Reads extension lists (RFC 6455, section 9.1). Since a quoted value must be a token once
// unquoted, it holds no escape that would matter, and no comma or semicolon.
class ExtensionReader {
 public:
  explicit ExtensionReader(std::string_view text) : rest_(text) {}

  // Appends the list's elements to `out`. False if it is malformed or `out` would exceed
  // kExtensionsMax elements or parameters. Empty elements are skipped (RFC 9110, section 5.6.1).
  bool read(std::vector<Extension>& out) {
    for (;;) {
      while (take(',')) {
      }
      if (rest_.empty()) return true;
      if (out.size() >= kExtensionsMax || !read_one(out.emplace_back())) return false;
      if (!rest_.empty() && !take(',')) return false;
    }
  }

 private:
  bool read_one(Extension& out) {
    out.name = token();
    if (out.name.empty()) return false;
    while (take(';')) {
      Parameter parameter{token(), {}, false};
      if (parameter.name.empty() || out.parameters.size() >= kExtensionsMax) return false;
      if (take('=')) {
        bool const quoted = take_raw('"');
        parameter.value = token_raw();
        parameter.has_value = true;
        if (parameter.value.empty() || (quoted && !take_raw('"'))) return false;
      }
      out.parameters.push_back(parameter);
    }
    skip_space();
    return true;
  }
  void skip_space() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }
  bool take_raw(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take(char c) {
    skip_space();
    bool const taken = take_raw(c);
    if (taken) skip_space();
    return taken;
  }
  std::string_view token_raw() {
    size_t n = 0;
    while (n < rest_.size() && is_token_char(rest_[n])) ++n;
    std::string_view const out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return out;
  }
  std::string_view token() {
    skip_space();
    return token_raw();
  }

  std::string_view rest_;
};

// The window of a parameter: 8 to 15 without leading zeros.
std::optional<int> window_of(Parameter const& parameter) {
  auto const bits = base::parse_uint(parameter.value);
  if (!bits || *bits < 8 || *bits > 15 || parameter.value.front() == '0') return std::nullopt;
  return static_cast<int>(*bits);
}

// Puts one parameter into `offer`; false if it makes the offer one to decline.
bool add_parameter(DeflateOffer& offer, Parameter const& parameter) {
  using base::equals_ignoring_case;
  DeflateParams& params = offer.params;
  auto raise = [&](bool& flag) { return !parameter.has_value && !std::exchange(flag, true); };
  if (equals_ignoring_case(parameter.name, "server_no_context_takeover")) {
    return raise(params.server_no_context_takeover);
  }
  if (equals_ignoring_case(parameter.name, "client_no_context_takeover")) {
    return raise(params.client_no_context_takeover);
  }
  if (equals_ignoring_case(parameter.name, "server_max_window_bits")) {
    auto const bits = window_of(parameter);
    if (std::exchange(offer.server_window_named, true) || !bits || *bits == 8) return false;
    params.server_max_window_bits = *bits;
    return true;
  }
  if (equals_ignoring_case(parameter.name, "client_max_window_bits")) {
    if (std::exchange(offer.client_window_named, true)) return false;
    if (!parameter.has_value) return true;
    auto const bits = window_of(parameter);
    if (!bits) return false;
    offer.client_window_has_value = true;
    params.client_max_window_bits = *bits;
    return true;
  }
  return false;
}

std::optional<DeflateOffer> first_acceptable(std::vector<Extension> const& extensions) {
  for (Extension const& extension : extensions) {
    if (!base::equals_ignoring_case(extension.name, "permessage-deflate")) continue;
    DeflateOffer offer;
    if (std::ranges::all_of(extension.parameters,
                            [&](Parameter const& p) { return add_parameter(offer, p); })) {
      return offer;
    }
  }
  return std::nullopt;
}

bool read_extensions(net::RequestHead const& head, std::vector<Extension>& out) {
  return std::ranges::all_of(head.fields, [&](net::Field const& field) {
    return !base::equals_ignoring_case(field.name, "sec-websocket-extensions") ||
           ExtensionReader(field.value).read(out);
  });
}

// RFC 6455, section 4.1, number 10: non-empty tokens, all different (case counts).
bool good_subprotocols(net::RequestHead const& head) {
  std::vector<std::string_view> seen;
  for (net::Field const& field : head.fields) {
    if (!base::equals_ignoring_case(field.name, "sec-websocket-protocol")) continue;
    for (std::string_view name : base::split(field.value, ',')) {
      if (!is_token(name) || seen.size() >= kSubprotocolsMax) return false;
      if (std::ranges::find(seen, name) != seen.end()) return false;
      seen.push_back(name);
    }
  }
  return true;
}

Refusal refuse(int status, std::string_view error_type, std::string what,
               std::string_view headers = {}) {
  return {status, error_type, std::move(what), headers};
}

std::optional<Refusal> check_request(net::RequestHead const& head) {
  if (head.minor < 1) return refuse(400, "http_1_0_upgrade", "a handshake needs HTTP/1.1");
  if (head.method != "GET") {
    return refuse(405, "bad_method", "a handshake needs GET", "Allow: GET\r\n");
  }
  size_t const hosts = head.count("host");
  if (hosts == 0) return refuse(400, "no_host", "Host is missing");
  if (hosts > 1) return refuse(400, "two_hosts", "more than one Host");
  if (!head.has_token("upgrade", "websocket")) {
    return refuse(426, "no_upgrade", "Upgrade does not name websocket", kUpgradeLine);
  }
  if (!head.has_token("connection", "upgrade")) {
    return refuse(400, "no_connection_upgrade", "Connection does not name upgrade");
  }
  if (head.chunked || head.content_length > 0) {
    return refuse(400, "handshake_body", "a handshake has no body");
  }
  return std::nullopt;
}

}  // namespace

std::optional<Refusal> check_handshake(net::RequestHead const& head) {
  if (auto refusal = check_request(head)) return refusal;
  if (head.count("sec-websocket-version") != 1 || head.find("sec-websocket-version") != "13") {
    return refuse(426, "bad_websocket_version", "Sec-WebSocket-Version is not 13", kVersionLines);
  }
  size_t const keys = head.count("sec-websocket-key");
  if (keys == 0) return refuse(400, "no_websocket_key", "Sec-WebSocket-Key is missing");
  if (keys > 1) return refuse(400, "two_websocket_keys", "more than one Sec-WebSocket-Key");
  if (!net::ws::valid_key(head.find("sec-websocket-key"))) {
    return refuse(400, "bad_websocket_key", "Sec-WebSocket-Key is not base64 of 16 bytes");
  }
  if (!good_subprotocols(head)) {
    return refuse(400, "bad_subprotocol",
                  "Sec-WebSocket-Protocol is not a list of up to " +
                      std::to_string(kSubprotocolsMax) + " different tokens");
  }
  std::vector<Extension> extensions;
  if (!read_extensions(head, extensions)) {
    return refuse(400, "bad_extensions", "Sec-WebSocket-Extensions is not a list of extensions");
  }
  return std::nullopt;
}

std::optional<DeflateOffer> choose_deflate(std::string_view header) {
  std::vector<Extension> extensions;
  if (!ExtensionReader(header).read(extensions)) return std::nullopt;
  return first_acceptable(extensions);
}

std::optional<DeflateOffer> choose_deflate(net::RequestHead const& head) {
  std::vector<Extension> extensions;
  if (!read_extensions(head, extensions)) return std::nullopt;
  return first_acceptable(extensions);
}

DeflateParams agreed(DeflateOffer const& offer) {
  DeflateParams params = offer.params;
  params.server_no_context_takeover = true;
  params.client_no_context_takeover = true;
  return params;
}

std::string deflate_answer(DeflateOffer const& offer) {
  std::string out = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
  if (offer.server_window_named) {
    out.append("; server_max_window_bits=");
    base::append_uint(out, static_cast<uint64_t>(offer.params.server_max_window_bits));
  }
  if (offer.client_window_has_value) {
    out.append("; client_max_window_bits=");
    base::append_uint(out, static_cast<uint64_t>(offer.params.client_max_window_bits));
  }
  return out;
}

}  // namespace wscope::gateway
