// Takes out of a text what tells whose machine it comes from.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace outboard {

class Scrubber {
 public:
  // Knows this machine's: the home folder, the folder for temporary files, the user's name, the
  // host's name.
  static Scrubber of_this_machine();

  // From now on `text` is replaced. Nothing happens for an empty one.
  void add(std::string text, std::string replacement);
  // Longer texts go first, so that what holds another is replaced as a whole.
  std::string operator()(std::string_view text) const;

 private:
  std::vector<std::pair<std::string, std::string>> rules_;
};

}  // namespace outboard
