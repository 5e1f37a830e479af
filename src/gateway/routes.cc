#include "gateway/routes.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "base/result.h"

namespace wscope::gateway {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_unreserved(char c) {
  return is_digit(c) || is_letter(c) || std::string_view("-._~").contains(c);
}
// pchar of RFC 3986 without the quote, which label values and SQL would have to escape.
bool is_plain(char c) { return is_unreserved(c) || std::string_view("!$&()*+,;=:@").contains(c); }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  return (c | 0x20) - 'a' + 10;
}

void append_escape(std::string& out, char c) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  auto const byte = static_cast<uint8_t>(c);
  out += '%';
  out += kDigits[byte >> 4];
  out += kDigits[byte & 15];
}

// Stops soon after kRoutePartMax: longer parts are replaced whole.
std::string safe_part(std::string_view part) {
  std::string out;
  for (size_t i = 0; i < part.size() && out.size() <= kRoutePartMax; ++i) {
    char c = part[i];
    bool escaped = false;
    if (c == '%' && i + 2 < part.size() && is_hex(part[i + 1]) && is_hex(part[i + 2])) {
      c = static_cast<char>(hex_value(part[i + 1]) * 16 + hex_value(part[i + 2]));
      escaped = true;
      i += 2;
    }
    if (escaped ? is_unreserved(c) : is_plain(c)) {
      out += c;
    } else {
      append_escape(out, c);
    }
  }
  return out;
}

bool is_uuid(std::string_view part) {
  if (part.size() != 36) return false;
  for (size_t i = 0; i < part.size(); ++i) {
    bool const dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? part[i] != '-' : !is_hex(part[i])) return false;
  }
  return true;
}

bool is_hash(std::string_view part) {
  bool const digit = std::ranges::any_of(part, is_digit);
  bool const letter = std::ranges::any_of(part, is_letter);
  if (!digit || !letter) return false;
  if (part.size() >= 8 && std::ranges::all_of(part, is_hex)) return true;
  return part.size() >= 16 && std::ranges::all_of(part, [](char c) {
           return is_digit(c) || is_letter(c) || std::string_view("_=+-").contains(c);
         });
}

// The parts of a path as templates spell them; the last one is empty where the path ends in a
// slash.
std::vector<std::string> route_parts(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    path.remove_prefix(1);
    std::string_view const part = path.substr(0, path.find('/'));
    path.remove_prefix(part.size());
    if (part.empty() && !path.empty()) continue;
    if (parts.size() == kRoutePartsMax) {
      parts.back() = "{rest}";
      break;
    }
    parts.push_back(route_part(part));
  }
  return parts;
}

std::vector<std::string> known_parts(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    path.remove_prefix(1);
    parts.emplace_back(path.substr(0, path.find('/')));
    path.remove_prefix(parts.back().size());
  }
  return parts;
}

bool is_placeholder(std::string_view part) { return part.starts_with('{'); }

}  // namespace

std::string route_part(std::string_view part) {
  std::string safe = safe_part(part);
  if (safe.empty()) return safe;
  if (safe.size() > kRoutePartMax) return "{param}";
  if (std::ranges::all_of(safe, is_digit)) return "{id}";
  if (is_uuid(safe)) return "{uuid}";
  if (is_hash(safe)) return "{hash}";
  return safe;
}

RouteBook::RouteBook(std::span<std::string_view const> known, size_t templates_max) {
  WSCOPE_CHECK(templates_max <= kRouteTemplatesMax && known.size() <= templates_max);
  state_.with([&](State& state) {
    state.templates_max = templates_max;
    state.texts.emplace_back(kRouteOther);
    for (std::string_view path : known) add(state, path, true);
  });
}

RouteBook::Route RouteBook::resolve(std::string_view target) {
  target = target == "*" ? "/*" : target.substr(0, target.find_first_of("?#"));
  if (!target.starts_with('/')) return {kRouteOtherId, kRouteOther};
  return state_.with([&](State& state) { return add(state, target, false); });
}

size_t RouteBook::size() const {
  return state_.with([](State const& state) { return state.texts.size() - 1; });
}

// Walks down as far as the tree reaches, and grows it only when a template is left: so the tree
// holds at most templates_max × kRoutePartsMax nodes, whatever clients ask for.
RouteBook::Route RouteBook::add(State& state, std::string_view path, bool known) {
  std::vector<std::string> const parts = known ? known_parts(path) : route_parts(path);
  std::string text;
  bool const full = state.texts.size() > state.templates_max;
  Node* node = &state.root;
  for (std::string_view part : parts) {
    if (known && is_placeholder(part)) {
      if (!node->any) node->any = std::make_unique<Node>();
      if (node->any_name.empty()) node->any_name = part;
      node = node->any.get();
      text.append("/").append(part);
      continue;
    }
    auto found = node->parts.find(part);
    if (found == node->parts.end() && node->any && !part.empty()) {
      text.append("/").append(node->any_name);
      node = node->any.get();
      continue;
    }
    bool const learns = found == node->parts.end() && !known && !part.empty();
    if (learns && !is_placeholder(part) && node->literals >= kRouteSiblingsMax) {
      part = "{param}";
      found = node->parts.find(part);
    }
    text.append("/").append(part);
    if (found == node->parts.end()) {
      if (full) return {kRouteOtherId, kRouteOther};
      if (learns && !is_placeholder(part)) ++node->literals;
      found = node->parts.emplace(part, std::make_unique<Node>()).first;
    }
    node = found->second.get();
  }
  if (node->id == kRouteOtherId) {
    if (full) return {kRouteOtherId, kRouteOther};
    node->id = static_cast<uint16_t>(state.texts.size());
    state.texts.push_back(std::move(text));
  }
  return {node->id, state.texts[node->id]};
}

RouteTemplates::RouteTemplates(RouteBook& book) : book_(book) { texts_.fill(kRouteOther); }

uint16_t RouteTemplates::id_of(std::string_view target) {
  std::string_view const path = target.substr(0, target.find_first_of("?#"));
  Recent& recent = recent_[std::hash<std::string_view>{}(path) % kRecentSlots];
  if (recent.path != path || path.empty()) {
    RouteBook::Route const route = book_.resolve(path);
    texts_[route.id] = route.text;
    if (path.size() > kRecentBytesMax || path.empty()) {
      if (route.id == kRouteOtherId) folded_.add(1);
      return route.id;
    }
    recent.path = path;
    recent.id = route.id;
  }
  if (recent.id == kRouteOtherId) folded_.add(1);
  return recent.id;
}

std::string_view RouteTemplates::text(uint16_t id) const {
  return id < texts_.size() ? texts_[id] : kRouteOther;
}

}  // namespace wscope::gateway
