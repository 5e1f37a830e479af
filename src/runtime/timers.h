#pragma once

#include <array>
#include <cstdint>

namespace wscope::runtime {

class Timers;

// Something that wants to be called at a time. Lies inside its owner (no allocation); destroying it
// cancels it.
//
// Thread: that of its Timers.
class Timer {
 public:
  Timer() = default;
  Timer(Timer const&) = delete;
  Timer& operator=(Timer const&) = delete;
  bool armed() const { return next_ != nullptr; }
  void cancel();

 protected:
  ~Timer() { cancel(); }
  // Called once, at or up to 4 ms after the time asked for. May re-arm, cancel or destroy timers,
  // this one included.
  virtual void on_timer() noexcept = 0;

 private:
  friend class Timers;
  Timer* next_ = nullptr;
  Timer* prev_ = nullptr;
  int64_t due_tick_ = 0;
};

// Two wheels of 256 slots: 4 ms each, and 1.024 s each (4.4 minutes in all); later ones wait in the
// last slot and are filed again. Arming and cancelling are O(1).
//
// Thread: one.
class Timers {
 public:
  static constexpr int64_t kTickNs = 4'000'000;

  explicit Timers(int64_t now_ns);
  ~Timers();
  // (Re-)arms `timer` to be called `delay_ns` after `now_ns`.
  void arm(Timer& timer, int64_t now_ns, int64_t delay_ns);
  // Calls what is due.
  void advance(int64_t now_ns);
  // Nanoseconds until advance() has something to do, or -1 if nothing is armed.
  int64_t next_due_ns(int64_t now_ns) const;

 private:
  static constexpr int64_t kSlots = 256;
  // A list head; a Timer only so that links need no special case.
  struct Head final : Timer {
    void on_timer() noexcept override {}
  };
  struct Wheel {
    std::array<Head, kSlots> slots;
    std::array<uint64_t, kSlots / 64> used{};
  };
  void file(Timer& timer);
  void link(Wheel& wheel, int64_t slot, Timer& timer);
  void run_slot(int64_t slot);
  void cascade(int64_t slot);
  // The first tick after tick_ at which a slot may hold something, or -1.
  int64_t next_used_tick() const;
  static int64_t first_used_after(Wheel const& wheel, int64_t slot);

  int64_t tick_;  // all timers due up to this tick have been called
  Wheel near_;
  Wheel far_;
};

}  // namespace wscope::runtime
