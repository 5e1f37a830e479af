#include "net/http_client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>

#include "base/text.h"
#include "net/date.h"

namespace wscope::net {

using base::Errc;
using base::fail;
using base::Result;

namespace {

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, ListDeleter>;

// What libcurl's callbacks fill during one call.
struct Transfer {
  HttpReply reply;
  size_t bytes_max = 0;
  size_t head_bytes = 0;
  bool too_large = false;
  runtime::Flag const* cancelled = nullptr;
};

size_t on_body(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (transfer.reply.body.size() + size > transfer.bytes_max) {
    transfer.too_large = true;
    return 0;
  }
  transfer.reply.body.append(data, size);
  return size;
}

size_t on_header(char* data, size_t, size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  transfer.head_bytes += size;
  if (transfer.head_bytes > transfer.bytes_max) {
    transfer.too_large = true;
    return 0;
  }
  std::string_view line(data, size);
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  // Each status line starts anew: after a redirect or a 100 only the last head counts.
  if (line.starts_with("HTTP/")) transfer.reply.headers.clear();
  size_t const colon = line.find(':');
  if (colon != std::string_view::npos && !line.starts_with("HTTP/")) {
    transfer.reply.headers.emplace_back(base::to_lower(line.substr(0, colon)),
                                        base::trim(line.substr(colon + 1)));
  }
  return size;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(user)->cancelled->up() ? 1 : 0;
}

// The URL as it may be shown: nothing that can hold a secret.
std::string shown(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  size_t const mark = url.find("://");
  size_t const start = mark == std::string_view::npos ? 0 : mark + 3;
  std::string_view const authority = url.substr(start, url.find('/', start) - start);
  size_t const at = authority.rfind('@');
  std::string out(url.substr(0, start));
  out += url.substr(at == std::string_view::npos ? start : start + at + 1);
  return out;
}

Errc code_of(CURLcode code) {
  switch (code) {
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_SSL_CACERT_BADFILE:
      return Errc::invalid;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return Errc::not_found;
    case CURLE_COULDNT_CONNECT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_TOO_MANY_REDIRECTS:
      return Errc::refused;
    case CURLE_OPERATION_TIMEDOUT:
      return Errc::timeout;
    case CURLE_ABORTED_BY_CALLBACK:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
      return Errc::closed;
    case CURLE_WEIRD_SERVER_REPLY:
      return Errc::corrupt;
    default:
      return Errc::io;
  }
}

bool has_line_end(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

// libcurl must not touch the process's signal handlers, so a broken pipe is kept from this thread.
void block_sigpipe() {
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  (void)pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
}

// libcurl wants it once, before any handle; a static's initialisation is that.
bool library_ready() {
  static bool const ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return ready;
}

}  // namespace

struct HttpClient::Handle {
  CURL* curl = nullptr;
  char words[CURL_ERROR_SIZE] = "";

  ~Handle() { curl_easy_cleanup(curl); }
  void set_up(HttpClientOptions const& options, HttpRequest const& request, Transfer& transfer);
};

std::string_view HttpReply::header(std::string_view name) const {
  for (auto const& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

HttpClient::HttpClient(base::Clock const& clock, HttpClientOptions options)
    : clock_(clock), options_(std::move(options)), handle_(std::make_unique<Handle>()) {
  if (library_ready()) handle_->curl = curl_easy_init();
}

HttpClient::~HttpClient() = default;

void HttpClient::Handle::set_up(HttpClientOptions const& options, HttpRequest const& request,
                                Transfer& transfer) {
  // Keeps the connections and the TLS sessions, forgets everything else.
  curl_easy_reset(curl);
  auto const set = [this](CURLoption option, auto value) { curl_easy_setopt(curl, option, value); };
  auto const ms = [](int64_t ns) {
    return static_cast<long>(std::max<int64_t>(ns / base::kMilli, 1));
  };
  words[0] = '\0';
  set(CURLOPT_ERRORBUFFER, words);
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT_MS, ms(options.connect_timeout_ns));
  set(CURLOPT_TIMEOUT_MS, ms(options.total_timeout_ns));
  set(CURLOPT_USERAGENT, options.user_agent.c_str());
  set(CURLOPT_PROXY, options.proxy.c_str());
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options.ca_file.empty()) {
    set(CURLOPT_CAINFO, options.ca_file.c_str());
    set(CURLOPT_CAPATH, nullptr);
  }
  set(CURLOPT_FOLLOWLOCATION, options.redirects_max > 0 ? 1L : 0L);
  set(CURLOPT_MAXREDIRS, static_cast<long>(options.redirects_max));
  if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (request.method == "GET") {
    set(CURLOPT_HTTPGET, 1L);
  } else {
    set(CURLOPT_POST, 1L);
    set(CURLOPT_POSTFIELDS, request.body.data());
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    if (request.method != "POST") set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  set(CURLOPT_WRITEFUNCTION, &on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  set(CURLOPT_HEADERFUNCTION, &on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &on_progress);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(&transfer));
}

Result<HttpReply> HttpClient::send(HttpRequest const& request) {
  if (handle_->curl == nullptr) return fail(Errc::io, "HTTP client: libcurl could not be started");
  std::string const where = request.method + " " + shown(request.url);
  if (cancelled_.up()) return fail(Errc::closed, where + ": cancelled");
  if (has_line_end(request.method) || has_line_end(request.url)) {
    return fail(Errc::invalid, "HTTP client: a line end in method or URL");
  }
  Transfer transfer;
  transfer.bytes_max = options_.response_bytes_max;
  transfer.cancelled = &cancelled_;
  handle_->set_up(options_, request, transfer);
  // Waiting for 100 Continue costs a second with servers that do not know it.
  List list(curl_slist_append(nullptr, "Expect:"));
  for (auto const& [name, value] : request.headers) {
    if (has_line_end(name) || has_line_end(value)) {
      return fail(Errc::invalid, where + ": a line end in a header");
    }
    // An empty value is said with a semicolon; a colon alone would take the header away.
    std::string const line = value.empty() ? name + ";" : name + ": " + value;
    curl_slist* const grown = curl_slist_append(list.get(), line.c_str());
    if (grown == nullptr) return fail(Errc::io, where + ": no memory");
    (void)list.release();
    list.reset(grown);
  }
  curl_easy_setopt(handle_->curl, CURLOPT_HTTPHEADER, list.get());
  block_sigpipe();
  CURLcode const code = curl_easy_perform(handle_->curl);
  if (transfer.too_large) {
    return fail(Errc::over_limit, where + ": reply of more than " +
                                      std::to_string(options_.response_bytes_max) + " bytes");
  }
  if (code != CURLE_OK) {
    char const* const words = handle_->words[0] != '\0' ? handle_->words : curl_easy_strerror(code);
    return fail(code_of(code), where + ": " + (cancelled_.up() ? "cancelled" : words));
  }
  long status = 0;
  curl_easy_getinfo(handle_->curl, CURLINFO_RESPONSE_CODE, &status);
  transfer.reply.status = static_cast<int>(status);
  transfer.reply.retry_after_ns =
      parse_retry_after(transfer.reply.header("retry-after"), clock_.unix_ns());
  return std::move(transfer.reply);
}

}  // namespace wscope::net
