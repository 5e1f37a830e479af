#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "runtime/cells.h"

namespace wscope::runtime {

// Tasks from anyone to one thread. The owner is woken once a batch through an eventfd.
// Full: post() answers false, the task is dropped and counted.
//
// Thread: post() any; fd(), run() and clear() the owner.
class Mailbox {
 public:
  using Task = std::move_only_function<void()>;
  static constexpr size_t kTasksMax = 65'536;

  Mailbox();
  ~Mailbox();
  Mailbox(Mailbox const&) = delete;
  Mailbox& operator=(Mailbox const&) = delete;

  bool post(Task task);
  // Readable when tasks wait.
  int fd() const { return fd_; }
  // Runs what has been posted so far; returns how many.
  size_t run();
  // Destroys what waits, unrun.
  void clear();
  // Wakes the owner without a task.
  void wake();
  uint64_t dropped() const { return dropped_.read(); }

 private:
  int fd_;
  std::mutex mutex_;
  std::vector<Task> waiting_;
  std::vector<Task> running_;  // owner only; kept for its capacity
  SharedCell dropped_;
};

}  // namespace wscope::runtime
