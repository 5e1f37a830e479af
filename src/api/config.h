#pragma once

#include <functional>
#include <string>

#include "net/http_server.h"

namespace wscope::api {

// The effective configuration as YAML, without secrets.
using ConfigSource = std::function<std::string()>;

// GET /api/v1/status/config: {"yaml": …}, as Prometheus has it.
//
// Thread: as HttpServer::route().
void add_config(net::HttpServer& server, ConfigSource source);
net::Response config(ConfigSource const& source);

}  // namespace wscope::api
