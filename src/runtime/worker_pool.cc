#include "runtime/worker_pool.h"

namespace wscope::runtime {

WorkerPool::WorkerPool(base::Clock const& clock, size_t threads, size_t queue_max)
    : clock_(clock), queue_max_(queue_max) {
  for (size_t i = 0; i < threads; ++i) {
    threads_.emplace_back("worker-" + std::to_string(i), [this] { work(); });
  }
}

WorkerPool::~WorkerPool() {
  // Destroyed outside the lock: what a job owns may come back to submit() from its destructor.
  std::deque<Waiting> dropped;
  {
    std::lock_guard const lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
  }
  wake_.notify_all();
}

bool WorkerPool::submit(Job job, int64_t deadline_in_ns) {
  {
    std::lock_guard const lock(mutex_);
    if (stopping_ || queue_.size() >= queue_max_) {
      refused_.add(1);
      return false;
    }
    queue_.push_back({std::move(job), clock_.steady_ns() + deadline_in_ns});
  }
  wake_.notify_one();
  return true;
}

void WorkerPool::work() {
  Thread::lower_priority();
  for (;;) {
    Waiting next;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      next = std::move(queue_.front());
      queue_.pop_front();
    }
    next.job(clock_.steady_ns() > next.deadline_ns);
  }
}

}  // namespace wscope::runtime
