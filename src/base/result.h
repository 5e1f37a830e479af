#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <expected>
#include <string>
#include <utility>

namespace wscope::base {

// What the caller can do about it, not where it came from. Closed: a new kind needs a reason to be
// handled differently.
enum class Errc : uint8_t {
  invalid,     // the input is wrong; the same input will be wrong again
  not_found,   // the named thing is not there
  exists,      // the name or the address is taken
  over_limit,  // a stated bound was reached; less input or a higher bound helps
  corrupt,     // stored or received bytes contradict their own format
  refused,     // the other side answered no (connection refused, certificate not accepted)
  timeout,     // no answer in time
  closed,      // the other side went away, or we are shutting down
  io,          // the operating system failed; `what` carries its words
};

// Thread: any (a value).
struct Error {
  Errc code;
  std::string what;  // for a person; names the file, key, address or limit
};

template <class T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(Errc code, std::string what) {
  return std::unexpected(Error{code, std::move(what)});
}

// Returns fail(io, "<doing>: <text of errno>"), reading errno before anything else can change it.
std::unexpected<Error> fail_errno(std::string const& doing);

}  // namespace wscope::base

// WSCOPE_TRY(n, expr): binds `n` to the value of the Result `expr`, or returns its error.
#define WSCOPE_TRY(var, expr)                                      \
  auto var##_result = (expr);                                      \
  if (!var##_result) return std::unexpected(var##_result.error()); \
  auto var = std::move(*var##_result)

// WSCOPE_TRY_STATUS(expr): the same for a Status.
#define WSCOPE_TRY_STATUS(expr)                                  \
  do {                                                           \
    if (auto wscope_status_ = (expr); !wscope_status_)           \
      return std::unexpected(std::move(wscope_status_.error())); \
  } while (false)

// A broken promise of our own code: stop now, in every build type.
#define WSCOPE_CHECK(cond)                                                                 \
  ((cond) ? (void)0                                                                        \
          : (std::fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #cond), \
             std::abort()))
