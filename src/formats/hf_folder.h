// Model folders. Internal to formats; use open_model().
#pragma once

#include <filesystem>
#include <span>

#include "formats/hf_family.h"
#include "formats/model_file.h"

namespace outboard::formats {

// See open_model().
Model open_hf_folder(const std::filesystem::path& folder, std::span<const HfFamily> families);

}  // namespace outboard::formats
