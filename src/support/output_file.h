// A file that a command writes. Nothing that was there is lost before the new one is whole.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace outboard {

// What is at a path, links followed.
struct OutputPlace {
  enum class Kind {
    kNothing,     // a new file
    kFile,        // a regular file
    kStream,      // a character device, a pipe: written to as it is
    kBlocks,      // a block device, likewise
    kDescriptor,  // /dev/stdout, /dev/fd/N: an open file of this program
  };
  Kind kind = Kind::kNothing;
  std::filesystem::path path;  // of the file itself, not of a link to it
  int descriptor = -1;
  mode_t mode = 0;  // permissions and owner of a regular file
  uid_t user = 0;
  gid_t group = 0;

  bool is_replaced() const { return kind == Kind::kNothing || kind == Kind::kFile; }
};

// Throws Error for a folder, for links that lead in circles, for a folder that is not there or that
// can't be written to, for what nothing can be written to (a socket), and for a file that is read
// (files_in_use.h).
OutputPlace output_place(const std::filesystem::path& path);

// A regular file is written beside its name, with the permissions of what is there, and takes its
// place in finish(): whoever looks at the name sees the old file or the whole new one. Of a link,
// the file it leads to is replaced. A device or a pipe is written to. The destructor removes what
// was neither finished nor kept. Errors name the path. One thread at a time.
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  // Makes the file durable and moves it to its name.
  void finish();
  // Instead of finish(), when the work was cut short: keeps the first `bytes` of what was written
  // and returns where: under its name if nothing is there, else beside it.
  std::filesystem::path keep(uint64_t bytes);

  // For libraries that want a path of their own: a free name, and then its file as the contents.
  std::filesystem::path free_name() const;
  void take(const std::filesystem::path& file);

  uint64_t bytes_written() const { return written_; }
  const OutputPlace& place() const { return place_; }

 private:
  void close();
  void move_to_name();

  std::filesystem::path path_;  // as the person wrote it
  OutputPlace place_;
  std::filesystem::path part_;  // empty for what is not replaced
  int file_ = -1;
  uint64_t written_ = 0;
};

}  // namespace outboard
