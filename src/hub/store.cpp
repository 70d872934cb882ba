#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <system_error>

#include "hub/hub.h"
#include "hub/opus.h"
#include "hub/origin.h"
#include "support/error.h"
#include "support/nearest.h"

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
  if (const auto path = installed_path(model)) return *path;
  std::vector<std::string> names;
  for (const Installed& m : installed()) names.push_back(m.name);
  std::string hint = names.empty() ? "No models have been pulled yet."
                                   : fmt::format("Pulled models: {}.", fmt::join(names, ", "));
  std::vector<std::string> known;
  for (const CatalogEntry& entry : catalog()) known.push_back(entry.name);
  if (is_opus_name(model) || std::ranges::find(known, model) != known.end()) {
    hint = fmt::format("`outboard pull {}` gets it.", model);
  } else if (const std::string near = nearest(model, names); !near.empty()) {
    hint = fmt::format("Did you mean {}? {}", near, hint);
  } else if (const std::string other = nearest(model, known); !other.empty()) {
    hint = fmt::format("Did you mean {0}? `outboard pull {0}` gets it.", other);
  }
  throw Error(fmt::format("{}: no such file, folder or pulled model", model), hint);
}

std::optional<fs::path> installed_path(const std::string& name) {
  if (name.find('/') != std::string::npos || !has_model_folder()) return std::nullopt;
  std::error_code error;
  const fs::path folder = model_folder();
  for (const char* suffix : {".gguf", ""})
    if (fs::path path = folder / (name + suffix); fs::exists(path, error)) return path;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string file = entry.path().filename().string();
    if (file.starts_with(name + "-00001-of-") && file.ends_with(".gguf")) return entry.path();
  }
  return std::nullopt;
}

namespace {

// All files of a model: of a split set its parts.
std::vector<fs::path> parts_of(const fs::path& first) {
  const std::string name = first.filename().string();
  const size_t at = name.rfind("-00001-of-");
  if (at == std::string::npos || fs::is_directory(first)) return {first};
  std::vector<fs::path> parts;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(first.parent_path(), error)) {
    const std::string other = entry.path().filename().string();
    if (other.size() == name.size() && other.starts_with(name.substr(0, at + 1)) &&
        other.substr(at + 6) == name.substr(at + 6))
      parts.push_back(entry.path());
  }
  std::ranges::sort(parts);
  return parts;
}

uint64_t bytes_of(const fs::path& path) {
  std::error_code error;
  uint64_t bytes = 0;
  if (fs::is_directory(path, error)) {
    for (const auto& file : fs::recursive_directory_iterator(path, error))
      if (file.is_regular_file(error)) bytes += file.file_size(error);
  } else {
    for (const fs::path& part : parts_of(path)) bytes += fs::file_size(part, error);
  }
  return bytes;
}

fs::path use_note(const fs::path& model) {
  return model.parent_path() / ("." + model.filename().string() + ".used");
}

Installed described(std::string name, const fs::path& path) {
  std::error_code error;
  Installed model{std::move(name), path, bytes_of(path), origin(path), {}, std::nullopt};
  model.since = fs::last_write_time(path, error);
  const auto used = fs::last_write_time(use_note(path), error);
  if (!error) model.used = used;
  return model;
}

}  // namespace

std::vector<Installed> installed() {
  std::vector<Installed> models;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(model_folder(), error)) {
    const fs::path& path = entry.path();
    const std::string stem = path.stem().string();
    if (path.extension() == ".gguf" && entry.is_regular_file() && !is_later_part(stem))
      models.push_back(described(stem, path));
    if (is_model_folder(path)) models.push_back(described(path.filename().string(), path));
  }
  std::ranges::sort(models, {}, &Installed::name);
  return models;
}

Installed installed_model(std::string_view command, const std::string& name) {
  std::vector<std::string> names;
  for (Installed& model : installed()) {
    if (model.name == name || model.path.filename() == name) return std::move(model);
    names.push_back(model.name);
  }
  const std::string near = nearest(name, names);
  throw Error(
      fmt::format("{}: no pulled model is called {}", command, name),
      near.empty() ? "`outboard list` shows the models." : fmt::format("Did you mean {}?", near));
}

void note_use(const fs::path& model) {
  std::error_code error;
  if (!has_model_folder() || !fs::equivalent(model.parent_path(), model_folder(), error)) return;
  const std::ofstream note(use_note(model), std::ios::app);  // made, if it is not there
  if (note) fs::last_write_time(use_note(model), fs::file_time_type::clock::now(), error);
}

void remove_model(const Installed& model) {
  for (const fs::path& part : parts_of(model.path)) {
    std::error_code error;
    fs::remove_all(part, error);
    if (error) fail("remove {}: {}", part.string(), error.message());
    fs::remove(note_beside(part), error);
    fs::remove(use_note(part), error);
  }
}

void copy_model(const Installed& model, const std::string& name) {
  const bool is_folder = fs::is_directory(model.path);
  const bool plain = !name.empty() && name.front() != '.' && name.front() != '-' &&
                     std::ranges::all_of(name, [](unsigned char c) {
                       return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' || c == '+';
                     });
  if (!plain)
    throw Error(fmt::format("cp: \"{}\" is no name for a model", name),
                "Letters, digits and . _ - + make a name.");
  if (is_later_part(name) || name.find("-00001-of-") != std::string::npos)
    throw Error(fmt::format("cp: {} would be the name of a part", name),
                "Leave the numbers out: the parts get them.");
  for (const Installed& other : installed())
    if (other.name == name)
      throw Error(fmt::format("cp: there is a model called {} already", name),
                  fmt::format("Choose another name, or `outboard rm {}` first.", name));
  for (const fs::path& part : parts_of(model.path)) {
    // "OLD-00002-of-00003.gguf": the numbers stay.
    const std::string file = part.filename().string();
    const size_t numbers = file.rfind("-of-");
    const bool is_part = !is_folder && model.name.find("-00001-of-") != std::string::npos;
    std::string to = name;
    if (is_part) to += file.substr(numbers - 6);
    if (!is_folder && !is_part) to += ".gguf";
    const fs::path path = model.path.parent_path() / to;
    std::error_code error;
    const auto how = is_folder ? fs::copy_options::recursive : fs::copy_options::none;
    fs::copy(part, path, how | fs::copy_options::create_hard_links, error);
    if (error) {  // a file system without: a true copy
      fs::remove_all(path, error);
      fs::copy(part, path, how, error);
    }
    if (error) fail("cp: write {}: {}", path.string(), error.message());
    if (const auto from = origin_of(part, ""); from && !is_folder) {
      fs::copy_file(note_beside(part), note_beside(path), fs::copy_options::overwrite_existing,
                    error);
    }
  }
}

}  // namespace outboard::hub
