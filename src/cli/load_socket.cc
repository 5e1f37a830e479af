#include "cli/load_socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/clock.h"

namespace wscope::cli {

using base::Errc;
using base::fail;

namespace {

std::unexpected<base::Error> connect_failure(std::string const& doing) {
  int const error = errno;
  std::string what = doing + ": " + std::strerror(error);
  switch (error) {
    case EMFILE:
    case ENFILE:
      return fail(Errc::over_limit, std::move(what));
    case ECONNREFUSED:
      return fail(Errc::refused, std::move(what));
    default:
      return fail(Errc::io, std::move(what));
  }
}

}  // namespace

base::Result<int> connect_from(net::Address const& to, net::Address const* from) {
  int const fd = ::socket(to.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return connect_failure("socket");
  int const on = 1;
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (from != nullptr) {
    (void)::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (::bind(fd, from->raw(), from->len) != 0) {
      auto failure = connect_failure("bind to " + net::to_text(*from));
      ::close(fd);
      return failure;
    }
  }
  if (::connect(fd, to.raw(), to.len) != 0 && errno != EINPROGRESS) {
    auto failure = connect_failure("connect to " + net::to_text(to));
    ::close(fd);
    return failure;
  }
  return fd;
}

base::Result<std::vector<net::Address>> source_addresses(std::span<std::string const> wanted,
                                                         net::Address const& to, uint32_t count) {
  std::vector<net::Address> sources;
  for (std::string const& text : wanted) {
    bool const v6 = text.find(':') != std::string::npos;
    auto address = net::parse_address(v6 ? "[" + text + "]:0" : text + ":0");
    if (!address) return fail(Errc::invalid, "--source " + text + ": " + address.error().what);
    if (address->storage.ss_family != to.storage.ss_family) {
      return fail(Errc::invalid, "--source " + text + " is of another family than the target");
    }
    sources.push_back(*address);
  }
  if (!sources.empty() || to.storage.ss_family != AF_INET || !net::is_loopback(to) || count < 2) {
    return sources;
  }
  for (uint32_t i = 0; i < count; ++i) {
    sockaddr_in local{};
    local.sin_family = AF_INET;
    local.sin_addr.s_addr = htonl(INADDR_LOOPBACK + i);
    net::Address address;
    std::memcpy(&address.storage, &local, sizeof local);
    address.len = sizeof local;
    sources.push_back(address);
  }
  return sources;
}

base::Status raise_descriptor_limit(uint64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return base::fail_errno("getrlimit");
  if (limit.rlim_cur >= wanted) return {};
  rlim_t const hard = limit.rlim_max;
  limit.rlim_cur = wanted;
  if (limit.rlim_max < wanted) limit.rlim_max = wanted;
  if (::setrlimit(RLIMIT_NOFILE, &limit) == 0) return {};
  return fail(Errc::over_limit, "needs " + std::to_string(wanted) + " descriptors, the limit is " +
                                    std::to_string(hard) + " (ulimit -Hn)");
}

base::Status pin_to_cpu(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu >= 0 && cpu < CPU_SETSIZE) {
    CPU_SET(static_cast<size_t>(cpu), &set);
    if (::sched_setaffinity(0, sizeof set, &set) == 0) return {};
  }
  return fail(Errc::invalid, "--cpu " + std::to_string(cpu) + ": not a processor to be had here");
}

int64_t thread_cpu_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return time.tv_sec * base::kSecond + time.tv_nsec;
}

}  // namespace wscope::cli
