// From a model file to its Program: one file a family, one line each in the registry.
#pragma once

#include <string>
#include <vector>

#include "formats/model_file.h"
#include "program/program.h"

namespace outboard::models {

// Writes the model's Program by its architecture (metadata key general.architecture). Throws Error:
// for an unsupported architecture (the hint lists those supported), for a metadata key that is
// missing or out of range, for options that Outboard does not implement (all of them at once), and
// for tensors that are missing or of the wrong shape.
program::Program build_program(const formats::Model& model);

// Values of general.architecture that build_program takes, in alphabetical order.
std::vector<std::string> supported_architectures();

}  // namespace outboard::models
