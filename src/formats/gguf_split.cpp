// Opening GGUF models: one file, or a set of parts.
#include <optional>
#include <string>

#include "formats/file_kind.h"
#include "formats/gguf.h"
#include "support/error.h"
#include "support/mapped_file.h"

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

// A part's name as llama.cpp's gguf-split writes it: PREFIX-00001-of-00003.gguf.
struct SplitName {
  std::string prefix;
  int part = 0;  // from 1
  int parts = 0;
};

std::optional<int> five_digits(std::string_view text) {
  int number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  return number;
}

std::optional<SplitName> parse_split_name(std::string_view name) {
  constexpr std::string_view kShape = "-00000-of-00000.gguf";
  if (name.size() <= kShape.size()) return std::nullopt;
  const std::string_view tail = name.substr(name.size() - kShape.size());
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf") {
    return std::nullopt;
  }
  const auto part = five_digits(tail.substr(1, 5));
  const auto parts = five_digits(tail.substr(10, 5));
  if (!part || !parts || *part < 1 || *part > *parts) return std::nullopt;
  return SplitName{std::string(name.substr(0, name.size() - kShape.size())), *part, *parts};
}

// Maps one file and adds its tensors; gives back its metadata.
Metadata add_file(Model& model, const fs::path& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  if (!looks_like_gguf(file->bytes())) throw not_a_model(path, file->bytes());
  try {
    GgufHeader header = parse_gguf(file->bytes());
    for (GgufTensor& tensor : header.tensors) {
      model.add({std::move(tensor.name), tensor.type, std::move(tensor.shape),
                 file->bytes().subspan(tensor.offset, tensor.bytes)});
    }
    model.keep_alive(file);
    return std::move(header.metadata);
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
}

void expect(const fs::path& path, const Metadata& metadata, const char* key, int64_t expected) {
  try {
    const int64_t found = metadata.get_int(key);
    if (found != expected) fail("metadata {}: found {}, expected {}", key, found, expected);
  } catch (Error& error) {
    error.add_context(path.string());
    throw;
  }
}

}  // namespace

Model open_gguf(const fs::path& path) {
  Model model;
  model.path = path;
  const auto split = parse_split_name(path.filename().string());
  if (!split || split->parts == 1) {
    model.metadata = add_file(model, path);
    const int64_t parts = model.metadata.get_int("split.count", 1);
    if (parts > 1) {
      throw Error(
          fmt::format("{}: metadata split.count: found {} in a file with a name of its own",
                      path.string(), parts),
          fmt::format("Keep the names that the parts came with: NAME-00001-of-{:05}.gguf.", parts));
    }
    return model;
  }

  for (int part = 1; part <= split->parts; ++part) {
    const fs::path part_path = path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf",
                                                                split->prefix, part, split->parts);
    if (!fs::exists(part_path)) {
      throw Error(
          fmt::format("{}: part {} of {} is missing", part_path.string(), part, split->parts),
          "All parts of a split model must lie in one folder.");
    }
    Metadata metadata = add_file(model, part_path);
    expect(part_path, metadata, "split.no", part - 1);
    expect(part_path, metadata, "split.count", split->parts);
    if (part == 1) model.metadata = std::move(metadata);
  }
  if (model.metadata.contains("split.tensors.count")) {
    expect(path, model.metadata, "split.tensors.count",
           static_cast<int64_t>(model.tensors().size()));
  }
  return model;
}

}  // namespace outboard::formats
