#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "net/http_server.h"

namespace wscope::api {

struct MetricsBody {
  std::string content_type;
  std::string body;
};

// Renders everything in the format that an Accept value asks for. Called on the server's loop.
using MetricsSource = std::function<MetricsBody(std::string_view accept)>;

// GET /metrics. The server compresses it where asked to.
//
// Thread: as HttpServer::route().
void add_metrics(net::HttpServer& server, MetricsSource source);
net::Response metrics(net::Request const& request, MetricsSource const& source);

}  // namespace wscope::api
