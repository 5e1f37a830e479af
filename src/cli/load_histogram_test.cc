#include "cli/load_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/ids.h"

namespace wscope::cli {
namespace {

TEST(LoadHistogram, EmptyAnswersZero) {
  LoadHistogram const histogram;
  EXPECT_EQ(histogram.quantile_ns(0.5), 0);
  EXPECT_EQ(histogram.max_ns(), 0);
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.mean_ns(), 0);
}

TEST(LoadHistogram, OneValueIsEveryQuantile) {
  for (int64_t const ns : {int64_t{1'000}, int64_t{2'047}, int64_t{2'048}, int64_t{2'049},
                           int64_t{123'456}, int64_t{987'654'321}, int64_t{60'000'000'000}}) {
    LoadHistogram histogram;
    histogram.record(ns, 3);
    EXPECT_EQ(histogram.quantile_ns(0), ns);
    EXPECT_EQ(histogram.quantile_ns(0.5), ns);
    EXPECT_EQ(histogram.quantile_ns(1), ns);
    EXPECT_EQ(histogram.count(), 3u);
    EXPECT_DOUBLE_EQ(histogram.mean_ns(), static_cast<double>(ns));
  }
}

// Each value alone, beside a larger one that keeps max() from rounding it down.
TEST(LoadHistogram, ErrorIsBelowOneInAThousandOverTheWholeRange) {
  for (double value = 1'000; value < 50e9; value *= 1.0137) {
    auto const ns = static_cast<int64_t>(value);
    LoadHistogram histogram;
    histogram.record(ns);
    histogram.record(LoadHistogram::kHighestNs);
    int64_t const got = histogram.quantile_ns(0.5);
    ASSERT_GE(got, ns);
    ASSERT_LE(static_cast<double>(got - ns), 0.001 * static_cast<double>(ns)) << ns;
  }
}

TEST(LoadHistogram, QuantilesAgreeWithSortedValues) {
  uint64_t const seed = 20'240'817;
  base::Rng rng(seed);
  LoadHistogram histogram;
  std::vector<int64_t> values;
  for (int i = 0; i < 50'000; ++i) {
    // Log-uniform from 1 us to 10 s.
    auto const ns = static_cast<int64_t>(1e3 * std::exp(rng.unit() * std::log(1e7)));
    values.push_back(ns);
    histogram.record(ns);
  }
  std::sort(values.begin(), values.end());
  for (double const q : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    auto const rank = static_cast<size_t>(std::max(1.0, std::ceil(q * 50'000))) - 1;
    auto const want = static_cast<double>(values[rank]);
    EXPECT_NEAR(static_cast<double>(histogram.quantile_ns(q)), want, 0.001 * want)
        << "q " << q << " seed " << seed;
  }
}

TEST(LoadHistogram, OutOfRangeIsClampedButMaxIsExact) {
  LoadHistogram histogram;
  histogram.record(-5);
  histogram.record(0);
  histogram.record(90'000'000'000);
  EXPECT_EQ(histogram.quantile_ns(0.5), 1'000);
  EXPECT_GE(histogram.quantile_ns(1), 59'900'000'000);
  EXPECT_EQ(histogram.max_ns(), 90'000'000'000);
}

TEST(LoadHistogram, ClearForgets) {
  LoadHistogram histogram;
  histogram.record(5'000, 10);
  histogram.clear();
  EXPECT_EQ(histogram.count(), 0u);
  histogram.record(7'000);
  EXPECT_EQ(histogram.quantile_ns(0.01), 7'000);
}

}  // namespace
}  // namespace wscope::cli
