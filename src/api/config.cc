#include "api/config.h"

#include <utility>

#include "api/envelope.h"
#include "base/json.h"

namespace wscope::api {

net::Response config(ConfigSource const& source) {
  std::string data;
  base::JsonWriter json(data);
  json.begin_object().field("yaml", std::string_view(source())).end_object();
  return success(data);
}

void add_config(net::HttpServer& server, ConfigSource source) {
  server.route("GET", "/api/v1/status/config",
               [source = std::move(source)](net::Request const&, net::Responder responder) {
                 responder.send(config(source));
               });
}

}  // namespace wscope::api
