#include "gateway/handshake_trace.h"

#include <memory>

#include "gateway/edge.h"
#include "telemetry/trace_context.h"

namespace wscope::gateway {
namespace {

void add(model::Attributes& attributes, std::string name, std::string_view value) {
  if (!value.empty()) attributes.emplace_back(std::move(name), std::string(value));
}

std::string_view without_port(std::string_view address) {
  return address.substr(0, address.rfind(':'));
}

std::string span_name(RequestOutcome const& outcome) {
  // The guide's name for a handshake; HTTP's own for the rest.
  if (outcome.websocket) return "websocket.connect";
  return std::string(outcome.method) + " " + std::string(outcome.route);
}

std::unique_ptr<model::Span> server_span(Edge& edge, HandshakeTrace const& trace,
                                         RequestOutcome const& outcome) {
  auto span = std::make_unique<model::Span>();
  span->trace = trace.trace;
  span->span = trace.server;
  span->parent = trace.parent;
  span->parent_remote = trace.parent_valid;
  span->trace_state = trace.tracestate;
  span->trace_flags = static_cast<uint8_t>(trace.flags | telemetry::kFlagSampled);
  span->kind = model::SpanKind::server;
  span->name = span_name(outcome);
  span->start_unix_ns = outcome.start_unix_ns;
  span->end_unix_ns = edge.loop.unix_ns();
  model::Attributes& a = span->attributes;
  add(a, "http.request.method", outcome.method);
  add(a, "url.path", outcome.path.substr(0, outcome.path.find('?')));
  add(a, "http.route", outcome.route);
  a.emplace_back("http.response.status_code", int64_t{outcome.status});
  add(a, "network.protocol.version", "1.1");
  add(a, "client.address", without_port(outcome.client));
  add(a, "server.address", outcome.host);
  add(a, "user_agent.original", outcome.user_agent);
  add(a, "wscope.correlation_id", outcome.correlation_id);
  if (outcome.websocket) {
    add(a, "websocket.session_id", outcome.session_id);
    add(a, "websocket.room_name", outcome.room);
    add(a, "websocket.subprotocol", outcome.subprotocol);
    add(a, "session.id", outcome.session_id);
  }
  if (!outcome.error_type.empty()) {
    add(a, "error.type", outcome.error_type);
    span->status = model::SpanStatus::error;
    span->error = outcome.error_type;
  }
  return span;
}

std::unique_ptr<model::Span> client_span(Edge& edge, HandshakeTrace const& trace,
                                         RequestOutcome const& outcome) {
  auto span = std::make_unique<model::Span>();
  span->trace = trace.trace;
  span->span = trace.client;
  span->parent = trace.server;
  span->trace_state = trace.tracestate;
  span->trace_flags = static_cast<uint8_t>(trace.flags | telemetry::kFlagSampled);
  span->kind = model::SpanKind::client;
  span->name = std::string(outcome.method) + " " + std::string(outcome.route);
  span->start_unix_ns = outcome.backend_unix_ns;
  span->end_unix_ns = edge.loop.unix_ns();
  model::Attributes& a = span->attributes;
  add(a, "http.request.method", outcome.method);
  add(a, "server.address", without_port(outcome.backend));
  a.emplace_back("http.response.status_code", int64_t{outcome.status});
  add(a, "wscope.correlation_id", outcome.correlation_id);
  if (!outcome.error_type.empty()) {
    add(a, "error.type", outcome.error_type);
    span->status = model::SpanStatus::error;
    span->error = outcome.error_type;
  }
  return span;
}

}  // namespace

HandshakeTrace HandshakeTrace::begin(Edge& edge, net::RequestHead const& head) {
  HandshakeTrace out;
  telemetry::TraceShard& traces = edge.telemetry.traces;
  // Two traceparent fields contradict each other: neither counts.
  if (head.count("traceparent") == 1) {
    if (auto const parent = telemetry::parse_traceparent(head.find("traceparent"))) {
      out.parent_valid = true;
      out.trace = parent->trace;
      out.parent = parent->span;
      out.flags = parent->flags;
      out.tracestate = telemetry::clean_tracestate(head.find("tracestate"));
    }
  }
  bool const drawn = traces.sample();
  out.sampled = traces.active() && (drawn || (out.flags & telemetry::kFlagSampled) != 0);
  if (!out.parent_valid) {
    out.trace = traces.new_trace();
    out.flags = telemetry::kFlagRandom;
  }
  out.server = traces.new_span();
  out.client = traces.new_span();
  return out;
}

std::string HandshakeTrace::outgoing(Edge const& edge) const {
  telemetry::TraceParent next{trace, client, flags};
  if (!edge.telemetry.traces.active()) {
    if (parent_valid) {
      next.span = parent;
    } else {
      // Without a tracer here, the backend's own sampler is not to be told "no".
      next.flags |= telemetry::kFlagSampled;
    }
  } else {
    next.flags = static_cast<uint8_t>((flags & telemetry::kFlagRandom) |
                                      (sampled ? telemetry::kFlagSampled : 0));
  }
  return telemetry::format_traceparent(next);
}

void finish_request_spans(Edge& edge, HandshakeTrace const& trace, RequestOutcome const& outcome) {
  telemetry::TraceShard& traces = edge.telemetry.traces;
  if (!traces.active() || !(trace.sampled || !outcome.error_type.empty())) return;
  if (!outcome.backend.empty()) traces.span(client_span(edge, trace, outcome));
  traces.span(server_span(edge, trace, outcome));
}

}  // namespace wscope::gateway
