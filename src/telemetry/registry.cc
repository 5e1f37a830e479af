#include "telemetry/registry.h"

#include <algorithm>
#include <new>

#include "base/utf8.h"
#include "runtime/ring.h"
#include "telemetry/registry_state.h"

namespace wscope::telemetry {
namespace {

using base::Errc;

// Two lines, because the processor fetches them in pairs: a neighbour's writes must not be felt.
constexpr size_t kSeparation = 2 * runtime::kCacheLine;

// Memory that grows by chunks of its own cache lines and never moves or shrinks.
class Arena {
 public:
  ~Arena() {
    for (char* const chunk : chunks_) ::operator delete(chunk, std::align_val_t(kSeparation));
  }
  char* take(size_t bytes) {
    bytes = (bytes + 7) / 8 * 8;
    if (bytes > left_) {
      size_t const size =
          std::max<size_t>(kChunk, (bytes + kSeparation - 1) / kSeparation * kSeparation);
      next_ = static_cast<char*>(::operator new(size, std::align_val_t(kSeparation)));
      chunks_.push_back(next_);
      left_ = size;
    }
    char* const place = next_;
    next_ += bytes;
    left_ -= bytes;
    return place;
  }

 private:
  static constexpr size_t kChunk = 8192;
  std::vector<char*> chunks_;
  char* next_ = nullptr;
  size_t left_ = 0;
};

std::string clean_value(std::string_view value) {
  std::string out;
  while (!value.empty() && out.size() < kLabelValueBytesMax) {
    size_t const length = base::utf8_sequence_length(value);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (out.size() + length <= kLabelValueBytesMax) {
      out += value.substr(0, length);
    } else {
      break;
    }
    value.remove_prefix(std::max<size_t>(length, 1));
  }
  return out;
}

// Lengths make it unambiguous whatever the values hold.
std::string key_of(std::vector<std::string> const& values) {
  std::string key;
  for (std::string const& value : values) {
    key += std::to_string(value.size());
    key += ':';
    key += value;
  }
  return key;
}

std::string render_labels(std::vector<std::string> const& names,
                          std::vector<std::string> const& values) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ',';
    out += names[i];
    out += "=\"";
    for (char const c : values[i]) {
      if (c == '\n') {
        out += "\\n";
      } else {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
      }
    }
    out += '"';
  }
  return out;
}

runtime::Cell* make_cells(char* place, size_t count) {
  auto* const first = reinterpret_cast<runtime::Cell*>(place);
  for (size_t i = 0; i < count; ++i) new (place + i * sizeof(runtime::Cell)) runtime::Cell;
  return first;
}

ExemplarSlot* make_slots(char* place, size_t count) {
  auto* const first = reinterpret_cast<ExemplarSlot*>(place);
  for (size_t i = 0; i < count; ++i) new (place + i * sizeof(ExemplarSlot)) ExemplarSlot;
  return first;
}

}  // namespace

// What is written for every message lies dense and apart from what is written rarely.
struct Shard::Memory {
  Arena hot;
  Arena exemplars;

  CounterCells* counter() {
    auto* const cells = new (hot.take(sizeof(CounterCells))) CounterCells;
    cells->exemplar = make_slots(exemplars.take(sizeof(ExemplarSlot)), 1);
    return cells;
  }
  runtime::Cell* gauge() { return make_cells(hot.take(sizeof(runtime::Cell)), 1); }
  HistogramCells* histogram(HistogramLayout const& layout) {
    size_t const count = layout.buckets() + layout.native_cells();
    char* const place = hot.take(sizeof(HistogramCells) + count * sizeof(runtime::Cell));
    auto* const cells = new (place) HistogramCells;
    make_cells(place + sizeof(HistogramCells), count);
    cells->layout = &layout;
    cells->exemplars =
        make_slots(exemplars.take(layout.buckets() * sizeof(ExemplarSlot)), layout.buckets());
    return cells;
  }
};

Shard::Shard(std::string name) : name_(std::move(name)), memory_(std::make_unique<Memory>()) {}
Shard::~Shard() = default;

Child& FamilyState::add_child(std::vector<std::string> values, std::string key) {
  auto child = std::make_unique<Child>();
  child->info.labels = render_labels(info.labels, values);
  child->info.prefix = info.name;
  if (!values.empty()) child->info.prefix += "{" + child->info.labels + "}";
  child->info.prefix += ' ';
  child->info.values = std::move(values);
  child->info.created_unix_ns = registry.clock.unix_ns();
  children.push_back(std::move(child));
  by_values.emplace(std::move(key), children.back().get());
  return *children.back();
}

Child* FamilyState::find_or_add(std::span<std::string_view const> values) {
  WSCOPE_CHECK(values.size() == info.labels.size());
  std::vector<std::string> cleaned;
  cleaned.reserve(values.size());
  for (std::string_view const value : values) cleaned.push_back(clean_value(value));
  std::string key = key_of(cleaned);
  if (auto const found = by_values.find(key); found != by_values.end()) return found->second;
  if (children.size() - (other != nullptr) >= children_max && !info.labels.empty()) return nullptr;
  return &add_child(std::move(cleaned), std::move(key));
}

