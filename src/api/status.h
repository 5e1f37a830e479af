#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "api/health.h"
#include "net/http_server.h"
#include "runtime/sync.h"

namespace wscope::api {

// What does not change while the program runs.
struct StatusFacts {
  std::string version;
  int64_t started_unix_ns = 0;
  uint64_t loops = 0;
  std::string edge;      // "http://127.0.0.1:8080"
  std::string observer;  // "http://127.0.0.1:9600"
  std::string upstream;  // "" = built-in rooms and echo
};

// One look at the whole program; totals since start, from which the board makes rates.
struct StatusSample {
  int64_t unix_ns = 0;
  uint64_t connections_open = 0;
  uint64_t connections_total = 0;
  uint64_t sessions = 0;
  uint64_t messages_in = 0;
  uint64_t messages_out = 0;
  uint64_t bytes_in = 0;  // payload
  uint64_t bytes_out = 0;
  uint64_t errors = 0;
  double p95_s = 0;  // processing time; NaN where nothing was processed
  uint64_t memory_bytes = 0;
  double cpu_ratio = 0;  // of one core
  // Records lost, by what: {"log lines", 3}.
  std::vector<std::pair<std::string, uint64_t>> dropped = {};
};

// Keeps the last five minutes of samples for the start page and /api/v1/status.
//
// Thread: any.
class StatusBoard {
 public:
  static constexpr size_t kPoints = 300;

  explicit StatusBoard(StatusFacts facts) : facts_(std::move(facts)) {}

  // Once a second. A sample that is not later than the one before is ignored.
  void push(StatusSample sample);

  // The data of /api/v1/status: facts, the last sample with rates over the time since the one
  // before, and `history`: one array a quantity, oldest first, at most kPoints.
  std::string json(Readiness const& readiness) const;

 private:
  struct Point {
    int64_t unix_ms;
    double values[8];
  };
  struct State {
    StatusSample last;
    std::vector<Point> points;  // a ring once it has kPoints
    size_t next = 0;
    uint64_t pushed = 0;
  };
  static Point point_of(StatusSample const& before, StatusSample const& now, bool first);

  StatusFacts const facts_;
  runtime::Guarded<State> state_;
};

// GET /api/v1/status. Borrows `board`, which outlives the server.
//
// Thread: as HttpServer::route().
void add_status(net::HttpServer& server, StatusBoard const& board, ReadinessSource readiness);

}  // namespace wscope::api
