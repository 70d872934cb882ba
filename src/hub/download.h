// One file over HTTP, resumed where it stopped.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "hub/origin.h"

namespace outboard::hub {

struct DownloadOptions {
  std::string label;            // of the progress line
  std::string sha256;           // 64 hexadecimal digits, or empty: not known
  FileVersion known = {};       // what is here already: fetched only where the server has another
  bool replace = false;         // else a destination that is there by then is left alone
  bool may_be_missing = false;  // a 404 is an answer, not an error
  // Looks at the whole file before it gets its name. is_length_known: the server told how long it
  // is, and so long it is. Throws Error to refuse it.
  std::function<void(const std::filesystem::path& file, bool is_length_known)> check;
};

// Downloads url into `destination`. While it runs the data lies in "DESTINATION.part", and beside
// it what the part is a part of: its address, its version (the server's ETag, or the date of its
// last change) and its length. The part is continued only where all three are still the same
// (If-Range); else, and where the server tells no version and no hash is known, all of it is
// fetched anew.
//
// Checked before the file gets its name: the length, the SHA-256 if it is given or told by the
// server (X-Linked-ETag), and options.check. A file that fails is removed. Throws Error; after a
// broken connection the part stays where it can be continued.
enum class Downloaded {
  kFetched,
  kMissing,   // there is no such file, which may be
  kWasThere,  // another program put a file there meanwhile
  kUpToDate,  // the server has what options.known says
};
struct Download {
  Downloaded outcome;
  FileVersion version;  // of what was fetched
};
Download download(const std::string& url, const std::filesystem::path& destination,
                  const DownloadOptions& options);

// SHA-256 of a file in hexadecimal.
std::string sha256_of(const std::filesystem::path& path);

}  // namespace outboard::hub
