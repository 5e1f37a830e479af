#include "cli/load_run.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/load_socket.h"

namespace wscope::cli {

namespace {

constexpr uint64_t kOpeningMax = 256;  // at once; well below any listener's backlog
constexpr int64_t kSweepNs = 100 * base::kMilli;
constexpr int64_t kInterruptedDrainNs = base::kSecond;
constexpr size_t kBufferBytes = 512 << 10;

}  // namespace

LoadRun::LoadRun(LoadOptions const& options, Target target, LoadHandshake handshake)
    : options_(options),
      target_(std::move(target)),
      loop_(clock_),
      handshake_(std::move(handshake)),
      cycle_(options.size, options.binary, options.rate > 0 ? 1024 : options.in_flight,
             options.seed),
      buffer_(kBufferBytes),
      shared_{loop_,
              *this,
              cycle_,
              handshake_,
              target_.address,
              target_.sources,
              target_.tls.get(),
              target_.url.host,
              options.insecure,
              options.verify && options.mode != LoadMode::idle,
              buffer_} {}

LoadRun::~LoadRun() {
  for (auto& connection : connections_) connection->abandon();
}

base::Status LoadRun::prepare() {
  if (options_.cpu >= 0) WSCOPE_TRY_STATUS(pin_to_cpu(options_.cpu));
  WSCOPE_TRY_STATUS(raise_descriptor_limit(uint64_t{options_.connections} + 64));
  if (!options_.catch_signals) return {};
  // A write of TLS goes to a socket that the server may have closed.
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return base::fail_errno("sigprocmask");
  int const fd = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) return base::fail_errno("signalfd");
  return signal_fd_.watch(loop_, fd);
}

base::Result<LoadReport> LoadRun::run() {
  WSCOPE_TRY_STATUS(prepare());
  bool const closed_loop = options_.rate <= 0;
  for (uint32_t i = 0; i < options_.connections; ++i) {
    connections_.push_back(std::make_unique<LoadConnection>(shared_));
    if (options_.mode == LoadMode::echo && closed_loop) {
      connections_.back()->log.prepare(options_.in_flight);
    }
  }
  opening_started_ns_ = clock_.steady_ns();
  (void)loop_.post([this] {
    loop_.arm(sweep_timer_, kSweepNs);
    if (options_.progress) loop_.arm(progress_timer_, base::kSecond);
    // Churn has traffic as soon as it opens.
    if (options_.mode == LoadMode::churn) start_traffic();
    open_more();
  });
  loop_.run();
  if (!failure_) return std::unexpected(failure_.error());
  finish_report();
  return report_;
}

// Opens what is still to be opened, a bounded number at once.
void LoadRun::open_more() {
  // open() may fail at once and come back here through on_end().
  if (refilling_) return;
  refilling_ = true;
  while (phase_ <= Phase::measuring && next_ < options_.connections && opening_ < kOpeningMax) {
    ++opening_;
    connections_[next_++]->open(loop_.now_ns());
  }
  refilling_ = false;
  bool const all_tried = next_ == options_.connections && opening_ == 0;
  if (phase_ == Phase::opening && all_tried) start_traffic();
}

void LoadRun::start_traffic() {
  phase_ = Phase::warming;
  int64_t const now_ns = loop_.read_now_ns();
  if (options_.mode != LoadMode::churn) {
    report_.handshakes = handshakes_;
    double const seconds = static_cast<double>(now_ns - opening_started_ns_) / 1e9;
    report_.handshakes_per_s = static_cast<double>(handshakes_) / std::max(seconds, 1e-9);
    if (options_.on_ready) options_.on_ready(open_);
    if (open_ == 0) return close_all();
    start_messages(now_ns);
  }
  if (options_.warmup_ns > 0 && options_.mode != LoadMode::idle) {
    loop_.arm(warmup_timer_, options_.warmup_ns);
  } else {
    begin_window();
  }
}

void LoadRun::begin_window() {
  if (phase_ != Phase::warming) return;
  phase_ = Phase::measuring;
  histogram_.clear();
  report_.messages = report_.deliveries = report_.payload_bytes = 0;
  last_progress_ = 0;
  if (options_.mode == LoadMode::churn) handshakes_ = 0;
  window_cpu_ns_ = thread_cpu_ns();
  window_start_ns_ = last_progress_ns_ = loop_.read_now_ns();
  loop_.arm(window_timer_, options_.duration_ns);
}

void LoadRun::end_window() {
  if (phase_ >= Phase::draining) return;
  bool const measured = phase_ == Phase::measuring;
  phase_ = Phase::draining;
  schedule_fd_.close();
  report_.open = open_;
  if (measured) {
    window_end_ns_ = loop_.read_now_ns();
    report_.duration_s = static_cast<double>(window_end_ns_ - window_start_ns_) / 1e9;
    report_.cpu_s = static_cast<double>(thread_cpu_ns() - window_cpu_ns_) / 1e9;
    if (options_.mode == LoadMode::churn) report_.handshakes = handshakes_;
  } else {
    // Stopped before there was a window.
    histogram_.clear();
    report_.messages = report_.deliveries = report_.payload_bytes = 0;
  }
  if (drained()) return close_all();
  loop_.arm(drain_timer_,
            interrupted_ ? std::min(kInterruptedDrainNs, options_.drain_ns) : options_.drain_ns);
}

bool LoadRun::drained() const {
  return outstanding_ == 0 && (options_.mode != LoadMode::churn || opening_ == 0);
}

void LoadRun::drain_over() {
  if (phase_ != Phase::draining) return;
  if (outstanding_ > 0 && !interrupted_) {
    report_.errors.unanswered += outstanding_;
    if (report_.first_error.empty()) {
      report_.first_error = std::to_string(outstanding_) + " messages were not answered in time";
    }
  }
  outstanding_ = 0;
  close_all();
}

