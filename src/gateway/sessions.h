#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gateway/config.h"
#include "net/http_head.h"
#include "runtime/sync.h"

namespace wscope::gateway {

// The value of the cookie `name` in a Cookie field (RFC 6265, section 5.4), quotes around it taken
// off; empty if it is not there. The first one wins.
std::string_view cookie_value(std::string_view cookie_header, std::string_view name);
// The raw (still escaped) value of the query parameter `name` of a request target; empty if it is
// not there. The first one wins.
std::string_view query_value(std::string_view target, std::string_view name);
// The key of the session that a handshake belongs to: the first that is present and not empty of
// the configured cookie, header and query parameter. Empty: the connection is a session of its own.
std::string_view session_key(net::RequestHead const& head, SessionConfig const& names);

inline constexpr size_t kSessionsMax = 1'000'000;

// A session as its connections know it: a hash of the key under a secret of this process, since a
// session cookie is a password and is kept nowhere. 0 = not tracked.
struct SessionRef {
  uint64_t value = 0;
  bool tracked() const { return value != 0; }
  bool operator==(SessionRef const&) const = default;
};
// What may be shown of a session: the first 8 hex digits of its hash.
std::string masked(SessionRef session);

struct SessionRow {
  SessionRef session;
  uint32_t connections = 0;  // open now
  uint32_t opened = 0;       // since the session began
  int64_t first_open_ns = 0;
  int64_t last_close_ns = 0;  // of its latest close; 0 if none
};

// The sessions of the process. A session begins with its first connection and ends when it has had
// none for `grace`.
//
// Thread: any (locks); called when a connection opens and closes, and once a second, never for a
// message. About 75 bytes a session. All times are Unix nanoseconds.
class SessionTable {
 public:
  // `secret`: the key of the hash; drawn from the system unless given (tests).
  explicit SessionTable(int64_t grace_ns, size_t sessions_max = kSessionsMax,
                        std::optional<std::array<uint64_t, 2>> secret = std::nullopt);

  // A connection of session `key` opened. Not tracked (and counted) if `key` is new and the table
  // is full; an empty key is never tracked.
  SessionRef open(std::string_view key, int64_t unix_ns);
  // A connection for which open() returned `session` closed. Nothing happens if it is not tracked.
  void close(SessionRef session, int64_t unix_ns);
  void close(std::string_view key, int64_t unix_ns) { close(ref_of(key), unix_ns); }

  // Forgets the sessions whose grace is over and returns how long each lasted, first open to last
  // close, in nanoseconds. INT64_MAX ends every session that has no connection.
  std::vector<int64_t> expire(int64_t unix_ns);

  // Connected or within grace.
  size_t count() const;
  // Connections that were not tracked because the table was full, since the start.
  uint64_t untracked() const;
  // `limit` rows after the first `offset`, in no particular but stable order while none opens or
  // ends.
  std::vector<SessionRow> rows(size_t offset, size_t limit) const;
  std::optional<SessionRow> find(SessionRef session) const;
  // For sessions not yet ended too.
  void set_grace(int64_t grace_ns);

  SessionRef ref_of(std::string_view key) const;

 private:
  // A session without connections hangs in a list ordered by its last close, so that expire() looks
  // only at those whose time has come.
  struct Session {
    int64_t first_open_ns = 0;
    int64_t last_close_ns = 0;
    uint32_t connections = 0;
    uint32_t opened = 0;
    uint64_t newer = 0;
    uint64_t older = 0;
  };
  struct SameHash {
    size_t operator()(uint64_t hash) const noexcept { return hash; }
  };
  struct State {
    std::unordered_map<uint64_t, Session, SameHash> sessions;
    uint64_t oldest = 0;  // ends of the list of the unconnected; 0 = none
    uint64_t newest = 0;
    int64_t grace_ns = 0;
    uint64_t untracked = 0;

    void link(uint64_t hash, Session& session);
    void unlink(Session& session);
  };
  static SessionRow row_of(uint64_t hash, Session const& session);

  std::array<uint64_t, 2> const secret_;
  size_t const sessions_max_;
  runtime::Guarded<State> state_;
};

}  // namespace wscope::gateway
