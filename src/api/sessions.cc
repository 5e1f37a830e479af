#include "api/sessions.h"

#include <memory>
#include <utility>

#include "api/envelope.h"
#include "base/json.h"

namespace wscope::api {
namespace {

constexpr size_t kKeyShown = 4;
constexpr size_t kKeyShownFrom = 12;

void write_row(base::JsonWriter& json, SessionRow const& row) {
  json.begin_object()
      .field("session", std::string_view(row.key))
      .field("connections", row.connections)
      .field("opened", std::string_view(utc_text(row.opened_unix_ns)))
      .field("last_seen", std::string_view(utc_text(row.last_seen_unix_ns)))
      .field("messages_in", row.messages_in)
      .field("messages_out", row.messages_out)
      .field("bytes_in", row.bytes_in)
      .field("bytes_out", row.bytes_out)
      .field("route", std::string_view(row.route))
      .field("client", std::string_view(row.client))
      .end_object();
}

net::Response answer(SessionPage const& page, size_t offset, size_t limit) {
  std::string data;
  base::JsonWriter json(data);
  json.begin_object().key("sessions").begin_array();
  for (SessionRow const& row : page.rows) write_row(json, row);
  json.end_array()
      .field("total", page.total)
      .field("limit", uint64_t{limit})
      .field("offset", uint64_t{offset})
      .end_object();
  return success(data);
}

}  // namespace

void sessions(net::Request const& request, SessionSource const& source,
              std::function<void(net::Response)> done) {
  auto const paging = paging_of(request);
  if (!paging) {
    done(failure(paging.error()));
    return;
  }
  source(paging->offset, paging->limit,
         [done = std::move(done), limit = paging->limit,
          offset = paging->offset](SessionPage const& page) { done(answer(page, offset, limit)); });
}

void add_sessions(net::HttpServer& server, SessionSource source) {
  server.route("GET", "/api/v1/sessions",
               [source = std::move(source)](net::Request const& request, net::Responder responder) {
                 auto const answerer = std::make_shared<net::Responder>(std::move(responder));
                 sessions(request, source, [answerer](net::Response response) {
                   answerer->send(std::move(response));
                 });
               });
}

std::string mask_key(std::string_view key) {
  std::string out;
  if (key.size() >= kKeyShownFrom) {
    for (char const c : key.substr(0, kKeyShown)) {
      out += c > ' ' && c < 0x7f ? c : '?';
    }
  }
  return out + "… (" + std::to_string(key.size()) + ")";
}

}  // namespace wscope::api
