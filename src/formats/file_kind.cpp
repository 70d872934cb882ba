#include "formats/file_kind.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace outboard::formats {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBeginning = 1024;  // bytes that are looked at

struct Kind {
  std::string name;  // "a web page"
  std::string hint;
};

std::string_view beginning_of(std::span<const std::byte> file) {
  return {reinterpret_cast<const char*>(file.data()), std::min(file.size(), kBeginning)};
}

std::string_view without_blanks(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0)
    text.remove_prefix(1);
  return text;
}

bool begins_with_word(std::string_view text, std::string_view lower_case) {
  return text.size() >= lower_case.size() &&
         std::equal(lower_case.begin(), lower_case.end(), text.begin(), [](char a, char b) {
           return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
         });
}

// "oid sha256:..., size 4242": how large the file itself is.
std::string size_in_pointer(std::string_view text) {
  const size_t at = text.find("\nsize ");
  if (at == std::string_view::npos) return "";
  const std::string_view digits = text.substr(at + 6);
  size_t length = 0;
  while (length < digits.size() && std::isdigit(static_cast<unsigned char>(digits[length])) != 0)
    ++length;
  return fmt::format(" to a file of {} bytes", digits.substr(0, length));
}

// What lies in a file's place, whatever the file should be.
std::optional<Kind> placeholder(std::span<const std::byte> file) {
  const std::string_view text = beginning_of(file);
  const std::string_view words = without_blanks(text);
  const char* kAgain = "It is not the file itself: get that.";
  if (text.starts_with("version https://git-lfs.github.com/spec/") ||
      text.starts_with("version https://hawser.github.com/spec/") ||
      text.starts_with("version http://git-media.io/v/"))
    return Kind{"a Git LFS pointer" + size_in_pointer(text),
                "The file itself was not downloaded: run `git lfs pull` in its folder, or download "
                "the file."};
  if (text.starts_with("# xet version"))
    return Kind{"a Git Xet pointer",
                "The file itself was not downloaded: install git-xet and pull again, or download "
                "the file."};
  if (file.size() < kBeginning && (text.starts_with("/annex/objects/") ||
                                   text.find(".git/annex/objects/") != std::string_view::npos))
    return Kind{"a git-annex pointer", "Run `git annex get` for it."};
  for (const std::string_view tag : {"<!doctype html", "<html", "<head", "<body", "<!--"})
    if (begins_with_word(words, tag)) return Kind{"a web page (HTML)", kAgain};
  if (words.starts_with("<?xml") || words.starts_with("<Error>"))
    return Kind{"an XML document, such as a server's error message", kAgain};
  if (std::ranges::all_of(text, [](char c) { return c == '\0'; }) &&
      std::ranges::all_of(file.last(std::min(file.size(), kBeginning)),
                          [](std::byte b) { return b == std::byte{0}; }))
    return Kind{"zeros at its beginning and its end, like a download that was not finished",
                "Get it again."};
  return std::nullopt;
}

struct Magic {
  std::string_view bytes;
  const char* name;
  const char* hint;
};

constexpr const char* kOldGgml =
    "GGUF took its place in August 2023. Get the model as GGUF, or convert it with llama.cpp's "
    "convert_llama_ggml_to_gguf.py.";
constexpr const char* kUnpack = "Unpack it and name the file in it.";
constexpr const char* kFolder =
    "Name the folder that it lies in, with its config.json and tokenizer.";

// The old files' magic numbers are written as 32-bit integers, so their letters stand in reverse
// order. Source: llama.cpp before August 2023 (llama.h, llama-util.h), ggml's convert scripts.
constexpr std::array kMagics = {
    Magic{"lmgg",
          "a GGML file of the oldest kind (\"ggml\", without version; whisper.cpp's models "
          "are such files, too)",
          kOldGgml},
    Magic{"fmgg", "a GGML file with version (\"ggmf\"), older than GGUF", kOldGgml},
    Magic{"tjgg", "a GGML file of the kind GGJT (\"ggjt\"), older than GGUF", kOldGgml},
    Magic{"algg", "an adapter (LoRA) in GGML's old format (\"ggla\")",
          "Outboard does not run adapters: get the model with the adapter merged, as GGUF."},
    Magic{"nsgg", "a saved session of llama.cpp (\"ggsn\"), not a model", "Name the model's file."},
    Magic{"qsgg", "a saved sequence of llama.cpp (\"ggsq\"), not a model",
          "Name the model's file."},
    Magic{"FUGG", "a GGUF file whose magic number is turned around", "Get it again."},
    Magic{"\x1f\x8b", "packed with gzip", kUnpack},
    Magic{"\xfd\x37zXZ", "packed with xz", kUnpack},
    Magic{"BZh", "packed with bzip2", kUnpack},
    Magic{"\x28\xb5\x2f\xfd", "packed with zstd", kUnpack},
    Magic{"7z\xbc\xaf", "a 7-Zip archive", kUnpack},
    Magic{"Rar!", "a RAR archive", kUnpack},
    Magic{"\x93NUMPY", "a NumPy array", kFolder},
    Magic{"\x89HDF", "an HDF5 file (Keras, TensorFlow)",
          "Get the model as GGUF, or as a folder with safetensors."},
    Magic{"%PDF", "a PDF document", "Name the model's file."},
    Magic{"\x7f\x45LF", "a program", "Name the model's file."},
    Magic{"MZ", "a program for Windows, or a llamafile",
          "Of a llamafile: unpack it with unzip and name the GGUF file in it."},
    Magic{"\x80\x02", "a PyTorch or pickle file", kFolder},
    Magic{"\x80\x03", "a pickle file", kFolder},
    Magic{"\x80\x04", "a pickle file", kFolder},
};

