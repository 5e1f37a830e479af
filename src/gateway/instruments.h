#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/ws/frame.h"
#include "telemetry/registry.h"

namespace wscope::gateway {

enum class Direction : uint8_t { in, out };  // in: from the client

// Who ended a connection.
enum class Initiator : uint8_t { client, backend, gateway };
std::string_view name_of(Direction direction);
std::string_view name_of(Initiator initiator);

// An error as the contract counts it: both labels come from this table or from the HTTP head
// parser, never from a peer's bytes.
struct ErrorKind {
  std::string_view type;
  std::string_view code;
};

// All families of the gateway, registered once. The names without `ws_` are the guide's and carry
// exactly the labels that the contract gives them; what is richer is in `ws_*`.
//
// Thread: constructed by main; then any (handles are taken per loop, see LoopInstruments).
class Families {
 public:
  // CHECK-fails if a name is taken: they are all ours.
  explicit Families(telemetry::Registry& registry);

  telemetry::GaugeFamily& active;
  telemetry::CounterFamily& opened;
  telemetry::CounterFamily& closed;
  telemetry::HistogramFamily& connection_seconds;
  telemetry::CounterFamily& messages;
  telemetry::HistogramFamily& message_bytes;
  telemetry::HistogramFamily& processing_seconds;
  telemetry::HistogramFamily& session_seconds;
  telemetry::CounterFamily& errors;
  telemetry::CounterFamily& requests;
  telemetry::HistogramFamily& redis_seconds;
  telemetry::CounterFamily& http_requests;
  telemetry::HistogramFamily& http_seconds;
  telemetry::GaugeFamily& http_active;

  telemetry::CounterFamily& ws_handshakes;           // route, status
  telemetry::HistogramFamily& ws_handshake_seconds;  // route
  telemetry::GaugeFamily& ws_open;                   // route
  telemetry::CounterFamily& ws_messages;             // route, direction, opcode
  telemetry::CounterFamily& ws_frames;               // route, direction, opcode
  telemetry::CounterFamily& ws_wire_bytes;           // route, direction, opcode
  telemetry::CounterFamily& ws_payload_bytes;        // route, direction, opcode
  telemetry::HistogramFamily& ws_message_bytes;      // direction
  telemetry::CounterFamily& ws_closes;               // route, close_code, initiator
  telemetry::HistogramFamily& ws_relay_seconds;      // direction
  telemetry::HistogramFamily& ws_reply_seconds;      // route
  telemetry::CounterFamily& ws_unmatched;            // route
  telemetry::CounterFamily& ws_deliveries;           // route
  telemetry::CounterFamily& ws_compressed;           // direction
  telemetry::GaugeFamily& ws_age;                    // older_than
  telemetry::GaugeFamily& ws_queue_bytes;
  telemetry::CounterFamily& ws_held_back;  // direction
  telemetry::CounterFamily& ws_accept_failures;
  telemetry::CounterFamily& ws_http_errors;  // error_type
};

// What one turn came to for one route, by direction and opcode. Plain numbers side by side: the
// cells lie far apart, so they are visited once a turn and not once a read.
struct RouteTally {
  uint64_t messages[2][2] = {};
  uint64_t frames[2][6] = {};
  uint64_t payload[2][6] = {};
  uint64_t wire[2][6] = {};
};

// What one loop adds to for one route: resolved once, then only added to.
struct RouteInstruments {
  RouteTally tally;
  bool touched = false;  // the tally holds something
  // Hands the tally to the cells and empties it.
  void flush();

  telemetry::Gauge open;
  telemetry::Counter messages[2][2];  // direction; text, binary
  telemetry::Counter frames[2][6];    // direction; continuation, text, binary, close, ping, pong
  // By the opcode of the message that a frame belongs to, so that a fragmented text is all text.
  telemetry::Counter wire_bytes[2][6];
  telemetry::Counter payload_bytes[2][6];
  telemetry::Histogram handshake_seconds;
  telemetry::Histogram reply_seconds;
  telemetry::Counter unmatched;
  telemetry::Counter deliveries;
};

// Index of an opcode in RouteInstruments::frames.
inline size_t frame_index(net::ws::Opcode opcode) {
  auto const value = static_cast<uint8_t>(opcode);
  return value < 3 ? value : value - 5u;
}
inline size_t message_index(net::ws::Opcode opcode) {
  return opcode == net::ws::Opcode::binary ? 1 : 0;
}

// The handles of one loop.
//
// Thread: that loop (constructed there or before it runs).
class LoopInstruments {
 public:
  LoopInstruments(Families& families, telemetry::Shard& shard);

  RouteInstruments& route(uint16_t id, std::string_view text);
  // Makes what a known route will count exist at 0 before its first connection.
  void expect(uint16_t id, std::string_view text);
  // Counts an error under its bounded names.
  void error(ErrorKind kind);
  void error_for_close(std::string_view type, uint16_t code);
  void handshake(std::string_view route, int status);
  void closed(std::string_view route, uint16_t code, Initiator initiator);
  void http_request(std::string_view method, std::string_view endpoint, int status, double seconds);
  void http_error(std::string_view type);
  // Sets how many open connections are older than each edge of kAgeEdges.
  void ages(std::array<uint64_t, 9> const& older);

  static constexpr std::array<int64_t, 9> kAgeEdgesS = {1, 5, 15, 30, 60, 300, 600, 1800, 3600};

  // A route's tally, to be handed to the cells by flush().
  RouteTally& tally(RouteInstruments& route) {
    if (!route.touched) {
      route.touched = true;
      touched_.push_back(&route);
    }
    return route.tally;
  }
  // App-wide counts of this turn.
  void add_messages(uint64_t processed, uint64_t received) {
    messages_ += processed;
    requests_ += received;
  }
  // Hands all tallies to the cells; once a turn.
  void flush();

  telemetry::Gauge active;
  telemetry::Counter connections_opened;
  telemetry::Counter connections_closed;
  telemetry::Histogram connection_seconds;
  telemetry::Counter messages;
  telemetry::Histogram message_bytes;
  telemetry::Histogram processing_seconds;
  telemetry::Histogram session_seconds;
  telemetry::Counter requests;
  telemetry::Gauge http_active;
  telemetry::Histogram ws_message_bytes[2];
  telemetry::Histogram relay_seconds[2];
  telemetry::Counter compressed[2];
  telemetry::Counter held_back[2];
  telemetry::Counter accept_failures;
  telemetry::Gauge queue_bytes;

 private:
  std::vector<RouteInstruments*> touched_;
  uint64_t messages_ = 0;
  uint64_t requests_ = 0;
  Families& families_;
  telemetry::Shard& shard_;
  std::vector<std::unique_ptr<RouteInstruments>> routes_;
  // Rare ones are looked up by their labels; bounded by the families' budgets and the closed lists
  // that the labels come from.
  std::map<std::pair<std::string, std::string>, telemetry::Counter> errors_;
  std::map<std::string, telemetry::Counter, std::less<>> by_key_;
  telemetry::Histogram http_seconds_;
  std::array<telemetry::Gauge, 9> ages_;
};

// Every error_type and error_code that can occur, so that each child exists at 0 from the start.
std::vector<ErrorKind> known_errors();

// The closed list of methods that label django_http_requests_total; anything else is "other".
std::string_view method_label(std::string_view method);

}  // namespace wscope::gateway
