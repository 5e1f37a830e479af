#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "telemetry/instruments.h"

// Metric families and their collection (OpenMetrics 1.0.0, Prometheus text format 0.0.4).
//
//   Registry registry(clock);
//   auto messages = registry.counter({.name = "ws_messages_total", .help = "Messages.", .labels =
//   {"route"}}); Shard& shard = registry.shard("loop 0");          // one per writing thread
//   Counter in = (*messages)->on(shard, {"/echo"});   // once per connection or start
//   in.add();                                         // on that thread, 0.5 ns

namespace wscope::telemetry {

// Label values are cut at this many bytes; bytes that are not UTF-8 become U+FFFD.
inline constexpr size_t kLabelValueBytesMax = 1024;
inline constexpr size_t kBoundsMax = 64;
// The value of every label of the child that takes what is over a family's budget.
inline constexpr std::string_view kOther = "__other__";

struct FamilyOptions {
  std::string name = {};  // counters end in _total
  std::string help = {};
  std::string unit =
      {};  // base unit ("seconds") and then the name's suffix before _total; or empty
  std::vector<std::string> labels = {};
  size_t children_max = 1000;  // label sets; further ones share one child, all labels kOther
};

struct HistogramOptions {
  std::vector<double> bounds = {};  // ascending upper bounds, without +Inf; may be empty if native
  bool native = true;               // exponential buckets too, served by the protobuf exposition
  int schema = 3;                   // -4 … 8: 2^schema buckets per power of two
};

enum class Kind : uint8_t { counter, gauge, histogram };

// What never changes about a family. Lives as long as the registry.
struct FamilyInfo {
  std::string name;       // as registered and as text 0.0.4 and protobuf show it
  std::string open_name;  // OpenMetrics family name: a counter's without _total
  std::string help;
  std::string unit;
  Kind kind = Kind::gauge;
  std::vector<std::string> labels;
  std::unique_ptr<HistogramLayout const> layout;  // histograms only
};

// What never changes about a child. Lives as long as the registry.
struct ChildInfo {
  std::vector<std::string> values;  // in the order of the family's labels
  std::string labels;  // a="x",b="y" as both text formats escape it; empty without labels
  std::string prefix;  // name{labels} and a space: a text line up to its number
  int64_t created_unix_ns = 0;
};

struct HistogramValue {
  std::vector<uint64_t> buckets;  // per classic bucket, not cumulative; the last is up to +Inf
  std::vector<uint64_t> native;   // per native cell; empty if the family has none
  uint64_t zero = 0;
  uint64_t count = 0;  // the sum of the buckets
  double sum = 0;
  // The value below which the share `q` in [0,1] of the observations lies, interpolated within its
  // native bucket where there is one, else its classic one; NaN without observations.
  double quantile(double q, HistogramLayout const& layout) const;
  HistogramValue& operator+=(HistogramValue const& other);
  // What was added since `before`, an earlier value of the same child or family.
  HistogramValue since(HistogramValue const& before) const;
};

struct BucketExemplar {
  size_t bucket = 0;
  Exemplar exemplar;
};

struct ChildSnapshot {
  ChildInfo const* info = nullptr;
  uint64_t count = 0;         // counters
  double number = 0;          // gauges
  size_t histogram = 0;       // histograms: index into FamilySnapshot::histograms
  size_t exemplars_from = 0;  // range of FamilySnapshot::exemplars, ascending buckets
  size_t exemplars_to = 0;
};

struct FamilySnapshot {
  FamilyInfo const* info = nullptr;
  std::vector<ChildSnapshot> children;
  std::vector<HistogramValue> histograms;
  std::vector<BucketExemplar> exemplars;
};

struct FamilyState;
struct RegistryState;

// The cells of one writing thread. Made by Registry::shard(); lives as long as the registry.
//
// Thread: handles made on it belong to one thread; on() itself is safe from any.
class Shard {
 public:
  explicit Shard(std::string name);
  ~Shard();
  Shard(Shard const&) = delete;
  Shard& operator=(Shard const&) = delete;
  std::string const& name() const { return name_; }

