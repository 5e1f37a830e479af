#include "net/gzip.h"

#include <gtest/gtest.h>

#include "base/ids.h"

namespace wscope::net {
namespace {

TEST(Gzip, GoesThereAndBack) {
  base::Rng rng(7);
  for (size_t size : {0, 1, 100, 70'000, 1'000'000}) {
    std::string text;
    while (text.size() < size) text += "ws_messages_total " + std::to_string(rng.below(100)) + "\n";
    std::string noise(size, '\0');
    for (char& c : noise) c = static_cast<char>(rng.next());
    for (std::string const& data : {text, noise}) {
      auto const packed = gzip(data);
      ASSERT_TRUE(packed);
      auto const back = gunzip(*packed, data.size());
      ASSERT_TRUE(back) << back.error().what;
      EXPECT_EQ(*back, data);
    }
    if (size > 10'000) {
      EXPECT_LT(gzip(text)->size(), text.size() / 3);
    }
  }
}

TEST(Gzip, BoundsAndChecksWhatItUnpacks) {
  std::string const packed = *gzip(std::string(1 << 20, 'x'));
  EXPECT_LT(packed.size(), 10'000u);
  EXPECT_EQ(gunzip(packed, (1 << 20) - 1).error().code, base::Errc::over_limit);
  EXPECT_EQ(gunzip(packed.substr(0, packed.size() / 2), 1 << 20).error().code, base::Errc::corrupt);
  EXPECT_EQ(gunzip("not gzip at all", 100).error().code, base::Errc::corrupt);
}

TEST(Gzip, ReadsAcceptEncoding) {
  for (char const* value : {"gzip", "GZIP", "deflate, gzip;q=0.5", "*", "br, *;q=0.1", "x-gzip"}) {
    EXPECT_TRUE(accepts_gzip(value)) << value;
  }
  for (char const* value :
       {"", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, *", "gzipped", "identity"}) {
    EXPECT_FALSE(accepts_gzip(value)) << value;
  }
}

}  // namespace
}  // namespace wscope::net
