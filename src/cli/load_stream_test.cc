#include "cli/load_stream.h"

#include <gtest/gtest.h>

#include <set>

#include "base/ids.h"

namespace wscope::cli {
namespace {

namespace ws = net::ws;

std::string frame(std::string_view payload, ws::Opcode opcode, bool fin = true) {
  char header[ws::kHeaderBytesMax];
  std::string out(header, ws::write_header(header, ws::first_byte(opcode, fin), payload.size()));
  return out.append(payload);
}

std::string first_frames(MessageCycle const& cycle, uint64_t n) {
  std::string out;
  for (uint64_t i = 0; i < n; ++i) {
    out += cycle.expected().substr((i % cycle.slots()) * cycle.expected_frame(),
                                   cycle.expected_frame());
  }
  return out;
}

struct Fed {
  Replies replies;
  std::string answers;
};

// Feeds in pieces of `step` bytes, adding up.
Fed feed(ReplyReader& reader, std::string_view bytes, size_t step) {
  Fed fed;
  while (!bytes.empty() && fed.replies.problem == ReplyProblem::none) {
    size_t const n = std::min(step, bytes.size());
    Replies const r = reader.feed(bytes.substr(0, n), fed.answers);
    bytes.remove_prefix(n);
    fed.replies.messages += r.messages;
    fed.replies.payload_bytes += r.payload_bytes;
    fed.replies.problem = r.problem;
    fed.replies.close_code = r.close_code;
    fed.replies.what = r.what;
  }
  return fed;
}

TEST(MessageCycle, MaskedFramesHoldTheExpectedPayloads) {
  for (uint64_t const size : {0, 1, 7, 8, 32, 125, 126, 65'535, 65'536}) {
    MessageCycle const cycle(size, size % 2 == 1, 16, 7);
    ASSERT_GT(cycle.slots(), 16u);
    std::string bytes(cycle.outgoing().substr(0, cycle.outgoing_round()));
    std::set<std::string> masks;
    for (uint64_t slot = 0; slot < cycle.slots(); ++slot) {
      char* const at = bytes.data() + slot * cycle.outgoing_frame();
      ws::FrameHeader header;
      ASSERT_EQ(ws::parse_header(at, cycle.outgoing_frame(), header), ws::HeaderState::complete);
      ASSERT_TRUE(header.masked && header.fin && header.reserved == 0);
      ASSERT_EQ(header.opcode, cycle.opcode());
      ASSERT_EQ(header.length, size);
      ASSERT_NE(header.mask, 0u);
      masks.insert(std::to_string(header.mask));
      ws::apply_mask(at + header.bytes, size, header.mask);
      ASSERT_EQ(std::string_view(at + header.bytes, size), cycle.payload(slot));
    }
    EXPECT_GT(masks.size(), cycle.slots() / 2);
    // What follows the round is the beginning of the next.
    std::string_view const tail = cycle.outgoing().substr(cycle.outgoing_round());
    EXPECT_EQ(tail, cycle.outgoing().substr(0, tail.size()));
    EXPECT_EQ(tail.size(), 16 * cycle.outgoing_frame());
  }
}

TEST(MessageCycle, PayloadsWithinReachDiffer) {
  MessageCycle const cycle(8, false, 100, 1);
  std::set<std::string_view> payloads;
  for (uint64_t slot = 0; slot < cycle.slots(); ++slot) payloads.insert(cycle.payload(slot));
  EXPECT_EQ(payloads.size(), cycle.slots());
}

TEST(MessageCycle, LargeMessagesAreBounded) {
  MessageCycle const cycle(16 << 20, true, 1'000, 1);
  EXPECT_LE(cycle.outgoing().size(), 2 * MessageCycle::kBytesMax);
  EXPECT_GE(cycle.slots(), 2u);
}

class Replied : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(PieceBytes, Replied,
                         testing::Values(1, 2, 3, 7, 33, 34, 35, 4096, 1 << 20));

TEST_P(Replied, CountsRoundsOfMessages) {
  MessageCycle const cycle(32, false, 4, 1);
  ReplyReader reader(cycle, true);
  uint64_t const n = 3 * cycle.slots() + 5;
  Fed const fed = feed(reader, first_frames(cycle, n), GetParam());
  EXPECT_EQ(fed.replies.problem, ReplyProblem::none) << fed.replies.what;
  EXPECT_EQ(fed.replies.messages, n);
  EXPECT_EQ(fed.replies.payload_bytes, n * 32);
  EXPECT_EQ(fed.answers, "");
}

TEST_P(Replied, ReadsFragmentsAndControlFramesBetween) {
  MessageCycle const cycle(300, true, 4, 1);
  ReplyReader reader(cycle, true);
  std::string bytes = first_frames(cycle, 1);
  bytes += frame("are you there", ws::Opcode::ping);
  bytes += frame(cycle.payload(1).substr(0, 10), ws::Opcode::binary, false);
  bytes += frame("", ws::Opcode::pong);
  bytes += frame("", ws::Opcode::continuation, false);
  bytes += frame(cycle.payload(1).substr(10, 200), ws::Opcode::continuation, false);
  bytes += frame(cycle.payload(1).substr(210), ws::Opcode::continuation);
  bytes += frame(cycle.payload(2), ws::Opcode::binary);
  Fed const fed = feed(reader, bytes, GetParam());
  EXPECT_EQ(fed.replies.problem, ReplyProblem::none) << fed.replies.what;
  EXPECT_EQ(fed.replies.messages, 3u);
  EXPECT_EQ(fed.replies.payload_bytes, 900u);
  std::string pong;
  append_masked_control(pong, ws::Opcode::pong, "are you there");
  EXPECT_EQ(fed.answers, pong);
}

TEST_P(Replied, AnyFlippedBitIsNoticed) {
  MessageCycle const cycle(20, false, 4, 1);
  std::string const good = first_frames(cycle, 3);
  for (size_t at = 0; at < good.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ (1 << bit));
      ReplyReader reader(cycle, true);
      Fed const fed = feed(reader, bad, GetParam());
      bool const noticed = fed.replies.problem != ReplyProblem::none || fed.replies.messages < 3;
      ASSERT_TRUE(noticed) << "byte " << at << " bit " << bit;
    }
  }
}

TEST_P(Replied, LostDoubledAndSwappedMessagesAreNoticed) {
  MessageCycle const cycle(32, false, 4, 1);
  auto const one = [&](uint64_t slot) { return frame(cycle.payload(slot), ws::Opcode::text); };
  for (std::string const& bytes : {one(1), one(0) + one(0), one(0) + one(2) + one(1)}) {
    ReplyReader reader(cycle, true);
    EXPECT_EQ(feed(reader, bytes, GetParam()).replies.problem, ReplyProblem::mismatch);
  }
}

TEST_P(Replied, WrongLengthTypeAndTextAreMismatches) {
  MessageCycle const cycle(32, false, 4, 1);
  std::string const whole(cycle.payload(0));
  for (std::string const& bytes : {
           frame(whole.substr(1), ws::Opcode::text),
           frame(whole + "x", ws::Opcode::text),
           frame(whole, ws::Opcode::binary),
           frame(whole.substr(0, 5), ws::Opcode::text, false) + frame("", ws::Opcode::continuation),
           frame(whole, ws::Opcode::text, false) + frame("x", ws::Opcode::continuation),
       }) {
    ReplyReader reader(cycle, true);
    EXPECT_EQ(feed(reader, bytes, GetParam()).replies.problem, ReplyProblem::mismatch);
  }
}

TEST_P(Replied, BrokenFramesAreProtocolErrors) {
  MessageCycle const cycle(32, false, 4, 1);
  std::string const whole(cycle.payload(0));
  std::string masked;
  append_masked_control(masked, ws::Opcode::ping, "x");
  for (std::string const& bytes : {
           masked, frame(whole, static_cast<ws::Opcode>(3)), frame("", static_cast<ws::Opcode>(11)),
           frame(whole, ws::Opcode::continuation), frame("", ws::Opcode::ping, false),
           frame(std::string(126, 'x'), ws::Opcode::ping),
           frame("a", ws::Opcode::text, false) + frame("b", ws::Opcode::text),
           std::string("\xc1\x01x"),                 // RSV1 without an extension
           std::string("\x01\x7e\x00\x05hello", 9),  // 16-bit length for 5 bytes
           frame("\x03", ws::Opcode::close),
           frame(std::string("\x03\xed", 2), ws::Opcode::close),  // 1005
       }) {
    ReplyReader reader(cycle, false);
    EXPECT_EQ(feed(reader, bytes, GetParam()).replies.problem, ReplyProblem::protocol);
  }
}

TEST_P(Replied, CloseTellsItsCode) {
  MessageCycle const cycle(32, false, 4, 1);
  for (auto const& [payload, code] :
       {std::pair<std::string, int>{"", 1005}, {ws::close_payload(1012, "restart"), 1012}}) {
    ReplyReader reader(cycle, true);
    Fed const fed =
        feed(reader, first_frames(cycle, 2) + frame(payload, ws::Opcode::close), GetParam());
    EXPECT_EQ(fed.replies.problem, ReplyProblem::closed);
    EXPECT_EQ(fed.replies.close_code, code);
    EXPECT_EQ(fed.replies.messages, 2u);
  }
}

TEST_P(Replied, WithoutVerificationAnythingWellFormedCounts) {
  MessageCycle const cycle(32, false, 4, 1);
  ReplyReader reader(cycle, false);
  std::string const bytes = frame("hello", ws::Opcode::text) +
                            frame("wor", ws::Opcode::binary, false) +
                            frame("ld", ws::Opcode::continuation) + frame("", ws::Opcode::text);
  Fed const fed = feed(reader, bytes, GetParam());
  EXPECT_EQ(fed.replies.problem, ReplyProblem::none);
  EXPECT_EQ(fed.replies.messages, 3u);
  EXPECT_EQ(fed.replies.payload_bytes, 10u);
}

TEST(ReplyReader, RandomPiecesOfAMixedStream) {
  uint64_t const seed = 99;
  base::Rng rng(seed);
  MessageCycle const cycle(50, false, 8, 3);
  std::string bytes;
  uint64_t pings = 0;
  uint64_t const n = 2'000;
  for (uint64_t i = 0; i < n; ++i) {
    std::string_view const payload = cycle.payload(i % cycle.slots());
    if (rng.below(5) == 0) {
      size_t const cut = rng.below(51);
      bytes += frame(payload.substr(0, cut), ws::Opcode::text, false);
      bytes += frame(payload.substr(cut), ws::Opcode::continuation);
    } else {
      bytes += frame(payload, ws::Opcode::text);
    }
    if (rng.below(7) == 0) {
      bytes += frame("p", ws::Opcode::ping);
      ++pings;
    }
  }
  ReplyReader reader(cycle, true);
  std::string answers;
  uint64_t messages = 0;
  for (std::string_view rest = bytes; !rest.empty();) {
    size_t const piece = std::min<size_t>(1 + rng.below(400), rest.size());
    Replies const r = reader.feed(rest.substr(0, piece), answers);
    ASSERT_EQ(r.problem, ReplyProblem::none) << r.what << " seed " << seed;
    messages += r.messages;
    rest.remove_prefix(piece);
  }
  EXPECT_EQ(messages, n);
  EXPECT_EQ(answers.size(), pings * 7);
}

}  // namespace
}  // namespace wscope::cli
