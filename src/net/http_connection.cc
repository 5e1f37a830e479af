#include <algorithm>

#include "base/text.h"
#include "net/date.h"
#include "net/gzip.h"
#include "net/http_server_impl.h"

namespace wscope::net {

namespace {

constexpr int kReadsPerTurn = 16;
constexpr int64_t kLingerNs = base::kSecond;
constexpr size_t kLingerBytesMax = 1 << 20;

std::string_view reason_of(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 308:
      return "Permanent Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 417:
      return "Expectation Failed";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    case 505:
      return "HTTP Version Not Supported";
    default:
      return "";
  }
}

bool compresses(std::string_view content_type) {
  if (content_type.starts_with("image/")) return content_type.starts_with("image/svg");
  return !content_type.starts_with("font/") && content_type != "application/gzip" &&
         content_type != "application/zip" && content_type != "application/octet-stream";
}

bool breaks_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  // A line end would let a value write fields, or a second answer, of its own.
  if (breaks_line(name) || breaks_line(value)) return;
  out += name;
  out += ": ";
  out += value;
  out += "\r\n";
}

bool has_encoding(Response const& response) {
  return std::any_of(response.headers.begin(), response.headers.end(), [](NameValue const& field) {
    return base::equals_ignoring_case(field.first, "content-encoding");
  });
}

}  // namespace

HttpConnection::HttpConnection(HttpServer::Impl& server, uint64_t id, Transport transport,
                               Address const& peer)
    : server_(server), id_(id), transport_(std::move(transport)), peer_(peer) {}

bool HttpConnection::start() {
  watched_ = EPOLLIN;
  if (!server_.loop.add(transport_.fd(), watched_, *this)) return false;
  if (transport_.secure()) {
    enter(State::handshake, server_.options.head_timeout_ns);
  } else {
    enter(State::idle, server_.options.idle_timeout_ns);
  }
  return true;
}

void HttpConnection::release() {
  cancel();
  if (transport_.open()) server_.loop.remove(transport_.fd(), *this);
  transport_.close();
  state_ = State::closed;
}

HttpConnection::Step HttpConnection::drop() {
  server_.remove(id_);
  return Step::gone;
}

void HttpConnection::enter(State state, int64_t timeout_ns) {
  state_ = state;
  server_.loop.arm(*this, timeout_ns);
}

void HttpConnection::watch(uint32_t events) {
  if (events == watched_) return;
  watched_ = events;
  if (!server_.loop.modify(transport_.fd(), events, *this)) drop();
}

void HttpConnection::on_ready(uint32_t events) noexcept {
  // Without a wish of ours only the end of the connection is reported.
  if (watched_ == 0 && (events & (EPOLLHUP | EPOLLERR)) != 0) {
    drop();
    return;
  }
  run();
}

void HttpConnection::run() {
  if (running_) return;
  running_ = true;
  reads_left_ = kReadsPerTurn;
  Step next = Step::again;
  while (next == Step::again) next = step();
  if (next != Step::gone) running_ = false;
}

HttpConnection::Step HttpConnection::step() {
  if (state_ == State::handshake) return shake_hands();
  if (!output_.empty()) return flush();
  switch (state_) {
    case State::idle:
    case State::head:
      return read_head();
    case State::body:
      return read_body();
    case State::lingering:
      return linger();
    case State::handling:
      // The rest waits in the kernel until the answer is out.
      watch(0);
      return Step::wait;
    default:
      return Step::gone;
  }
}

HttpConnection::Step HttpConnection::shake_hands() {
  switch (transport_.handshake().kind) {
    case IoKind::done:
      enter(State::idle, server_.options.idle_timeout_ns);
      return Step::again;
    case IoKind::again_read:
      watch(EPOLLIN);
      return Step::wait;
    case IoKind::again_write:
      watch(EPOLLOUT);
      return Step::wait;
    default:
      server_.cells.tls_failures.add(1);
      return drop();
  }
}

