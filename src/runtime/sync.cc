#include "runtime/sync.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace wscope::runtime {

Thread::Thread(std::string const& name, std::function<void()> body)
    : thread_([name, body = std::move(body)]() noexcept {
        ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
        body();
      }) {}

void Thread::join() {
  if (thread_.joinable()) thread_.join();
}

// Linux applies the nice value to the calling thread only, so `who` = 0 is right here.
void Thread::lower_priority(int nice) { (void)::setpriority(PRIO_PROCESS, 0, nice); }

// Notified under the lock, so that the woken thread may destroy the signal at once.
void Signal::raise() {
  std::lock_guard const lock(mutex_);
  raised_ = true;
  condition_.notify_one();
}

bool Signal::wait(int64_t timeout_ns) {
  // The time until which to wait must not overflow: 36 years stand for ever.
  std::chrono::nanoseconds const timeout(std::min(timeout_ns, int64_t{1} << 60));
  std::unique_lock lock(mutex_);
  bool const got = condition_.wait_for(lock, timeout, [&] { return raised_; });
  raised_ = false;
  return got;
}

}  // namespace wscope::runtime
