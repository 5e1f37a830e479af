#include "api/loggers.h"

#include <algorithm>
#include <utility>

#include "api/envelope.h"
#include "api/json_body.h"
#include "base/json.h"
#include "base/text.h"

namespace wscope::api {
namespace {

constexpr std::string_view kPrefix = "/api/v1/loggers/";

void write_row(base::JsonWriter& json, LoggerRow const& row) {
  json.begin_object()
      .field("name", std::string_view(row.name))
      .field("level", std::string_view(row.level))
      .end_object();
}

std::string_view name_in(net::Request const& request) {
  return std::string_view(request.path).substr(kPrefix.size());
}

}  // namespace

net::Response loggers(LoggerSource const& source) {
  std::string data;
  base::JsonWriter json(data);
  json.begin_object().key("loggers").begin_array();
  for (LoggerRow const& row : source.list()) write_row(json, row);
  json.end_array().end_object();
  return success(data);
}

net::Response logger(std::string_view name, LoggerSource const& source) {
  std::vector<LoggerRow> const rows = source.list();
  auto const found = std::ranges::find(rows, name, &LoggerRow::name);
  if (found == rows.end()) {
    std::vector<std::string_view> known;
    for (LoggerRow const& row : rows) known.push_back(row.name);
    std::string_view const near = base::nearest(name, known);
    std::string const hint = near.empty() ? "" : "; did you mean '" + std::string(near) + "'?";
    return failure({base::Errc::not_found, "no logger '" + std::string(name) + "'" + hint});
  }
  std::string data;
  base::JsonWriter json(data);
  write_row(json, *found);
  return success(data);
}

net::Response set_logger(std::string_view name, std::string_view body, LoggerSource const& source) {
  auto const level = only_text_member(body, "level");
  if (!level) return failure(level.error());
  if (auto const set = source.set(name, *level); !set) return failure(set.error());
  return logger(name, source);
}

void add_loggers(net::HttpServer& server, LoggerSource source) {
  server.route("GET", "/api/v1/loggers", [source](net::Request const&, net::Responder responder) {
    responder.send(loggers(source));
  });
  server.route("GET", "/api/v1/loggers/*",
               [source](net::Request const& request, net::Responder responder) {
                 responder.send(logger(name_in(request), source));
               });
  server.route("PUT", "/api/v1/loggers/*",
               [source = std::move(source)](net::Request const& request, net::Responder responder) {
                 responder.send(set_logger(name_in(request), request.body, source));
               });
}

}  // namespace wscope::api
