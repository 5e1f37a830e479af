#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/ids.h"
#include "base/result.h"
#include "net/address.h"
#include "net/http_head.h"

namespace wscope::cli {

// The client's side of the opening handshake (RFC 6455, section 4.1), made once for all
// connections.
//
// Thread: one.
class LoadHandshake {
 public:
  // `headers` are "Name: value"; Host may be among them, the handshake's own fields may not.
  // `subprotocols`: separated by commas, may be empty. Returns invalid, naming the option.
  static base::Result<LoadHandshake> create(net::Url const& url,
                                            std::span<std::string const> headers,
                                            std::string_view subprotocols, uint64_t seed);

  // A new Sec-WebSocket-Key: base64 of 16 bytes.
  std::string make_key();
  void append_request(std::string& out, std::string_view key) const;
  // Null if `head` upgrades the connection as asked, else what is wrong with it.
  char const* check(net::ResponseHead const& head, std::string_view key) const;

 private:
  explicit LoadHandshake(uint64_t seed) : rng_(seed) {}
  std::string before_key_;
  std::string after_key_;
  std::string subprotocols_;
  base::Rng rng_;
};

}  // namespace wscope::cli
