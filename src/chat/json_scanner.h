// Finds the end of a JSON value in text that comes piece by piece.
#pragma once

#include <string>
#include <vector>

namespace outboard::chat {

// One value, byte by byte. Its structure is checked as it comes, so that text which is no JSON is
// known as such at once; numbers and words only by who parses text() in the end. Raw line breaks
// and tabs within strings, which JSON forbids and models write, become escapes in text().
class JsonScanner {
 public:
  enum class State { kMore, kDone, kBroken };

  // After kDone or kBroken nothing may be fed. A number outside of objects and arrays has no end
  // that could be seen: the value has to be an object, an array or a string.
  State feed(char c);
  const std::string& text() const { return text_; }

 private:
  enum class Expect { kValue, kValueOrEnd, kKeyOrEnd, kKey, kColon, kMoreOrEnd };
  State value(char c);
  State close(char bracket);
  State ended();

  static constexpr size_t kMaxDepth = 200;
  std::string text_;
  std::vector<char> open_;  // the brackets that will close
  Expect expect_ = Expect::kValue;
  bool in_string_ = false, escaped_ = false, is_key_ = false, in_word_ = false;
};

}  // namespace outboard::chat
