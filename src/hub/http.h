// One answer over HTTP, as text.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace outboard::hub {

struct HttpAnswer {
  long status = 0;
  std::string body;
};

struct HttpQuestion {
  std::string url;  // http or https
  std::vector<std::string> headers;
  std::string bearer;              // token; empty: none
  long seconds = 30;               // most that it may take
  size_t most_bytes = 64U << 20U;  // an answer that is longer is an error
};

// Throws Error "URL: why" when there is no answer; a status of 400 and more is one.
HttpAnswer ask(const HttpQuestion& question);

}  // namespace outboard::hub
