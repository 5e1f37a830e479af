#include "runtime/timers.h"

#include <algorithm>
#include <bit>

namespace wscope::runtime {
namespace {

constexpr int64_t kMaskLow = 255;

}  // namespace

void Timer::cancel() {
  if (next_ == nullptr) return;
  next_->prev_ = prev_;
  prev_->next_ = next_;
  next_ = prev_ = nullptr;
}

Timers::Timers(int64_t now_ns) : tick_(now_ns / kTickNs) {
  for (Wheel* wheel : {&near_, &far_}) {
    for (Head& head : wheel->slots) head.next_ = head.prev_ = &head;
  }
}

// Whatever is still armed is unlinked, so that its owner's destructor finds it idle.
Timers::~Timers() {
  for (Wheel* wheel : {&near_, &far_}) {
    for (Head& head : wheel->slots) {
      while (head.next_ != &head) head.next_->cancel();
      head.next_ = head.prev_ = nullptr;
    }
  }
}

void Timers::link(Wheel& wheel, int64_t slot, Timer& timer) {
  Head& head = wheel.slots[static_cast<size_t>(slot)];
  timer.prev_ = head.prev_;
  timer.next_ = &head;
  head.prev_->next_ = &timer;
  head.prev_ = &timer;
  wheel.used[static_cast<size_t>(slot) / 64] |= uint64_t{1} << (slot % 64);
}

void Timers::file(Timer& timer) {
  int64_t const distance = timer.due_tick_ - tick_;
  if (distance < kSlots) {
    link(near_, timer.due_tick_ & kMaskLow, timer);
    return;
  }
  int64_t const far_now = tick_ / kSlots;
  int64_t const far_due = std::min(timer.due_tick_ / kSlots, far_now + kSlots - 1);
  link(far_, far_due & kMaskLow, timer);
}

void Timers::arm(Timer& timer, int64_t now_ns, int64_t delay_ns) {
  timer.cancel();
  int64_t const due = (now_ns + std::max<int64_t>(delay_ns, 0) + kTickNs - 1) / kTickNs;
  timer.due_tick_ = std::max(due, tick_ + 1);
  file(timer);
}

void Timers::run_slot(int64_t slot) {
  auto const index = static_cast<size_t>(slot);
  Head& head = near_.slots[index];
  near_.used[index / 64] &= ~(uint64_t{1} << (slot % 64));
  // A called timer may re-arm itself into this very slot (256 ticks ahead), so the slot is emptied
  // into a list of its own first.
  Head due;
  due.next_ = due.prev_ = &due;
  if (head.next_ != &head) {
    due.next_ = head.next_;
    due.prev_ = head.prev_;
    due.next_->prev_ = &due;
    due.prev_->next_ = &due;
    head.next_ = head.prev_ = &head;
  }
  while (due.next_ != &due) {
    Timer& timer = *due.next_;
    timer.cancel();
    timer.on_timer();
  }
  due.next_ = due.prev_ = nullptr;
}

void Timers::cascade(int64_t slot) {
  auto const index = static_cast<size_t>(slot);
  Head& head = far_.slots[index];
  far_.used[index / 64] &= ~(uint64_t{1} << (slot % 64));
  Head moving;
  moving.next_ = moving.prev_ = &moving;
  while (head.next_ != &head) {
    Timer& timer = *head.next_;
    timer.cancel();
    timer.prev_ = moving.prev_;
    timer.next_ = &moving;
    moving.prev_->next_ = &timer;
    moving.prev_ = &timer;
  }
  while (moving.next_ != &moving) {
    Timer& timer = *moving.next_;
    timer.cancel();
    file(timer);
  }
  moving.next_ = moving.prev_ = nullptr;
}

void Timers::advance(int64_t now_ns) {
  int64_t const target = now_ns / kTickNs;
  while (tick_ < target) {
    // Ticks that hold nothing are skipped: after a day without timers there are 21 million.
    int64_t const next = next_used_tick();
    if (next < 0 || next > target) {
      tick_ = target;
      return;
    }
    tick_ = next;
    if ((tick_ & kMaskLow) == 0) cascade((tick_ / kSlots) & kMaskLow);
    run_slot(tick_ & kMaskLow);
  }
}

int64_t Timers::first_used_after(Wheel const& wheel, int64_t slot) {
  for (int64_t step = 1; step <= kSlots;) {
    int64_t const at = (slot + step) & kMaskLow;
    uint64_t const word = wheel.used[static_cast<size_t>(at) / 64] >> (at % 64);
    if (word != 0) return step + std::countr_zero(word);
    step += 64 - at % 64;
  }
  return -1;
}

int64_t Timers::next_used_tick() const {
  int64_t due = -1;
  int64_t const near_steps = first_used_after(near_, tick_ & kMaskLow);
  if (near_steps > 0) due = tick_ + near_steps;
  int64_t const far_steps = first_used_after(far_, (tick_ / kSlots) & kMaskLow);
  if (far_steps > 0) {
    int64_t const cascade_at = (tick_ / kSlots + far_steps) * kSlots;
    due = due < 0 ? cascade_at : std::min(due, cascade_at);
  }
  return due;
}

int64_t Timers::next_due_ns(int64_t now_ns) const {
  int64_t const due = next_used_tick();
  return due < 0 ? -1 : std::max<int64_t>(0, due * kTickNs - now_ns);
}

}  // namespace wscope::runtime
