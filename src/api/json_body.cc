#include "api/json_body.h"

#include <simdjson.h>

#include "base/text.h"

namespace wscope::api {
namespace {

constexpr size_t kBodyBytesMax = 64 << 10;

std::unexpected<base::Error> expected_form(std::string_view name, std::string const& found) {
  return base::fail(base::Errc::invalid,
                    "body: expected {\"" + std::string(name) + "\": \"…\"}, found " + found);
}

}  // namespace

base::Result<std::string> only_text_member(std::string_view json, std::string_view name) {
  if (json.size() > kBodyBytesMax) return expected_form(name, "more than 64 KiB");
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (auto const error = parser.parse(simdjson::padded_string(json)).get(root)) {
    return expected_form(name, std::string("no JSON: ") + simdjson::error_message(error));
  }
  simdjson::dom::object object;
  if (root.get(object)) return expected_form(name, "another kind of value");
  std::string_view value;
  size_t members = 0;
  for (auto const& member : object) {
    if (member.key != name) {
      std::string_view const known[] = {name};
      bool const near = !base::nearest(member.key, known).empty();
      return expected_form(name, near ? "a member of a similar name" : "another member");
    }
    if (member.value.get(value)) return expected_form(name, "a member that is no text");
    ++members;
  }
  if (members != 1) return expected_form(name, members == 0 ? "no member" : "the member twice");
  return std::string(value);
}

}  // namespace wscope::api
