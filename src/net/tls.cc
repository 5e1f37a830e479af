#include "net/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstring>

namespace wscope::net {

using base::Errc;
using base::fail;
using base::Result;
using base::Status;

namespace {

constexpr unsigned char kAlpn[] = "\x08http/1.1";
constexpr unsigned kAlpnBytes = sizeof kAlpn - 1;

// The descriptor's end of a TLS connection. OpenSSL's own socket BIO writes with write(2), which
// raises SIGPIPE; this one does not.
int fd_of(BIO* bio) { return static_cast<int>(reinterpret_cast<intptr_t>(BIO_get_data(bio))); }

int bio_read(BIO* bio, char* to, size_t size, size_t* done) {
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do {
    n = ::recv(fd_of(bio), to, size, 0);
  } while (n < 0 && errno == EINTR);
  *done = n > 0 ? static_cast<size_t>(n) : 0;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_read(bio);
  if (n == 0) {
    BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    errno = 0;
  }
  return n > 0 ? 1 : 0;
}

int bio_write(BIO* bio, char const* from, size_t size, size_t* done) {
  BIO_clear_retry_flags(bio);
  ssize_t n;
  do {
    n = ::send(fd_of(bio), from, size, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  *done = n > 0 ? static_cast<size_t>(n) : 0;
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_write(bio);
  return n >= 0 ? 1 : 0;
}

long bio_ctrl(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* make_method() {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
  WSCOPE_CHECK(method != nullptr);
  BIO_meth_set_read_ex(method, bio_read);
  BIO_meth_set_write_ex(method, bio_write);
  BIO_meth_set_ctrl(method, bio_ctrl);
  return method;
}

SSL* make_ssl(SSL_CTX* context, int fd) {
  static BIO_METHOD* const method = make_method();
  SSL* const ssl = SSL_new(context);
  BIO* const bio = BIO_new(method);
  if (ssl == nullptr || bio == nullptr) {
    SSL_free(ssl);
    BIO_free(bio);
    return nullptr;
  }
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<intptr_t>(fd)));
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  return ssl;
}

int choose_protocol(SSL*, unsigned char const** out, unsigned char* out_bytes,
                    unsigned char const* offered, unsigned offered_bytes, void*) {
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_bytes, kAlpn, kAlpnBytes, offered, offered_bytes) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

std::unexpected<base::Error> fail_file(char const* what, std::string const& file) {
  std::string text = std::string(what) + " '" + file + "': ";
  unsigned long const code = ERR_peek_error();
  char const* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  if (file.empty()) {
    text += "no file is given";
  } else if (::access(file.c_str(), R_OK) != 0) {
    text += std::strerror(errno);
  } else {
    text += reason == nullptr ? "not understood" : reason;
  }
  ERR_clear_error();
  return fail(Errc::invalid, std::move(text));
}

void set_common(SSL_CTX* context) {
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // Many peers just hang up; HTTP and WebSocket framing show a cut by themselves.
  SSL_CTX_set_options(
      context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

Status set_up_server(SSL_CTX* context, std::string const& cert, std::string const& key) {
  static constexpr unsigned char kSessionScope[] = "wscope";
  SSL_CTX_set_session_id_context(context, kSessionScope, sizeof kSessionScope - 1);
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(context, choose_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context, cert.c_str()) != 1) {
    return fail_file("TLS certificate file", cert);
  }
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return fail_file("TLS key file", key);
  }
  if (SSL_CTX_check_private_key(context) != 1) {
    return fail_file("TLS key is not the one of the certificate: key file", key);
  }
  return {};
}

Status set_up_client(SSL_CTX* context, std::string const& ca) {
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_set_alpn_protos(context, kAlpn, kAlpnBytes) != 0) {
    return fail(Errc::io, "TLS: ALPN could not be set");
  }
  if (ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(context) == 1) return {};
    return fail(Errc::invalid, "the system's certificate authorities can not be read");
  }
  if (SSL_CTX_load_verify_file(context, ca.c_str()) == 1) return {};
  return fail_file("TLS authorities file", ca);
}

}  // namespace

TlsContext::TlsContext(bool is_server, std::string cert_or_ca, std::string key)
    : is_server_(is_server), cert_or_ca_(std::move(cert_or_ca)), key_(std::move(key)) {}

Result<TlsContext::Shared> TlsContext::load() const {
  ERR_clear_error();
  Shared context(SSL_CTX_new(is_server_ ? TLS_server_method() : TLS_client_method()),
                 &SSL_CTX_free);
  if (!context) return fail(Errc::io, "TLS: no memory for a context");
  set_common(context.get());
  WSCOPE_TRY_STATUS(is_server_ ? set_up_server(context.get(), cert_or_ca_, key_)
                               : set_up_client(context.get(), cert_or_ca_));
  return context;
}

Result<std::unique_ptr<TlsContext>> TlsContext::server(std::string cert_file,
                                                       std::string key_file) {
  std::unique_ptr<TlsContext> out(new TlsContext(true, std::move(cert_file), std::move(key_file)));
  WSCOPE_TRY_STATUS(out->reload());
  return out;
}

Result<std::unique_ptr<TlsContext>> TlsContext::client(std::string ca_file) {
  std::unique_ptr<TlsContext> out(new TlsContext(false, std::move(ca_file), {}));
  WSCOPE_TRY_STATUS(out->reload());
  return out;
}

Status TlsContext::reload() {
  WSCOPE_TRY(next, load());
  current_.with([&](Shared& current) { current.swap(next); });
  return {};
}

SslHandle* TlsContext::accept(int fd) const {
  Shared const context = current_.with([](Shared const& current) { return current; });
  SSL* const ssl = make_ssl(context.get(), fd);
  if (ssl != nullptr) SSL_set_accept_state(ssl);
  return ssl;
}

SslHandle* TlsContext::connect(int fd, std::string const& host) const {
  Shared const context = current_.with([](Shared const& current) { return current; });
  SSL* const ssl = make_ssl(context.get(), fd);
  if (ssl == nullptr) return nullptr;
  SSL_set_connect_state(ssl);
  in6_addr ignored;
  bool const is_address = ::inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
                          ::inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
  X509_VERIFY_PARAM* const verify = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  bool const ready = is_address ? X509_VERIFY_PARAM_set1_ip_asc(verify, host.c_str()) == 1
                                : SSL_set_tlsext_host_name(ssl, host.c_str()) == 1 &&
                                      X509_VERIFY_PARAM_set1_host(verify, host.c_str(), 0) == 1;
  if (ready) return ssl;
  SSL_free(ssl);
  return nullptr;
}

}  // namespace wscope::net
