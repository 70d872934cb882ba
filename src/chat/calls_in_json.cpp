#include "chat/calls_in_json.h"

#include <nlohmann/json.hpp>

namespace outboard::chat {

void CallsInJson::follow(std::string_view text) {
  for (; at_ < text.size(); ++at_) step(text[at_]);
}

void CallsInJson::step(char c) {
  if (in_arguments_) calls_.back().arguments += c;
  if (in_string_) {
    string_ += c;
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      in_string_ = false;
      if (depth_ == call_depth_) string_ended();
    }
    return;
  }
  switch (c) {
    case '"':
      in_string_ = true;
      string_ = c;
      return;
    case ':':
      is_value_ = true;
      return;
    case ',':
      is_value_ = false;
      return;
    case '[':
    case '{':
      if (depth_ == 0 && c == '[') call_depth_ = 2;
      if (++depth_ == call_depth_ && c == '{') calls_.emplace_back();
      if (depth_ == call_depth_ + 1 && is_value_ && c == '{' && !calls_.empty() &&
          (syntax_->body == CallBody::kKeyedJson || key_ == syntax_->arguments_key)) {
        if (syntax_->body == CallBody::kKeyedJson) calls_.back().name = key_;
        in_arguments_ = true;
        calls_.back().arguments = c;
      }
      is_value_ = false;
      return;
    case ']':
    case '}':
      if (depth_ > 0) --depth_;
      if (depth_ == call_depth_ && in_arguments_) {
        in_arguments_ = false;
        calls_.back().ended = true;
      }
      return;
    default:
      return;
  }
}

void CallsInJson::string_ended() {
  const auto value = nlohmann::json::parse(string_, nullptr, false);
  if (!value.is_string()) return;
  if (!is_value_) {
    key_ = value;
  } else if (key_ == syntax_->name_key && !calls_.empty()) {
    calls_.back().name = value;
  }
}

}  // namespace outboard::chat
