// One program a card: a lock file that says who holds it.
#pragma once

#include <chrono>
#include <string>

namespace outboard::link {

// Held until destroyed, or until every process that inherited the descriptor has ended.
class CardLock {
 public:
  CardLock() = default;
  // Takes the lock at `path`. A holder that lives is named in the Error at once; one that has just
  // died is waited for (its guard puts the card to rest), up to `patience`.
  CardLock(std::string path, std::chrono::milliseconds patience);
  // Takes over a lock whose descriptor was inherited.
  static CardLock inherited(int descriptor);
  ~CardLock();
  CardLock(CardLock&& other) noexcept;
  CardLock& operator=(CardLock&& other) noexcept;

  int descriptor() const { return descriptor_; }  // -1: none held
  // Writes this process and what it is doing into the file.
  void sign(const std::string& role) const;

 private:
  int descriptor_ = -1;
};

// Where the lock of a card lies, given what its link is called ("tinygpu:/path").
std::string lock_path(const std::string& link_name);

}  // namespace outboard::link
