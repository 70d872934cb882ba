// For tests: what an answer comes to, however it was cut.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/answer_reader.h"
#include "chat/format.h"

namespace outboard::chat {

// All events together. Adding an event that breaks the rules of the header says so in `wrong`.
struct Answer {
  std::string reasoning, content;
  std::vector<std::pair<std::string, nlohmann::ordered_json>> calls;  // name, arguments
  std::vector<std::string> ids;
  std::string wrong;

  void add(const Event& event) {
    switch (event.kind) {
      case Event::Kind::kReasoning:
        reasoning += event.text;
        break;
      case Event::Kind::kContent:
        content += event.text;
        break;
      case Event::Kind::kCallBegin:
        if (event.index != calls.size() || is_open_) wrong = "a call begins out of turn";
        if (event.id.empty() || std::ranges::find(ids, event.id) != ids.end())
          wrong = "an id that is not unique";
        calls.emplace_back(event.name, nullptr);
        ids.push_back(event.id);
        arguments_.clear();
        is_open_ = true;
        break;
      case Event::Kind::kCallArguments:
        if (!is_open_ || event.index + 1 != calls.size()) wrong = "arguments of no call";
        arguments_ += event.text;
        break;
      case Event::Kind::kCallEnd:
        if (!is_open_ || event.index + 1 != calls.size()) wrong = "the end of no call";
        is_open_ = false;
        if (calls.empty()) break;
        calls.back().second = nlohmann::ordered_json::parse(arguments_, nullptr, false);
        if (!calls.back().second.is_object()) wrong = "arguments that are no object: " + arguments_;
        break;
    }
  }

 private:
  std::string arguments_;
  bool is_open_ = false;
};

struct Piece {
  std::string text;
  bool is_marker;
};

// The text as a model would give it out: its control tokens one by one.
inline std::vector<Piece> pieces_of(const Format& format, std::string_view text) {
  std::vector<Piece> pieces;
  while (!text.empty()) {
    const std::string_view token = format.control_token(text);
    if (!token.empty()) {
      pieces.push_back({std::string(token), true});
      text.remove_prefix(token.size());
      continue;
    }
    if (pieces.empty() || pieces.back().is_marker) pieces.push_back({"", false});
    pieces.back().text += text[0];
    text.remove_prefix(1);
  }
  return pieces;
}

inline Answer read_all(const Format& format, const ReaderOptions& options,
                       const std::vector<Piece>& pieces) {
  AnswerReader reader(format, options);
  Answer answer;
  for (const Piece& piece : pieces)
    for (const Event& event : reader.feed(piece.text, piece.is_marker)) answer.add(event);
  for (const Event& event : reader.finish()) answer.add(event);
  if (reader.calls() != answer.calls.size()) answer.wrong = "calls() differs";
  return answer;
}

// Every way to cut the text in two, and all bytes alone (control tokens stay whole).
inline std::vector<std::vector<Piece>> cuts(const std::vector<Piece>& pieces) {
  std::vector<std::vector<Piece>> all;
  std::vector<Piece> bytes;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto& [text, is_marker] = pieces[i];
    if (is_marker) {
      bytes.push_back(pieces[i]);
      continue;
    }
    for (const char c : text) bytes.push_back({std::string(1, c), false});
    for (size_t at = 1; at < text.size(); ++at) {
      std::vector<Piece> cut(pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(i));
      cut.push_back({text.substr(0, at), false});
      cut.push_back({text.substr(at), false});
      cut.insert(cut.end(), pieces.begin() + static_cast<std::ptrdiff_t>(i) + 1, pieces.end());
      all.push_back(std::move(cut));
    }
  }
  all.push_back(std::move(bytes));
  return all;
}

}  // namespace outboard::chat
