#include "hub/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

#include "hub/origin.h"
#include "support/error.h"
#include "support/output_file.h"
#include "support/progress.h"

namespace outboard::hub {

namespace fs = std::filesystem;

namespace {

// The part file, held by one process at a time.
class PartFile {
 public:
  explicit PartFile(fs::path path) : path_(std::move(path)) {
    // Whoever held it may have given it its final name in between: then it is another file's.
    while (!open_and_hold()) ::close(fd_);
  }
  ~PartFile() { ::close(fd_); }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  uint64_t size() const {
    return static_cast<uint64_t>(std::max<off_t>(0, ::lseek(fd_, 0, SEEK_END)));
  }
  void truncate() const {
    if (::ftruncate(fd_, 0) != 0) throw system_error("truncate", path_.string());
    ::lseek(fd_, 0, SEEK_SET);
  }
  // False with errno set when the disk is full.
  bool write(const char* data, size_t size) const {
    while (size > 0) {
      const ssize_t n = ::write(fd_, data, size);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      data += n;
      size -= static_cast<size_t>(n);
    }
    return true;
  }
  bool sync() const { return ::fsync(fd_) == 0; }
  const fs::path& path() const { return path_; }

 private:
  bool open_and_hold() {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) throw system_error("create", path_.string());
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd_);
      throw Error(fmt::format("{} is being downloaded by another program", path_.string()),
                  "Wait until it has finished.");
    }
    struct stat held{};
    struct stat named{};
    return ::fstat(fd_, &held) == 0 && ::stat(path_.c_str(), &named) == 0 &&
           held.st_dev == named.st_dev && held.st_ino == named.st_ino;
  }

  fs::path path_;
  int fd_ = -1;
};

// What a part is a part of.
struct Version {
  std::string address;  // its SHA-256: an address may hold secrets
  std::string etag;
  std::string modified;  // the text of Last-Modified
  std::string sha256;    // as the server tells it
  int64_t bytes = -1;    // of the whole file; -1: not told

  // For If-Range: a weak ETag means "as good as", which parts of two files are not. Empty: none.
  std::string validator() const {
    if (!etag.empty() && !etag.starts_with("W/")) return etag;
    return modified;
  }
  // Of an answer with a part of the file: whether it is of this version.
  bool is_continued_by(const Version& answer) const {
    if (!answer.etag.empty() || validator() == etag) return answer.etag == etag;
    return answer.modified.empty() || answer.modified == modified;
  }
};

// The version of a part, kept beside it.
class PartNote {
 public:
  explicit PartNote(const fs::path& part)
      : path_(part.parent_path() / ("." + part.filename().string() + ".json")) {}

  std::optional<Version> read() const {
    std::ifstream in(path_);
    if (!in) return std::nullopt;
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    try {
      const auto note = nlohmann::json::parse(text);
      return Version{note.at("address"), note.at("etag"), note.at("modified"), note.at("sha256"),
                     note.at("bytes")};
    } catch (const nlohmann::json::exception&) {  // damaged: as if there were none
      return std::nullopt;
    }
  }
  void write(const Version& version) const {
    const nlohmann::ordered_json note = {{"address", version.address},
                                         {"etag", version.etag},
                                         {"modified", version.modified},
                                         {"sha256", version.sha256},
                                         {"bytes", version.bytes}};
    OutputFile out(path_);
    out.write(note.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    out.finish();
  }
  void remove() const { fs::remove(path_); }

 private:
  fs::path path_;
};

struct Transfer {
  CURL* curl = nullptr;
  const PartFile* file = nullptr;
  const PartNote* note = nullptr;
  Progress* progress = nullptr;
  Version version;      // of the file that is coming
  Version part;         // of what is here, where that is continued
  FileVersion known;    // of the whole file that is here
  uint64_t offset = 0;  // where this transfer starts
  uint64_t received = 0;
  long status = 0;  // of the last response
  std::string content_range;
  int64_t linked_bytes = -1;
  bool begun = false;
  bool start_over = false;  // what is here is no part of what came
  bool is_known = false;    // the server has what is here
  std::optional<Error> disk_error;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0)
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.remove_suffix(1);
  return text;
}

int64_t number_of(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : -1;
}

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& t = *static_cast<Transfer*>(user);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {  // of a redirection or of the file: the last one counts
    t.version.etag.clear();
    t.version.modified.clear();
    t.content_range.clear();
    return line.size();
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  std::string key(line.substr(0, colon));
  std::ranges::transform(key, key.begin(), [](unsigned char c) { return std::tolower(c); });
  const std::string value(trimmed(line.substr(colon + 1)));
  if (key == "etag") t.version.etag = value;
  if (key == "last-modified") t.version.modified = value;
  if (key == "content-range") t.content_range = value;
  // Hugging Face's redirections tell of the file behind them.
  if (key == "x-linked-size") t.linked_bytes = number_of(value);
  if (key == "x-linked-etag") {
    std::string digits = value;
    std::ranges::transform(digits, digits.begin(), [](unsigned char c) { return std::tolower(c); });
    std::erase_if(digits, [](unsigned char c) { return std::isxdigit(c) == 0; });
    if (digits.size() == 64) t.version.sha256 = digits;
  }
  return line.size();
}

