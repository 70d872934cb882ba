// HTML: gumbo says what is text and where it stands, and the page's own bytes between are markup.
#include <gumbo.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>
#include <utility>

#include "documents/document.h"
#include "documents/sentence.h"
#include "support/error.h"

namespace outboard::documents {
namespace {

using Kind = Fragment::Kind;

// What stands within sentences; all else ends one.
constexpr std::array<std::string_view, 34> kInline = {
    "a",    "abbr", "acronym", "b",  "bdi",  "bdo",   "big",  "cite",   "code",
    "data", "del",  "dfn",     "em", "font", "i",     "ins",  "kbd",    "label",
    "mark", "nobr", "q",       "s",  "samp", "small", "span", "strike", "strong",
    "sub",  "sup",  "time",    "tt", "u",    "var",   "wbr"};
// Of which the text stays.
constexpr std::array kCode = {GUMBO_TAG_CODE, GUMBO_TAG_KBD, GUMBO_TAG_SAMP, GUMBO_TAG_VAR};
// Whose contents are no text of the page, markup in them included.
constexpr std::array kOpaqueTags = {GUMBO_TAG_SCRIPT, GUMBO_TAG_STYLE,    GUMBO_TAG_TEMPLATE,
                                    GUMBO_TAG_SVG,    GUMBO_TAG_MATH,     GUMBO_TAG_TEXTAREA,
                                    GUMBO_TAG_PRE,    GUMBO_TAG_NOSCRIPT, GUMBO_TAG_IFRAME,
                                    GUMBO_TAG_XMP,    GUMBO_TAG_PLAINTEXT};
// Elements that have no end, or whose end may be left out: they nest no deeper than those around
// them.
constexpr std::array<std::string_view, 31> kUnended = {
    "area",   "base",  "basefont", "bgsound", "br",    "body",  "col",    "colgroup",
    "dd",     "dt",    "embed",    "frame",   "head",  "hr",    "html",   "img",
    "input",  "link",  "li",       "meta",    "param", "p",     "option", "optgroup",
    "source", "tbody", "td",       "th",      "tr",    "track", "wbr"};
// In whose contents there are no tags.
constexpr std::array<std::string_view, 5> kRaw = {"script", "style", "textarea", "title", "xmp"};
// The parser looks through all open elements at each tag, and goes down into them by calls.
constexpr int kMostNested = 2000;
constexpr std::array<std::string_view, 4> kAttributes = {"alt", "title", "placeholder",
                                                         "aria-label"};

// A stretch of the page that is known to be something.
struct Stretch {
  enum class Kind { kText, kKept, kOpaque } kind;
  size_t begin, end;
  std::string text;
};
struct Value {
  size_t begin, end;  // without quotes
  std::string text;
  char quote;
};

class Page {
 public:
  explicit Page(std::string_view page)
      : page_(page), output_(parse(page), [](GumboOutput* output) {
          gumbo_destroy_output(&kGumboDefaultOptions, output);
        }) {
    walk(*output_->document, false);
    std::ranges::sort(stretches_, {}, &Stretch::begin);
    // Elements that the parser repeats (<b> over two paragraphs) have the attributes of one tag.
    std::ranges::sort(values_, {}, &Value::begin);
    const auto repeated = std::ranges::unique(values_, {}, &Value::begin);
    values_.erase(repeated.begin(), repeated.end());
  }

  std::vector<Part> parts() {
    size_t at = 0;
    for (const Stretch& stretch : stretches_) {
      if (stretch.begin < at) continue;  // within one that is opaque
      add_markup(at, stretch.begin);
      const std::string raw(page_.substr(stretch.begin, stretch.end - stretch.begin));
      if (stretch.kind == Stretch::Kind::kOpaque) {
        end_sentence();
        parts_.push_back(part_as_it_is(raw));
      } else {
        const bool is_text = stretch.kind == Stretch::Kind::kText && has_letters(stretch.text);
        sentence_.push_back({is_text ? Kind::kText : Kind::kKept, raw, stretch.text});
      }
      at = stretch.end;
    }
    add_markup(at, page_.size());
    end_sentence();
    return std::move(parts_);
  }

 private:
  size_t offset(const char* place) const { return static_cast<size_t>(place - page_.data()); }

