#include "gateway/sessions.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/ids.h"
#include "base/result.h"
#include "base/text.h"

namespace wscope::gateway {
namespace {

// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed hash for short inputs.
class SipHash {
 public:
  explicit SipHash(std::array<uint64_t, 2> key)
      : v_{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
           key[1] ^ 0x7465646279746573} {}

  uint64_t of(std::string_view text) {
    size_t const length = text.size();
    for (; text.size() >= 8; text.remove_prefix(8)) {
      uint64_t word = 0;
      std::memcpy(&word, text.data(), 8);
      mix(word);
    }
    uint64_t last = uint64_t{length & 0xff} << 56;
    for (size_t i = 0; i < text.size(); ++i) last |= uint64_t{uint8_t(text[i])} << (8 * i);
    mix(last);
    v_[2] ^= 0xff;
    for (int i = 0; i < 4; ++i) round();
    return v_[0] ^ v_[1] ^ v_[2] ^ v_[3];
  }

 private:
  void mix(uint64_t word) {
    v_[3] ^= word;
    round();
    round();
    v_[0] ^= word;
  }
  void round() {
    v_[0] += v_[1];
    v_[2] += v_[3];
    v_[1] = std::rotl(v_[1], 13) ^ v_[0];
    v_[3] = std::rotl(v_[3], 16) ^ v_[2];
    v_[0] = std::rotl(v_[0], 32);
    v_[2] += v_[1];
    v_[0] += v_[3];
    v_[1] = std::rotl(v_[1], 17) ^ v_[2];
    v_[3] = std::rotl(v_[3], 21) ^ v_[0];
    v_[2] = std::rotl(v_[2], 32);
  }
  uint64_t v_[4];
};

std::array<uint64_t, 2> draw_secret() {
  std::array<uint64_t, 2> secret{};
  // 16 bytes are never cut short once the system's pool is ready, and getrandom() waits for that.
  WSCOPE_CHECK(::getrandom(secret.data(), sizeof secret, 0) == sizeof secret);
  return secret;
}

}  // namespace

std::string_view cookie_value(std::string_view cookie_header, std::string_view name) {
  while (!cookie_header.empty()) {
    std::string_view const pair = cookie_header.substr(0, cookie_header.find(';'));
    cookie_header.remove_prefix(std::min(pair.size() + 1, cookie_header.size()));
    size_t const equals = pair.find('=');
    if (equals == std::string_view::npos || base::trim(pair.substr(0, equals)) != name) continue;
    std::string_view value = base::trim(pair.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
      value = value.substr(1, value.size() - 2);
    }
    return value;
  }
  return {};
}

std::string_view query_value(std::string_view target, std::string_view name) {
  size_t const question = target.find('?');
  if (question == std::string_view::npos) return {};
  std::string_view query = target.substr(question + 1);
  query = query.substr(0, query.find('#'));
  while (!query.empty()) {
    std::string_view const pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    size_t const equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    return equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1);
  }
  return {};
}

std::string_view session_key(net::RequestHead const& head, SessionConfig const& names) {
  if (!names.cookie.empty()) {
    for (net::Field const& field : head.fields) {
      if (!base::equals_ignoring_case(field.name, "cookie")) continue;
      std::string_view const value = cookie_value(field.value, names.cookie);
      if (!value.empty()) return value;
    }
  }
  if (!names.header.empty()) {
    std::string_view const value = head.find(names.header);
    if (!value.empty()) return value;
  }
  return names.query.empty() ? std::string_view{} : query_value(head.target, names.query);
}

std::string masked(SessionRef session) {
  uint8_t bytes[4];
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<uint8_t>(session.value >> (56 - 8 * i));
  char digits[8];
  return std::string(digits, base::write_hex(digits, bytes, 4));
}

SessionTable::SessionTable(int64_t grace_ns, size_t sessions_max,
                           std::optional<std::array<uint64_t, 2>> secret)
    : secret_(secret ? *secret : draw_secret()), sessions_max_(sessions_max) {
  set_grace(grace_ns);
}

