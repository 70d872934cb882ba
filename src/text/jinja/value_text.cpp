// Values as text: Python's str, repr and json.dumps.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "support/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/value.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

// A hostile template can build values that are small in memory and huge as text.
constexpr size_t kLongestText = size_t{64} << 20;

void check_length(const TracedText& text) {
  if (text.size() > kLongestText) fail("a value of more than {} bytes as text", kLongestText);
}

void append_string_repr(const TracedText& traced, TracedText& result) {
  const std::string_view text = traced.bytes();
  const bool double_quotes =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quotes ? '"' : '\'';
  result.append(std::string_view(&quote, 1));
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_character(text, at);
    const size_t length = std::max<size_t>(1, character.length);
    const char32_t code = character.length != 0 ? character.code : static_cast<uint8_t>(text[at]);
    out.clear();
    if (code == static_cast<char32_t>(quote) || code == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(code));
    } else if (code == '\n') {
      out += "\\n";
    } else if (code == '\r') {
      out += "\\r";
    } else if (code == '\t') {
      out += "\\t";
    } else if (is_printable(code)) {
      out += text.substr(at, length);
    } else if (code < 0x100) {
      out += fmt::format("\\x{:02x}", static_cast<uint32_t>(code));
    } else if (code < 0x10000) {
      out += fmt::format("\\u{:04x}", static_cast<uint32_t>(code));
    } else {
      out += fmt::format("\\U{:08x}", static_cast<uint32_t>(code));
    }
    result.append(out, traced.origin(at));
    at += length;
  }
  result.append(std::string_view(&quote, 1));
}

void append_text(const Value& value, bool repr, TracedText& out) {
  check_length(out);
  if (value.is_undefined()) {
    if (repr) out.append("Undefined");
  } else if (value.is_none()) {
    out.append("None");
  } else if (value.is_bool()) {
    out.append(value.boolean() ? "True" : "False");
  } else if (value.is_int()) {
    out.append(value.is_big() ? value.big().text() : std::to_string(value.integer()));
  } else if (value.is_float()) {
    out.append(float_text(value.number()));
  } else if (value.is_string()) {
    if (repr) {
      if (value.is_markup()) out.append("Markup(");
      append_string_repr(value.text(), out);
      if (value.is_markup()) out.append(")");
    } else {
      out.append(value.text());
    }
  } else if (value.is_list()) {
    const List& list = value.list();
    const bool tuple = list.kind == List::Kind::kTuple;
    const bool view = list.kind >= List::Kind::kKeys;
    if (view) out.append(fmt::format("{}(", value.type_name()));
    out.append(tuple ? "(" : "[");
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i != 0) out.append(", ");
      append_text(list.items[i], true, out);
    }
    if (tuple && list.items.size() == 1) out.append(",");
    out.append(tuple ? ")" : "]");
    if (view) out.append(")");
  } else if (value.is_dict()) {
    out.append("{");
    bool first = true;
    for (const auto& [key, item] : value.dict().items) {
      if (!first) out.append(", ");
      first = false;
      append_text(key, true, out);
      out.append(": ");
      append_text(item, true, out);
    }
    out.append("}");
  } else if (value.is_namespace()) {
    out.append("<Namespace>");  // not its fields: it may hold itself
  } else {
    out.append(fmt::format("<function {}>", value.callable().name));
  }
}

void append_json_string(const TracedText& traced, bool ensure_ascii, TracedText& result) {
  const std::string_view text = traced.bytes();
  result.append("\"");
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const DecodedCharacter character = decode_character(text, at);
    const size_t length = std::max<size_t>(1, character.length);
    const char32_t code = character.length != 0 ? character.code : 0xFFFD;
    out.clear();
    switch (code) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (code < 0x20 || (ensure_ascii && code >= 0x7F && code < 0x10000)) {
          if (code == 0x7F) {
            out.push_back('\x7F');
          } else {
            out += fmt::format("\\u{:04x}", static_cast<uint32_t>(code));
          }
        } else if (ensure_ascii && code >= 0x10000) {
          const auto offset = static_cast<uint32_t>(code) - 0x10000;
          out +=
              fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
        } else {
          append_utf8(code, out);
        }
    }
    result.append(out, traced.origin(at));
    at += length;
  }
  result.append("\"");
}

TracedText json_key(const Value& key) {
  if (key.is_string()) return key.text();
  if (key.is_none()) return std::string("null");
  if (key.is_bool()) return std::string(key.boolean() ? "true" : "false");
  if (key.is_number()) return to_text(key);
  fail("tojson: keys must be str, int, float, bool or None, not {}", key.type_name());
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}

  void write(const Value& value, int level) {
    check_length(out);
    if (value.is_none()) {
      out.append("null");
    } else if (value.is_bool()) {
      out.append(value.boolean() ? "true" : "false");
    } else if (value.is_int()) {
      out.append(value.is_big() ? value.big().text() : std::to_string(value.integer()));
    } else if (value.is_float()) {
      const double number = value.number();
      out.append(std::isnan(number)   ? "NaN"
                 : std::isinf(number) ? (number > 0 ? "Infinity" : "-Infinity")
                                      : float_text(number));
    } else if (value.is_string()) {
      append_json_string(value.text(), style_.ensure_ascii, out);
    } else if (value.is_list() && value.list().has_positions()) {
      write_items('[', ']', value.list().items.size(), level,
                  [&](size_t i) { write(value.list().items[i], level + 1); });
    } else if (value.is_dict()) {
      std::vector<std::pair<TracedText, const Value*>> items;
      for (const auto& [key, item] : value.dict().items) items.emplace_back(json_key(key), &item);
      if (style_.sort_keys)
        std::sort(items.begin(), items.end(),
                  [](const auto& a, const auto& b) { return a.first.bytes() < b.first.bytes(); });
      write_items('{', '}', items.size(), level, [&](size_t i) {
        append_json_string(items[i].first, style_.ensure_ascii, out);
        out.append(style_.key_separator);
        write(*items[i].second, level + 1);
      });
    } else {
      fail("tojson: Object of type {} is not JSON serializable", value.type_name());
    }
  }

  TracedText out;

 private:
  template <typename WriteItem>
  void write_items(char open, char close, size_t count, int level, WriteItem write_item) {
    out.append(std::string_view(&open, 1));
    for (size_t i = 0; i < count; ++i) {
      if (i != 0) out.append(style_.item_separator);
      new_line(level + 1);
      write_item(i);
    }
    if (count != 0) new_line(level);
    out.append(std::string_view(&close, 1));
  }

  void new_line(int level) {
    if (style_.indent < 0) return;
    out.append("\n");
    out.append(std::string(static_cast<size_t>(style_.indent) * static_cast<size_t>(level), ' '));
  }

  const JsonStyle& style_;
};

}  // namespace

std::string float_text(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  // Shortest digits that read back the same, as Python; where the exponent begins is Python's.
  char digits[40];
  const auto result =
      std::to_chars(digits, digits + sizeof digits, number, std::chars_format::scientific);
  std::string text(digits, result.ptr);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  if (exponent < -4 || exponent >= 16) return text;
  char fixed[400];
  const auto plain = std::to_chars(fixed, fixed + sizeof fixed, number, std::chars_format::fixed);
  text.assign(fixed, plain.ptr);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

TracedText to_text(const Value& value) {
  TracedText text;
  append_text(value, false, text);
  return text;
}

TracedText to_repr(const Value& value) {
  TracedText text;
  append_text(value, true, text);
  return text;
}

TracedText to_json(const Value& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace outboard::text::jinja
