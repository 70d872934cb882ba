// One file over HTTP, resumed where it stopped.
#pragma once

#include <filesystem>
#include <string>

namespace outboard::hub {

// Downloads url into `destination`. While it runs the data lies in "DESTINATION.part"; what is
// there already is continued if the server allows it. sha256 (64 hexadecimal digits, or empty):
// checked before the file gets its name; where it is empty and the server tells the file's SHA-256
// (X-Linked-ETag), that one is checked. A file that fails the check is removed. Throws Error; after
// a broken connection the part stays, so that the same call continues.
void download(const std::string& url, const std::filesystem::path& destination, std::string sha256,
              const std::string& label);

// The same, but false when the server says that there is no such file (404).
bool download_if_there(const std::string& url, const std::filesystem::path& destination,
                       const std::string& label);

// SHA-256 of a file in hexadecimal.
std::string sha256_of(const std::filesystem::path& path);

}  // namespace outboard::hub
