// For the engine's tests: tiny models as files that nobody else has.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "models/tiny_model.h"

namespace outboard::engine {

inline std::filesystem::path temporary_model_path() {
  static int count = 0;
  return std::filesystem::temp_directory_path() /
         fmt::format("outboard_{}_{}.gguf", ::getpid(), ++count);
}

// Written when it is made, removed at its end.
class TinyFile {
 public:
  explicit TinyFile(const std::string& architecture) : path_(temporary_model_path()) {
    models::write_tiny_model(path_, architecture);
  }
  ~TinyFile() { std::filesystem::remove(path_); }
  TinyFile(const TinyFile&) = delete;
  TinyFile& operator=(const TinyFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace outboard::engine
