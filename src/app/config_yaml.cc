#include "app/config_yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <spanstream>

namespace wscope::app {
namespace {

using base::Errc;
using base::fail;

constexpr size_t kBytesMax = 1 << 20;
constexpr size_t kLevelsMax = 16;
constexpr size_t kNodesMax = 10'000;

// Leaves the library's parser early; never leaves this file.
struct Refusal {
  Errc code;
  int line;
  char const* what;
};

// Builds our nodes from the parser's events.
class Builder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(YAML::Mark const&) override {}
  void OnDocumentEnd() override {}
  void OnNull(YAML::Mark const& mark, YAML::anchor_t anchor) override {
    leaf(mark, anchor, "?", YamlNode::Kind::empty, {});
  }
  void OnAlias(YAML::Mark const& mark, YAML::anchor_t) override {
    throw Refusal{Errc::invalid, mark.line + 1, "expected the value itself, found an alias (*)"};
  }
  void OnScalar(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor,
                std::string const& value) override {
    leaf(mark, anchor, tag, YamlNode::Kind::text, value);
  }
  void OnSequenceStart(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, anchor, tag, YamlNode::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(YAML::Mark const& mark, std::string const& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, anchor, tag, YamlNode::Kind::map);
  }
  void OnMapEnd() override { close(); }

  YamlNode take() { return std::move(root_); }

 private:
  struct Frame {
    YamlNode node;
    std::string key;
    int key_line = 0;
    bool has_key = false;
  };

  void check(YAML::Mark const& mark, YAML::anchor_t anchor, std::string const& tag) {
    int const line = mark.line + 1;
    if (anchor != 0)
      throw Refusal{Errc::invalid, line, "expected a plain value, found an anchor (&)"};
    // The library says "?" for plain and "!" for quoted values.
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw Refusal{Errc::invalid, line, "expected a plain value, found a tag (!)"};
    }
    if (++nodes_ > kNodesMax)
      throw Refusal{Errc::over_limit, line, "expected at most 10,000 values"};
  }

  bool wants_key() const {
    return !frames_.empty() && frames_.back().node.kind == YamlNode::Kind::map &&
           !frames_.back().has_key;
  }

  void leaf(YAML::Mark const& mark, YAML::anchor_t anchor, std::string const& tag,
            YamlNode::Kind kind, std::string const& value) {
    check(mark, anchor, tag);
    if (wants_key()) {
      frames_.back().key = value;
      frames_.back().key_line = mark.line + 1;
      frames_.back().has_key = true;
      return;
    }
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.text = value;
    place(std::move(node));
  }

  void open(YAML::Mark const& mark, YAML::anchor_t anchor, std::string const& tag,
            YamlNode::Kind kind) {
    check(mark, anchor, tag);
    if (wants_key())
      throw Refusal{Errc::invalid, mark.line + 1, "expected a name as key, found a map or a list"};
    if (frames_.size() >= kLevelsMax) {
      throw Refusal{Errc::over_limit, mark.line + 1, "expected at most 16 levels"};
    }
    Frame frame;
    frame.node.kind = kind;
    frame.node.line = mark.line + 1;
    frames_.push_back(std::move(frame));
  }

  void close() {
    YamlNode node = std::move(frames_.back().node);
    frames_.pop_back();
    place(std::move(node));
  }

  void place(YamlNode node) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == YamlNode::Kind::list) {
      frame.node.items.push_back(std::move(node));
      return;
    }
    // A value that is not there is where its key is; the library marks it at the next token.
    if (node.kind == YamlNode::Kind::empty) node.line = frame.key_line;
    frame.node.entries.push_back({std::move(frame.key), frame.key_line, std::move(node)});
    frame.has_key = false;
  }

  std::vector<Frame> frames_;
  YamlNode root_;
  size_t nodes_ = 0;
};

std::unexpected<base::Error> refuse(std::string const& name, int line, std::string_view what,
                                    Errc code = Errc::invalid) {
  return fail(code, name + ":" + std::to_string(line) + ": " + std::string(what));
}

}  // namespace

std::string describe(YamlNode const& node) {
  switch (node.kind) {
    case YamlNode::Kind::empty:
      return "nothing";
    case YamlNode::Kind::map:
      return "a map";
    case YamlNode::Kind::list:
      return "a list";
    case YamlNode::Kind::text:
      break;
  }
  if (node.text.size() > 60) return "'" + node.text.substr(0, 60) + "…'";
  return "'" + node.text + "'";
}

base::Result<YamlNode> parse_yaml(std::string_view text, std::string const& name) {
  if (text.size() > kBytesMax) return refuse(name, 1, "expected at most 1 MiB", Errc::over_limit);
  try {
    std::ispanstream stream(std::span<char const>(text.data(), text.size()));
    YAML::Parser parser(stream);
    Builder builder;
    if (!parser.HandleNextDocument(builder)) return YamlNode{};
    Builder second;
    if (parser.HandleNextDocument(second)) {
      return refuse(name, second.take().line, "expected one document, found a second one (---)");
    }
    return builder.take();
  } catch (Refusal const& refusal) {
    return refuse(name, refusal.line, refusal.what, refusal.code);
  } catch (YAML::Exception const& error) {
    return refuse(name, std::max(0, error.mark.line) + 1,
                  "expected YAML, found a fault: " + error.msg);
  }
}

}  // namespace wscope::app
