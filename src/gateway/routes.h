#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/cells.h"
#include "runtime/sync.h"

namespace wscope::gateway {

// Route templates: request paths with their changing parts replaced by placeholders, so that they
// may label metrics and name spans.
//
// A template is learnt from the first path that needs it. Of each path part:
//   digits only                                                   -> {id}
//   8-4-4-4-12 hex digits                                         -> {uuid}
//   at least 8 hex digits, one of them 0-9 and one of them a-f    -> {hash}
//   at least 16 of [A-Za-z0-9_=+-], with a digit and a letter     -> {hash}
//   longer than kRoutePartMax                                     -> {param}
//   a value never seen where kRouteSiblingsMax others were seen   -> {param}
//   anything else stays as it is.
// The query is cut, empty parts inside are dropped, a slash at the end is kept, and what follows
// kRoutePartsMax parts becomes {rest}. Escapes of unreserved characters are decoded (RFC 3986,
// section 6.2.2.2); every byte that is not a plain path character is shown as an escape, so no path
// can forge a placeholder or break a line.

inline constexpr size_t kRouteTemplatesMax = 200;
inline constexpr size_t kRoutePartsMax = 16;
inline constexpr size_t kRoutePartMax = 64;
inline constexpr size_t kRouteSiblingsMax = 50;
inline constexpr std::string_view kRouteOther = "__other__";
inline constexpr uint16_t kRouteOtherId = 0;

// One path part made safe and, where its shape says so, replaced by a placeholder. `part` has no
// slash; it is as in the request.
std::string route_part(std::string_view part);

// All templates of the process. Ids are dense from 0, which is `__other__`: every path for which no
// template was left. A path's id never changes once given.
//
// Thread: any (locks; a loop asks it only for paths that its RouteTemplates does not remember).
class RouteBook {
 public:
  // A part of a known template in braces takes any value there, "/ws/{room}". Known templates get
  // the ids from 1 in their order and count towards `templates_max`.
  explicit RouteBook(std::span<std::string_view const> known = {},
                     size_t templates_max = kRouteTemplatesMax);

  struct Route {
    uint16_t id;
    std::string_view text;  // as long as the book
  };
  // `target` is a request target in origin form or "*" (shown as "/*"); anything else is
  // `__other__`. Worth asking only for requests that the backend knew: the paths of a scanner
  // (404s) would use up the templates.
  Route resolve(std::string_view target);
  // Templates, `__other__` not counted.
  size_t size() const;

 private:
  struct Node {
    std::map<std::string, std::unique_ptr<Node>, std::less<>> parts;  // literals and placeholders
    std::unique_ptr<Node> any;  // the known "{name}" part: before every shape
    std::string any_name;
    size_t literals = 0;  // parts learnt from paths, no placeholder among them
    uint16_t id = kRouteOtherId;
  };
  struct State {
    Node root;
    std::deque<std::string> texts;  // by id; a deque, so that views of them stay good
    size_t templates_max = 0;
  };
  static Route add(State& state, std::string_view path, bool known);

  runtime::Guarded<State> state_;
};

// A loop's way to the book: remembers recent paths, so that a known path costs a hash and a
// comparison.
//
// Thread: loop. Borrows `book`.
class RouteTemplates {
 public:
  explicit RouteTemplates(RouteBook& book);

  // The id of the path's template, kRouteOtherId past the limits.
  uint16_t id_of(std::string_view target);
  // The text of an id that id_of() has returned here; `__other__` for any other.
  std::string_view text(uint16_t id) const;
  // How many calls were answered with `__other__`. Thread: any.
  uint64_t folded() const { return folded_.read(); }

 private:
  static constexpr size_t kRecentSlots = 256;
  static constexpr size_t kRecentBytesMax = 128;  // longer paths are not remembered
  struct Recent {
    std::string path;
    uint16_t id = kRouteOtherId;
  };

  RouteBook& book_;
  std::array<Recent, kRecentSlots> recent_;  // by hash of the path; the newer one wins
  std::array<std::string_view, kRouteTemplatesMax + 1> texts_;
  runtime::Cell folded_;
};

}  // namespace wscope::gateway
