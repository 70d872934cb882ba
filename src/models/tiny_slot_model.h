// A small Program with slot states, for tests: no family has some yet.
#pragma once

#include <filesystem>

#include "formats/model_file.h"
#include "program/program.h"

namespace outboard::models {

// tiny_model("llama") with "conv_a.weight" [96, 4] and .bias [96], "conv_b.weight" [64, 3].
formats::Model tiny_slot_model();
// The same as a GGUF file, which is called a Llama; load it with slot_program().
void write_tiny_slot_model(const std::filesystem::path& path);

// Of such a model: the first layer mixes tokens by conv_a within its feed-forward layer, the second
// by attention and, on the residual stream, by conv_b. Two slot states and one KV state.
program::Program slot_program(const formats::Model& model);

}  // namespace outboard::models
