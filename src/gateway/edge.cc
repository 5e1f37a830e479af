#include "gateway/edge.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "gateway/exchange.h"
#include "gateway/handshake.h"
#include "gateway/open_connection.h"
#include "net/socket.h"

namespace wscope::gateway {

using telemetry::Level;
using telemetry::SpanRecord;

namespace {

// Connections taken in one turn, so that open ones are not kept waiting by a storm of new ones.
constexpr int kAcceptBatch = 256;
// How long the listener rests when there is no descriptor to be had.
constexpr int64_t kAcceptPauseNs = 100 * base::kMilli;

uint32_t saturate(uint64_t value) {
  return static_cast<uint32_t>(std::min<uint64_t>(value, std::numeric_limits<uint32_t>::max()));
}

}  // namespace

class Edge::Resume final : public runtime::Timer {
 public:
  explicit Resume(Edge& edge) : edge_(edge) {}

 private:
  void on_timer() noexcept override {
    if (edge_.listen_fd_ >= 0) (void)edge_.loop.add(edge_.listen_fd_, EPOLLIN, edge_);
  }
  Edge& edge_;
};

Edge::Edge(runtime::Loop& loop_in, Shared& shared_in, LoopTelemetry telemetry_in)
    : loop(loop_in),
      shared(shared_in),
      telemetry(telemetry_in),
      in(shared.families, telemetry.metrics),
      routes(shared.routes),
      rooms(*this),
      read_buffer(std::make_unique_for_overwrite<char[]>(kReadBytes)),
      settings_(shared.settings.get()),
      resume_(std::make_unique<Resume>(*this)),
      prepared_(*shared.loggers, telemetry::kLogMessage, Level::debug,
                {"connection", "record_message", __LINE__}, "message") {
  spans.reserve(1024);
  in.expect(kRouteOtherId, kRouteOther);
  if (settings_->upstream == nullptr) {
    for (std::string_view target : {"/ws/room", "/echo"}) {
      uint16_t const id = routes.id_of(target);
      in.expect(id, routes.text(id));
    }
  }
  loop.at_turn_end([this] { turn_end(); });
}

Edge::~Edge() {
  if (listen_fd_ >= 0) ::close(listen_fd_);
}

base::Result<net::Address> Edge::listen(net::Address const& address, bool shared_port) {
  WSCOPE_TRY(fd, net::listen_on(address, shared_port));
  listen_fd_ = fd;
  WSCOPE_TRY_STATUS(loop.add(fd, EPOLLIN, *this));
  return net::local_address(fd);
}

void Edge::on_ready(uint32_t) noexcept { accept_some(); }

void Edge::accept_some() {
  for (int i = 0; i < kAcceptBatch && listen_fd_ >= 0; ++i) {
    net::Address peer;
    int const fd = net::accept_from(listen_fd_, &peer);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        in.accept_failures.add();
        pause_accepting();
      }
      return;
    }
    take(fd, peer);
  }
}

void Edge::take(int fd, net::Address const& peer) {
  net::Transport transport(fd, shared.tls ? shared.tls->accept(fd) : nullptr);
  Config const& config = settings_->config;
  if (shared.totals.connections.add(1) > config.connections_max ||
      shared.totals.handshakes.read() >= config.handshakes_max) {
    shared.totals.connections.sub(1);
    in.accept_failures.add();
    in.requests.add();
    in.error({"too_many_connections", "503"});
    if (!transport.secure()) {
      constexpr std::string_view kBusy =
          "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\n"
          "Connection: close\r\n\r\n";
      (void)transport.write(kBusy.data(), kBusy.size());
    }
    return;
  }
  Handshake::start(*this, std::move(transport), peer);
}

// A listener without descriptors would wake the loop without end, so it rests for a moment.
void Edge::pause_accepting() {
  loop.remove(listen_fd_, *this);
  loop.arm(*resume_, kAcceptPauseNs);
  log(Level::error, WSCOPE_SITE("edge"), "no descriptor left for a new connection", {});
}

void Edge::reload() { settings_ = shared.settings.get(); }

void Edge::drain(int64_t window_ns) {
  draining_ = true;
  stop_accepting();
  auto const window = static_cast<uint64_t>(std::max<int64_t>(window_ns, 1));
  open_.each([&](OpenConnection& connection) {
    connection.drain_in(static_cast<int64_t>(rng.below(window)));
  });
  handshakes_.each([](Handshake& handshake) { handshake.drain(); });
}

void Edge::stop_accepting() {
  if (listen_fd_ < 0) return;
  loop.remove(listen_fd_, *this);
  ::close(listen_fd_);
  listen_fd_ = -1;
}

void Edge::close_all() {
  draining_ = true;
  stop_accepting();
  open_.each([](OpenConnection& connection) { connection.cut(); });
  exchanges_.each([](Exchange& exchange) { exchange.cut(); });
  handshakes_.each([](Handshake& handshake) { handshake.cut(); });
}