void LoadRun::close_all() {
  if (phase_ == Phase::closing) return;
  phase_ = Phase::closing;
  int64_t const now_ns = loop_.read_now_ns();
  for (auto& connection : connections_) {
    if (connection->is_open()) {
      connection->finish(now_ns);
    } else if (connection->state() != LoadConnection::State::closing) {
      connection->abandon();
    }
  }
  opening_ = 0;
  if (open_ == 0) loop_.stop();
}

void LoadRun::sweep() {
  int64_t const now_ns = loop_.now_ns();
  for (auto& connection : connections_) connection->check_time(now_ns);
  std::vector<LoadConnection*> const again = std::exchange(retry_, {});
  bool const hopeless = options_.mode == LoadMode::churn && handshakes_ == 0 &&
                        phase_ <= Phase::measuring &&
                        report_.errors.total() >= options_.connections;
  if (hopeless) {
    end_window();
  } else if (sending()) {
    for (LoadConnection* connection : again) {
      ++opening_;
      connection->open(now_ns);
    }
  }
  loop_.arm(sweep_timer_, kSweepNs);
}

void LoadRun::interrupt() {
  signalfd_siginfo info;
  while (::read(signal_fd_.fd(), &info, sizeof info) == sizeof info) continue;
  // A second signal does not wait for anybody.
  if (std::exchange(interrupted_, true)) return loop_.stop();
  report_.interrupted = true;
  if (phase_ == Phase::opening) phase_ = Phase::warming;
  end_window();
}

void LoadRun::count_error(LoadEnd end, std::string const& what) {
  LoadErrors& errors = report_.errors;
  switch (end) {
    case LoadEnd::finished:
      return;
    case LoadEnd::connect:
      ++errors.connect;
      break;
    case LoadEnd::handshake:
      ++errors.handshake;
      break;
    case LoadEnd::protocol:
      ++errors.protocol;
      break;
    case LoadEnd::closed:
      ++errors.closed;
      break;
    case LoadEnd::mismatch:
      ++errors.mismatch;
      break;
  }
  if (report_.first_error.empty()) report_.first_error = what;
}

void LoadRun::on_open(LoadConnection& connection, int64_t now_ns) {
  --opening_;
  ++open_;
  ++handshakes_;
  if (options_.mode == LoadMode::churn) {
    record(connection.started_ns(), now_ns, 1);
    if (options_.messages > 0 && sending()) {
      publish(connection, options_.messages, now_ns);
    } else {
      connection.finish(now_ns);
    }
    if (phase_ == Phase::draining && drained()) close_all();
  }
  open_more();
}

void LoadRun::on_end(LoadConnection& connection, LoadEnd end, std::string const& what) {
  // After the end of the measurement a server may leave as it likes.
  bool const late = phase_ == Phase::closing && end == LoadEnd::closed;
  if (!late) count_error(end, what);
  bool const was_opening = end == LoadEnd::connect || end == LoadEnd::handshake;
  if (was_opening) {
    --opening_;
  } else {
    --open_;
    settle(connection);
  }
  if (options_.mode == LoadMode::churn && sending()) {
    if (end == LoadEnd::finished) {
      ++opening_;
      connection.open(loop_.now_ns());
    } else {
      retry_.push_back(&connection);
    }
  }
  open_more();
  if (phase_ == Phase::closing && open_ == 0) return loop_.stop();
  bool const lost =
      options_.mode != LoadMode::churn && sending() && (open_ == 0 || &connection == publisher_);
  if (lost) end_window();
  if (phase_ == Phase::draining && drained()) close_all();
}

void LoadRun::finish_report() {
  report_.mode = options_.mode;
  report_.connections = options_.connections;
  report_.in_flight = options_.rate > 0 ? 0 : options_.in_flight;
  report_.size = options_.size;
  report_.rate = options_.rate;
  if (options_.mode == LoadMode::churn) {
    report_.handshakes_per_s = report_.per_second(report_.handshakes);
  }
  report_.coordinated_omission_corrected = options_.rate > 0;
  auto const us = [this](double q) { return static_cast<double>(histogram_.quantile_ns(q)) / 1e3; };
  report_.latency = {histogram_.count(),
                     histogram_.mean_ns() / 1e3,
                     us(0.5),
                     us(0.9),
                     us(0.99),
                     us(0.999),
                     static_cast<double>(histogram_.max_ns()) / 1e3};
}

void LoadRun::progress() {
  int64_t const now_ns = loop_.read_now_ns();
  bool const churn = options_.mode == LoadMode::churn;
  uint64_t const count = churn ? handshakes_ : report_.deliveries;
  double const seconds = static_cast<double>(now_ns - last_progress_ns_) / 1e9;
  double const rate =
      count >= last_progress_ ? static_cast<double>(count - last_progress_) / seconds : 0;
  last_progress_ = count;
  last_progress_ns_ = now_ns;
  constexpr char const* kPhases[] = {"opening", "warm-up", "measuring", "draining", "closing"};
  std::fprintf(stderr, "%s%s: %llu open, %.0f %s/s, p99 %.0f us, %llu errors%s",
               options_.progress_in_place ? "\r\033[K" : "", kPhases[static_cast<int>(phase_)],
               static_cast<unsigned long long>(open_), rate, churn ? "handshakes" : "messages",
               static_cast<double>(histogram_.quantile_ns(0.99)) / 1e3,
               static_cast<unsigned long long>(report_.errors.total()),
               options_.progress_in_place ? "" : "\n");
  loop_.arm(progress_timer_, base::kSecond);
}

}  // namespace wscope::cli
