// Driver for fuzz targets where libFuzzer is not at hand (GCC): replays a corpus, then seeded
// mutations of it, and keeps the input that crashed.
//
// Usage: TARGET [CORPUS_FOLDER] [--runs N] [--seed S] [--seconds T]
//   --runs     mutated inputs after the corpus, default 20000 (FUZZ_RUNS)
//   --seed     of the mutations, default 1 (FUZZ_SEED)
//   --seconds  stop mutating after this time, default 30 (FUZZ_REPLAY_SECONDS)
// A missing folder is an empty corpus. On a crash the input is left in ./crash-TARGET and its path
// printed; pass the folder that holds it as CORPUS_FOLDER to see the crash again.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size);
// Runs before a sanitizer ends the process; absent without one.
extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kInputBytesMax = 4096;

struct Options {
  std::string corpus;
  uint64_t runs = 20'000;
  uint64_t seed = 1;
  uint64_t seconds = 30;
};

// What the crash report reads: plain data, for it may run in a signal handler.
Bytes const* running_input = nullptr;
char crash_path[256];

void say(char const* text) {
  ssize_t const written = write(STDERR_FILENO, text, std::strlen(text));
  (void)written;  // Nothing is left to do about it in a dying process.
}

void keep_crash() {
  if (running_input == nullptr) return;
  int const fd = open(crash_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd >= 0) {
    ssize_t const written = write(fd, running_input->data(), running_input->size());
    close(fd);
    say(written >= 0 ? "crash: input kept in " : "crash: could not write ");
    say(crash_path);
    say("\n");
  }
  running_input = nullptr;
}

void on_signal(int number) {
  say("crash: signal\n");
  keep_crash();
  signal(number, SIG_DFL);
  raise(number);
}

void watch_for_crashes(char const* program) {
  std::string const name = std::filesystem::path(program).filename().string();
  std::snprintf(crash_path, sizeof crash_path, "crash-%s", name.c_str());
  signal(SIGABRT, on_signal);
  if (__sanitizer_set_death_callback != nullptr) {
    // The sanitizer's own handlers tell more about a bad access than ours would.
    __sanitizer_set_death_callback(keep_crash);
    return;
  }
  for (int const number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) signal(number, on_signal);
}

void run_one(Bytes const& input) {
  // A copy of the exact size, so that reading past the end is past the end of an allocation.
  Bytes const exact(input.begin(), input.end());
  running_input = &exact;
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  running_input = nullptr;
}

std::vector<Bytes> read_corpus(std::string const& folder) {
  std::vector<std::string> paths;
  std::error_code absent;
  for (auto const& entry : std::filesystem::recursive_directory_iterator(folder, absent)) {
    if (entry.is_regular_file()) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());  // the same order everywhere, so a seed means one run
  std::vector<Bytes> corpus;
  for (std::string const& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return corpus;
}

// Values at which lengths, signs and text change their meaning.
constexpr uint8_t kEdges[] = {0x00, 0x01, 0x09, 0x0a, 0x0d, 0x20, 0x22, 0x2c, 0x3a, 0x3b,
                              0x5c, 0x7d, 0x7e, 0x7f, 0x80, 0x88, 0xbf, 0xc0, 0xfe, 0xff};

void mutate_once(Bytes& input, std::vector<Bytes> const& corpus, std::mt19937_64& random) {
  auto const below = [&](size_t bound) { return static_cast<size_t>(random() % bound); };
  if (input.empty()) input.push_back(static_cast<uint8_t>(random()));
  size_t const at = below(input.size());
  auto const place = input.begin() + static_cast<std::ptrdiff_t>(at);
  size_t const length = 1 + below(std::min<size_t>(input.size() - at, 16));
  auto const end = place + static_cast<std::ptrdiff_t>(length);
  switch (below(8)) {
    case 0:
      *place = static_cast<uint8_t>(*place ^ (1U << below(8)));
      break;
    case 1:
      *place = static_cast<uint8_t>(random());
      break;
    case 2:
      *place = kEdges[below(std::size(kEdges))];
      break;
    case 3:
      input.erase(place, end);
      break;
    case 4: {
      Bytes const piece(place, end);
      input.insert(input.begin() + static_cast<std::ptrdiff_t>(below(input.size() + 1)),
                   piece.begin(), piece.end());
      break;
    }
    case 5:
      input.insert(place, 1 + below(32), static_cast<uint8_t>(random()));
      break;
    case 6:
      input.resize(at + 1);
      break;
    default: {
      Bytes const& other = corpus[below(corpus.size())];
      if (other.empty()) break;
      size_t const from = below(other.size());
      size_t const count = std::min(1 + below(64), other.size() - from);
      auto const begin = other.begin() + static_cast<std::ptrdiff_t>(from);
      input.insert(place, begin, begin + static_cast<std::ptrdiff_t>(count));
    }
  }
  if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
}

uint64_t number_from(char const* text, char const* name) {
  char* end = nullptr;
  uint64_t const value = std::strtoull(text, &end, 10);
  if (*text == '\0' || *end != '\0') {
    std::fprintf(stderr, "%s: '%s' is not a number\n", name, text);
    std::exit(2);
  }
  return value;
}

Options read_options(int argc, char** argv) {
  Options options;
  struct Number {
    char const* flag;
    char const* variable;
    uint64_t* value;
  };
  Number const numbers[] = {{"--runs", "FUZZ_RUNS", &options.runs},
                            {"--seed", "FUZZ_SEED", &options.seed},
                            {"--seconds", "FUZZ_REPLAY_SECONDS", &options.seconds}};
  for (Number const& number : numbers) {
    char const* text = std::getenv(number.variable);
    if (text != nullptr) *number.value = number_from(text, number.variable);
  }
  for (int i = 1; i < argc; ++i) {
    Number const* found =
        std::find_if(std::begin(numbers), std::end(numbers),
                     [&](Number const& number) { return std::strcmp(argv[i], number.flag) == 0; });
    if (found == std::end(numbers)) {
      options.corpus = argv[i];
    } else if (++i < argc) {
      *found->value = number_from(argv[i], found->flag);
    }
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  Options const options = read_options(argc, argv);
  watch_for_crashes(argv[0]);
  std::vector<Bytes> corpus = read_corpus(options.corpus);
  std::printf("%s: %zu inputs of the corpus, then mutations with --seed %llu\n", argv[0],
              corpus.size(), static_cast<unsigned long long>(options.seed));
  std::fflush(stdout);
  run_one({});
  for (Bytes const& input : corpus) run_one(input);
  if (corpus.empty()) corpus.push_back({});

  auto const end = std::chrono::steady_clock::now() + std::chrono::seconds(options.seconds);
  std::mt19937_64 random(options.seed);
  uint64_t done = 0;
  for (; done < options.runs && std::chrono::steady_clock::now() < end; ++done) {
    Bytes input = corpus[random() % corpus.size()];
    for (size_t left = 1 + random() % 4; left > 0; --left) mutate_once(input, corpus, random);
    run_one(input);
  }
  std::printf("%s: %llu mutations, no crash\n", argv[0], static_cast<unsigned long long>(done));
  return 0;
}
