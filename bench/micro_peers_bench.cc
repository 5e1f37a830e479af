// What the telemetry library's micro rows are compared with: the same work done by prometheus-cpp
// and spdlog. Names are what run.py looks for; each *_two_threads is two threads at one instrument.
#include <benchmark/benchmark.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

// The guide's ten upper bounds for message processing, seconds.
prometheus::Histogram::BucketBoundaries const kBounds{0.001, 0.005, 0.01, 0.025, 0.05,
                                                      0.1,   0.25,  0.5,  1.0,   2.5};

// Values that fall into all buckets alike; a fixed sequence, so every run does the same work.
class Values {
 public:
  double next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return kSpread[state_ >> 60];
  }

 private:
  static constexpr double kSpread[16] = {0.0005, 0.003, 0.007, 0.02,  0.03,  0.07, 0.2,   0.3,
                                         0.7,    1.5,   3.0,   0.002, 0.008, 0.04, 0.006, 0.0009};
  uint64_t state_ = 1;
};

prometheus::Registry& registry() {
  static prometheus::Registry instance;
  return instance;
}

prometheus::Counter& counter() {
  static prometheus::Counter& instance = prometheus::BuildCounter()
                                             .Name("messages_total")
                                             .Help("Messages.")
                                             .Register(registry())
                                             .Add({{"route", "/ws"}, {"direction", "in"}});
  return instance;
}

prometheus::Histogram& histogram() {
  static prometheus::Histogram& instance = prometheus::BuildHistogram()
                                               .Name("seconds")
                                               .Help("Seconds.")
                                               .Register(registry())
                                               .Add({{"route", "/ws"}}, kBounds);
  return instance;
}

void prometheus_cpp_counter(benchmark::State& state) {
  prometheus::Counter& instrument = counter();
  for (auto _ : state) instrument.Increment();
}
BENCHMARK(prometheus_cpp_counter);
BENCHMARK(prometheus_cpp_counter)->Name("prometheus_cpp_counter_two_threads")->Threads(2);

void prometheus_cpp_histogram(benchmark::State& state) {
  prometheus::Histogram& instrument = histogram();
  Values values;
  for (auto _ : state) instrument.Observe(values.next());
}
BENCHMARK(prometheus_cpp_histogram);
BENCHMARK(prometheus_cpp_histogram)->Name("prometheus_cpp_histogram_two_threads")->Threads(2);

// 10,000 series in ten families, written as one text exposition.
void prometheus_cpp_text_10000(benchmark::State& state) {
  prometheus::Registry local;
  for (int family = 0; family < 10; ++family) {
    auto& gauges = prometheus::BuildGauge()
                       .Name("family_" + std::to_string(family))
                       .Help("A family.")
                       .Register(local);
    for (int series = 0; series < 1000; ++series) {
      gauges.Add({{"route", "/ws/" + std::to_string(series)}, {"direction", "in"}})
          .Set(series * 1.5);
    }
  }
  prometheus::TextSerializer const serializer;
  for (auto _ : state) {
    std::string const text = serializer.Serialize(local.Collect());
    benchmark::DoNotOptimize(text.data());
  }
}
BENCHMARK(prometheus_cpp_text_10000)->Unit(benchmark::kNanosecond);

std::string log_path() {
  char const* directory = std::getenv("WSCOPE_BENCH_DIR");
  return std::string(directory ? directory : "/tmp") + "/spdlog_peer.log";
}

// spdlog has no JSON encoder: its users put the braces into the pattern, which escapes nothing.
constexpr char const* kJsonPattern =
    R"({"timestamp":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","logger":"%n",%v})";

void log_one(spdlog::logger& logger, uint64_t sequence) {
  logger.info(R"("message":"message received","correlation_id":"{}","connection_id":{},)"
              R"("size":{},"opcode":"{}")",
              "7d3f9c1e-0f5b-4a7e-9a51-6a2f0c9d8e11", sequence, 32, "text");
}

void spdlog_json_line(benchmark::State& state) {
  static auto const logger = [] {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(log_path(), true);
    auto made = std::make_shared<spdlog::logger>("websocket.message", sink);
    made->set_pattern(kJsonPattern, spdlog::pattern_time_type::utc);
    return made;
  }();
  uint64_t sequence = 0;
  for (auto _ : state) log_one(*logger, ++sequence);
}
BENCHMARK(spdlog_json_line);
BENCHMARK(spdlog_json_line)->Name("spdlog_json_line_two_threads")->Threads(2);

// The caller's side of the asynchronous logger; a full queue makes it wait, so no line is lost.
void spdlog_json_line_async(benchmark::State& state) {
  static auto const pool = std::make_shared<spdlog::details::thread_pool>(8192U, 1U);
  static auto const logger = [] {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(log_path() + ".async", true);
    auto made = std::make_shared<spdlog::async_logger>("websocket.message", sink, pool,
                                                       spdlog::async_overflow_policy::block);
    made->set_pattern(kJsonPattern, spdlog::pattern_time_type::utc);
    return made;
  }();
  uint64_t sequence = 0;
  for (auto _ : state) log_one(*logger, ++sequence);
}
BENCHMARK(spdlog_json_line_async);
BENCHMARK(spdlog_json_line_async)->Name("spdlog_json_line_async_two_threads")->Threads(2);

}  // namespace
