// From a model file to its Program: one file a family, one line each in families.def.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "formats/model_file.h"
#include "program/program.h"

namespace outboard::models {

// formats::open_model() with the Hugging Face folders of all families.
formats::Model open_model(const std::filesystem::path& path);

// Writes the model's Program by its architecture (metadata key general.architecture). Throws Error:
// for an unsupported architecture (the hint lists those supported), for a metadata key that is
// missing or out of range, for scalings of positions that no family implements, and for tensors
// that are missing or of the wrong shape.
//
// unheard, where given, gets a line for each thing in the file that the Program does not take
// account of and that is not known to be harmless: "tensor blk.N.attn_sinks.weight (24 layers)",
// "metadata llama.attention.gate". Whoever runs such a model refuses (formats::refuse_unknown()).
program::Program build_program(const formats::Model& model,
                               std::vector<std::string>* unheard = nullptr);

// Values of general.architecture that build_program takes, in alphabetical order.
std::vector<std::string> supported_architectures();

}  // namespace outboard::models
