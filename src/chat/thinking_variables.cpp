#include <algorithm>
#include <array>
#include <set>

#include "chat/conversation.h"
#include "support/error.h"

namespace outboard::chat {
namespace {

using Json = nlohmann::ordered_json;

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_word(char c) { return is_letter(c) || (c >= '0' && c <= '9'); }

// The names and the texts in quotes of a template's Jinja, without the text around it. A name
// behind a point is a field of something, no variable.
struct Words {
  std::set<std::string, std::less<>> names, texts;
};

Words words_of(std::string_view source) {
  Words words;
  size_t at = 0;
  while ((at = source.find('{', at)) != std::string_view::npos) {
    const char kind = at + 1 < source.size() ? source[at + 1] : ' ';
    if (kind == '#') {
      at = std::min(source.find("#}", at), source.size());
      continue;
    }
    if (kind != '%' && kind != '{') {
      ++at;
      continue;
    }
    const std::string_view end = kind == '%' ? "%}" : "}}";
    at += 2;
    while (at < source.size() && !source.substr(at).starts_with(end)) {
      const char c = source[at];
      if (c == '"' || c == '\'') {
        const size_t begin = ++at;
        while (at < source.size() && source[at] != c) at += source[at] == '\\' ? 2 : 1;
        at = std::min(at, source.size());
        words.texts.emplace(source.substr(begin, at - begin));
        at = std::min(at + 1, source.size());
      } else if (is_letter(c)) {
        const size_t begin = at;
        while (at < source.size() && is_word(source[at])) ++at;
        if (begin == 0 || source[begin - 1] != '.')
          words.names.emplace(source.substr(begin, at - begin));
      } else {
        ++at;
      }
    }
  }
  return words;
}

constexpr std::array<std::string_view, 7> kEfforts = {"none", "minimal", "low", "medium",
                                                      "high", "xhigh",   "max"};

// The effort itself, or the nearest that the template lists: less, else more.
std::string nearest(const Words& words, size_t effort) {
  const auto listed = [&](size_t i) { return words.texts.contains(kEfforts[i]); };
  size_t known = 0;
  for (size_t i = 1; i < kEfforts.size(); ++i) known += listed(i) ? 1 : 0;
  // A single word is a default, as gpt-oss has it, and no list.
  if (known < 2 || listed(effort)) return std::string(kEfforts[effort]);
  for (size_t i = effort; i > 1; --i)
    if (listed(i - 1)) return std::string(kEfforts[i - 1]);
  for (size_t i = effort + 1; i < kEfforts.size(); ++i)
    if (listed(i)) return std::string(kEfforts[i]);
  return std::string(kEfforts[effort]);
}

}  // namespace

std::optional<Json> thinking_variables(const Format& format, const ThinkingChoice& choice) {
  std::optional<bool> on = choice.on;
  size_t effort = 0;
  if (!choice.effort.empty()) {
    const auto at = std::ranges::find(kEfforts, std::string_view(choice.effort));
    if (at == kEfforts.end())
      fail("reasoning effort: expected one of {}, got {}", fmt::join(kEfforts, ", "),
           choice.effort);
    effort = static_cast<size_t>(at - kEfforts.begin());
    if (!on) on = effort > 0;
  }
  const Words words = words_of(format.template_source);
  Json variables = Json::object();
  if (on) {
    for (const char* name : {"enable_thinking", "thinking", "reasoning"})
      if (words.names.contains(name)) variables[name] = *on;
    if (words.names.contains("thinking_mode") && words.texts.contains("disabled"))
      variables["thinking_mode"] = *on ? "enabled" : "disabled";
    if (words.names.contains("thinking_option") && words.texts.contains("off"))
      variables["thinking_option"] = *on ? "on" : "off";
    // Seed-OSS counts tokens: none, or as many as it likes.
    if (words.names.contains("thinking_budget")) variables["thinking_budget"] = *on ? -1 : 0;
  }
  const bool has_switch = !variables.empty();
  for (const char* name : {"reasoning_effort", "thinking_effort", "reasoning_strength"}) {
    if (!words.names.contains(name)) continue;
    if (on && !*on) {
      // The switch is what turns it off, where there is one.
      if (words.texts.contains("no_think"))
        variables[name] = "no_think";
      else if (!has_switch)
        variables[name] = nearest(words, 2);
    } else if (effort > 0) {
      variables[name] = nearest(words, effort);
    } else if (on && words.texts.contains("no_think")) {
      variables[name] = "high";
    }
  }
  if (variables.empty()) return std::nullopt;
  return variables;
}

}  // namespace outboard::chat
