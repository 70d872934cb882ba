#include "support/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <system_error>
#include <utility>

#include "support/error.h"
#include "support/files_in_use.h"
#include "support/mapped_file.h"

namespace outboard {
namespace {

namespace fs = std::filesystem;
using Kind = OutputPlace::Kind;

constexpr int kMostLinks = 40;  // as Linux follows
constexpr mode_t kPermissions = 07777;

// "/dev/fd/3", "/proc/self/fd/3": opening these again would start at the front of the file, and
// replacing what they lead to would take it away from whoever opened it.
std::optional<int> descriptor_of(const std::string& path) {
  if (path == "/dev/stdout") return STDOUT_FILENO;
  if (path == "/dev/stderr") return STDERR_FILENO;
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(folder)) continue;
    int number = -1;
    const char* end = path.data() + path.size();
    const auto [stop, error] = std::from_chars(path.data() + folder.size(), end, number);
    if (error == std::errc() && stop == end && number >= 0) return number;
  }
  return std::nullopt;
}

// Follows links also where what they lead to is not there.
OutputPlace follow(const fs::path& path) {
  OutputPlace place;
  place.path = path;
  for (int links = 0;; ++links) {
    if (const auto descriptor = descriptor_of(place.path.string())) {
      place.kind = Kind::kDescriptor;
      place.descriptor = *descriptor;
      return place;
    }
    std::error_code error;
    if (!fs::is_symlink(fs::symlink_status(place.path, error))) return place;
    if (links == kMostLinks) fail("write {}: its links lead in circles", path.string());
    const fs::path target = fs::read_symlink(place.path, error);
    if (error) fail("write {}: {}", path.string(), error.message());
    // Of another program's descriptor (/proc/PID/fd) the text is no path.
    struct stat info{};
    const bool is_special = ::stat(place.path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);
    if (is_special && !fs::exists(place.path.parent_path() / target, error)) return place;
    place.path = place.path.parent_path() / target;  // an absolute one stands alone
  }
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

Error no_room_beside(const fs::path& path) {
  const Error error = system_error("write to folder", folder_of(path).string());
  return Error(fmt::format("create {}: {}", path.string(), error.message()),
               "A file is written beside its name and takes its place when it is whole: its folder "
               "must exist and be writable.");
}

}  // namespace

OutputPlace output_place(const fs::path& path) {
  if (path.empty()) throw Error("write: the name of the file is empty", "Name a file.");
  OutputPlace place = follow(path);
  if (place.kind == Kind::kDescriptor) return place;
  struct stat info{};
  if (::stat(place.path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode))
      throw Error(fmt::format("{}: this is a folder", path.string()), "Name a file.");
    if (S_ISCHR(info.st_mode) || S_ISFIFO(info.st_mode)) {
      place.kind = Kind::kStream;
      return place;
    }
    if (S_ISBLK(info.st_mode)) {
      place.kind = Kind::kBlocks;
      return place;
    }
    if (!S_ISREG(info.st_mode))
      throw Error(fmt::format("{}: this is neither a file nor a device nor a pipe", path.string()),
                  "Name a file.");
    place.kind = Kind::kFile;
    place.mode = info.st_mode & kPermissions;
    place.user = info.st_uid;
    place.group = info.st_gid;
    check_not_read(place.path);
  } else if (errno != ENOENT) {
    throw system_error("write", path.string());
  }
  if (::access(folder_of(place.path).c_str(), W_OK | X_OK) != 0) throw no_room_beside(place.path);
  return place;
}

OutputFile::OutputFile(const fs::path& path) : path_(path), place_(output_place(path)) {
  if (place_.kind == Kind::kDescriptor) {
    file_ = ::fcntl(place_.descriptor, F_DUPFD_CLOEXEC, 0);
  } else if (!place_.is_replaced()) {
    file_ = ::open(place_.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
  } else {
    part_ = free_name();
    file_ = ::open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file_ < 0) throw no_room_beside(place_.path);
  }
  if (file_ < 0) throw system_error("open", path_.string());
}

OutputFile::~OutputFile() {
  if (file_ < 0) return;
  ::close(file_);
  if (!part_.empty()) ::unlink(part_.c_str());
}

fs::path OutputFile::free_name() const {
  const fs::path base =
      place_.is_replaced() ? place_.path : fs::temp_directory_path() / "outboard-output";
  for (int attempt = 0;; ++attempt) {
    fs::path name = base;
    name += attempt == 0 ? fmt::format(".part-{}", ::getpid())
                         : fmt::format(".part-{}-{}", ::getpid(), attempt);
    std::error_code error;
    if (!fs::exists(fs::symlink_status(name, error))) return name;
  }
}

void OutputFile::write(std::span<const std::byte> bytes) {
  MappedFile::check_all();                 // what is written may come from one
  constexpr size_t kMostAtOnce = 1 << 30;  // macOS refuses 2^31 bytes and more
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_, bytes.data(), std::min(bytes.size(), kMostAtOnce));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const Error error = system_error("write", path_.string());
      MappedFile::check_all();  // from pages that are gone the system can't write: "Bad address"
      throw error;
    }
    bytes = bytes.subspan(static_cast<size_t>(count));
    written_ += static_cast<uint64_t>(count);
  }
}

void OutputFile::take(const fs::path& file) {
  if (part_.empty()) {
    const int from = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (from < 0) throw system_error("open", file.string());
    std::array<std::byte, 1 << 16> buffer;
    ssize_t count = 0;
    while ((count = ::read(from, buffer.data(), buffer.size())) > 0)
      write(std::span(buffer).first(static_cast<size_t>(count)));
    const Error error = system_error("read", file.string());
    ::close(from);
    ::unlink(file.c_str());
    if (count < 0) throw error;
    return;
  }
  if (::rename(file.c_str(), part_.c_str()) != 0) throw system_error("write", path_.string());
  ::close(file_);
  file_ = ::open(part_.c_str(), O_WRONLY | O_CLOEXEC);
  if (file_ < 0) throw system_error("write", path_.string());
}

void OutputFile::close() {
  if (::close(std::exchange(file_, -1)) == 0) return;
  const Error error = system_error("write", path_.string());
  if (!part_.empty()) ::unlink(part_.c_str());
  throw error;
}

void OutputFile::move_to_name() {
  // A full disk may show only here.
  if (::fsync(file_) != 0) throw system_error("write", path_.string());
  if (place_.kind == Kind::kFile) {
    // The owner stays where the system lets it (root); else the new file is this person's, and
    // permissions that only the owner can give (setuid) must not pass to him.
    const bool owned = ::fchown(file_, place_.user, place_.group) == 0;
    if (::fchmod(file_, owned ? place_.mode : place_.mode & 0777) != 0)
      throw system_error("write", path_.string());
  }
  close();
  if (::rename(part_.c_str(), place_.path.c_str()) == 0) return;
  const Error error = system_error("replace", path_.string());
  // A file that is a mount of its own can't be replaced. The work is not thrown away for that.
  throw Error(error.message(), fmt::format("What was written is in {}.", part_.string()));
}

void OutputFile::finish() {
  if (part_.empty()) return close();
  move_to_name();
}

fs::path OutputFile::keep(uint64_t bytes) {
  if (part_.empty()) {
    close();
    return path_;
  }
  if (::ftruncate(file_, static_cast<off_t>(bytes)) != 0)
    throw system_error("write", path_.string());
  std::error_code error;
  if (place_.kind == Kind::kNothing && !fs::exists(place_.path, error)) {
    move_to_name();
    return path_;
  }
  close();
  return part_;
}

}  // namespace outboard
