#include "app/config.h"

#include <unistd.h>

#include <algorithm>

#include "app/config_keys.h"
#include "app/config_yaml.h"
#include "base/files.h"
#include "base/text.h"
#include "net/address.h"

namespace wscope::app {
namespace {

using base::Errc;
using base::fail;
using base::Result;

constexpr size_t kFaultsShown = 20;
constexpr size_t kTokenBytesMax = 4096;

// Collects what is wrong, and remembers where each value came from for checks across keys.
class Reader {
 public:
  explicit Reader(std::string name) : name_(std::move(name)) {}

  void read_file(YamlNode const& root) {
    if (root.kind == YamlNode::Kind::empty) return;
    if (root.kind != YamlNode::Kind::map) {
      fault(at(root.line), "expected keys such as 'gateway:', found " + describe(root));
      return;
    }
    read_section("", root);
  }
  void read_environment(std::vector<std::string> const& environment);
  void read_flags(std::vector<Setting> const& flags);
  void read_token_file();
  void check_together();

  Result<Loaded> take();

 private:
  std::string at(int line) const { return name_ + ":" + std::to_string(line); }
  void fault(std::string const& where, std::string const& what) {
    faults_.push_back(where + ": " + what);
  }
  // For a check across keys: names the place that set `path`, or only the key if none did.
  void fault_of(std::string_view path, std::string const& what) {
    auto const origin = origins_.find(std::string(path));
    std::string const where = origin == origins_.end() ? "" : origin->second + ": ";
    faults_.push_back(where + std::string(path) + ": " + what);
  }

  void read_section(std::string const& prefix, YamlNode const& map);
  void read_entry(std::string const& path, std::string const& prefix, YamlEntry const& entry);
  void read_levels(Key const& key, YamlNode const& node);
  void unknown_key(std::string const& prefix, YamlEntry const& entry);
  void set(Key const& key, std::string_view text, std::string const& where);

  void check_tls(std::string_view section, gateway::TlsFiles const& files);
  void check_observer();

