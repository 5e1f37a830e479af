#include "net/http_body.h"

#include <algorithm>

namespace wscope::net {

namespace {

constexpr int kSizeDigitsMax = 15;  // 2^60: no sum of it and another length overflows

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_control(char c) {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == '\x7f';
}

}  // namespace

void BodyScanner::start(Framing framing, uint64_t length) {
  *this = {};
  switch (framing) {
    case Framing::none:
      break;
    case Framing::length:
      left_ = length;
      state_ = length == 0 ? State::done : State::raw;
      break;
    case Framing::chunked:
      state_ = State::size;
      break;
    case Framing::until_close:
      left_ = UINT64_MAX;
      state_ = State::until_close;
      break;
  }
}

size_t BodyScanner::feed(std::string_view bytes, std::string* payload) {
  if (state_ == State::done || state_ == State::bad) return 0;
  if (state_ != State::raw && state_ != State::until_close) return feed_chunked(bytes, payload);
  size_t const n = take(bytes, payload);
  if (state_ == State::raw && left_ == 0) state_ = State::done;
  return n;
}

size_t BodyScanner::take(std::string_view bytes, std::string* payload) {
  size_t const n = static_cast<size_t>(std::min<uint64_t>(left_, bytes.size()));
  if (payload != nullptr) payload->append(bytes.data(), n);
  if (state_ != State::until_close) left_ -= n;
  payload_bytes_ += n;
  return n;
}

size_t BodyScanner::feed_chunked(std::string_view bytes, std::string* payload) {
  size_t used = 0;
  while (used < bytes.size() && state_ != State::done && state_ != State::bad) {
    if (state_ == State::data) {
      used += take(bytes.substr(used), payload);
      if (left_ == 0) state_ = State::data_cr;
    } else {
      state_ = step(bytes[used++]);
    }
  }
  return used;
}

BodyScanner::State BodyScanner::step_size(char c) {
  int const digit = hex_value(c);
  if (digit >= 0) {
    if (++digits_ > kSizeDigitsMax) return State::bad;
    left_ = left_ * 16 + static_cast<uint64_t>(digit);
    return State::size;
  }
  if (digits_ == 0) return State::bad;
  if (c == '\r') return State::size_lf;
  // White space before the semicolon is allowed for old senders (RFC 9112, section 7.1.1).
  return c == ';' || c == ' ' || c == '\t' ? State::extension : State::bad;
}

BodyScanner::State BodyScanner::step(char c) {
  switch (state_) {
    case State::size:
      return step_size(c);
    case State::extension:
      if (c == '\r') return State::size_lf;
      return is_control(c) || ++overhead_ > kExtensionBytesMax ? State::bad : State::extension;
    case State::size_lf:
      overhead_ = 0;
      digits_ = 0;
      if (c != '\n') return State::bad;
      return left_ > 0 ? State::data : State::trailer_start;
    case State::data_cr:
      return c == '\r' ? State::data_lf : State::bad;
    case State::data_lf:
      return c == '\n' ? State::size : State::bad;
    case State::trailer_start:
      if (c == '\r') return State::end_lf;
      [[fallthrough]];
    case State::trailer_line:
      if (c == '\r') return State::trailer_lf;
      return is_control(c) || ++overhead_ > kTrailerBytesMax ? State::bad : State::trailer_line;
    case State::trailer_lf:
      return c == '\n' && ++overhead_ <= kTrailerBytesMax ? State::trailer_start : State::bad;
    case State::end_lf:
      return c == '\n' ? State::done : State::bad;
    default:
      return State::bad;
  }
}

}  // namespace wscope::net
