#include "formats/yaml_file.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <charconv>
#include <istream>
#include <locale>
#include <sstream>
#include <streambuf>
#include <unordered_set>

#include "support/error.h"

namespace outboard::formats {
namespace {

constexpr size_t kMaxBytes = size_t{256} << 20;
constexpr size_t kMaxDepth = 32;

std::string shown(std::string_view text) {
  return fmt::format("\"{}{}\"", text.substr(0, 60), text.size() > 60 ? "..." : "");
}

// Builds the tree from yaml-cpp's events: its own tree takes seconds for a vocabulary.
class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string_view text) : text_(text) {}
  YamlNode take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override {
    YamlNode node;
    // A word of a language may be "null": as a key it is the text that stands there.
    if (wants_key()) {
      node.scalar = null_text(mark);
      if (!node.scalar.empty()) node.kind = YamlNode::Kind::kScalar;
    }
    add(mark, std::move(node));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    fail("{}: found an alias, expected plain values", place(mark));
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string& value) override {
    YamlNode node;
    node.kind = YamlNode::Kind::kScalar;
    node.scalar = value;
    add(mark, std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    open(mark, YamlNode::Kind::kSequence);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    open(mark, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    std::unordered_set<std::string> keys;
    std::optional<std::string> key;  // one whose value is next
  };

  static std::string place(const YAML::Mark& mark) {
    return fmt::format("YAML: line {}, column {}", mark.line + 1, mark.column + 1);
  }

  // Which of YAML's words for null stands at the mark; nothing where none does.
  std::string null_text(const YAML::Mark& mark) const {
    const auto at = static_cast<size_t>(mark.pos);
    for (const char* word : {"~", "null", "Null", "NULL"}) {
      if (at <= text_.size() && text_.substr(at).starts_with(word)) return word;
    }
    return {};
  }

  bool wants_key() const {
    return !open_.empty() && open_.back().node.kind == YamlNode::Kind::kMap && !open_.back().key;
  }

  void add(const YAML::Mark& mark, YamlNode node) {
    if (!wants_key()) return attach(std::move(node));
    if (node.kind != YamlNode::Kind::kScalar) {
      fail("{}: found a key that is no text", place(mark));
    }
    if (!open_.back().keys.insert(node.scalar).second) {
      fail("{}: found the key {} twice", place(mark), shown(node.scalar));
    }
    open_.back().key = std::move(node.scalar);
  }

  void attach(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else if (Open& parent = open_.back(); parent.node.kind == YamlNode::Kind::kSequence) {
      parent.node.items.push_back(std::move(node));
    } else {
      parent.node.fields.push_back({std::move(*parent.key), std::move(node)});
      parent.key.reset();
    }
  }

  void open(const YAML::Mark& mark, YamlNode::Kind kind) {
    if (wants_key()) fail("{}: found a key that is no text", place(mark));
    if (open_.size() >= kMaxDepth) {
      fail("{}: found nesting deeper than {}", place(mark), kMaxDepth);
    }
    open_.emplace_back().node.kind = kind;
  }

  void close() {
    YamlNode node = std::move(open_.back().node);
    open_.pop_back();
    attach(std::move(node));
  }

  std::string_view text_;
  YamlNode root_;
  std::vector<Open> open_;
};

// A stream over memory.
class MemoryBuffer : public std::streambuf {
 public:
  explicit MemoryBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // NOLINT: a get area is only read
    setg(begin, begin, begin + text.size());
  }
};

const YamlNode* scalar_field(const YamlNode& map, std::string_view key, std::string_view wanted) {
  const YamlNode* node = map.find(key);
  if (node == nullptr || node->kind == YamlNode::Kind::kNull) return nullptr;
  if (node->kind != YamlNode::Kind::kScalar) fail("{}: expected {}", key, wanted);
  return node;
}

template <typename T>
std::optional<T> integer(std::string_view text) {
  T value{};
  const char* begin = text.data();
  const char* end = begin + text.size();
  const auto result = std::from_chars(begin, end, value);
  if (result.ec != std::errc() || result.ptr != end) return std::nullopt;
  return value;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& [name, value] : fields) {
    if (name == key) return &value;
  }
  return nullptr;
}

YamlNode parse_yaml(std::string_view text) {
  if (text.size() > kMaxBytes) {
    fail("YAML: found {} bytes, expected at most {}", text.size(), kMaxBytes);
  }
  MemoryBuffer buffer(text);
  std::istream stream(&buffer);
  TreeBuilder builder(text);
  try {
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(builder)) return {};
    // A second document would be lost.
    TreeBuilder more(text);
    if (parser.HandleNextDocument(more)) fail("YAML: found two documents, expected one");
  } catch (const YAML::Exception& error) {
    fail("YAML: {}", error.what());
  }
  return builder.take();
}

std::optional<int64_t> yaml_int(const YamlNode& map, std::string_view key) {
  const YamlNode* node = scalar_field(map, key, "an integer");
  if (node == nullptr) return std::nullopt;
  const auto value = integer<int64_t>(node->scalar);
  if (!value) fail("{}: found {}, expected an integer", key, shown(node->scalar));
  return value;
}

std::optional<double> yaml_number(const YamlNode& map, std::string_view key) {
  const YamlNode* node = scalar_field(map, key, "a number");
  if (node == nullptr) return std::nullopt;
  std::istringstream stream(node->scalar);
  stream.imbue(std::locale::classic());
  double value = 0;
  if (!(stream >> value) || stream.peek() != std::istringstream::traits_type::eof()) {
    fail("{}: found {}, expected a number", key, shown(node->scalar));
  }
  return value;
}

std::optional<bool> yaml_bool(const YamlNode& map, std::string_view key) {
  const YamlNode* node = scalar_field(map, key, "true or false");
  if (node == nullptr) return std::nullopt;
  if (node->scalar == "true") return true;
  if (node->scalar == "false") return false;
  fail("{}: found {}, expected true or false", key, shown(node->scalar));
}

std::optional<std::string> yaml_string(const YamlNode& map, std::string_view key) {
  const YamlNode* node = scalar_field(map, key, "a string");
  if (node == nullptr) return std::nullopt;
  return node->scalar;
}

std::vector<std::string> parse_yaml_vocabulary(std::string_view text) {
  const YamlNode root = parse_yaml(text);
  std::vector<std::string> tokens;
  if (root.kind == YamlNode::Kind::kSequence) {
    std::unordered_set<std::string_view> seen;
    for (const YamlNode& item : root.items) {
      if (item.kind != YamlNode::Kind::kScalar || !seen.insert(item.scalar).second) {
        fail("vocabulary: entry {}: expected tokens, each once", tokens.size());
      }
      tokens.push_back(item.scalar);
    }
  } else if (root.kind == YamlNode::Kind::kMap) {
    tokens.resize(root.fields.size());
    std::vector<bool> taken(tokens.size());
    for (const auto& [token, id] : root.fields) {
      const auto place =
          id.kind == YamlNode::Kind::kScalar ? integer<uint64_t>(id.scalar) : std::nullopt;
      if (!place || *place >= tokens.size() || taken[*place]) {
        fail("vocabulary: token {}: found id {}, expected the numbers below {}, each once",
             shown(token), shown(id.scalar), tokens.size());
      }
      taken[*place] = true;
      tokens[*place] = token;
    }
  }
  if (tokens.empty()) fail("vocabulary: found no tokens, expected a map of tokens to ids");
  return tokens;
}

}  // namespace outboard::formats
