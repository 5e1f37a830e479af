#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace wscope::net {

// The address of a TCP end point, IPv4 or IPv6. len 0 = none.
//
// Thread: any (a value).
struct Address {
  sockaddr_storage storage{};
  socklen_t len = 0;

  sockaddr const* raw() const { return reinterpret_cast<sockaddr const*>(&storage); }
  bool valid() const { return len != 0; }
};

// Reads "127.0.0.1:8080", "[::1]:80" or "localhost:80" (a name is looked up, which may block: at
// start and reload only). Port 0 is allowed: the system chooses.
// Returns invalid if the form is wrong, not_found if the name has no address.
base::Result<Address> parse_address(std::string_view text);

// Looks up `host` (a name, or an IPv4 or IPv6 address without brackets), IPv4 first. May block.
// Returns not_found.
base::Result<Address> resolve(std::string const& host, uint16_t port);

// "127.0.0.1:8080" or "[::1]:80"; empty for none.
std::string to_text(Address const& address);
// The same without the port and brackets.
std::string host_text(Address const& address);
uint16_t port_of(Address const& address);

// True for 127.0.0.0/8, ::1 and IPv4-mapped loopback.
bool is_loopback(Address const& address);

// A URL of one of the schemes spoken here: http, https, ws, wss.
struct Url {
  std::string scheme;  // lower case
  std::string host;    // lower case, IPv6 without brackets
  uint16_t port = 0;   // the scheme's own if the text has none
  std::string path;    // with the query, never empty, no fragment

  bool secure() const { return scheme == "https" || scheme == "wss"; }
  // As a Host field says it: brackets around IPv6, no port if it is the scheme's own.
  std::string authority() const;
};

// Returns invalid (scheme, host or port wrong, or user and password in it), naming the text.
base::Result<Url> parse_url(std::string_view text);

}  // namespace wscope::net
