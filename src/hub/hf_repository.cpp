#include "hub/hf_repository.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "hub/http.h"
#include "hub/opus.h"
#include "support/error.h"
#include "support/json.h"
#include "support/progress.h"

namespace outboard::hub {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

// Whether a word at the end of a file's name is a type: "q4_k_m", "iq3_xxs", "bf16", "mxfp4_moe".
bool is_type(std::string_view word) {
  for (const char* plain : {"f16", "fp16", "bf16", "f32", "fp32"})
    if (word == plain) return true;
  for (const char* begin : {"mxfp4", "nvfp4"})
    if (word.starts_with(begin)) return true;
  if (word.starts_with("iq") || word.starts_with("tq")) word.remove_prefix(1);
  return word.size() > 1 && word[0] == 'q' &&
         std::isdigit(static_cast<unsigned char>(word[1])) != 0;
}

// The type in "Qwen3.6-27B-UD-Q4_K_XL", spelled as there.
std::string type_in(std::string_view stem) {
  const size_t at = stem.find_last_of("-.");
  if (at == std::string_view::npos || !is_type(lower(stem.substr(at + 1)))) return "";
  constexpr std::string_view kDynamic = "ud-";
  if (at >= kDynamic.size() &&
      lower(stem.substr(at + 1 - kDynamic.size(), kDynamic.size())) == kDynamic)
    return std::string(stem.substr(at + 1 - kDynamic.size()));
  return std::string(stem.substr(at + 1));
}

struct Part {
  std::string stem;  // without "-00001-of-00003.gguf"
  int number = 1, count = 1;
};

Part part_of(std::string_view path) {
  std::string_view stem = path.substr(0, path.size() - std::string_view(".gguf").size());
  constexpr size_t kTail = std::string_view("-00001-of-00003").size();
  if (stem.size() > kTail) {
    const std::string_view tail = stem.substr(stem.size() - kTail);
    int number = 0, count = 0;
    const auto read = [](std::string_view digits, int& value) {
      const auto [end, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), value);
      return error == std::errc() && end == digits.data() + digits.size();
    };
    if (tail[0] == '-' && tail.substr(6, 4) == "-of-" && read(tail.substr(1, 5), number) &&
        read(tail.substr(10), count))
      return {std::string(stem.substr(0, stem.size() - kTail)), number, count};
  }
  return {std::string(stem), 1, 1};
}

bool is_model(std::string_view path) {
  const std::string name = lower(path.substr(path.find_last_of('/') + 1));
  return name.ends_with(".gguf") && name.find("mmproj") == std::string::npos &&
         name.find("imatrix") == std::string::npos;
}

// What the hub says of a repository.
HttpQuestion question_about(const std::string& repository) {
  const std::string hub = hugging_face();
  HttpQuestion question;
  question.url = fmt::format("{}/api/models/{}", hub, repository);
  if (const char* token = std::getenv("HF_TOKEN");
      token != nullptr && hub == "https://huggingface.co")
    question.bearer = token;
  return question;
}

// The hub's answer, as huggingface_hub's ModelInfo has it: {"siblings": [{"rfilename", "size",
// "lfs": {"sha256", ...}}]}.
std::vector<HubFile> files_of(const std::string& repository) {
  const std::string hub = hugging_face();
  HttpQuestion question = question_about(repository);
  question.url += "?blobs=true";
  const HttpAnswer answer = ask(question);
  // The hub answers 401 for what does not exist, too.
  if (answer.status == 401 || answer.status == 403 || answer.status == 404)
    throw Error(fmt::format("pull hf:{}: the hub answered {}", repository, answer.status),
                fmt::format("Check the name: {}/{}. A model behind a login needs HF_TOKEN, and its "
                            "terms accepted on that page.",
                            hub, repository));
  if (answer.status != 200) fail("pull hf:{}: the hub answered {}", repository, answer.status);
  std::vector<HubFile> files;
  try {
    const nlohmann::ordered_json model = parse_json(answer.body);
    for (const auto& file : model.at("siblings")) {
      HubFile found;
      file.at("rfilename").get_to(found.path);
      if (const auto size = file.find("size"); size != file.end() && size->is_number_unsigned())
        size->get_to(found.bytes);
      if (const auto lfs = file.find("lfs"); lfs != file.end() && lfs->is_object())
        lfs->at("sha256").get_to(found.sha256);
      files.push_back(std::move(found));
    }
  } catch (const nlohmann::json::exception&) {
    fail("{}: the answer lists no files as Hugging Face's hub does", question.url);
  } catch (Error& e) {
    e.add_context(question.url);
    throw;
  }
  return files;
}