  void walk(const GumboNode& node, bool is_kept) {
    switch (node.type) {
      case GUMBO_NODE_DOCUMENT:
        return walk(node.v.document.children, is_kept);
      case GUMBO_NODE_TEXT:
        return add_text(node.v.text, is_kept);
      case GUMBO_NODE_ELEMENT:
      case GUMBO_NODE_TEMPLATE:
        return walk(node.v.element, is_kept);
      default:  // comments, blanks, CDATA: they stay
        return;
    }
  }
  void walk(const GumboVector& children, bool is_kept) {
    for (unsigned i = 0; i < children.length; ++i)
      walk(*static_cast<const GumboNode*>(children.data[i]), is_kept);
  }
  void walk(const GumboElement& element, bool is_kept) {
    if (std::ranges::find(kOpaqueTags, element.tag) != kOpaqueTags.end()) {
      // One whose tag the parser made up has no place of its own.
      if (element.original_tag.length == 0) return;
      const size_t begin = element.start_pos.offset;
      const size_t end = element.end_pos.offset + element.original_end_tag.length;
      stretches_.push_back(
          {Stretch::Kind::kOpaque, begin, std::clamp(end, begin, page_.size()), {}});
      return;
    }
    is_kept |= std::ranges::find(kCode, element.tag) != kCode.end() || says_no(element);
    if (!is_kept && element.original_tag.length > 0) add_attributes(element);
    walk(element.children, is_kept);
  }
  static bool says_no(const GumboElement& element) {
    const GumboAttribute* translate = gumbo_get_attribute(&element.attributes, "translate");
    if (translate != nullptr && std::string_view(translate->value) == "no") return true;
    const GumboAttribute* classes = gumbo_get_attribute(&element.attributes, "class");
    return classes != nullptr &&
           (" " + std::string(classes->value) + " ").find(" notranslate ") != std::string::npos;
  }

  void add_text(const GumboText& text, bool is_kept) {
    if (text.original_text.data == nullptr || text.original_text.length == 0) return;
    const size_t begin = offset(text.original_text.data);
    const std::string_view raw(text.original_text.data, text.original_text.length);
    const auto kind = is_kept ? Stretch::Kind::kKept : Stretch::Kind::kText;
    // A tag that belongs nowhere, and that the parser has passed over, stands in the text.
    const auto first_tag = [](std::string_view rest) {
      for (size_t i = 0; i + 1 < rest.size(); ++i)
        if (rest[i] == '<' && (rest[i + 1] == '/' || rest[i + 1] == '!' ||
                               std::isalpha(static_cast<unsigned char>(rest[i + 1])) != 0))
          return i;
      return rest.size();
    };
    if (first_tag(raw) == raw.size()) {
      stretches_.push_back({kind, begin, begin + raw.size(), text.text});
      return;
    }
    for (size_t at = 0; at < raw.size();) {
      const size_t tag = at + first_tag(raw.substr(at));
      if (tag > at)
        stretches_.push_back({kind, begin + at, begin + tag, meaning(raw.substr(at, tag - at))});
      at = tag < raw.size() ? tag + markup_length(raw.substr(tag)) : raw.size();
    }
  }
  // What a stretch without tags says.
  static std::string meaning(std::string_view text) {
    const Page page(text);
    return page.stretches_.empty() ? std::string(text) : page.stretches_.front().text;
  }
  void add_attributes(const GumboElement& element) {
    for (const std::string_view name : kAttributes) {
      const GumboAttribute* found =
          gumbo_get_attribute(&element.attributes, std::string(name).c_str());
      if (found == nullptr || !has_letters(found->value)) continue;
      std::string_view raw(found->original_value.data, found->original_value.length);
      const bool is_quoted = raw.size() > 1 && (raw.front() == '"' || raw.front() == '\'');
      const char quote = is_quoted ? raw.front() : ' ';
      if (is_quoted) raw = raw.substr(1, raw.size() - 2);
      const size_t begin = offset(raw.data());
      values_.push_back({begin, begin + raw.size(), found->value, quote});
    }
  }

