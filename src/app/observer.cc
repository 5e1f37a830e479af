#include "app/observer.h"

#include "net/address.h"

namespace wscope::app {

base::Result<std::unique_ptr<Observer>> Observer::start(base::Clock const& clock,
                                                        ObserverConfig const& config) {
  auto observer = std::unique_ptr<Observer>(new Observer(clock));
  net::HttpServerOptions options;
  options.token = config.token;
  options.open_paths = api::open_paths();
  if (config.tls.enabled()) {
    WSCOPE_TRY(tls, net::TlsContext::server(config.tls.cert, config.tls.key));
    observer->tls_ = std::move(tls);
  }
  observer->server_ = std::make_unique<net::HttpServer>(observer->loop_, std::move(options));
  WSCOPE_TRY(address, net::parse_address(config.listen));
  WSCOPE_TRY(bound, observer->server_->listen(address, observer->tls_.get()));
  observer->address_ = net::to_text(bound);
  return observer;
}

void Observer::serve(api::StatusFacts facts, api::ObserverSources sources) {
  board_ = std::make_unique<api::StatusBoard>(std::move(facts));
  api::add_observer(*server_, *board_, std::move(sources));
  thread_ = runtime::Thread("observer", [this] { loop_.run(); });
}

Observer::~Observer() {
  if (thread_.running()) {
    loop_.post([this] { server_->close(); });
    loop_.stop();
    thread_.join();
  }
}

}  // namespace wscope::app
