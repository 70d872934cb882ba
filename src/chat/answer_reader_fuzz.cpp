// libFuzzer: any text is an answer in every family's format, cut wherever one likes, and nothing of
// it gets lost but markers and blanks. The first byte chooses the format, the second the options;
// text in FE and FD bytes arrives as a control token.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "chat/test_support.h"

namespace {

using namespace outboard::chat;

const std::array<Format, 20> kFormats = {
    detect(""),
    detect("<tool_call><think>"),
    detect("<tool_call><function=x><parameter=y><think>"),
    detect("seed:tool_call seed:think"),
    detect("minimax:tool_call <think>"),
    detect("DSML function_calls <think>"),
    detect("<function name=\"<param name=\""),
    detect("<tool_call><arg_key><think>"),
    detect("<|python_tag|>"),
    detect("[TOOL_CALLS]"),
    detect("[TOOL_CALLS][ARGS][THINK]"),
    detect("<|tool_call>call: <|channel>thought"),
    detect("<start_function_call>"),
    detect("functools"),
    detect("<|START_THINKING|><|START_ACTION|><|START_RESPONSE|>"),
    detect("<|tools_prefix|>"),
    detect("<｜tool▁call▁begin｜>```json<think>"),
    detect("<|tool_calls_section_begin|>"),
    detect("<|tool_call_start|>"),
    detect("<|channel|>"),
};

std::vector<Piece> pieces_in(std::string_view text) {
  std::vector<Piece> pieces;
  bool is_marker = false;
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("\xFE\xFD"), text.size());
    if (end > 0) pieces.push_back({std::string(text.substr(0, end)), is_marker});
    if (end == text.size()) break;
    is_marker = text[end] == '\xFE';
    text.remove_prefix(end + 1);
  }
  return pieces;
}

std::string all_of(const Answer& answer) {
  std::string text = answer.reasoning + '\0' + answer.content + '\0';
  for (const auto& [name, arguments] : answer.calls) text += name + arguments.dump();
  return text;
}

// Whether all of `part` stands in `whole`, in order.
bool is_within(std::string_view part, std::string_view whole) {
  size_t at = 0;
  for (const char c : whole)
    if (at < part.size() && part[at] == c) ++at;
  return at == part.size();
}

std::string without_blanks(std::string_view text) {
  std::string rest;
  for (const char c : text)
    if (std::string_view(" \t\r\n").find(c) == std::string_view::npos) rest += c;
  return rest;
}

// Whether the text has a marker that is left out without a call.
bool has_silent_marker(const Format& format, std::string_view text) {
  std::vector<std::string> markers = format.dropped;
  if (format.thinking) {
    markers.push_back(format.thinking->open);
    markers.push_back(format.thinking->close);
  }
  return format.calls.body == CallBody::kChannels ||
         std::ranges::any_of(markers, [&](const std::string& marker) {
           return text.find(marker) != std::string_view::npos;
         });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Format& format = kFormats[data[0] % kFormats.size()];
  const ReaderOptions options{
      (data[1] & 1) != 0, (data[1] & 2) == 0,
      nlohmann::ordered_json::parse(R"([{"function": {"name": "f", "parameters":
        {"properties": {"s": {"type": "string"}, "n": {"type": "integer"}}}}}])")};
  const auto pieces =
      pieces_in(std::string_view(reinterpret_cast<const char*>(data + 2), size - 2));
  const Answer answer = read_all(format, options, pieces);
  if (!answer.wrong.empty()) std::abort();
  if (all_of(read_all(format, options, cuts(pieces).back())) != all_of(answer)) std::abort();
  std::string text, plain;
  for (const Piece& piece : pieces) {
    text += piece.text;
    if (!piece.is_marker) plain += piece.text;
  }
  if (!is_within(answer.reasoning, text) || !is_within(answer.content, text)) std::abort();
  if (answer.calls.empty() && plain == text && !has_silent_marker(format, text) &&
      without_blanks(answer.reasoning + answer.content) != without_blanks(text))
    std::abort();
  return 0;
}
