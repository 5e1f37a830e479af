#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "net/address.h"
#include "net/tls.h"
#include "net/transport.h"
#include "net/ws/frame.h"
#include "runtime/cells.h"
#include "runtime/loop.h"
#include "runtime/sync.h"

namespace wscope::cli {

// What a LoadTestPeer does wrong, or differently.
struct PeerManner {
  bool room = false;        // each message goes to all connections
  bool fragment = false;    // replies in three frames with a ping between
  bool no_hang_up = false;  // answers a close frame and keeps the connection
  std::string greeting;     // sent with the handshake's answer, as frames
  std::string answer;       // instead of 101 and all that
  bool wrong_accept = false;
  uint64_t fault_after = 0;  // at this message of a connection (from 1) …
  enum class Fault { none, drop, corrupt, twice, masked, close, reset } fault = Fault::none;
  net::TlsContext const* tls = nullptr;
};

// A WebSocket echo server on 127.0.0.1 for tests of the generator, on a thread of its own.
//
// Thread: any one; counters any.
class LoadTestPeer {
 public:
  explicit LoadTestPeer(PeerManner manner);
  ~LoadTestPeer();
  std::string url(std::string const& path = "/echo") const;
  uint16_t port() const { return port_; }

  struct Counters {
    runtime::Cell accepted, handshakes, messages, pongs, closes, bad_frames;
  };
  Counters counters;
  // The first request's head; read it when the run is over.
  runtime::Guarded<std::string> first_head;

 private:
  class Connection;
  class Listener;
  void run();

  PeerManner const manner_;
  base::RealClock clock_;
  runtime::Loop loop_{clock_};
  std::unique_ptr<Listener> listener_;
  std::set<Connection*> members_;
  uint16_t port_ = 0;
  runtime::Thread thread_;
};

// Writes a self-signed certificate for 127.0.0.1 and its key; false if OpenSSL would not.
bool write_test_certificate(std::string const& cert_file, std::string const& key_file);

}  // namespace wscope::cli
