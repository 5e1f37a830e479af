#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>

#include "cli/load_test_peer.h"
#include "net/socket.h"

namespace wscope::cli {

namespace ws = net::ws;
using net::IoKind;

class LoadTestPeer::Connection final : public runtime::Pollable {
 public:
  Connection(LoadTestPeer& peer, int fd)
      : peer_(peer),
        transport_(fd, peer.manner_.tls == nullptr ? nullptr : peer.manner_.tls->accept(fd)) {
    WSCOPE_CHECK(peer_.loop_.add(fd, EPOLLIN, *this).has_value());
    peer_.members_.insert(this);
  }
  ~Connection() override {
    peer_.members_.erase(this);
    if (transport_.open()) peer_.loop_.remove(transport_.fd(), *this);
  }

  void send(std::string_view bytes) {
    out_.append(bytes);
    flush();
  }

 private:
  void on_ready(uint32_t) noexcept override {
    if (!secured_) {
      net::IoResult const result = transport_.handshake();
      if (result.kind == IoKind::error || result.kind == IoKind::eof) return leave();
      if (result.kind != IoKind::done) return;
      secured_ = true;
    }
    flush();
    char buffer[64 << 10];
    do {
      net::IoResult const result = transport_.read(buffer, sizeof buffer);
      if (result.kind == IoKind::eof || result.kind == IoKind::error) return leave();
      if (result.kind != IoKind::done) return;
      in_.append(buffer, result.bytes);
      if (!upgraded_ && !take_head()) return;
      while (take_frame()) continue;
      flush();
      if (leaving_) return leave();
    } while (transport_.more_to_read());
  }

  void leave() {
    if (gone_) return;
    gone_ = true;
    peer_.members_.erase(this);
    peer_.loop_.remove(transport_.fd(), *this);
    if (reset_) transport_.abort_on_close();
    transport_.close();
    peer_.loop_.retire(std::unique_ptr<Pollable>(this));
  }

  void flush() {
    while (!out_.empty() && !gone_) {
      net::IoResult const result = transport_.write(out_.data(), out_.size());
      if (result.kind != IoKind::done) break;
      out_.erase(0, result.bytes);
    }
    uint32_t const wanted = EPOLLIN | (out_.empty() ? 0u : uint32_t{EPOLLOUT});
    if (!gone_) (void)peer_.loop_.modify(transport_.fd(), wanted, *this);
  }

  bool take_head() {
    size_t const end = in_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    std::string const head = in_.substr(0, end + 4);
    in_.erase(0, end + 4);
    peer_.first_head.with([&](std::string& first) {
      if (first.empty()) first = head;
    });
    PeerManner const& manner = peer_.manner_;
    if (!manner.answer.empty()) {
      out_ += manner.answer;
      leaving_ = true;
      flush();
      leave();
      return false;
    }
    size_t const key = head.find("Sec-WebSocket-Key: ") + 19;
    std::string accept = ws::accept_key(head.substr(key, 24));
    if (manner.wrong_accept) accept[0] = accept[0] == 'A' ? 'B' : 'A';
    out_ += "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    if (head.find("Sec-WebSocket-Protocol") != std::string::npos) {
      out_ += "Sec-WebSocket-Protocol: chat\r\n";
    }
    out_ += "Sec-WebSocket-Accept: " + accept + "\r\n\r\n" + manner.greeting;
    upgraded_ = true;
    peer_.counters.handshakes.add(1);
    return true;
  }

  bool take_frame() {
    ws::FrameHeader frame;
    if (ws::parse_header(in_.data(), in_.size(), frame) != ws::HeaderState::complete) return false;
    if (in_.size() - frame.bytes < frame.length || leaving_) return false;
    std::string payload = in_.substr(frame.bytes, frame.length);
    in_.erase(0, frame.bytes + frame.length);
    if (!frame.masked || !frame.fin || frame.reserved != 0) peer_.counters.bad_frames.add(1);
    ws::apply_mask(payload.data(), payload.size(), frame.mask);
    if (frame.opcode == ws::Opcode::pong) {
      peer_.counters.pongs.add(payload == "are you there" ? 1 : 0);
    } else if (frame.opcode == ws::Opcode::close) {
      peer_.counters.closes.add(1);
      ws::append_frame(out_, ws::Opcode::close, payload);
      leaving_ = !peer_.manner_.no_hang_up;
    } else {
      peer_.counters.messages.add(1);
      reply(frame.opcode, payload);
    }
    return true;
  }

