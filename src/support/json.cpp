#include "support/json.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <iterator>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "support/error.h"

namespace outboard {
namespace {

using Json = nlohmann::ordered_json;

// The characters of a text; `reached` is how many bytes the parser has taken.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;  // NOLINT: the standard's names
  using value_type = char;                            // NOLINT
  using difference_type = std::ptrdiff_t;             // NOLINT
  using pointer = const char*;                        // NOLINT
  using reference = const char&;                      // NOLINT

  CountingIterator(const char* at, size_t* reached) : at_(at), reached_(reached) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*reached_;
    return *this;
  }
  CountingIterator operator++(int) {
    const CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  size_t* reached_;
};

// For messages: short whatever it holds.
std::string shown(std::string_view text) {
  constexpr size_t kMost = 40;
  std::string quoted =
      Json(text.substr(0, kMost)).dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > kMost ? quoted + "..." : quoted;
}

// Builds the tree. nlohmann's own builder looks a key up among those before it, which takes seconds
// for an object as long as a vocabulary; here a set of the open objects' keys finds the one that
// stands twice, and fields are appended.
class TreeBuilder {
 public:
  using number_integer_t = Json::number_integer_t;    // NOLINT: nlohmann's names
  using number_unsigned_t = Json::number_unsigned_t;  // NOLINT
  using number_float_t = Json::number_float_t;        // NOLINT
  using string_t = Json::string_t;                    // NOLINT
  using binary_t = Json::binary_t;                    // NOLINT

  TreeBuilder(std::string_view text, const size_t& reached, int max_depth)
      : text_(text), reached_(reached), max_depth_(max_depth) {}
  Json take() { return std::move(root_); }

  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(number_integer_t value) { return add(value); }
  bool number_unsigned(number_unsigned_t value) { return add(value); }
  bool number_float(number_float_t value, const string_t&) { return add(value); }
  bool string(string_t& value) { return add(std::move(value)); }
  bool binary(binary_t&) { refuse(reached_, "bytes are no text"); }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(string_t& name) {
    if (!open_.back().keys.insert(name).second)
      refuse(begin_of_token(reached_ - 1),
             fmt::format("the key {} stands twice in one object", shown(name)));
    key_ = std::move(name);
    return true;
  }
  // position: of the token's last character, counted from 1; of the end, one behind it.
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    explain(std::min(position - 1, text_.size()), error.what());
  }

 private:
  struct Open {
    Json* value;
    std::unordered_set<std::string> keys;  // of an object
  };

  [[noreturn]] void refuse(size_t offset, std::string_view why) const {
    const std::string_view before = text_.substr(0, offset);
    const auto line = std::ranges::count(before, '\n') + 1;
    const size_t begin = before.rfind('\n') + 1;  // npos + 1 is 0
    const auto column =
        std::ranges::count_if(before.substr(begin), [](char c) { return (c & 0xC0) != 0x80; }) + 1;
    fail("no valid JSON: line {}, column {}: {}", line, column, why);
  }

  // What the parser could not read ends at this offset. `what` is the library's sentence:
  // "[...] parse error at line 1, column 2: syntax error while parsing WHERE - WHY".
  [[noreturn]] void explain(size_t last, std::string_view what) const {
    const auto says = [&](std::string_view part) {
      return what.find(part) != std::string_view::npos;
    };
    const std::string_view rest = text_.substr(last);
    if (rest.empty()) {
      const bool blank = text_.find_first_not_of(" \t\r\n") == std::string_view::npos;
      refuse(last, blank ? "there is nothing but blanks" : "it ends before it is whole");
    }
    // What other programs write or bear.
    for (const std::string_view name : {"NaN", "Infinity"})
      if (rest.starts_with(name)) refuse(last, fmt::format("{} is no number of JSON's", name));
    constexpr std::pair<std::string_view, std::string_view> kPython[] = {
        {"True", "true"}, {"False", "false"}, {"None", "null"}};
    for (const auto& [theirs, ours] : kPython)
      if (rest.starts_with(theirs))
        refuse(last, fmt::format("JSON writes {} for {}", ours, theirs));
    if (rest.starts_with('/') || rest.starts_with('#'))
      refuse(last, "comments are not allowed in JSON");
    if (rest.starts_with('\''))
      refuse(last, "JSON writes texts in double quotes, not in single ones");
    const size_t before = text_.substr(0, last).find_last_not_of(" \t\r\n");
    const char previous = before == std::string_view::npos ? '\0' : text_[before];
    if (previous == ',' && (rest.front() == '}' || rest.front() == ']'))
      refuse(before, fmt::format("the comma before {} is one too many", rest.front()));
    // A whole token in the wrong place.
    const size_t begin = says(" - unexpected") ? begin_of_token(last) : last;
    if (says("expected end of input")) refuse(begin, "something stands behind the end");
    if (says("parsing object key - ") && !says("invalid string"))
      refuse(begin, "expected a key in double quotes");
    if (says("parsing object separator - unexpected")) refuse(begin, "expected : behind the key");
    if (says("parsing object - unexpected")) refuse(begin, "expected , or }");
    if (says("parsing array - unexpected")) refuse(begin, "expected , or ]");
    if (says("parsing value - unexpected")) refuse(begin, "expected a value");
    const size_t why = what.find(" - ");
    const size_t token = what.find("; last read");  // as long as the text that it is of
    if (why == std::string_view::npos)
      refuse(last, what.substr(std::min(what.find("] ") + 2, what.size())));
    refuse(last, what.substr(why + 3, token == std::string_view::npos ? token : token - why - 3));
  }

  // Where the token begins whose last character is there.
  size_t begin_of_token(size_t last) const {
    size_t begin = last;
    if (text_[last] != '"') {  // numbers and words; of others there is one character
      while (begin > 0 &&
             (std::isalnum(static_cast<unsigned char>(text_[begin - 1])) != 0 ||
              std::string_view("+-.").find(text_[begin - 1]) != std::string_view::npos))
        --begin;
      return std::isalnum(static_cast<unsigned char>(text_[last])) != 0 ? begin : last;
    }
    for (bool is_escaped = true; is_escaped && begin > 0;) {
      begin = text_.rfind('"', begin - 1);
      size_t escapes = begin;
      while (escapes > 0 && text_[escapes - 1] == '\\') --escapes;
      is_escaped = (begin - escapes) % 2 != 0;
    }
    return begin;
  }

  Json* place(Json value) {
    if (static_cast<int>(open_.size()) > max_depth_)
      refuse(reached_ - 1, fmt::format("nested deeper than {}", max_depth_));
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back().value;
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    auto& fields = parent.get_ref<Json::object_t&>();
    // A vector's member: ordered_map's own looks the key up.
    static_cast<Json::object_t::Container&>(fields).emplace_back(std::move(key_), std::move(value));
    return &fields.back().second;
  }
  template <typename T>
  bool add(T&& value) {
    place(Json(std::forward<T>(value)));
    return true;
  }
  bool open(Json value) {
    open_.push_back({place(std::move(value)), {}});
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const size_t& reached_;
  int max_depth_;
  Json root_;
  std::vector<Open> open_;
  std::string key_;
};

}  // namespace

Json parse_json(std::string_view text, int max_depth) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark
  size_t reached = 0;
  TreeBuilder builder(text, reached, max_depth);
  Json::sax_parse(CountingIterator(text.data(), &reached),
                  CountingIterator(text.data() + text.size(), &reached), &builder);
  return builder.take();
}

}  // namespace outboard
