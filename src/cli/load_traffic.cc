#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>

#include "cli/load_run.h"

namespace wscope::cli {

namespace {

// Fanout: a member that is more messages behind than this has its latency understated.
constexpr size_t kPublishedRemembered = 1 << 16;

}  // namespace

void LoadRun::start_messages(int64_t now_ns) {
  if (options_.mode == LoadMode::idle) return;
  if (options_.mode == LoadMode::fanout) {
    // The last to join, so that a server which delivers in that order has served the others when
    // the publisher's own copy lets it go on.
    auto const last = std::find_if(connections_.rbegin(), connections_.rend(),
                                   [](auto const& connection) { return connection->is_open(); });
    if (last == connections_.rend()) return;
    publisher_ = last->get();
    lanes_.push_back(publisher_);
    published_ns_.resize(kPublishedRemembered);
  } else {
    for (auto& connection : connections_) {
      if (connection->is_open()) lanes_.push_back(connection.get());
    }
  }
  for (uint32_t i = 0; i < lanes_.size(); ++i) lanes_[i]->lane = i;
  if (options_.rate > 0) {
    if (failure_ = start_schedule(); !failure_) loop_.stop();
    return;
  }
  for (LoadConnection* connection : std::vector(lanes_)) {
    if (connection->is_open()) publish(*connection, options_.in_flight, now_ns);
  }
}

// Closed loop: notes when, and sends.
void LoadRun::publish(LoadConnection& connection, uint64_t count, int64_t now_ns) {
  connection.publish(count);
  if (options_.mode == LoadMode::fanout) {
    for (uint64_t i = 0; i < count; ++i) {
      published_ns_[published_++ % kPublishedRemembered] = now_ns;
    }
    outstanding_ += count * open_;
  } else {
    connection.log.push(now_ns, static_cast<uint32_t>(count));
    outstanding_ += count;
  }
  connection.flush();
}

base::Status LoadRun::start_schedule() {
  int const fd = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) return base::fail_errno("timerfd_create");
  WSCOPE_TRY_STATUS(schedule_fd_.watch(loop_, fd));
  schedule_ = LoadSchedule(options_.rate, loop_.read_now_ns() + base::kMilli);
  auto const split = [](int64_t ns) {
    return timespec{static_cast<time_t>(ns / base::kSecond), static_cast<long>(ns % base::kSecond)};
  };
  itimerspec const times{split(schedule_.tick_ns()), split(schedule_.start_ns())};
  if (::timerfd_settime(fd, TFD_TIMER_ABSTIME, &times, nullptr) != 0) {
    return base::fail_errno("timerfd_settime");
  }
  return {};
}

// Open loop: sends what is due, however late this call is.
void LoadRun::on_schedule() {
  uint64_t expirations;
  if (::read(schedule_fd_.fd(), &expirations, sizeof expirations) != sizeof expirations) return;
  uint64_t const due = schedule_.due_by(loop_.read_now_ns());
  uint64_t const lanes = lanes_.size();
  for (; scheduled_ < due; ++scheduled_) {
    LoadConnection& connection = *lanes_[scheduled_ % lanes];
    if (!connection.is_open()) continue;
    connection.publish(1);
    if (options_.mode == LoadMode::fanout) {
      ++published_;
      outstanding_ += open_;
    } else {
      ++outstanding_;
    }
    if (!std::exchange(connection.dirty, true)) dirty_.push_back(&connection);
  }
  for (LoadConnection* connection : dirty_) {
    connection->dirty = false;
    if (connection->is_open()) connection->flush();
  }
  dirty_.clear();
}

// What has been sent that this connection must receive.
uint64_t LoadRun::asked_of(LoadConnection const& connection) const {
  return options_.mode == LoadMode::fanout ? published_ : connection.sent();
}

void LoadRun::record(int64_t sent_ns, int64_t now_ns, uint64_t count) {
  if (phase_ != Phase::measuring && phase_ != Phase::draining) return;
  if (sent_ns >= window_start_ns_) histogram_.record(now_ns - sent_ns, count);
}

void LoadRun::record_scheduled(LoadConnection const& connection, uint64_t count, int64_t now_ns) {
  bool const fanout = options_.mode == LoadMode::fanout;
  uint64_t const lanes = fanout ? 1 : lanes_.size();
  uint64_t const lane = fanout ? 0 : connection.lane;
  uint64_t const end = connection.answered;
  for (uint64_t i = end - count; i < end; ++i) {
    record(schedule_.due_ns(i * lanes + lane), now_ns, 1);
  }
}

void LoadRun::record_published(LoadConnection const& connection, uint64_t count, int64_t now_ns) {
  uint64_t const end = connection.answered;
  for (uint64_t i = end - count; i < end; ++i) {
    record(published_ns_[i % kPublishedRemembered], now_ns, 1);
  }
}

void LoadRun::on_replies(LoadConnection& connection, Replies const& replies, int64_t now_ns) {
  if (phase_ == Phase::measuring) {
    report_.deliveries += replies.messages;
    report_.payload_bytes += replies.payload_bytes;
  }
  if (options_.mode == LoadMode::idle || phase_ == Phase::closing) return;
  uint64_t const asked = asked_of(connection);
  uint64_t const count = std::min(replies.messages, asked - std::min(asked, connection.answered));
  connection.answered += count;
  outstanding_ -= std::min(outstanding_, count);
  if (count < replies.messages && options_.verify) {
    return connection.fail(LoadEnd::mismatch, "a message that nothing was sent for");
  }
  bool const own = options_.mode != LoadMode::fanout || &connection == publisher_;
  if (own && phase_ == Phase::measuring) report_.messages += count;
  if (options_.rate > 0) {
    record_scheduled(connection, count, now_ns);
  } else if (options_.mode == LoadMode::fanout) {
    record_published(connection, count, now_ns);
  } else if (options_.mode == LoadMode::echo) {
    connection.log.pop(count, [&](int64_t sent_ns, uint32_t n) { record(sent_ns, now_ns, n); });
  }
  if (options_.mode == LoadMode::churn) {
    if (connection.answered >= connection.sent()) connection.finish(now_ns);
  } else if (own && options_.rate <= 0 && sending()) {
    if (count > 0) publish(connection, count, now_ns);
  }
  if (phase_ == Phase::draining && drained()) close_all();
}

// A connection ended: what it did not receive will not come.
void LoadRun::settle(LoadConnection const& connection) {
  uint64_t const asked = asked_of(connection);
  uint64_t const missing = asked > connection.answered ? asked - connection.answered : 0;
  uint64_t const lost = std::min(missing, outstanding_);
  outstanding_ -= lost;
  report_.errors.unanswered += lost;
}

}  // namespace wscope::cli
