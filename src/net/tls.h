#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "net/transport.h"
#include "runtime/sync.h"

// OpenSSL's own declaration, so that its headers stay out of this one.
struct ssl_ctx_st;

namespace wscope::net {

// What all TLS connections of one side share: certificate and key of a listener, or the
// authorities a client trusts. TLS 1.2 and later; ALPN http/1.1; session tickets; an idle
// connection holds no record buffers.
//
// Thread: any.
class TlsContext {
 public:
  // For a listener: PEM files of the certificate (with its chain) and the key.
  // Returns invalid, naming the file: missing, unreadable, not PEM, or the key is of another
  // certificate.
  static base::Result<std::unique_ptr<TlsContext>> server(std::string cert_file,
                                                          std::string key_file);
  // For connections to others: certificate and host name are always verified, against `ca_file`
  // (PEM) or, if that is empty, the authorities of the system.
  // Returns invalid, naming the file.
  static base::Result<std::unique_ptr<TlsContext>> client(std::string ca_file);

  // Reads the files again. New handshakes use what they hold; open connections go on untouched.
  // Returns invalid, naming the file, and keeps what there was.
  base::Status reload();

  // The TLS side of an accepted or connecting descriptor, for `Transport(fd, ssl)`, which then owns
  // both. `host` is a name (sent as SNI) or an address. Null only if memory is out.
  SslHandle* accept(int fd) const;
  SslHandle* connect(int fd, std::string const& host) const;

 private:
  using Shared = std::shared_ptr<ssl_ctx_st>;
  TlsContext(bool is_server, std::string cert_or_ca, std::string key);
  base::Result<Shared> load() const;

  bool const is_server_;
  std::string const cert_or_ca_;
  std::string const key_;
  runtime::Guarded<Shared> current_;
};

}  // namespace wscope::net
