#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>

namespace wscope::runtime {

// Eight bytes with one writer and any number of readers: the crossing from a loop to the collector.
// Holds a count or a double; which of the two is the owner's business.
//
// Thread: add_* and set_* on the owning thread only; read_* anywhere, may lag a little.
// Relaxed load and store instead of fetch_add: with one writer no update is lost, and the pair
// costs 0.3 ns where a locked add costs 6.
class Cell {
 public:
  void add(uint64_t n) {
    bits_.store(bits_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void set(uint64_t n) { bits_.store(n, std::memory_order_relaxed); }
  void add_double(double v) { set_double(read_double() + v); }
  void set_double(double v) { bits_.store(std::bit_cast<uint64_t>(v), std::memory_order_relaxed); }
  uint64_t read() const { return bits_.load(std::memory_order_relaxed); }
  double read_double() const { return std::bit_cast<double>(read()); }

 private:
  std::atomic<uint64_t> bits_{0};
};

// A counter that several threads may add to, for what happens rarely.
//
// Thread: any.
class SharedCell {
 public:
  uint64_t add(uint64_t n) { return bits_.fetch_add(n, std::memory_order_relaxed) + n; }
  void sub(uint64_t n) { bits_.fetch_sub(n, std::memory_order_relaxed); }
  void set(uint64_t n) { bits_.store(n, std::memory_order_relaxed); }
  uint64_t read() const { return bits_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> bits_{0};
};

// A flag that one thread raises and others see; ordered: what was written before raise() is seen by
// whoever sees the flag up.
class Flag {
 public:
  void raise() { up_.store(true, std::memory_order_release); }
  void lower() { up_.store(false, std::memory_order_release); }
  bool up() const { return up_.load(std::memory_order_acquire); }
  // Raises it and says whether it was up before.
  bool exchange_up() { return up_.exchange(true, std::memory_order_acq_rel); }

 private:
  std::atomic<bool> up_{false};
};

// A small record of Words × 8 bytes that one thread overwrites and others copy whole (a sequence
// lock: a torn copy is noticed and taken again).
//
// Thread: write() on the owning thread; read() anywhere.
template <class T>
class Slot {
  static_assert(sizeof(T) % 8 == 0 && std::is_trivially_copyable_v<T>);
  static constexpr size_t kWords = sizeof(T) / 8;

 public:
  void write(T const& value) {
    uint64_t words[kWords];
    std::memcpy(words, &value, sizeof value);
    uint64_t const version = version_.load(std::memory_order_relaxed);
    version_.store(version + 1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
    for (size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_relaxed);
    version_.store(version + 2, std::memory_order_release);
  }
  // False if nothing was ever written.
  bool read(T& out) const {
    uint64_t words[kWords];
    for (;;) {
      uint64_t const before = version_.load(std::memory_order_acquire);
      if (before == 0) return false;
      for (size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (before % 2 == 0 && version_.load(std::memory_order_relaxed) == before) break;
    }
    std::memcpy(&out, words, sizeof out);
    return true;
  }

 private:
  std::atomic<uint64_t> version_{0};
  std::array<std::atomic<uint64_t>, kWords> words_{};
};

// A pointer that one thread fills in once or replaces, and others follow.
//
// Thread: set() by one thread at a time; get() anywhere. Owns nothing.
template <class T>
class Pointer {
 public:
  void set(T* p) { p_.store(p, std::memory_order_release); }
  T* get() const { return p_.load(std::memory_order_acquire); }

 private:
  std::atomic<T*> p_{nullptr};
};

}  // namespace wscope::runtime
