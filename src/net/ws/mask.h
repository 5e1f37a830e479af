#pragma once

#include <cstddef>
#include <cstdint>

namespace wscope::net::ws {

// Unmasks in place (RFC 6455, section 5.3), starting at key byte `phase` % 4, and says whether all
// bytes came out as ASCII, so that text needs no second pass. Wide registers for long payloads.
bool unmask(char* data, size_t n, uint32_t mask, size_t phase = 0);

}  // namespace wscope::net::ws
