// Answers of a conversation, on a device that may fail under it.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "cli/options.h"
#include "engine/engine.h"

namespace outboard::cli {

// What was answered could not be written.
class OutputFailed : public Error {
 public:
  using Error::Error;
};

class ChatAnswers {
 public:
  ChatAnswers(LoadedModel& loaded, engine::SessionOptions options);

  // One answer. When the device fails it is opened again, with some patience, and the answer goes
  // on where it was; the person is told. Throws Error where that fails, too (the next answer tries
  // again), what the request itself is refused with, and OutputFailed for what on_text throws.
  // request.cancel ends the waiting.
  engine::Completion answer(engine::Request request);

  int context() const { return context_; }

 private:
  void open();
  void recover(const Error& failure, const std::atomic<bool>* cancel);

  LoadedModel& loaded_;
  engine::SessionOptions options_;
  std::unique_ptr<engine::Session> session_;  // null: the device failed and is not back
  int context_ = 0;
};

}  // namespace outboard::cli
