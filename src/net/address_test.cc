#include "net/address.h"

#include <gtest/gtest.h>

namespace wscope::net {
namespace {

TEST(Address, ReadsAndWritesBothFamilies) {
  for (char const* text : {"127.0.0.1:8080", "0.0.0.0:0", "[::1]:80", "[2001:db8::7]:65535"}) {
    auto const address = parse_address(text);
    ASSERT_TRUE(address) << text << ": " << address.error().what;
    EXPECT_EQ(to_text(*address), text);
  }
  auto const local = parse_address("localhost:81");
  ASSERT_TRUE(local) << local.error().what;
  EXPECT_TRUE(is_loopback(*local));
  EXPECT_EQ(port_of(*local), 81);
  EXPECT_EQ(to_text(Address{}), "");
}

TEST(Address, RefusesWhatIsNotHostAndPort) {
  for (char const* text : {"", "127.0.0.1", ":80", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
                           "127.0.0.1:8o", "::1:80", "[::1]", "[::1:80", "[::g]:80", "[]:80",
                           "a b:80", "host/path:80", "127.0.0.1:80:90"}) {
    auto const address = parse_address(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, base::Errc::invalid) << text;
    EXPECT_NE(address.error().what.find(std::string("'") + text + "'"), std::string::npos) << text;
  }
  EXPECT_EQ(parse_address("no-such-host.invalid:80").error().code, base::Errc::not_found);
}

TEST(Address, KnowsLoopback) {
  for (char const* text : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"}) {
    EXPECT_TRUE(is_loopback(*parse_address(text))) << text;
  }
  for (char const* text : {"0.0.0.0:1", "128.0.0.1:1", "[::]:1", "[::ffff:10.0.0.1]:1"}) {
    EXPECT_FALSE(is_loopback(*parse_address(text))) << text;
  }
  EXPECT_FALSE(is_loopback(Address{}));
}

TEST(Url, TakesPartsApart) {
  struct Case {
    char const* text;
    char const* scheme;
    char const* host;
    uint16_t port;
    char const* path;
    char const* authority;
  };
  for (Case const& c : {
           Case{"http://127.0.0.1:8000", "http", "127.0.0.1", 8000, "/", "127.0.0.1:8000"},
           Case{"HTTPS://Example.ORG/a/b?c=d#e", "https", "example.org", 443, "/a/b?c=d",
                "example.org"},
           Case{"ws://[::1]:9/x", "ws", "::1", 9, "/x", "[::1]:9"},
           Case{"wss://host:443?q", "wss", "host", 443, "/?q", "host"},
       }) {
    auto const url = parse_url(c.text);
    ASSERT_TRUE(url) << c.text << ": " << url.error().what;
    EXPECT_EQ(url->scheme, c.scheme) << c.text;
    EXPECT_EQ(url->host, c.host) << c.text;
    EXPECT_EQ(url->port, c.port) << c.text;
    EXPECT_EQ(url->path, c.path) << c.text;
    EXPECT_EQ(url->authority(), c.authority) << c.text;
  }
}

TEST(Url, RefusesWhatItCanNotReach) {
  for (char const* text : {"", "127.0.0.1:80", "ftp://host/", "http://", "http:///x",
                           "http://host:0/", "http://host:99999/", "http://a b/", "http://host/a b",
                           "http://[::1/", "http://ho_st:x/"}) {
    auto const url = parse_url(text);
    ASSERT_FALSE(url) << text;
    EXPECT_EQ(url.error().code, base::Errc::invalid) << text;
  }
  auto const secret = parse_url("http://user:hunter2@host/");
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().what.find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace wscope::net
