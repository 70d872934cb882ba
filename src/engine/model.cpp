#include "engine/engine.h"
#include "models/models.h"
#include "support/error.h"

namespace outboard::engine {

std::shared_ptr<Model> Model::read(const std::filesystem::path& path) {
  std::shared_ptr<Model> model(
      new Model);  // NOLINT(cppcoreguidelines-owning-memory): private constructor
  model->file_ = std::make_shared<formats::Model>(formats::open_model(path));
  model->program_ = models::build_program(*model->file_);
  try {
    model->tokenizer_ = text::Tokenizer::from_metadata(model->file_->metadata);
  } catch (Error& e) {
    e.add_context(path.string());
    throw;
  }
  if (model->tokenizer_->vocabulary_size() > static_cast<size_t>(model->program_.vocabulary))
    fail("{}: the tokenizer has {} tokens, but the model's output only {}", path.string(),
         model->tokenizer_->vocabulary_size(), model->program_.vocabulary);
  return model;
}

std::shared_ptr<Model> Model::load(const std::filesystem::path& path, const LoadOptions& options) {
  std::shared_ptr<Model> model = read(path);
  // Last, so that a wrong file is told of before a card is booted for it.
  model->device_ = devices::open_device(options.device, options.open);
  return model;
}

std::shared_ptr<Model> Model::load(const std::filesystem::path& path,
                                   std::unique_ptr<devices::Device> device) {
  std::shared_ptr<Model> model = read(path);
  model->device_ = std::move(device);
  return model;
}

std::vector<int32_t> Model::chat_tokens(const std::vector<text::Message>& messages,
                                        const text::ChatOptions& options) const {
  try {
    if (!chat_template_)
      chat_template_ = text::ChatTemplate::from_metadata(file_->metadata, *tokenizer_);
    const std::string prompt = chat_template_->render(messages, options);
    return tokenizer_->encode(prompt, !chat_template_->starts_with_bos(prompt), true);
  } catch (Error& e) {
    e.add_context(file_->path.string());
    throw;
  }
}

}  // namespace outboard::engine
