#include "gateway/process_stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"

namespace wscope::gateway {
namespace {

constexpr size_t kFileBytesMax = 64 << 10;

// The words of `text`, at most 64.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (words.size() < 64) {
    size_t const begin = text.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    words.push_back(text.substr(0, text.find_first_of(" \t\n")));
    text.remove_prefix(words.back().size());
  }
  return words;
}

uint64_t number_at(std::vector<std::string_view> const& words, size_t index) {
  return index < words.size() ? base::parse_uint(words[index]).value_or(0) : 0;
}

// What follows `key` on its line.
std::string_view line_after(std::string_view text, std::string_view key) {
  size_t const at = text.find(key);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + key.size());
  return text.substr(0, text.find('\n'));
}

// CPUs in a list such as "0-3,8,10-11".
uint64_t count_cpus(std::string_view list) {
  uint64_t cpus = 0;
  for (std::string_view part : base::split(list, ',')) {
    size_t const dash = part.find('-');
    auto const first = base::parse_uint(part.substr(0, dash));
    auto const last =
        dash == std::string_view::npos ? first : base::parse_uint(part.substr(dash + 1));
    if (first && last && *last >= *first) cpus += *last - *first + 1;
  }
  return cpus;
}

// utime and stime of /proc/self/stat, in clock ticks. The program's name may hold spaces and
// brackets, so fields are counted from the last bracket.
uint64_t cpu_ticks(std::string_view stat) {
  size_t const bracket = stat.rfind(')');
  if (bracket == std::string_view::npos) return 0;
  auto const words = words_of(stat.substr(bracket + 1));
  return number_at(words, 11) + number_at(words, 12);
}

// Quota over period; nothing if unlimited.
std::optional<double> quota_cores(std::string_view quota, std::string_view period) {
  auto const q = base::parse_uint(base::trim(quota));
  auto const p = base::parse_uint(base::trim(period));
  if (!q || !p || *q == 0 || *p == 0) return std::nullopt;
  return static_cast<double>(*q) / static_cast<double>(*p);
}

std::string_view first_line(std::string_view text) { return text.substr(0, text.find('\n')); }

}  // namespace

ProcessStats::ProcessStats(std::string root) : root_(std::move(root)) {}

std::string ProcessStats::text_of(std::string const& path) const {
  int const fd = ::open((root_ + path).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  std::string text;
  char buffer[4096];
  ssize_t n = 0;
  while (text.size() < kFileBytesMax && (n = ::read(fd, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  return text;
}

template <class Visit>
void ProcessStats::each_group(std::string const& controller, Visit visit) const {
  std::string const groups = text_of("/proc/self/cgroup");
  for (std::string_view line : base::split(groups, '\n')) {
    auto const parts = base::split(line, ':');
    if (parts.size() < 3) continue;
    bool const listed = controller.empty() ? parts[0] == "0" && parts[1].empty()
                                           : base::list_has_token(parts[1], controller);
    if (!listed) continue;
    // Inside a container the path may be one of the host that is not to be seen here; then only the
    // mount itself answers.
    std::string const mount = "/sys/fs/cgroup" + (controller.empty() ? "" : "/" + controller);
    std::string path(line.substr(static_cast<size_t>(parts[2].data() - line.data())));
    while (!path.empty() && path != "/") {
      visit(mount + path);
      path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
    }
    visit(mount);
    return;
  }
}

uint64_t ProcessStats::memory_limit() const {
  std::string const meminfo = text_of("/proc/meminfo");
  uint64_t limit = number_at(words_of(line_after(meminfo, "MemTotal:")), 0) * 1024;
  auto lower = [&](std::string const& file) {
    std::string const text = text_of(file);
    auto const bytes = base::parse_uint(first_line(text));  // "max" is no number
    if (bytes && (limit == 0 || *bytes < limit)) limit = *bytes;
  };
  each_group("", [&](std::string const& group) { lower(group + "/memory.max"); });
  each_group("memory", [&](std::string const& group) { lower(group + "/memory.limit_in_bytes"); });
  return limit;
}

double ProcessStats::cores() const {
  std::string const status = text_of("/proc/self/status");
  double cores = static_cast<double>(count_cpus(line_after(status, "Cpus_allowed_list:")));
  if (cores < 1) cores = static_cast<double>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
  auto lower = [&](std::optional<double> quota) {
    if (quota && *quota < cores) cores = *quota;
  };
  each_group("", [&](std::string const& group) {
    std::string const text = text_of(group + "/cpu.max");
    auto const words = words_of(text);
    if (words.size() >= 2) lower(quota_cores(words[0], words[1]));
  });
  each_group("cpu", [&](std::string const& group) {
    std::string const quota = text_of(group + "/cpu.cfs_quota_us");
    std::string const period = text_of(group + "/cpu.cfs_period_us");
    lower(quota_cores(first_line(quota), first_line(period)));
  });
  return cores;
}

uint64_t ProcessStats::count_fds() const {
  std::string const path = root_ + "/proc/self/fd";
  struct stat info {};
  // Since Linux 6.2 the folder's size is their number.
  if (root_.empty() && ::stat(path.c_str(), &info) == 0 && info.st_size > 0) {
    return static_cast<uint64_t>(info.st_size);
  }
  DIR* const folder = ::opendir(path.c_str());
  if (folder == nullptr) return 0;
  uint64_t entries = 0;
  while (dirent const* entry = ::readdir(folder)) entries += entry->d_name[0] != '.';
  ::closedir(folder);
  return root_.empty() && entries > 0 ? entries - 1 : entries;  // the listing itself needed one
}

ProcessSample ProcessStats::sample(int64_t steady_ns) {
  ProcessSample out;
  auto const page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  std::string const statm = text_of("/proc/self/statm");
  out.memory_bytes = number_at(words_of(statm), 1) * page;
  out.memory_limit_bytes = memory_limit();
  if (out.memory_limit_bytes > 0) {
    out.memory_percent =
        100.0 * static_cast<double>(out.memory_bytes) / static_cast<double>(out.memory_limit_bytes);
  }
  out.cpu_seconds = static_cast<double>(cpu_ticks(text_of("/proc/self/stat"))) /
                    static_cast<double>(::sysconf(_SC_CLK_TCK));
  out.cpu_cores = cores();
  if (sampled_ && steady_ns > last_ns_) {
    double const seconds = static_cast<double>(steady_ns - last_ns_) / 1e9;
    out.cpu_percent =
        std::max(0.0, 100.0 * (out.cpu_seconds - last_cpu_seconds_) / (seconds * out.cpu_cores));
  }
  last_cpu_seconds_ = out.cpu_seconds;
  last_ns_ = steady_ns;
  sampled_ = true;
  out.open_fds = count_fds();
  std::string const limits = text_of("/proc/self/limits");
  out.fds_max = number_at(words_of(line_after(limits, "Max open files")), 0);
  return out;
}

}  // namespace wscope::gateway
