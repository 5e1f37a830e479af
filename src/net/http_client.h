#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "runtime/cells.h"

namespace wscope::net {

struct HttpClientOptions {
  int64_t connect_timeout_ns = 5 * base::kSecond;
  int64_t total_timeout_ns = 10 * base::kSecond;
  size_t response_bytes_max = 4 << 20;  // head and body each
  std::string ca_file;                  // PEM; empty = the authorities of the system
  std::string proxy;                    // URL; empty = none (the environment is not asked)
  int redirects_max = 0;
  std::string user_agent = "wscope";
};

struct HttpRequest {
  std::string url;
  std::string method = "POST";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

struct HttpReply {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  // What Retry-After asks for, from now.
  std::optional<int64_t> retry_after_ns;

  // The first one's value; empty if there is none. `name` in lower case.
  std::string_view header(std::string_view name) const;
};

// HTTP and HTTPS to others, by libcurl. Connections are kept and used again; certificates and host
// names are always verified.
//
// Thread: one an instance (blocks it), except cancel().
class HttpClient {
 public:
  // Borrows `clock` (for dates in Retry-After), which outlives it.
  explicit HttpClient(base::Clock const& clock, HttpClientOptions options = {});
  ~HttpClient();
  HttpClient(HttpClient const&) = delete;
  HttpClient& operator=(HttpClient const&) = delete;

  // Any status is a reply. Returns invalid (URL or header), not_found (host name), refused
  // (connection or certificate), timeout, over_limit (reply too large), closed (cancelled, or the
  // peer hung up), io. `what` names the URL without its user, password and query.
  base::Result<HttpReply> send(HttpRequest const& request);
  base::Result<HttpReply> post(HttpRequest const& request) { return send(request); }

  // Ends the call under way within a second and makes later ones fail with `closed`.
  // Thread: any.
  void cancel() { cancelled_.raise(); }

 private:
  struct Handle;
  base::Clock const& clock_;
  HttpClientOptions const options_;
  runtime::Flag cancelled_;
  std::unique_ptr<Handle> handle_;
};

}  // namespace wscope::net
