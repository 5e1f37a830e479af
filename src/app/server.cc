#include "app/server.h"

#include <csignal>
#include <cstdio>

#include "app/program.h"

namespace wscope::app {
namespace {

sigset_t handled_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&set, signal);
  return set;
}

}  // namespace

int run_server(Config const& config, std::function<base::Result<Config>()> reload) {
  // Blocked before any thread starts, so that only this one is told.
  sigset_t const signals = handled_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  (void)::signal(SIGPIPE, SIG_IGN);
  auto program = Program::start(config);
  if (!program) {
    std::fprintf(stderr, "wscope: %s\n", program.error().what.c_str());
    return 1;
  }
  (*program)->say_where();
  for (;;) {
    int signal = 0;
    ::sigwait(&signals, &signal);
    if (signal != SIGHUP) break;
    (*program)->reload(reload());
  }
  // A second signal ends the program at once: the default action comes back.
  ::pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
  (*program)->drain();
  return 0;
}

}  // namespace wscope::app
