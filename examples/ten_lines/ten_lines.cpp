// The example of src/engine/engine.h: a C++ program that uses Outboard as a library.
#include <iostream>

#include "engine/engine.h"
#include "machine/open.h"

int main(int, char** argv) {
  auto model = outboard::engine::Model::load(argv[1]);
  auto opened = outboard::machine::open_device("auto");
  outboard::engine::Session session(model, *opened.device);
  outboard::engine::Request request;
  request.prompt = model->chat_tokens({{"user", "Why is the sky blue?"}});
  request.temperature = 0;
  request.max_tokens = 48;
  request.on_text = [](std::string_view text) { std::cout << text << std::flush; };
  session.generate(std::move(request));
}
