// A model folder inside a ZIP archive. Internal to formats; use open_model().
#pragma once

#include <filesystem>
#include <span>

#include "formats/hf_family.h"
#include "formats/model_file.h"

namespace outboard::formats {

// Unpacks the archive into a folder of its own below the system's folder for temporary files, opens
// that and removes it: the model keeps what it needs. The files lie at the archive's top, or all in
// one folder; others are skipped. model.path names the archive. Throws Error as ZipArchive and
// open_model() do.
Model open_zipped_folder(const std::filesystem::path& archive, std::span<const HfFamily> families);

}  // namespace outboard::formats
