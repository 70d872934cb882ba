#include "engine/page_store.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>

#include "support/error.h"
#include "support/sha256.h"

namespace outboard::engine {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSuffix = ".kvpage";

// In front of a page's bytes.
struct Header {
  std::array<char, 8> magic;
  PageStore::Key key;
  uint64_t bytes;
  uint64_t checksum;
};
constexpr std::array<char, 8> kMagic = {'O', 'B', 'K', 'V', 'P', 'A', 'G', '1'};

// For disks that forget, not for people who lie: eight bytes at a time, each by a multiplication
// and a rotation.
uint64_t checksum_of(std::span<const std::byte> bytes) {
  constexpr uint64_t kFactor = 0x9E3779B97F4A7C15;
  uint64_t sum = bytes.size() * kFactor;
  const auto add = [&](uint64_t word) { sum = std::rotl((sum ^ word) * kFactor, 29); };
  size_t at = 0;
  for (; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    add(word);
  }
  for (; at < bytes.size(); ++at) add(std::to_integer<uint64_t>(bytes[at]));
  return sum;
}

}  // namespace

PageStore::PageStore(fs::path folder, uint64_t limit, std::string_view identity)
    : folder_(std::move(folder)), limit_(limit), root_(sha256(std::as_bytes(std::span(identity)))) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (!error) fs::permissions(folder_, fs::perms::owner_all, error);
  if (error)
    throw Error(
        fmt::format("the cache folder {} can't be used: {}", folder_.string(), error.message()),
        "Name another with --cache-dir.");
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    if (entry.path().extension() != kSuffix) continue;
    std::error_code gone;  // by another program
    const uint64_t bytes = entry.file_size(gone);
    const auto used = entry.last_write_time(gone);
    if (gone) continue;
    files_[entry.path().filename().string()] = {bytes, used};
    bytes_ += bytes;
  }
  if (error) fail("the cache folder {} can't be read: {}", folder_.string(), error.message());
}

PageStore::Key PageStore::next(const Key& before, std::span<const int32_t> tokens) {
  std::vector<std::byte> all(before.begin(), before.end());
  const auto bytes = std::as_bytes(tokens);
  all.insert(all.end(), bytes.begin(), bytes.end());
  return sha256(all);
}

PageStore::Key PageStore::beside(const Key& page, std::string_view what) {
  std::vector<std::byte> all(page.begin(), page.end());
  const auto kind = std::as_bytes(std::span(what));
  all.insert(all.end(), kind.begin(), kind.end());
  return sha256(all);
}

PageStore::Key PageStore::snapshot_at(const Key& page) { return beside(page, "snapshot"); }

PageStore::Key PageStore::window_at(const Key& page) { return beside(page, "window"); }

std::string PageStore::name_of(const Key& key) { return to_hex(key) + std::string(kSuffix); }

void PageStore::drop(const std::string& name) {
  std::error_code ignored;  // gone already
  fs::remove(folder_ / name, ignored);
  const auto it = files_.find(name);
  if (it == files_.end()) return;
  bytes_ -= it->second.bytes;
  files_.erase(it);
}

bool PageStore::load(const Key& key, std::span<std::byte> page) {
  const std::string name = name_of(key);
  const auto known = files_.find(name);
  if (known == files_.end()) return false;
  std::ifstream file(folder_ / name, std::ios::binary);
  Header header{};
  if (!file) {  // another program made place
    drop(name);
    return false;
  }
  file.read(reinterpret_cast<char*>(&header), sizeof(header));
  file.read(reinterpret_cast<char*>(page.data()), static_cast<std::streamsize>(page.size()));
  const bool whole = file && file.peek() == std::ifstream::traits_type::eof();
  if (!whole || header.magic != kMagic || header.key != key || header.bytes != page.size() ||
      header.checksum != checksum_of(page)) {
    ++damaged_;
    drop(name);
    return false;
  }
  std::error_code ignored;  // then it looks older than it is
  known->second.used = fs::file_time_type::clock::now();
  fs::last_write_time(folder_ / name, known->second.used, ignored);
  return true;
}

void PageStore::save(const Key& key, std::span<const std::byte> page) {
  const std::string name = name_of(key);
  const uint64_t bytes = sizeof(Header) + page.size();
  if (bytes > limit_ || files_.contains(name)) return;
  while (bytes_ + bytes > limit_) {
    const auto oldest = std::ranges::min_element(
        files_, [](const auto& a, const auto& b) { return a.second.used < b.second.used; });
    drop(std::string(oldest->first));
  }
  const Header header{kMagic, key, page.size(), checksum_of(page)};
  const fs::path part = folder_ / (name + ".part");
  {
    std::ofstream file(part, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(&header), sizeof(header));
    file.write(reinterpret_cast<const char*>(page.data()),
               static_cast<std::streamsize>(page.size()));
    file.close();
    if (!file) {
      std::error_code ignored;  // what is told below matters more
      fs::remove(part, ignored);
      throw Error(fmt::format("the cache folder {} can't be written to", folder_.string()),
                  "Is the disk full? --cache-size makes it smaller.");
    }
  }
  std::error_code error;
  fs::permissions(part, fs::perms::owner_read | fs::perms::owner_write, error);
  if (!error) fs::rename(part, folder_ / name, error);
  if (error) fail("the cache folder {} can't be written to: {}", folder_.string(), error.message());
  files_[name] = {bytes, fs::file_time_type::clock::now()};
  bytes_ += bytes;
}

}  // namespace outboard::engine
