#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "runtime/cells.h"
#include "runtime/sync.h"

namespace wscope::runtime {

// A few threads of lower priority for what must not run on a loop: exports, queries, compaction.
// Full: submit() answers false; the caller says 503 or drops and counts.
//
// Thread: submit() any. The destructor waits for running jobs and drops waiting ones.
class WorkerPool {
 public:
  // A job is told whether its deadline had passed while it waited; then it should only clean up.
  using Job = std::move_only_function<void(bool late)>;

  WorkerPool(base::Clock const& clock, size_t threads, size_t queue_max);
  ~WorkerPool();
  bool submit(Job job, int64_t deadline_in_ns);
  uint64_t refused() const { return refused_.read(); }

 private:
  struct Waiting {
    Job job;
    int64_t deadline_ns;
  };
  void work();

  base::Clock const& clock_;
  size_t const queue_max_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> queue_;
  bool stopping_ = false;
  SharedCell refused_;
  std::vector<Thread> threads_;
};

}  // namespace wscope::runtime
