#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "runtime/cells.h"
#include "runtime/mailbox.h"
#include "runtime/sync.h"
#include "runtime/timers.h"

namespace wscope::runtime {

// Something with a descriptor that a Loop watches. Deleted through Loop::retire().
class Pollable {
 public:
  virtual ~Pollable() = default;
  // `events` are EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR bits. May remove and retire any Pollable,
  // this one included.
  virtual void on_ready(uint32_t events) noexcept = 0;
};

// One thread's event loop: epoll, timers, a mailbox. Blocks, never polls; reads the clock once a
// wake-up.
//
// Thread: everything on the loop's own thread, except post(), stop() and the counters. Construct
// anywhere; the thread that calls run() owns it from then on.
class Loop {
 public:
  using Task = Mailbox::Task;

  // Borrows `clock`, which outlives it. CHECK-fails if the system has no epoll or eventfd to give.
  explicit Loop(base::Clock const& clock);
  ~Loop();
  Loop(Loop const&) = delete;
  Loop& operator=(Loop const&) = delete;

  // Runs until stop(). Tasks that were posted before stop() are done first.
  void run();
  // Thread: any.
  void stop();
  // Hands a task to the loop. False if the mailbox is full (65,536 waiting tasks; counted): the
  // task is not run. Thread: any.
  bool post(Task task) { return mailbox_.post(std::move(task)); }

  // Watches `fd` for `events`; `target` is borrowed until remove(). Returns io.
  base::Status add(int fd, uint32_t events, Pollable& target);
  base::Status modify(int fd, uint32_t events, Pollable& target);
  // Stops watching, and forgets events of this wake-up that were not delivered yet. Does not close.
  void remove(int fd, Pollable& target);
  // `to` takes over what `from` watches on `fd`, for `events`: one call of the kernel, not two.
  base::Status hand_over(int fd, uint32_t events, Pollable& from, Pollable& to);
  // Forgets `target`'s events of this wake-up that were not delivered yet. Enough for a descriptor
  // that is closed right after: the kernel then stops watching it by itself.
  void forget(Pollable& target);
  // Destroys `object` at the end of this turn, when no event can refer to it.
  void retire(std::unique_ptr<Pollable> object) { retired_.push_back(std::move(object)); }

  // Steady nanoseconds read at this wake-up, and wall time at the same instant.
  int64_t now_ns() const { return now_ns_; }
  int64_t unix_ns() const { return unix_ns_; }
  // Reads the steady clock now: for what a turn itself costs, once a socket event, never a message.
  int64_t read_now_ns() const { return clock_.steady_ns(); }
  base::Clock const& clock() const { return clock_; }

  void arm(Timer& timer, int64_t delay_ns) { timers_.arm(timer, now_ns_, delay_ns); }

  // Calls `hook` at the end of every turn, before blocking again (flushes, ring publication).
  void at_turn_end(std::function<void()> hook) { hooks_.push_back(std::move(hook)); }

  uint64_t turns() const { return turns_.read(); }
  uint64_t mailbox_dropped() const { return mailbox_.dropped(); }
  // Nanoseconds spent working (not blocked) since start.
  uint64_t busy_ns() const { return busy_ns_.read(); }

 private:
  void read_clock();
  int wait_ms() const;
  void dispatch();

  base::Clock const& clock_;
  int epoll_fd_;
  int64_t now_ns_ = 0;
  int64_t unix_ns_ = 0;
  Timers timers_;
  Mailbox mailbox_;
  Flag stopping_;
  OwnerThread owner_;
  int batch_next_ = 0;
  int batch_count_ = 0;
  std::array<epoll_event, 1024> batch_;
  std::vector<std::unique_ptr<Pollable>> retired_;
  std::vector<std::function<void()>> hooks_;
  Cell turns_;
  Cell busy_ns_;
};

}  // namespace wscope::runtime
