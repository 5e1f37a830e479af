#include "gateway/open_connection.h"

#include <charconv>

namespace wscope::gateway {

using telemetry::Level;
using telemetry::LogField;

OpenConnection::OpenConnection(Edge& edge, net::Transport&& transport, OpenFacts&& facts)
    : edge_(edge),
      route_(edge.in.route(facts.route, facts.info->route())),
      transport_(std::move(transport)),
      info_(std::move(facts.info)),
      opened_ns_(edge.loop.now_ns()),
      session_(facts.session) {
  auto const [end, error] = std::to_chars(id_text_, id_text_ + sizeof id_text_, info_->id());
  id_size_ = static_cast<uint8_t>(end - id_text_);
  edge.open().push_back(*this);
  Totals& totals = edge.shared.totals;
  totals.open.add(1);
  if (!session_.tracked()) totals.keyless.add(1);
  edge.in.active.add(1);
  edge.in.connections_opened.add();
  route_.open.add(1);
  LogField const fields[] = {{"route", info_->route()},
                             {"client", info_->client()},
                             {"subprotocol", facts.subprotocol},
                             {"backend", facts.backend}};
  edge.log(Level::info, WSCOPE_SITE("connection"), "connection opened", context(), fields);
}

OpenConnection::~OpenConnection() {
  ended({});
  edge_.telemetry.traces.release(std::move(info_));
  edge_.shared.totals.connections.sub(1);
}

telemetry::LogContext OpenConnection::context() const {
  return {info_->correlation_id(),
          info_->session_id(),
          {id_text_, id_size_},
          info_->trace(),
          info_->handshake_span()};
}

void OpenConnection::ended(Ending const& ending) {
  if (ended_) return;
  ended_ = true;
  Totals& totals = edge_.shared.totals;
  totals.open.sub(1);
  double const seconds = static_cast<double>(edge_.loop.now_ns() - opened_ns_) * 1e-9;
  if (session_.tracked()) {
    edge_.shared.sessions.close(session_, edge_.loop.unix_ns());
  } else {
    totals.keyless.sub(1);
    edge_.in.session_seconds.observe(seconds);
  }
  // A scrape that sees the connection closed is to see all it did, so that comes last.
  edge_.in.flush();
  bool const failed = !ending.error_type.empty();
  if (failed) edge_.in.error_for_close(ending.error_type, ending.code);
  edge_.in.closed(info_->route(), ending.code, ending.initiator);
  edge_.in.connection_seconds.observe(seconds);
  route_.open.add(-1);
  edge_.in.connections_closed.add();
  edge_.in.active.add(-1);
  LogField const fields[] = {{"route", info_->route()},
                             {"close_code", uint64_t{ending.code}},
                             {"initiator", name_of(ending.initiator)},
                             {"error_type", ending.error_type},
                             {"duration_seconds", seconds},
                             {"messages_in", messages_[0]},
                             {"messages_out", messages_[1]},
                             {"bytes_in", bytes_[0]},
                             {"bytes_out", bytes_[1]}};
  edge_.log(failed ? Level::warning : Level::info, WSCOPE_SITE("connection"), "connection closed",
            context(), fields);
}

void OpenConnection::drain_in(int64_t delay_ns) {
  if (ended_) return;  // its own time for closing runs already
  draining_ = true;
  edge_.loop.arm(*this, delay_ns);
}

ConnectionRow OpenConnection::row() const {
  return {info_->id(),
          std::string(info_->session_id()),
          std::string(info_->correlation_id()),
          std::string(info_->route()),
          std::string(info_->client()),
          info_->opened_unix_ns(),
          messages_[0],
          messages_[1],
          bytes_[0],
          bytes_[1],
          queued_bytes()};
}

}  // namespace wscope::gateway
