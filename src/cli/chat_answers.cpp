#include "cli/chat_answers.h"

#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "support/mapped_file.h"
#include "support/notice.h"

namespace outboard::cli {
namespace {

using Clock = std::chrono::steady_clock;

// So long a device may be away, and so often it may fail before an answer has gone on.
constexpr std::chrono::seconds kPatience(30);
constexpr std::chrono::milliseconds kBetweenTries(500);
constexpr int kMostFailures = 2;

}  // namespace

ChatAnswers::ChatAnswers(LoadedModel& loaded, engine::SessionOptions options)
    : loaded_(loaded), options_(std::move(options)) {
  open();
  context_ = session_->context();
  options_.context = context_;  // another session must have the same
}

void ChatAnswers::open() {
  session_ = std::make_unique<engine::Session>(loaded_.model(), loaded_.device(), options_);
}

engine::Completion ChatAnswers::answer(engine::Request request) {
  const std::atomic<bool>* cancel = request.cancel;
  // What can't be written is no failure of the device.
  std::optional<Error> unwritten;
  if (request.on_text) {
    request.on_text = [&, write = std::move(request.on_text)](std::string_view text) {
      try {
        if (!unwritten) write(text);
      } catch (const Error& e) {
        unwritten = e;
      }
    };
  }
  if (session_ == nullptr) {
    loaded_.reopen_device();
    open();
  }
  const engine::SequenceId id = session_->add(std::move(request));
  int failures = 0;
  for (;;) {
    std::optional<engine::Completion> done = session_->take(id);
    if (unwritten) throw OutputFailed(unwritten->message(), unwritten->hint());
    if (done && done->error) throw Error(*done->error);
    if (done) return std::move(*done);
    try {
      session_->step();
    } catch (const Error& e) {
      if (++failures > kMostFailures) {
        session_ = nullptr;
        throw;
      }
      recover(e, cancel);
    }
  }
}

void ChatAnswers::recover(const Error& failure, const std::atomic<bool>* cancel) {
  MappedFile::check_all();  // a model that was cut is another matter
  notice("\noutboard: the device failed: {}\n{}{}", failure.message(), failure.hint(),
         failure.hint().empty() ? "" : "\n");
  const std::unique_ptr<engine::Session> failed = std::exchange(session_, nullptr);
  try {
    failed->detach();
  } catch (const Error& e) {
    notice("outboard: the device could not be put to rest: {}\n", e.message());
  }
  const auto give_up = Clock::now() + kPatience;
  for (;;) {
    try {
      loaded_.reopen_device();
      break;
    } catch (const Error&) {
      const bool is_told_to_stop = cancel != nullptr && cancel->load();
      if (is_told_to_stop || Clock::now() > give_up) throw;
      std::this_thread::sleep_for(kBetweenTries);
    }
  }
  open();
  session_->adopt(*failed);
  notice("outboard: {} is back, the answer goes on\n", loaded_.device().description());
}

}  // namespace outboard::cli
