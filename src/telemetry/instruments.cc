#include "telemetry/instruments.h"

#include <cmath>

namespace wscope::telemetry {
namespace {

// The exponential bucket of a value just above 2^exponent.
int first_index(int exponent, int schema) {
  if (schema >= 0) return (exponent << schema) + 1;
  return (exponent + 1 + (1 << -schema) - 1) >> -schema;
}

// The exponential bucket of 2^exponent itself.
int last_index(int exponent, int schema) {
  if (schema >= 0) return exponent << schema;
  return (exponent + (1 << -schema) - 1) >> -schema;
}

}  // namespace

HistogramLayout::HistogramLayout(std::vector<double> bounds, bool native, int schema)
    : padded_(std::move(bounds)), bounds_(padded_.size()), schema_(schema) {
  while (padded_.size() % 4 != 0) padded_.push_back(std::numeric_limits<double>::infinity());
  if (!native) return;
  native_first_ = first_index(kNativeMinExponent, schema);
  native_cells_ = static_cast<size_t>(last_index(kNativeMaxExponent, schema) - native_first_ + 1);
  if (schema < 0) return;
  uint64_t const one = uint64_t{1} << 52;
  for (size_t k = 0; k < size_t{1} << schema; ++k) {
    double const bound = std::exp2(static_cast<double>(k) / static_cast<double>(1 << schema));
    mantissas_.push_back(std::bit_cast<uint64_t>(bound) & (one - 1));
  }
  mantissas_.push_back(one);
  for (uint64_t slice = 0; slice < uint64_t{2} << schema; ++slice) {
    uint64_t const start = slice << (51 - schema);
    uint16_t below = 0;
    while (mantissas_[below] < start) ++below;
    slices_.push_back(below);
  }
}

}  // namespace wscope::telemetry
