#include "api/observer.h"

#include <utility>

#include "api/page.h"

namespace wscope::api {

void add_observer(net::HttpServer& server, StatusBoard const& board, ObserverSources sources) {
  add_page(server);
  add_metrics(server, std::move(sources.metrics));
  add_health(server, sources.readiness);
  add_status(server, board, std::move(sources.readiness));
  add_sessions(server, std::move(sources.sessions));
  add_loggers(server, std::move(sources.loggers));
  add_config(server, std::move(sources.config));
}

std::vector<std::string> open_paths() { return {"/", "/healthz", "/readyz"}; }

}  // namespace wscope::api
