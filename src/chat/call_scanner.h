// Reads one tool call behind the marker that began it, while the text is still coming.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/calls_in_json.h"
#include "chat/format.h"
#include "chat/json_scanner.h"
#include "chat/tools.h"

namespace outboard::chat {

struct Call {
  std::string name;
  std::string id;         // that the model wrote; often none
  std::string arguments;  // JSON of an object
};

// The call in a JSON value that a model wrote: the keys are those in use anywhere. False where it
// is none. Arguments may also be JSON in a string.
bool call_of(const nlohmann::ordered_json& value, Call& call);
// A value that has to be an object, or JSON of one in a string, as JSON text. False where it is
// not.
bool arguments_of(const nlohmann::ordered_json& value, std::string& arguments);

class CallScanner {
 public:
  enum class State { kMore, kDone, kBroken };

  // in_section: what began is the section, and `open` still has to come.
  CallScanner(const CallSyntax& syntax, const Tools& tools, bool in_section);

  // text: all that came so far behind the marker; it only grows. last: nothing more comes. Each
  // byte is looked at a few times at most, however often this is called.
  State scan(std::string_view text, bool last);

  // After kDone: the calls, at least one, and how much of the text they are.
  const std::vector<Call>& calls() const { return calls_; }
  size_t length() const { return at_; }

  // Meanwhile: the calls as far as they are written, of formats whose calls can be told so; the
  // last may have no name yet. REQUIRES: a grammar holds the text to whole calls.
  std::vector<CallsInJson::Written> written();
  const std::string& call_id() const { return call_.id; }  // of kNamedJson, once its name has come

 private:
  enum class Stage { kOpen, kName, kId, kJson, kKey, kValue, kClose, kUntilClose };
  enum class Match { kYes, kNo, kPerhaps };

  State step();
  State name();
  State id();
  State json();
  State json_ended();
  State between_values();
  State key();
  State value();
  State close();
  State until_close();

  Match match(std::string_view word) const;
  void skip_blanks();
  State wait() const { return last_ ? State::kBroken : State::kMore; }
  void add_json(std::vector<CallsInJson::Written>& all);
  bool take_value(const nlohmann::ordered_json& value);
  bool take_braces(std::string_view text);
  bool take_python(std::string_view text);
  bool is_good_name(std::string_view name) const;
  void begin_body();

  const CallSyntax* syntax_;
  const Tools* tools_;
  std::string_view text_;
  bool last_ = false;
  size_t at_ = 0;      // what lies before was read
  size_t looked_ = 0;  // up to here a closing marker was looked for, from at_ on
  Stage stage_;
  JsonScanner json_;
  bool in_json_ = false;
  std::optional<CallsInJson> in_progress_;   // of the JSON that json_ reads
  std::vector<CallsInJson::Written> whole_;  // what of written() has ended
  Call call_;
  std::string key_;
  nlohmann::ordered_json arguments_ = nlohmann::ordered_json::object();
  std::vector<Call> calls_;
};

}  // namespace outboard::chat
