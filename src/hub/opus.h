// Helsinki-NLP's translation models, from Hugging Face's hub.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "hub/hub.h"

namespace outboard::hub {

// The hub's address, without a slash at its end: $HF_ENDPOINT, as Hugging Face's own programs read
// it, else https://huggingface.co.
std::string hugging_face();

// "opus-mt-en-fr", "Helsinki-NLP/opus-mt-tc-big-en-fr".
bool is_opus_name(const std::string& what);

struct OpusModel {
  std::string name;        // "opus-mt-en-fr", as pull takes it
  uint64_t downloads = 0;  // of the last month, as the hub counts
};
// Those of the hub that translate from one language to the other, the most used first. from, to: as
// their names have them, mostly of two letters ("en"). Throws Error when the hub can't be asked.
std::vector<OpusModel> opus_models(const std::string& from, const std::string& to);

// What a folder of files on their way is called after its model.
inline constexpr const char* kPullingExtension = ".pulling";

// Downloads the model's files into `folder`/NAME.pulling, converts them to `folder`/NAME.gguf (F16)
// and removes them. Files that are there are kept when something fails, so that the same call
// continues. Throws Error as download() and formats::open_model() do.
std::filesystem::path pull_opus(const std::string& what, const std::filesystem::path& folder,
                                const PullOptions& options);

}  // namespace outboard::hub
