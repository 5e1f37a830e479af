#pragma once

#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cli/load.h"
#include "cli/load_connection.h"
#include "cli/load_histogram.h"
#include "cli/load_schedule.h"
#include "runtime/loop.h"

namespace wscope::cli {

// A timer that calls a member function of its owner.
template <class Owner, void (Owner::*Call)()>
class LoadTimer final : public runtime::Timer {
 public:
  explicit LoadTimer(Owner& owner) : owner_(owner) {}

 private:
  void on_timer() noexcept override { (owner_.*Call)(); }
  Owner& owner_;
};

// A descriptor (timerfd, signalfd) that calls a member function of its owner when readable. Owns
// it.
template <class Owner, void (Owner::*Call)()>
class LoadDescriptor final : public runtime::Pollable {
 public:
  explicit LoadDescriptor(Owner& owner) : owner_(owner) {}
  ~LoadDescriptor() override { close(); }
  base::Status watch(runtime::Loop& loop, int fd) {
    loop_ = &loop;
    fd_ = fd;
    return loop.add(fd, EPOLLIN, *this);
  }
  void close() {
    if (fd_ < 0) return;
    loop_->remove(fd_, *this);
    ::close(std::exchange(fd_, -1));
  }
  int fd() const { return fd_; }

 private:
  void on_ready(uint32_t) noexcept override { (owner_.*Call)(); }
  Owner& owner_;
  runtime::Loop* loop_ = nullptr;
  int fd_ = -1;
};

// One run: opens connections, warms up, measures, waits for the last replies, closes, reports.
//
// Thread: the one that calls run().
class LoadRun final : private LoadEvents {
 public:
  // What prepare() made of the options.
  struct Target {
    net::Url url;
    net::Address address;
    std::unique_ptr<net::TlsContext> tls;
    std::vector<net::Address> sources;
  };

  // Borrows `options`.
  LoadRun(LoadOptions const& options, Target target, LoadHandshake handshake);
  ~LoadRun() override;
  base::Result<LoadReport> run();

 private:
  enum class Phase : uint8_t { opening, warming, measuring, draining, closing };

  void on_open(LoadConnection& connection, int64_t now_ns) override;
  void on_replies(LoadConnection& connection, Replies const& replies, int64_t now_ns) override;
  void on_end(LoadConnection& connection, LoadEnd end, std::string const& what) override;

  // load_run.cc: phases.
  base::Status prepare();
  void open_more();
  void start_traffic();
  void begin_window();
  void end_window();
  void drain_over();
  void close_all();
  void sweep();
  void interrupt();
  void progress();
  void count_error(LoadEnd end, std::string const& what);
  void finish_report();
  bool drained() const;
  bool sending() const { return phase_ == Phase::warming || phase_ == Phase::measuring; }

  // load_traffic.cc: messages.
  void start_messages(int64_t now_ns);
  void publish(LoadConnection& connection, uint64_t count, int64_t now_ns);
  void on_schedule();
  base::Status start_schedule();
  void record(int64_t sent_ns, int64_t now_ns, uint64_t count);
  void record_scheduled(LoadConnection const& connection, uint64_t count, int64_t now_ns);
  void record_published(LoadConnection const& connection, uint64_t count, int64_t now_ns);
  void settle(LoadConnection const& connection);
  uint64_t asked_of(LoadConnection const& connection) const;

  LoadOptions const& options_;
  Target target_;
  base::RealClock clock_;
  runtime::Loop loop_;
  LoadHandshake handshake_;
  MessageCycle cycle_;
  std::vector<char> buffer_;
  LoadShared shared_;
  std::vector<std::unique_ptr<LoadConnection>> connections_;
  std::vector<LoadConnection*>
      lanes_;  // those open when traffic started: message i goes to i % size
  std::vector<LoadConnection*> dirty_;   // of this turn of the schedule
  std::vector<LoadConnection*> retry_;   // churn: failed, opened again at the next sweep
  LoadConnection* publisher_ = nullptr;  // fanout; the last to join, so that others come before it

  Phase phase_ = Phase::opening;
  bool refilling_ = false;
  bool interrupted_ = false;
  uint64_t opening_ = 0;  // between open() and the handshake's end
  uint64_t open_ = 0;     // handshake done, not ended
  uint32_t next_ = 0;     // of connections_, to be opened
  uint64_t published_ = 0;
  std::vector<int64_t>
      published_ns_;          // fanout, closed loop: when message i was sent, i modulo size
  uint64_t outstanding_ = 0;  // replies or deliveries still to come
  LoadSchedule schedule_;
  uint64_t scheduled_ = 0;
  int64_t opening_started_ns_ = 0;
  int64_t window_start_ns_ = INT64_MAX;  // what was sent before is not in the histogram
  int64_t window_end_ns_ = 0;
  int64_t window_cpu_ns_ = 0;
  uint64_t handshakes_ = 0;
  uint64_t last_progress_ = 0;
  int64_t last_progress_ns_ = 0;
  LoadHistogram histogram_;
  LoadReport report_;
  base::Status failure_;

  LoadTimer<LoadRun, &LoadRun::begin_window> warmup_timer_{*this};
  LoadTimer<LoadRun, &LoadRun::end_window> window_timer_{*this};
  LoadTimer<LoadRun, &LoadRun::drain_over> drain_timer_{*this};
  LoadTimer<LoadRun, &LoadRun::sweep> sweep_timer_{*this};
  LoadTimer<LoadRun, &LoadRun::progress> progress_timer_{*this};
  LoadDescriptor<LoadRun, &LoadRun::on_schedule> schedule_fd_{*this};
  LoadDescriptor<LoadRun, &LoadRun::interrupt> signal_fd_{*this};
};

}  // namespace wscope::cli
