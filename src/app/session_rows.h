#pragma once

#include <vector>

#include "api/sessions.h"
#include "gateway/gateway.h"

namespace wscope::app {

// The page of /api/v1/sessions: open connections joined by their session, and keyed sessions that
// wait for a reconnect. Newest first.
//
// Thread: any.
api::SessionPage session_page(std::vector<gateway::ConnectionRow> const& connections,
                              std::vector<gateway::SessionRow> const& sessions, size_t offset,
                              size_t limit);

}  // namespace wscope::app
