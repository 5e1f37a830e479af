#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace wscope::base {

// Reads a whole file of at most `bytes_max` bytes.
// Returns not_found, over_limit (the file is larger), or io; each names the path.
Result<std::string> read_file(std::string const& path, size_t bytes_max = 64 << 20);

// Replaces `path` by `content` so that a reader or a crash sees the old file or the new one, never
// a part: written beside it, synced, renamed, and the folder synced. Returns io and leaves the old
// file as it was.
Status write_file_atomic(std::string const& path, std::string_view content);

// Makes `path` and its parents. Returns io, or exists where a file is in the way.
Status make_folders(std::string const& path);

}  // namespace wscope::base
