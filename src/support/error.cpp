#include "support/error.h"

#include <cerrno>
#include <system_error>

namespace outboard {

void Error::add_context(std::string_view outer) {
  message_ = fmt::format("{}: {}", outer, message_);
}

void Error::add_detail(std::string_view more) { message_ += fmt::format("; {}", more); }

Error system_error(std::string_view action, std::string_view path) {
  // generic_category().message() is thread-safe where strerror() is not.
  return Error(fmt::format("{} {}: {}", action, path, std::generic_category().message(errno)));
}

}  // namespace outboard
