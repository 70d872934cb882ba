// Why a request is not answered: an Error with what the protocols say beside its text.
#pragma once

#include <string>
#include <utility>

#include "support/error.h"

namespace outboard::server {

class Refusal : public Error {
 public:
  // status: HTTP's. code: OpenAI's word for it ("context_length_exceeded", "model_not_found");
  // parameter: the request's field that is wrong. Both may be empty.
  Refusal(int status, std::string message, std::string code = {}, std::string parameter = {})
      : Error(std::move(message)),
        status_(status),
        code_(std::move(code)),
        parameter_(std::move(parameter)) {}

  int status() const { return status_; }
  const std::string& code() const { return code_; }
  const std::string& parameter() const { return parameter_; }

 private:
  int status_;
  std::string code_;
  std::string parameter_;
};

// The person's mistake, 400.
template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw Refusal(400, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace outboard::server
