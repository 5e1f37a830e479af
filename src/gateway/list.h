#pragma once

#include <cstddef>

namespace wscope::gateway {

// Lies inside what is listed; leaves its list when destroyed.
class Link {
 public:
  Link() = default;
  Link(Link const&) = delete;
  Link& operator=(Link const&) = delete;
  ~Link() { unlink(); }
  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    next_->prev_ = prev_;
    prev_->next_ = next_;
    next_ = prev_ = nullptr;
  }

 private:
  template <class T>
  friend class List;
  Link* next_ = nullptr;
  Link* prev_ = nullptr;
};

// A list of T, which inherits from Link. Owns nothing, allocates nothing.
//
// Thread: one.
template <class T>
class List {
 public:
  List() { head_.next_ = head_.prev_ = &head_; }
  ~List() {
    while (!empty()) head_.next_->unlink();
    head_.next_ = head_.prev_ = nullptr;
  }
  bool empty() const { return head_.next_ == &head_; }
  void push_back(T& item) {
    Link& link = item;
    link.unlink();
    link.prev_ = head_.prev_;
    link.next_ = &head_;
    head_.prev_->next_ = &link;
    head_.prev_ = &link;
  }
  // Calls visit(T&) for each; the visited one may leave the list meanwhile, no other may.
  template <class Visit>
  void each(Visit&& visit) {
    for (Link* at = head_.next_; at != &head_;) {
      Link* const next = at->next_;
      visit(static_cast<T&>(*at));
      at = next;
    }
  }

 private:
  Link head_;
};

}  // namespace wscope::gateway