Child& FamilyState::resolve(std::span<std::string_view const> values) {
  if (Child* const child = find_or_add(values)) return *child;
  folded->add(1);
  if (other == nullptr) {
    std::vector<std::string> names(info.labels.size(), std::string(kOther));
    std::string key = key_of(names);
    auto const found = by_values.find(key);  // a caller may have used the very word
    other = found != by_values.end() ? found->second : &add_child(std::move(names), std::move(key));
  }
  return *other;
}

Part& FamilyState::part(Child& child, Shard& shard) {
  for (Part& part : child.parts) {
    if (part.shard == &shard) return part;
  }
  Part& made = child.parts.emplace_back();
  made.shard = &shard;
  switch (info.kind) {
    case Kind::counter:
      made.counter = shard.memory_->counter();
      break;
    case Kind::gauge:
      made.gauge = shard.memory_->gauge();
      break;
    case Kind::histogram:
      made.histogram = shard.memory_->histogram(*info.layout);
      break;
  }
  return made;
}

base::Status FamilyState::declare(std::initializer_list<std::string_view> values) {
  return registry.families.with([&](Families&) -> base::Status {
    if (find_or_add(std::span(values.begin(), values.size())) != nullptr) return {};
    return base::fail(Errc::over_limit, "metric " + info.name + ": all of its " +
                                            std::to_string(children_max) + " label sets are used");
  });
}

Counter CounterFamily::on(Shard& shard, std::span<std::string_view const> values) {
  return state_.registry.families.with(
      [&](Families&) { return Counter(state_.part(state_.resolve(values), shard).counter); });
}

SharedCounter CounterFamily::shared(std::span<std::string_view const> values) {
  return state_.registry.families.with([&](Families&) {
    Child& child = state_.resolve(values);
    if (!child.shared) child.shared = std::make_unique<runtime::SharedCell>();
    return SharedCounter(child.shared.get());
  });
}

Gauge GaugeFamily::on(Shard& shard, std::span<std::string_view const> values) {
  return state_.registry.families.with(
      [&](Families&) { return Gauge(state_.part(state_.resolve(values), shard).gauge); });
}

Histogram HistogramFamily::on(Shard& shard, std::span<std::string_view const> values) {
  return state_.registry.families.with(
      [&](Families&) { return Histogram(state_.part(state_.resolve(values), shard).histogram); });
}

base::Status CounterFamily::declare(std::initializer_list<std::string_view> values) {
  return state_.declare(values);
}
base::Status GaugeFamily::declare(std::initializer_list<std::string_view> values) {
  return state_.declare(values);
}
base::Status HistogramFamily::declare(std::initializer_list<std::string_view> values) {
  return state_.declare(values);
}

FamilyInfo const& CounterFamily::info() const { return state_.info; }
FamilyInfo const& GaugeFamily::info() const { return state_.info; }
FamilyInfo const& HistogramFamily::info() const { return state_.info; }

uint64_t CounterFamily::total() const {
  FamilySnapshot const all =
      state_.registry.families.with([&](Families&) { return read_family(state_, false); });
  uint64_t sum = 0;
  for (ChildSnapshot const& child : all.children) sum += child.count;
  return sum;
}

double GaugeFamily::total() const {
  FamilySnapshot const all =
      state_.registry.families.with([&](Families&) { return read_family(state_, false); });
  double sum = 0;
  for (ChildSnapshot const& child : all.children) sum += child.number;
  return sum;
}

HistogramValue HistogramFamily::total() const {
  FamilySnapshot const all =
      state_.registry.families.with([&](Families&) { return read_family(state_, false); });
  HistogramValue sum;
  sum.buckets.resize(state_.info.layout->buckets());
  sum.native.resize(state_.info.layout->native_cells());
  for (HistogramValue const& value : all.histograms) sum += value;
  return sum;
}

