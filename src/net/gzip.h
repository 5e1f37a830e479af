#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace wscope::net {

// `data` in gzip format (RFC 1952). Level 1 to 9. Returns io if zlib has no memory.
//
// Thread: any.
base::Result<std::string> gzip(std::string_view data, int level = 1);

// Returns corrupt, or over_limit if more than `bytes_max` would come out.
base::Result<std::string> gunzip(std::string_view data, size_t bytes_max);

// True if an Accept-Encoding value takes gzip (RFC 9110, section 12.5.3); an absent one does not.
bool accepts_gzip(std::string_view accept_encoding);

}  // namespace wscope::net
