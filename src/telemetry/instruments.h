#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/ids.h"
#include "runtime/cells.h"

// The handles that a loop adds to. Made by the families of registry.h; each refers to cells of one
// Shard, so that one thread writes them and no other thread's writes share their cache lines.

namespace wscope::telemetry {

// One observation with the trace it came from.
struct Exemplar {
  base::TraceId trace;
  base::SpanId span;
  double value = 0;
  int64_t unix_ns = 0;
};
using ExemplarSlot = runtime::Slot<Exemplar>;

// Native (exponential) buckets are kept for values in (2^-30, 2^34]: nanoseconds to centuries, one
// byte to 16 GiB. What is at or below the zero threshold goes to the zero bucket; what is above the
// window goes to its last bucket and is counted as clamped.
inline constexpr int kNativeMinExponent = -30;
inline constexpr int kNativeMaxExponent = 34;
inline constexpr double kNativeZeroThreshold = 0x1p-30;
inline constexpr double kNativeMax = 0x1p34;

// Where an observation belongs; fixed when the family is registered and shared by all its children.
//
// Thread: any (immutable).
class HistogramLayout {
 public:
  // `bounds` finite and strictly ascending; `schema` in [-4, 8] (Prometheus' exponential schemas).
  HistogramLayout(std::vector<double> bounds, bool native, int schema);
  HistogramLayout(HistogramLayout const&) = delete;
  HistogramLayout& operator=(HistogramLayout const&) = delete;

  // The upper bounds, without the one at +Inf.
  std::span<double const> bounds() const { return {padded_.data(), bounds_}; }
  // Classic buckets, the one up to +Inf included.
  size_t buckets() const { return bounds_ + 1; }
  bool native() const { return native_cells_ != 0; }
  int schema() const { return schema_; }
  size_t native_cells() const { return native_cells_; }
  // The exponential bucket index of native cell 0: bucket i covers (base^(i-1), base^i].
  int native_first() const { return native_first_; }

  // The classic bucket of `v`, which is not NaN: the number of bounds below it.
  size_t bucket_of(double v) const {
#if defined(__SSE2__)
    __m128d const value = _mm_set1_pd(v);
    __m128i low = _mm_setzero_si128();
    __m128i high = _mm_setzero_si128();
    double const* bound = padded_.data();
    for (double const* const end = bound + padded_.size(); bound != end; bound += 4) {
      low = _mm_sub_epi64(low, _mm_castpd_si128(_mm_cmplt_pd(_mm_loadu_pd(bound), value)));
      high = _mm_sub_epi64(high, _mm_castpd_si128(_mm_cmplt_pd(_mm_loadu_pd(bound + 2), value)));
    }
    low = _mm_add_epi64(low, high);
    return static_cast<size_t>(_mm_cvtsi128_si64(low) +
                               _mm_cvtsi128_si64(_mm_unpackhi_epi64(low, low)));
#else
    size_t below = 0;
    for (double const bound : padded_) below += bound < v;
    return below;
#endif
  }

  // The native cell of `v`, which is in (kNativeZeroThreshold, kNativeMax].
  size_t native_cell_of(double v) const {
    auto const bits = std::bit_cast<uint64_t>(v);
    auto const exponent = static_cast<int>(bits >> 52) - 1023;
    uint64_t const mantissa = bits & ((uint64_t{1} << 52) - 1);
    int index;
    if (schema_ >= 0) {
      // A slice of the mantissa's range holds at most one bound, so one look-up and one comparison
      // replace a search.
      size_t const below = slices_[mantissa >> (51 - schema_)];
      index = (exponent << schema_) + static_cast<int>(below + (mantissas_[below] < mantissa));
    } else {
      int const up = exponent + (mantissa != 0);
      index = (up + (1 << -schema_) - 1) >> -schema_;
    }
    return static_cast<size_t>(index - native_first_);
  }

 private:
  std::vector<double> padded_;  // a multiple of four; +Inf behind the real ones
  size_t bounds_;
  int schema_;
  size_t native_cells_ = 0;
  int native_first_ = 0;
  std::vector<uint64_t> mantissas_;  // of base^0 … base^(2^schema - 1), then one above all
  std::vector<uint16_t> slices_;     // by the mantissa's first bits: how many bounds lie below
};

struct CounterCells {
  runtime::Cell value;
  ExemplarSlot* exemplar = nullptr;
};

// Followed in memory by the classic buckets and then the native ones.
struct HistogramCells {
  HistogramLayout const* layout = nullptr;
  ExemplarSlot* exemplars = nullptr;  // one per classic bucket
  runtime::Cell sum;
  runtime::Cell zero;     // native zero bucket
  runtime::Cell clamped;  // outside the native window, or NaN (which is not observed at all)

