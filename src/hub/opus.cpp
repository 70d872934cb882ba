#include "hub/opus.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "formats/file_kind.h"
#include "formats/hf_family.h"
#include "formats/quantize_model.h"
#include "hub/download.h"
#include "hub/hf_repository.h"
#include "hub/http.h"
#include "hub/origin.h"
#include "support/error.h"
#include "support/mapped_file.h"
#include "support/output_file.h"
#include "support/progress.h"

namespace outboard::hub {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kOwner = "Helsinki-NLP/";
constexpr std::string_view kPrefix = "opus-mt-";
constexpr long kHttpOk = 200;

std::string repository(const std::string& what) {
  return what.starts_with(kOwner) ? what.substr(kOwner.size()) : what;
}

// One file of the repository, unless it is here already. False when the server has none.
bool get(const std::string& name, const fs::path& folder, const std::string& file) {
  const fs::path path = folder / file;
  const std::string url =
      fmt::format("{}/{}{}/resolve/main/{}", hugging_face(), kOwner, name, file);
  if (const auto origin = fs::exists(path) ? origin_of(path, url) : std::nullopt;
      origin && origin->is_same)
    return true;
  DownloadOptions how;
  how.label = fmt::format("{} {}", name, file);
  how.replace = true;  // what another hub sent
  how.may_be_missing = true;
  how.check = [&](const fs::path& part, bool) {
    if (fs::file_size(part) == 0)
      fail("{}: what the server sent was empty and has been removed", file);
    const MappedFile bytes(part);
    if (const auto wrong = formats::in_place_of(file, bytes.bytes()))
      throw Error("what the server sent has been removed. " + wrong->message(), wrong->hint());
  };
  if (download(url, path, how).outcome == Downloaded::kMissing) return false;
  write_origin(path, url);
  return true;
}

void get_all(const std::string& name, const fs::path& folder) {
  for (const char* file : {"config.json", "vocab.json", "source.spm", "target.spm"}) {
    if (get(name, folder, file)) continue;
    throw Error(fmt::format("pull {}: {}/{}{} has no {}", name, hugging_face(), kOwner, name, file),
                "Check the name: https://huggingface.co/Helsinki-NLP lists the models.");
  }
  for (const char* file : {"generation_config.json", "tokenizer_config.json"})
    get(name, folder, file);
  for (const char* file : {"model.safetensors", "pytorch_model.bin"})
    if (get(name, folder, file)) return;
  fail("pull {}: {}/{}{} has neither model.safetensors nor pytorch_model.bin", name, hugging_face(),
       kOwner, name);
}

// Files on their way that the hub has changed since don't go together with those to come.
constexpr const char* kRevision = ".revision";
bool is_of_another_revision(const fs::path& pulling, const std::string& revision) {
  const fs::path note = pulling / kRevision;
  if (!fs::exists(note)) return false;
  const MappedFile noted(note);
  const auto bytes = noted.bytes();
  return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()) != revision;
}
void note_revision(const fs::path& pulling, const std::string& revision) {
  if (revision.empty()) return;
  OutputFile note(pulling / kRevision);
  note.write(revision);
  note.finish();
}
bool holds_nothing_yet(const fs::path& pulling) {
  return std::ranges::all_of(fs::directory_iterator(pulling), [](const fs::directory_entry& file) {
    return file.path().filename() == kRevision;
  });
}

}  // namespace

std::vector<OpusModel> opus_models(const std::string& from, const std::string& to) {
  const std::string pair = fmt::format("{}-{}", from, to);
  HttpQuestion question;
  question.url =
      fmt::format("{}/api/models?author=Helsinki-NLP&search={}&limit=1000", hugging_face(), pair);
  const HttpAnswer answer = ask(question);
  const auto list = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.status != kHttpOk || !list.is_array())
    fail("{}: the hub answered with status {}, expected a list of models", question.url,
         answer.status);
  std::vector<OpusModel> models;
  for (const auto& entry : list) {
    const std::string id = entry.is_object() ? entry.value("id", "") : "";
    if (!id.starts_with(kOwner) || !is_opus_name(id) || !id.ends_with("-" + pair)) continue;
    models.push_back({repository(id), entry.value("downloads", uint64_t{0})});
  }
  std::ranges::stable_sort(models, std::greater(), &OpusModel::downloads);
  return models;
}

std::string hugging_face() {
  std::string address = "https://huggingface.co";
  if (const char* set = std::getenv("HF_ENDPOINT"); set != nullptr && *set != '\0') address = set;
  while (address.ends_with('/')) address.pop_back();
  return address;
}

bool is_opus_name(const std::string& what) {
  const std::string name = repository(what);
  return name.starts_with(kPrefix) && name.size() > kPrefix.size() && !name.ends_with(".gguf") &&
         std::ranges::all_of(name, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '+' || c == '.';
         });
}

fs::path pull_opus(const std::string& what, const fs::path& folder, const PullOptions& options) {
  const std::string name = repository(what);
  const fs::path path = folder / (name + ".gguf");
  const std::string address = fmt::format("hf:{}{}", kOwner, name);
  const auto tell = [&](const std::string& notice) {
    if (options.on_notice) options.on_notice(notice);
  };
  const bool is_here = !options.force && hub::is_here(path, address, options.on_notice);
  std::string revision;
  if (is_here) {
    const auto origin = origin_of(path, address);
    const std::string noted = origin && origin->is_same ? origin->version.etag : "";
    if (noted.empty()) {
      tell(name + " is here already; `outboard pull --force` gets it anew");
      return path;
    }
    try {
      revision = revision_of(std::string(kOwner) + name);
      if (revision.empty()) fail("the hub does not tell it");
    } catch (const Error& e) {
      tell(nothing_known_of_newer(name, e.message()));
      return path;
    }
    if (revision == noted) {
      tell(name + " is up to date");
      return path;
    }
  } else {
    revision = revision_of(std::string(kOwner) + name);
  }
  const fs::path pulling = folder / (name + kPullingExtension);
  if (is_of_another_revision(pulling, revision)) fs::remove_all(pulling);
  fs::create_directories(pulling);
  try {
    note_revision(pulling, revision);
    get_all(name, pulling);
  } catch (...) {
    if (holds_nothing_yet(pulling)) fs::remove_all(pulling);
    throw;
  }
  {
    // Of the folders that there are, this one is Marian's.
    formats::Model model = formats::open_model(pulling, {});
    model.metadata.set("general.name", name);
    Progress progress(name + " converting", model.tensor_bytes());
    formats::QuantizeOptions how;
    how.progress = [&](uint64_t done, uint64_t) { progress.update(done); };
    formats::quantize_model(model, path, formats::Mix::F16, how);
  }
  write_origin(path, address, {revision, "", ""});
  fs::remove_all(pulling);
  if (is_here) tell(name + " is replaced by a newer version");
  return path;
}

}  // namespace outboard::hub
