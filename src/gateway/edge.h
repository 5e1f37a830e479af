#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "gateway/config.h"
#include "gateway/cork.h"
#include "gateway/instruments.h"
#include "gateway/list.h"
#include "gateway/rooms.h"
#include "gateway/routes.h"
#include "gateway/sessions.h"
#include "model/connection_info.h"
#include "net/address.h"
#include "net/http_head.h"
#include "net/tls.h"
#include "net/ws/deflate.h"
#include "net/ws/reader.h"
#include "runtime/loop.h"
#include "telemetry/logs.h"
#include "telemetry/traces.h"

namespace wscope::gateway {

class OpenConnection;
class Exchange;
class Handshake;

// Where relayed connections go; fixed for the life of a configuration.
struct Upstream {
  net::Address address;
  std::string host;                      // for SNI and verification
  std::string text;                      // "127.0.0.1:8000"
  std::unique_ptr<net::TlsContext> tls;  // null = plain
};

// What one version of the configuration comes to: shared by all loops, replaced whole by a reload.
struct Settings {
  Config config;
  std::unique_ptr<Upstream> upstream;  // null = the built-in service
  net::ws::ReadLimits limits;
  net::HeadLimits head_limits;
};

// Counts over all loops.
struct Totals {
  runtime::SharedCell connections;  // sockets held, whatever their state
  runtime::SharedCell handshakes;   // of those, without a first request
  runtime::SharedCell open;         // past 101
  runtime::SharedCell keyless;      // open without a session key: each is a session of its own
};

// What the loops of a gateway share.
struct Shared {
  Shared(telemetry::Registry& registry, std::shared_ptr<Settings const> first,
         std::span<std::string_view const> known_routes)
      : families(registry),
        settings(std::move(first)),
        routes(known_routes),
        sessions(settings.get()->config.session.grace_ns) {}
  Families families;
  runtime::Published<Settings> settings;
  RouteBook routes;
  SessionTable sessions;
  Totals totals;
  std::unique_ptr<net::TlsContext> tls;  // of the listener; null = plain
  telemetry::Loggers* loggers = nullptr;
  bool telemetry_on = true;
};

// The writers of one loop's telemetry, made by whoever makes the loop.
struct LoopTelemetry {
  telemetry::Shard& metrics;
  telemetry::LogShard& log;
  telemetry::TraceShard& traces;
};

// What is known of a message when it has been read.
struct MessageFacts {
  net::ws::Opcode opcode;
  uint64_t size;
  uint64_t wire;
  uint32_t frames;
  uint64_t sequence;
  bool compressed;
  bool outbound;
};

// One loop's share of the gateway: its listening socket, its connections, and what they use in
// common: buffers, instruments, rooms. An idle connection owns none of these.
//
// Thread: loop; the constructor and listen() before it runs.
class Edge final : public runtime::Pollable {
 public:
  Edge(runtime::Loop& loop, Shared& shared, LoopTelemetry telemetry);
  ~Edge() override;

  // `shared_port`: other loops of this program listen there too. Returns exists, invalid or io, as
  // net::listen_on() does, and the address in use.
  base::Result<net::Address> listen(net::Address const& address, bool shared_port);
  // Takes the newest settings for connections to come.
  void reload();
  // Stops accepting, and closes what is open, each at a moment of its own within `window_ns`.
  void drain(int64_t window_ns);
  // Stops accepting and cuts what is still there.
  void close_all();
  // Once a second: gauges that are cheaper counted than kept.
  void on_second();
  bool draining() const { return draining_; }

  void on_ready(uint32_t events) noexcept override;

  Settings const& settings() const { return *settings_; }
  std::shared_ptr<Settings const> settings_ref() const { return settings_; }
  // One JSON line a message is wanted.
  bool message_lines() const {
    return telemetry.log.enabled(telemetry::kLogMessage, telemetry::Level::debug);
  }

  // The counters of this loop's open connections by age, for pages and gauges.
  List<OpenConnection>& open() { return open_; }
  List<Handshake>& handshakes() { return handshakes_; }
  List<Exchange>& exchanges() { return exchanges_; }

  // Writes a line, of logger "websocket" unless another is named.
  void log(telemetry::Level level, telemetry::LogSite const& site, std::string_view message,
           telemetry::LogContext const& context, std::span<telemetry::LogField const> fields = {},
           telemetry::LoggerId logger = telemetry::kLogWebsocket);
  // Log line and span of one message; the span goes to `sink` until its end is known.
  template <class Sink>
  void record_message(model::ConnectionInfo const& connection, MessageFacts const& facts,
                      Sink&& sink) {
    telemetry::SpanRecord record;
    if (telemetry.traces.active()) {
      start_span(record, connection, facts);
      sink(record);
    }
    if (message_lines()) line(connection, facts, record);
  }
  // Records a message's span if it is to be kept; says whether it was.
  bool finish_span(telemetry::SpanRecord& record, int64_t spent_ns);
  // Observes `count` messages that took `spent_ns` each and records those of `records` that are
  // kept; empties it. The first one drawn becomes the histogram's exemplar.
  void finish_messages(std::vector<telemetry::SpanRecord>& records, uint64_t count,
                       int64_t spent_ns);

  // The span of a message that was refused: kept whatever the ratio.
  void record_refusal(model::ConnectionInfo const& connection, net::ws::Violation const& why,
                      uint64_t sequence, bool outbound);

  // Rooms on other loops: what was said here is said there.
  void publish_to_peers(std::string const& room, std::string const& frames, Talk const& talk);
  void set_peers(std::vector<Edge*> peers) { peers_ = std::move(peers); }
  std::vector<Edge*> const& peers() const { return peers_; }

  static constexpr size_t kReadBytes = 512 << 10;

  runtime::Loop& loop;
  Shared& shared;
  LoopTelemetry telemetry;
  LoopInstruments in;
  RouteTemplates routes;
  base::Rng rng;
  net::ws::Inflater inflater;
  net::ws::Deflater deflater;
  Cork cork;
  Rooms rooms;
  std::unique_ptr<char[]> read_buffer;       // kReadBytes, shared by all reads of the loop
  std::vector<telemetry::SpanRecord> spans;  // of the read being handled
  net::RequestHead head;                     // scratch, for its capacity

 private:
  class Resume;
  // Set in SpanRecord::flags until the record is handed on: the trace was drawn to be kept.
  static constexpr uint8_t kDrawn = 0x80;
  void start_span(telemetry::SpanRecord& record, model::ConnectionInfo const& connection,
                  MessageFacts const& facts);
  void line(model::ConnectionInfo const& connection, MessageFacts const& facts,
            telemetry::SpanRecord const& record);
  void stop_accepting();
  void accept_some();
  void take(int fd, net::Address const& peer);
  void pause_accepting();
  void turn_end();

  std::shared_ptr<Settings const> settings_;
  List<OpenConnection> open_;
  List<Handshake> handshakes_;
  List<Exchange> exchanges_;
  std::vector<Edge*> peers_;
  int listen_fd_ = -1;
  bool draining_ = false;
  std::unique_ptr<Resume> resume_;
  telemetry::PreparedMessage prepared_;
};

}  // namespace wscope::gateway
