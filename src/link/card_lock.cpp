#include "link/card_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <thread>
#include <utility>

#include "support/error.h"

namespace outboard::link {
namespace {

constexpr const char* kGuardRole = "guard";

struct Holder {
  pid_t pid = 0;
  std::string role;
};

Holder read_holder(int descriptor) {
  std::array<char, 256> text{};
  const ssize_t got = ::pread(descriptor, text.data(), text.size(), 0);
  Holder holder;
  if (got <= 0) return holder;
  const char* end = text.data() + got;
  const auto [rest, error] = std::from_chars(text.data(), end, holder.pid);
  if (error == std::errc() && rest != end) holder.role = std::string(rest + 1, end);
  while (!holder.role.empty() && holder.role.back() == '\n') holder.role.pop_back();
  return holder;
}

bool lives(pid_t pid) { return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM); }

}  // namespace

CardLock::CardLock(std::string path, std::chrono::milliseconds patience) {
  // Any user may take it in turn, so everybody may write it; the sticky folder keeps it in place.
  // Not with O_CREAT at once: Linux refuses that for another user's file in such a folder.
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor_ < 0 && errno == ENOENT)
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor_ < 0) throw system_error("open the card's lock file", path);
  ::fchmod(descriptor_, 0666);  // fails for a file of another user's, who has done it already
  const auto start = std::chrono::steady_clock::now();
  while (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const Holder holder = read_holder(descriptor_);
    const bool passing = !lives(holder.pid) || holder.role == kGuardRole;
    if (passing && std::chrono::steady_clock::now() - start < patience) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      continue;
    }
    ::close(descriptor_);
    if (holder.role == kGuardRole) {
      throw Error(
          fmt::format("the card is held by process {}, which guards it after its program "
                      "ended and could not put it to rest ({})",
                      holder.pid, path),
          fmt::format("Power the enclosure off, then end that process: kill {}", holder.pid));
    }
    throw Error(fmt::format("the card is held by process {}{}{} (lock file {})", holder.pid,
                            holder.role.empty() ? "" : ": ", holder.role, path),
                "One program can use the card at a time. End that one first.");
  }
}

CardLock CardLock::inherited(int descriptor) {
  CardLock out;
  out.descriptor_ = descriptor;
  return out;
}

CardLock::~CardLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

CardLock::CardLock(CardLock&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

CardLock& CardLock::operator=(CardLock&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

void CardLock::sign(const std::string& role) const {
  if (descriptor_ < 0) return;
  const std::string text = fmt::format("{} {}\n", ::getpid(), role);
  // The lock holds whether or not its holder is named.
  if (::ftruncate(descriptor_, 0) != 0) return;
  if (::pwrite(descriptor_, text.data(), text.size(), 0) < 0) return;
}

std::string lock_path(const std::string& link_name) {
  std::string plain;
  for (const char c : link_name) plain += c == '/' || c == ':' ? '-' : c;
  // Not TMPDIR: two users' folders would make two locks for one card.
  return "/tmp/outboard-" + plain + ".lock";
}

}  // namespace outboard::link
