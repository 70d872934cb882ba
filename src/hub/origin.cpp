#include "hub/origin.h"

#include <sys/stat.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "support/error.h"
#include "support/file_time.h"
#include "support/output_file.h"
#include "support/sha256.h"

namespace outboard::hub {

namespace fs = std::filesystem;

fs::path note_beside(const fs::path& file) {
  return file.parent_path() / ("." + file.filename().string() + ".origin");
}

namespace {

// The file as it was when the note was written.
nlohmann::json state_of(const fs::path& file) {
  struct stat info{};
  if (::stat(file.c_str(), &info) != 0) throw system_error("look at", file.string());
  const timespec time = modified_at(info);
  return {{"bytes", info.st_size}, {"seconds", time.tv_sec}, {"nanoseconds", time.tv_nsec}};
}

}  // namespace

std::string hash_of_address(const std::string& address) {
  return to_hex(sha256(std::as_bytes(std::span(address))));
}

std::string shown_address(const std::string& address) {
  std::string shown = address.substr(0, address.find_first_of("?#"));
  const size_t host = shown.find("://");
  if (host == std::string::npos) return shown;
  const size_t path = std::min(shown.find('/', host + 3), shown.size());
  const size_t login = shown.rfind('@', path);
  if (login != std::string::npos && login > host) shown.erase(host + 3, login - host - 2);
  return shown;
}

bool FileVersion::is_same_as(const FileVersion& other) const {
  if (!sha256.empty() && !other.sha256.empty()) return sha256 == other.sha256;
  if (!etag.empty() && !other.etag.empty()) return etag == other.etag;
  return !modified.empty() && modified == other.modified;
}

void write_origin(const fs::path& file, const std::string& address, const FileVersion& version) {
  nlohmann::ordered_json note = {{"from", shown_address(address)},
                                 {"sha256_of_address", hash_of_address(address)}};
  if (!version.etag.empty()) note["etag"] = version.etag;
  if (!version.modified.empty()) note["modified"] = version.modified;
  if (!version.sha256.empty()) note["sha256"] = version.sha256;
  note["file"] = state_of(file);
  OutputFile out(note_beside(file));
  out.write(note.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  out.finish();
}

std::optional<Origin> origin_of(const fs::path& file, const std::string& address) {
  std::ifstream in(note_beside(file));
  if (!in) return std::nullopt;
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto note = nlohmann::json::parse(text, nullptr, false);
  if (!note.is_object() || note.value("file", nlohmann::json()) != state_of(file))
    return std::nullopt;
  const auto text_of = [&](const char* key) {
    const auto place = note.find(key);
    return place != note.end() && place->is_string() ? place->get<std::string>() : "";
  };
  return Origin{text_of("from"),
                text_of("sha256_of_address") == hash_of_address(address),
                {text_of("etag"), text_of("modified"), text_of("sha256")}};
}

std::string nothing_known_of_newer(std::string_view name, std::string_view why) {
  return fmt::format("{} is here; whether there is a newer one is not known: {}", name, why);
}

bool is_here(const fs::path& file, const std::string& address,
             const std::function<void(std::string_view)>& on_notice) {
  std::error_code error;  // a store that can't be looked at has nothing; writing there will tell
  if (!fs::exists(file, error)) return false;
  const std::optional<Origin> origin = origin_of(file, address);
  if (origin && origin->is_same) return true;
  const std::string name = file.filename().string();
  if (origin)
    throw Error(
        fmt::format("{} is here already, but it came from {}, not from {}", file.string(),
                    origin->shown, shown_address(address)),
        fmt::format("Use it as it is, give it another name, or replace it with `outboard pull "
                    "--force`. (What follows a ? in an address counts, too.)"));
  if (on_notice)
    on_notice(
        fmt::format("{} was here already, and it is not known where it came from; `outboard "
                    "pull --force` gets it anew",
                    name));
  return true;
}

}  // namespace outboard::hub
