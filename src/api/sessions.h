#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_server.h"

namespace wscope::api {

// One session as shown. `key` must be masked already (mask_key), for a session's key is a password.
struct SessionRow {
  std::string key;
  uint64_t connections = 0;  // open now; 0 within the grace time
  int64_t opened_unix_ns = 0;
  int64_t last_seen_unix_ns = 0;  // of the latest open or close
  uint64_t messages_in = 0;
  uint64_t messages_out = 0;
  uint64_t bytes_in = 0;  // payload
  uint64_t bytes_out = 0;
  std::string route;   // of the latest connection, as "/ws/{room}"
  std::string client;  // its address
};

struct SessionPage {
  std::vector<SessionRow> rows;
  uint64_t total = 0;  // sessions there are, shown or not
};
// What a source hands its page to; from any thread, once.
using SessionDone = std::function<void(SessionPage)>;
// Sessions from `offset` on, at most `limit`, in a stable order. Called on the server's loop; may
// answer later, since the loops that own the connections are asked.
using SessionSource = std::function<void(size_t offset, size_t limit, SessionDone done)>;

// GET /api/v1/sessions?limit=&offset=
//
// Thread: as HttpServer::route().
void add_sessions(net::HttpServer& server, SessionSource source);
void sessions(net::Request const& request, SessionSource const& source,
              std::function<void(net::Response)> done);

// Enough of a key to tell sessions apart by eye, too little to use it: the first four characters of
// twelve or more, else none, and the length: "k3Xa… (32)".
std::string mask_key(std::string_view key);

}  // namespace wscope::api
