#include "gateway/cork.h"

namespace wscope::gateway {
namespace {

bool again(net::IoKind kind) {
  return kind == net::IoKind::again_write || kind == net::IoKind::again_read;
}

}  // namespace

Sent write_or_keep(net::Transport& transport, Backlog& backlog, std::string_view bytes) {
  if (!backlog.empty()) {
    backlog.append(bytes);
    return Sent::waits;
  }
  while (!bytes.empty()) {
    net::IoResult const result = transport.write(bytes.data(), bytes.size());
    if (result.kind == net::IoKind::done) {
      bytes.remove_prefix(result.bytes);
      // A short write of a plain socket means its buffer is full: asking again would only cost.
      if (bytes.empty() || transport.secure()) continue;
    } else if (!again(result.kind)) {
      return Sent::failed;
    }
    backlog.append(bytes);
    return Sent::waits;
  }
  return Sent::all;
}

Sent write_or_keep(net::Transport& transport, Backlog& backlog, std::string_view header,
                   std::string_view payload) {
  if (!backlog.empty() || transport.secure()) {
    Sent const first = write_or_keep(transport, backlog, header);
    if (first == Sent::failed) return first;
    return write_or_keep(transport, backlog, payload);
  }
  iovec const parts[2] = {{const_cast<char*>(header.data()), header.size()},
                          {const_cast<char*>(payload.data()), payload.size()}};
  net::IoResult const result = transport.writev(parts, 2);
  size_t done = 0;
  if (result.kind == net::IoKind::done) {
    done = result.bytes;
  } else if (!again(result.kind)) {
    return Sent::failed;
  }
  if (done == header.size() + payload.size()) return Sent::all;
  if (done < header.size()) {
    backlog.append(header.substr(done));
    done = header.size();
  }
  backlog.append(payload.substr(done - header.size()));
  return Sent::waits;
}

Sent write_backlog(net::Transport& transport, Backlog& backlog) {
  while (!backlog.empty()) {
    std::string_view const bytes = backlog.view();
    net::IoResult const result = transport.write(bytes.data(), bytes.size());
    if (result.kind == net::IoKind::done) {
      backlog.consumed(result.bytes);
      if (result.bytes < bytes.size() && !transport.secure()) return Sent::waits;
    } else {
      return again(result.kind) ? Sent::waits : Sent::failed;
    }
  }
  return Sent::all;
}

}  // namespace wscope::gateway
