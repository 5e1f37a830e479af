// The codec's share of a message: frames of a read parsed and unmasked in place, and long payloads
// unmasked beside a plain byte loop and a copy.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>

#include "net/ws/reader.h"
#include "net/ws/scanner.h"
#include "net/ws/test_frames.h"

namespace wscope::net::ws {
namespace {

constexpr int kFrames = 1000;

struct Counter {
  uint64_t messages = 0;
  uint64_t bytes = 0;
  bool on_message(Message const& m) {
    ++messages;
    bytes += m.payload.size();
    return true;
  }
  bool on_control(Opcode, std::string_view) { return true; }
  void on_frame(Opcode, Opcode, uint64_t, size_t) {}
  void on_message(Opcode, uint64_t payload, uint64_t, uint32_t, bool) {
    ++messages;
    bytes += payload;
  }
  void on_close(uint16_t) {}
};

std::string frames_of_32() {
  std::string stream;
  for (int i = 0; i < kFrames; ++i) {
    stream += test::frame(std::string(32, 'a'), {.mask = 0x9e3779b9U * static_cast<uint32_t>(i)});
  }
  return stream;
}

// Items are messages; the copy of the stream that each round needs is in the figure.
void ws_read_32(benchmark::State& state) {
  std::string const stream = frames_of_32();
  std::string work = stream;
  Inflater inflater;
  ReadLimits const limits;
  Counter counter;
  for (auto _ : state) {
    std::memcpy(work.data(), stream.data(), stream.size());
    MessageReader reader(true);
    if (reader.consume(work.data(), work.size(), limits, &inflater, counter)) {
      state.SkipWithError("refused");
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(counter.messages));
}
BENCHMARK(ws_read_32);

void ws_scan_32(benchmark::State& state) {
  std::string const stream = frames_of_32();
  ReadLimits const limits;
  Counter counter;
  for (auto _ : state) {
    FrameScanner scanner(true);
    size_t passed = 0;
    if (scanner.feed(stream.data(), stream.size(), limits, counter, passed)) {
      state.SkipWithError("refused");
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(counter.messages));
}
BENCHMARK(ws_scan_32);

void ws_unmask_16k(benchmark::State& state) {
  std::string data(16384, 'x');
  for (auto _ : state) {
    benchmark::DoNotOptimize(unmask(data.data(), data.size(), 0x12345678));
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * 16384);
}
BENCHMARK(ws_unmask_16k);

void plain_unmask_16k(benchmark::State& state) {
  std::string data(16384, 'x');
  volatile uint32_t const mask = 0x12345678;
  for (auto _ : state) {
    uint32_t const key = mask;
    for (size_t i = 0; i < data.size(); ++i) {
      data[i] = static_cast<char>(data[i] ^ static_cast<char>(key >> (8 * (i & 3))));
    }
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * 16384);
}
BENCHMARK(plain_unmask_16k);

}  // namespace
}  // namespace wscope::net::ws
