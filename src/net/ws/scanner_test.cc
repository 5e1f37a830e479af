#include "net/ws/scanner.h"

#include <gtest/gtest.h>

#include "base/ids.h"
#include "net/ws/test_frames.h"

namespace wscope::net::ws {
namespace {

using test::frame;
using test::FrameBits;
using test::header_of;

struct Watcher {
  std::vector<std::string> frames;
  std::vector<std::string> messages;
  std::vector<uint16_t> closes;
  void on_frame(Opcode opcode, Opcode message, uint64_t payload, size_t header) {
    frames.push_back(std::string(name_of(opcode)) + " of " + std::string(name_of(message)) + ' ' +
                     std::to_string(payload) + '+' + std::to_string(header));
  }
  void on_message(Opcode opcode, uint64_t payload, uint64_t wire, uint32_t count, bool compressed) {
    messages.push_back(std::string(name_of(opcode)) + ' ' + std::to_string(payload) + ' ' +
                       std::to_string(wire) + '/' + std::to_string(count) +
                       (compressed ? " deflated" : ""));
  }
  void on_close(uint16_t code) { closes.push_back(code); }
};

struct Scan {
  Watcher seen;
  Violation why;
  size_t passed = 0;        // of the last piece
  size_t before_piece = 0;  // where the last piece begins
  bool boundary = false;
};

Scan scan(std::string_view stream, std::vector<size_t> const& cuts = {}, bool masked = true,
          bool extensions = false, ReadLimits const& limits = {}) {
  Scan out;
  FrameScanner scanner(masked, extensions);
  size_t done = 0;
  for (size_t i = 0; i <= cuts.size() && !out.why; ++i) {
    size_t const end = i < cuts.size() ? cuts[i] : stream.size();
    std::string const piece(stream.substr(done, end - done));
    out.before_piece = done;
    done = end;
    out.why = scanner.feed(piece.data(), piece.size(), limits, out.seen, out.passed);
  }
  out.boundary = scanner.at_boundary();
  return out;
}

std::string sample() {
  FrameBits const first{.opcode = Opcode::binary, .fin = false};
  FrameBits const middle{.opcode = Opcode::continuation, .fin = false};
  return frame("hello") + frame(std::string(200, 'x'), first) +
         frame("p", {.opcode = Opcode::ping}) + frame("", middle) +
         frame("yy", {.opcode = Opcode::continuation}) + frame("") +
         frame(close_payload(4001, "bye"), {.opcode = Opcode::close, .mask = 0x01020304});
}

TEST(Scanner, CountsFramesMessagesAndCloses) {
  Scan const s = scan(sample());
  EXPECT_FALSE(s.why);
  EXPECT_EQ(s.passed, sample().size());
  EXPECT_TRUE(s.boundary);
  EXPECT_EQ(s.seen.frames, (std::vector<std::string>{
                               "text of text 5+6", "binary of binary 200+8", "ping of ping 1+6",
                               "continuation of binary 0+6", "continuation of binary 2+6",
                               "text of text 0+6", "close of close 5+6"}));
  EXPECT_EQ(s.seen.messages,
            (std::vector<std::string>{"text 5 11/1", "binary 202 222/3", "text 0 6/1"}));
  EXPECT_EQ(s.seen.closes, std::vector<uint16_t>{4001});
}

TEST(Scanner, EverySplitIntoThreeGivesTheSame) {
  std::string const stream = sample();
  Scan const whole = scan(stream);
  for (size_t i = 0; i <= stream.size(); ++i) {
    for (size_t k = i; k <= stream.size(); k += 1 + k % 7) {
      Scan const s = scan(stream, {i, k});
      ASSERT_FALSE(s.why) << i << ' ' << k;
      ASSERT_EQ(s.seen.frames, whole.seen.frames) << i << ' ' << k;
      ASSERT_EQ(s.seen.messages, whole.seen.messages) << i << ' ' << k;
      ASSERT_EQ(s.seen.closes, whole.seen.closes) << i << ' ' << k;
    }
  }
}

TEST(Scanner, CloseCodes) {
  auto const close = [](std::string_view payload, bool masked) {
    return scan(frame(payload, {.opcode = Opcode::close, .masked = masked, .mask = 0xcafebabe}), {},
                masked)
        .seen.closes;
  };
  for (bool const masked : {false, true}) {
    EXPECT_EQ(close("", masked), std::vector<uint16_t>{kNoStatus});
    EXPECT_TRUE(close("\x03", masked).empty());
    EXPECT_TRUE(close("\x03\xed", masked).empty());  // 1005 is never sent
    EXPECT_EQ(close("\x03\xe8", masked), std::vector<uint16_t>{1000});
    EXPECT_EQ(close(close_payload(3999, std::string(120, 'r')), masked),
              std::vector<uint16_t>{3999});
  }
}

TEST(Scanner, IsAtABoundaryOnlyBetweenFrames) {
  std::string const stream = frame("abc") + frame("", {.opcode = Opcode::pong});
  size_t const second = frame("abc").size();
  for (size_t n = 0; n <= stream.size(); ++n) {
    EXPECT_EQ(scan(stream.substr(0, n)).boundary, n == 0 || n == second || n == stream.size()) << n;
  }
}

struct Bad {
  std::string bytes;  // the offending frame
  uint16_t code;
  std::string_view type;
};

std::vector<Bad> bad_frames() {
  auto const reserved = [](uint8_t n) { return static_cast<Opcode>(n); };
  using namespace std::string_literals;
  return {
      {frame("x", {.masked = false}), kProtocolError, "unmasked_frame"},
      {frame("x", {.reserved = 1}), kProtocolError, "reserved_bits"},
      {frame("x", {.reserved = 4}), kProtocolError, "reserved_bits"},
      {frame("x", {.opcode = reserved(3)}), kProtocolError, "reserved_opcode"},
      {frame("x", {.opcode = reserved(7)}), kProtocolError, "reserved_opcode"},
      {frame("x", {.opcode = reserved(11)}), kProtocolError, "reserved_opcode"},
      {frame("x", {.opcode = reserved(15)}), kProtocolError, "reserved_opcode"},
      {frame("x", {.opcode = Opcode::ping, .fin = false}), kProtocolError, "fragmented_control"},
      {header_of(126, {.opcode = Opcode::ping}), kProtocolError, "control_too_long"},
      {frame("x", {.opcode = Opcode::continuation}), kProtocolError, "unexpected_continuation"},
      {header_of(16'777'217), kTooBig, "message_too_big"},
      {frame("\x03", {.opcode = Opcode::close}), kProtocolError, "bad_close_frame"},
      {frame("\x03\xed", {.opcode = Opcode::close}), kProtocolError, "bad_close_frame"},
      {"\x81\xfe\x00\x05"s, kProtocolError, "bad_frame_length"}};
}

TEST(Scanner, PassedIsWhatLiesBeforeTheOffendingFrame) {
  std::string const good = sample().substr(0, frame("hello").size());
  for (Bad const& bad : bad_frames()) {
    std::string const stream = good + bad.bytes;
    Scan const whole = scan(stream);
    EXPECT_EQ(whole.why.code, bad.code) << bad.type;
    EXPECT_EQ(whole.why.error_type, bad.type);
    EXPECT_EQ(whole.passed, good.size()) << bad.type;
    EXPECT_TRUE(whole.boundary);
    for (size_t cut = 0; cut <= stream.size(); ++cut) {
      Scan const s = scan(stream, {cut});
      ASSERT_EQ(s.why.error_type, bad.type) << cut;
      size_t const passed = s.before_piece + s.passed;
      if (cut <= good.size() || s.before_piece == 0) {
        ASSERT_EQ(passed, good.size()) << bad.type << ' ' << cut;
        ASSERT_TRUE(s.boundary);
      } else {
        // Part of its header went on with an earlier read: no more, and no frame of ours after it.
        ASSERT_EQ(s.passed, 0U) << bad.type << ' ' << cut;
        ASSERT_FALSE(s.boundary) << bad.type << ' ' << cut;
      }
    }
  }
}

TEST(Scanner, MessagesAreLimitedOverTheirFragments) {
  ReadLimits limits;
  limits.message_bytes = 10;
  limits.fragments = 3;
  FrameBits const first{.fin = false};
  FrameBits const more{.opcode = Opcode::continuation, .fin = false};
  FrameBits const last{.opcode = Opcode::continuation};
  auto const why = [&](std::string const& stream) {
    return scan(stream, {}, true, false, limits).why.error_type;
  };
  EXPECT_EQ(why(frame("12345", first) + frame("67890", last)), "");
  EXPECT_EQ(why(frame("12345", first) + frame("67890a", last)), "message_too_big");
  EXPECT_EQ(why(frame("", first) + frame("", more) + frame("", last)), "");
  EXPECT_EQ(why(frame("", first) + frame("", more) + frame("", more) + frame("", last)),
            "too_many_fragments");
  EXPECT_EQ(why(frame("", first) + frame("")), "interleaved_message");
}

TEST(Scanner, ExtensionsMayUseReservedBits) {
  Scan const s = scan(frame("zz", {.reserved = 4}), {}, true, true);
  EXPECT_FALSE(s.why);
  EXPECT_EQ(s.seen.messages, std::vector<std::string>{"text 2 8/1 deflated"});
  EXPECT_EQ(scan(frame("x"), {}, false).why.error_type, "masked_frame");
}

TEST(Scanner, IsSmall) { EXPECT_LE(sizeof(FrameScanner), 64U); }

}  // namespace
}  // namespace wscope::net::ws
