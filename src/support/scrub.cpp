#include "support/scrub.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

namespace outboard {
namespace {

// Shorter names are only taken out where they stand as words: a user named "al" must not make
// "signal" unreadable.
constexpr size_t kSureLength = 3;

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

bool stands_alone(std::string_view text, size_t at, size_t size) {
  return (at == 0 || !is_word(text[at - 1])) &&
         (at + size == text.size() || !is_word(text[at + size]));
}

std::string_view without_slashes(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  return path;
}

}  // namespace

Scrubber Scrubber::of_this_machine() {
  Scrubber out;
  const auto add_folder = [&](const char* path, const char* replacement) {
    if (path != nullptr) out.add(std::string(without_slashes(path)), replacement);
  };
  const passwd* user = ::getpwuid(::getuid());
  add_folder(std::getenv("HOME"), "(home)");
  if (user != nullptr) add_folder(user->pw_dir, "(home)");
  add_folder(std::getenv("TMPDIR"), "(temporary folder)");
  if (user != nullptr) out.add(user->pw_name, "(user)");
  for (const char* name : {"USER", "LOGNAME"}) {
    if (const char* value = std::getenv(name)) out.add(value, "(user)");
  }
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) == 0) {
    const std::string name = host.data();
    out.add(name, "(host)");
    out.add(name.substr(0, name.find('.')), "(host)");
  }
  return out;
}

void Scrubber::add(std::string text, std::string replacement) {
  if (text.empty()) return;
  rules_.emplace_back(std::move(text), std::move(replacement));
  // Long ones first: a short one may lie in them.
  std::ranges::sort(rules_, [](const auto& a, const auto& b) {
    return a.first.size() != b.first.size() ? a.first.size() > b.first.size() : a < b;
  });
}

std::string Scrubber::operator()(std::string_view text) const {
  std::string out(text);
  for (const auto& [what, replacement] : rules_) {
    for (size_t at = 0; (at = out.find(what, at)) != std::string::npos;) {
      if (what.size() < kSureLength && !stands_alone(out, at, what.size())) {
        ++at;
        continue;
      }
      out.replace(at, what.size(), replacement);
      at += replacement.size();
    }
  }
  return out;
}

}  // namespace outboard