  runtime::Cell* buckets() { return reinterpret_cast<runtime::Cell*>(this + 1); }
  runtime::Cell* native() { return buckets() + layout->buckets(); }
  runtime::Cell const* buckets() const { return reinterpret_cast<runtime::Cell const*>(this + 1); }
  runtime::Cell const* native() const { return buckets() + layout->buckets(); }
};
static_assert(sizeof(HistogramCells) % sizeof(runtime::Cell) == 0);

// A count that only grows. Default-made it refers to nothing and must not be used.
//
// Thread: the one of its shard. Trivially copyable.
class Counter {
 public:
  Counter() = default;
  explicit Counter(CounterCells* cells) : cells_(cells) {}
  void add(uint64_t n = 1) { cells_->value.add(n); }
  // Also keeps the trace as the newest example of what was counted.
  void add_with_exemplar(uint64_t n, base::TraceId const& trace, base::SpanId const& span,
                         int64_t unix_ns) {
    add(n);
    cells_->exemplar->write({trace, span, static_cast<double>(n), unix_ns});
  }
  // What this shard has counted.
  uint64_t value() const { return cells_->value.read(); }

 private:
  CounterCells* cells_ = nullptr;
};

// A number that goes up and down. What a scrape shows is the sum over all shards.
//
// Thread: the one of its shard. Trivially copyable.
class Gauge {
 public:
  Gauge() = default;
  explicit Gauge(runtime::Cell* cell) : cell_(cell) {}
  void set(double value) { cell_->set_double(value); }
  void add(double delta) { cell_->add_double(delta); }
  double value() const { return cell_->read_double(); }

 private:
  runtime::Cell* cell_ = nullptr;
};

// Counts of observations by size, with their sum. NaN is not observed but counted as clamped.
//
// Thread: the one of its shard. Trivially copyable.
class Histogram {
 public:
  Histogram() = default;
  explicit Histogram(HistogramCells* cells) : cells_(cells) {}

  void observe(double v) { count(v, 1); }
  // The same value n times.
  void observe_n(double v, uint64_t n) { count(v, n); }
  // Also keeps the trace as the newest example of the bucket.
  void observe_with_exemplar(double v, base::TraceId const& trace, base::SpanId const& span,
                             int64_t unix_ns) {
    size_t const bucket = count(v, 1);
    if (bucket < cells_->layout->buckets()) {
      cells_->exemplars[bucket].write({trace, span, v, unix_ns});
    }
  }

 private:
  // Native before classic: a reader that goes the other way never sees a bucket above the count.
  size_t count(double v, uint64_t n) {
    HistogramCells& cells = *cells_;
    HistogramLayout const& layout = *cells.layout;
    if (v != v) [[unlikely]] {
      cells.clamped.add(n);
      return std::numeric_limits<size_t>::max();
    }
    if (layout.native()) count_native(v, n);
    size_t const bucket = layout.bucket_of(v);
    cells.buckets()[bucket].add(n);
    cells.sum.add_double(n == 1 ? v : v * static_cast<double>(n));
    return bucket;
  }
  void count_native(double v, uint64_t n) {
    HistogramCells& cells = *cells_;
    HistogramLayout const& layout = *cells.layout;
    if (v > kNativeZeroThreshold && v <= kNativeMax) [[likely]] {
      cells.native()[layout.native_cell_of(v)].add(n);
    } else if (v > kNativeMax) {
      cells.native()[layout.native_cells() - 1].add(n);
      cells.clamped.add(n);
    } else {
      cells.zero.add(n);
      if (v < -kNativeZeroThreshold) cells.clamped.add(n);
    }
  }

  HistogramCells* cells_ = nullptr;
};

// A counter for threads without a shard, for what happens rarely: an add is a locked instruction.
//
// Thread: any. Trivially copyable.
class SharedCounter {
 public:
  SharedCounter() = default;
  explicit SharedCounter(runtime::SharedCell* cell) : cell_(cell) {}
  void add(uint64_t n = 1) { cell_->add(n); }

 private:
  runtime::SharedCell* cell_ = nullptr;
};

}  // namespace wscope::telemetry
