// What Prometheus and OpenMetrics allow as names, and which names of two families clash.
#include <cmath>
#include <set>

#include "base/utf8.h"
#include "telemetry/registry_state.h"

namespace wscope::telemetry {
namespace {

using base::Errc;
using base::fail;

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

bool well_formed(std::string_view name, bool colons) {
  if (name.empty() || digit(name.front())) return false;
  for (char const c : name) {
    if (!letter(c) && !digit(c) && !(colons && c == ':')) return false;
  }
  return true;
}

bool utf8(std::string_view text) {
  base::Utf8Checker checker;
  return checker.feed(text) && checker.complete();
}

base::Status check_labels(FamilyOptions const& options, Kind kind) {
  std::set<std::string_view> seen;
  for (std::string const& label : options.labels) {
    std::string const where = "metric " + options.name + ": label '" + label + "'";
    if (!well_formed(label, false))
      return fail(Errc::invalid, where + " is not [a-zA-Z_][a-zA-Z0-9_]*");
    if (label.starts_with("__")) return fail(Errc::invalid, where + " begins with the reserved __");
    if (kind == Kind::histogram && label == "le") {
      return fail(Errc::invalid, where + " is the histogram's own");
    }
    if (!seen.insert(label).second) return fail(Errc::invalid, where + " is there twice");
  }
  return {};
}

// A suffix that belongs to samples of another kind: readers would take one for the other.
base::Status check_suffix(std::string const& name, Kind kind) {
  if (kind == Kind::counter) {
    if (name.ends_with("_total") && name.size() > 6) return {};
    return fail(Errc::invalid, "metric " + name + ": a counter's name ends in _total");
  }
  for (std::string_view const suffix : {"_total", "_created", "_bucket", "_count", "_sum"}) {
    if (name.ends_with(suffix)) {
      return fail(Errc::invalid, "metric " + name + ": a name that ends in " + std::string(suffix) +
                                     " belongs to a " +
                                     (suffix == "_total" ? "counter" : "sample of a histogram"));
    }
  }
  return {};
}

}  // namespace

base::Status check_options(FamilyOptions const& options, Kind kind) {
  if (!well_formed(options.name, true)) {
    return fail(Errc::invalid, "metric '" + options.name + "': not [a-zA-Z_:][a-zA-Z0-9_:]*");
  }
  WSCOPE_TRY_STATUS(check_suffix(options.name, kind));
  if (options.help.empty() || !utf8(options.help)) {
    return fail(Errc::invalid, "metric " + options.name + ": needs a help text in UTF-8");
  }
  std::string const tail = "_" + options.unit + (kind == Kind::counter ? "_total" : "");
  if (!options.unit.empty() &&
      !(well_formed(options.unit, false) && options.name.ends_with(tail))) {
    return fail(Errc::invalid,
                "metric " + options.name + ": with this unit its name ends in " + tail);
  }
  return check_labels(options, kind);
}

base::Status check_histogram(HistogramOptions const& options) {
  if (options.bounds.size() > kBoundsMax) {
    return fail(Errc::invalid, "more than " + std::to_string(kBoundsMax) + " bounds");
  }
  for (size_t i = 0; i < options.bounds.size(); ++i) {
    if (!std::isfinite(options.bounds[i])) return fail(Errc::invalid, "a bound is not finite");
    if (i > 0 && options.bounds[i] <= options.bounds[i - 1]) {
      return fail(Errc::invalid, "bounds are not strictly ascending");
    }
  }
  if (options.schema < -4 || options.schema > 8) return fail(Errc::invalid, "schema not in -4 … 8");
  if (options.bounds.empty() && !options.native) return fail(Errc::invalid, "no bounds at all");
  return {};
}

std::vector<std::string> names_of(std::string const& name, Kind kind) {
  switch (kind) {
    case Kind::gauge:
      return {name};
    case Kind::counter: {
      std::string const open = name.substr(0, name.size() - 6);
      return {open, name, open + "_created"};
    }
    case Kind::histogram:
      return {name, name + "_bucket", name + "_count", name + "_sum", name + "_created"};
  }
  return {};
}

}  // namespace wscope::telemetry
