#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http_server.h"

namespace wscope::api {

// What all answers under /api/v1 share: {"status":"success","data":…} as Prometheus's API has it,
// and errors {"status":"error","errorType":…,"error":…}.
//
// Thread: any (pure functions).

// 200 with `data_json` as data.
net::Response success(std::string_view data_json);

// The error as an answer: invalid, over_limit -> 400 bad_data; not_found -> 404; exists, refused ->
// 422; timeout, closed -> 503 unavailable; corrupt, io -> 500 internal.
net::Response failure(base::Error const& error);

// Which part of a list is asked for by `limit` and `offset`.
struct Paging {
  size_t limit;
  size_t offset;
};
inline constexpr size_t kRowsDefault = 1000;
inline constexpr size_t kRowsMax = 10'000;

// Returns invalid if one of the two is no number, or limit is over kRowsMax.
base::Result<Paging> paging_of(net::Request const& request);

// "2026-01-02T03:04:05.678Z".
std::string utc_text(int64_t unix_ns);

}  // namespace wscope::api
