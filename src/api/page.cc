#include "api/page.h"

#include <openssl/evp.h>

#include <array>
#include <utility>

namespace wscope::api {
namespace {

// 'sha256-…' of an inline style or script, as a policy names it (CSP level 3, section 2.3.1).
std::string hash_source(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  int const done =
      EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha256(), nullptr);
  WSCOPE_CHECK(done == 1);
  std::array<unsigned char, 4 * ((EVP_MAX_MD_SIZE + 2) / 3) + 1> encoded;
  int const length = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(size));
  return "'sha256-" +
         std::string(reinterpret_cast<char const*>(encoded.data()), static_cast<size_t>(length)) +
         "'";
}

void replace(std::string& text, std::string_view mark, std::string_view by) {
  size_t const at = text.find(mark);
  WSCOPE_CHECK(at != std::string::npos);
  text.replace(at, mark.size(), by);
}

}  // namespace

net::Response page() {
  PageParts const parts = page_parts();
  std::string html(parts.html);
  replace(html, "{{style}}", parts.style);
  replace(html, "{{script}}", parts.script);
  net::Response response = net::Response::html(std::move(html));
  response.headers.emplace_back(
      "Content-Security-Policy",
      "default-src 'none'; connect-src 'self'; img-src data:; style-src " +
          hash_source(parts.style) + "; script-src " + hash_source(parts.script) +
          "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  response.headers.emplace_back("Referrer-Policy", "no-referrer");
  response.headers.emplace_back("Cache-Control", "no-cache");
  return response;
}

void add_page(net::HttpServer& server) {
  server.route("GET", "/", [ready = page()](net::Request const&, net::Responder responder) {
    responder.send(ready);
  });
}

}  // namespace wscope::api
