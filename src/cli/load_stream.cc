#include "cli/load_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/ids.h"

namespace wscope::cli {

namespace ws = net::ws;

namespace {

// Small messages: few enough bytes for the first-level cache, many enough slots to tell them apart.
constexpr uint64_t kCacheBytes = 16 << 10;
constexpr uint64_t kSmallSlots = 256;
constexpr uint32_t kControlMask = 0x5bd1e995;

void fill(char* out, uint64_t size, uint64_t slot, bool binary, base::Rng& rng) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (uint64_t i = 0; i < size; ++i) {
    uint64_t const r = rng.next();
    out[i] = binary ? static_cast<char>(r) : kLetters[r % kLetters.size()];
  }
  uint64_t const digits = std::min<uint64_t>(size, 8);
  for (uint64_t i = 0; i < digits; ++i) {
    out[digits - 1 - i] = "0123456789abcdef"[(slot >> (4 * i)) & 15];
  }
}

}  // namespace

MessageCycle::MessageCycle(uint64_t size, bool binary, uint32_t ahead, uint64_t seed)
    : opcode_(binary ? ws::Opcode::binary : ws::Opcode::text),
      size_(size),
      outgoing_frame_(ws::header_bytes(size) + 4 + size),
      expected_frame_(ws::header_bytes(size) + size) {
  uint64_t const wanted =
      std::max<uint64_t>(uint64_t{ahead} + 1, std::min(kSmallSlots, kCacheBytes / outgoing_frame_));
  slots_ = std::max<uint64_t>(2, std::min(wanted, kBytesMax / outgoing_frame_));
  uint64_t const tail = std::min<uint64_t>(ahead, slots_ - 1);
  base::Rng rng(seed);
  outgoing_.resize((slots_ + tail) * outgoing_frame_);
  expected_.resize(slots_ * expected_frame_);
  uint8_t const first = ws::first_byte(opcode_);
  for (uint64_t slot = 0; slot < slots_; ++slot) {
    char* const plain = expected_.data() + slot * expected_frame_;
    size_t const head = ws::write_header(plain, first, size_);
    fill(plain + head, size_, slot, binary, rng);
    char* const masked = outgoing_.data() + slot * outgoing_frame_;
    auto const mask = static_cast<uint32_t>(rng.next() | 1);
    size_t const masked_head = ws::write_masked_header(masked, first, size_, mask);
    std::memcpy(masked + masked_head, plain + head, size_);
    ws::apply_mask(masked + masked_head, size_, mask);
  }
  std::memcpy(outgoing_.data() + slots_ * outgoing_frame_, outgoing_.data(),
              tail * outgoing_frame_);
}

void append_masked_control(std::string& out, ws::Opcode opcode, std::string_view payload) {
  char header[ws::kHeaderBytesMax];
  size_t const n =
      ws::write_masked_header(header, ws::first_byte(opcode), payload.size(), kControlMask);
  out.append(header, n);
  size_t const at = out.size();
  out.append(payload);
  ws::apply_mask(out.data() + at, payload.size(), kControlMask);
}

void ReplyReader::reset() {
  parsing_ = !verify_;
  round_at_ = frame_at_ = 0;
  in_payload_ = message_open_ = false;
  header_bytes_ = control_bytes_ = 0;
  left_ = message_at_ = 0;
}

void ReplyReader::fail(Replies& out, ReplyProblem problem, char const* what) {
  out.problem = problem;
  out.what = what;
}

Replies ReplyReader::feed(std::string_view bytes, std::string& answers) {
  Replies out;
  while (!bytes.empty() && out.problem == ReplyProblem::none) {
    bytes.remove_prefix(parsing_ ? parse(bytes, out, answers) : compare(bytes, out));
  }
  return out;
}

void ReplyReader::advance(size_t n, Replies& out) {
  size_t const frame = cycle_.expected_frame();
  uint64_t const done = (frame_at_ + n) / frame;
  frame_at_ = (frame_at_ + n) - done * frame;
  round_at_ += n;
  if (round_at_ == cycle_.expected().size()) round_at_ = 0;
  out.messages += done;
  out.payload_bytes += done * cycle_.size();
}

size_t ReplyReader::compare(std::string_view bytes, Replies& out) {
  char const* const want = cycle_.expected().data() + round_at_;
  size_t const n = std::min(bytes.size(), cycle_.expected().size() - round_at_);
  if (std::memcmp(bytes.data(), want, n) == 0) {
    advance(n, out);
    return n;
  }
  auto const same = static_cast<size_t>(std::mismatch(want, want + n, bytes.data()).first - want);
  advance(same, out);
  parsing_ = true;
  // Another header may still be right (a control frame, a fragment) or break a rule: it is parsed.
  // Within the payload nothing else can be right.
  if (frame_at_ < cycle_.expected_frame() - cycle_.size()) {
    round_at_ -= frame_at_;
    header_bytes_ = static_cast<uint8_t>(std::exchange(frame_at_, 0));
    std::memcpy(header_text_.data(), cycle_.expected().data() + round_at_, header_bytes_);
  } else {
    fail(out, ReplyProblem::mismatch, "a reply differs from what was sent");
  }
  return same;
}

