// Where models come from and where they lie on this machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace outboard::hub {

// The folder that pulled models lie in: $OUTBOARD_MODELS, else the system's cache folder for
// programs
// (~/.cache/outboard/models, on macOS ~/Library/Caches/outboard/models). Not created by asking.
std::filesystem::path model_folder();

// The file or Hugging Face folder that MODEL names: a path that exists, else a pulled name
// ("smollm2" or "smollm2.gguf"). Throws Error with a hint that says how to pull it, or which names
// are there.
std::filesystem::path find_model(const std::string& model);

struct Installed {
  std::string name;
  std::filesystem::path path;
  uint64_t bytes;
};
// Pulled models by name.
std::vector<Installed> installed();

// Gets a model and returns its path in the model folder: WHAT is a name from the catalog
// ("smollm2", "gemma3-270m"; "firmware" gets the card's images and returns their folder), a
// translation model of Helsinki-NLP (opus.h), an http(s) or file URL, or hf:OWNER/REPO/FILE. A
// partial download is continued; a finished one with a known hash is checked; the final name
// appears only when all is well. Shows progress in bytes on a terminal. Throws Error for a wrong
// name, a network or server that fails, a wrong hash, a full disk.
std::filesystem::path pull(const std::string& what);

// Names that pull knows, with a line about each.
struct CatalogEntry {
  std::string name;
  std::string description;
};
std::vector<CatalogEntry> catalog();

}  // namespace outboard::hub