SessionRef SessionTable::ref_of(std::string_view key) const {
  if (key.empty()) return {};
  uint64_t const hash = SipHash(secret_).of(key);
  return {hash == 0 ? 1 : hash};
}

SessionRef SessionTable::open(std::string_view key, int64_t unix_ns) {
  SessionRef const ref = ref_of(key);
  if (!ref.tracked()) return ref;
  return state_.with([&](State& state) -> SessionRef {
    auto found = state.sessions.find(ref.value);
    if (found == state.sessions.end()) {
      if (state.sessions.size() >= sessions_max_) {
        ++state.untracked;
        return {};
      }
      found = state.sessions.emplace(ref.value, Session{.first_open_ns = unix_ns}).first;
    } else if (found->second.connections == 0) {
      state.unlink(found->second);
    }
    ++found->second.connections;
    ++found->second.opened;
    return ref;
  });
}

void SessionTable::close(SessionRef session, int64_t unix_ns) {
  if (!session.tracked()) return;
  state_.with([&](State& state) {
    auto const found = state.sessions.find(session.value);
    if (found == state.sessions.end() || found->second.connections == 0) return;
    Session& closed = found->second;
    closed.last_close_ns = unix_ns;
    if (--closed.connections == 0) state.link(session.value, closed);
  });
}

std::vector<int64_t> SessionTable::expire(int64_t unix_ns) {
  return state_.with([&](State& state) {
    std::vector<int64_t> lasted;
    while (state.oldest != 0) {
      auto const found = state.sessions.find(state.oldest);
      Session& session = found->second;
      if (session.last_close_ns > unix_ns - state.grace_ns) break;
      // The wall clock may have been set back in between.
      lasted.push_back(std::max<int64_t>(0, session.last_close_ns - session.first_open_ns));
      state.unlink(session);
      state.sessions.erase(found);
    }
    return lasted;
  });
}

size_t SessionTable::count() const {
  return state_.with([](State const& state) { return state.sessions.size(); });
}

uint64_t SessionTable::untracked() const {
  return state_.with([](State const& state) { return state.untracked; });
}

SessionRow SessionTable::row_of(uint64_t hash, Session const& session) {
  return {SessionRef{hash}, session.connections, session.opened, session.first_open_ns,
          session.last_close_ns};
}

std::vector<SessionRow> SessionTable::rows(size_t offset, size_t limit) const {
  return state_.with([&](State const& state) {
    std::vector<SessionRow> out;
    if (offset >= state.sessions.size()) return out;
    out.reserve(std::min(limit, state.sessions.size() - offset));
    auto at = state.sessions.begin();
    std::advance(at, offset);
    for (; at != state.sessions.end() && out.size() < limit; ++at) {
      out.push_back(row_of(at->first, at->second));
    }
    return out;
  });
}

std::optional<SessionRow> SessionTable::find(SessionRef session) const {
  return state_.with([&](State const& state) -> std::optional<SessionRow> {
    auto const found = state.sessions.find(session.value);
    if (found == state.sessions.end()) return std::nullopt;
    return row_of(found->first, found->second);
  });
}

void SessionTable::set_grace(int64_t grace_ns) {
  state_.with([&](State& state) { state.grace_ns = grace_ns; });
}

void SessionTable::State::link(uint64_t hash, Session& session) {
  session.older = newest;
  session.newer = 0;
  if (newest != 0) {
    sessions.find(newest)->second.newer = hash;
  } else {
    oldest = hash;
  }
  newest = hash;
}

void SessionTable::State::unlink(Session& session) {
  (session.older != 0 ? sessions.find(session.older)->second.newer : oldest) = session.newer;
  (session.newer != 0 ? sessions.find(session.newer)->second.older : newest) = session.older;
  session.older = session.newer = 0;
}

}  // namespace wscope::gateway