size_t ReplyReader::parse(std::string_view bytes, Replies& out, std::string& answers) {
  size_t used = 0;
  if (!in_payload_) {
    used = parse_header(bytes, out);
    if (out.problem != ReplyProblem::none || !in_payload_) return used;
  }
  size_t const n = static_cast<size_t>(std::min<uint64_t>(bytes.size() - used, left_));
  take_payload(bytes.substr(used, n), out);
  left_ -= n;
  if (left_ == 0 && out.problem == ReplyProblem::none) end_frame(out, answers);
  return used + n;
}

size_t ReplyReader::parse_header(std::string_view bytes, Replies& out) {
  size_t const before = header_bytes_;
  size_t const n = std::min(bytes.size(), header_text_.size() - before);
  std::memcpy(header_text_.data() + before, bytes.data(), n);
  switch (ws::parse_header(header_text_.data(), before + n, header_)) {
    case ws::HeaderState::need_more:
      header_bytes_ = static_cast<uint8_t>(before + n);
      return n;
    case ws::HeaderState::bad_length:
      fail(out, ReplyProblem::protocol, "a frame's length is not in its shortest form");
      return n;
    case ws::HeaderState::complete:
      break;
  }
  header_bytes_ = 0;
  in_payload_ = true;
  left_ = header_.length;
  check_header(out);
  return header_.bytes - before;
}

void ReplyReader::check_header(Replies& out) const {
  auto const protocol = [&](char const* what) { fail(out, ReplyProblem::protocol, what); };
  if (header_.masked) return protocol("a frame from the server is masked");
  if (header_.reserved != 0) return protocol("a reserved bit is set");
  auto const opcode = static_cast<uint8_t>(header_.opcode);
  if (ws::is_control(header_.opcode)) {
    if (opcode > 10) return protocol("reserved opcode");
    if (!header_.fin) return protocol("a control frame is fragmented");
    if (header_.length > ws::kControlPayloadMax) return protocol("a control frame is too long");
    return;
  }
  if (opcode > 2) return protocol("reserved opcode");
  if (message_open_ != (header_.opcode == ws::Opcode::continuation)) {
    return protocol(message_open_ ? "a message begins within a message"
                                  : "a continuation of no message");
  }
  if (!verify_) return;
  if (!message_open_ && header_.opcode != cycle_.opcode()) {
    fail(out, ReplyProblem::mismatch, "a reply has another type (text, binary) than was sent");
  } else if (message_at_ + header_.length > cycle_.size()) {
    fail(out, ReplyProblem::mismatch, "a reply is longer than what was sent");
  }
}

void ReplyReader::take_payload(std::string_view piece, Replies& out) {
  if (ws::is_control(header_.opcode)) {
    std::memcpy(control_.data() + control_bytes_, piece.data(), piece.size());
    control_bytes_ = static_cast<uint8_t>(control_bytes_ + piece.size());
    return;
  }
  if (verify_) {
    uint64_t const slot = round_at_ / cycle_.expected_frame();
    if (cycle_.payload(slot).substr(message_at_, piece.size()) != piece) {
      fail(out, ReplyProblem::mismatch, "a reply differs from what was sent");
    }
  }
  message_at_ += piece.size();
}

void ReplyReader::end_frame(Replies& out, std::string& answers) {
  in_payload_ = false;
  if (ws::is_control(header_.opcode)) {
    end_control(out, answers);
  } else if (!header_.fin) {
    message_open_ = true;
  } else {
    if (verify_ && message_at_ != cycle_.size()) {
      return fail(out, ReplyProblem::mismatch, "a reply is shorter than what was sent");
    }
    ++out.messages;
    out.payload_bytes += message_at_;
    message_open_ = false;
    message_at_ = 0;
    round_at_ += cycle_.expected_frame();
    if (round_at_ == cycle_.expected().size()) round_at_ = 0;
  }
  parsing_ = !verify_ || message_open_;
}

void ReplyReader::end_control(Replies& out, std::string& answers) {
  std::string_view const payload(control_.data(), std::exchange(control_bytes_, uint8_t{0}));
  if (header_.opcode == ws::Opcode::ping) {
    append_masked_control(answers, ws::Opcode::pong, payload);
  } else if (header_.opcode == ws::Opcode::close) {
    if (payload.empty()) {
      out.close_code = ws::kNoStatus;
    } else {
      if (payload.size() < 2) return fail(out, ReplyProblem::protocol, "half a close code");
      out.close_code = static_cast<uint16_t>((static_cast<uint8_t>(payload[0]) << 8) |
                                             static_cast<uint8_t>(payload[1]));
      if (!ws::close_code_sendable(out.close_code)) {
        return fail(out, ReplyProblem::protocol, "a close code that may not be sent");
      }
    }
    out.problem = ReplyProblem::closed;
  }
}

}  // namespace wscope::cli