HttpConnection::Step HttpConnection::fill() {
  // One that sends without end gives way to others. What TLS holds must be read now: nothing would
  // tell of it later.
  if (--reads_left_ < 0 && !transport_.more_to_read()) {
    watch(EPOLLIN);
    return Step::wait;
  }
  IoResult const got = transport_.read(server_.buffer.data(), server_.buffer.size());
  switch (got.kind) {
    case IoKind::done:
      server_.cells.bytes_in.add(got.bytes);
      input_.append(server_.buffer.data(), got.bytes);
      return Step::again;
    case IoKind::again_read:
      watch(EPOLLIN);
      return Step::wait;
    case IoKind::again_write:
      watch(EPOLLOUT);
      return Step::wait;
    default:
      return drop();
  }
}

HttpConnection::Step HttpConnection::read_head() {
  if (input_.empty()) {
    // An idle connection keeps no buffer.
    if (state_ == State::idle && input_.capacity() > 64) std::string().swap(input_);
    return fill();
  }
  if (state_ == State::idle) enter(State::head, server_.options.head_timeout_ns);
  HeadError error;
  switch (parse_request(input_, server_.options.head, server_.head, error)) {
    case HeadState::need_more:
      return fill();
    case HeadState::bad:
      refuse(error.status, error.error_type, error.what);
      return Step::again;
    case HeadState::complete:
      break;
  }
  return begin(server_.head);
}

void HttpConnection::fill_request(RequestHead const& head) {
  request_ = std::make_unique<Request>();
  request_->method = head.method;
  request_->peer = peer_;
  for (Field const& field : head.fields) request_->headers.emplace_back(field.name, field.value);
  size_t const mark = std::min(head.path.find('?'), head.path.size());
  if (mark < head.path.size()) request_->query = head.path.substr(mark + 1);
  request_->params = parse_form(request_->query);
  request_->path = percent_decode(head.path.substr(0, mark)).value_or("");
}

HttpConnection::Step HttpConnection::begin(RequestHead const& head) {
  ++number_;
  server_.cells.requests.add(1);
  head_only_ = head.method == "HEAD";
  minor_0_ = head.minor == 0;
  gzip_wanted_ = accepts_gzip(head.find("accept-encoding"));
  close_after_ = !head.keep_alive || number_ >= server_.options.requests_max || server_.draining;
  fill_request(head);
  std::string_view const expected = head.find("expect");
  bool const waits = base::equals_ignoring_case(expected, "100-continue") && !minor_0_;
  if (request_->path.empty()) {
    refuse(400, "bad_data", "a malformed escape in the path");
  } else if (head.content_length > server_.options.body_bytes_max) {
    refuse(413, "too_large", "a body over " + std::to_string(server_.options.body_bytes_max));
  } else if (!expected.empty() && !waits && !minor_0_) {
    refuse(417, "bad_data", "an expectation that is not 100-continue");
  } else {
    body_.start(head.framing(), head.content_length);
    early_ = server_.answer_early(*request_);
    if (early_)
      (early_->status == 401 ? server_.cells.unauthorized : server_.cells.bad_requests)
          .add(early_->status >= 400 ? 1 : 0);
    input_.erase(0, head.bytes);
    if (waits && !body_.done() && input_.empty()) {
      if (early_) {
        // The client learns the answer instead of sending its body, so no more can follow it.
        close_after_ = true;
        return dispatch();
      }
      output_ += "HTTP/1.1 100 Continue\r\n\r\n";
    }
    enter(State::body, server_.options.body_timeout_ns);
  }
  return Step::again;
}

HttpConnection::Step HttpConnection::read_body() {
  size_t const used = body_.feed(input_, early_ ? nullptr : &request_->body);
  input_.erase(0, used);
  if (body_.bad()) {
    refuse(400, "bad_chunk", "malformed chunks");
    return Step::again;
  }
  if (body_.payload_bytes() > server_.options.body_bytes_max) {
    refuse(413, "too_large", "a body over " + std::to_string(server_.options.body_bytes_max));
    return Step::again;
  }
  return body_.done() ? dispatch() : fill();
}

HttpConnection::Step HttpConnection::dispatch() {
  enter(State::handling, server_.options.handler_timeout_ns);
  if (early_) {
    reply(std::move(*early_));
  } else {
    std::unique_ptr<Request> const request = std::move(request_);
    server_.dispatch(*request, id_, number_);
  }
  return state_ == State::closed ? Step::gone : Step::again;
}