Registry::Registry(base::Clock const& clock) : state_(std::make_unique<RegistryState>(clock)) {
  FamilyOptions folded{.name = "wscope_label_sets_folded_total",
                       .help = "Label sets over a family's budget, resolved to __other__.",
                       .unit = {},
                       .labels = {"family"},
                       .children_max = 100'000};
  FamilyOptions clamped{.name = "wscope_observations_clamped_total",
                        .help = "Observations outside a native histogram's window, or NaN.",
                        .unit = {},
                        .labels = {"family"},
                        .children_max = 100'000};
  auto const first = add(std::move(folded), Kind::counter, {});
  auto const second = add(std::move(clamped), Kind::counter, {});
  WSCOPE_CHECK(first && second);
  state_->families.with([&](Families& families) {
    families.folded = *first;
    families.clamped = *second;
  });
}

Registry::~Registry() = default;

namespace {

runtime::SharedCell* own_cell(FamilyState& family, std::string_view name) {
  std::string_view const values[] = {name};
  Child& child = family.resolve(values);
  if (!child.shared) child.shared = std::make_unique<runtime::SharedCell>();
  return child.shared.get();
}

FamilyInfo make_info(FamilyOptions&& options, Kind kind, HistogramOptions&& histogram) {
  FamilyInfo info;
  info.name = std::move(options.name);
  info.open_name = kind == Kind::counter ? info.name.substr(0, info.name.size() - 6) : info.name;
  info.help = std::move(options.help);
  info.unit = std::move(options.unit);
  info.kind = kind;
  info.labels = std::move(options.labels);
  if (kind == Kind::histogram) {
    info.layout = std::make_unique<HistogramLayout const>(std::move(histogram.bounds),
                                                          histogram.native, histogram.schema);
  }
  return info;
}

}  // namespace

base::Result<FamilyState*> Registry::add(FamilyOptions options, Kind kind,
                                         HistogramOptions histogram) {
  WSCOPE_TRY_STATUS(check_options(options, kind));
  if (kind == Kind::histogram) {
    if (base::Status checked = check_histogram(histogram); !checked) {
      return base::fail(checked.error().code,
                        "metric " + options.name + ": " + checked.error().what);
    }
  }
  return state_->families.with([&](Families& families) -> base::Result<FamilyState*> {
    std::vector<std::string> const names = names_of(options.name, kind);
    for (std::string const& name : names) {
      if (families.names.contains(name)) {
        return base::fail(Errc::exists, "metric " + options.name + ": the name " + name +
                                            " is taken by another family");
      }
    }
    families.names.insert(names.begin(), names.end());
    size_t const budget = options.children_max;
    auto& made = *families.list.emplace_back(std::make_unique<FamilyState>(
        *state_, make_info(std::move(options), kind, std::move(histogram)), budget));
    if (made.info.labels.empty()) made.add_child({}, {});
    if (families.folded != nullptr && !made.info.labels.empty()) {
      made.folded = own_cell(*families.folded, made.info.name);
    }
    if (kind == Kind::histogram) made.clamped = own_cell(*families.clamped, made.info.name);
    return &made;
  });
}

base::Result<CounterFamily*> Registry::counter(FamilyOptions options) {
  WSCOPE_TRY(family, add(std::move(options), Kind::counter, {}));
  return state_->families.with([&](Families& families) {
    return families.counters.emplace_back(std::make_unique<CounterFamily>(*family)).get();
  });
}

base::Result<GaugeFamily*> Registry::gauge(FamilyOptions options) {
  WSCOPE_TRY(family, add(std::move(options), Kind::gauge, {}));
  return state_->families.with([&](Families& families) {
    return families.gauges.emplace_back(std::make_unique<GaugeFamily>(*family)).get();
  });
}

base::Result<HistogramFamily*> Registry::histogram(FamilyOptions options,
                                                   HistogramOptions histogram) {
  WSCOPE_TRY(family, add(std::move(options), Kind::histogram, std::move(histogram)));
  return state_->families.with([&](Families& families) {
    return families.histograms.emplace_back(std::make_unique<HistogramFamily>(*family)).get();
  });
}

base::Status Registry::gauge_callback(FamilyOptions options, std::function<double()> read) {
  if (!options.labels.empty()) {
    return base::fail(Errc::invalid, "metric " + options.name + ": a callback has no labels");
  }
  WSCOPE_TRY(family, add(std::move(options), Kind::gauge, {}));
  state_->families.with([&](Families&) { family->read_gauge = std::move(read); });
  return {};
}

base::Status Registry::counter_callback(FamilyOptions options, std::function<uint64_t()> read) {
  if (!options.labels.empty()) {
    return base::fail(Errc::invalid, "metric " + options.name + ": a callback has no labels");
  }
  WSCOPE_TRY(family, add(std::move(options), Kind::counter, {}));
  state_->families.with([&](Families&) { family->read_counter = std::move(read); });
  return {};
}

Shard& Registry::shard(std::string name) {
  return state_->families.with([&](Families& families) -> std::reference_wrapper<Shard> {
    return *families.shards.emplace_back(std::make_unique<Shard>(std::move(name)));
  });
}

std::vector<FamilySnapshot> Registry::collect(bool exemplars) const {
  // Callbacks never change after registration, so they may be called without the lock.
  std::vector<std::pair<size_t, FamilyState const*>> callbacks;
  auto all = state_->families.with([&](Families const& families) {
    for (auto const& family : families.list) {
      if (family->clamped == nullptr) continue;
      uint64_t clamped = 0;
      for (auto const& child : family->children) {
        for (Part const& part : child->parts) clamped += part.histogram->clamped.read();
      }
      family->clamped->set(clamped);
    }
    std::vector<FamilySnapshot> snapshots;
    snapshots.reserve(families.list.size());
    for (auto const& family : families.list) {
      if (family->read_gauge || family->read_counter) {
        callbacks.emplace_back(snapshots.size(), family.get());
      }
      snapshots.push_back(read_family(*family, exemplars));
    }
    return snapshots;
  });
  for (auto const& [at, family] : callbacks) {
    ChildSnapshot& child = all[at].children.front();
    if (family->read_gauge) child.number = family->read_gauge();
    if (family->read_counter) child.count = family->read_counter();
  }
  return all;
}

}  // namespace wscope::telemetry
