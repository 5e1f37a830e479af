#include "gateway/instruments.h"

#include <charconv>

#include "gateway/routes.h"
#include "net/http_head.h"

namespace wscope::gateway {
namespace {

using telemetry::CounterFamily;
using telemetry::FamilyOptions;
using telemetry::GaugeFamily;
using telemetry::HistogramFamily;
using telemetry::Registry;

template <class T>
T& must(base::Result<T*> family) {
  if (!family) std::fprintf(stderr, "%s\n", family.error().what.c_str());
  WSCOPE_CHECK(family.has_value());
  return **family;
}

CounterFamily& counter(Registry& registry, std::string name, std::string help,
                       std::vector<std::string> labels = {}) {
  bool const plain = labels.empty();
  auto& family = must(registry.counter({std::move(name), std::move(help), "", std::move(labels)}));
  if (plain) family.declare({});
  return family;
}

GaugeFamily& gauge(Registry& registry, std::string name, std::string help,
                   std::vector<std::string> labels = {}) {
  bool const plain = labels.empty();
  auto& family = must(registry.gauge({std::move(name), std::move(help), "", std::move(labels)}));
  if (plain) family.declare({});
  return family;
}

HistogramFamily& histogram(Registry& registry, std::string name, std::string help,
                           std::vector<double> bounds, std::vector<std::string> labels = {}) {
  bool const plain = labels.empty();
  auto& family = must(registry.histogram({std::move(name), std::move(help), "", std::move(labels)},
                                         {std::move(bounds)}));
  if (plain) family.declare({});
  return family;
}

std::vector<double> const kFine = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001,
                                   0.0025,  0.005,    0.01,    0.025,  0.05,    0.1,    0.25,
                                   0.5,     1,        2.5,     5,      10};
// The guide's edges (0.001, 0.01, 0.1, 0.5, 1, 2, 5) with more between them.
std::vector<double> const kProcessing = {0.0001, 0.001, 0.005, 0.01, 0.025, 0.05,
                                         0.1,    0.25,  0.5,   1,    2,     5};
std::vector<double> const kSizes = {64, 256, 1024, 4096, 16384, 65536};
std::vector<double> const kHttp = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

std::string code_text(uint64_t value) {
  char digits[24];
  auto const [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  return {digits, end};
}

}  // namespace

std::string_view name_of(Direction direction) { return direction == Direction::in ? "in" : "out"; }

std::string_view name_of(Initiator initiator) {
  switch (initiator) {
    case Initiator::client:
      return "client";
    case Initiator::backend:
      return "backend";
    case Initiator::gateway:
      return "gateway";
  }
  return "gateway";
}

Families::Families(Registry& r)
    : active(gauge(r, "app_active_connections", "WebSocket connections open now.")),
      opened(counter(r, "app_connections_total", "WebSocket connections opened.")),
      closed(counter(r, "app_connections_closed_total", "WebSocket connections closed.")),
      connection_seconds(histogram(r, "app_connection_duration_seconds",
                                   "How long connections lasted, at their close.",
                                   {1, 5, 15, 30, 60, 300, 600, 1800, 3600})),
      messages(counter(r, "app_messages_total", "Data messages processed.")),
      message_bytes(histogram(r, "app_message_size_bytes",
                              "Payload of the messages processed, after inflating.", kSizes)),
      processing_seconds(histogram(
          r, "app_message_processing_seconds",
          "Served: arrival to the last write. Relayed: request to the backend's next message, or "
          "the gateway's own share where none came.",
          kProcessing)),
      session_seconds(histogram(r, "app_session_duration_seconds",
                                "How long sessions lasted, over reconnects.",
                                {60, 300, 900, 1800, 3600, 7200, 14400})),
      errors(counter(r, "app_errors_total", "Errors; at most one a request.",
                     {"error_type", "error_code"})),
      requests(counter(r, "app_requests_total", "Handshakes and messages from clients.")),
      redis_seconds(histogram(r, "redis_commands_duration_seconds", "Latency of Redis commands.",
                              {0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1})),
      http_requests(counter(r, "django_http_requests_total", "Plain HTTP requests relayed.",
                            {"method", "endpoint", "status"})),
      http_seconds(histogram(r, "django_http_request_duration_seconds",
                             "Plain HTTP requests, first byte to last.", kHttp)),
      http_active(gauge(r, "django_http_requests_active", "Plain HTTP requests being relayed.")),
      ws_handshakes(counter(r, "ws_handshakes_total", "Handshakes by the answer's status.",
                            {"route", "status"})),
      ws_handshake_seconds(histogram(r, "ws_handshake_seconds",
                                     "Handshakes, from the whole head to the answer.", kFine,
                                     {"route"})),
      ws_open(gauge(r, "ws_connections_open", "Connections open now.", {"route"})),
      ws_messages(
          counter(r, "ws_messages_total", "Data messages.", {"route", "direction", "opcode"})),
      ws_frames(
          counter(r, "ws_frames_total", "Frames on the wire.", {"route", "direction", "opcode"})),
      ws_wire_bytes(counter(r, "ws_wire_bytes_total", "Bytes of frames with their headers.",
                            {"route", "direction", "opcode"})),
      ws_payload_bytes(
          counter(r, "ws_payload_bytes_total",
                  "Payload bytes; inflated where served, as transferred where relayed.",
                  {"route", "direction", "opcode"})),
      ws_message_bytes(
          histogram(r, "ws_message_size_bytes", "Payload of messages.", kSizes, {"direction"})),
      ws_closes(counter(r, "ws_closes_total", "Connections by close code and who ended them.",
                        {"route", "close_code", "initiator"})),
      ws_relay_seconds(histogram(r, "ws_relay_seconds",
                                 "The gateway's own share: read to written on the other side.",
                                 kFine, {"direction"})),
      ws_reply_seconds(histogram(r, "ws_reply_seconds",
                                 "A client's message to the backend's next one.", kFine,
                                 {"route"})),
      ws_unmatched(counter(r, "ws_unmatched_messages_total",
                           "Client messages that no message of the backend followed.", {"route"})),
      ws_deliveries(
          counter(r, "ws_deliveries_total", "Messages handed to members of rooms.", {"route"})),
      ws_compressed(counter(r, "ws_compressed_messages_total",
                            "Messages that crossed the wire compressed.", {"direction"})),
      ws_age(gauge(r, "ws_connections_older_than", "Open connections older than so many seconds.",
                   {"seconds"})),
      ws_queue_bytes(gauge(r, "ws_send_queue_bytes", "Bytes waiting for slow readers.")),
      ws_held_back(counter(r, "ws_held_back_total",
                           "Times a sender was held back because its reader was slow.",
                           {"direction"})),
      ws_accept_failures(counter(r, "ws_accept_failures_total",
                                 "Connections not taken: no descriptor left, or over the limit.")),
      ws_http_errors(counter(r, "ws_http_relay_errors_total", "Plain HTTP requests that failed.",
                             {"error_type"})) {
  for (ErrorKind const& kind : known_errors()) errors.declare({kind.type, kind.code});
  for (std::string_view status : {"200", "404", "502", "504"}) {
    http_requests.declare({"GET", kRouteOther, status});
  }
  for (std::string_view type :
       {"backend_unreachable", "backend_timeout", "backend_closed", "bad_response"}) {
    ws_http_errors.declare({type});
  }
}

std::vector<ErrorKind> known_errors() {
  std::vector<ErrorKind> all = {
      {"unmasked_frame", "1002"},      {"masked_frame", "1002"},
      {"reserved_opcode", "1002"},     {"reserved_bits", "1002"},
      {"fragmented_control", "1002"},  {"control_too_long", "1002"},
      {"bad_frame_length", "1002"},    {"unexpected_continuation", "1002"},
      {"interleaved_message", "1002"}, {"bad_close_frame", "1002"},
      {"invalid_utf8", "1007"},        {"bad_deflate", "1007"},
      {"ping_flood", "1008"},          {"slow_consumer", "1008"},
      {"too_many_fragments", "1008"},  {"message_too_big", "1009"},
      {"inflation_limit", "1009"},     {"backend_lost", "1014"},
      {"backend_protocol", "1014"},    {"peer_timeout", "1006"},
      {"backend_unreachable", "502"},  {"backend_closed", "502"},
      {"bad_response", "502"},         {"backend_timeout", "504"},
      {"handshake_timeout", "408"},    {"not_found", "404"},
      {"too_many_connections", "503"}, {"handshake_aborted", "499"},
      {"tls_handshake", "525"},        {"bad_method", "405"},
      {"bad_version", "505"},          {"bad_websocket_version", "426"},
      {"no_upgrade", "426"},           {"no_connection_upgrade", "400"},
      {"handshake_body", "400"},       {"no_websocket_key", "400"},
      {"two_websocket_keys", "400"},   {"bad_websocket_key", "400"},
      {"bad_subprotocol", "400"},      {"bad_extensions", "400"},
  };
  for (std::string_view type : net::kHeadErrorTypes) {
    std::string_view code = "400";
    if (type == "header_too_large" || type == "too_many_fields") code = "431";
    if (type == "bad_version") continue;
    if (type == "connect_unsupported") code = "501";
    if (type == "bad_status_line") continue;
    all.push_back({type, code});
  }
  all.push_back({"bad_transfer_encoding", "501"});
  return all;
}

std::string_view method_label(std::string_view method) {
  for (std::string_view known : {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"}) {
    if (method == known) return known;
  }
  return "other";
}

LoopInstruments::LoopInstruments(Families& f, telemetry::Shard& shard)
    : active(f.active.on(shard, {})),
      connections_opened(f.opened.on(shard, {})),
      connections_closed(f.closed.on(shard, {})),
      connection_seconds(f.connection_seconds.on(shard, {})),
      messages(f.messages.on(shard, {})),
      message_bytes(f.message_bytes.on(shard, {})),
      processing_seconds(f.processing_seconds.on(shard, {})),
      session_seconds(f.session_seconds.on(shard, {})),
      requests(f.requests.on(shard, {})),
      http_active(f.http_active.on(shard, {})),
      accept_failures(f.ws_accept_failures.on(shard, {})),
      queue_bytes(f.ws_queue_bytes.on(shard, {})),
      families_(f),
      shard_(shard),
      http_seconds_(f.http_seconds.on(shard, {})) {
  for (Direction direction : {Direction::in, Direction::out}) {
    auto const d = static_cast<size_t>(direction);
    ws_message_bytes[d] = f.ws_message_bytes.on(shard, {name_of(direction)});
    relay_seconds[d] = f.ws_relay_seconds.on(shard, {name_of(direction)});
    compressed[d] = f.ws_compressed.on(shard, {name_of(direction)});
    held_back[d] = f.ws_held_back.on(shard, {name_of(direction)});
  }
  for (size_t i = 0; i < kAgeEdgesS.size(); ++i) {
    ages_[i] = f.ws_age.on(shard, {code_text(static_cast<uint64_t>(kAgeEdgesS[i]))});
  }
}

RouteInstruments& LoopInstruments::route(uint16_t id, std::string_view text) {
  if (id >= routes_.size()) routes_.resize(id + 1u);
  if (routes_[id]) return *routes_[id];
  auto made = std::make_unique<RouteInstruments>();
  Families& f = families_;
  made->open = f.ws_open.on(shard_, {text});
  made->handshake_seconds = f.ws_handshake_seconds.on(shard_, {text});
  made->reply_seconds = f.ws_reply_seconds.on(shard_, {text});
  made->unmatched = f.ws_unmatched.on(shard_, {text});
  made->deliveries = f.ws_deliveries.on(shard_, {text});
  using net::ws::Opcode;
  for (Direction direction : {Direction::in, Direction::out}) {
    auto const d = static_cast<size_t>(direction);
    std::string_view const way = name_of(direction);
    for (Opcode opcode : {Opcode::continuation, Opcode::text, Opcode::binary, Opcode::close,
                          Opcode::ping, Opcode::pong}) {
      size_t const i = frame_index(opcode);
      std::string_view const name = net::ws::name_of(opcode);
      made->frames[d][i] = f.ws_frames.on(shard_, {text, way, name});
      if (opcode == Opcode::continuation) continue;
      made->wire_bytes[d][i] = f.ws_wire_bytes.on(shard_, {text, way, name});
      made->payload_bytes[d][i] = f.ws_payload_bytes.on(shard_, {text, way, name});
    }
    for (Opcode opcode : {Opcode::text, Opcode::binary}) {
      made->messages[d][message_index(opcode)] =
          f.ws_messages.on(shard_, {text, way, net::ws::name_of(opcode)});
    }
  }
  routes_[id] = std::move(made);
  return *routes_[id];
}

void RouteInstruments::flush() {
  for (size_t d = 0; d < 2; ++d) {
    for (size_t i = 0; i < 2; ++i) {
      if (tally.messages[d][i] > 0) messages[d][i].add(tally.messages[d][i]);
    }
    for (size_t i = 0; i < 6; ++i) {
      if (tally.frames[d][i] > 0) frames[d][i].add(tally.frames[d][i]);
      if (tally.wire[d][i] > 0) wire_bytes[d][i].add(tally.wire[d][i]);
      if (tally.payload[d][i] > 0) payload_bytes[d][i].add(tally.payload[d][i]);
    }
  }
  tally = {};
  touched = false;
}

void LoopInstruments::flush() {
  for (RouteInstruments* route : touched_) route->flush();
  touched_.clear();
  // Requests before messages and both before errors are read: a scrape never sees an error of a
  // request that is not there.
  if (requests_ > 0) requests.add(std::exchange(requests_, 0));
  if (messages_ > 0) messages.add(std::exchange(messages_, 0));
}

void LoopInstruments::expect(uint16_t id, std::string_view text) {
  (void)route(id, text);
  families_.ws_handshakes.declare({text, "101"});
  for (std::string_view code : {"1000", "1001", "1005", "1006"}) {
    families_.ws_closes.declare({text, code, name_of(Initiator::client)});
  }
  families_.ws_closes.declare({text, "1012", name_of(Initiator::gateway)});
}

void LoopInstruments::error(ErrorKind kind) {
  auto const key = std::pair(std::string(kind.type), std::string(kind.code));
  auto found = errors_.find(key);
  if (found == errors_.end()) {
    found = errors_.emplace(key, families_.errors.on(shard_, {kind.type, kind.code})).first;
  }
  found->second.add();
}

void LoopInstruments::error_for_close(std::string_view type, uint16_t code) {
  error({type, code_text(code)});
}

void LoopInstruments::handshake(std::string_view route, int status) {
  std::string const code = code_text(static_cast<uint64_t>(status));
  std::string const key = "h" + code + std::string(route);
  auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    found = by_key_.emplace(key, families_.ws_handshakes.on(shard_, {route, code})).first;
  }
  found->second.add();
}

void LoopInstruments::closed(std::string_view route, uint16_t code, Initiator initiator) {
  std::string const number = code_text(code);
  std::string key = "c" + number;
  key += static_cast<char>('0' + static_cast<int>(initiator));
  key += route;
  auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    // A peer chooses the code: past a bound of our own, all of a route share one child.
    auto const counter = by_key_.size() < 4096
                             ? families_.ws_closes.on(shard_, {route, number, name_of(initiator)})
                             : families_.ws_closes.on(shard_, {route, "other", name_of(initiator)});
    if (by_key_.size() >= 4096) {
      auto result = counter;
      result.add();
      return;
    }
    found = by_key_.emplace(key, counter).first;
  }
  found->second.add();
}

void LoopInstruments::http_request(std::string_view method, std::string_view endpoint, int status,
                                   double seconds) {
  std::string_view const verb = method_label(method);
  std::string const code = code_text(static_cast<uint64_t>(status));
  std::string key = "r" + code;
  (key += verb) += endpoint;
  auto found = by_key_.find(key);
  if (found == by_key_.end()) {
    found = by_key_.emplace(key, families_.http_requests.on(shard_, {verb, endpoint, code})).first;
  }
  found->second.add();
  http_seconds_.observe(seconds);
}

void LoopInstruments::http_error(std::string_view type) {
  auto counter = families_.ws_http_errors.on(shard_, {type});
  counter.add();
}

void LoopInstruments::ages(std::array<uint64_t, 9> const& older) {
  for (size_t i = 0; i < older.size(); ++i) ages_[i].set(static_cast<double>(older[i]));
}

}  // namespace wscope::gateway
