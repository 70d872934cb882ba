#include "chat/call_scanner.h"

#include <algorithm>
#include <optional>

#include "chat/loose_value.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kBlanks = " \t\r\n";
constexpr size_t kMaxName = 256;  // bytes; OpenAI allows 64

// Where `word` stands, within kMaxName bytes from `from`; npos: not yet. Nothing: it does not. The
// answer is the same however much of the text is there.
std::optional<size_t> find_near(std::string_view text, std::string_view word, size_t from) {
  const size_t at = text.find(word, from);
  if (at == std::string_view::npos) {
    if (text.size() - from > kMaxName + word.size()) return std::nullopt;
    return at;
  }
  if (at - from > kMaxName) return std::nullopt;
  return at;
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) + 1 - first);
}

std::string dumped(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A line break at either end is the layout's.
std::string_view without_own_lines(std::string_view text) {
  if (text.starts_with("\r\n"))
    text.remove_prefix(2);
  else if (text.starts_with('\n'))
    text.remove_prefix(1);
  if (text.ends_with("\r\n"))
    text.remove_suffix(2);
  else if (text.ends_with('\n'))
    text.remove_suffix(1);
  return text;
}

}  // namespace

bool arguments_of(const Json& value, std::string& arguments) {
  if (value.is_object()) {
    arguments = dumped(value);
    return true;
  }
  if (value.is_null()) {
    arguments = "{}";
    return true;
  }
  if (!value.is_string()) return false;
  const std::string& text = value.get_ref<const std::string&>();
  if (trimmed(text).empty()) {
    arguments = "{}";
    return true;
  }
  const Json inner = Json::parse(text, nullptr, false);
  if (!inner.is_object()) return false;
  arguments = dumped(inner);
  return true;
}

bool call_of(const Json& value, Call& call) {
  if (!value.is_object()) return false;
  // OpenAI's own wrapping: {"type": "function", "function": {...}}.
  if (const auto inner = value.find("function"); inner != value.end() && inner->is_object())
    return call_of(*inner, call);
  const auto first = [&](std::initializer_list<const char*> keys) {
    auto found = value.end();
    for (const char* key : keys)
      if (found = value.find(key); found != value.end()) break;
    return found;
  };
  const auto name = first({"name", "tool_name", "function"});
  if (name == value.end() || !name->is_string() || name->get_ref<const std::string&>().empty())
    return false;
  call.name = name->get<std::string>();
  const auto arguments = first({"arguments", "parameters", "args"});
  if (!arguments_of(arguments == value.end() ? Json() : *arguments, call.arguments)) return false;
  if (const auto id = first({"id", "tool_call_id"}); id != value.end() && id->is_string())
    call.id = id->get<std::string>();
  return true;
}

CallScanner::CallScanner(const CallSyntax& syntax, const Tools& tools, bool in_section)
    : syntax_(&syntax), tools_(&tools), stage_(Stage::kOpen) {
  if (!in_section) begin_body();
}

void CallScanner::begin_body() {
  switch (syntax_->body) {
    case CallBody::kNamedJson:
    case CallBody::kTags:
      stage_ = Stage::kName;
      break;
    case CallBody::kBraces:
    case CallBody::kPython:
      stage_ = Stage::kUntilClose;
      break;
    default:
      stage_ = Stage::kJson;
  }
  looked_ = at_;
}

CallScanner::State CallScanner::scan(std::string_view text, bool last) {
  text_ = text;
  last_ = last;
  while (true) {
    const Stage before = stage_;
    const size_t at = at_;
    const State state = step();
    if (state != State::kMore) return state;
    if (stage_ == before && at_ == at) return wait();
  }
}

CallScanner::State CallScanner::step() {
  switch (stage_) {
    case Stage::kOpen: {
      skip_blanks();
      const Match m = match(syntax_->open);
      if (m == Match::kNo) return State::kBroken;
      if (m == Match::kPerhaps) return State::kMore;
      at_ += syntax_->open.size();
      begin_body();
      return State::kMore;
    }
    case Stage::kName:
      return name();
    case Stage::kId:
      return id();
    case Stage::kJson:
      return json();
    case Stage::kKey:
      return key();
    case Stage::kValue:
      return value();
    case Stage::kClose:
      return close();
    case Stage::kUntilClose:
      return until_close();
  }
  return State::kBroken;
}

