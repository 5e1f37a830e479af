#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/result.h"

namespace wscope::runtime {

inline constexpr size_t kCacheLine = 64;

// A bounded queue from one thread to one other: loop → collector. What is pushed becomes visible at
// publish(), once a loop turn, so that the reader's cache line is touched once a batch.
// Full: push() answers false and the caller drops and counts.
//
// Thread: push(), publish(), waiting() on the writer; drain() on the reader.
template <class T>
class Ring {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // `slots` is rounded up to a power of two.
  explicit Ring(size_t slots)
      : mask_(std::bit_ceil(slots) - 1), slots_(std::make_unique_for_overwrite<T[]>(mask_ + 1)) {}

  bool push(T const& item) {
    if (head_ - seen_tail_ > mask_) {
      seen_tail_ = tail_.load(std::memory_order_acquire);
      if (head_ - seen_tail_ > mask_) return false;
    }
    slots_[head_ & mask_] = item;
    ++head_;
    return true;
  }
  void publish() { published_.store(head_, std::memory_order_release); }
  // How many are in the ring as the writer knows it (the reader may have taken some since).
  size_t waiting() const { return head_ - seen_tail_; }
  size_t slots() const { return mask_ + 1; }

  // Calls take(span) for what is published, in runs of at most `run` (and cut at the wrap), and
  // frees each run's slots as soon as it has been taken. Returns how many were taken.
  template <class Take>
  size_t drain(Take&& take, size_t run = 4096) {
    uint64_t tail = tail_.load(std::memory_order_relaxed);
    uint64_t const head = published_.load(std::memory_order_acquire);
    size_t const count = head - tail;
    while (tail != head) {
      size_t const whole = std::min<size_t>(head - tail, mask_ + 1 - (tail & mask_));
      size_t const n = std::min(whole, run);
      take(std::span<T const>(&slots_[tail & mask_], n));
      tail += n;
      tail_.store(tail, std::memory_order_release);
    }
    return count;
  }

 private:
  size_t const mask_;
  std::unique_ptr<T[]> slots_;
  alignas(kCacheLine) uint64_t head_ = 0;  // writer only
  uint64_t seen_tail_ = 0;                 // writer's copy of tail_
  alignas(kCacheLine) std::atomic<uint64_t> published_{0};
  alignas(kCacheLine) std::atomic<uint64_t> tail_{0};
};

// The same for text: lines are written in place and read as one run. The memory is mapped twice in
// a row, so that a line never wraps and neither does what the reader gets. Full: reserve() answers
// null and the caller drops and counts.
//
// Thread: reserve(), commit(), publish() on the writer; drain() on the reader.
class ByteRing {
 public:
  // `bytes` is rounded up to a power of two of at least a page.
  // Returns io if the memory can not be mapped.
  static base::Result<std::unique_ptr<ByteRing>> make(size_t bytes);
  ~ByteRing();
  ByteRing(ByteRing const&) = delete;
  ByteRing& operator=(ByteRing const&) = delete;

  // Room for `n` bytes, keeping `headroom` bytes free for what matters more; null if there is none.
  char* reserve(size_t n, size_t headroom = 0) {
    if (size_ - (head_ - seen_tail_) < n + headroom) {
      seen_tail_ = tail_.load(std::memory_order_acquire);
      if (size_ - (head_ - seen_tail_) < n + headroom) return nullptr;
    }
    return memory_ + (head_ & (size_ - 1));
  }
  // Keeps the first `n` bytes of what was reserved last.
  void commit(size_t n) { head_ += n; }
  void publish() { published_.store(head_, std::memory_order_release); }
  size_t waiting() const { return head_ - seen_tail_; }
  size_t size() const { return size_; }

  // Calls take(string_view) with what is published, whole lines of about `run` bytes at a time, and
  // frees each run as soon as it has been taken. Returns the bytes.
  template <class Take>
  size_t drain(Take&& take, size_t run = size_t{512} << 10) {
    uint64_t tail = tail_.load(std::memory_order_relaxed);
    uint64_t const head = published_.load(std::memory_order_acquire);
    size_t const count = head - tail;
    while (tail != head) {
      std::string_view bytes(memory_ + (tail & (size_ - 1)), head - tail);
      if (bytes.size() > run) {
        size_t const end = bytes.rfind('\n', run - 1);
        if (end != std::string_view::npos) bytes = bytes.substr(0, end + 1);
      }
      take(bytes);
      tail += bytes.size();
      tail_.store(tail, std::memory_order_release);
    }
    return count;
  }

 private:
  ByteRing(char* memory, size_t size) : memory_(memory), size_(size) {}
  char* const memory_;
  size_t const size_;
  alignas(kCacheLine) uint64_t head_ = 0;
  uint64_t seen_tail_ = 0;
  alignas(kCacheLine) std::atomic<uint64_t> published_{0};
  alignas(kCacheLine) std::atomic<uint64_t> tail_{0};
};

}  // namespace wscope::runtime