  std::string name_;
  Loaded out_;
  std::vector<std::string> faults_;
  std::map<std::string, std::string> origins_;
};

std::string found(Key const& key, std::string_view text) {
  if (key.kind == KeyKind::secret) return "something else";
  YamlNode node;
  node.kind = YamlNode::Kind::text;
  for (char const c : text) node.text += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
  return describe(node);
}

std::string did_you_mean(std::string_view word) {
  return word.empty() ? "" : "; did you mean '" + std::string(word) + "'?";
}

void Reader::set(Key const& key, std::string_view text, std::string const& where) {
  if (assign(out_.config, key, text)) {
    origins_[std::string(key.path)] = where;
    return;
  }
  fault(where, std::string(key.path) + ": expected " + expected(key) + ", found " +
                   found(key, text) + did_you_mean(suggestion(key, text)));
}

void Reader::read_section(std::string const& prefix, YamlNode const& map) {
  std::map<std::string_view, int> seen;
  for (YamlEntry const& entry : map.entries) {
    std::string const path = prefix.empty() ? entry.key : prefix + "." + entry.key;
    auto const [first, fresh] = seen.emplace(entry.key, entry.line);
    if (!fresh) {
      fault(at(entry.line), path + ": expected each key once, found it in line " +
                                std::to_string(first->second) + " too");
      continue;
    }
    read_entry(path, prefix, entry);
  }
}

void Reader::read_entry(std::string const& path, std::string const& prefix,
                        YamlEntry const& entry) {
  YamlNode const& value = entry.value;
  Key const* key = entry.key.find('.') == std::string::npos ? find_key(path) : nullptr;
  if (key != nullptr && key->kind == KeyKind::levels) {
    read_levels(*key, value);
  } else if (key != nullptr) {
    // "upstream:" with nothing behind it says "none", as an empty text does.
    bool const none = value.kind == YamlNode::Kind::empty && takes_empty(*key);
    if (value.kind == YamlNode::Kind::text || none) {
      set(*key, value.text, at(value.line));
    } else {
      fault(at(value.line), path + ": expected " + expected(*key) + ", found " + describe(value));
    }
  } else if (entry.key.find('.') == std::string::npos && is_section(path)) {
    if (value.kind == YamlNode::Kind::map) {
      read_section(path, value);
    } else if (value.kind != YamlNode::Kind::empty) {
      fault(at(value.line), path + ": expected a map of keys, found " + describe(value));
    }
  } else {
    unknown_key(prefix, entry);
  }
}

void Reader::read_levels(Key const& key, YamlNode const& node) {
  if (node.kind == YamlNode::Kind::empty) return;
  if (node.kind != YamlNode::Kind::map) {
    fault(at(node.line),
          std::string(key.path) + ": expected " + expected(key) + ", found " + describe(node));
    return;
  }
  std::map<std::string_view, int> seen;
  for (YamlEntry const& entry : node.entries) {
    std::string const path = std::string(key.path) + "." + entry.key;
    std::string_view const level = entry.value.text;
    auto const [first, fresh] = seen.emplace(entry.key, entry.line);
    if (!fresh) {
      fault(at(entry.line), path + ": expected each key once, found it in line " +
                                std::to_string(first->second) + " too");
    } else if (std::ranges::find(kLoggerNames, entry.key) == std::end(kLoggerNames)) {
      fault(at(entry.line), path + ": expected a logger, found '" + entry.key + "'" +
                                did_you_mean(base::nearest(entry.key, kLoggerNames)));
    } else if (!assign(out_.config, key, entry.key + "=" + std::string(level))) {
      fault(at(entry.value.line), path + ": expected " + expected_level() + ", found " +
                                      describe(entry.value) + did_you_mean(nearest_level(level)));
    }
  }
}

// Suggests a sibling, else a key of that name in another section.
void Reader::unknown_key(std::string const& prefix, YamlEntry const& entry) {
  std::vector<std::string_view> siblings;
  std::string_view elsewhere;
  for (Key const& key : keys()) {
    if (key.path.ends_with("." + entry.key) || key.path == entry.key) elsewhere = key.path;
    if (!prefix.empty() && !key.path.starts_with(prefix + ".")) continue;
    std::string_view rest = key.path.substr(prefix.empty() ? 0 : prefix.size() + 1);
    rest = rest.substr(0, rest.find('.'));
    if (siblings.empty() || siblings.back() != rest) siblings.push_back(rest);
  }
  if (find_key(entry.key) != nullptr) elsewhere = entry.key;
  std::string_view near = base::nearest(entry.key, siblings);
  if (near.empty()) near = elsewhere;
  std::string const path = prefix.empty() ? entry.key : prefix + "." + entry.key;
  YamlNode shown;
  shown.kind = YamlNode::Kind::text;
  shown.text = entry.key;
  fault(at(entry.line),
        path + ": expected a known key, found " + describe(shown) + did_you_mean(near));
}

void Reader::read_environment(std::vector<std::string> const& environment) {
  std::vector<std::string> names;
  for (Key const& key : keys()) names.push_back(environment_name(key.path));
  std::vector<std::string_view> const known(names.begin(), names.end());
  for (std::string_view const line : environment) {
    size_t const equals = line.find('=');
    if (!line.starts_with("WSCOPE_") || equals == std::string_view::npos) continue;
    std::string_view const name = line.substr(0, equals);
    std::string_view const value = line.substr(equals + 1);
    if (value.empty()) continue;
    auto const found_name = std::ranges::find(known, name);
    if (found_name != known.end()) {
      set(keys()[static_cast<size_t>(found_name - known.begin())], value, std::string(name));
      continue;
    }
    // Orchestrators set variables of this shape for services called wscope, so a name that is
    // unlike all of ours is none of our business.
    std::string_view const near = base::nearest(name, known);
    if (!near.empty() && !name.starts_with("WSCOPE_PORT") && !name.starts_with("WSCOPE_SERVICE")) {
      out_.warnings.push_back("environment: " + std::string(name) + " is not known" +
                              did_you_mean(near));
    }
  }
}

void Reader::read_flags(std::vector<Setting> const& flags) {
  for (Setting const& flag : flags) {
    Key const* key = find_key(flag.path);
    if (key == nullptr) {
      fault(flag.name, flag.path + ": expected a known key");
    } else {
      set(*key, flag.value, flag.name);
    }
  }
}

void Reader::read_token_file() {
  ObserverConfig& observer = out_.config.observer;
  if (observer.token_file.empty()) return;
  if (!observer.token.empty()) {
    fault_of("observer.token_file", "expected only one of observer.token and observer.token_file");
    return;
  }
  auto content = base::read_file(observer.token_file, kTokenBytesMax);
  if (!content) {
    fault_of("observer.token_file", "expected a readable file, found: " + content.error().what);
    return;
  }
  while (!content->empty() && (content->back() == '\n' || content->back() == '\r')) {
    content->pop_back();
  }
  if (content->empty() || !assign(out_.config, *find_key("observer.token"), *content)) {
    fault_of("observer.token_file", "expected a file with one line without spaces, found " +
                                        std::string(content->empty() ? "an empty one" : "others"));
  }
}

void Reader::check_tls(std::string_view section, gateway::TlsFiles const& files) {
  std::string const prefix = std::string(section) + ".tls.";
  if (!files.cert.empty() && files.key.empty()) {
    fault_of(prefix + "cert", "expected " + prefix + "key too, found none");
  }
  if (files.cert.empty() && !files.key.empty()) {
    fault_of(prefix + "key", "expected " + prefix + "cert too, found none");
  }
}

void Reader::check_observer() {
  ObserverConfig const& observer = out_.config.observer;
  auto const address = net::parse_address(observer.listen);
  if (!address || net::is_loopback(*address) || observer.insecure) return;
  bool const tls = observer.tls.enabled();
  bool const token = !observer.token.empty() || !observer.token_file.empty();
  if (tls && token) return;
  std::string const missing = tls ? "no token" : token ? "no TLS" : "neither TLS nor a token";
  fault_of("observer.listen", "expected a loopback address, or observer.tls and a token, found '" +
                                  observer.listen + "' with " + missing +
                                  "; --insecure (observer.insecure: true) allows it");
}

void Reader::check_together() {
  Config const& config = out_.config;
  check_tls("gateway", config.gateway.tls);
  check_tls("observer", config.observer.tls);
  check_observer();
  auto const edge = net::parse_address(config.gateway.listen);
  auto const observer = net::parse_address(config.observer.listen);
  if (edge && observer && net::port_of(*edge) != 0 &&
      net::to_text(*edge) == net::to_text(*observer)) {
    fault_of("observer.listen", "expected another address than gateway.listen, found '" +
                                    config.observer.listen + "' for both");
  }
  if (!config.gateway.upstream_ca.empty() && !config.gateway.upstream.starts_with("https:")) {
    fault_of("gateway.upstream_ca", "expected an https gateway.upstream to go with it, found '" +
                                        config.gateway.upstream + "'");
  }
  if (config.data.empty()) fault_of("data", "expected a path, found ''");
}

Result<Loaded> Reader::take() {
  if (faults_.empty()) return std::move(out_);
  std::string all;
  for (size_t i = 0; i < faults_.size() && i < kFaultsShown; ++i) {
    if (i > 0) all += '\n';
    all += faults_[i];
  }
  if (faults_.size() > kFaultsShown) {
    all += "\nand " + std::to_string(faults_.size() - kFaultsShown) + " more";
  }
  return fail(Errc::invalid, std::move(all));
}

// A YAML scalar: plain where that is surely read back as the same text.
std::string yaml_scalar(std::string const& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-:";
  bool const plain = !text.empty() && text.find_first_not_of(kPlain) == std::string::npos &&
                     text.front() != '-' && text.front() != ':' && text.back() != ':';
  if (plain) return text;
  std::string out = "'";
  for (char const c : text) out += c == '\'' ? "''" : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string Config::log_path() const {
  if (log.file.empty() || log.file.starts_with('/')) return log.file;
  return data + "/" + log.file;
}

Result<Loaded> load_text(std::string_view yaml, std::string const& name, Sources const& sources) {
  Reader reader(name);
  auto const root = parse_yaml(yaml, name);
  if (!root) return std::unexpected(root.error());
  reader.read_file(*root);
  reader.read_environment(sources.environment);
  reader.read_flags(sources.flags);
  reader.read_token_file();
  reader.check_together();
  return reader.take();
}

Result<Loaded> load(Sources const& sources) {
  if (sources.file.empty()) return load_text("", "", sources);
  auto const text = base::read_file(sources.file, 1 << 20);
  if (!text) return std::unexpected(text.error());
  return load_text(*text, sources.file, sources);
}

std::vector<std::string> process_environment() {
  std::vector<std::string> out;
  for (char** line = environ; line != nullptr && *line != nullptr; ++line) out.emplace_back(*line);
  return out;
}

std::string to_yaml(Config const& config) {
  std::string out;
  std::vector<std::string_view> open;
  for (Key const& key : keys()) {
    std::vector<std::string_view> const parts = base::split(key.path, '.');
    size_t same = 0;
    while (same < open.size() && same + 1 < parts.size() && open[same] == parts[same]) ++same;
    open.assign(parts.begin(), parts.end() - 1);
    for (; same < open.size(); ++same) {
      out += std::string(2 * same, ' ') + std::string(open[same]) + ":\n";
    }
    out += std::string(2 * open.size(), ' ') + std::string(parts.back()) + ": ";
    if (key.kind == KeyKind::levels) {
      out += "{";
      for (auto const& [logger, level] : config.log.loggers) {
        out += (out.back() == '{' ? "" : ", ") + logger + ": " + level;
      }
      out += "}\n";
    } else {
      out += yaml_scalar(print(config, key)) + "\n";
    }
  }
  return out;
}

std::string key_reference() {
  Config const defaults;
  std::string out = "| key | environment | default | expected | meaning |\n|---|---|---|---|---|\n";
  for (Key const& key : keys()) {
    std::string const value = print(defaults, key);
    out += "| " + std::string(key.path) + " | " + environment_name(key.path) + " | " +
           (value.empty() ? "" : "`" + value + "`") + " | " + expected(key) + " | " +
           std::string(key.help) + " |\n";
  }
  return out;
}

}  // namespace wscope::app
