// The one error type of the project.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace outboard {

// An error reads from outside to inside, "file or device: part: expected, actual", and may carry a
// hint: one sentence that says what the person can do. The program prints both and exits with 1.
class Error : public std::exception {
 public:
  explicit Error(std::string message, std::string hint = {})
      : message_(std::move(message)), hint_(std::move(hint)) {}

  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& message() const noexcept { return message_; }
  const std::string& hint() const noexcept { return hint_; }

  // Puts "outer: " in front of the message, for a caller that knows more than the thrower did:
  //   catch (Error& e) { e.add_context(path); throw; }
  void add_context(std::string_view outer);
  // Puts "; more" behind the message: what else is known.
  void add_detail(std::string_view more);

 private:
  std::string message_;
  std::string hint_;
};

// Throws an Error with a formatted message.
template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
}

// An Error from errno, "ACTION PATH: reason"; call right after the failed system call.
Error system_error(std::string_view action, std::string_view path);

}  // namespace outboard
