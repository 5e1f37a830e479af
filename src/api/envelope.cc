#include "api/envelope.h"

#include <cstdio>
#include <ctime>

#include "base/clock.h"
#include "base/text.h"

namespace wscope::api {

using base::Errc;

net::Response success(std::string_view data_json) {
  std::string body = R"({"status":"success","data":)";
  body += data_json;
  body += "}\n";
  return net::Response::json(std::move(body));
}

net::Response failure(base::Error const& error) {
  switch (error.code) {
    case Errc::invalid:
    case Errc::over_limit:
      return net::Response::error(400, "bad_data", error.what);
    case Errc::not_found:
      return net::Response::error(404, "not_found", error.what);
    case Errc::exists:
    case Errc::refused:
      return net::Response::error(422, "execution", error.what);
    case Errc::timeout:
    case Errc::closed:
      return net::Response::error(503, "unavailable", error.what);
    case Errc::corrupt:
    case Errc::io:
      break;
  }
  return net::Response::error(500, "internal", error.what);
}

base::Result<Paging> paging_of(net::Request const& request) {
  Paging paging{kRowsDefault, 0};
  if (auto const text = request.param("limit")) {
    auto const limit = base::parse_uint(*text);
    if (!limit || *limit > kRowsMax) {
      return base::fail(Errc::invalid, "limit: expected a whole number from 0 to 10000");
    }
    paging.limit = *limit;
  }
  if (auto const text = request.param("offset")) {
    auto const offset = base::parse_uint(*text);
    if (!offset) return base::fail(Errc::invalid, "offset: expected a whole number");
    paging.offset = *offset;
  }
  return paging;
}

std::string utc_text(int64_t unix_ns) {
  int64_t const ms = unix_ns / base::kMilli;
  time_t const seconds = ms / 1000;
  tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900,
                parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<int>(ms % 1000));
  return text;
}

}  // namespace wscope::api