 private:
  friend struct FamilyState;
  struct Memory;
  std::string name_;
  std::unique_ptr<Memory> memory_;
};

// Every family: on() resolves a child for one thread. It takes the registry's lock and may
// allocate, so it belongs to starts and new connections, never to a message. The same values give
// the same cells. Exactly as many values as labels (CHECKed). Past children_max the child is
// `__other__` and the call is counted in wscope_label_sets_folded_total{family}. declare() makes a
// child at 0 that no thread has touched yet; over_limit past children_max.
//
// Thread: any.
class CounterFamily {
 public:
  explicit CounterFamily(FamilyState& state) : state_(state) {}
  Counter on(Shard& shard, std::initializer_list<std::string_view> values = {}) {
    return on(shard, std::span(values.begin(), values.size()));
  }
  Counter on(Shard& shard, std::span<std::string_view const> values);
  SharedCounter shared(std::initializer_list<std::string_view> values = {}) {
    return shared(std::span(values.begin(), values.size()));
  }
  SharedCounter shared(std::span<std::string_view const> values);
  base::Status declare(std::initializer_list<std::string_view> values);
  // Over all children and threads.
  uint64_t total() const;
  FamilyInfo const& info() const;

 private:
  FamilyState& state_;
};

class GaugeFamily {
 public:
  explicit GaugeFamily(FamilyState& state) : state_(state) {}
  Gauge on(Shard& shard, std::initializer_list<std::string_view> values = {}) {
    return on(shard, std::span(values.begin(), values.size()));
  }
  Gauge on(Shard& shard, std::span<std::string_view const> values);
  base::Status declare(std::initializer_list<std::string_view> values);
  double total() const;
  FamilyInfo const& info() const;

 private:
  FamilyState& state_;
};

class HistogramFamily {
 public:
  explicit HistogramFamily(FamilyState& state) : state_(state) {}
  Histogram on(Shard& shard, std::initializer_list<std::string_view> values = {}) {
    return on(shard, std::span(values.begin(), values.size()));
  }
  Histogram on(Shard& shard, std::span<std::string_view const> values);
  base::Status declare(std::initializer_list<std::string_view> values);
  HistogramValue total() const;
  FamilyInfo const& info() const;

 private:
  FamilyState& state_;
};

// All families of a process (or of a test). Families and children are never removed, so pointers to
// them and to infos stay good as long as the registry.
//
// Thread: any.
class Registry {
 public:
  // Borrows `clock` (created timestamps). Registers two families of its own:
  // wscope_label_sets_folded_total{family} and wscope_observations_clamped_total{family}.
  explicit Registry(base::Clock const& clock);
  ~Registry();
  Registry(Registry const&) = delete;
  Registry& operator=(Registry const&) = delete;

  // Each returns invalid if a name, label, help, unit or bound is against the formats' rules, and
  // exists if the family or one of its sample names (x_total, x_bucket, x_created …) is taken. A
  // family without labels has its one child at 0 from here on.
  base::Result<CounterFamily*> counter(FamilyOptions options);
  base::Result<GaugeFamily*> gauge(FamilyOptions options);
  base::Result<HistogramFamily*> histogram(FamilyOptions options, HistogramOptions histogram);
  // Families without labels whose value is asked for at each collection. `read` runs on the
  // collecting thread without any lock held.
  base::Status gauge_callback(FamilyOptions options, std::function<double()> read);
  base::Status counter_callback(FamilyOptions options, std::function<uint64_t()> read);

  // A new shard for one writing thread; `name` is for people.
  Shard& shard(std::string name);

  // Reads all cells, in the order of registration, without stopping those who write them. The lock
  // is held while cells are read (some 100 µs for 10,000 series), so an on() elsewhere may wait
  // that long.
  std::vector<FamilySnapshot> collect(bool exemplars = true) const;

 private:
  base::Result<FamilyState*> add(FamilyOptions options, Kind kind, HistogramOptions histogram);
  std::unique_ptr<RegistryState> state_;
};

}  // namespace wscope::telemetry
