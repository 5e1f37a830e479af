// What handing over costs the loop's thread: pushes and publications, with the drain in the same
// thread (its cost is then in the figure) at the batch that a busy turn makes.
#include <benchmark/benchmark.h>

#include <array>
#include <cstring>

#include "runtime/cells.h"
#include "runtime/ring.h"
#include "runtime/timers.h"

namespace wscope::runtime {
namespace {

struct Record {
  std::array<uint64_t, 8> words;  // 64 bytes, as a span record
};

void ring_push_drain(benchmark::State& state) {
  Ring<Record> ring(4096);
  Record record{};
  uint64_t sum = 0;
  uint64_t n = 0;
  for (auto _ : state) {
    record.words[0] = ++n;
    if (!ring.push(record)) state.SkipWithError("the ring is full");
    if (n % 64 == 0) {
      ring.publish();
      ring.drain([&](std::span<Record const> records) {
        for (Record const& r : records) sum += r.words[0];
      });
    }
  }
  benchmark::DoNotOptimize(sum);
}
BENCHMARK(ring_push_drain);

void byte_ring_line(benchmark::State& state) {
  auto const ring = ByteRing::make(1 << 20);
  char const line[256] = {};
  uint64_t n = 0;
  size_t bytes = 0;
  for (auto _ : state) {
    char* const room = (*ring)->reserve(sizeof line);
    if (room == nullptr) {
      state.SkipWithError("the ring is full");
      break;
    }
    std::memcpy(room, line, sizeof line);
    (*ring)->commit(sizeof line);
    if (++n % 64 == 0) {
      (*ring)->publish();
      (*ring)->drain([&](std::string_view lines) { bytes += lines.size(); });
    }
  }
  benchmark::DoNotOptimize(bytes);
}
BENCHMARK(byte_ring_line);

void cell_add(benchmark::State& state) {
  Cell cell;
  for (auto _ : state) {
    cell.add(1);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(cell_add);

struct Idle final : Timer {
  void on_timer() noexcept override {}
};

// As a connection's idle timer is moved on by every read.
void timer_rearm(benchmark::State& state) {
  Timers timers(0);
  Idle timer;
  int64_t now = 0;
  for (auto _ : state) {
    now += 1'000;
    timers.arm(timer, now, 30'000'000'000);
    timers.advance(now);
  }
}
BENCHMARK(timer_rearm);

}  // namespace
}  // namespace wscope::runtime
