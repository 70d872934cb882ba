// What a file is that is not the model it was taken for.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>

#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {

// Maps a part of a model (weights, a tokenizer, a configuration). Throws Error as MappedFile does,
// and for what commonly lies in such a file's place: the pointer that `git clone` leaves without
// LFS, a web page or a message of a server, zeros of a download that never came to its end.
MappedFile map_part(const std::filesystem::path& path);

// What map_part() refuses; nothing for a file that may be what its name says.
std::optional<Error> in_place_of(const std::filesystem::path& path,
                                 std::span<const std::byte> file);

// For a file that was named as a model and is neither GGUF nor ZIP: an Error that says what it is
// (as above, GGML's older files, single files of a model folder, archives, text) and what to do.
Error not_a_model(const std::filesystem::path& path, std::span<const std::byte> file);

// One file of a model folder, named alone: "a safetensors file: weights alone".
Error alone(const std::filesystem::path& path, std::string_view what);

}  // namespace outboard::formats
