#pragma once

#include <functional>
#include <string>
#include <vector>

#include "net/http_server.h"

namespace wscope::api {

// Whether new connections should be sent here.
struct Readiness {
  bool ready = true;
  std::vector<std::string> reasons = {};  // why not, as "draining"
};
using ReadinessSource = std::function<Readiness()>;

// GET /healthz: 200 as long as the observer's loop turns. GET /readyz: 200, or 503 with the
// reasons.
//
// Thread: as HttpServer::route().
void add_health(net::HttpServer& server, ReadinessSource source);
net::Response healthz();
net::Response readyz(Readiness const& readiness);

}  // namespace wscope::api
