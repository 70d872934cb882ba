#include "support/nearest.h"

#include <algorithm>
#include <cctype>
#include <cstddef>

namespace outboard {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

size_t distance(std::string_view a, std::string_view b) {
  // Rows of the table: two before, before, this one.
  std::vector<size_t> older(b.size() + 1), old(b.size() + 1), now(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) now[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    std::swap(older, old);
    std::swap(old, now);
    now[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = a[i - 1] == b[j - 1];
      now[j] = std::min({old[j] + 1, now[j - 1] + 1, old[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = std::min(now[j], older[j - 2] + 1);
    }
  }
  return now[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& words) {
  constexpr size_t kLettersAMistake = 3, kShortestBeginning = 3;
  const std::string asked = lower(word);
  std::string best;
  size_t least = std::max<size_t>(1, asked.size() / kLettersAMistake) + 1;
  for (const std::string& known : words) {
    const std::string name = lower(known);
    const bool begins = asked.size() >= kShortestBeginning && name.starts_with(asked);
    const size_t far = begins ? std::min<size_t>(1, least - 1) : distance(asked, name);
    // One letter is near to any other: that says nothing.
    if (far >= least || far >= std::max(asked.size(), name.size())) continue;
    least = far;
    best = known;
  }
  return best;
}

}  // namespace outboard
