// What a Hugging Face folder's JSON files ask for: each field is used, harmless, or named as
// unknown. Internal to formats.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/hf_family.h"
#include "formats/json_file.h"
#include "formats/model_file.h"

namespace outboard::formats {

// Collects what one file asks for in vain, in Model::unknown and Model::notes.
class FieldReport {
 public:
  FieldReport(std::string file, Model& model) : file_(std::move(file)), model_(&model) {}

  // "FILE: PATH = VALUE", the value shortened.
  void unknown(std::string_view path, const Json& value);
  void unknown(std::string_view path) { line(model_->unknown, path); }  // "FILE: PATH"
  void note(std::string_view text) { line(model_->notes, text); }       // "FILE: TEXT"

 private:
  void line(std::vector<std::string>& lines, std::string_view text) const;

  std::string file_;
  Model* model_;
};

// A value for a message: JSON in ASCII, at most some 80 characters.
std::string shown_field(const Json& value);

// Reports each field of `object` that `known` lacks or that has another value than listed there.
// null asks for nothing. `path` stands before the names, as "text_config.".
void report_unknown(const Json& object, std::string_view path, const std::vector<KnownField>& known,
                    FieldReport& report);

// config.json, as its file has it, of a model of the family. Fields about generating count only
// where there is no generation_config.json.
void report_config(const Json& config, const HfFamily& family, bool has_generation_config,
                   FieldReport& report);

// generation_config.json, or config.json's fields about generating where there is none: sets
// general.sampling.* (llama.cpp's keys) and reports what changes answers and is not done.
void read_generation(const Json& generation, bool is_config_json, Metadata& metadata,
                     FieldReport& report);

}  // namespace outboard::formats
