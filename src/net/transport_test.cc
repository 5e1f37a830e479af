#include "net/transport.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <unistd.h>

#include <filesystem>
#include <memory>

#include "base/files.h"
#include "base/ids.h"
#include "net/socket.h"
#include "net/test_certificate.h"
#include "net/tls.h"

namespace wscope::net {

namespace {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* p) const {
    Free(p);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Freer<Free>>;

void add_extension(X509* cert, int nid, std::string const& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, cert, cert, nullptr, nullptr, 0);
  Owned<X509_EXTENSION, X509_EXTENSION_free> const extension(
      X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  WSCOPE_CHECK(extension && X509_add_ext(cert, extension.get(), -1) == 1);
}

std::string content(BIO* bio) {
  char* data = nullptr;
  long const size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

}  // namespace

TestCertificate make_test_certificate(std::string const& folder, std::string const& name,
                                      std::string const& alt_names) {
  Owned<EVP_PKEY, EVP_PKEY_free> const key(EVP_EC_gen("P-256"));
  Owned<X509, X509_free> const cert(X509_new());
  WSCOPE_CHECK(key && cert);
  X509_set_version(cert.get(), 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(cert.get()), 3600);
  X509_set_pubkey(cert.get(), key.get());
  X509_NAME* const subject = X509_get_subject_name(cert.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<unsigned char const*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(cert.get(), subject);
  add_extension(cert.get(), NID_basic_constraints, "critical,CA:TRUE");
  add_extension(cert.get(), NID_subject_alt_name, alt_names);
  WSCOPE_CHECK(X509_sign(cert.get(), key.get(), EVP_sha256()) > 0);
  Owned<BIO, BIO_free_all> const cert_text(BIO_new(BIO_s_mem()));
  Owned<BIO, BIO_free_all> const key_text(BIO_new(BIO_s_mem()));
  WSCOPE_CHECK(PEM_write_bio_X509(cert_text.get(), cert.get()) == 1);
  WSCOPE_CHECK(PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                        nullptr) == 1);
  TestCertificate const out{folder + "/" + name + ".crt", folder + "/" + name + ".key"};
  WSCOPE_CHECK(base::write_file_atomic(out.cert_file, content(cert_text.get())));
  WSCOPE_CHECK(base::write_file_atomic(out.key_file, content(key_text.get())));
  return out;
}

TestFolder::TestFolder() {
  std::string pattern = std::filesystem::temp_directory_path().string() + "/wscope-net-XXXXXX";
  WSCOPE_CHECK(::mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TestFolder::~TestFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

namespace {

bool wait_for(int fd, short events, int timeout_ms = 5000) {
  pollfd one{fd, events, 0};
  return ::poll(&one, 1, timeout_ms) == 1;
}

// Two ends of a connection over loopback.
struct Ends {
  int client = -1;
  int server = -1;
};

Ends connect_ends() {
  auto const listener = listen_on(*parse_address("127.0.0.1:0"), false);
  WSCOPE_CHECK(listener);
  auto const client = connect_to(*local_address(*listener));
  WSCOPE_CHECK(client && wait_for(*listener, POLLIN) && wait_for(*client, POLLOUT));
  WSCOPE_CHECK(connect_error(*client) == 0);
  Ends const out{*client, accept_from(*listener, nullptr)};
  WSCOPE_CHECK(out.server >= 0);
  ::close(*listener);
  return out;
}

// Lets both sides shake hands by turns; true when both are through.
bool shake_hands(Transport& a, Transport& b, std::string* why = nullptr) {
  bool a_done = false;
  bool b_done = false;
  for (int i = 0; i < 200 && !(a_done && b_done); ++i) {
    for (auto [one, done] : {std::pair{&a, &a_done}, std::pair{&b, &b_done}}) {
      if (*done) continue;
      IoResult const out = one->handshake();
      if (out.kind == IoKind::error && why != nullptr && why->empty()) *why = one->why();
      if (out.kind == IoKind::error || out.kind == IoKind::eof) return false;
      *done = out.kind == IoKind::done;
      if (!*done) wait_for(one->fd(), POLLIN, 5);
    }
  }
  return a_done && b_done;
}

// Moves `data` from one side to the other, both non-blocking, in pieces by writev.
std::string pump(Transport& from, Transport& to, std::string const& data, size_t piece) {
  std::string got;
  std::vector<char> buffer(30'000);
  size_t sent = 0;
  for (int idle = 0; got.size() < data.size() && idle < 500;) {
    bool moved = false;
    if (sent < data.size()) {
      std::vector<iovec> parts;
      for (size_t at = sent; at < data.size() && parts.size() < 64; at += piece) {
        parts.push_back({const_cast<char*>(data.data()) + at, std::min(piece, data.size() - at)});
      }
      IoResult const put = from.writev(parts.data(), static_cast<int>(parts.size()));
      EXPECT_TRUE(put.kind == IoKind::done || put.kind == IoKind::again_write) << from.why();
      sent += put.bytes;
      moved = put.bytes > 0;
    }
    do {
      IoResult const out = to.read(buffer.data(), buffer.size());
      if (out.kind != IoKind::done) break;
      got.append(buffer.data(), out.bytes);
      moved = true;
    } while (to.more_to_read());
    idle = moved ? 0 : idle + 1;
    if (!moved) wait_for(to.fd(), POLLIN, 10);
  }
  return got;
}

std::string noise(size_t size) {
  base::Rng rng(3);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(rng.next());
  return out;
}

TEST(Socket, RefusesAnAddressTwiceAndSaysWhich) {
  auto const first = listen_on(*parse_address("127.0.0.1:0"), false);
  ASSERT_TRUE(first);
  Address const taken = *local_address(*first);
  auto const second = listen_on(taken, false);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, base::Errc::exists);
  EXPECT_NE(second.error().what.find(to_text(taken)), std::string::npos);
  ::close(*first);
  EXPECT_EQ(listen_on(*parse_address("192.0.2.1:0"), false).error().code, base::Errc::invalid);
}

TEST(Socket, SharesAnAddressAmongLoops) {
  auto const first = listen_on(*parse_address("127.0.0.1:0"), true);
  ASSERT_TRUE(first);
  auto const second = listen_on(*local_address(*first), true);
  ASSERT_TRUE(second) << second.error().what;
  ::close(*first);
  ::close(*second);
}

TEST(Socket, AcceptedOnesInheritTheirOptions) {
  auto const listener = listen_on(*parse_address("127.0.0.1:0"), false);
  ASSERT_TRUE(listener);
  Address peer;
  EXPECT_EQ(accept_from(*listener, &peer), -1);
  EXPECT_EQ(errno, EAGAIN);
  auto const client = connect_to(*local_address(*listener));
  ASSERT_TRUE(client);
  ASSERT_TRUE(wait_for(*listener, POLLIN));
  int const server = accept_from(*listener, &peer);
  ASSERT_GE(server, 0);
  EXPECT_EQ(to_text(peer), to_text(*local_address(*client)));
  auto const option = [&](int level, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(server, level, name, &value, &size), 0);
    return value;
  };
  EXPECT_NE(option(IPPROTO_TCP, TCP_NODELAY), 0);
  EXPECT_NE(option(SOL_SOCKET, SO_KEEPALIVE), 0);
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 60'000);
  for (int const fd : {*listener, *client, server}) ::close(fd);
}

TEST(Socket, SaysHowAConnectAttemptEnded) {
  auto const listener = listen_on(*parse_address("127.0.0.1:0"), false);
  Address const gone = *local_address(*listener);
  ::close(*listener);
  auto const client = connect_to(gone);
  if (!client) {
    EXPECT_EQ(client.error().code, base::Errc::refused);
    return;
  }
  ASSERT_TRUE(wait_for(*client, POLLOUT));
  EXPECT_EQ(connect_error(*client), ECONNREFUSED);
  ::close(*client);
}

TEST(Transport, PlainBytesEofAndErrors) {
  Ends const ends = connect_ends();
  Transport client(ends.client);
  Transport server(ends.server);
  EXPECT_FALSE(client.secure());
  EXPECT_EQ(client.handshake().kind, IoKind::done);
  char buffer[8];
  EXPECT_EQ(server.read(buffer, sizeof buffer).kind, IoKind::again_read);
  std::string const data = noise(3'000'000);
  EXPECT_EQ(pump(client, server, data, 1000), data);
  client.shutdown_write();
  ASSERT_TRUE(wait_for(server.fd(), POLLIN));
  EXPECT_EQ(server.read(buffer, sizeof buffer).kind, IoKind::eof);
  EXPECT_EQ(server.write("late", 4).bytes, 4u);
  client.abort_on_close();
  Transport moved = std::move(client);
  EXPECT_FALSE(client.open());  // NOLINT(bugprone-use-after-move): it says that it is empty
  moved.close();
  EXPECT_FALSE(moved.open());
  IoResult last{IoKind::done, 0};
  for (int i = 0; i < 100 && last.kind != IoKind::error; ++i) {
    last = server.write("x", 1);
    wait_for(server.fd(), POLLIN, 1);
  }
  // Without MSG_NOSIGNAL the second write after the reset would have ended the program.
  EXPECT_EQ(last.kind, IoKind::error);
  EXPECT_FALSE(server.why().empty());
}

class TlsTest : public ::testing::Test {
 protected:
  // Connects a client that trusts `authority` to a server with certificate_.
  std::pair<Transport, Transport> pair(std::string const& host, std::string const& authority) {
    auto const client_context = TlsContext::client(authority);
    WSCOPE_CHECK(client_context);
    Ends const ends = connect_ends();
    return {Transport(ends.client, (*client_context)->connect(ends.client, host)),
            Transport(ends.server, server_->accept(ends.server))};
  }

  TestFolder folder_;
  TestCertificate certificate_ = make_test_certificate(folder_.path(), "one");
  std::unique_ptr<TlsContext> server_ =
      std::move(*TlsContext::server(certificate_.cert_file, certificate_.key_file));
};

TEST_F(TlsTest, MovesBytesBothWays) {
  for (std::string const host : {"localhost", "127.0.0.1"}) {
    auto [client, server] = pair(host, certificate_.cert_file);
    std::string why;
    ASSERT_TRUE(shake_hands(client, server, &why)) << host << ": " << why;
    EXPECT_TRUE(client.secure());
    std::string const data = noise(1'000'000);
    for (size_t const piece : {size_t{7}, size_t{5000}, size_t{200'000}}) {
      std::string const part = data.substr(0, piece * 150);
      EXPECT_EQ(pump(client, server, part, piece), part) << piece;
      EXPECT_EQ(pump(server, client, part, piece), part) << piece;
    }
  }
}

TEST_F(TlsTest, EndsInOrder) {
  auto [client, server] = pair("localhost", certificate_.cert_file);
  ASSERT_TRUE(shake_hands(client, server));
  EXPECT_EQ(client.write("bye", 3).bytes, 3u);
  client.shutdown_write();
  char buffer[100];
  ASSERT_TRUE(wait_for(server.fd(), POLLIN));
  std::string got;
  for (int i = 0; i < 100; ++i) {
    IoResult const out = server.read(buffer, sizeof buffer);
    if (out.kind == IoKind::eof) break;
    got.append(buffer, out.bytes);
    if (!server.more_to_read()) wait_for(server.fd(), POLLIN, 20);
  }
  EXPECT_EQ(got, "bye");
  EXPECT_EQ(server.read(buffer, sizeof buffer).kind, IoKind::eof);
  EXPECT_EQ(server.write("still open", 10).bytes, 10u);
  // A write to one that reset the connection must not raise SIGPIPE.
  client.abort_on_close();
  client.close();
  IoResult last{IoKind::done, 0};
  for (int i = 0; i < 100 && last.kind == IoKind::done; ++i) {
    last = server.write("x", 1);
    wait_for(server.fd(), POLLIN, 1);
  }
  EXPECT_EQ(last.kind, IoKind::error);
}

TEST_F(TlsTest, TakesAHangUpWithoutGoodbyeForTheEnd) {
  auto [client, server] = pair("localhost", certificate_.cert_file);
  ASSERT_TRUE(shake_hands(client, server));
  ASSERT_EQ(::shutdown(client.fd(), SHUT_WR), 0);
  char buffer[100];
  ASSERT_TRUE(wait_for(server.fd(), POLLIN));
  EXPECT_EQ(server.read(buffer, sizeof buffer).kind, IoKind::eof);

  auto [client2, server2] = pair("localhost", certificate_.cert_file);
  client2.close();
  EXPECT_FALSE(shake_hands(server2, server2));
}

TEST_F(TlsTest, DoesNotAcceptAnotherNameOrAuthority) {
  std::string why;
  auto [client, server] = pair("example.org", certificate_.cert_file);
  EXPECT_FALSE(shake_hands(client, server, &why));
  EXPECT_NE(why.find("certificate not accepted: hostname mismatch"), std::string::npos) << why;
  why.clear();
  auto [client2, server2] = pair("127.0.0.2", certificate_.cert_file);
  EXPECT_FALSE(shake_hands(client2, server2, &why));
  EXPECT_NE(why.find("certificate not accepted"), std::string::npos) << why;
  why.clear();
  auto const other = make_test_certificate(folder_.path(), "other");
  auto [client3, server3] = pair("localhost", other.cert_file);
  EXPECT_FALSE(shake_hands(client3, server3, &why));
  EXPECT_NE(why.find("certificate not accepted"), std::string::npos) << why;
  why.clear();
  auto [client4, server4] = pair("localhost", "");
  EXPECT_FALSE(shake_hands(client4, server4, &why));
  EXPECT_NE(why.find("certificate not accepted"), std::string::npos) << why;
}

TEST_F(TlsTest, RefusesOldVersionsAndPlainText) {
  Ends const ends = connect_ends();
  SSL_CTX* const old = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_security_level(old, 0);
  SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
  SSL* const ssl = SSL_new(old);
  SSL_set_connect_state(ssl);
  SSL_set_fd(ssl, ends.client);
  Transport client(ends.client, ssl);
  Transport server(ends.server, server_->accept(ends.server));
  EXPECT_FALSE(shake_hands(client, server));
  SSL_CTX_free(old);

  Ends const more = connect_ends();
  Transport plain(more.client);
  Transport secure(more.server, server_->accept(more.server));
  EXPECT_EQ(plain.write("GET / HTTP/1.1\r\n\r\n", 18).bytes, 18u);
  ASSERT_TRUE(wait_for(secure.fd(), POLLIN));
  EXPECT_EQ(secure.handshake().kind, IoKind::error);
  EXPECT_NE(secure.why().find("http request"), std::string::npos) << secure.why();
}

TEST_F(TlsTest, ReloadServesTheNewCertificateAndKeepsOpenConnections) {
  auto [client, server] = pair("localhost", certificate_.cert_file);
  ASSERT_TRUE(shake_hands(client, server));
  auto const next = make_test_certificate(folder_.path(), "next");
  std::filesystem::copy_file(next.cert_file, certificate_.cert_file,
                             std::filesystem::copy_options::overwrite_existing);
  auto const half = server_->reload();
  ASSERT_FALSE(half);  // the key is still the old one
  EXPECT_NE(half.error().what.find(certificate_.key_file), std::string::npos) << half.error().what;
  std::filesystem::copy_file(next.key_file, certificate_.key_file,
                             std::filesystem::copy_options::overwrite_existing);
  ASSERT_TRUE(server_->reload());
  EXPECT_EQ(pump(client, server, "still here", 3), "still here");
  auto [client2, server2] = pair("localhost", next.cert_file);
  std::string why;
  EXPECT_TRUE(shake_hands(client2, server2, &why)) << why;
}

TEST_F(TlsTest, NamesTheFileThatIsWrong) {
  std::string const garbage = folder_.path() + "/garbage.pem";
  ASSERT_TRUE(base::write_file_atomic(garbage, "not a certificate\n"));
  std::string const missing = folder_.path() + "/missing.pem";
  auto const other = make_test_certificate(folder_.path(), "other");
  struct Case {
    std::string cert, key, named;
  };
  for (Case const& c : {Case{missing, certificate_.key_file, missing},
                        Case{certificate_.cert_file, missing, missing},
                        Case{garbage, certificate_.key_file, garbage},
                        Case{certificate_.cert_file, garbage, garbage},
                        Case{certificate_.cert_file, other.key_file, other.key_file}}) {
    auto const made = TlsContext::server(c.cert, c.key);
    ASSERT_FALSE(made) << c.cert << " " << c.key;
    EXPECT_EQ(made.error().code, base::Errc::invalid);
    EXPECT_NE(made.error().what.find("'" + c.named + "'"), std::string::npos) << made.error().what;
  }
  EXPECT_FALSE(TlsContext::client(missing));
  EXPECT_FALSE(TlsContext::client(garbage));
}

}  // namespace
}  // namespace wscope::net
