// KV pages and snapshots of slots on disk: beginnings of texts that survive a restart, or a lost
// card.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::engine {

// A file for each page, named by all tokens up to its end and by what they were computed with; and
// for each snapshot of what a sequence had come to at a page's end.
// Files are written whole or not at all, so several programs may share a folder. They hold tokens
// of conversations: only their owner may read them.
class PageStore {
 public:
  using Key = std::array<std::byte, 32>;

  // identity: of the model and of how its pages are laid out; pages of another one are never found.
  // The folder is made where it is not there. Beyond `limit` bytes, all identities together, the
  // files that were used longest ago go. Throws Error where the folder can't be used.
  PageStore(std::filesystem::path folder, uint64_t limit, std::string_view identity);

  Key beginning() const { return root_; }
  // Of a page with these tokens, behind the one with that key.
  static Key next(const Key& before, std::span<const int32_t> tokens);
  // Of the snapshot at the end of the page with that key.
  static Key snapshot_at(const Key& page);
  // Of the window page beside it.
  static Key window_at(const Key& page);

  bool has(const Key& key) const { return files_.contains(name_of(key)); }
  // False where it is not there, or not what was written: then the file goes.
  bool load(const Key& key, std::span<std::byte> page);
  // Throws Error where it can't be written.
  void save(const Key& key, std::span<const std::byte> page);

  uint64_t bytes() const { return bytes_; }
  // Files that were not what was written.
  size_t damaged() const { return damaged_; }

 private:
  static Key beside(const Key& page, std::string_view what);
  struct File {
    uint64_t bytes;
    std::filesystem::file_time_type used;
  };
  static std::string name_of(const Key& key);
  void drop(const std::string& name);

  std::filesystem::path folder_;
  uint64_t limit_;
  Key root_;
  std::map<std::string, File> files_;
  uint64_t bytes_ = 0;
  size_t damaged_ = 0;
};

}  // namespace outboard::engine
