#include "telemetry/registry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/sync.h"

namespace wscope::telemetry {
namespace {

using base::Errc;

FamilyOptions named(std::string name, std::vector<std::string> labels = {}, size_t budget = 1000) {
  return {.name = std::move(name),
          .help = "Help.",
          .unit = {},
          .labels = std::move(labels),
          .children_max = budget};
}

struct RegistryTest : testing::Test {
  base::ManualClock clock;
  Registry registry{clock};

  FamilySnapshot find(std::string_view name) const {
    for (FamilySnapshot& family : registry.collect()) {
      if (family.info->name == name) return std::move(family);
    }
    ADD_FAILURE() << "no family " << name;
    return {};
  }
  uint64_t count(std::string_view name, std::string_view labels) const {
    for (ChildSnapshot const& child : find(name).children) {
      if (child.info->labels == labels) return child.count;
    }
    ADD_FAILURE() << name << " has no child " << labels;
    return 0;
  }
};

TEST_F(RegistryTest, SumsACounterOverItsShards) {
  auto* const family = *registry.counter(named("messages_total", {"route"}));
  Shard& one = registry.shard("one");
  Shard& two = registry.shard("two");
  Counter a = family->on(one, {"/ws"});
  Counter b = family->on(two, {"/ws"});
  Counter again = family->on(one, {"/ws"});
  a.add(3);
  again.add();
  b.add(10);
  family->shared({"/ws"}).add(100);
  EXPECT_EQ(a.value(), 4U);
  EXPECT_EQ(count("messages_total", "route=\"/ws\""), 114U);
  EXPECT_EQ(family->total(), 114U);
}

TEST_F(RegistryTest, HasChildrenAtZeroFromTheStart) {
  ASSERT_TRUE(registry.counter(named("plain_total")));
  auto* const family = *registry.counter(named("labelled_total", {"a", "b"}));
  ASSERT_TRUE(family->declare({"x", "y"}));
  EXPECT_EQ(count("plain_total", ""), 0U);
  EXPECT_EQ(count("labelled_total", "a=\"x\",b=\"y\""), 0U);
  EXPECT_EQ(find("plain_total").children[0].info->prefix, "plain_total ");
  EXPECT_EQ(find("plain_total").children[0].info->created_unix_ns, clock.unix_ns());
}

TEST_F(RegistryTest, FoldsLabelSetsOverTheBudgetAndCountsThem) {
  auto* const family = *registry.counter(named("hits_total", {"path"}, 2));
  Shard& shard = registry.shard("one");
  family->on(shard, {"/a"}).add(1);
  family->on(shard, {"/b"}).add(2);
  for (int i = 0; i < 50; ++i) family->on(shard, {"/x" + std::to_string(i)}).add(1);
  family->on(shard, {"/a"}).add(1);
  EXPECT_EQ(family->declare({"/c"}).error().code, Errc::over_limit);
  EXPECT_EQ(find("hits_total").children.size(), 3U);
  EXPECT_EQ(count("hits_total", "path=\"/a\""), 2U);
  EXPECT_EQ(count("hits_total", "path=\"__other__\""), 50U);
  EXPECT_EQ(count("wscope_label_sets_folded_total", "family=\"hits_total\""), 50U);
}

TEST_F(RegistryTest, KeepsOneOtherChildEvenIfACallerUsesTheWord) {
  auto* const family = *registry.counter(named("hits_total", {"path"}, 1));
  Shard& shard = registry.shard("one");
  family->on(shard, {"__other__"}).add(1);
  family->on(shard, {"/b"}).add(1);
  EXPECT_EQ(find("hits_total").children.size(), 1U);
  EXPECT_EQ(count("hits_total", "path=\"__other__\""), 2U);
}

TEST_F(RegistryTest, EscapesAndCleansLabelValues) {
  auto* const family = *registry.counter(named("hits_total", {"path", "q"}));
  Shard& shard = registry.shard("one");
  family->on(shard, {"a\"\\\n", "\xff\xc3\xa4"}).add(1);
  family->on(shard, {std::string(5000, 'x'), ""}).add(1);
  auto const children = find("hits_total").children;
  ASSERT_EQ(children.size(), 2U);
  EXPECT_EQ(children[0].info->labels, "path=\"a\\\"\\\\\\n\",q=\"\xef\xbf\xbd\xc3\xa4\"");
  EXPECT_EQ(children[1].info->values[0].size(), kLabelValueBytesMax);
}

TEST_F(RegistryTest, TellsLabelSetsApartWhoseTextsRunTogether) {
  auto* const family = *registry.counter(named("hits_total", {"a", "b"}));
  Shard& shard = registry.shard("one");
  family->on(shard, {"1:x", "y"}).add(1);
  family->on(shard, {"1", "x1:y"}).add(1);
  family->on(shard, {"", "1:x1:y"}).add(1);
  EXPECT_EQ(find("hits_total").children.size(), 3U);
}

TEST_F(RegistryTest, SumsAndSetsGauges) {
  auto* const family = *registry.gauge(named("open"));
  Gauge a = family->on(registry.shard("one"));
  Gauge b = family->on(registry.shard("two"));
  a.set(10);
  a.add(-2.5);
  b.set(100);
  EXPECT_EQ(find("open").children[0].number, 107.5);
  EXPECT_EQ(family->total(), 107.5);
}

TEST_F(RegistryTest, AsksCallbacksAtEachCollection) {
  uint64_t total = 5;
  // No lock is held while it is asked, so a callback may use the registry.
  ASSERT_TRUE(registry.gauge_callback(named("level"), [&] {
    ++total;
    (void)registry.shard("made by a callback");
    return 1.0;
  }));
  EXPECT_EQ(find("level").children[0].number, 1);
  ASSERT_TRUE(registry.counter_callback(named("seen_total"), [&] { return total; }));
  EXPECT_EQ(registry.gauge_callback(named("bad", {"x"}), [] { return 0.0; }).error().code,
            Errc::invalid);
  total = 60;
  EXPECT_GE(count("seen_total", ""), 60U);
}

TEST_F(RegistryTest, RefusesNamesAgainstTheRules) {
  struct Case {
    FamilyOptions options;
    Kind kind;
  };
  auto with_unit = [](std::string name, std::string unit) {
    FamilyOptions options = named(std::move(name));
    options.unit = std::move(unit);
    return options;
  };
  auto with_help = [](std::string help) {
    FamilyOptions options = named("good");
    options.help = std::move(help);
    return options;
  };
  Case const cases[] = {
      {named(""), Kind::gauge},
      {named("1x"), Kind::gauge},
      {named("a-b"), Kind::gauge},
      {named("\xc3\xa4"), Kind::gauge},
      {named("x"), Kind::counter},
      {named("_total"), Kind::counter},
      {named("x_total"), Kind::gauge},
      {named("x_total"), Kind::histogram},
      {named("x_bucket"), Kind::gauge},
      {named("x_created"), Kind::gauge},
      {named("x_count"), Kind::histogram},
      {named("x", {"a-b"}), Kind::gauge},
      {named("x", {"__a"}), Kind::gauge},
      {named("x", {""}), Kind::gauge},
      {named("x", {"a", "a"}), Kind::gauge},
      {named("x", {"le"}), Kind::histogram},
      {with_unit("x_bytes", "seconds"), Kind::gauge},
      {with_unit("x_total", "bytes"), Kind::counter},
      {with_help(""), Kind::gauge},
      {with_help("\xff"), Kind::gauge},
  };
  for (Case const& c : cases) {
    SCOPED_TRACE(c.options.name);
    base::Status made;
    if (c.kind == Kind::counter) {
      if (auto r = registry.counter(c.options); !r) made = std::unexpected(r.error());
    } else if (c.kind == Kind::gauge) {
      if (auto r = registry.gauge(c.options); !r) made = std::unexpected(r.error());
    } else {
      auto r = registry.histogram(c.options, {.bounds = {1, 2}});
      if (!r) made = std::unexpected(r.error());
    }
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, Errc::invalid);
    EXPECT_FALSE(made.error().what.empty());
  }
  EXPECT_TRUE(registry.counter(with_unit("x_bytes_total", "bytes")));
}

TEST_F(RegistryTest, RefusesNamesThatClash) {
  ASSERT_TRUE(registry.gauge(named("x")));
  ASSERT_TRUE(registry.counter(named("y_total")));
  ASSERT_TRUE(registry.histogram(named("z"), {.bounds = {1}}));
  EXPECT_EQ(registry.gauge(named("x")).error().code, Errc::exists);
  EXPECT_EQ(registry.counter(named("x_total")).error().code, Errc::exists);  // family x
  EXPECT_EQ(registry.gauge(named("y")).error().code, Errc::exists);
  EXPECT_EQ(registry.counter(named("y_total")).error().code, Errc::exists);
  EXPECT_EQ(registry.gauge(named("z")).error().code, Errc::exists);
  EXPECT_EQ(registry.counter(named("z_total")).error().code, Errc::exists);
  EXPECT_TRUE(registry.gauge(named("x_y")));
}

TEST_F(RegistryTest, RefusesBoundsThatMakeNoBuckets) {
  double const inf = std::numeric_limits<double>::infinity();
  for (std::vector<double> const& bounds : {std::vector<double>{2, 1},
                                            {1, 1},
                                            {1, inf},
                                            {std::nan("")},
                                            std::vector<double>(65, 1.0)}) {
    EXPECT_EQ(registry.histogram(named("h"), {.bounds = bounds}).error().code, Errc::invalid);
  }
  EXPECT_FALSE(registry.histogram(named("h"), {.bounds = {}, .native = false}));
  EXPECT_FALSE(registry.histogram(named("h"), {.bounds = {1}, .native = true, .schema = 9}));
  EXPECT_FALSE(registry.histogram(named("h"), {.bounds = {1}, .native = true, .schema = -5}));
}

TEST_F(RegistryTest, PutsObservationsOnABoundIntoItsBucket) {
  for (size_t bounds = 1; bounds <= 13; ++bounds) {
    std::vector<double> edges;
    for (size_t i = 1; i <= bounds; ++i) edges.push_back(static_cast<double>(i));
    auto* const family =
        *registry.histogram(named("h" + std::to_string(bounds)), {.bounds = edges});
    Histogram histogram = family->on(registry.shard("one"));
    for (size_t i = 0; i <= bounds; ++i) {
      histogram.observe(static_cast<double>(i) + 0.5);
      histogram.observe(static_cast<double>(i) + 1);
    }
    histogram.observe(-std::numeric_limits<double>::infinity());
    histogram.observe(std::numeric_limits<double>::infinity());
    HistogramValue const value = family->total();
    ASSERT_EQ(value.buckets.size(), bounds + 1);
    EXPECT_EQ(value.buckets[0], 3U);
    for (size_t i = 1; i < bounds; ++i) EXPECT_EQ(value.buckets[i], 2U) << bounds << " " << i;
    EXPECT_EQ(value.buckets[bounds], 3U);
    EXPECT_EQ(value.count, 2 * bounds + 4);
  }
}

TEST_F(RegistryTest, CountsAndSumsManyAtOnce) {
  auto* const family = *registry.histogram(named("h"), {.bounds = {1, 2}});
  Histogram histogram = family->on(registry.shard("one"));
  histogram.observe_n(1.5, 1000);
  histogram.observe(3);
  EXPECT_EQ(family->total().buckets, (std::vector<uint64_t>{0, 1000, 1}));
  EXPECT_DOUBLE_EQ(family->total().sum, 1503);
}

TEST_F(RegistryTest, CountsWhatTheNativeWindowCanNotHold) {
  auto* const family = *registry.histogram(named("h"), {.bounds = {1}});
  Histogram histogram = family->on(registry.shard("one"));
  histogram.observe(std::nan(""));
  histogram.observe(1e30);
  histogram.observe(-5);
  histogram.observe(0);
  histogram.observe(kNativeZeroThreshold);
  HistogramValue const value = family->total();
  EXPECT_EQ(value.count, 4U);
  EXPECT_EQ(value.zero, 3U);
  EXPECT_EQ(value.native.back(), 1U);
  EXPECT_FALSE(std::isnan(value.sum));
  EXPECT_EQ(count("wscope_observations_clamped_total", "family=\"h\""), 3U);
}

// The index of every schema against its definition: bucket i covers (base^(i-1), base^i].
TEST(HistogramLayout, FindsTheExponentialBucketInEverySchema) {
  uint64_t const seed = 20260101;
  base::Rng rng(seed);
  for (int schema = -4; schema <= 8; ++schema) {
    HistogramLayout const layout({}, true, schema);
    double const per_octave = std::exp2(schema);
    for (int i = 0; i < 20'000; ++i) {
      double const v = std::exp2(-29.99 + 63.9 * rng.unit());
      size_t const cell = layout.native_cell_of(v);
      ASSERT_LT(cell, layout.native_cells()) << v;
      double const index = layout.native_first() + static_cast<double>(cell);
      double const exact = std::log2(v) * per_octave;
      ASSERT_LE(exact, index + 1e-9) << "seed " << seed << " schema " << schema << " value " << v;
      ASSERT_GT(exact, index - 1 - 1e-9) << "seed " << seed << " schema " << schema << " " << v;
    }
    for (int e = kNativeMinExponent + 1; e <= kNativeMaxExponent; ++e) {
      double const power = std::ldexp(1, e);
      int const expected = schema >= 0 ? e << schema : static_cast<int>(std::ceil(e * per_octave));
      EXPECT_EQ(layout.native_first() + static_cast<int>(layout.native_cell_of(power)), expected);
    }
    EXPECT_EQ(layout.native_cell_of(std::nextafter(kNativeZeroThreshold, 1)), 0U);
    EXPECT_EQ(layout.native_cell_of(kNativeMax), layout.native_cells() - 1);
  }
}

TEST_F(RegistryTest, EstimatesQuantilesOfADelta) {
  auto* const native = *registry.histogram(named("n"), {.bounds = {}, .native = true});
  auto* const classic = *registry.histogram(named("c"), {.bounds = {1, 2, 4}, .native = false});
  Shard& shard = registry.shard("one");
  Histogram n = native->on(shard);
  Histogram c = classic->on(shard);
  n.observe_n(1000, 1000);
  HistogramValue const before = native->total();
  for (int i = 1; i <= 1000; ++i) {
    n.observe(i / 1000.0);
    c.observe(i / 250.0);
  }
  HistogramValue const delta = native->total().since(before);
  EXPECT_EQ(delta.count, 1000U);
  EXPECT_NEAR(delta.quantile(0.95, *native->info().layout), 0.95, 0.05);
  EXPECT_NEAR(delta.quantile(0.5, *native->info().layout), 0.5, 0.03);
  EXPECT_NEAR(classic->total().quantile(0.5, *classic->info().layout), 2, 0.01);
  EXPECT_TRUE(std::isnan(HistogramValue{}.quantile(0.5, *classic->info().layout)));
}

TEST_F(RegistryTest, KeepsTheNewestExemplarOfEachBucket) {
  auto* const family = *registry.histogram(named("h"), {.bounds = {1, 2}});
  base::Rng rng(1);
  Histogram one = family->on(registry.shard("one"));
  Histogram two = family->on(registry.shard("two"));
  auto const first = rng.trace_id();
  auto const newer = rng.trace_id();
  one.observe_with_exemplar(1.5, first, rng.span_id(), 1000);
  two.observe_with_exemplar(1.7, newer, rng.span_id(), 2000);
  one.observe_with_exemplar(9, first, rng.span_id(), 3000);
  one.observe_with_exemplar(std::nan(""), first, rng.span_id(), 4000);
  FamilySnapshot const snapshot = find("h");
  ASSERT_EQ(snapshot.exemplars.size(), 2U);
  EXPECT_EQ(snapshot.exemplars[0].bucket, 1U);
  EXPECT_EQ(snapshot.exemplars[0].exemplar.trace, newer);
  EXPECT_EQ(snapshot.exemplars[1].bucket, 2U);
  EXPECT_EQ(snapshot.exemplars[1].exemplar.value, 9);
}

TEST_F(RegistryTest, DiesOnAWrongNumberOfLabelValues) {
  auto* const family = *registry.counter(named("hits_total", {"a"}));
  EXPECT_DEATH((void)family->on(registry.shard("one"), {"x", "y"}), "check failed");
}

// Writers on two threads, a reader in between: nothing is lost and nothing runs backwards.
TEST_F(RegistryTest, CollectsWhileTwoThreadsWrite) {
  auto* const counters = *registry.counter(named("c_total", {"who"}));
  auto* const histograms = *registry.histogram(named("h"), {.bounds = {1, 2, 3}});
  constexpr uint64_t kEach = 50'000;
  auto const write = [&](std::string const& who) {
    Shard& shard = registry.shard(who);
    Counter mine = counters->on(shard, {who});
    Counter common = counters->on(shard, {"all"});
    Histogram histogram = histograms->on(shard);
    base::Rng rng(7);
    for (uint64_t i = 0; i < kEach; ++i) {
      mine.add();
      common.add();
      histogram.observe_with_exemplar(static_cast<double>(i % 4), rng.trace_id(), rng.span_id(),
                                      static_cast<int64_t>(i));
    }
  };
  {
    runtime::Thread one("one", [&] { write("one"); });
    runtime::Thread two("two", [&] { write("two"); });
    uint64_t before = 0;
    for (int i = 0; i < 50; ++i) {
      uint64_t const now = counters->total();
      EXPECT_GE(now, before);
      before = now;
      for (FamilySnapshot const& family : registry.collect()) {
        for (BucketExemplar const& found : family.exemplars) {
          EXPECT_TRUE(found.exemplar.trace.valid());
        }
      }
    }
  }
  EXPECT_EQ(count("c_total", "who=\"one\""), kEach);
  EXPECT_EQ(count("c_total", "who=\"all\""), 2 * kEach);
  EXPECT_EQ(histograms->total().count, 2 * kEach);
}

}  // namespace
}  // namespace wscope::telemetry
