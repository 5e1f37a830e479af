#include "app/session_rows.h"

#include <algorithm>
#include <map>
#include <string>

namespace wscope::app {
namespace {

void add(api::SessionRow& row, gateway::ConnectionRow const& connection) {
  ++row.connections;
  if (row.opened_unix_ns == 0 || connection.opened_unix_ns < row.opened_unix_ns) {
    row.opened_unix_ns = connection.opened_unix_ns;
  }
  if (connection.opened_unix_ns >= row.last_seen_unix_ns) {
    row.last_seen_unix_ns = connection.opened_unix_ns;
    row.route = connection.route;
    row.client = connection.client;
  }
  row.messages_in += connection.messages_in;
  row.messages_out += connection.messages_out;
  row.bytes_in += connection.bytes_in;
  row.bytes_out += connection.bytes_out;
}

}  // namespace

api::SessionPage session_page(std::vector<gateway::ConnectionRow> const& connections,
                              std::vector<gateway::SessionRow> const& sessions, size_t offset,
                              size_t limit) {
  std::map<std::string, api::SessionRow> by_key;
  for (gateway::ConnectionRow const& connection : connections) {
    api::SessionRow& row = by_key[connection.session];
    row.key = connection.session;
    add(row, connection);
  }
  for (gateway::SessionRow const& session : sessions) {
    api::SessionRow& row = by_key[masked(session.session)];
    row.key = masked(session.session);
    row.opened_unix_ns = session.first_open_ns;
    row.last_seen_unix_ns = std::max(row.last_seen_unix_ns, session.last_close_ns);
  }
  std::vector<api::SessionRow> rows;
  rows.reserve(by_key.size());
  for (auto& [key, row] : by_key) rows.push_back(std::move(row));
  std::stable_sort(rows.begin(), rows.end(), [](auto const& a, auto const& b) {
    return a.opened_unix_ns > b.opened_unix_ns;
  });
  api::SessionPage page;
  page.total = rows.size();
  for (size_t i = offset; i < rows.size() && i - offset < limit; ++i) {
    page.rows.push_back(std::move(rows[i]));
  }
  return page;
}

}  // namespace wscope::app
