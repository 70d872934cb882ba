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

// Of a pulled name alone: nothing where there is none. "NAME" stands for the parts of a split set,
// too.
std::optional<std::filesystem::path> installed_path(const std::string& name);

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

// Gets a model and returns its path in the model folder (of a split set, its first part): WHAT is a
// name from the catalog ("smollm2", "qwen3-8b"; "firmware" gets the card's images and returns their
// folder), a translation model of Helsinki-NLP (opus.h), an http(s) or file URL,
// hf:OWNER/REPO/FILE, or hf:OWNER/REPO and hf:OWNER/REPO:TYPE, where the file is chosen from what
// the hub lists (hf_repository.h). A partial download is continued (download.h); length, hash and
// format are checked as far as they are known; the final name appears only when all is well. Of
// what is here already the server is asked whether it has another version, and that is fetched;
// where nobody answers, what is here stays. A file of that name that came from elsewhere is
// refused. Shows progress in bytes on a terminal. Throws Error for a wrong name, a network or
// server that fails, a wrong hash, a full disk.
struct PullOptions {
  bool force = false;                               // get it anew and replace what is here
  std::function<void(std::string_view)> on_notice;  // what a person should know
};
std::filesystem::path pull(const std::string& what, const PullOptions& options = {});

// Names that pull knows.
struct CatalogEntry {
  std::string name;
  std::string description;  // a line
  uint64_t parameters;      // about; 0: no model
  uint64_t bytes;           // about
  std::string from;         // "hf:OWNER/REPO:TYPE"; empty: elsewhere
};
std::vector<CatalogEntry> catalog();

}  // namespace outboard::hub
