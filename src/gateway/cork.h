#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <string_view>

#include "net/transport.h"

namespace wscope::gateway {

// Gathers what is written to one connection while a read of it is handled, so that all replies
// leave in one call. One for a loop: only the connection at work uses it, and empties it before it
// returns.
//
// Thread: loop.
class Cork {
 public:
  static constexpr size_t kBytes = 256 << 10;
  // Payloads of this size are written straight from where they lie.
  static constexpr size_t kLarge = 16 << 10;

  Cork() : bytes_(std::make_unique_for_overwrite<char[]>(kBytes)) {}
  size_t size() const { return size_; }
  size_t room() const { return kBytes - size_; }
  char* end() { return bytes_.get() + size_; }
  void added(size_t n) { size_ += n; }
  std::string_view view() const { return {bytes_.get(), size_}; }
  void clear() { size_ = 0; }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
};

// What a socket would not take yet. Holds memory only while something waits.
//
// Thread: loop.
class Backlog {
 public:
  bool empty() const { return at_ == bytes_.size(); }
  size_t size() const { return bytes_.size() - at_; }
  void append(std::string_view bytes) {
    if (at_ > (64 << 10) && at_ > bytes_.size() / 2) {
      bytes_.erase(0, at_);
      at_ = 0;
    }
    bytes_.append(bytes);
  }
  std::string_view view() const { return std::string_view(bytes_).substr(at_); }
  void consumed(size_t n) {
    at_ += n;
    if (at_ == bytes_.size()) clear();
  }
  void clear() {
    std::string().swap(bytes_);
    at_ = 0;
  }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

// What became of a write.
enum class Sent : uint8_t {
  all,     // the kernel has it
  waits,   // the rest is in the backlog; wait for the socket to be writable
  failed,  // the connection is of no more use
};

// Writes `bytes` behind what already waits; what the kernel does not take goes to `backlog`.
Sent write_or_keep(net::Transport& transport, Backlog& backlog, std::string_view bytes);
// The same for a header and a payload, without joining them first.
Sent write_or_keep(net::Transport& transport, Backlog& backlog, std::string_view header,
                   std::string_view payload);
// Writes what waits.
Sent write_backlog(net::Transport& transport, Backlog& backlog);

}  // namespace wscope::gateway