// u64 length of the header, then its JSON.
bool is_safetensors(std::span<const std::byte> file) {
  uint64_t length = 0;
  if (file.size() < sizeof length + 2) return false;
  std::memcpy(&length, file.data(), sizeof length);
  return length >= 2 && length <= file.size() - sizeof length && file[8] == std::byte{'{'};
}

// Printable UTF-8 or ASCII, by its beginning.
bool is_text(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) {
    return c >= 0x20 || c == '\t' || c == '\n' || c == '\r' || c == '\f';
  });
}

std::string first_words(std::string_view text) {
  constexpr size_t kMost = 60;
  text = without_blanks(text);
  text = text.substr(0, text.find_first_of("\r\n"));
  size_t end = std::min(text.size(), kMost);
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U)
    --end;  // a whole character
  return fmt::format("\"{}{}\"", text.substr(0, end), end < text.size() ? "..." : "");
}

// Names of files that hold no text, but for those that servers send in their place.
bool is_binary_name(const fs::path& path) {
  constexpr std::array<std::string_view, 9> kBinary = {
      ".gguf", ".bin", ".safetensors", ".pt", ".pth", ".npz", ".zip", ".spm", ".model"};
  return std::ranges::find(kBinary, path.extension().string()) != kBinary.end();
}

// A single file of a model folder: where the folder has the rest, it is what should be named.
Kind file_of_a_folder(std::string name, const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code error;  // a folder that can't be looked at has nothing for us
  if (fs::exists(folder / "config.json", error) || fs::exists(folder / "decoder.yml", error))
    return {std::move(name),
            fmt::format("It is one file of a model folder; name the folder: {}", folder.string())};
  return {std::move(name),
          "Alone it does not say what model it is: its folder with config.json and the tokenizer "
          "is needed, or the model as GGUF."};
}

Kind kind_of(const fs::path& path, std::span<const std::byte> file) {
  if (const auto kind = placeholder(file)) return *kind;
  const std::string_view text = beginning_of(file);
  for (const Magic& magic : kMagics) {
    if (!text.starts_with(magic.bytes)) continue;
    if (magic.hint == kFolder) return file_of_a_folder(magic.name, path);
    return {magic.name, magic.hint};
  }
  if (is_safetensors(file)) return file_of_a_folder("a safetensors file: weights alone", path);
  if (text.size() > 262 && text.substr(257, 5) == "ustar") return {"a tar archive", kUnpack};
  if (is_text(text)) {
    const std::string_view words = without_blanks(text);
    if (words.starts_with('{') || words.starts_with('['))
      return file_of_a_folder(fmt::format("a JSON file ({})", first_words(text)), path);
    return {fmt::format("a text that begins {}", first_words(text)),
            "A model is a GGUF file, or a Hugging Face folder with config.json."};
  }
  std::string bytes;
  for (const std::byte b : file.first(std::min<size_t>(file.size(), 4)))
    bytes += fmt::format("{:02x} ", static_cast<unsigned>(b));
  return {fmt::format("of a kind that Outboard does not know (its first bytes are {}and not "
                      "\"GGUF\")",
                      bytes),
          "A model is a GGUF file, or a Hugging Face folder with config.json."};
}

}  // namespace

MappedFile map_part(const fs::path& path) {
  MappedFile file(path);
  if (const auto wrong = in_place_of(path, file.bytes())) throw Error(*wrong);
  return file;
}

std::optional<Error> in_place_of(const fs::path& path, std::span<const std::byte> file) {
  auto kind = placeholder(file);
  if (!kind && is_binary_name(path) && file.size() < kBeginning && is_text(beginning_of(file)))
    kind = Kind{fmt::format("a text: {}", first_words(beginning_of(file))),
                "It is not the file itself, but a message about it, as it seems: get it again."};
  if (!kind) return std::nullopt;
  return Error(fmt::format("{}: this is {}", path.string(), kind->name), kind->hint);
}

Error alone(const fs::path& path, std::string_view what) {
  const Kind kind = file_of_a_folder(std::string(what), path);
  return Error(fmt::format("{}: this is no model but {}", path.string(), kind.name), kind.hint);
}

Error not_a_model(const fs::path& path, std::span<const std::byte> file) {
  const Kind kind = kind_of(path, file);
  return Error(fmt::format("{}: this is no GGUF file: it is {}", path.string(), kind.name),
               kind.hint);
}

}  // namespace outboard::formats
