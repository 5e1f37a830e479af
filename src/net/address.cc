#include "net/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <cstring>
#include <optional>

#include "base/text.h"

namespace wscope::net {

using base::Errc;
using base::fail;
using base::Result;

namespace {

struct HostPort {
  std::string_view host;
  std::string_view port;  // empty if there is none
  bool has_port = false;
};

// "host", "host:port", "[v6]" or "[v6]:port"; nothing if the brackets or colons are wrong.
std::optional<HostPort> split_host_port(std::string_view text) {
  HostPort out;
  std::string_view rest;
  if (text.starts_with('[')) {
    size_t const end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    out.host = text.substr(1, end - 1);
    rest = text.substr(end + 1);
    in6_addr ignored;
    if (::inet_pton(AF_INET6, std::string(out.host).c_str(), &ignored) != 1) return std::nullopt;
  } else {
    size_t const colon = text.find(':');
    out.host = text.substr(0, colon);
    rest = colon == std::string_view::npos ? std::string_view() : text.substr(colon);
  }
  if (rest.empty()) return out;
  if (rest[0] != ':' || rest.find(':', 1) != std::string_view::npos) return std::nullopt;
  out.port = rest.substr(1);
  out.has_port = true;
  return out;
}

std::optional<uint16_t> read_port(std::string_view text) {
  auto const number = base::parse_uint(text);
  if (!number || *number > 65535) return std::nullopt;
  return static_cast<uint16_t>(*number);
}

bool is_host_name(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  for (char const c : host) {
    bool const letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_') return false;
  }
  return true;
}

sockaddr_in const& as_v4(Address const& address) {
  return reinterpret_cast<sockaddr_in const&>(address.storage);
}
sockaddr_in6 const& as_v6(Address const& address) {
  return reinterpret_cast<sockaddr_in6 const&>(address.storage);
}

}  // namespace

Result<Address> resolve(std::string const& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int const code = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (code != 0) {
    return fail(Errc::not_found, "no address for host '" + host + "': " + ::gai_strerror(code));
  }
  addrinfo const* chosen = found;
  for (addrinfo const* one = found; one != nullptr; one = one->ai_next) {
    if (one->ai_family == AF_INET) {
      chosen = one;
      break;
    }
  }
  Address out;
  std::memcpy(&out.storage, chosen->ai_addr, chosen->ai_addrlen);
  out.len = chosen->ai_addrlen;
  ::freeaddrinfo(found);
  if (out.storage.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in&>(out.storage).sin_port = htons(port);
  } else {
    reinterpret_cast<sockaddr_in6&>(out.storage).sin6_port = htons(port);
  }
  return out;
}

Result<Address> parse_address(std::string_view text) {
  std::string const quoted = "'" + std::string(text) + "'";
  auto const parts = split_host_port(text);
  if (!parts || parts->host.empty() || !parts->has_port) {
    return fail(Errc::invalid, quoted +
                                   " is not an address: expected HOST:PORT, as in "
                                   "127.0.0.1:8080 or [::1]:8080");
  }
  auto const port = read_port(parts->port);
  if (!port) return fail(Errc::invalid, quoted + " has no port from 0 to 65535");
  if (!text.starts_with('[') && !is_host_name(parts->host)) {
    return fail(Errc::invalid, quoted + " has a host that is neither a name nor an address");
  }
  return resolve(std::string(parts->host), *port);
}

std::string host_text(Address const& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.len == 0) return {};
  if (address.storage.ss_family == AF_INET) {
    ::inet_ntop(AF_INET, &as_v4(address).sin_addr, text, sizeof text);
  } else if (address.storage.ss_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &as_v6(address).sin6_addr, text, sizeof text);
  }
  return text;
}

uint16_t port_of(Address const& address) {
  if (address.storage.ss_family == AF_INET) return ntohs(as_v4(address).sin_port);
  if (address.storage.ss_family == AF_INET6) return ntohs(as_v6(address).sin6_port);
  return 0;
}

std::string to_text(Address const& address) {
  if (address.len == 0) return {};
  std::string out = host_text(address);
  if (address.storage.ss_family == AF_INET6) out = "[" + out + "]";
  out += ':';
  base::append_uint(out, port_of(address));
  return out;
}

bool is_loopback(Address const& address) {
  if (address.len == 0) return false;
  if (address.storage.ss_family == AF_INET) {
    return (ntohl(as_v4(address).sin_addr.s_addr) >> 24) == 127;
  }
  if (address.storage.ss_family != AF_INET6) return false;
  in6_addr const& v6 = as_v6(address).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return v6.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string Url::authority() const {
  std::string out = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (secure() ? 443 : 80)) {
    out += ':';
    base::append_uint(out, port);
  }
  return out;
}

Result<Url> parse_url(std::string_view text) {
  std::string const quoted = "'" + std::string(text) + "'";
  Url url;
  size_t const mark = text.find("://");
  if (mark != std::string_view::npos) url.scheme = base::to_lower(text.substr(0, mark));
  if (url.scheme != "http" && url.scheme != "https" && url.scheme != "ws" && url.scheme != "wss") {
    return fail(Errc::invalid, quoted + " is not a URL: expected http, https, ws or wss://HOST");
  }
  for (char const c : text) {
    if (c <= ' ' || c == '\x7f') {
      return fail(Errc::invalid, quoted + " has a space or control character in it");
    }
  }
  std::string_view rest = text.substr(mark + 3);
  std::string_view const authority = rest.substr(0, rest.find_first_of("/?#"));
  rest.remove_prefix(authority.size());
  if (authority.find('@') != std::string_view::npos) {
    return fail(Errc::invalid, "a URL must not hold a user or password");
  }
  auto const parts = split_host_port(authority);
  if (!parts || (!authority.starts_with('[') && !is_host_name(parts->host))) {
    return fail(Errc::invalid, quoted + " has a host that is neither a name nor an address");
  }
  url.host = base::to_lower(parts->host);
  url.port = url.secure() ? 443 : 80;
  if (parts->has_port) {
    auto const port = read_port(parts->port);
    if (!port || *port == 0) return fail(Errc::invalid, quoted + " has no port from 1 to 65535");
    url.port = *port;
  }
  url.path = rest.substr(0, rest.find('#'));
  if (!url.path.starts_with('/')) url.path.insert(0, 1, '/');
  return url;
}

}  // namespace wscope::net
