#include "net/ws/reader.h"

#include <gtest/gtest.h>

#include "base/ids.h"
#include "net/ws/scanner.h"
#include "net/ws/test_frames.h"

namespace wscope::net::ws {
namespace {

using test::deflated;
using test::frame;
using test::FrameBits;
using test::header_of;
using test::read_in_pieces;
using test::read_whole;
using test::ReadOptions;
using Events = std::vector<std::string>;

constexpr FrameBits kFirst{.fin = false};
constexpr FrameBits kMore{.opcode = Opcode::continuation, .fin = false};
constexpr FrameBits kLast{.opcode = Opcode::continuation};
constexpr FrameBits kPing{.opcode = Opcode::ping};
constexpr FrameBits kDeflated{.reserved = 4};
ReadOptions const kDeflate{.deflate = true, .limits = {}};
ReadOptions const kServer{.from_client = false, .limits = {}};

TEST(Reader, WholeMessagesInOneRead) {
  EXPECT_EQ(read_whole(frame("hi") + frame("", {.opcode = Opcode::binary}) + frame("", kPing) +
                       frame("x", {.opcode = Opcode::pong}) + frame(std::string(300, 'a'))),
            (Events{"text 8/1 hi", "binary 6/1 ", "ping ", "pong x",
                    "text 308/1 " + std::string(300, 'a')}));
  EXPECT_EQ(read_whole(frame("hi", {.masked = false}) + frame("", {.masked = false}), kServer),
            (Events{"text 4/1 hi", "text 2/1 "}));
}

TEST(Reader, FragmentsWithControlFramesInBetween) {
  EXPECT_EQ(read_whole(frame("ab", kFirst) + frame("1", kPing) + frame("", kMore) +
                       frame("2", kPing) + frame("cd", kLast) + frame("next")),
            (Events{"ping 1", "ping 2", "text 22/3 abcd", "text 10/1 next"}));
}

TEST(Reader, AControlFrameOfFullLength) {
  std::string const payload(125, 'p');
  EXPECT_EQ(read_whole(frame(payload, kPing)), Events{"ping " + payload});
  EXPECT_EQ(read_whole(frame(payload + 'p', kPing)), Events{"! 1002 control_too_long"});
}

TEST(Reader, ProtocolErrors) {
  struct Case {
    std::string stream;
    std::string_view type;
  };
  auto const reserved = [](int n) { return static_cast<Opcode>(n); };
  std::vector<Case> cases{
      {frame("x", {.masked = false}), "unmasked_frame"},
      {frame("x", kLast), "unexpected_continuation"},
      {frame("x", kMore), "unexpected_continuation"},
      {frame("a", kFirst) + frame("b"), "interleaved_message"},
      {frame("a", kFirst) + frame("b", kLast) + frame("c", kLast), "unexpected_continuation"},
      {frame("x", {.opcode = Opcode::ping, .fin = false}), "fragmented_control"},
      {frame("x", {.opcode = Opcode::close, .fin = false}), "fragmented_control"},
      {frame("x", {.opcode = Opcode::ping, .reserved = 4}), "reserved_bits"},
      {frame("a", kFirst) + frame("b", {.opcode = Opcode::continuation, .reserved = 4}),
       "reserved_bits"},
      {std::string("\x81\xfe\x00\x7d", 4), "bad_frame_length"},
      {std::string("\x81\xff\x80\0\0\0\0\x01\0\0", 10), "bad_frame_length"}};
  for (uint8_t bits = 1; bits < 8; ++bits) {
    cases.push_back({frame("x", {.reserved = bits}), "reserved_bits"});
  }
  for (int const n : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15}) {
    cases.push_back({frame("x", {.opcode = reserved(n)}), "reserved_opcode"});
  }
  for (Case const& c : cases) {
    Events const events = read_whole(frame("ok") + c.stream);
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.front(), "text 8/1 ok");
    EXPECT_EQ(events.back(), "! 1002 " + std::string(c.type));
  }
  EXPECT_EQ(read_whole(frame("x"), kServer), Events{"! 1002 masked_frame"});
}

TEST(Reader, WithDeflateOnlyTheFirstBitOfTheFirstFrame) {
  auto const last = [](std::string const& stream) { return read_whole(stream, kDeflate).back(); };
  EXPECT_EQ(last(frame(deflated("hello"), kDeflated)), "text 13/1 deflated hello");
  for (uint8_t bits = 1; bits < 8; ++bits) {
    if (bits == 4) continue;
    EXPECT_EQ(last(frame("x", {.reserved = bits})), "! 1002 reserved_bits") << int{bits};
  }
  EXPECT_EQ(last(frame("x", {.opcode = Opcode::ping, .reserved = 4})), "! 1002 reserved_bits");
  EXPECT_EQ(last(frame("a", {.fin = false, .reserved = 4}) +
                 frame("b", {.opcode = Opcode::continuation, .reserved = 4})),
            "! 1002 reserved_bits");
}