CallScanner::Match CallScanner::match(std::string_view word) const {
  const std::string_view rest = text_.substr(at_);
  if (rest.starts_with(word)) return Match::kYes;
  return !last_ && word.starts_with(rest) ? Match::kPerhaps : Match::kNo;
}

void CallScanner::skip_blanks() {
  at_ = std::min(text_.find_first_not_of(kBlanks, at_), text_.size());
}

bool CallScanner::is_good_name(std::string_view name) const {
  return !name.empty() && name.size() <= kMaxName && std::ranges::none_of(name, [](char c) {
    return static_cast<unsigned char>(c) <= ' ' ||
           std::string_view("<>{}[]()\"'`,").find(c) != std::string_view::npos;
  });
}

// NAME up to what ends it.
CallScanner::State CallScanner::name() {
  const CallSyntax& s = *syntax_;
  skip_blanks();
  if (!s.name_open.empty()) {
    const Match m = match(s.name_open);
    if (m == Match::kPerhaps) return State::kMore;
    if (m == Match::kYes) {
      at_ += s.name_open.size();
      skip_blanks();
    }
  }
  size_t end = 0;
  size_t length = 0;
  bool has_id = false;
  if (s.name_close.empty()) {
    end = text_.find_first_of(" \t\r\n<", at_);
    if (end == std::string_view::npos && text_.size() - at_ > kMaxName) return State::kBroken;
  } else {
    const size_t id = s.id_open.empty() ? std::string_view::npos : text_.find(s.id_open, at_);
    has_id = id < text_.find(s.name_close, at_);
    const std::string_view ends = has_id ? s.id_open : s.name_close;
    const auto near = find_near(text_, ends, at_);
    if (!near) return State::kBroken;
    end = *near;
    length = ends.size();
  }
  if (end == std::string_view::npos) return State::kMore;
  std::string_view name = trimmed(text_.substr(at_, end - at_));
  if (s.keeps_ids && s.id_open.empty() && s.id_length == 0) {
    // Kimi writes `functions.NAME:NUMBER`, which is the call's id as well.
    call_.id = name;
    if (name.starts_with("functions.")) name.remove_prefix(10);
    if (const size_t colon = name.rfind(':'); colon != std::string_view::npos)
      name = name.substr(0, colon);
  }
  if (!is_good_name(name)) return State::kBroken;
  call_.name = name;
  at_ = looked_ = end + length;
  if (has_id)
    stage_ = Stage::kId;
  else
    stage_ = s.body == CallBody::kTags ? Stage::kKey : Stage::kJson;
  return State::kMore;
}

CallScanner::State CallScanner::id() {
  const auto near = find_near(text_, syntax_->name_close, at_);
  if (!near) return State::kBroken;
  if (*near == std::string_view::npos) return State::kMore;
  const size_t end = *near;
  call_.id = trimmed(text_.substr(at_, end - at_));
  at_ = end + syntax_->name_close.size();
  stage_ = Stage::kJson;
  return State::kMore;
}

CallScanner::State CallScanner::json() {
  if (!in_json_) {
    skip_blanks();
    if (at_ == text_.size()) return State::kMore;
    if (text_[at_] != '{' && (text_[at_] != '[' || syntax_->body == CallBody::kNamedJson))
      return State::kBroken;
    json_ = JsonScanner();
    in_progress_.reset();
    in_json_ = true;
  }
  while (at_ < text_.size()) {
    const JsonScanner::State state = json_.feed(text_[at_++]);
    if (state == JsonScanner::State::kBroken) return State::kBroken;
    if (state == JsonScanner::State::kDone) return json_ended();
  }
  return State::kMore;
}

CallScanner::State CallScanner::json_ended() {
  in_json_ = false;
  const Json value = Json::parse(json_.text(), nullptr, false);
  if (value.is_discarded() || !take_value(value)) return State::kBroken;
  add_json(whole_);
  stage_ = Stage::kClose;
  return State::kMore;
}

