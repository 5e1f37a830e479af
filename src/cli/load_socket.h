#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/address.h"

// What the load generator wants of the system beyond a server's sockets.
namespace wscope::cli {

// Starts connecting, without blocking, from `from` (port 0: chosen with regard to the target, so
// that each local address has all its ports for each target); from none if it is null.
// Returns refused if the attempt failed at once, over_limit (descriptors), io. The caller owns it.
//
// Thread: any.
base::Result<int> connect_from(net::Address const& to, net::Address const* from);

// The local addresses to connect from, in turn. `wanted` as given by the user; if empty and the
// target is in 127.0.0.0/8, `count` of 127.0.0.1 and following. Returns invalid.
base::Result<std::vector<net::Address>> source_addresses(std::span<std::string const> wanted,
                                                         net::Address const& to, uint32_t count);

// Lets this process have `wanted` descriptors. Returns over_limit, naming the limit.
base::Status raise_descriptor_limit(uint64_t wanted);

// Keeps the calling thread on one processor. Returns invalid if there is no such one.
base::Status pin_to_cpu(int cpu);

// Processor time that the calling thread has used, in nanoseconds.
int64_t thread_cpu_ns();

}  // namespace wscope::cli
