// Where a file in the store came from, in a small hidden file beside it (".NAME.origin", JSON).
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace outboard::hub {

// An address or "hf:OWNER/REPO/FILE" as messages show it: without login, query and fragment, which
// may hold secrets.
std::string shown_address(const std::string& address);

// What is kept of a whole address, to know it again: its SHA-256.
std::string hash_of_address(const std::string& address);

// The note's own file.
std::filesystem::path note_beside(const std::filesystem::path& file);

// What a server tells of a file's version; any of them may be empty.
struct FileVersion {
  std::string etag;
  std::string modified;  // the text of Last-Modified
  std::string sha256;    // 64 hexadecimal digits

  bool is_known() const { return !etag.empty() || !modified.empty() || !sha256.empty(); }
  // By what both tell: the hash, else the ETag, else the date.
  bool is_same_as(const FileVersion& other) const;
};

// Notes that the file, which is whole, came from there. Two addresses with different queries are
// two; what is kept of them is shown_address() and a SHA-256. Throws Error when it can't be
// written.
void write_origin(const std::filesystem::path& file, const std::string& address,
                  const FileVersion& version = {});

struct Origin {
  std::string shown;
  bool is_same = false;  // as the address that was asked about
  FileVersion version;
};
// Nothing when it is not known: the file was put there by hand, or changed since.
std::optional<Origin> origin_of(const std::filesystem::path& file, const std::string& address);

// What is told where nobody answers whether there is a newer one than what is here.
std::string nothing_known_of_newer(std::string_view name, std::string_view why);

// For something that pull() was asked to get: true when it is here. Throws Error when a file of
// that name came from elsewhere. Of one of unknown origin, on_notice is told and it is taken.
bool is_here(const std::filesystem::path& file, const std::string& address,
             const std::function<void(std::string_view)>& on_notice);

}  // namespace outboard::hub