// "bytes 100-199/200": where it starts and how long the whole file is.
bool continues_part(const Transfer& t) {
  const std::string_view range = t.content_range;
  const size_t dash = range.find('-'), slash = range.find('/');
  if (!range.starts_with("bytes ") || dash == std::string_view::npos ||
      slash == std::string_view::npos || dash > slash)
    return false;
  const int64_t whole = number_of(range.substr(slash + 1));
  return number_of(range.substr(6, dash - 6)) == static_cast<int64_t>(t.offset) &&
         (whole < 0 || t.part.bytes < 0 || whole == t.part.bytes) &&
         t.part.is_continued_by(t.version);
}

// At the first byte of an answer. False: nothing of it is wanted.
bool begin(Transfer& t) {
  curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &t.status);
  if (t.status >= 400) return false;  // an error page is no model
  if (t.status == 304 ||
      t.known.is_same_as({t.version.etag, t.version.modified, t.version.sha256})) {
    t.is_known = true;
    return false;
  }
  if (t.offset > 0 && t.status == 206 && !continues_part(t)) {
    t.start_over = true;
    return false;
  }
  if (t.offset > 0 && t.status == 200) {  // all of it: the server has another version, or no ranges
    t.file->truncate();
    t.offset = 0;
  }
  curl_off_t length = -1;
  curl_easy_getinfo(t.curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  t.version.bytes = length >= 0 ? static_cast<int64_t>(t.offset) + length : t.linked_bytes;
  if (t.version.bytes > 0) t.progress->set_total(static_cast<uint64_t>(t.version.bytes));
  // A part of it may tell less than the whole did.
  if (t.offset > 0 && t.version.validator().empty()) {
    t.version.etag = t.part.etag;
    t.version.modified = t.part.modified;
  }
  if (t.version.sha256.empty() && t.offset > 0) t.version.sha256 = t.part.sha256;
  t.note->write(t.version);
  return true;
}

size_t on_data(char* data, size_t size, size_t count, void* user) {
  auto& t = *static_cast<Transfer*>(user);
  try {
    if (!t.begun && !begin(t)) return 0;
    t.begun = true;
    if (!t.file->write(data, size * count)) throw system_error("write", t.file->path().string());
  } catch (const Error& e) {  // libcurl is C: it is thrown again behind it
    t.disk_error = e;
    return 0;
  }
  t.received += size * count;
  t.progress->update(t.offset + t.received);
  return size * count;
}

std::string explain(long status) {
  switch (status) {
    case 401:
    case 403:
      return "The server wants a login for this. For hf: set HF_TOKEN, and accept the model's "
             "terms on its page.";
    case 404:
      return "There is no such file. Check the name.";
    case 429:
      return "The server asks to come back later.";
    default:
      return "";
  }
}

}  // namespace

std::string sha256_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw system_error("open", path.string());
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr);
  std::vector<char> buffer(1 << 20);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0)
    EVP_DigestUpdate(context.get(), buffer.data(), static_cast<size_t>(file.gcount()));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), digest.data(), &size);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

namespace {

// Removes what was fetched: it is no part of anything that could be continued.
void discard(const PartFile& part, const PartNote& note) {
  fs::remove(part.path());
  note.remove();
}

void check_hash(const PartFile& part, const PartNote& note, const std::string& url,
                const std::string& expected) {
  const std::string found = sha256_of(part.path());
  if (found == expected) return;
  discard(part, note);
  throw Error(
      fmt::format("download {}: SHA-256 is {}, expected {}", shown_address(url), found, expected),
      "The file was damaged on the way and has been removed. Run the same command again.");
}

// One request. Gives what libcurl says.
CURLcode perform(const std::string& url, Transfer& t, std::string& message) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 &curl_easy_cleanup);
  if (!curl) fail("download {}: libcurl does not start", shown_address(url));
  t.curl = curl.get();
  std::array<char, CURL_ERROR_SIZE> said{};
  const auto set = [&](CURLoption option, auto value) {
    curl_easy_setopt(curl.get(), option, value);
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_MAXREDIRS, 10L);
  set(CURLOPT_PROTOCOLS_STR, "http,https,file");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_USERAGENT, "outboard");
  set(CURLOPT_CONNECTTIMEOUT, 30L);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);  // a connection that is silent for a minute is lost
  set(CURLOPT_LOW_SPEED_TIME, 60L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_ERRORBUFFER, said.data());
  set(CURLOPT_WRITEFUNCTION, &on_data);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&t));
  set(CURLOPT_HEADERFUNCTION, &on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&t));
  // Not CURLOPT_RESUME_FROM: that takes an answer with the whole file for an error.
  const std::string range = fmt::format("{}-", t.offset);
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(nullptr,
                                                                      &curl_slist_free_all);
  std::string condition;
  if (t.offset > 0) {
    set(CURLOPT_RANGE, range.c_str());
    if (const std::string validator = t.part.validator(); !validator.empty())
      condition = "If-Range: " + validator;
  } else if (!t.known.etag.empty()) {
    condition = "If-None-Match: " + t.known.etag;
  } else if (!t.known.modified.empty()) {
    condition = "If-Modified-Since: " + t.known.modified;
  }
  if (!condition.empty()) {
    headers.reset(curl_slist_append(nullptr, condition.c_str()));
    set(CURLOPT_HTTPHEADER, headers.get());
  }
  if (const char* bundle = std::getenv("SSL_CERT_FILE"); bundle != nullptr && *bundle != '\0')
    set(CURLOPT_CAINFO, bundle);
  if (const char* token = std::getenv("HF_TOKEN");
      token != nullptr && url.starts_with("https://huggingface.co/")) {
    set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    set(CURLOPT_XOAUTH2_BEARER, token);
  }
  CURLcode code = curl_easy_perform(curl.get());
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &t.status);
  // An answer without a single byte is an answer, too.
  if (code == CURLE_OK && !t.begun && t.status < 400 && !begin(t)) code = CURLE_WRITE_ERROR;
  message = said[0] != '\0' ? said.data() : curl_easy_strerror(code);
  return code;
}

