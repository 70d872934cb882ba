// ZIP archives from outside, read with limits: a model's archive, model.npz, pytorch_model.bin.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct zip;

namespace outboard::formats {

// "PK\3\4", or "PK\5\6" of an empty one.
bool is_zip(std::span<const std::byte> file);

// The bytes must outlive the archive. One thread at a time.
class ZipArchive {
 public:
  struct Member {
    std::string name;  // "archive/data.pkl"
    uint64_t index = 0;
    uint64_t bytes = 0;  // unpacked
  };

  // Reads the directory. Throws Error when it is damaged, names a member twice, or promises far
  // more bytes than the archive can hold (a bomb).
  explicit ZipArchive(std::span<const std::byte> file);

  const std::vector<Member>& members() const { return members_; }
  const Member* find(std::string_view name) const;  // null when absent
  // A member unpacked. Throws Error naming it when it is damaged (its checksum is checked),
  // encrypted, or packed in a way that libzip does not know.
  std::vector<std::byte> read(const Member& member) const;

 private:
  std::shared_ptr<struct zip> archive_;
  std::vector<Member> members_;
};

}  // namespace outboard::formats