std::vector<CallsInJson::Written> CallScanner::written() {
  std::vector<CallsInJson::Written> all = whole_;
  const bool is_tags = syntax_->body == CallBody::kTags;
  if (is_tags && (stage_ == Stage::kKey || stage_ == Stage::kValue)) {
    std::string arguments = dumped(arguments_);
    arguments.pop_back();  // the bracket that closes all
    all.push_back({call_.name, arguments, false});
  }
  if (in_json_) add_json(all);
  return all;
}

void CallScanner::add_json(std::vector<CallsInJson::Written>& all) {
  if (syntax_->body == CallBody::kNamedJson) {
    all.push_back({call_.name, json_.text(), !in_json_});
    return;
  }
  if (!in_progress_) in_progress_.emplace(*syntax_);
  in_progress_->follow(json_.text());
  all.insert(all.end(), in_progress_->calls().begin(), in_progress_->calls().end());
}

bool CallScanner::take_value(const Json& value) {
  if (syntax_->body == CallBody::kNamedJson) {
    if (!arguments_of(value, call_.arguments)) return false;
    calls_.push_back(call_);
    return true;
  }
  if (value.is_array()) {
    if (value.empty()) return false;
    return std::ranges::all_of(value,
                               [&](const Json& one) { return !one.is_array() && take_value(one); });
  }
  Call call;
  if (syntax_->body == CallBody::kKeyedJson) {
    if (!value.is_object() || value.size() != 1) return false;
    call.name = value.begin().key();
    if (!arguments_of(value.begin().value(), call.arguments)) return false;
  } else if (!call_of(value, call)) {
    return false;
  }
  calls_.push_back(std::move(call));
  return true;
}

// A key's tag, or the end of the call.
CallScanner::State CallScanner::key() {
  const CallSyntax& s = *syntax_;
  skip_blanks();
  const Match m = match(s.key_open);
  if (m == Match::kNo || m == Match::kPerhaps) {
    const Match end = match(s.close);
    if (end == Match::kYes) {
      call_.arguments = dumped(arguments_);
      calls_.push_back(call_);
      whole_.push_back({call_.name, call_.arguments, true});
      stage_ = Stage::kClose;
      return State::kMore;
    }
    return m == Match::kNo && end == Match::kNo ? State::kBroken : State::kMore;
  }
  const size_t begin = at_ + s.key_open.size();
  const auto near = find_near(text_, s.key_close, begin);
  if (!near) return State::kBroken;
  if (*near == std::string_view::npos) return State::kMore;
  const size_t end = *near;
  key_ = trimmed(text_.substr(begin, end - begin));
  size_t value_begin = end + s.key_close.size();
  if (!s.value_open.empty()) {
    const size_t next = std::min(text_.find_first_not_of(kBlanks, value_begin), text_.size());
    const std::string_view rest = text_.substr(next);
    if (!rest.starts_with(s.value_open))
      return s.value_open.starts_with(rest) ? State::kMore : State::kBroken;
    value_begin = next + s.value_open.size();
  }
  if (key_.empty()) return State::kBroken;
  at_ = looked_ = value_begin;
  stage_ = Stage::kValue;
  return State::kMore;
}

