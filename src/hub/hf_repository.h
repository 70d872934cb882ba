// The models of a repository of Hugging Face's hub.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace outboard::hub {

struct HubFile {
  std::string path;  // in the repository
  uint64_t bytes = 0;
  std::string sha256;  // empty: the hub does not tell it
};

// One model: a GGUF file, or a split set.
struct HubModel {
  std::string type;  // as its name says it: "Q4_K_M", "UD-Q4_K_XL", "mxfp4"; empty: it does not
  std::vector<HubFile> files;  // the parts in order

  uint64_t bytes() const;
};

// All that "OWNER/REPO" has, but for what is beside a model: eyes (mmproj), importances. Asks
// /api/models/OWNER/REPO?blobs=true. Throws Error when the hub does not answer, wants a login, or
// there is no such repository, or no GGUF file in it; of a split set with missing parts, too.
std::vector<HubModel> models_of(const std::string& repository);

// What names the state that "OWNER/REPO" is in ("sha", of /api/models/OWNER/REPO); empty where the
// hub does not tell it. Throws Error when nobody answers.
std::string revision_of(const std::string& repository);

// The one of that type, any case; with an empty type the only one, else Q4_K_M or what comes
// nearest to it. Throws Error that lists them.
const HubModel& choose(std::span<const HubModel> models, const std::string& repository,
                       const std::string& type);

}  // namespace outboard::hub
