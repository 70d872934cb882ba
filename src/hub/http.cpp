#include "hub/http.h"

#include <curl/curl.h>

#include <array>
#include <cstdlib>
#include <memory>

#include "hub/origin.h"
#include "support/error.h"

namespace outboard::hub {
namespace {

struct Reading {
  std::string body;
  size_t most;
};

size_t on_data(char* data, size_t size, size_t count, void* user) {
  auto& reading = *static_cast<Reading*>(user);
  if (reading.body.size() + size * count > reading.most) return 0;
  reading.body.append(data, size * count);
  return size * count;
}

}  // namespace

HttpAnswer ask(const HttpQuestion& question) {
  const std::string shown = shown_address(question.url);
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 &curl_easy_cleanup);
  if (!curl) fail("{}: libcurl does not start", shown);
  const auto set = [&](CURLoption option, auto value) {
    curl_easy_setopt(curl.get(), option, value);
  };
  Reading reading{{}, question.most_bytes};
  std::array<char, CURL_ERROR_SIZE> said{};
  set(CURLOPT_URL, question.url.c_str());
  set(CURLOPT_FOLLOWLOCATION, 1L);
  set(CURLOPT_MAXREDIRS, 10L);
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_USERAGENT, "outboard");
  set(CURLOPT_TIMEOUT, question.seconds);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_ERRORBUFFER, said.data());
  set(CURLOPT_WRITEFUNCTION, &on_data);
  set(CURLOPT_WRITEDATA, static_cast<void*>(&reading));
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(nullptr,
                                                                      &curl_slist_free_all);
  for (const std::string& header : question.headers) {
    curl_slist* longer = curl_slist_append(headers.get(), header.c_str());
    static_cast<void>(headers.release());
    headers.reset(longer);
  }
  set(CURLOPT_HTTPHEADER, headers.get());
  if (const char* bundle = std::getenv("SSL_CERT_FILE"); bundle != nullptr && *bundle != '\0')
    set(CURLOPT_CAINFO, bundle);
  if (!question.bearer.empty()) {
    set(CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BEARER));
    set(CURLOPT_XOAUTH2_BEARER, question.bearer.c_str());
  }
  const CURLcode code = curl_easy_perform(curl.get());
  if (code == CURLE_WRITE_ERROR)
    fail("{}: the answer is longer than {} bytes", shown, question.most_bytes);
  if (code != CURLE_OK)
    fail("{}: {}", shown, said[0] != '\0' ? said.data() : curl_easy_strerror(code));
  HttpAnswer answer;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  answer.body = std::move(reading.body);
  return answer;
}

}  // namespace outboard::hub