void HttpConnection::deliver(uint64_t number, Response response, bool inside) {
  if (state_ != State::handling || number != number_ || !output_.empty()) return;
  reply(std::move(response));
  if (!inside) run();
}

void HttpConnection::refuse(int status, std::string_view type, std::string_view what) {
  server_.cells.bad_requests.add(1);
  close_after_ = true;
  input_.clear();
  reply(Response::error(status, type, what));
  state_ = State::handling;
}

void HttpConnection::reply(Response response) {
  bool const has_body = response.status >= 200 && response.status != 204 && response.status != 304;
  close_after_ = close_after_ || server_.draining;
  output_ += "HTTP/1.1 ";
  base::append_uint(output_, static_cast<uint64_t>(response.status));
  output_ += ' ';
  output_ += reason_of(response.status);
  output_ += "\r\n";
  append_field(output_, "Date", format_http_date(server_.loop.unix_ns() / base::kSecond));
  if (!response.content_type.empty() && has_body) {
    append_field(output_, "Content-Type", response.content_type);
    append_field(output_, "X-Content-Type-Options", "nosniff");
  }
  for (auto const& [name, value] : response.headers) append_field(output_, name, value);
  if (has_body && response.body.size() > server_.options.gzip_bytes_min &&
      compresses(response.content_type) && !has_encoding(response)) {
    append_field(output_, "Vary", "Accept-Encoding");
    auto packed = gzip_wanted_ ? gzip(response.body) : base::fail(base::Errc::invalid, "");
    if (packed) {
      response.body = std::move(*packed);
      append_field(output_, "Content-Encoding", "gzip");
    }
  }
  if (has_body) append_field(output_, "Content-Length", std::to_string(response.body.size()));
  if (close_after_) {
    append_field(output_, "Connection", "close");
  } else if (minor_0_) {
    append_field(output_, "Connection", "keep-alive");
  }
  output_ += "\r\n";
  if (has_body && !head_only_) output_ += response.body;
  size_t const cls = static_cast<size_t>(std::clamp(response.status / 100, 1, 5));
  server_.cells.responses[cls - 1].add(1);
  early_.reset();
  request_.reset();
}

HttpConnection::Step HttpConnection::flush() {
  IoResult const put = transport_.write(output_.data() + written_, output_.size() - written_);
  if (put.kind == IoKind::error || put.kind == IoKind::eof) return drop();
  server_.cells.bytes_out.add(put.bytes);
  written_ += put.bytes;
  if (written_ == output_.size()) {
    std::string().swap(output_);
    written_ = 0;
    write_timed_ = false;
    // Only 100 Continue is written in the middle of a request.
    if (state_ == State::handling) after_reply();
    return state_ == State::closed ? Step::gone : Step::again;
  }
  if (!write_timed_ && state_ == State::handling) {
    write_timed_ = true;
    auto const slow =
        static_cast<int64_t>(output_.size() / server_.options.write_bytes_per_second_min);
    server_.loop.arm(*this, server_.options.write_timeout_ns + slow * base::kSecond);
  }
  if (put.kind == IoKind::done) return Step::again;
  watch(put.kind == IoKind::again_read ? EPOLLIN : EPOLLOUT);
  return Step::wait;
}

void HttpConnection::after_reply() {
  if (!close_after_) {
    enter(State::idle, server_.options.idle_timeout_ns);
    return;
  }
  // Closing with unread bytes resets the connection, and the peer may lose the answer with it.
  transport_.shutdown_write();
  enter(State::lingering, kLingerNs);
}

HttpConnection::Step HttpConnection::linger() {
  lingered_ += input_.size();
  input_.clear();
  if (lingered_ > kLingerBytesMax) return drop();
  return fill();
}

void HttpConnection::on_timer() noexcept {
  bool const writing = !output_.empty();
  if (state_ == State::idle || state_ == State::lingering) {
    drop();
    return;
  }
  server_.cells.timeouts.add(1);
  if (writing || state_ == State::handshake) {
    transport_.abort_on_close();
    drop();
    return;
  }
  if (state_ == State::handling) {
    // A late answer finds another number and is dropped.
    close_after_ = true;
    reply(Response::error(503, "timeout", "no answer in time"));
  } else {
    refuse(408, "timeout", "the request did not arrive in time");
  }
  run();
}

}  // namespace wscope::net
