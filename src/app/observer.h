#pragma once

#include <functional>
#include <memory>
#include <string>

#include "api/observer.h"
#include "app/config.h"
#include "base/clock.h"
#include "net/http_server.h"
#include "net/tls.h"
#include "runtime/loop.h"
#include "runtime/sync.h"

namespace wscope::app {

// The page, the API and /metrics on a loop and thread of their own, so that a scrape never stands
// in the way of a message.
//
// Thread: main; `board` is fed by the collector.
class Observer {
 public:
  // Returns what net::HttpServer::listen() returns.
  static base::Result<std::unique_ptr<Observer>> start(base::Clock const& clock,
                                                       ObserverConfig const& config);
  ~Observer();
  // Before serve(): the address in use, for the facts that the page shows.
  std::string const& address() const { return address_; }
  // Begins to answer.
  void serve(api::StatusFacts facts, api::ObserverSources sources);
  // Reads the certificate files again, if there are any.
  base::Status reload_tls() { return tls_ ? tls_->reload() : base::Status(); }
  // Null before serve().
  api::StatusBoard* board() { return board_.get(); }

 private:
  explicit Observer(base::Clock const& clock) : loop_(clock) {}
  runtime::Loop loop_;
  std::unique_ptr<net::TlsContext> tls_;
  std::unique_ptr<api::StatusBoard> board_;
  std::unique_ptr<net::HttpServer> server_;
  std::string address_;
  runtime::Thread thread_;
};

}  // namespace wscope::app
