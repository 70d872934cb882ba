#include "support/files_in_use.h"

#include <sys/stat.h>

#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "support/error.h"

namespace outboard {
namespace {

namespace fs = std::filesystem;

using Identity = std::pair<dev_t, ino_t>;

std::optional<Identity> identity(const struct stat& info) {
  if (!S_ISREG(info.st_mode)) return std::nullopt;
  return Identity{info.st_dev, info.st_ino};
}

struct Input {
  Identity file;
  std::string name;
};

struct Output {
  std::optional<Identity> file;  // nothing: it is not there yet
  fs::path place;                // without links
  std::string name;
  std::string what;
};

struct Files {
  std::mutex mutex;
  bool watched = false;
  std::vector<Input> inputs;
  std::vector<Output> outputs;
};

Files& files() {
  static Files all;
  return all;
}

[[noreturn]] void refuse(const std::string& output, const std::string& input) {
  throw Error(output == input ? fmt::format("{}: it is read, so it can't be written too", output)
                              : fmt::format("{}: this is the same file as {}, which is read, so it "
                                            "can't be written too",
                                            output, input),
              "Name another output.");
}

const Input* find_input(const std::optional<Identity>& file) {
  if (!file) return nullptr;
  for (const Input& input : files().inputs)
    if (input.file == *file) return &input;
  return nullptr;
}

void check(const std::optional<Identity>& file, const std::string& name) {
  if (const Input* input = find_input(file)) refuse(name, input->name);
}

std::optional<Identity> identity(const fs::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;  // nothing is there
  return identity(info);
}

}  // namespace

void watch_files() {
  const std::lock_guard lock(files().mutex);
  files().watched = true;
}

void note_read(int descriptor, const std::string& name) {
  const std::lock_guard lock(files().mutex);
  if (!files().watched) return;
  struct stat info{};
  if (::fstat(descriptor, &info) != 0) return;  // reading it will tell why
  const std::optional<Identity> file = identity(info);
  if (!file || find_input(file) != nullptr) return;
  for (const Output& output : files().outputs)
    if (output.file == file) refuse(output.name, name);
  files().inputs.push_back({*file, name});
}

void claim_output(const fs::path& path, std::string_view what) {
  const std::lock_guard lock(files().mutex);
  if (!files().watched) return;
  Output output{identity(path), {}, path.string(), std::string(what)};
  check(output.file, output.name);
  std::error_code error;  // a place that can't be looked at is told of when it is opened
  output.place = fs::weakly_canonical(path, error);
  for (const Output& other : files().outputs) {
    const bool same = output.file ? other.file == output.file
                                  : !other.file && !error && other.place == output.place;
    const bool shared = !output.file && fs::exists(path, error);  // a device, a pipe
    if (same && !shared && other.what != output.what)
      throw Error(fmt::format("{}: {} and {} both write to it", output.name, other.what, what),
                  "Name two files.");
  }
  files().outputs.push_back(std::move(output));
}

void claim_output(int descriptor, const std::string& name) {
  const std::lock_guard lock(files().mutex);
  struct stat info{};
  if (!files().watched || ::fstat(descriptor, &info) != 0) return;
  const std::optional<Identity> file = identity(info);
  check(file, name);
  files().outputs.push_back({file, {}, name, name});
}

void check_not_read(const fs::path& path) {
  const std::lock_guard lock(files().mutex);
  if (files().watched) check(identity(path), path.string());
}

}  // namespace outboard
