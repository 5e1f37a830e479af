#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace wscope::app {

struct YamlEntry;

// One node of a YAML file, with the line it starts on (from 1).
//
// Thread: any (a value).
struct YamlNode {
  enum class Kind : uint8_t { empty, text, map, list };
  Kind kind = Kind::empty;
  int line = 1;
  std::string text;
  std::vector<YamlEntry> entries;  // of a map, in file order; a repeated key is there twice
  std::vector<YamlNode> items;     // of a list
};

struct YamlEntry {
  std::string key;
  int line = 1;
  YamlNode value;
};

// "a map", "a list", "nothing" or the text in quotes (at most 60 bytes of it).
std::string describe(YamlNode const& node);

// Reads one YAML 1.2 document of at most 1 MiB, 16 levels and 10,000 nodes. Anchors, aliases, tags
// and a second document are refused: a configuration does without, and what they hide is not seen
// by a reader of the file.
// Returns invalid or over_limit with "NAME:LINE: what is wrong".
base::Result<YamlNode> parse_yaml(std::string_view text, std::string const& name);

}  // namespace wscope::app
