// A C++ program that uses Outboard as a library: a model answers a question.
#include <iostream>

#include "engine/engine.h"
#include "hub/hub.h"
#include "machine/open.h"
#include "support/error.h"

int main(int count, char** arguments) try {
  // A file, or a name that `outboard pull` has got.
  const auto path = outboard::hub::find_model(count > 1 ? arguments[1] : "smollm2");
  auto model = outboard::engine::Model::load(path);
  auto opened = outboard::machine::open_device("auto");
  outboard::engine::Session session(model, *opened.device);
  outboard::engine::Request request;
  request.prompt = model->chat_tokens({{"user", "Why is the sky blue?"}});
  request.temperature = 0;
  request.max_tokens = 48;
  request.on_text = [](std::string_view text) { std::cout << text << std::flush; };
  session.generate(std::move(request));
  std::cout << '\n';
} catch (const outboard::Error& e) {
  std::cerr << e.message() << '\n' << e.hint() << '\n';
  return 1;
}
