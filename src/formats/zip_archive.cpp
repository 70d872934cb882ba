#include "formats/zip_archive.h"

#include <zip.h>

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "support/error.h"

namespace outboard::formats {
namespace {

// Weights hardly shrink and text shrinks to a tenth; deflate's limit is a thousandth.
constexpr uint64_t kMaxGrowth = 64;
constexpr uint64_t kSmall = uint64_t{16} << 20;  // bytes that no archive needs to justify
constexpr uint64_t kMaxMembers = 100'000;

}  // namespace

bool is_zip(std::span<const std::byte> file) {
  return file.size() >= 4 &&
         (std::memcmp(file.data(), "PK\3\4", 4) == 0 || std::memcmp(file.data(), "PK\5\6", 4) == 0);
}

ZipArchive::ZipArchive(std::span<const std::byte> file) {
  zip_error_t error;
  zip_error_init(&error);
  const std::unique_ptr<zip_error_t, decltype(&zip_error_fini)> error_owner(&error,
                                                                            &zip_error_fini);
  zip_source_t* source = zip_source_buffer_create(file.data(), file.size(), 0, &error);
  if (source == nullptr) fail("ZIP archive: {}", zip_error_strerror(&error));
  zip_t* opened = zip_open_from_source(source, ZIP_RDONLY, &error);
  if (opened == nullptr) {
    zip_source_free(source);
    throw Error(fmt::format("ZIP archive: {}", zip_error_strerror(&error)),
                "The file is incomplete or damaged: get it again.");
  }
  archive_ = std::shared_ptr<zip_t>(opened, &zip_discard);

  const auto count = static_cast<uint64_t>(zip_get_num_entries(opened, 0));
  if (count > kMaxMembers) {
    fail("ZIP archive: found {} members, expected at most {}", count, kMaxMembers);
  }
  uint64_t left = std::max<uint64_t>(file.size(), 1) * kMaxGrowth + kSmall;
  std::unordered_set<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    zip_stat_t stat;
    if (zip_stat_index(opened, i, 0, &stat) != 0) {
      fail("ZIP archive: member {}: {}", i, zip_strerror(opened));
    }
    constexpr zip_uint64_t kNeeded = ZIP_STAT_NAME | ZIP_STAT_SIZE;
    if ((stat.valid & kNeeded) != kNeeded) fail("ZIP archive: member {}: no name or size", i);
    const std::string name = stat.name;
    if (!names.insert(name).second) fail("ZIP archive: found the member {} twice", name);
    if (stat.size > left) {
      throw Error(fmt::format("ZIP archive: member {}: found {} bytes, more than an archive of {} "
                              "bytes may hold",
                              name, stat.size, file.size()),
                  "The archive is damaged, or made to fill the memory.");
    }
    left -= stat.size;
    members_.push_back({name, i, stat.size});
  }
}

const ZipArchive::Member* ZipArchive::find(std::string_view name) const {
  const auto place = std::find_if(members_.begin(), members_.end(),
                                  [&](const Member& member) { return member.name == name; });
  return place == members_.end() ? nullptr : &*place;
}

std::vector<std::byte> ZipArchive::read(const Member& member) const {
  const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(
      zip_fopen_index(archive_.get(), member.index, 0), &zip_fclose);
  if (!file) fail("ZIP archive: member {}: {}", member.name, zip_strerror(archive_.get()));
  std::vector<std::byte> bytes(member.bytes);
  size_t done = 0;
  std::byte extra{};  // the checksum is compared when the end is read
  for (;;) {
    const bool full = done == bytes.size();
    const zip_int64_t count = zip_fread(file.get(), full ? &extra : bytes.data() + done,
                                        full ? sizeof(extra) : bytes.size() - done);
    if (count < 0) {
      throw Error(
          fmt::format("ZIP archive: member {}: {}", member.name, zip_file_strerror(file.get())),
          "The file is incomplete or damaged: get it again.");
    }
    if (count == 0) break;
    if (full) fail("ZIP archive: member {}: found more than its {} bytes", member.name, done);
    done += static_cast<size_t>(count);
  }
  if (done != bytes.size()) {
    fail("ZIP archive: member {}: found {} bytes, expected {}", member.name, done, bytes.size());
  }
  return bytes;
}

}  // namespace outboard::formats
