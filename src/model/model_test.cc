#include <gtest/gtest.h>

#include <string>

#include "model/connection_info.h"
#include "model/span.h"

namespace wscope::model {
namespace {

TEST(ConnectionInfo, KeepsEveryTextInOneSmallAllocation) {
  base::Rng rng(1);
  auto const trace = rng.trace_id();
  auto const info = ConnectionInfo::make({.id = 7,
                                          .correlation_id = "7d3f9c1e-0f5b-4a7e-9a51-6a2f0c9d8e11",
                                          .session_id = "k3v9x0q2m5c7b1n8",
                                          .route = "/ws/{room}",
                                          .room = "lobby",
                                          .client = "127.0.0.1:5000",
                                          .trace = trace,
                                          .handshake_span = {},
                                          .sampled = true,
                                          .opened_unix_ns = 42});
  EXPECT_EQ(info->id(), 7U);
  EXPECT_EQ(info->correlation_id(), "7d3f9c1e-0f5b-4a7e-9a51-6a2f0c9d8e11");
  EXPECT_EQ(info->session_id(), "k3v9x0q2m5c7b1n8");
  EXPECT_EQ(info->route(), "/ws/{room}");
  EXPECT_EQ(info->room(), "lobby");
  EXPECT_EQ(info->client(), "127.0.0.1:5000");
  EXPECT_EQ(info->trace(), trace);
  EXPECT_TRUE(info->sampled());
  EXPECT_EQ(info->opened_unix_ns(), 42);
  EXPECT_TRUE(info->json_plain());
  EXPECT_LE(info->bytes(), 200U);
}

TEST(ConnectionInfo, CutsLongTextsAndMarksWhatNeedsEscapes) {
  std::string const large(100'000, 'x');
  auto const info = ConnectionInfo::make({.correlation_id = large, .session_id = "a\"b"});
  EXPECT_EQ(info->correlation_id().size(), ConnectionInfo::kTextMax);
  EXPECT_EQ(info->session_id(), "a\"b");
  EXPECT_TRUE(info->room().empty());
  EXPECT_FALSE(info->json_plain());
  EXPECT_FALSE(ConnectionInfo::make({.route = "/a\nb"})->json_plain());
  EXPECT_FALSE(ConnectionInfo::make({.route = "/\xc3\xa4"})->json_plain());
}

TEST(ConnectionInfo, ReplacesBytesThatAreNotUtf8) {
  auto const info = ConnectionInfo::make({.session_id = "a\xff\xc3\xa4\xc3"});
  EXPECT_EQ(info->session_id(), "a?\xc3\xa4?");
}

TEST(Span, IsSampledAndUnsetByDefault) {
  Span const span;
  EXPECT_EQ(span.trace_flags, 1);
  EXPECT_EQ(span.status, SpanStatus::unset);
  EXPECT_FALSE(span.parent.valid());
}

}  // namespace
}  // namespace wscope::model
