#include "formats/zip_folder.h"

#include <unistd.h>  // mkdtemp, on a Mac

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

#include "formats/file_kind.h"
#include "formats/hf_folder.h"
#include "formats/zip_archive.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

// A new folder that is removed again.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string path = (fs::temp_directory_path() / "outboard-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) throw system_error("create folder", path);
    path_ = path;
  }
  ~TemporaryFolder() {
    std::error_code ignored;  // what can't be removed is the system's to clean
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// "NAME/" where all files lie in that folder, else nothing.
std::string_view common_folder(const ZipArchive& archive) {
  if (archive.members().empty()) return {};
  const std::string_view first = archive.members().front().name;
  const std::string_view folder = first.substr(0, first.find('/') + 1);
  const bool common = std::all_of(
      archive.members().begin(), archive.members().end(),
      [&](const ZipArchive::Member& member) { return member.name.starts_with(folder); });
  return common ? folder : std::string_view{};
}

bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

void unpack(const ZipArchive& archive, const fs::path& folder) {
  const std::string_view top = common_folder(archive);
  for (const ZipArchive::Member& member : archive.members()) {
    const std::string_view name = std::string_view(member.name).substr(top.size());
    if (!is_plain_name(name)) continue;
    const std::vector<std::byte> bytes = archive.read(member);
    const fs::path path = folder / name;
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) throw system_error("write", path.string());
  }
}

// PyTorch's and NumPy's files are ZIP archives, too.
void refuse_weights(const fs::path& path, const ZipArchive& archive) {
  const auto has = [&](std::string_view end) {
    return std::ranges::any_of(archive.members(), [&](const ZipArchive::Member& member) {
      return member.name.ends_with(end);
    });
  };
  if (has("config.json") || has("decoder.yml")) return;
  if (has("/data.pkl")) throw alone(path, "a PyTorch file: weights alone");
  if (has(".npy")) throw alone(path, "a NumPy archive (npz): weights alone");
}

// The messages of what lies in the archive name the archive.
std::string named_after(const fs::path& archive, std::string message, const fs::path& folder) {
  const std::string from = folder.string();
  for (size_t at = message.find(from); at != std::string::npos; at = message.find(from, at)) {
    message.replace(at, from.size(), archive.string());
    at += archive.string().size();
  }
  return message;
}

}  // namespace

Model open_zipped_folder(const fs::path& path, std::span<const HfFamily> families) {
  const TemporaryFolder folder;
  try {
    const MappedFile file(path);
    const ZipArchive archive(file.bytes());
    refuse_weights(path, archive);
    unpack(archive, folder.path());
    Model model = open_hf_folder(folder.path(), families);
    model.path = path;
    return model;
  } catch (const Error& error) {
    std::string message = named_after(path, error.message(), folder.path());
    if (message.find(path.string()) == std::string::npos) message = path.string() + ": " + message;
    throw Error(std::move(message), error.hint());
  }
}

}  // namespace outboard::formats
