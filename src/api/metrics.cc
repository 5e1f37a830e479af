#include "api/metrics.h"

#include <utility>

#include "base/text.h"

namespace wscope::api {

net::Response metrics(net::Request const& request, MetricsSource const& source) {
  // A client may split the list over several fields (RFC 9110, section 5.3).
  std::string accept;
  for (auto const& [name, value] : request.headers) {
    if (!base::equals_ignoring_case(name, "accept")) continue;
    if (!accept.empty()) accept += ", ";
    accept += value;
  }
  MetricsBody rendered = source(accept);
  net::Response response;
  response.content_type = std::move(rendered.content_type);
  response.headers.emplace_back("Cache-Control", "no-store");
  response.body = std::move(rendered.body);
  return response;
}

void add_metrics(net::HttpServer& server, MetricsSource source) {
  server.route("GET", "/metrics",
               [source = std::move(source)](net::Request const& request, net::Responder responder) {
                 responder.send(metrics(request, source));
               });
}

}  // namespace wscope::api
