#include "runtime/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/result.h"

namespace wscope::runtime {

Mailbox::Mailbox() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { WSCOPE_CHECK(fd_ >= 0); }

Mailbox::~Mailbox() { ::close(fd_); }

void Mailbox::wake() {
  uint64_t const one = 1;
  (void)!::write(fd_, &one, sizeof one);
}

bool Mailbox::post(Task task) {
  bool first = false;
  {
    std::lock_guard const lock(mutex_);
    if (waiting_.size() >= kTasksMax) {
      dropped_.add(1);
      return false;
    }
    first = waiting_.empty();
    waiting_.push_back(std::move(task));
  }
  if (first) wake();
  return true;
}

void Mailbox::clear() {
  std::vector<Task> dropped;
  {
    std::lock_guard const lock(mutex_);
    dropped.swap(waiting_);
  }
}

size_t Mailbox::run() {
  uint64_t count = 0;
  (void)!::read(fd_, &count, sizeof count);
  {
    std::lock_guard const lock(mutex_);
    running_.swap(waiting_);
  }
  for (Task& task : running_) task();
  size_t const done = running_.size();
  running_.clear();
  return done;
}

}  // namespace wscope::runtime
