#include "runtime/ring.h"

#include <sys/mman.h>
#include <unistd.h>

namespace wscope::runtime {

base::Result<std::unique_ptr<ByteRing>> ByteRing::make(size_t bytes) {
  size_t const size = std::bit_ceil(std::max<size_t>(bytes, 4096));
  int const fd = ::memfd_create("ring", MFD_CLOEXEC);
  if (fd < 0) return base::fail_errno("create ring memory");
  void* area = MAP_FAILED;
  if (::ftruncate(fd, static_cast<off_t>(size)) == 0) {
    area = ::mmap(nullptr, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  }
  bool mapped = area != MAP_FAILED;
  for (size_t half = 0; mapped && half < 2; ++half) {
    mapped = ::mmap(static_cast<char*>(area) + half * size, size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED;
  }
  ::close(fd);
  if (!mapped) {
    if (area != MAP_FAILED) ::munmap(area, 2 * size);
    return base::fail(base::Errc::io,
                      "map a ring of " + std::to_string(size) + " bytes: out of address space");
  }
  return std::unique_ptr<ByteRing>(new ByteRing(static_cast<char*>(area), size));
}

ByteRing::~ByteRing() { ::munmap(memory_, 2 * size_); }

}  // namespace wscope::runtime
