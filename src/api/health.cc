#include "api/health.h"

#include <utility>

#include "base/json.h"

namespace wscope::api {
namespace {

net::Response uncached(std::string body, int status) {
  net::Response response = net::Response::json(std::move(body), status);
  response.headers.emplace_back("Cache-Control", "no-store");
  return response;
}

}  // namespace

net::Response healthz() { return uncached("{\"status\":\"ok\"}\n", 200); }

net::Response readyz(Readiness const& readiness) {
  if (readiness.ready) return uncached("{\"status\":\"ready\"}\n", 200);
  std::string body;
  base::JsonWriter json(body);
  json.begin_object().field("status", "not_ready").key("reasons").begin_array();
  for (std::string const& reason : readiness.reasons) json.value(std::string_view(reason));
  json.end_array().end_object();
  return uncached(body + "\n", 503);
}

void add_health(net::HttpServer& server, ReadinessSource source) {
  server.route("GET", "/healthz",
               [](net::Request const&, net::Responder responder) { responder.send(healthz()); });
  server.route("GET", "/readyz",
               [source = std::move(source)](net::Request const&, net::Responder responder) {
                 responder.send(readyz(source()));
               });
}

}  // namespace wscope::api
