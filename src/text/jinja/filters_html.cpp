// What filters know of HTML and of addresses: Markup, entities, percent signs.
#include <charconv>

#include "text/jinja/arguments.h"
#include "text/jinja/filters.h"
#include "text/jinja/python_text.h"
#include "text/unicode.h"

namespace outboard::text::jinja {
namespace {

TracedText escape(const TracedText& text) {
  TracedText result;
  const std::string& bytes = text.bytes();
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    const std::string_view entity = c == '&'    ? "&amp;"
                                    : c == '<'  ? "&lt;"
                                    : c == '>'  ? "&gt;"
                                    : c == '\'' ? "&#39;"
                                    : c == '"'  ? "&#34;"
                                                : std::string_view(&bytes[i], 1);
    result.append(entity, text.origin(i));
  }
  return result;
}

// html.unescape, with the entities of XML and the commonest one of HTML.
TracedText unescape(const TracedText& text) {
  const std::string& bytes = text.bytes();
  TracedText result;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t end = bytes.find(';', i);
    const std::string_view name = bytes[i] == '&' && end != std::string::npos && end - i < 12
                                      ? std::string_view(bytes).substr(i + 1, end - i - 1)
                                      : std::string_view();
    std::string character;
    if (name.starts_with('#') && name.size() > 1) {
      const bool hexadecimal = (name[1] | 0x20) == 'x';
      const std::string_view digits = name.substr(hexadecimal ? 2 : 1);
      uint32_t code = 0;
      const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), code,
                                        hexadecimal ? 16 : 10);
      if (read.ec == std::errc() && read.ptr == digits.data() + digits.size() && code != 0 &&
          code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF))
        append_utf8(code, character);
    } else if (!name.empty()) {
      character = name == "amp"    ? "&"
                  : name == "lt"   ? "<"
                  : name == "gt"   ? ">"
                  : name == "quot" ? "\""
                  : name == "apos" ? "'"
                  : name == "nbsp" ? "\xC2\xA0"
                                   : "";
      if (character.empty() && name.find_first_of(" &<>#") == std::string_view::npos)
        fail("striptags: the entity &{}; is not supported", name);
    }
    if (character.empty()) {
      result.append(text, i, 1);
    } else {
      result.append(character, text.origin(i));
      i = end;
    }
  }
  return result;
}

// urllib.parse.quote
TracedText quote(Interpreter& interpreter, const Value& value, bool query) {
  const TracedText text = text_of(interpreter, value);
  const std::string& bytes = text.bytes();
  interpreter.spend_bytes(bytes.size() * 3);
  TracedText result;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    result.append(plain               ? std::string(1, c)
                  : c == ' ' && query ? std::string("+")
                                      : fmt::format("%{:02X}", static_cast<uint8_t>(c)),
                  text.origin(i));
  }
  return result;
}

}  // namespace

Value escaped(Interpreter& interpreter, const Value& value) {
  if (value.is_markup()) return value;
  const TracedText text = text_of(interpreter, value);
  interpreter.spend_bytes(text.size() * 5);
  return Value(escape(text), true);
}

Value filter_escape(Interpreter& interpreter, const Value& value, Given) {
  return escaped(interpreter, value);
}

Value filter_forceescape(Interpreter& interpreter, const Value& value, Given) {
  return escaped(interpreter, Value(text_of(interpreter, value)));
}

Value filter_safe(Interpreter& interpreter, const Value& value, Given) {
  return Value(text_of(interpreter, value), true);
}

Value filter_striptags(Interpreter& interpreter, const Value& value, Given) {
  TracedText text = text_of(interpreter, value);
  const auto without = [&](std::string_view open, std::string_view close) {
    for (;;) {
      const size_t begin = text.bytes().find(open);
      const size_t end = begin == std::string::npos ? begin : text.bytes().find(close, begin);
      if (end == std::string::npos) return;
      interpreter.spend_bytes(text.size());
      TracedText rest = text.part(0, begin);
      rest.append(text.part(end + close.size()));
      text = std::move(rest);
    }
  };
  without("<!--", "-->");
  without("<", ">");
  TracedText words;
  for (const std::string_view word : split_space(text.bytes(), -1, false)) {
    if (!words.empty()) words.append(" ");
    words.append(text.part(word));
  }
  return Value(unescape(words));
}

Value filter_urlencode(Interpreter& interpreter, const Value& value, Given) {
  if (value.is_string() || !(value.is_dict() || value.is_list()))
    return Value(quote(interpreter, value, false));
  Values pairs;
  if (value.is_dict()) {
    for (const auto& [key, item] : value.dict().items) pairs.push_back(make_pair(key, item));
  } else {
    pairs = iterate(interpreter, value);
  }
  TracedText result;
  for (const Value& pair : pairs) {
    const Values parts = iterate(interpreter, pair);
    if (parts.size() != 2) fail("{} values to unpack, expected 2", parts.size());
    if (&pair != &pairs.front()) result.append("&");
    result.append(quote(interpreter, parts[0], true));
    result.append("=");
    result.append(quote(interpreter, parts[1], true));
  }
  return Value(std::move(result));
}

Value filter_xmlattr(Interpreter& interpreter, const Value& value, Given arguments) {
  const bool space = flag_argument(arguments, 0, "autospace", true);
  if (!value.is_dict()) fail("xmlattr needs a mapping, not {}", value.type_name());
  TracedText result;
  for (const auto& [key, item] : value.dict().items) {
    if (item.is_none() || item.is_undefined()) continue;
    const std::string name = to_text(key).bytes();
    if (name.find_first_of(" \t\n\r\f\v/>=") != std::string::npos)
      fail("Invalid character in attribute name: {}", to_repr(key).bytes());
    if (space || !result.empty()) result.append(" ");
    result.append(escaped(interpreter, key).text());
    result.append("=\"");
    result.append(escaped(interpreter, item).text());
    result.append("\"");
  }
  return Value(std::move(result));
}

}  // namespace outboard::text::jinja
