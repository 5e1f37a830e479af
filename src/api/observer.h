#pragma once

#include <string>
#include <vector>

#include "api/config.h"
#include "api/health.h"
#include "api/loggers.h"
#include "api/metrics.h"
#include "api/sessions.h"
#include "api/status.h"
#include "net/http_server.h"

namespace wscope::api {

// Everything the observer serves, as callables that the wiring fills. All are called on the
// server's loop and must not block.
struct ObserverSources {
  MetricsSource metrics;
  ReadinessSource readiness;
  SessionSource sessions;
  LoggerSource loggers;
  ConfigSource config;
};

// Routes /, /metrics, /healthz, /readyz and /api/v1/…. Borrows `board`, which outlives the server.
//
// Thread: as HttpServer::route().
void add_observer(net::HttpServer& server, StatusBoard const& board, ObserverSources sources);

// The paths that need no token (HttpServerOptions::open_paths): they tell nothing but health.
std::vector<std::string> open_paths();

}  // namespace wscope::api