void Edge::on_second() {
  std::array<uint64_t, LoopInstruments::kAgeEdgesS.size()> older{};
  int64_t const now = loop.now_ns();
  open_.each([&](OpenConnection& connection) {
    int64_t const age_s = (now - connection.opened_ns()) / base::kSecond;
    for (size_t i = 0; i < older.size(); ++i) older[i] += age_s > LoopInstruments::kAgeEdgesS[i];
  });
  in.ages(older);
}

void Edge::turn_end() {
  rooms.flush();
  in.flush();
  telemetry.log.publish();
  telemetry.traces.publish();
}

void Edge::log(Level level, telemetry::LogSite const& site, std::string_view message,
               telemetry::LogContext const& context, std::span<telemetry::LogField const> fields,
               telemetry::LoggerId logger) {
  if (!shared.telemetry_on) return;
  telemetry.log.log(logger, level, site, loop.unix_ns(), message, context, fields);
}

void Edge::start_span(SpanRecord& record, model::ConnectionInfo const& connection,
                      MessageFacts const& facts) {
  telemetry::TraceShard& traces = telemetry.traces;
  record.connection = &connection;
  record.trace = traces.new_trace();
  record.span = traces.new_span();
  record.start_unix_ns = loop.unix_ns();
  record.size = saturate(facts.size);
  record.wire_size = saturate(facts.wire);
  record.sequence = saturate(facts.sequence);
  record.outbound = facts.outbound;
  record.opcode = static_cast<uint8_t>(facts.opcode);
  record.frames = static_cast<uint16_t>(std::min<uint32_t>(facts.frames, 65'535));
  record.flags = static_cast<uint8_t>((facts.compressed ? SpanRecord::kCompressed : 0) |
                                      (traces.sample() ? kDrawn : 0));
}

void Edge::line(model::ConnectionInfo const& connection, MessageFacts const& facts,
                SpanRecord const& record) {
  telemetry::MessageLine line;
  line.connection = &connection;
  line.trace = record.trace;
  line.span = record.span;
  if (!record.trace.valid()) {
    // Nothing is exported: the line belongs to the handshake's trace.
    line.trace = connection.trace();
    line.span = connection.handshake_span();
  }
  line.unix_ns = loop.unix_ns();
  line.size = facts.size;
  line.wire = facts.wire;
  line.sequence = facts.sequence;
  line.outbound = facts.outbound;
  line.opcode = static_cast<uint8_t>(facts.opcode);
  telemetry.log.message_line(prepared_, line);
}

bool Edge::finish_span(SpanRecord& record, int64_t spent_ns) {
  bool const drawn = (record.flags & kDrawn) != 0;
  bool const failed = record.error != telemetry::SpanError::none;
  if (!telemetry.traces.keep(drawn, spent_ns, failed)) return false;
  record.flags = static_cast<uint8_t>((record.flags & ~kDrawn) | (drawn ? 0 : SpanRecord::kKept));
  record.set_duration_ns(spent_ns);
  telemetry.traces.record(record);
  return true;
}

void Edge::finish_messages(std::vector<SpanRecord>& records, uint64_t count, int64_t spent_ns) {
  double const seconds = static_cast<double>(spent_ns) * 1e-9;
  bool exemplar = false;
  for (SpanRecord& record : records) {
    if (!finish_span(record, spent_ns) || exemplar || count == 0) continue;
    exemplar = true;
    --count;
    in.processing_seconds.observe_with_exemplar(seconds, record.trace, record.span, loop.unix_ns());
  }
  if (count > 0) in.processing_seconds.observe_n(seconds, count);
  records.clear();
}

void Edge::record_refusal(model::ConnectionInfo const& connection, net::ws::Violation const& why,
                          uint64_t sequence, bool outbound) {
  if (!telemetry.traces.active()) return;
  SpanRecord record;
  start_span(record, connection,
             {.opcode = net::ws::Opcode::text,
              .size = 0,
              .wire = 0,
              .frames = 0,
              .sequence = sequence,
              .compressed = false,
              .outbound = outbound});
  switch (why.code) {
    case net::ws::kInvalidPayload:
      record.error = telemetry::SpanError::invalid_utf8;
      break;
    case net::ws::kTooBig:
      record.error = telemetry::SpanError::message_too_big;
      break;
    case net::ws::kPolicy:
      record.error = telemetry::SpanError::policy_violation;
      break;
    default:
      record.error = telemetry::SpanError::protocol_error;
      break;
  }
  (void)finish_span(record, loop.read_now_ns() - loop.now_ns());
}

void Edge::publish_to_peers(std::string const& room, std::string const& frames, Talk const& talk) {
  auto const shared_frames = std::make_shared<std::string const>(frames);
  for (Edge* peer : peers_) {
    peer->loop.post([peer, room, shared_frames, talk] {
      if (Room* there = peer->rooms.find(room)) there->deliver(*shared_frames, talk);
    });
  }
}

}  // namespace wscope::gateway