TEST(Reader, DeflatedMessages) {
  std::string const small = deflated("a longer text, a longer text, a longer text");
  std::string const fragmented = frame(small.substr(0, 5), {.fin = false, .reserved = 4}) +
                                 frame("", kPing) + frame(small.substr(5), kLast);
  std::string const wire = std::to_string(small.size() + 12);
  EXPECT_EQ(
      read_whole(fragmented + frame("plain"), kDeflate),
      (Events{"ping ", "text " + wire + "/2 deflated a longer text, a longer text, a longer text",
              "text 11/1 plain"}));
  EXPECT_EQ(read_whole(frame(deflated(""), kDeflated), kDeflate), Events{"text 7/1 deflated "});
  EXPECT_EQ(read_whole(frame("", kDeflated), kDeflate), Events{"text 6/1 deflated "});
  EXPECT_EQ(read_whole(frame("\xff\xff\xff", kDeflated), kDeflate), Events{"! 1007 bad_deflate"});
  EXPECT_EQ(read_whole(frame(small.substr(0, 9), kDeflated), kDeflate),
            Events{"! 1007 bad_deflate"});
  EXPECT_EQ(read_whole(frame(deflated("\xff"), kDeflated), kDeflate),
            Events{"! 1007 invalid_utf8"});
  EXPECT_EQ(read_whole(frame(deflated("\xe2\x82"), kDeflated), kDeflate),
            Events{"! 1007 invalid_utf8"});
  std::string const final_block("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8);
  EXPECT_EQ(read_whole(frame(final_block, kDeflated), kDeflate),
            Events{"text 14/1 deflated Hello"});
}

TEST(Reader, BombsAreStopped) {
  std::string const bomb = deflated(std::string(4 << 20, '\0'));
  EXPECT_EQ(read_whole(frame(bomb, {.opcode = Opcode::binary, .reserved = 4}), kDeflate),
            Events{"! 1009 inflation_limit"});
  ReadOptions small = kDeflate;
  small.limits.message_bytes = 100;
  EXPECT_EQ(read_whole(frame(deflated(std::string(101, 'a')), kDeflated), small),
            Events{"! 1009 inflation_limit"});
  EXPECT_EQ(read_whole(frame(deflated(std::string(100, 'a')), kDeflated), small).size(), 1U);
}

TEST(Reader, TextMustBeUtf8) {
  EXPECT_EQ(read_whole(frame("caf\xc3\xa9")), Events{"text 11/1 caf\xc3\xa9"});
  EXPECT_EQ(read_whole(frame("caf\xc3")), Events{"! 1007 invalid_utf8"});
  EXPECT_EQ(read_whole(frame("\xff")), Events{"! 1007 invalid_utf8"});
  EXPECT_EQ(read_whole(frame("\xff", {.opcode = Opcode::binary})), Events{"binary 7/1 \xff"});
  EXPECT_EQ(read_whole(frame("\xff", {.masked = false}), kServer), Events{"! 1007 invalid_utf8"});
  // A character over two fragments, and an ASCII fragment where its end should be.
  EXPECT_EQ(read_whole(frame("caf\xc3", kFirst) + frame("\xa9", kLast)),
            Events{"text 17/2 caf\xc3\xa9"});
  EXPECT_EQ(read_whole(frame("caf\xc3", kFirst) + frame("e", kLast)),
            Events{"! 1007 invalid_utf8"});
  EXPECT_EQ(read_whole(frame("caf\xc3", kFirst) + frame("", kLast)), Events{"! 1007 invalid_utf8"});
}

TEST(Reader, WrongTextIsRefusedBeforeTheMessageEnds) {
  EXPECT_EQ(read_whole(frame("\xff", kFirst)), Events{"! 1007 invalid_utf8"});
  // Within a frame: the first wrong byte is enough, though most of it is still to come.
  std::string const long_frame = frame("abc\xed\xa0" + std::string(1000, 'x'));
  size_t const header = 8;
  EXPECT_EQ(read_whole(long_frame.substr(0, header + 4)), Events{});
  EXPECT_EQ(read_whole(long_frame.substr(0, header + 5)), Events{"! 1007 invalid_utf8"});
}

TEST(Reader, MessageLimitIsExact) {
  constexpr size_t kLimit = 16'777'216;
  std::string const most(kLimit, 'm');
  EXPECT_EQ(read_whole(frame(most)).front().size(),
            kLimit + std::string("text 16777230/1 ").size());
  EXPECT_EQ(read_whole(header_of(kLimit + 1)), Events{"! 1009 message_too_big"});
  EXPECT_EQ(read_whole(header_of((uint64_t{1} << 63) - 1)), Events{"! 1009 message_too_big"});
  std::string const half(kLimit / 2, 'h');
  EXPECT_EQ(read_whole(frame(half, kFirst) + frame(half, kLast)).front().substr(0, 16),
            "text 16777244/2 ");
  EXPECT_EQ(read_whole(frame(half, kFirst) + header_of(kLimit / 2 + 1, kLast)),
            Events{"! 1009 message_too_big"});
}

TEST(Reader, FragmentsAreBounded) {
  ReadOptions options;
  options.limits.fragments = 4;
  std::string const start = frame("", kFirst) + frame("", kMore) + frame("", kMore);
  EXPECT_EQ(read_whole(start + frame("", kLast), options), Events{"text 24/4 "});
  EXPECT_EQ(read_whole(start + frame("", kMore) + frame("", kLast), options),
            Events{"! 1008 too_many_fragments"});
}

TEST(Reader, IdleHoldsNothing) {
  MessageReader reader(true, true);
  Inflater inflater;
  test::Recorder recorder;
  ReadLimits const limits;
  auto const feed = [&](std::string bytes) {
    return reader.consume(bytes.data(), bytes.size(), limits, &inflater, recorder);
  };
  EXPECT_EQ(reader.held_bytes(), 0U);
  std::string const streams[] = {
      frame(std::string(5000, 'a')), frame("ab", kFirst) + frame("", kPing) + frame("cd", kLast),
      frame(deflated("text"), kDeflated), frame(std::string(100, 'p'), kPing)};
  for (std::string const& stream : streams) {
    for (size_t cut = 1; cut < stream.size(); ++cut) {
      ASSERT_FALSE(feed(stream.substr(0, cut)));
      ASSERT_GT(reader.held_bytes() + recorder.events.size(), 0U);
      ASSERT_FALSE(feed(stream.substr(cut)));
      ASSERT_EQ(reader.held_bytes(), 0U) << cut;
    }
  }
  ASSERT_FALSE(feed(header_of(10'000'000)));
  EXPECT_LE(reader.held_bytes(), size_t{1} << 21);  // a promise alone takes no 10 MB
  EXPECT_GT(reader.held_bytes(), 0U);
}

TEST(Reader, AHandlerMayStopIt) {
  struct Stops {
    int messages = 0;
    int controls = 0;
    bool on_message(Message const&) { return ++messages < 2; }
    bool on_control(Opcode, std::string_view) { return ++controls < 1; }
  } handler;
  MessageReader reader(true);
  Inflater inflater;
  ReadLimits const limits;
  std::string bytes = frame("a") + frame("b") + frame("c");
  EXPECT_FALSE(reader.consume(bytes.data(), bytes.size(), limits, &inflater, handler));
  EXPECT_EQ(handler.messages, 2);
  bytes = frame("", kPing) + frame("", kPing);
  EXPECT_FALSE(reader.consume(bytes.data(), bytes.size(), limits, &inflater, handler));
  EXPECT_EQ(handler.controls, 1);
}

// Streams of all kinds, right and wrong; what is told must not depend on how the bytes arrive.
std::vector<std::string> streams() {
  std::string const small = deflated("some text to deflate, some text to deflate");
  std::string const head = frame("hello") + frame("\xf0\x9f\x98\x80 ok");
  return {head + frame("ab", kFirst) + frame("1", kPing) + frame("cd", kLast) + frame(""),
          head + frame("caf\xc3", kFirst) + frame("2", kPing) + frame("\xa9", kLast),
          head + frame(small, kDeflated) + frame("plain"),
          frame(small.substr(0, 7), {.fin = false, .reserved = 4}) + frame("", kMore) +
              frame("3", kPing) + frame(small.substr(7), kLast) + frame("", kPing),
          frame(std::string(130, 'm'), {.opcode = Opcode::binary}) + frame("", kPing),
          head + frame(close_payload(1000, "bye"), {.opcode = Opcode::close}),
          head + frame("wrong \xff text") + frame("never"),
          head + frame("open \xe2\x82") + frame("never"),
          head + frame("x", {.reserved = 2}) + frame("never"),
          head + frame("a", kFirst) + frame("b") + frame("never"),
          head + std::string("\x81\xfe\x00\x05", 4) + frame("never"),
          head + frame("\xff\xff\xff", kDeflated) + frame("never"),
          head + frame(std::string(126, 'p'), kPing) + frame("never")};
}

TEST(ReaderSplits, EverySplitIntoTwoAndSingleBytes) {
  for (std::string const& stream : streams()) {
    Events const whole = read_whole(stream, kDeflate);
    ASSERT_FALSE(whole.empty());
    std::vector<size_t> all;
    for (size_t cut = 0; cut <= stream.size(); ++cut) {
      ASSERT_EQ(read_in_pieces(stream, {cut}, kDeflate), whole) << cut;
      all.push_back(cut);
    }
    ASSERT_EQ(read_in_pieces(stream, all, kDeflate), whole);
  }
}

TEST(ReaderSplits, RandomSplits) {
  uint64_t const seed = 61;
  base::Rng rng(seed);
  for (std::string const& stream : streams()) {
    Events const whole = read_whole(stream, kDeflate);
    for (int round = 0; round < 300; ++round) {
      std::vector<size_t> cuts;
      uint64_t const step = 1 + rng.below(20);
      for (size_t at = rng.below(step); at < stream.size(); at += rng.below(step + 1)) {
        cuts.push_back(at);
        if (cuts.size() > 2 * stream.size()) break;
      }
      ASSERT_EQ(read_in_pieces(stream, cuts, kDeflate), whole) << "seed " << seed << ' ' << round;
    }
  }
}

struct Counts {
  uint64_t messages = 0;
  uint64_t payload = 0;
  uint64_t wire = 0;
  uint64_t controls = 0;
  bool operator==(Counts const&) const = default;
  bool on_message(Message const& m) {
    ++messages;
    payload += m.payload.size();
    wire += m.wire_bytes;
    return true;
  }
  bool on_control(Opcode, std::string_view) { return ++controls > 0; }
  void on_frame(Opcode opcode, Opcode, uint64_t, size_t) { controls += is_control(opcode); }
  void on_message(Opcode, uint64_t bytes, uint64_t on_wire, uint32_t, bool) {
    ++messages;
    payload += bytes;
    wire += on_wire;
  }
  void on_close(uint16_t) {}
};

std::string random_stream(base::Rng& rng, bool masked) {
  std::string stream;
  bool open = false;
  for (uint64_t left = 1 + rng.below(30); left > 0 || open;) {
    left -= left > 0;
    FrameBits bits{.masked = masked, .mask = static_cast<uint32_t>(rng.next())};
    std::string const payload(rng.below(rng.below(10) == 0 ? 70'000 : 130), 'x');
    if (rng.below(4) == 0) {
      bits.opcode = rng.below(2) == 0 ? Opcode::ping : Opcode::pong;
      stream += frame(std::string_view(payload).substr(0, 125), bits);
      continue;
    }
    bits.fin = left == 0 || rng.below(2) == 0;
    bits.opcode = open ? Opcode::continuation : rng.below(2) == 0 ? Opcode::text : Opcode::binary;
    open = !bits.fin;
    stream += frame(payload, bits);
  }
  return stream;
}

TEST(ReaderAndScanner, CountTheSameOfValidStreams) {
  uint64_t const seed = 71;
  base::Rng rng(seed);
  Inflater inflater;
  ReadLimits const limits;
  for (int round = 0; round < 300; ++round) {
    bool const masked = rng.below(2) == 0;
    std::string stream = random_stream(rng, masked);
    MessageReader reader(masked);
    FrameScanner scanner(masked);
    Counts read;
    Counts scanned;
    for (size_t at = 0; at < stream.size();) {
      size_t const n = std::min<size_t>(1 + rng.below(2000), stream.size() - at);
      size_t passed = 0;
      ASSERT_FALSE(scanner.feed(stream.data() + at, n, limits, scanned, passed)) << "seed " << seed;
      ASSERT_EQ(passed, n);
      ASSERT_FALSE(reader.consume(stream.data() + at, n, limits, &inflater, read))
          << "seed " << seed;
      ASSERT_EQ(read.messages, scanned.messages) << "seed " << seed << " round " << round;
      ASSERT_EQ(read.wire, scanned.wire) << "seed " << seed << " round " << round;
      at += n;
    }
    // The scanner tells of a control frame when its header is there, the reader when it is whole.
    ASSERT_EQ(read, scanned) << "seed " << seed << " round " << round;
    EXPECT_TRUE(scanner.at_boundary());
    EXPECT_FALSE(scanner.in_message());
    EXPECT_EQ(reader.held_bytes(), 0U);
  }
}

TEST(ReaderAndScanner, RefuseTheSameFrame) {
  Inflater inflater;
  for (std::string const& stream : streams()) {
    std::string copy = stream;
    MessageReader reader(true);
    FrameScanner scanner(true);
    Counts read;
    Counts scanned;
    ReadLimits const limits;
    size_t passed = 0;
    Violation const one = reader.consume(copy.data(), copy.size(), limits, &inflater, read);
    Violation const other = scanner.feed(stream.data(), stream.size(), limits, scanned, passed);
    if (one.code == kInvalidPayload) continue;  // payloads are not the scanner's business
    EXPECT_EQ(one.code, other.code);
    EXPECT_EQ(one.error_type, other.error_type);
    EXPECT_EQ(read, scanned);
  }
}

}  // namespace
}  // namespace wscope::net::ws
