// Where models come from and where they lie on this machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace outboard::hub {

// The folder that pulled models lie in: $OUTBOARD_MODELS, else the system's cache folder for
// programs (~/.cache/outboard/models, on macOS ~/Library/Caches/outboard/models). Not created by
// asking. Throws Error where nothing says which (no HOME); has_model_folder() asks without.
std::filesystem::path model_folder();
bool has_model_folder();

// The file or Hugging Face folder that MODEL names: a path that exists, else a pulled name
// ("smollm2" or "smollm2.gguf"). Throws Error with a hint that says how to pull it, or which names
// are there.
std::filesystem::path find_model(const std::string& model);

struct Installed {
  std::string name;
  std::filesystem::path path;
  uint64_t bytes;    // of all parts
  std::string from;  // where it was pulled from; empty: not known
  std::filesystem::file_time_type since;
  std::optional<std::filesystem::file_time_type> used;  // last, see note_use()
};
// Pulled models by name.
std::vector<Installed> installed();
// One of them, by its name with or without ".gguf". Throws Error that begins with the command, with
// the nearest name that there is.
Installed installed_model(std::string_view command, const std::string& name);

// Notes that a model of the store is used now. Nothing for other files, or where it can't be
// written: nobody must suffer from it.
void note_use(const std::filesystem::path& model);

// Removes a pulled model: all of its parts and what was noted of it. Throws Error.
void remove_model(const Installed& model);
// Gives a pulled model a second name. The bytes are shared where the file system can, so that it
// takes no room. Throws Error when the name is taken or none for a file.
void copy_model(const Installed& model, const std::string& name);

// Gets a model and returns its path in the model folder: WHAT is a name from the catalog
// ("smollm2", "gemma3-270m"; "firmware" gets the card's images and returns their folder), a
// translation model of Helsinki-NLP (opus.h), an http(s) or file URL, or hf:OWNER/REPO/FILE. A
// partial download is continued (download.h); length, hash and format are checked as far as they
// are known; the final name appears only when all is well. What is here already is not asked for
// again, but a file of that name that came from elsewhere is refused. Shows progress in bytes on a
// terminal. Throws Error for a wrong name, a network or server that fails, a wrong hash, a full
// disk.
struct PullOptions {
  bool force = false;                               // get it anew and replace what is here
  std::function<void(std::string_view)> on_notice;  // what a person should know
};
std::filesystem::path pull(const std::string& what, const PullOptions& options = {});

// Names that pull knows, with a line about each.
struct CatalogEntry {
  std::string name;
  std::string description;
};
std::vector<CatalogEntry> catalog();

}  // namespace outboard::hub
