#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace wscope::api {

// The text member `name` of a JSON object that has no other members.
// Returns invalid, saying what was expected, for anything else; a repeated member too.
//
// Thread: any.
base::Result<std::string> only_text_member(std::string_view json, std::string_view name);

}  // namespace wscope::api
