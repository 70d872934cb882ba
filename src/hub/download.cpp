#include "hub/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <vector>

#include "support/error.h"
#include "support/progress.h"

namespace outboard::hub {

namespace fs = std::filesystem;

namespace {

// The part file, held by one process at a time.
class PartFile {
 public:
  explicit PartFile(fs::path path) : path_(std::move(path)) {
    fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) throw system_error("create", path_.string());
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd_);
      throw Error(fmt::format("{} is being downloaded by another program", path_.string()),
                  "Wait until it has finished.");
    }
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
      if (n < 0) return false;
      data += n;
      size -= static_cast<size_t>(n);
    }
    return true;
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
  int fd_ = -1;
};

struct Transfer {
  CURL* curl = nullptr;
  const PartFile* file = nullptr;
  Progress* progress = nullptr;
  uint64_t offset = 0;  // where this transfer started
  uint64_t received = 0;
  long status = 0;  // of the last response
  bool begun = false;
  bool disk_error = false;
  int disk_errno = 0;
  std::string linked_hash;
};

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& t = *static_cast<Transfer*>(user);
  std::string line(data, size * count);
  std::ranges::transform(line, line.begin(), [](unsigned char c) { return std::tolower(c); });
  constexpr std::string_view kKey = "x-linked-etag:";
  if (line.starts_with(kKey)) {
    std::string value = line.substr(kKey.size());
    std::erase_if(value, [](unsigned char c) { return std::isxdigit(c) == 0; });
    if (value.size() == 64) t.linked_hash = value;
  }
  return size * count;
}

size_t on_data(char* data, size_t size, size_t count, void* user) {
  auto& t = *static_cast<Transfer*>(user);
  if (!t.begun) {
    t.begun = true;
    curl_easy_getinfo(t.curl, CURLINFO_RESPONSE_CODE, &t.status);
    if (t.status >= 400) return 0;  // an error page is no model
    curl_off_t length = -1;
    curl_easy_getinfo(t.curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    if (length > 0) t.progress->set_total(t.offset + static_cast<uint64_t>(length));
  }
  if (!t.file->write(data, size * count)) {
    t.disk_error = true;
    t.disk_errno = errno;
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

// False where the server has no such file and that is no error.
bool transfer_file(const std::string& url, const fs::path& destination, std::string sha256,
                   const std::string& label, bool may_be_missing) {
  const fs::path part_path = destination.string() + ".part";
  const PartFile part(part_path);
  Progress progress(label, 0);
  Transfer transfer;
  transfer.file = &part;
  transfer.progress = &progress;
  transfer.offset = part.size();

  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 &curl_easy_cleanup);
  if (!curl) fail("download {}: libcurl does not start", url);
  transfer.curl = curl.get();
  std::array<char, CURL_ERROR_SIZE> message{};
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
  set(CURLOPT_ERRORBUFFER, message.data());
  set(CURLOPT_RESUME_FROM_LARGE, static_cast<curl_off_t>(transfer.offset));
  set(CURLOPT_WRITEFUNCTION, &on_data);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&transfer));
  set(CURLOPT_HEADERFUNCTION, &on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(&transfer));
  if (const char* bundle = std::getenv("SSL_CERT_FILE"); bundle != nullptr && *bundle != '\0')
    set(CURLOPT_CAINFO, bundle);
  if (const char* token = std::getenv("HF_TOKEN");
      token != nullptr && url.starts_with("https://huggingface.co/")) {
    set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    set(CURLOPT_XOAUTH2_BEARER, token);
  }

  CURLcode code = curl_easy_perform(curl.get());
  if (code == CURLE_RANGE_ERROR) {  // the server can't continue a file: all of it again
    part.truncate();
    transfer.offset = 0;
    transfer.begun = false;
    set(CURLOPT_RESUME_FROM_LARGE, curl_off_t{0});
    code = curl_easy_perform(curl.get());
  }
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &transfer.status);
  if (transfer.disk_error) {
    errno = transfer.disk_errno;
    Error error = system_error("write", part_path.string());
    throw Error(error.message(), "Make room and run the same command again: it continues.");
  }
  const bool whole_already =
      transfer.status == 416 && transfer.offset > 0;  // nothing is left to send
  if (transfer.status >= 400 && !whole_already) {
    if (part.size() == 0) fs::remove(part_path);
    if (transfer.status == 404 && may_be_missing) return false;
    throw Error(fmt::format("download {}: the server answered {}", url, transfer.status),
                explain(transfer.status));
  }
  if (code != CURLE_OK && !whole_already) {
    const bool kept = part.size() > 0;
    if (!kept) fs::remove(part_path);
    throw Error(fmt::format("download {}: {}", url,
                            message[0] != '\0' ? message.data() : curl_easy_strerror(code)),
                kept ? fmt::format("{} are here already. Run the same command again: it continues.",
                                   format_bytes(part.size()))
                     : "Check the address and the network.");
  }
  if (sha256.empty()) sha256 = transfer.linked_hash;
  if (!sha256.empty()) {
    const std::string found = sha256_of(part_path);
    if (found != sha256) {
      fs::remove(part_path);
      throw Error(
          fmt::format("download {}: SHA-256 is {}, expected {}", url, found, sha256),
          "The file was damaged on the way and has been removed. Run the same command again.");
    }
  }
  fs::rename(part_path, destination);
  return true;
}

}  // namespace

void download(const std::string& url, const fs::path& destination, std::string sha256,
              const std::string& label) {
  transfer_file(url, destination, std::move(sha256), label, false);
}

bool download_if_there(const std::string& url, const fs::path& destination,
                       const std::string& label) {
  return transfer_file(url, destination, "", label, true);
}

}  // namespace outboard::hub
