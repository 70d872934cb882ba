// What a translation to a file has done so far, so that a run that broke can go on.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/translator.h"

namespace outboard::cli {

// A translation and all that is known of it, without its source.
nlohmann::ordered_json to_json(const engine::Translation::Choice& choice);

// OUT.resume, beside the output: a line that says what makes the translations what they are, then a
// line a text. It is there while the work is under way and after it broke.
class TranslateJournal {
 public:
  // made_by: model and options. goes_on: with what is there, else anew. Throws Error where what is
  // there was made by something else, and where it can't be written.
  TranslateJournal(const std::string& output, const nlohmann::ordered_json& made_by, bool goes_on);
  ~TranslateJournal();  // one that holds nothing goes
  TranslateJournal(const TranslateJournal&) = delete;
  TranslateJournal& operator=(const TranslateJournal&) = delete;

  // Whether an output has one.
  static bool is_there(const std::string& output);

  // Of a run before.
  const engine::Translation* find(const std::string& source) const;
  size_t known() const { return known_.size(); }
  // Where that fails (a full disk) the person is told, and there is no journal any more.
  void add(const engine::Translation& translation);
  // All is done.
  void remove();

 private:
  void read(const nlohmann::ordered_json& made_by);

  std::filesystem::path path_;  // empty: there is none any more
  std::map<std::string, engine::Translation> known_;
  std::ofstream file_;
  bool is_empty_ = true;
};

}  // namespace outboard::cli
