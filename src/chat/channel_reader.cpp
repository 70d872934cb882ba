// OpenAI's harmony: an answer is messages, each with a header that says where it goes.
//   <|start|>assistant<|channel|>analysis<|message|>...<|end|>
//   <|start|>assistant to=functions.NAME<|channel|>commentary
//   <|constrain|>json<|message|>{}<|call|>
//   <|start|>assistant<|channel|>final<|message|>...<|return|>
// (OpenAI's "harmony response format" guide.) The prompt has written the first
// `<|start|>assistant`.
#include <algorithm>
#include <array>
#include <utility>

#include "chat/readers.h"

namespace outboard::chat {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

enum Mark : unsigned { kStart, kChannel, kMessage, kConstrain, kEnd, kReturn, kCall };
constexpr uint64_t bit(unsigned mark) { return uint64_t{1} << mark; }
constexpr uint64_t kEnds = bit(kEnd) | bit(kReturn) | bit(kCall);
constexpr uint64_t kBegins = bit(kStart) | bit(kChannel);

class ChannelReader : public Reader {
 public:
  ChannelReader(const Format& answer_format, ReaderOptions reader_options)
      : Reader(answer_format, std::move(reader_options)),
        finder_(format, {"<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>",
                         "<|return|>", "<|call|>"}),
        part_(options.thinking_open ? Part::kThinking : Part::kHeader) {}

  void read(bool last) override {
    while (step(last)) {
    }
  }
  bool thinking() const override { return part_ == Part::kThinking; }

 private:
  enum class Part { kHeader, kThinking, kContent, kArguments };

  bool step(bool last) {
    switch (part_) {
      case Part::kHeader:
        return header(last);
      case Part::kArguments:
        return arguments(last);
      default:
        return body(last);
    }
  }

  // The header up to <|message|>. An answer that begins with other words has none: content.
  bool header(bool last) {
    if (held.size() == 0) return false;
    const std::string_view text = held.text();
    const size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) {
      if (last) held.remove(held.size());
      return false;
    }
    if (!is_header(text, first, last)) {
      if (waits_) return false;
      part_ = Part::kContent;
      return true;
    }
    const auto found = finder_.first(held, looked_, bit(kMessage) | kEnds, last);
    looked_ = found.at;
    if (found.marker == MarkerFinder::kNone) {
      if (!last) return false;
      // Cut off. What names a function is the beginning of a call; else it is structure only.
      if (recipient(text).empty()) return forget(text.size());
      events.content(text);
      return forget(text.size());
    }
    // A header that begins anew counts from there.
    const std::string_view all = text.substr(0, found.at);
    const size_t channel = all.rfind("<|channel|>");
    const std::string_view words =
        channel != std::string_view::npos && all.find("<|channel|>") != channel
            ? all.substr(channel)
            : all;
    if (found.marker != kMessage) {  // a message without a body
      if (!recipient(words).empty()) events.content(text.substr(0, found.at + found.length));
      return forget(found.at + found.length);
    }
    function_ = recipient(words);
    header_ = found.at + found.length;
    looked_ = header_;
    if (!function_.empty()) {
      part_ = Part::kArguments;
      return true;
    }
    part_ = words.find("analysis") != std::string_view::npos ? Part::kThinking : Part::kContent;
    return forget(header_);
  }

  // What the model writes in front of a body begins with one of these.
  bool is_header(std::string_view text, size_t first, bool last) {
    waits_ = false;
    const auto found = finder_.first(held, first, kBegins | kEnds | bit(kMessage), last);
    if (found.at == first) {
      if (found.marker != MarkerFinder::kNone) return true;
      waits_ = true;
      return false;
    }
    const std::string_view rest = text.substr(first);
    for (const std::string_view word : {std::string_view("to="), std::string_view("assistant")}) {
      if (rest.starts_with(word)) return true;
      if (!last && word.starts_with(rest)) waits_ = true;
    }
    return false;
  }

