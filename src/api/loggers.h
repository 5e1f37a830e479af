#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/http_server.h"

namespace wscope::api {

struct LoggerRow {
  std::string name;
  std::string level;  // "DEBUG" … "CRITICAL"
};

// The loggers behind the API.
struct LoggerSource {
  std::function<std::vector<LoggerRow>()> list;
  // Returns not_found (with the nearest name) or invalid (no such level).
  std::function<base::Status(std::string_view name, std::string_view level)> set;
};

// GET /api/v1/loggers, GET and PUT /api/v1/loggers/{name} with {"level":"DEBUG"}.
//
// Thread: as HttpServer::route().
void add_loggers(net::HttpServer& server, LoggerSource source);
net::Response loggers(LoggerSource const& source);
net::Response logger(std::string_view name, LoggerSource const& source);
net::Response set_logger(std::string_view name, std::string_view body, LoggerSource const& source);

}  // namespace wscope::api