  static GumboOutput* parse(std::string_view page) {
    refuse_deep(page);
    return gumbo_parse_with_options(&kGumboDefaultOptions, page.data(), page.size());
  }
  static std::string tag_name(std::string_view tag) {
    std::string name;
    for (const char c : tag.substr(tag.starts_with("</") ? 2 : 1)) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0) break;
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return name;
  }
  static void refuse_deep(std::string_view page) {
    int depth = 0;
    for (size_t at = page.find('<'); at < page.size(); at = page.find('<', at)) {
      const size_t length = markup_length(page.substr(at));
      const std::string_view tag = page.substr(at, length);
      const std::string name = tag_name(tag);
      at += length;
      if (name.empty() || std::ranges::find(kUnended, name) != kUnended.end()) continue;
      if (tag.starts_with("</")) {
        depth -= depth > 0 ? 1 : 0;
        continue;
      }
      if (std::ranges::find(kRaw, name) != kRaw.end()) {
        at = page.find("</" + std::string(tag.substr(1, name.size())), at);
        continue;
      }
      if (++depth > kMostNested)
        throw Error(fmt::format("html: at byte {}: <{}> is open within {} others", at - length,
                                name, kMostNested),
                    "Pages like this are no one's writing; check where its end tags went.");
    }
  }

  // Tags, comments and blanks, and what the parser has no text for.
  void add_markup(size_t begin, size_t end) {
    while (begin < end) {
      const size_t length = markup_length(page_.substr(begin, end - begin));
      add_one(begin, begin + length);
      begin += length;
    }
  }
  static size_t markup_length(std::string_view rest) {
    constexpr std::string_view kComment = "<!--", kCommentEnds = "-->";
    if (!rest.starts_with('<')) return std::min(rest.find('<', 1), rest.size());
    if (rest.starts_with(kComment)) {
      const size_t end = rest.find(kCommentEnds, kComment.size());
      return end == std::string_view::npos ? rest.size() : end + kCommentEnds.size();
    }
    char quote = 0;
    for (size_t i = 1; i < rest.size(); ++i) {
      const char c = rest[i];
      if (quote != 0) {
        if (c == quote) quote = 0;
      } else if ((c == '"' || c == '\'') && rest[i - 1] != '<') {
        quote = c;
      } else if (c == '>') {
        return i + 1;
      }
    }
    return rest.size();
  }
  void add_one(size_t begin, size_t end) {
    const std::string_view raw = page_.substr(begin, end - begin);
    Fragment fragment{Kind::kOther, std::string(raw)};
    if (blanks_around(raw).begin.size() == raw.size()) {
      fragment.kind = Kind::kBlank;
      sentence_.push_back(std::move(fragment));
      return;
    }
    if (raw.starts_with("<!--")) {
      sentence_.push_back(std::move(fragment));
      return;
    }
    const bool closes = raw.starts_with("</");
    fragment.name = tag_name(raw);
    for (auto value = std::ranges::lower_bound(values_, begin, {}, &Value::begin);
         value != values_.end() && value->end <= end; ++value)
      fragment.attributes.push_back(
          {value->begin - begin, value->end - begin, value->text, value->quote});
    const bool is_inline =
        raw.starts_with('<') && std::ranges::find(kInline, fragment.name) != kInline.end();
    fragment.kind = closes ? Kind::kClose : fragment.name == "wbr" ? Kind::kOther : Kind::kOpen;
    if (is_inline) {
      sentence_.push_back(std::move(fragment));
      return;
    }
    end_sentence();
    fragment.kind = Kind::kOther;
    parts_.push_back(part_of_sentence({std::move(fragment)}, escaped));
  }
  void end_sentence() {
    if (!sentence_.empty())
      parts_.push_back(part_of_sentence(std::exchange(sentence_, {}), escaped));
  }

  // In text quotes may stand as they are.
  static std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c == '&') {
        out += "&amp;";
      } else if (c == '<') {
        out += "&lt;";
      } else if (c == '>') {
        out += "&gt;";
      } else {
        out += c;
      }
    }
    return out;
  }

  std::string_view page_;
  std::unique_ptr<GumboOutput, void (*)(GumboOutput*)> output_;
  std::vector<Stretch> stretches_;
  std::vector<Value> values_;
  std::vector<Fragment> sentence_;
  std::vector<Part> parts_;
};

}  // namespace

std::vector<Part> parts_of_html(std::string_view page) { return Page(page).parts(); }

}  // namespace outboard::documents
