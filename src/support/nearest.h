// What somebody may have meant by a word that there is not.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace outboard {

// Of the words the one that is nearest: letters left out, added, changed or swapped with the next
// one (the optimal string alignment distance), at most one for every three letters. A word that
// `word` begins is near, too. Case does not count. Empty: none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& words);

}  // namespace outboard
