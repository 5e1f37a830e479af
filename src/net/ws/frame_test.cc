#include "net/ws/frame.h"

#include <gtest/gtest.h>

#include <set>

#include "base/ids.h"
#include "base/utf8.h"
#include "net/ws/mask.h"
#include "net/ws/reader.h"

namespace wscope::net::ws {
namespace {

constexpr uint64_t kLengths[] = {0,
                                 1,
                                 125,
                                 126,
                                 127,
                                 255,
                                 256,
                                 65535,
                                 65536,
                                 65537,
                                 1 << 20,
                                 (uint64_t{1} << 32) - 1,
                                 uint64_t{1} << 32,
                                 (uint64_t{1} << 63) - 1};

TEST(FrameHeader, EveryLengthFormGoesRound) {
  for (uint64_t const length : kLengths) {
    for (bool const masked : {false, true}) {
      for (int first = 0; first < 256; ++first) {
        char header[kHeaderBytesMax];
        auto const byte = static_cast<uint8_t>(first);
        size_t const n = masked ? write_masked_header(header, byte, length, 0xa1b2c3d4)
                                : write_header(header, byte, length);
        ASSERT_EQ(n, header_bytes(length) + (masked ? 4 : 0));
        FrameHeader out;
        for (size_t have = 0; have < n; ++have) {
          ASSERT_EQ(parse_header(header, have, out), HeaderState::need_more)
              << length << ' ' << have;
        }
        ASSERT_EQ(parse_header(header, n, out), HeaderState::complete) << length;
        EXPECT_EQ(out.length, length);
        EXPECT_EQ(out.bytes, n);
        EXPECT_EQ(out.masked, masked);
        EXPECT_EQ(out.mask, masked ? 0xa1b2c3d4U : 0U);
        EXPECT_EQ(out.fin, (first & 0x80) != 0);
        EXPECT_EQ(out.reserved, first >> 4 & 7);
        EXPECT_EQ(static_cast<int>(out.opcode), first & 15);
      }
    }
  }
}

TEST(FrameHeader, LongerThanNeededOrSignedIsRefused) {
  auto const state = [](std::string_view bytes) {
    FrameHeader out;
    return parse_header(bytes.data(), bytes.size(), out);
  };
  using namespace std::string_view_literals;
  EXPECT_EQ(state("\x82\x7e\x00\x7d"sv), HeaderState::bad_length);
  EXPECT_EQ(state("\x82\x7e\x00\x7e"sv), HeaderState::complete);
  EXPECT_EQ(state("\x82\x7f\0\0\0\0\0\0\xff\xff"sv), HeaderState::bad_length);
  EXPECT_EQ(state("\x82\x7f\0\0\0\0\0\x01\0\0"sv), HeaderState::complete);
  EXPECT_EQ(state("\x82\x7f\x80\0\0\0\0\x01\0\0"sv), HeaderState::bad_length);
  EXPECT_EQ(state("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"sv), HeaderState::bad_length);
  EXPECT_EQ(state("\x82\xfe\x00\x7d"sv), HeaderState::bad_length);  // known before the mask comes
}

// RFC 6455, section 5.7.
TEST(FrameHeader, ExamplesOfTheStandard) {
  std::string out;
  append_frame(out, Opcode::text, "Hello");
  EXPECT_EQ(out, "\x81\x05Hello");
  char hello[] = {'H', 'e', 'l', 'l', 'o'};
  uint32_t mask;
  std::memcpy(&mask, "\x37\xfa\x21\x3d", 4);
  apply_mask(hello, 5, mask);
  EXPECT_EQ(std::string_view(hello, 5), "\x7f\x9f\x4d\x51\x58");
  out.clear();
  append_frame(out, Opcode::binary, std::string(256, 'x'));
  EXPECT_EQ(out.substr(0, 4), std::string("\x82\x7e\x01\x00", 4));
  EXPECT_EQ(out.size(), 260U);
  out.clear();
  append_frame(out, Opcode::binary, std::string(65536, 'x'));
  EXPECT_EQ(out.substr(0, 10), std::string("\x82\x7f\0\0\0\0\0\x01\0\0", 10));
  out.clear();
  append_frame(out, Opcode::text, "a", true);
  EXPECT_EQ(out,
            "\xc1\x01"
            "a");
}

TEST(Mask, BothWaysAgreeWithThePlainModel) {
  uint64_t const seed = 41;
  base::Rng rng(seed);
  std::string source(900, '\0');
  for (char& c : source) c = static_cast<char>(rng.next());
  for (size_t n = 0; n <= 600; ++n) {
    for (size_t phase = 0; phase < 8; ++phase) {
      size_t const offset = rng.below(64);  // any alignment
      auto const mask = static_cast<uint32_t>(rng.next());
      std::string model = source;
      uint8_t key[4];
      std::memcpy(key, &mask, 4);
      for (size_t i = 0; i < n; ++i) {
        model[offset + i] = static_cast<char>(model[offset + i] ^ key[(phase + i) % 4]);
      }
      std::string applied = source;
      apply_mask(applied.data() + offset, n, mask, phase);
      ASSERT_EQ(applied, model) << n << ' ' << phase << " seed " << seed;
      std::string unmasked = source;
      unmask(unmasked.data() + offset, n, mask, phase);
      ASSERT_EQ(unmasked, model) << n << ' ' << phase << " seed " << seed;
    }
  }
}

TEST(Mask, SaysWhetherAllCameOutAsAscii) {
  uint32_t const mask = 0xdeadbeef;
  for (size_t const n : {1U, 7U, 8U, 9U, 127U, 128U, 255U, 256U, 257U, 384U, 600U}) {
    std::string const ascii(n, 'a');
    std::string data = ascii;
    apply_mask(data.data(), n, mask);
    EXPECT_TRUE(unmask(data.data(), n, mask)) << n;
    EXPECT_EQ(data, ascii);
    for (size_t at = 0; at < n; ++at) {
      data = ascii;
      data[at] = '\x80';
      apply_mask(data.data(), n, mask);
      ASSERT_FALSE(unmask(data.data(), n, mask)) << n << ' ' << at;
    }
  }
  EXPECT_TRUE(unmask(nullptr, 0, mask));
}

// RFC 6455, section 1.3.
TEST(Handshake, AcceptKeyOfTheStandard) {
  EXPECT_EQ(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(Handshake, KeyIsBase64OfSixteenBytes) {
  EXPECT_TRUE(valid_key("dGhlIHNhbXBsZSBub25jZQ=="));
  EXPECT_TRUE(valid_key("AAAAAAAAAAAAAAAAAAAAAA=="));
  EXPECT_TRUE(valid_key("+/+/+/+/+/+/+/+/+/+/+w=="));
  EXPECT_TRUE(valid_key("AAAAAAAAAAAAAAAAAAAAAB=="));  // loose last bits, as servers take them
  for (std::string_view const bad :
       {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===",
        "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25jZQA=", "dGhl HNhbXBsZSBub25jZQ==",
        " GhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j\nQ==", "dGhlIHNhbXBsZSBub25-ZQ==",
        "dGhl=HNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ===", "========================"}) {
    EXPECT_FALSE(valid_key(bad)) << bad;
  }
}

TEST(Close, CodesThatMayBeSent) {
  std::set<uint32_t> const known{1000, 1001, 1002, 1003, 1007, 1008,
                                 1009, 1010, 1011, 1012, 1013, 1014};
  for (uint32_t code = 0; code < 65536; ++code) {
    bool const good = known.contains(code) || (code >= 3000 && code <= 4999);
    ASSERT_EQ(close_code_sendable(static_cast<uint16_t>(code)), good) << code;
  }
}

TEST(Close, PayloadIsCutBetweenCharacters) {
  EXPECT_EQ(close_payload(kNoStatus, "ignored"), "");
  EXPECT_EQ(close_payload(1000, ""), "\x03\xe8");
  EXPECT_EQ(close_payload(1012, "bye"),
            "\x03\xf4"
            "bye");
  EXPECT_EQ(close_payload(4999, std::string(123, 'a')).size(), 125U);
  EXPECT_EQ(close_payload(4999, std::string(124, 'a')).size(), 125U);
  for (size_t before = 115; before <= 124; ++before) {
    std::string const reason = std::string(before, 'a') + "\xf0\x9f\x98\x80zz";
    std::string const payload = close_payload(1000, reason);
    ASSERT_LE(payload.size(), kControlPayloadMax);
    uint16_t code = 0;
    EXPECT_FALSE(read_close(payload, code)) << before;
    EXPECT_EQ(code, 1000);
    EXPECT_EQ(payload.size() > 2 + before, before + 4 <= 123) << before;
  }
  EXPECT_EQ(close_payload(1000,
                          "ab\xff"
                          "cd"),
            "\x03\xe8"
            "ab");
}

TEST(Close, ReadRefusesWhatMustNotBeSent) {
  uint16_t code = 1;
  EXPECT_FALSE(read_close("", code));
  EXPECT_EQ(code, kNoStatus);
  Violation why = read_close("\x03", code);
  EXPECT_EQ(why.code, kProtocolError);
  EXPECT_EQ(why.error_type, "bad_close_frame");
  EXPECT_EQ(code, kNoStatus);
  for (uint32_t number = 0; number < 65536; ++number) {
    char const bytes[] = {static_cast<char>(number >> 8), static_cast<char>(number)};
    why = read_close({bytes, 2}, code);
    ASSERT_EQ(code, number);
    ASSERT_EQ(!why, close_code_sendable(static_cast<uint16_t>(number))) << number;
  }
  EXPECT_FALSE(
      read_close("\x03\xe8"
                 "caf\xc3\xa9",
                 code));
  EXPECT_EQ(read_close("\x03\xe8"
                       "caf\xc3",
                       code)
                .code,
            kInvalidPayload);
  EXPECT_EQ(read_close("\x03\xe8\xff", code).error_type, "invalid_utf8");
}

TEST(Opcodes, HaveNames) {
  std::vector<std::string_view> names;
  for (uint8_t i = 0; i < 16; ++i) {
    names.push_back(name_of(static_cast<Opcode>(i)));
    EXPECT_EQ(is_control(static_cast<Opcode>(i)), i >= 8);
  }
  std::string_view const r = "reserved";
  EXPECT_EQ(names, (std::vector<std::string_view>{"continuation", "text", "binary", r, r, r, r, r,
                                                  "close", "ping", "pong", r, r, r, r, r}));
}

}  // namespace
}  // namespace wscope::net::ws
