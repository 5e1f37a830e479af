// beast_echo: a minimal Boost.Beast WebSocket server, written as Beast's documentation shows it.
//
//   beast_echo PORT [--no-auto-fragment]
//
// One thread, one io_context. /ws/{room} sends each message to all members of the room, the sender
// included; any other path echoes. Text stays text. TCP_NODELAY is on, compression off, Beast's
// suggested server time-outs on. --no-auto-fragment turns off the cutting of a message into frames
// of the write buffer's size (4 KiB), which is Beast's default.
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using Tcp = asio::ip::tcp;

class Session;
using Room = std::unordered_set<Session*>;

struct Service {
  std::map<std::string, Room, std::less<>> rooms;
  bool auto_fragment = true;
};

struct Message {
  std::string payload;
  bool text;
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Tcp::socket&& socket, Service& service) : stream_(std::move(socket)), service_(service) {}
  ~Session() {
    if (room_) room_->erase(this);
  }

  void start() {
    beast::get_lowest_layer(stream_).expires_after(std::chrono::seconds(30));
    http::async_read(stream_.next_layer(), buffer_, request_,
                     beast::bind_front_handler(&Session::on_request, shared_from_this()));
  }

  void deliver(std::shared_ptr<Message const> const& message) {
    queue_.push_back(message);
    if (queue_.size() == 1) write_front();
  }

 private:
  void on_request(beast::error_code error, std::size_t /*bytes*/) {
    if (error) return;
    beast::get_lowest_layer(stream_).expires_never();
    stream_.set_option(websocket::stream_base::timeout::suggested(beast::role_type::server));
    stream_.auto_fragment(service_.auto_fragment);
    stream_.async_accept(request_,
                         beast::bind_front_handler(&Session::on_accept, shared_from_this()));
  }

  void on_accept(beast::error_code error) {
    if (error) return;
    std::string const target(request_.target());
    request_ = {};
    if (target.starts_with("/ws/")) {
      room_ = &service_.rooms[target];
      room_->insert(this);
    }
    read();
  }

  void read() {
    stream_.async_read(buffer_, beast::bind_front_handler(&Session::on_read, shared_from_this()));
  }

  void on_read(beast::error_code error, std::size_t /*bytes*/) {
    if (error) {
      if (room_) room_->erase(this);
      room_ = nullptr;
      return;
    }
    if (room_) {
      auto const message = std::make_shared<Message const>(
          Message{beast::buffers_to_string(buffer_.data()), stream_.got_text()});
      buffer_.consume(buffer_.size());
      for (Session* member : *room_) member->deliver(message);
      read();
      return;
    }
    stream_.text(stream_.got_text());
    stream_.async_write(buffer_.data(),
                        beast::bind_front_handler(&Session::on_echoed, shared_from_this()));
  }

  void on_echoed(beast::error_code error, std::size_t /*bytes*/) {
    if (error) return;
    buffer_.consume(buffer_.size());
    read();
  }

  void write_front() {
    stream_.text(queue_.front()->text);
    stream_.async_write(asio::buffer(queue_.front()->payload),
                        beast::bind_front_handler(&Session::on_delivered, shared_from_this()));
  }

  void on_delivered(beast::error_code error, std::size_t /*bytes*/) {
    if (error) return;
    queue_.pop_front();
    if (!queue_.empty()) write_front();
  }

  websocket::stream<beast::tcp_stream> stream_;
  Service& service_;
  beast::flat_buffer buffer_;
  http::request<http::empty_body> request_;
  Room* room_ = nullptr;
  std::deque<std::shared_ptr<Message const>> queue_;
};

class Listener {
 public:
  Listener(asio::io_context& context, Tcp::endpoint const& endpoint, Service& service)
      : acceptor_(context, endpoint), service_(service) {
    acceptor_.listen(asio::socket_base::max_listen_connections);
    accept();
  }

 private:
  void accept() {
    acceptor_.async_accept([this](beast::error_code error, Tcp::socket socket) {
      if (!error) {
        beast::error_code ignored;
        socket.set_option(Tcp::no_delay(true), ignored);
        std::make_shared<Session>(std::move(socket), service_)->start();
      }
      accept();
    });
  }

  Tcp::acceptor acceptor_;
  Service& service_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: beast_echo PORT [--no-auto-fragment]\n");
    return 2;
  }
  Service service;
  service.auto_fragment = !(argc > 2 && std::strcmp(argv[2], "--no-auto-fragment") == 0);
  auto const port = static_cast<unsigned short>(std::atoi(argv[1]));
  asio::io_context context{1};
  Listener const listener(context, {asio::ip::make_address("127.0.0.1"), port}, service);
  context.run();
  return 0;
}