  void reply(ws::Opcode opcode, std::string payload) {
    using Fault = PeerManner::Fault;
    PeerManner const& manner = peer_.manner_;
    Fault const fault = ++messages_ == manner.fault_after ? manner.fault : Fault::none;
    std::string frames;
    if (fault == Fault::drop) return;
    if (fault == Fault::corrupt) payload.back() = static_cast<char>(payload.back() ^ 1);
    if (fault == Fault::close) {
      ws::append_frame(out_, ws::Opcode::close, ws::close_payload(1012, "restart"));
      return;
    }
    if (fault == Fault::reset) {
      reset_ = leaving_ = true;
      return;
    }
    if (fault == Fault::masked) {
      char header[ws::kHeaderBytesMax];
      out_.append(header, ws::write_masked_header(header, ws::first_byte(opcode), 0, 7));
      return;
    }
    if (manner.fragment) {
      append(frames, opcode, false, payload.substr(0, 3));
      ws::append_frame(frames, ws::Opcode::ping, "are you there");
      append(frames, ws::Opcode::continuation, false, payload.substr(3, 4));
      append(frames, ws::Opcode::continuation, true, payload.substr(7));
    } else {
      ws::append_frame(frames, opcode, payload);
    }
    if (fault == Fault::twice) frames += frames;
    if (!manner.room) {
      out_ += frames;
      return;
    }
    for (Connection* member : peer_.members_) {
      if (member->upgraded_) member->send(frames);
    }
  }

  static void append(std::string& out, ws::Opcode opcode, bool fin, std::string const& payload) {
    char header[ws::kHeaderBytesMax];
    out.append(header, ws::write_header(header, ws::first_byte(opcode, fin), payload.size()));
    out += payload;
  }

  LoadTestPeer& peer_;
  net::Transport transport_;
  std::string in_, out_;
  bool secured_ = false, upgraded_ = false, leaving_ = false, reset_ = false, gone_ = false;
  uint64_t messages_ = 0;
};

class LoadTestPeer::Listener final : public runtime::Pollable {
 public:
  Listener(LoadTestPeer& peer, int fd) : peer_(peer), fd_(fd) {}
  ~Listener() override { net::Transport(fd_).close(); }
  int fd() const { return fd_; }

 private:
  void on_ready(uint32_t) noexcept override {
    for (int fd; (fd = net::accept_from(fd_, nullptr)) >= 0;) {
      peer_.counters.accepted.add(1);
      new Connection(peer_, fd);  // owned by members_, and by itself once it leaves
    }
  }
  LoadTestPeer& peer_;
  int const fd_;
};

LoadTestPeer::LoadTestPeer(PeerManner manner) : manner_(std::move(manner)) {
  auto const any = net::parse_address("127.0.0.1:0");
  auto const fd = net::listen_on(*any, false);
  WSCOPE_CHECK(fd.has_value());
  port_ = net::port_of(*net::local_address(*fd));
  listener_ = std::make_unique<Listener>(*this, *fd);
  WSCOPE_CHECK(loop_.add(*fd, EPOLLIN, *listener_).has_value());
  thread_ = runtime::Thread("peer", [this] { loop_.run(); });
}

LoadTestPeer::~LoadTestPeer() {
  loop_.stop();
  thread_.join();
  std::set<Connection*> const left = members_;
  for (Connection* connection : left) delete connection;
  loop_.remove(listener_->fd(), *listener_);
}

std::string LoadTestPeer::url(std::string const& path) const {
  return (manner_.tls == nullptr ? "ws" : "wss") + std::string("://127.0.0.1:") +
         std::to_string(port_) + path;
}

bool write_test_certificate(std::string const& cert_file, std::string const& key_file) {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const cert = X509_new();
  if (key == nullptr || cert == nullptr) return false;
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -60);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_set_pubkey(cert, key);
  X509_NAME* const name = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<unsigned char const*>("load test"), -1, -1, 0);
  X509_set_issuer_name(cert, name);
  X509V3_CTX context;
  X509V3_set_ctx(&context, cert, cert, nullptr, nullptr, 0);
  for (auto const& [nid, value] :
       {std::pair<int, char const*>{NID_subject_alt_name, "IP:127.0.0.1"},
        {NID_basic_constraints, "CA:TRUE"}}) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
  }
  bool ok = X509_sign(cert, key, EVP_sha256()) > 0;
  std::FILE* const cert_out = std::fopen(cert_file.c_str(), "w");
  std::FILE* const key_out = std::fopen(key_file.c_str(), "w");
  ok = ok && cert_out != nullptr && key_out != nullptr && PEM_write_X509(cert_out, cert) == 1 &&
       PEM_write_PrivateKey(key_out, key, nullptr, nullptr, 0, nullptr, nullptr) == 1;
  if (cert_out != nullptr) std::fclose(cert_out);
  if (key_out != nullptr) std::fclose(key_out);
  X509_free(cert);
  EVP_PKEY_free(key);
  return ok;
}

}  // namespace wscope::cli
