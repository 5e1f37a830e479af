// Reading cells into values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "telemetry/registry_state.h"

namespace wscope::telemetry {
namespace {

void newest(std::vector<BucketExemplar>& found, size_t from, size_t bucket,
            ExemplarSlot const& slot) {
  Exemplar exemplar;
  if (!slot.read(exemplar)) return;
  auto const same = std::find_if(found.begin() + static_cast<std::ptrdiff_t>(from), found.end(),
                                 [&](BucketExemplar const& e) { return e.bucket == bucket; });
  if (same == found.end()) {
    found.push_back({bucket, exemplar});
  } else if (same->exemplar.unix_ns < exemplar.unix_ns) {
    same->exemplar = exemplar;
  }
}

// Classic before native, as instruments.h asks for.
HistogramValue read_histogram(HistogramLayout const& layout, std::vector<Part> const& parts) {
  HistogramValue value;
  value.buckets.resize(layout.buckets());
  value.native.resize(layout.native_cells());
  for (Part const& part : parts) {
    HistogramCells const& cells = *part.histogram;
    value.sum += cells.sum.read_double();
    for (size_t i = 0; i < value.buckets.size(); ++i) value.buckets[i] += cells.buckets()[i].read();
    for (size_t i = 0; i < value.native.size(); ++i) value.native[i] += cells.native()[i].read();
    value.zero += cells.zero.read();
  }
  for (uint64_t const n : value.buckets) value.count += n;
  return value;
}

void read_exemplars(FamilyInfo const& info, Child const& child, FamilySnapshot& out) {
  size_t const from = out.exemplars.size();
  size_t const buckets = info.kind == Kind::histogram ? info.layout->buckets() : 1;
  for (size_t bucket = 0; bucket < buckets; ++bucket) {
    for (Part const& part : child.parts) {
      if (part.counter != nullptr) newest(out.exemplars, from, bucket, *part.counter->exemplar);
      if (part.histogram != nullptr) {
        newest(out.exemplars, from, bucket, part.histogram->exemplars[bucket]);
      }
    }
  }
}

double classic_quantile(HistogramValue const& value, HistogramLayout const& layout, double rank) {
  auto const bounds = layout.bounds();
  double seen = 0;
  for (size_t i = 0; i < bounds.size(); ++i) {
    auto const here = static_cast<double>(value.buckets[i]);
    if (here > 0 && seen + here >= rank) {
      double const low = i > 0 ? bounds[i - 1] : std::min(0.0, bounds[0]);
      return low + (bounds[i] - low) * (rank - seen) / here;
    }
    seen += here;
  }
  return bounds.empty() ? std::numeric_limits<double>::quiet_NaN() : bounds.back();
}

double native_quantile(HistogramValue const& value, HistogramLayout const& layout, double rank) {
  auto seen = static_cast<double>(value.zero);
  if (value.zero > 0 && seen >= rank) return 0;
  double const step = std::exp2(-layout.schema());  // in powers of two
  double last = 0;
  for (size_t i = 0; i < value.native.size(); ++i) {
    auto const here = static_cast<double>(value.native[i]);
    if (here == 0) continue;
    double const low = step * (layout.native_first() + static_cast<double>(i) - 1);
    last = std::exp2(low + step);
    if (seen + here >= rank) return std::exp2(low + step * (rank - seen) / here);
    seen += here;
  }
  return last;
}

void add_each(std::vector<uint64_t>& to, std::vector<uint64_t> const& more) {
  to.resize(std::max(to.size(), more.size()));
  for (size_t i = 0; i < more.size(); ++i) to[i] += more[i];
}

void subtract_each(std::vector<uint64_t>& from, std::vector<uint64_t> const& less) {
  for (size_t i = 0; i < std::min(from.size(), less.size()); ++i) {
    from[i] -= std::min(from[i], less[i]);
  }
}

}  // namespace

double HistogramValue::quantile(double q, HistogramLayout const& layout) const {
  uint64_t native_count = zero;
  for (uint64_t const n : native) native_count += n;
  uint64_t const n = layout.native() ? native_count : count;
  if (n == 0) return std::numeric_limits<double>::quiet_NaN();
  double const rank = std::clamp(q, 0.0, 1.0) * static_cast<double>(n);
  return layout.native() ? native_quantile(*this, layout, rank)
                         : classic_quantile(*this, layout, rank);
}

HistogramValue& HistogramValue::operator+=(HistogramValue const& other) {
  add_each(buckets, other.buckets);
  add_each(native, other.native);
  zero += other.zero;
  count += other.count;
  sum += other.sum;
  return *this;
}

HistogramValue HistogramValue::since(HistogramValue const& before) const {
  HistogramValue delta = *this;
  subtract_each(delta.buckets, before.buckets);
  subtract_each(delta.native, before.native);
  delta.zero -= std::min(delta.zero, before.zero);
  delta.count -= std::min(delta.count, before.count);
  delta.sum -= before.sum;
  return delta;
}

FamilySnapshot read_family(FamilyState const& family, bool exemplars) {
  FamilySnapshot out;
  out.info = &family.info;
  out.children.reserve(family.children.size());
  if (family.info.kind == Kind::histogram) out.histograms.reserve(family.children.size());
  for (auto const& child : family.children) {
    ChildSnapshot& snapshot = out.children.emplace_back();
    snapshot.info = &child->info;
    snapshot.exemplars_from = out.exemplars.size();
    if (child->shared) snapshot.count = child->shared->read();
    for (Part const& part : child->parts) {
      if (part.counter != nullptr) snapshot.count += part.counter->value.read();
      if (part.gauge != nullptr) snapshot.number += part.gauge->read_double();
    }
    if (family.info.kind == Kind::histogram) {
      snapshot.histogram = out.histograms.size();
      out.histograms.push_back(read_histogram(*family.info.layout, child->parts));
    }
    if (exemplars) read_exemplars(family.info, *child, out);
    snapshot.exemplars_to = out.exemplars.size();
  }
  return out;
}

}  // namespace wscope::telemetry