std::string list(std::span<const HubModel> models) {
  std::vector<std::string> lines;
  for (const HubModel& model : models) {
    const std::string& path = model.files.front().path;
    lines.push_back(fmt::format("  {:<12} {:>8}  {}", model.type.empty() ? "-" : model.type,
                                model.bytes() > 0 ? format_bytes(model.bytes()) : "", path));
  }
  return fmt::format("{}", fmt::join(lines, "\n"));
}

}  // namespace

uint64_t HubModel::bytes() const {
  uint64_t sum = 0;
  for (const HubFile& file : files) sum += file.bytes;
  return sum;
}

std::vector<HubModel> models_of(const std::string& repository) {
  std::map<std::pair<std::string, int>, std::map<int, HubFile>> sets;  // by name and count of parts
  for (HubFile& file : files_of(repository)) {
    if (!is_model(file.path)) continue;
    const Part part = part_of(file.path);
    sets[{part.stem, part.count}][part.number] = std::move(file);
  }
  std::vector<HubModel> models;
  for (auto& [name, parts] : sets) {
    const auto& [stem, count] = name;
    HubModel model;
    const size_t slash = stem.find_last_of('/');
    model.type = type_in(stem.substr(slash + 1));
    if (model.type.empty() && slash != std::string::npos) {  // "Q4_K_M/model.gguf"
      const std::string folder = stem.substr(0, slash);
      const std::string last = folder.substr(folder.find_last_of('/') + 1);
      if (is_type(lower(last))) model.type = last;
    }
    for (int i = 1; i <= count; ++i) {
      const auto part = parts.find(i);
      if (part == parts.end())
        fail("pull hf:{}: {} has {} parts, and part {} is not there", repository, stem, count, i);
      model.files.push_back(std::move(part->second));
    }
    models.push_back(std::move(model));
  }
  if (models.empty())
    throw Error(fmt::format("pull hf:{}: there is no GGUF file", repository),
                fmt::format("{}/{} shows what there is; models for Outboard are mostly in "
                            "repositories whose names end in -GGUF.",
                            hugging_face(), repository));
  return models;
}

std::string revision_of(const std::string& repository) {
  const HttpAnswer answer = ask(question_about(repository));
  const auto model = nlohmann::json::parse(answer.body, nullptr, false);
  const bool is_told = answer.status == 200 && model.is_object() && model.contains("sha") &&
                       model["sha"].is_string();
  return is_told ? model["sha"].get<std::string>() : "";
}

const HubModel& choose(std::span<const HubModel> models, const std::string& repository,
                       const std::string& type) {
  const auto of_type = [&](std::string_view wanted) {
    std::vector<const HubModel*> found;
    for (const HubModel& model : models)
      if (lower(model.type) == lower(wanted)) found.push_back(&model);
    return found;
  };
  if (!type.empty()) {
    const auto found = of_type(type);
    if (found.size() == 1) return *found.front();
    throw Error(fmt::format("pull hf:{}:{}: there {}", repository, type,
                            found.empty() ? "is no such type" : "are several of that type"),
                fmt::format("There are, for hf:{}:TYPE or hf:{}/FILE:\n{}", repository, repository,
                            list(models)));
  }
  if (models.size() == 1) return models.front();
  for (const char* usual : {"Q4_K_M", "UD-Q4_K_M", "UD-Q4_K_XL", "MXFP4", "MXFP4_MOE", "Q4_K_S",
                            "IQ4_XS", "Q4_0", "Q4_1", "Q5_K_M", "Q6_K", "Q8_0"})
    if (const auto found = of_type(usual); found.size() == 1) return *found.front();
  throw Error(fmt::format("pull hf:{}: there are {} models", repository, models.size()),
              fmt::format("Choose one, as hf:{}:TYPE or hf:{}/FILE:\n{}", repository, repository,
                          list(models)));
}

}  // namespace outboard::hub
