#include "engine/engine.h"
#include "models/models.h"
#include "support/error.h"
#include "support/sha256.h"

namespace outboard::engine {

void add_unheard(const formats::Metadata& metadata, std::vector<std::string>& unknown) {
  for (std::string& key : text::Tokenizer::unheard(metadata)) unknown.push_back(std::move(key));
  sampling_of(metadata, &unknown);
}

void judge_unknown(const formats::Model& model, std::span<const std::string> unknown, bool ignore,
                   const std::function<void(std::string_view)>& tell) {
  if (!ignore) formats::refuse_unknown(model.path, unknown);
  if (!tell) return;
  for (const std::string& line : unknown) tell(fmt::format("ignored, as you asked: {}", line));
  for (const std::string& note : model.notes) tell(note);
}

std::shared_ptr<const Model> Model::load(const std::filesystem::path& path,
                                         const LoadOptions& options) {
  std::shared_ptr<Model> model(
      new Model);  // NOLINT(cppcoreguidelines-owning-memory): private constructor
  model->file_ = std::make_shared<formats::Model>(models::open_model(path));
  std::vector<std::string> unknown = model->file_->unknown;
  model->program_ =
      options.build ? options.build(*model->file_) : models::build_program(*model->file_, &unknown);
  size_t tokens = 0;
  try {
    const formats::Metadata& metadata = model->file_->metadata;
    add_unheard(metadata, unknown);
    if (model->program_.encoder_ops > 0) {
      model->marian_tokenizer_ = std::make_unique<text::MarianTokenizer>(metadata);
      tokens = model->marian_tokenizer_->vocabulary_size();
    } else {
      model->tokenizer_ = text::Tokenizer::from_metadata(metadata);
      tokens = model->tokenizer_->vocabulary_size();
    }
  } catch (Error& e) {
    e.add_context(path.string());
    throw;
  }
  if (tokens > static_cast<size_t>(model->program_.vocabulary))
    fail("{}: the tokenizer has {} tokens, but the model's output only {}", path.string(), tokens,
         model->program_.vocabulary);
  judge_unknown(*model->file_, unknown, options.ignore_unknown, options.on_notice);
  if (options.on_notice && !model->translates())
    for (const std::string& note : model->tokenizer_->notes()) options.on_notice(note);
  return model;
}

std::string Model::identity() const {
  uint64_t bytes = 0;
  for (const formats::Tensor& tensor : file_->tensors()) bytes += tensor.data.size();
  std::error_code unknown;  // a file that has gone since: its time counts as none
  const auto time = std::filesystem::last_write_time(file_->path, unknown);
  const std::string text = fmt::format("{}\n{}\n{}", file_->path.string(), bytes,
                                       unknown ? 0 : time.time_since_epoch().count());
  return to_hex(sha256(std::as_bytes(std::span(text))));
}

const text::Tokenizer& Model::tokenizer() const {
  if (translates())
    throw Error(fmt::format("{} is a translation model", program_.name),
                "Use it with `outboard translate`.");
  return *tokenizer_;
}

const text::MarianTokenizer& Model::translation_tokenizer() const {
  if (!translates())
    throw Error(fmt::format("{} is a language model, not a translation model", program_.name),
                "Use it with `outboard run`, or pull one that translates: `outboard pull "
                "opus-mt-en-fr`.");
  return *marian_tokenizer_;
}

const text::ChatTemplate& Model::chat_template() const {
  const std::lock_guard lock(chat_template_mutex_);
  if (!chat_template_)
    chat_template_ = text::ChatTemplate::from_metadata(file_->metadata, *tokenizer_);
  return *chat_template_;
}

std::vector<int32_t> Model::chat_tokens(const std::vector<text::Message>& messages,
                                        const text::ChatOptions& options) const {
  return prompt_tokens(chat_prompt(messages, options));
}

text::TracedText Model::chat_prompt(const std::vector<text::Message>& messages,
                                    const text::ChatOptions& options) const {
  try {
    return chat_template().render(messages, options);
  } catch (Error& e) {
    e.add_context(file_->path.string());
    throw;
  }
}

std::vector<int32_t> Model::prompt_tokens(const text::TracedText& prompt) const {
  return tokenizer_->encode(prompt, !chat_template().starts_with_bos(prompt.bytes()));
}

}  // namespace outboard::engine
