#include "chat/loose_value.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBlanks = " \t\r\n";

bool is_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-' || c == '.' || (static_cast<unsigned char>(c) & 0x80) != 0;
}

}  // namespace

void LooseReader::skip_blanks() {
  at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size());
}

bool LooseReader::skip(std::string_view text) {
  skip_blanks();
  if (!text_.substr(at_).starts_with(text)) return false;
  at_ += text.size();
  return true;
}

std::optional<std::string> LooseReader::name() {
  skip_blanks();
  const size_t begin = at_;
  while (at_ < text_.size() && is_name(text_[at_])) ++at_;
  if (at_ == begin) return std::nullopt;
  return std::string(text_.substr(begin, at_ - begin));
}

std::optional<Json> LooseReader::value(int depth) {
  if (depth > kMaxDepth) return std::nullopt;
  skip_blanks();
  if (at_ == text_.size()) return std::nullopt;
  if (skip("{")) return object(depth);
  if (skip("[")) return list(']', depth);
  if (skip("(")) return list(')', depth);
  const char c = text_[at_];
  if (c == '"' || c == '\'' || (!quote_.empty() && text_.substr(at_).starts_with(quote_))) {
    auto text = string();
    return text ? std::optional<Json>(std::move(*text)) : std::nullopt;
  }
  return word();
}

std::optional<Json> LooseReader::list(char end, int depth) {
  Json items = Json::array();
  const std::string_view closing(&end, 1);
  while (!skip(closing)) {
    if (!items.empty() && !skip(",")) return std::nullopt;
    if (skip(closing)) break;
    auto item = value(depth + 1);
    if (!item) return std::nullopt;
    items.push_back(std::move(*item));
  }
  return items;
}

std::optional<Json> LooseReader::object(int depth) {
  Json members = Json::object();
  while (!skip("}")) {
    if (!members.empty() && !skip(",")) return std::nullopt;
    if (skip("}")) break;
    auto key = quoted_key();
    if (!key || !skip(":")) return std::nullopt;
    auto member = value(depth + 1);
    if (!member) return std::nullopt;
    members[*key] = std::move(*member);
  }
  return members;
}

std::optional<Json> LooseReader::keywords() {
  Json members = Json::object();
  while (!skip(")")) {
    if (!members.empty() && !skip(",")) return std::nullopt;
    if (skip(")")) break;
    const auto key = name();
    if (!key || !skip("=")) return std::nullopt;
    auto member = value(0);
    if (!member) return std::nullopt;
    members[*key] = std::move(*member);
  }
  return members;
}

std::optional<std::string> LooseReader::quoted_key() {
  skip_blanks();
  if (at_ == text_.size()) return std::nullopt;
  const char c = text_[at_];
  if (c == '"' || c == '\'' || (!quote_.empty() && text_.substr(at_).starts_with(quote_)))
    return string();
  // Without quotes: up to the colon, whatever characters the name has.
  const size_t end = text_.find_first_of(":,{}[]", at_);
  if (end == std::string_view::npos || text_[end] != ':' || end == at_) return std::nullopt;
  std::string key(text_.substr(at_, end - at_));
  at_ = end;
  key.erase(key.find_last_not_of(kBlanks) + 1);
  return key;
}

std::optional<std::string> LooseReader::string() {
  if (!quote_.empty() && text_.substr(at_).starts_with(quote_)) {
    const size_t begin = at_ + quote_.size();
    const size_t end = text_.find(quote_, begin);
    if (end == std::string_view::npos) return std::nullopt;
    at_ = end + quote_.size();
    return std::string(text_.substr(begin, end - begin));
  }
  const char quote = text_[at_++];
  std::string found;
  for (; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '\\' && at_ + 1 < text_.size()) {
      const char next = text_[++at_];
      if (next == 'u' && at_ + 4 < text_.size()) {
        // JSON's reader knows how two escapes make one character.
        std::string escape = "\"\\" + std::string(text_.substr(at_, 5));
        size_t used = 5;
        if (text_.substr(at_ + 5).starts_with("\\u") && at_ + 11 <= text_.size()) {
          const std::string both = escape + std::string(text_.substr(at_ + 5, 6)) + "\"";
          if (const Json pair = Json::parse(both, nullptr, false); pair.is_string()) {
            found += pair.get<std::string>();
            at_ += 10;
            continue;
          }
        }
        escape += "\"";
        const Json one = Json::parse(escape, nullptr, false);
        if (!one.is_string()) return std::nullopt;
        found += one.get<std::string>();
        at_ += used - 1;
        continue;
      }
      switch (next) {
        case 'n':
          found += '\n';
          break;
        case 't':
          found += '\t';
          break;
        case 'r':
          found += '\r';
          break;
        case '\\':
        case '\'':
        case '"':
        case '/':
          found += next;
          break;
        default:  // as Python does with what is no escape
          found += '\\';
          found += next;
      }
      continue;
    }
    if (c == quote) {
      // Templates put texts between quotes as they are: one that more of the text follows belongs
      // to it.
      const size_t next = text_.find_first_not_of(kBlanks, at_ + 1);
      if (next == std::string_view::npos ||
          std::string_view(",)]}:").find(text_[next]) != std::string_view::npos) {
        ++at_;
        return found;
      }
    }
    found += c;
  }
  return std::nullopt;
}

std::optional<Json> LooseReader::word() {
  const size_t end = std::min(text_.find_first_of(",]})", at_), text_.size());
  std::string_view word = text_.substr(at_, end - at_);
  word = word.substr(0, word.find_last_not_of(kBlanks) + 1);
  if (word.empty()) return std::nullopt;
  at_ = end;
  if (word == "True" || word == "true") return Json(true);
  if (word == "False" || word == "false") return Json(false);
  if (word == "None" || word == "null") return Json(nullptr);
  Json number = Json::parse(word, nullptr, false);
  if (number.is_number()) return number;
  if (!bare_strings_) return std::nullopt;
  return Json(std::string(word));
}

}  // namespace outboard::chat
