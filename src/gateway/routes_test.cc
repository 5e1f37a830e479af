#include "gateway/routes.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "runtime/sync.h"

namespace wscope::gateway {
namespace {

std::string text_of(RouteBook& book, std::string_view target) {
  return std::string(book.resolve(target).text);
}

TEST(RoutePart, ReplacesWhatChangesAndKeepsWhatDoesNot) {
  struct Case {
    std::string_view part, want;
  };
  Case const cases[] = {
      {"users", "users"},
      {"v1", "v1"},
      {"42", "{id}"},
      {"0", "{id}"},
      {"20240131", "{id}"},
      {"-1", "-1"},
      {"123e4567-e89b-12d3-a456-426614174000", "{uuid}"},
      {"123E4567-E89B-12D3-A456-426614174000", "{uuid}"},
      {"123e4567-e89b-12d3-a456-42661417400g", "{hash}"},
      {"deadbeef", "deadbeef"},
      {"deadbee5", "{hash}"},
      {"dead5", "dead5"},
      {"507f1f77bcf86cd799439011", "{hash}"},
      {"dGhpcyBpcyBhIHRva2Vu1=", "{hash}"},
      {"abcdefghijklmnop", "abcdefghijklmnop"},
      {"abcdefghijklmn0", "abcdefghijklmn0"},
      {"abcdefghijklmno0", "{hash}"},
      {"jquery-3.6.0.min.js", "jquery-3.6.0.min.js"},
      {"%41bc", "Abc"},
      {"a%2fb", "a%2Fb"},
      {"a%zzb", "a%25zzb"},
      {"a b\n\"\\{x}", "a%20b%0A%22%5C%7Bx%7D"},
      {"\xc3\xa4", "%C3%A4"},
      {"%", "%25"},
      {"", ""},
  };
  for (Case const& c : cases) EXPECT_EQ(route_part(c.part), c.want) << c.part;
  EXPECT_EQ(route_part(std::string(64, 'a')), std::string(64, 'a'));
  EXPECT_EQ(route_part(std::string(65, 'a')), "{param}");
  EXPECT_EQ(route_part(std::string(22, '\x01')), "{param}") << "66 characters once shown safely";
}

TEST(RouteBook, CutsQueryAndFoldsSlashes) {
  RouteBook book;
  EXPECT_EQ(text_of(book, "/"), "/");
  EXPECT_EQ(text_of(book, "/api/users/7?page=2"), "/api/users/{id}");
  EXPECT_EQ(text_of(book, "/api/users/8#x"), "/api/users/{id}");
  EXPECT_EQ(text_of(book, "//api///users/9"), "/api/users/{id}");
  EXPECT_EQ(text_of(book, "/api/users/"), "/api/users/");
  EXPECT_EQ(text_of(book, "*"), "/*");
  EXPECT_EQ(book.size(), 4u);
  EXPECT_EQ(text_of(book, ""), "__other__");
  EXPECT_EQ(text_of(book, "?a=1"), "__other__");
  EXPECT_EQ(text_of(book, "http://host/x"), "__other__");
  EXPECT_EQ(book.size(), 4u) << "what is no path takes no template";
}

TEST(RouteBook, CutsDeepPaths) {
  RouteBook book;
  std::string path;
  for (int i = 0; i < 16; ++i) path += "/p";
  EXPECT_EQ(text_of(book, path), path);
  EXPECT_EQ(text_of(book, path + "/q"), path.substr(0, path.size() - 2) + "/{rest}");
  EXPECT_EQ(text_of(book, path + "/q/r/s"), path.substr(0, path.size() - 2) + "/{rest}");
}

TEST(RouteBook, KnownTemplatesComeFirstAndTakeAnyValue) {
  std::vector<std::string_view> const known = {"/ws/{room}", "/echo"};
  RouteBook book(known);
  EXPECT_EQ(book.resolve("/ws/lobby").id, 1);
  EXPECT_EQ(book.resolve("/echo").id, 2);
  EXPECT_EQ(text_of(book, "/ws/123"), "/ws/{room}");
  EXPECT_EQ(text_of(book, "/ws/" + std::string(300, 'x')), "/ws/{room}");
  EXPECT_EQ(text_of(book, "/ws/%7Broom%7D"), "/ws/{room}");
  EXPECT_EQ(text_of(book, "/ws/lobby/history"), "/ws/{room}/history");
  EXPECT_EQ(text_of(book, "/ws/"), "/ws/");
  EXPECT_EQ(text_of(book, "/ws"), "/ws");
}

TEST(RouteBook, LearnsAParameterFromManyValues) {
  RouteBook book;
  for (size_t i = 0; i < kRouteSiblingsMax; ++i) {
    std::string const path = "/u/name" + std::string(1, static_cast<char>('a' + i / 26)) +
                             std::string(1, static_cast<char>('a' + i % 26)) + "/feed";
    EXPECT_EQ(text_of(book, path), path);
  }
  EXPECT_EQ(text_of(book, "/u/newcomer/feed"), "/u/{param}/feed");
  EXPECT_EQ(text_of(book, "/u/another/feed"), "/u/{param}/feed");
  EXPECT_EQ(text_of(book, "/u/nameaa/feed"), "/u/nameaa/feed") << "an id given stays given";
  EXPECT_EQ(text_of(book, "/u/17/feed"), "/u/{id}/feed") << "a shape says more than {param}";
  EXPECT_EQ(text_of(book, "/v/newcomer"), "/v/newcomer") << "only below the same parent";
  EXPECT_EQ(book.size(), kRouteSiblingsMax + 3);
}

TEST(RouteBook, HoldsAtMostItsTemplates) {
  RouteBook book;
  std::set<std::string> seen;
  base::Rng rng(7);
  auto word = [&] {
    std::string out;
    for (int i = 0; i < 6; ++i) out += static_cast<char>('g' + rng.below(20));
    return out;
  };
  for (int i = 0; i < 20'000; ++i) {
    std::string path;
    for (uint64_t n = 1 + rng.below(20); n > 0; --n) path += "/" + word();
    RouteBook::Route const route = book.resolve(path);
    EXPECT_LE(route.id, kRouteTemplatesMax) << "seed 7";
    EXPECT_EQ(route.id == kRouteOtherId, route.text == kRouteOther);
    seen.insert(std::string(route.text));
  }
  EXPECT_EQ(book.size(), kRouteTemplatesMax);
  EXPECT_EQ(seen.size(), kRouteTemplatesMax + 1);
  for (std::string const& text : seen) {
    EXPECT_LE(text.size(), kRoutePartsMax * (kRoutePartMax + 1)) << text;
  }
}

TEST(RouteBook, AnIdNeverChanges) {
  RouteBook book;
  base::Rng rng(11);
  std::map<std::string, uint16_t> first;
  for (int i = 0; i < 20'000; ++i) {
    std::string const path =
        "/r" + std::to_string(rng.below(4)) + "/x" + std::to_string(rng.below(120)) + "y";
    uint16_t const id = book.resolve(path).id;
    auto const [it, fresh] = first.emplace(path, id);
    ASSERT_EQ(it->second, id) << path << " seed 11 step " << i;
  }
}

TEST(RouteTemplates, RemembersAndCountsTheFolded) {
  std::vector<std::string_view> const known = {"/echo"};
  RouteBook book(known, 2);
  RouteTemplates routes(book);
  EXPECT_EQ(routes.id_of("/echo?echo=0"), 1);
  EXPECT_EQ(routes.id_of("/a"), 2);
  EXPECT_EQ(routes.id_of("/b"), kRouteOtherId);
  EXPECT_EQ(routes.id_of("/b"), kRouteOtherId);
  EXPECT_EQ(routes.id_of("/" + std::string(500, 'b')), kRouteOtherId);
  EXPECT_EQ(routes.id_of(""), kRouteOtherId);
  EXPECT_EQ(routes.folded(), 4u);
  EXPECT_EQ(routes.text(1), "/echo");
  EXPECT_EQ(routes.text(2), "/a");
  EXPECT_EQ(routes.text(kRouteOtherId), "__other__");
  EXPECT_EQ(routes.text(65535), "__other__");
}

TEST(RouteTemplates, AgreeWithTheBookWhateverTheyRemember) {
  RouteBook book;
  RouteTemplates routes(book);
  base::Rng rng(13);
  for (int i = 0; i < 20'000; ++i) {
    std::string path = "/p" + std::to_string(rng.below(900)) + "z";
    if (rng.below(10) == 0) path += "/" + std::string(200, 'q');
    uint16_t const id = routes.id_of(path);
    ASSERT_EQ(id, book.resolve(path).id) << path << " seed 13 step " << i;
    ASSERT_EQ(routes.text(id), book.resolve(path).text);
  }
}

TEST(RouteTemplates, LoopsShareOneBook) {
  RouteBook book;
  auto work = [&](uint64_t seed) {
    RouteTemplates routes(book);
    base::Rng rng(seed);
    for (int i = 0; i < 5'000; ++i) {
      std::string const path = "/api/t" + std::to_string(rng.below(80)) + "q/" + std::to_string(i);
      uint16_t const id = routes.id_of(path);
      EXPECT_EQ(routes.text(id), book.resolve(path).text) << path;
    }
  };
  runtime::Thread one("routes-1", [&] { work(1); });
  runtime::Thread two("routes-2", [&] { work(2); });
  one.join();
  two.join();
  EXPECT_EQ(book.size(), kRouteSiblingsMax + 1);
}

}  // namespace
}  // namespace wscope::gateway
