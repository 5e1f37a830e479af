#pragma once

#include "base/result.h"
#include "net/address.h"

namespace wscope::net {

// TCP sockets, all non-blocking and close-on-exec. The caller owns each descriptor returned.
//
// Thread: any.

// Listens on `address`. What is accepted inherits TCP_NODELAY and the keep-alive of
// set_keep_alive(), so that accepting costs one call.
// Returns exists (the address is taken), invalid (not an address of this machine) or io.
base::Result<int> listen_on(Address const& address, bool reuse_port, int backlog = 4096);

// Starts connecting, TCP_NODELAY set. Writable means the attempt has ended: see connect_error().
// Returns refused or io if it failed at once.
base::Result<int> connect_to(Address const& address);

// The errno with which the attempt on `fd` ended; 0 if it is connected.
int connect_error(int fd);

// Takes one waiting connection; `peer` may be null.
// Returns the descriptor, or -1 with errno (EAGAIN: none waits; EMFILE, ENFILE: none can be had).
// A connection that was aborted while it waited is passed over.
int accept_from(int listen_fd, Address* peer);

// Makes the kernel give up on a peer that vanished: probes after `idle_s` seconds of silence, and
// data not acknowledged within `unacknowledged_ms` (TCP_USER_TIMEOUT, RFC 5482) ends it. False if
// the socket does not take the options.
bool set_keep_alive(int fd, int idle_s = 60, unsigned unacknowledged_ms = 60'000);
bool set_no_delay(int fd);

// Returns io.
base::Result<Address> local_address(int fd);

}  // namespace wscope::net
