#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace wscope::base {
namespace {

// Closes on scope exit.
struct File {
  int fd;
  ~File() {
    if (fd >= 0) ::close(fd);
  }
};

Status write_all(int fd, std::string_view bytes, std::string const& path) {
  while (!bytes.empty()) {
    ssize_t const n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      return fail_errno("write " + path);
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Status sync_folder(std::string const& folder) {
  File dir{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (dir.fd < 0) return fail_errno("open " + folder);
  if (::fsync(dir.fd) != 0) return fail_errno("sync " + folder);
  return {};
}

}  // namespace

Result<std::string> read_file(std::string const& path, size_t bytes_max) {
  File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) {
    if (errno == ENOENT) return fail(Errc::not_found, path + ": no such file");
    return fail_errno("open " + path);
  }
  std::string content;
  for (;;) {
    size_t const have = content.size();
    if (have > bytes_max) {
      return fail(Errc::over_limit, path + ": larger than " + std::to_string(bytes_max) + " bytes");
    }
    content.resize(have + 65536);
    ssize_t const n = ::read(file.fd, content.data() + have, 65536);
    if (n < 0) return fail_errno("read " + path);
    content.resize(have + static_cast<size_t>(n));
    if (n == 0) return content;
  }
}

Status write_file_atomic(std::string const& path, std::string_view content) {
  std::string const beside = path + ".new" + std::to_string(::getpid());
  Status written = [&]() -> Status {
    File file{::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
    if (file.fd < 0) return fail_errno("create " + beside);
    WSCOPE_TRY_STATUS(write_all(file.fd, content, beside));
    if (::fsync(file.fd) != 0) return fail_errno("sync " + beside);
    if (::rename(beside.c_str(), path.c_str()) != 0) return fail_errno("rename to " + path);
    return {};
  }();
  if (!written) {
    ::unlink(beside.c_str());
    return written;
  }
  std::string const folder = std::filesystem::path(path).parent_path().string();
  return sync_folder(folder.empty() ? "." : folder);
}

Status make_folders(std::string const& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error == std::errc::not_a_directory || error == std::errc::file_exists) {
    return fail(Errc::exists, "make folder " + path + ": a file is in the way");
  }
  if (error) return fail(Errc::io, "make folder " + path + ": " + error.message());
  return {};
}

}  // namespace wscope::base
