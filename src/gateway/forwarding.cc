#include "gateway/forwarding.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace wscope::gateway {
namespace {

using base::equals_ignoring_case;

bool starts_ignoring_case(std::string_view text, std::string_view prefix) {
  return equals_ignoring_case(text.substr(0, prefix.size()), prefix);
}

// Set by us or by the proxies before us, or needed to find the end of the request: a client that
// lists one of these in Connection wants to hide something from the backend.
bool is_protected(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "host",       "content-length",   "transfer-encoding", "traceparent",
      "tracestate", "x-correlation-id", "forwarded",         "x-real-ip"};
  return starts_ignoring_case(name, "x-forwarded-") ||
         std::ranges::any_of(kNames,
                             [&](std::string_view n) { return equals_ignoring_case(n, name); });
}

bool is_hop_by_hop(net::RequestHead const& head, std::string_view name) {
  static constexpr std::string_view kNames[] = {"connection", "keep-alive", "upgrade", "te"};
  if (std::ranges::any_of(kNames,
                          [&](std::string_view n) { return equals_ignoring_case(n, name); })) {
    return true;
  }
  return !is_protected(name) && head.has_token("connection", name);
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

// "http://host:1/p" -> "host:1"; empty unless the target is absolute.
std::string_view authority_of(std::string_view target) {
  if (target.starts_with('/')) return {};
  size_t const begin = target.find("://");
  if (begin == std::string_view::npos) return {};
  std::string_view const rest = target.substr(begin + 3);
  return rest.substr(0, rest.find_first_of("/?#"));
}

void append_request_line(std::string& out, net::RequestHead const& head,
                         std::string_view authority) {
  out.append(head.method).append(" ");
  if (authority.empty()) {
    out.append(head.target);
  } else {
    std::string_view rest = head.target;
    rest.remove_prefix(static_cast<size_t>(authority.data() + authority.size() - rest.data()));
    if (rest.empty() && head.method == "OPTIONS") {
      out += '*';
    } else {
      if (!rest.starts_with('/')) out += '/';
      out.append(rest);
    }
  }
  out.append(head.minor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n");
}

// A field of ours: what it is called, what it becomes, and whether it has been written.
struct Ours {
  std::string_view name;
  std::string_view value;
  bool written = false;
};

// The values of all X-Forwarded-For fields and the client's address, one list.
std::string forwarded_for(net::RequestHead const& head, std::string_view client_ip) {
  if (client_ip.empty()) return {};
  std::string out;
  for (net::Field const& field : head.fields) {
    if (!equals_ignoring_case(field.name, "x-forwarded-for") || field.value.empty()) continue;
    out.append(field.value).append(", ");
  }
  return out.append(client_ip);
}

// The value of a field that only a trusted proxy may have set; empty = leave the client's.
std::string_view seen_here(net::RequestHead const& head, ForwardInfo const& info,
                           std::string_view name, std::string_view value) {
  return info.trust_forwarded && head.has(name) ? std::string_view{} : value;
}

}  // namespace

void append_forwarded_head(std::string& out, net::RequestHead const& head, ForwardInfo const& info,
                           bool websocket) {
  std::string_view const authority = authority_of(head.target);
  std::string_view const host = authority.empty() ? head.find("host") : authority;
  std::string const chain = forwarded_for(head, info.client_ip);
  std::array<Ours, 6> ours = {{
      {"Host", authority},
      {"traceparent", info.traceparent},
      {"X-Correlation-ID", info.correlation_id},
      {"X-Forwarded-For", chain},
      {"X-Forwarded-Proto", seen_here(head, info, "x-forwarded-proto", info.scheme)},
      {"X-Forwarded-Host", seen_here(head, info, "x-forwarded-host", host)},
  }};
  append_request_line(out, head, authority);
  for (net::Field const& field : head.fields) {
    if (starts_ignoring_case(field.name, "proxy-")) continue;
    if (!websocket && is_hop_by_hop(head, field.name)) continue;
    if (info.drop_tracestate && equals_ignoring_case(field.name, "tracestate")) continue;
    auto const mine = std::ranges::find_if(ours, [&](Ours const& o) {
      return !o.value.empty() && equals_ignoring_case(o.name, field.name);
    });
    if (mine == ours.end()) {
      append_field(out, field.name, field.value);
    } else if (!mine->written) {
      append_field(out, field.name, mine->value);
      mine->written = true;
    }
  }
  for (Ours const& o : ours) {
    if (!o.written && !o.value.empty()) append_field(out, o.name, o.value);
  }
  // TE must be listed in Connection by whoever sends it (RFC 9110, section 10.1.4).
  if (!websocket && head.has_token("te", "trailers"))
    out.append("TE: trailers\r\nConnection: TE\r\n");
  out.append("\r\n");
}

CorrelationId correlation_id_from(std::string_view header, base::Rng& rng) {
  bool const good = !header.empty() && header.size() <= kCorrelationIdMax &&
                    std::ranges::all_of(header, [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                             (c >= 'A' && c <= 'Z') || std::string_view("._:/@=+-").contains(c);
                    });
  if (good) return {std::string(header), CorrelationSource::received};
  return {rng.uuid(), header.empty() ? CorrelationSource::made : CorrelationSource::replaced};
}

}  // namespace wscope::gateway
