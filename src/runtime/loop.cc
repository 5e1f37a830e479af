#include "runtime/loop.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace wscope::runtime {

Loop::Loop(base::Clock const& clock)
    : clock_(clock),
      epoll_fd_(::epoll_create1(EPOLL_CLOEXEC)),
      now_ns_(clock.steady_ns()),
      unix_ns_(clock.unix_ns()),
      timers_(now_ns_) {
  WSCOPE_CHECK(epoll_fd_ >= 0);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // the mailbox is the one without a target
  WSCOPE_CHECK(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, mailbox_.fd(), &event) == 0);
}

Loop::~Loop() {
  // Tasks that never ran may own what retires from its destructor, and so may what was retired.
  mailbox_.clear();
  while (!retired_.empty()) std::exchange(retired_, {}).clear();
  ::close(epoll_fd_);
}

void Loop::read_clock() {
  now_ns_ = clock_.steady_ns();
  unix_ns_ = clock_.unix_ns();
}

int Loop::wait_ms() const {
  int64_t const due = timers_.next_due_ns(now_ns_);
  if (due < 0) return -1;
  return static_cast<int>(std::min<int64_t>((due + base::kMilli - 1) / base::kMilli, 60'000));
}

void Loop::dispatch() {
  while (batch_next_ < batch_count_) {
    epoll_event const event = batch_[static_cast<size_t>(batch_next_++)];
    if (event.data.ptr != nullptr) {
      static_cast<Pollable*>(event.data.ptr)->on_ready(event.events);
    } else if (event.events != 0) {
      mailbox_.run();
    }
  }
  batch_count_ = batch_next_ = 0;
}

void Loop::run() {
  owner_.check();
  read_clock();
  while (!stopping_.up()) {
    int const count =
        ::epoll_wait(epoll_fd_, batch_.data(), static_cast<int>(batch_.size()), wait_ms());
    WSCOPE_CHECK(count >= 0 || errno == EINTR);
    read_clock();
    int64_t const started = now_ns_;
    // Known before the timers run, for they may remove what has an event waiting.
    batch_count_ = std::max(count, 0);
    timers_.advance(now_ns_);
    dispatch();
    for (auto& hook : hooks_) hook();
    while (!retired_.empty()) std::exchange(retired_, {}).clear();
    turns_.add(1);
    if (turns_.read() % 64 == 0) {
      // One turn in 64 is timed for all, so that the measure itself costs next to nothing.
      busy_ns_.add(64 * static_cast<uint64_t>(clock_.steady_ns() - started));
    }
  }
  mailbox_.run();
  while (!retired_.empty()) std::exchange(retired_, {}).clear();
}

void Loop::stop() {
  stopping_.raise();
  mailbox_.wake();
}

base::Status Loop::add(int fd, uint32_t events, Pollable& target) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &target;
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) return base::fail_errno("epoll add");
  return {};
}

base::Status Loop::modify(int fd, uint32_t events, Pollable& target) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &target;
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event) != 0) {
    return base::fail_errno("epoll modify");
  }
  return {};
}

void Loop::remove(int fd, Pollable& target) {
  epoll_event event{};
  (void)::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &event);
  forget(target);
}

base::Status Loop::hand_over(int fd, uint32_t events, Pollable& from, Pollable& to) {
  forget(from);
  return modify(fd, events, to);
}

void Loop::forget(Pollable& target) {
  for (int i = batch_next_; i < batch_count_; ++i) {
    epoll_event& waiting = batch_[static_cast<size_t>(i)];
    if (waiting.data.ptr == &target) {
      waiting.data.ptr = nullptr;
      waiting.events = 0;
    }
  }
}

}  // namespace wscope::runtime
