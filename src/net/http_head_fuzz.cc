// Any bytes as a request head, a response head and a chunked body: no crash, and what the headers
// of these parsers promise holds.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http_body.h"
#include "net/http_head.h"

namespace {

using namespace wscope::net;  // NOLINT(google-build-using-namespace)

void check_inside(std::string_view all, std::string_view part) {
  WSCOPE_CHECK(part.empty() ||
               (part.data() >= all.data() && part.data() + part.size() <= all.data() + all.size()));
}

template <class Head, class Parse>
void check_head(std::string_view input, HeadLimits const& limits, Parse parse) {
  Head head;
  HeadError error;
  HeadState const state = parse(input, limits, head, error);
  if (state == HeadState::bad) {
    WSCOPE_CHECK(error.status >= 400 && !error.what.empty());
    bool known = false;
    for (std::string_view const type : kHeadErrorTypes) known = known || type == error.error_type;
    WSCOPE_CHECK(known);
    // More bytes do not make it good.
    std::string const more = std::string(input) + "\r\n\r\n";
    WSCOPE_CHECK(parse(more, limits, head, error) == HeadState::bad);
  }
  if (state != HeadState::complete) return;
  WSCOPE_CHECK(head.bytes <= input.size() && head.bytes <= limits.bytes + 2);
  WSCOPE_CHECK(head.fields.size() <= limits.fields);
  WSCOPE_CHECK(!(head.chunked && head.has_length));
  for (Field const& field : head.fields) {
    check_inside(input, field.name);
    check_inside(input, field.value);
    WSCOPE_CHECK(!field.name.empty());
    WSCOPE_CHECK(field.value.find_first_of(std::string_view("\r\n\0", 3)) ==
                 std::string_view::npos);
  }
  size_t const bytes = head.bytes;
  // One byte less is not a head, and what follows it does not matter.
  WSCOPE_CHECK(parse(input.substr(0, bytes - 1), limits, head, error) != HeadState::complete);
  WSCOPE_CHECK(parse(input.substr(0, bytes), limits, head, error) == HeadState::complete);
  WSCOPE_CHECK(head.bytes == bytes);
}

void check_body(std::string_view input) {
  BodyScanner whole;
  std::string payload;
  whole.start(Framing::chunked, 0);
  size_t const used = whole.feed(input, &payload);
  WSCOPE_CHECK(used <= input.size() && payload.size() == whole.payload_bytes());
  WSCOPE_CHECK(used == input.size() || whole.done() || whole.bad());
  BodyScanner pieces;
  pieces.start(Framing::chunked, 0);
  size_t sum = 0;
  for (size_t i = 0; i < input.size(); ++i) sum += pieces.feed(input.substr(i, 1));
  WSCOPE_CHECK(sum == used && pieces.done() == whole.done() && pieces.bad() == whole.bad());
  WSCOPE_CHECK(pieces.payload_bytes() == whole.payload_bytes());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(uint8_t const* data, size_t size) {
  std::string_view const input(reinterpret_cast<char const*>(data), size);
  HeadLimits const limits{.bytes = 1024, .fields = 10};
  check_head<RequestHead>(input, limits, parse_request);
  check_head<ResponseHead>(input, limits, parse_response);
  check_body(input);
  return 0;
}