[[noreturn]] void explain_failure(const std::string& url, const PartFile& part,
                                  const PartNote& note, const Transfer& t,
                                  const std::string& message, bool hash_is_known) {
  const std::string what = fmt::format("download {}: {}", shown_address(url), message);
  if (part.size() == 0) {
    discard(part, note);
    throw Error(what, "Check the address and the network.");
  }
  if (t.version.validator().empty() && !hash_is_known) {
    discard(part, note);
    throw Error(what,
                "Run the same command again. It starts from the beginning: this server does not "
                "tell which version of the file it sends.");
  }
  throw Error(what, fmt::format("{} are here already. Run the same command again: it continues.",
                                format_bytes(part.size())));
}

}  // namespace

Download download(const std::string& url, const fs::path& destination,
                  const DownloadOptions& options) {
  const PartFile part(destination.string() + ".part");
  const PartNote note(part.path());
  if (!options.replace && fs::exists(destination)) {
    discard(part, note);
    return {Downloaded::kWasThere, {}};
  }
  Progress progress(options.label, 0);
  Transfer t;
  t.file = &part;
  t.note = &note;
  t.progress = &progress;
  t.version.address = hash_of_address(url);
  t.known = options.known;
  const bool hash_is_known = !options.sha256.empty();
  const auto start_over = [&] {
    part.truncate();
    t.offset = t.received = 0;
    t.begun = t.start_over = false;
    t.part = {};
    t.version = {t.version.address, "", "", "", -1};
    t.linked_bytes = -1;
  };
  if (const auto known = note.read();
      known && known->address == t.version.address &&
      (hash_is_known || !known->validator().empty()) &&
      (known->bytes < 0 || part.size() <= static_cast<uint64_t>(known->bytes))) {
    t.part = *known;
    t.offset = part.size();
  } else {
    start_over();
  }

  bool is_whole = t.offset > 0 && t.part.bytes == static_cast<int64_t>(t.offset);
  if (is_whole) t.version = t.part;  // it was cut off before it got its name
  if (!is_whole) {
    std::string message;
    CURLcode code = perform(url, t, message);
    const bool wrong_range = t.offset > 0 && t.status == 416;  // it is shorter than what is here
    if (t.start_over || wrong_range || code == CURLE_RANGE_ERROR) {
      start_over();
      code = perform(url, t, message);
    }
    if (t.is_known) {
      discard(part, note);
      return {Downloaded::kUpToDate, {}};
    }
    if (t.disk_error) {
      if (part.size() == 0) discard(part, note);
      throw Error(t.disk_error->message(),
                  "Make room and run the same command again: it continues.");
    }
    if (t.status >= 400) {
      if (part.size() == 0) discard(part, note);
      if (t.status == 404 && options.may_be_missing) return {Downloaded::kMissing, {}};
      throw Error(fmt::format("download {}: the server answered {}", shown_address(url), t.status),
                  explain(t.status));
    }
    if (code != CURLE_OK) explain_failure(url, part, note, t, message, hash_is_known);
    if (t.version.bytes >= 0 && part.size() != static_cast<uint64_t>(t.version.bytes))
      explain_failure(url, part, note, t,
                      fmt::format("{} bytes came, expected {}", part.size(), t.version.bytes),
                      hash_is_known);
  }
  if (const std::string& sha256 = hash_is_known ? options.sha256 : t.version.sha256;
      !sha256.empty())
    check_hash(part, note, url, sha256);
  if (options.check) {
    try {
      options.check(part.path(), t.version.bytes >= 0);
    } catch (...) {
      discard(part, note);
      throw;
    }
  }
  if (!part.sync()) throw system_error("write", part.path().string());
  fs::rename(part.path(), destination);
  note.remove();
  return {Downloaded::kFetched,
          {t.version.etag, t.version.modified, hash_is_known ? options.sha256 : t.version.sha256}};
}

}  // namespace outboard::hub
