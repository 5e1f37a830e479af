#include "telemetry/log_sinks.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <filesystem>

#include "base/files.h"

namespace wscope::telemetry {

void LogSink::count_dropped(std::string_view lines) {
  lines_dropped_.add(static_cast<uint64_t>(std::count(lines.begin(), lines.end(), '\n')));
}

ConsoleSink::ConsoleSink(int fd) : fd_(fd) {
  struct stat about {};
  if (::fstat(fd, &about) != 0 || S_ISREG(about.st_mode)) return;
  // O_NONBLOCK belongs to the open file, which our parent and children may share; opening the pipe
  // or terminal once more gives one of our own. Sockets can not be opened so.
  std::string const path = "/proc/self/fd/" + std::to_string(fd);
  int const own = ::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (own >= 0) {
    fd_ = own;
    own_ = true;
  } else {
    blocks_ = (::fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
  }
}

ConsoleSink::~ConsoleSink() {
  flush();
  if (own_) ::close(fd_);
}

// Returns how many bytes were taken.
size_t ConsoleSink::write_some(std::string_view bytes, int patience_ms) {
  size_t done = 0;
  while (done < bytes.size()) {
    pollfd waiting{fd_, POLLOUT, 0};
    if (blocks_ && ::poll(&waiting, 1, patience_ms) <= 0) break;
    // A writable pipe takes at least PIPE_BUF bytes without blocking.
    size_t const most = blocks_ ? size_t{PIPE_BUF} : size_t{256} << 10;
    ssize_t const n = ::write(fd_, bytes.data() + done, std::min(most, bytes.size() - done));
    if (n >= 0) {
      done += static_cast<size_t>(n);
      bytes_written_.add(static_cast<uint64_t>(n));
    } else if (errno == EAGAIN) {
      if (patience_ms == 0 || ::poll(&waiting, 1, patience_ms) <= 0) break;
    } else if (errno != EINTR) {
      errors_.add(1);
      break;
    }
  }
  return done;
}

void ConsoleSink::flush() {
  if (pending_.empty()) return;
  size_t const done = write_some(pending_, 0);
  pending_.erase(0, done);
  stuck_ = done == 0;
}

void ConsoleSink::write(std::string_view whole_lines) {
  flush();
  if (pending_.empty()) {
    size_t const done = write_some(whole_lines, stuck_ ? 0 : kPatienceMs);
    stuck_ = done == 0;
    if (done == whole_lines.size()) return;
    whole_lines.remove_prefix(done);
    // What is left of a line that has begun must follow, or the next line is glued to it.
    if (done > 0) {
      size_t const line_end = whole_lines.find('\n') + 1;
      pending_.assign(whole_lines.substr(0, line_end));
      whole_lines.remove_prefix(line_end);
    }
  }
  size_t const room = pending_.size() < kPendingMax ? kPendingMax - pending_.size() : 0;
  size_t keep = whole_lines.size();
  if (keep > room) keep = room == 0 ? 0 : whole_lines.rfind('\n', room - 1) + 1;
  pending_.append(whole_lines.substr(0, keep));
  count_dropped(whole_lines.substr(keep));
}

RotatingFileSink::RotatingFileSink(base::Clock const& clock, Options options)
    : clock_(clock), options_(std::move(options)) {}

RotatingFileSink::~RotatingFileSink() { release(); }

base::Result<std::unique_ptr<RotatingFileSink>> RotatingFileSink::open(base::Clock const& clock,
                                                                       Options options) {
  std::unique_ptr<RotatingFileSink> sink(new RotatingFileSink(clock, std::move(options)));
  WSCOPE_TRY_STATUS(sink->reopen());
  return sink;
}

base::Status RotatingFileSink::reopen() {
  release();
  std::string const folder = std::filesystem::path(options_.path).parent_path().string();
  if (!folder.empty()) WSCOPE_TRY_STATUS(base::make_folders(folder));
  fd_ = ::open(options_.path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd_ < 0) return base::fail_errno("open log file " + options_.path);
  struct stat about {};
  if (::fstat(fd_, &about) != 0) return base::fail_errno("look at log file " + options_.path);
  size_ = static_cast<uint64_t>(about.st_size);
  // A crash or a full disk may have left half a line; the next one must not be glued to it.
  char last = '\n';
  if (size_ > 0 && ::pread(fd_, &last, 1, about.st_size - 1) != 1) last = '\n';
  torn_ = last != '\n';
  return {};
}

// Gives back the blocks that were asked for and not written.
void RotatingFileSink::release() {
  if (fd_ < 0) return;
  struct stat about {};
  if (reserved_ && ::fstat(fd_, &about) == 0) (void)!::ftruncate(fd_, about.st_size);
  reserved_ = false;
  ::close(fd_);
  fd_ = -1;
}

void RotatingFileSink::rotate() {
  auto const name = [&](int n) { return options_.path + "." + std::to_string(n); };
  if (options_.backups <= 0) {
    if (::ftruncate(fd_, 0) != 0) errors_.add(1);
  } else {
    // Out of the way first: renaming over a file makes ext4 write the new one's data to the disk
    // (auto_da_alloc), for which a busy log has no time.
    if (::unlink(name(options_.backups).c_str()) != 0 && errno != ENOENT) errors_.add(1);
    for (int n = options_.backups - 1; n >= 1; --n) {
      if (::rename(name(n).c_str(), name(n + 1).c_str()) != 0 && errno != ENOENT) errors_.add(1);
    }
    if (::rename(options_.path.c_str(), name(1).c_str()) != 0 && errno != ENOENT) errors_.add(1);
  }
  if (!reopen()) errors_.add(1);
  // A file that filled within seconds will be followed by another: asking for its blocks at once
  // takes a third off what writing costs. Where the file system can not, nothing is lost.
  int64_t const now_ns = clock_.steady_ns();
  if (fd_ >= 0 && now_ns - rotated_ns_ < 10 * base::kSecond && options_.backups > 0) {
    (void)::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(options_.bytes_max));
    reserved_ = true;
  }
  rotated_ns_ = now_ns;
}

// Writes lines that belong into the present file; returns how many bytes the system took.
size_t RotatingFileSink::write_run(std::string_view lines) {
  if (fd_ < 0) return 0;
  if (torn_) {
    if (::write(fd_, "\n", 1) != 1) return 0;
    torn_ = false;
    ++size_;
  }
  size_t done = 0;
  while (done < lines.size()) {
    ssize_t const n = ::write(fd_, lines.data() + done, lines.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  if (done > 0) torn_ = lines[done - 1] != '\n';
  size_ += done;
  bytes_written_.add(done);
  return done;
}

void RotatingFileSink::check_moved() {
  int64_t const now_ns = clock_.steady_ns();
  if (now_ns < check_at_ns_) return;
  check_at_ns_ = now_ns + base::kSecond;
  struct stat there {};
  struct stat ours {};
  bool const same = fd_ >= 0 && ::stat(options_.path.c_str(), &there) == 0 &&
                    ::fstat(fd_, &ours) == 0 && there.st_ino == ours.st_ino &&
                    there.st_dev == ours.st_dev;
  if (!same && !reopen()) errors_.add(1);
}

void RotatingFileSink::write(std::string_view lines) {
  if (retry_at_ns_ > clock_.steady_ns()) {
    count_dropped(lines);
    return;
  }
  check_moved();
  while (!lines.empty()) {
    size_t const room = size_ < options_.bytes_max ? options_.bytes_max - size_ : 0;
    size_t take = lines.size();
    if (take > room) take = room == 0 ? 0 : lines.rfind('\n', room - 1) + 1;
    if (take == 0 && size_ > 0) {
      rotate();
      if (fd_ >= 0 && size_ == 0) continue;
      take = lines.size();  // it could not be moved away: one file that grows is better than none
    }
    if (take == 0) take = lines.find('\n') + 1;
    size_t const done = write_run(lines.substr(0, take));
    lines.remove_prefix(done);
    if (done < take) {
      errors_.add(1);
      count_dropped(lines);
      retry_at_ns_ = clock_.steady_ns() + base::kSecond;
      return;
    }
  }
}

}  // namespace wscope::telemetry
