#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "runtime/sync.h"
#include "telemetry/registry.h"

// The inside of Registry, for registry.cc and its neighbours only.

namespace wscope::telemetry {

struct RegistryState;

// A child's cells on one shard.
struct Part {
  Shard* shard = nullptr;
  CounterCells* counter = nullptr;
  runtime::Cell* gauge = nullptr;
  HistogramCells* histogram = nullptr;
};

struct Child {
  ChildInfo info;
  std::vector<Part> parts;
  std::unique_ptr<runtime::SharedCell> shared;
};

// Everything but `info`, `children_max` and the callbacks is reached under the registry's lock.
struct FamilyState {
  FamilyState(RegistryState& owner, FamilyInfo&& fixed, size_t budget)
      : registry(owner), info(std::move(fixed)), children_max(budget) {}

  // The child of these values, made if need be; the `__other__` child past the budget.
  Child& resolve(std::span<std::string_view const> values);
  // The existing child, or a new one within the budget, or null.
  Child* find_or_add(std::span<std::string_view const> values);
  Child& add_child(std::vector<std::string> values, std::string key);
  Part& part(Child& child, Shard& shard);
  base::Status declare(std::initializer_list<std::string_view> values);

  RegistryState& registry;
  FamilyInfo const info;
  size_t const children_max;
  std::function<double()> read_gauge;
  std::function<uint64_t()> read_counter;
  std::vector<std::unique_ptr<Child>> children;
  std::unordered_map<std::string, Child*> by_values;
  Child* other = nullptr;
  runtime::SharedCell* folded = nullptr;   // null for families without labels
  runtime::SharedCell* clamped = nullptr;  // histograms only
};

struct Families {
  std::vector<std::unique_ptr<FamilyState>> list;
  std::unordered_set<std::string>
      names;  // family and sample names taken, as either format sees them
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<std::unique_ptr<CounterFamily>> counters;
  std::vector<std::unique_ptr<GaugeFamily>> gauges;
  std::vector<std::unique_ptr<HistogramFamily>> histograms;
  FamilyState* folded = nullptr;
  FamilyState* clamped = nullptr;
};

struct RegistryState {
  explicit RegistryState(base::Clock const& c) : clock(c) {}
  base::Clock const& clock;
  runtime::Guarded<Families> families;
};

// invalid with the reason if the options are against the formats' rules.
base::Status check_options(FamilyOptions const& options, Kind kind);
base::Status check_histogram(HistogramOptions const& options);
// The names that a family takes in the two text formats.
std::vector<std::string> names_of(std::string const& name, Kind kind);

// Fills a snapshot of the family's children from their cells; under the registry's lock.
FamilySnapshot read_family(FamilyState const& family, bool exemplars);

}  // namespace wscope::telemetry