// A value may hold its own closing tag, as a file about such calls does: it ends at the first one
// behind which the call goes on or ends.
CallScanner::State CallScanner::value() {
  const CallSyntax& s = *syntax_;
  while (true) {
    const size_t end = text_.find(s.value_close, looked_);
    if (end == std::string_view::npos) {
      const size_t keep = std::min(s.value_close.size() - 1, text_.size() - at_);
      looked_ = std::max(looked_, text_.size() - keep);
      return State::kMore;
    }
    const size_t behind = end + s.value_close.size();
    const size_t next = std::min(text_.find_first_not_of(kBlanks, behind), text_.size());
    const std::string_view rest = text_.substr(next);
    bool perhaps = false;
    bool ends = false;
    for (const std::string_view word : {std::string_view(s.key_open), std::string_view(s.close)}) {
      ends |= rest.starts_with(word);
      perhaps |= word.starts_with(rest);
    }
    if (!ends) {
      looked_ = end;
      if (perhaps && !last_) return State::kMore;
      looked_ = end + 1;
      continue;
    }
    std::string_view value = text_.substr(at_, end - at_);
    if (s.own_lines) value = without_own_lines(value);
    std::string key = key_;
    Json read;
    bool is_read = false;
    if (s.tells_strings) {
      // place" string="true"
      const size_t quote = key.find('"');
      if (quote != std::string::npos) {
        const bool is_string = key.find("string=\"true\"", quote) != std::string::npos;
        const bool is_other = key.find("string=\"false\"", quote) != std::string::npos;
        key.resize(quote);
        if (is_string) {
          read = std::string(value);
          is_read = true;
        } else if (is_other) {
          read = Json::parse(value, nullptr, false);
          is_read = !read.is_discarded();
        }
      }
    }
    if (!is_read) {
      static constexpr std::string_view kOpen = "<![CDATA[";
      static constexpr std::string_view kClose = "]]>";
      if (value.starts_with(kOpen) && value.ends_with(kClose))
        read = std::string(value.substr(kOpen.size(), value.size() - kOpen.size() - kClose.size()));
      else
        read = tools_->value_of(call_.name, key, value);
    }
    arguments_[key] = std::move(read);
    at_ = looked_ = behind;
    stage_ = Stage::kKey;
    return State::kMore;
  }
}

// The closing marker. JSON shows its own end, so there the marker may be missing.
CallScanner::State CallScanner::close() {
  const CallSyntax& s = *syntax_;
  const size_t ended = at_;
  const bool many = s.body == CallBody::kJson || s.body == CallBody::kKeyedJson;
  if (s.close.empty() && !s.bare) return State::kDone;
  skip_blanks();
  if (many) {
    // Several objects, with or without something between them.
    const size_t separator = at_;
    if (at_ < text_.size() && (text_[at_] == ';' || text_[at_] == ',')) {
      ++at_;
      skip_blanks();
    }
    if (at_ == text_.size() && !last_) {
      at_ = ended;
      return State::kMore;
    }
    if (at_ < text_.size() && text_[at_] == '{') {
      stage_ = Stage::kJson;
      return State::kMore;
    }
    at_ = separator;
  }
  if (s.close.empty()) {
    at_ = ended;
    return State::kDone;
  }
  const Match m = match(s.close);
  if (m == Match::kYes) {
    at_ += s.close.size();
    return State::kDone;
  }
  at_ = ended;
  return m == Match::kPerhaps ? State::kMore : State::kDone;
}

CallScanner::State CallScanner::until_close() {
  const CallSyntax& s = *syntax_;
  size_t end = text_.find(s.close, looked_);
  if (end == std::string_view::npos) {
    if (!last_) {
      const size_t keep = std::min(s.close.size() - 1, text_.size() - at_);
      looked_ = std::max(looked_, text_.size() - keep);
      return State::kMore;
    }
    end = text_.size();
  }
  const std::string_view inner = text_.substr(at_, end - at_);
  if (s.body == CallBody::kBraces ? !take_braces(inner) : !take_python(inner))
    return State::kBroken;
  at_ = std::min(end + s.close.size(), text_.size());
  return State::kDone;
}

// call:NAME{KEY:VALUE,...}
bool CallScanner::take_braces(std::string_view text) {
  LooseReader reader(text, syntax_->quote, true);
  reader.skip("call:");
  const auto name = reader.name();
  if (!name) return false;
  Call call{*name, "", "{}"};
  if (!reader.at_end()) {
    const auto arguments = reader.value();
    if (!arguments || !arguments->is_object() || !reader.at_end()) return false;
    call.arguments = dumped(*arguments);
  }
  calls_.push_back(std::move(call));
  return true;
}

// [NAME(KEY=VALUE, ...), ...]
bool CallScanner::take_python(std::string_view text) {
  LooseReader reader(text, "", false);
  const bool listed = reader.skip("[");
  do {
    const auto name = reader.name();
    if (!name || !reader.skip("(")) return false;
    const auto arguments = reader.keywords();
    if (!arguments) return false;
    calls_.push_back({*name, "", dumped(*arguments)});
  } while (reader.skip(","));
  return (!listed || reader.skip("]")) && reader.at_end();
}

}  // namespace outboard::chat
