// Translating lines of text with an encoder-decoder model.
//
//   auto model = outboard::engine::Model::load("opus-mt-en-fr.gguf");
//   auto opened = outboard::machine::open_device("auto");
//   outboard::engine::Translator translator(model, *opened.device);
//   std::cout << translator.translate("How are you?").text;
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "devices/device.h"
#include "engine/beam_search.h"
#include "engine/engine.h"

namespace outboard::engine {

struct TranslatorOptions {
  // 0 and none: what the model's file asks for (marian.generation.*), or 4 beams, 1, no, 512.
  int beams = 0;
  std::optional<float> length_penalty;
  std::optional<EarlyStopping> early_stopping;
  int max_tokens = 0;  // of a translation, with the one that ends it
  int batch = 32;      // sentences under way together
  int best = 1;        // translations wanted of each line, at most `beams`
  // The language to translate to, for models that know several: "fra" or ">>fra<<". Lines may name
  // their own with a token at their beginning.
  std::string to;
  // Told what a person should hear, a sentence at a time: a line that begins with the token of a
  // language that the model does not know (once for each), which is translated as it stands; words
  // of which the model has no piece (once).
  std::function<void(std::string_view)> on_notice;
};

struct Translation {
  struct Choice {
    std::string text;
    std::vector<std::string> tokens;  // as the vocabulary spells them
    // Log probability over length^length_penalty (BeamOptions); of a line of several sentences, the
    // mean over their tokens.
    float score = 0;
    bool cut = false;  // a sentence reached max_tokens
  };
  std::string source;
  std::vector<Choice> choices;  // best first; one with an empty text for an empty line
  int source_tokens = 0;
  int tokens = 0;  // of the first choice
};

using LineId = uint64_t;

// Lines go in, translations come out, many sentences in one step: whatever ends makes room for the
// next. A line that is too long for good translations, or for the model, is split into sentences
// (and those into parts), translated apart and joined again. One thread at a time.
class Translator {
 public:
  // Throws Error when the model does not translate, or lacks the language asked for.
  // The device is borrowed: it outlives the translator.
  Translator(std::shared_ptr<const Model> model, devices::Device& device,
             const TranslatorOptions& options = {});
  ~Translator();
  Translator(const Translator&) = delete;
  Translator& operator=(const Translator&) = delete;

  // Queues a line (no newline in it). Throws Error when the model needs to be told the language,
  // and neither options.to nor the line names one that it knows. Lines of which the model knows
  // nothing (is_blank, a lone emoji) become empty ones.
  LineId add(std::string line);
  // Runs one step; false when there is nothing to run. Throws Error where logits are NaN or
  // infinite (engine/not_finite.h).
  bool step();
  // A finished line's translation, once; none while it runs.
  std::optional<Translation> take(LineId id);
  // Sentences that are queued and not under way: with fewer than a batch of them, more lines are
  // welcome.
  size_t waiting() const;
  // add, step until done, take.
  Translation translate(std::string line);

  // Decoder logits [target tokens + 1, vocabulary] of one source, the target given: row i is what
  // follows the start token and i target tokens. For tests and measurements.
  std::vector<float> logits(const std::vector<int32_t>& source, const std::vector<int32_t>& target);

  // Steps of the device so far.
  struct Work {
    uint64_t encodes = 0;
    uint64_t searches = 0;
  };
  const Work& work() const;
  const BeamOptions& beam_options() const;
  devices::MemoryUse memory() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace outboard::engine
