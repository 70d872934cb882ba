#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <system_error>

#include "hub/hub.h"
#include "hub/opus.h"
#include "hub/origin.h"
#include "support/error.h"

namespace outboard::hub {

namespace fs = std::filesystem;

namespace {

bool is_model_folder(const fs::path& path) {
  return fs::is_directory(path) && path.extension() != kPullingExtension &&
         fs::exists(path / "config.json");
}

std::string origin(const fs::path& path) {
  const auto known = origin_of(path, "");
  return known ? known->shown : "";
}

// Parts after the first of a split file are shown with the first.
bool is_later_part(const std::string& stem) {
  const size_t of = stem.rfind("-of-");
  return of != std::string::npos && of >= 6 && stem.substr(of - 6, 6) != "-00001";
}

std::optional<fs::path> known_model_folder() {
  const auto from = [](const char* variable) -> std::optional<fs::path> {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return fs::path(value);
  };
  if (const auto folder = from("OUTBOARD_MODELS")) return folder;
#if defined(__APPLE__)
  if (const auto home = from("HOME")) return *home / "Library/Caches/outboard/models";
#else
  // The XDG specification: a relative path is to be ignored.
  if (const auto cache = from("XDG_CACHE_HOME"); cache && cache->is_absolute())
    return *cache / "outboard/models";
  if (const auto home = from("HOME")) return *home / ".cache/outboard/models";
#endif
  return std::nullopt;
}

}  // namespace

fs::path model_folder() {
  if (const auto folder = known_model_folder()) return *folder;
  throw Error("no folder for models: neither OUTBOARD_MODELS nor HOME is set",
              "Set OUTBOARD_MODELS to a folder.");
}

bool has_model_folder() { return known_model_folder().has_value(); }

fs::path find_model(const std::string& model) {
  std::error_code ignored;  // a path that can't be looked at does not exist for us
  if (fs::exists(model, ignored)) return model;
  if (!has_model_folder())
    throw Error(
        fmt::format("{}: no such file or folder", model),
        "Pulled models are looked for in OUTBOARD_MODELS or below HOME, and neither is set.");
  const fs::path folder = model_folder();
  if (model.find('/') == std::string::npos)
    for (const char* suffix : {".gguf", ""})
      if (fs::path path = folder / (model + suffix); fs::exists(path, ignored)) return path;
  std::vector<std::string> names;
  for (const Installed& m : installed()) names.push_back(m.name);
  std::string hint = names.empty() ? "No models have been pulled yet."
                                   : fmt::format("Pulled models: {}.", fmt::join(names, ", "));
  const auto known = catalog();
  if (is_opus_name(model) ||
      std::ranges::any_of(known, [&](const CatalogEntry& e) { return e.name == model; }))
    hint = fmt::format("`outboard pull {}` gets it.", model);
  throw Error(fmt::format("{}: no such file, folder or pulled model", model), hint);
}

std::vector<Installed> installed() {
  std::vector<Installed> models;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(model_folder(), error)) {
    const fs::path& path = entry.path();
    const std::string stem = path.stem().string();
    if (path.extension() == ".gguf" && entry.is_regular_file() && !is_later_part(stem))
      models.push_back({stem, path, entry.file_size(), origin(path)});
    if (is_model_folder(path)) {
      uint64_t bytes = 0;
      for (const auto& file : fs::directory_iterator(path))
        if (file.is_regular_file()) bytes += file.file_size();
      models.push_back({path.filename().string(), path, bytes, ""});
    }
  }
  std::ranges::sort(models, {}, &Installed::name);
  return models;
}

}  // namespace outboard::hub