  // NAME of to=functions.NAME. Other recipients are tools as well, but for the assistant itself.
  static std::string recipient(std::string_view words) {
    const size_t to = words.find("to=");
    if (to == std::string_view::npos) return {};
    std::string_view name = words.substr(to + 3);
    name = name.substr(0, name.find_first_of(" \t\r\n<"));
    if (name.starts_with("functions.")) name.remove_prefix(10);
    return name == "assistant" ? std::string() : std::string(name);
  }

  bool body(bool last) {
    if (held.size() == 0) return false;
    const auto found = finder_.first(held, 0, kBegins | kEnds, last);
    const std::string_view text = held.text().substr(0, found.at);
    std::string plain;
    for (size_t i = 0; i < text.size(); ++i)
      if (!held.is_control(i)) plain += text[i];
    if (part_ == Part::kThinking)
      events.reasoning(plain);
    else
      events.content(plain);
    if (found.marker == MarkerFinder::kNone) {
      held.remove(found.at);
      return false;
    }
    part_ = Part::kHeader;
    const bool is_end = (kEnds >> found.marker & 1) != 0;
    return forget(found.at + (is_end ? found.length : 0));
  }

  // The whole body, since only that shows whether it is a call. `held` begins with the header.
  bool arguments(bool last) {
    const auto found = finder_.first(held, looked_, kBegins | kEnds, last);
    looked_ = found.at;
    if (options.parse_tools && options.calls_are_held) return held_arguments(found, last);
    if (found.marker == MarkerFinder::kNone && !last) return false;
    const bool is_end = found.marker != MarkerFinder::kNone && (kEnds >> found.marker & 1) != 0;
    const std::string_view json = held.text().substr(header_, found.at - header_);
    const std::string repaired = repaired_json(json);
    Call call{function_, "", ""};
    const auto value = nlohmann::ordered_json::parse(repaired, nullptr, false);
    if (options.parse_tools && (value.is_object() || repaired.empty()) &&
        arguments_of(repaired.empty() ? nlohmann::ordered_json() : value, call.arguments) &&
        (found.marker != MarkerFinder::kNone || !repaired.empty()))
      events.call(call);
    else
      events.content(held.text().substr(0, found.at + (is_end ? found.length : 0)));
    part_ = Part::kHeader;
    return forget(found.at + (is_end ? found.length : 0));
  }

  // As they are written.
  bool held_arguments(const MarkerFinder::Found& found, bool last) {
    if (!std::exchange(told_, true)) {
      events.begin_call({function_, "", ""});
      held.remove(header_);
      header_ = looked_ = 0;
      return true;
    }
    events.more_arguments(held.text().substr(0, found.at));
    held.remove(found.at);
    looked_ = 0;
    if (found.marker == MarkerFinder::kNone && !last) return false;
    events.end_call();
    told_ = false;
    part_ = Part::kHeader;
    const bool is_end = found.marker != MarkerFinder::kNone && (kEnds >> found.marker & 1) != 0;
    return forget(is_end ? found.length : 0) || held.size() > 0;
  }

  // With escapes for raw line breaks in strings; as it is where it is no JSON.
  static std::string repaired_json(std::string_view text) {
    const size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    JsonScanner scanner;
    for (size_t i = first; i < text.size(); ++i) {
      const auto state = scanner.feed(text[i]);
      if (state == JsonScanner::State::kBroken) break;
      if (state == JsonScanner::State::kDone)
        return scanner.text() + std::string(text.substr(i + 1));
    }
    return std::string(text);
  }

  bool forget(size_t count) {
    held.remove(count);
    looked_ = 0;
    return count > 0;
  }

  const MarkerFinder finder_;
  Part part_;
  bool waits_ = false;  // is_header() can't tell yet
  size_t looked_ = 0;   // up to here no marker stands
  size_t header_ = 0;   // kArguments: its bytes
  std::string function_;
  bool told_ = false;  // the call's beginning
};

}  // namespace

std::unique_ptr<Reader> make_channel_reader(const Format& format, ReaderOptions options) {
  return std::make_unique<ChannelReader>(format, std::move(options));
}

}  // namespace outboard::chat
