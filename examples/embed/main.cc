// Metrics of wscope in a program of one's own: two threads count their jobs, and the program prints
// what a scrape would get.
//
//   cmake -G Ninja -S . -B build -DCMAKE_PREFIX_PATH=PREFIX && ninja -C build && build/embed
#include <cstdio>
#include <string>
#include <thread>

#include "base/clock.h"
#include "telemetry/exposition.h"
#include "telemetry/registry.h"

using namespace wscope;

namespace {

struct Jobs {
  telemetry::CounterFamily* done;
  telemetry::HistogramFamily* seconds;
};

// Handles are resolved once for each thread; what is done per job is a plain add.
void work(Jobs const& jobs, telemetry::Shard& shard, int count, double seconds) {
  telemetry::Counter done = jobs.done->on(shard, {"import"});
  telemetry::Histogram duration = jobs.seconds->on(shard);
  for (int i = 0; i < count; ++i) {
    done.add();
    duration.observe(seconds);
  }
}

}  // namespace

int main() {
  base::RealClock const clock;
  telemetry::Registry registry(clock);
  auto const done = registry.counter(
      {.name = "jobs_done_total", .help = "Jobs finished.", .unit = "", .labels = {"kind"}});
  auto const seconds = registry.histogram(
      {.name = "job_seconds", .help = "Time a job took.", .unit = "seconds", .labels = {}},
      {.bounds = {0.1, 1, 10}});
  if (!done || !seconds) {
    std::fprintf(stderr, "%s\n", (done ? seconds.error() : done.error()).what.c_str());
    return 1;
  }

  Jobs const jobs{*done, *seconds};
  telemetry::Shard& main_shard = registry.shard("main");
  telemetry::Shard& helper_shard = registry.shard("helper");
  std::thread helper([&] { work(jobs, helper_shard, 1, 2.5); });
  work(jobs, main_shard, 2, 0.05);
  helper.join();

  std::string text;
  telemetry::expose(registry, telemetry::Format::text004, text);
  std::fputs(text.c_str(), stdout);
  return 0;
}
