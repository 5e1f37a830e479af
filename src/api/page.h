#pragma once

#include <string>

#include "net/http_server.h"

namespace wscope::api {

// GET /: the start page. One HTML document with its style and script inside and nothing fetched
// from elsewhere; its Content-Security-Policy allows exactly that (hashes of both). It holds no
// data: the script asks /api/v1/status, with a token that the reader types where one is set.
//
// Thread: as HttpServer::route().
void add_page(net::HttpServer& server);
net::Response page();

// The pieces, as the build embeds them.
struct PageParts {
  std::string_view html;  // holds the marks {{style}} and {{script}}
  std::string_view style;
  std::string_view script;
};
PageParts page_parts();

}  // namespace wscope::api
