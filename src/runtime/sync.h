#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/result.h"

namespace wscope::runtime {

// A value that can be reached only with its lock held. For control paths: never on a loop's message
// path.
//
// Thread: any.
template <class T>
class Guarded {
 public:
  template <class... Args>
  explicit Guarded(Args&&... args) : value_(std::forward<Args>(args)...) {}
  // Calls use(value) under the lock and returns what it returns (by value).
  template <class Use>
  auto with(Use&& use) {
    std::lock_guard const lock(mutex_);
    return use(value_);
  }
  template <class Use>
  auto with(Use&& use) const {
    std::lock_guard const lock(mutex_);
    return use(value_);
  }

 private:
  mutable std::mutex mutex_;
  T value_;
};

// An immutable value that one side replaces and others look at: collector → workers, main → loops.
//
// Thread: any. What get() returned stays alive as long as it is held.
template <class T>
class Published {
 public:
  explicit Published(std::shared_ptr<T const> first) : value_(std::move(first)) {}
  std::shared_ptr<T const> get() const {
    return value_.with([](auto const& v) { return v; });
  }
  void set(std::shared_ptr<T const> next) {
    value_.with([&](auto& v) { v.swap(next); });
  }

 private:
  Guarded<std::shared_ptr<T const>> value_;
};

// Remembers the thread that first calls check() and stops the program when another one calls.
class OwnerThread {
 public:
  void check() const {
    if (owner_ == std::thread::id()) owner_ = std::this_thread::get_id();
    WSCOPE_CHECK(std::this_thread::get_id() == owner_);
  }
  // The next check() decides anew: for handing an object to its thread.
  void release() { owner_ = {}; }

 private:
  mutable std::thread::id owner_;
};

// A thread with a name (15 characters are kept, as Linux does). Joins when destroyed. An exception
// that leaves `body` ends the program.
class Thread {
 public:
  Thread() = default;
  Thread(std::string const& name, std::function<void()> body);
  void join();
  bool running() const { return thread_.joinable(); }
  // Asks the scheduler to prefer other threads to the calling one (its nice value).
  static void lower_priority(int nice = 5);

 private:
  std::jthread thread_;
};

// One-shot or repeated wake-up of a waiting thread.
//
// Thread: any number may signal; one waits, and may destroy the signal once it was woken.
class Signal {
 public:
  void raise();
  // True if raised (and takes it down), false after `timeout_ns`.
  bool wait(int64_t timeout_ns);

 private:
  std::mutex mutex_;
  std::condition_variable condition_;
  bool raised_ = false;
};

}  // namespace wscope::runtime
