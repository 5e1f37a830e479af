#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace wscope::base {

std::unexpected<Error> fail_errno(std::string const& doing) {
  int const code = errno;
  char text[128];
  return fail(Errc::io, doing + ": " + ::strerror_r(code, text, sizeof text));
}

}  // namespace wscope::base
