#include "engine/speculation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "engine/engine.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

using Clock = std::chrono::steady_clock;

class LookupDrafter : public Drafter {
 public:
  std::vector<int32_t> draft(std::span<const int32_t> tokens, size_t most) override {
    constexpr size_t kLeast = 3, kEnough = 24;
    size_t best = kLeast - 1, follows = 0;
    for (size_t end = tokens.size(); --end >= kLeast && best < kEnough;) {
      // tokens[0 .. end) against all of them, from behind.
      size_t alike = 0;
      while (alike < std::min(end, kEnough) &&
             tokens[end - 1 - alike] == tokens[tokens.size() - 1 - alike])
        ++alike;
      if (alike <= best) continue;
      best = alike;
      follows = end;
    }
    if (follows == 0) return {};
    const auto next = tokens.subspan(follows, std::min(most, tokens.size() - follows));
    return {next.begin(), next.end()};
  }
};

class ModelDrafter : public Drafter {
 public:
  ModelDrafter(std::shared_ptr<const Model> draft, devices::Device& device, int context)
      : model_(std::move(draft)),
        context_(
            static_cast<size_t>(std::min<int64_t>(context, model_->program().context_length))) {
    constexpr size_t kPageTokens = 32;
    devices::CompileOptions options;
    options.page_tokens = kPageTokens;
    options.pages = static_cast<int>((context_ + kPageTokens - 1) / kPageTokens);
    options.max_tokens = static_cast<int>(std::min<size_t>(context_, 512));
    options.max_rows = 1;
    pages_.resize(static_cast<size_t>(options.pages));
    std::iota(pages_.begin(), pages_.end(), 0);
    program::Program program = program::without_drafter(model_->program());
    program::settle_context(program, static_cast<int64_t>(context_));
    executable_ = device.compile(std::move(program), model_->shared_file(), options);
  }

  std::vector<int32_t> draft(std::span<const int32_t> tokens, size_t most) override {
    std::vector<int32_t> guesses;
    if (tokens.size() + most > context_) return guesses;
    // What was guessed wrong is computed again: of keys and values only positions count.
    const auto same =
        static_cast<size_t>(std::ranges::mismatch(computed_, tokens).in1 - computed_.begin());
    computed_.resize(std::min(same, tokens.size() - 1));
    const auto limit = static_cast<size_t>(executable_->options().max_tokens);
    int32_t last = -1;
    while (computed_.size() < tokens.size()) {
      const auto part = tokens.subspan(computed_.size());
      last = step(part.first(std::min(part.size(), limit)), part.size() <= limit);
    }
    while (last >= 0) {
      guesses.push_back(last);
      if (guesses.size() == most) break;
      const std::array<int32_t, 1> next{last};
      last = step(next, true);
    }
    return guesses;
  }
  void forget() override { computed_.clear(); }

 private:
  // The likeliest token behind these, where it is wanted and there is one.
  int32_t step(std::span<const int32_t> tokens, bool wanted) {
    const devices::Sampling greedy;
    devices::Run run{tokens, static_cast<int>(computed_.size()), pages_};
    if (wanted) {
      run.logits = devices::Run::Logits::kLast;
      run.sampling = &greedy;
    }
    const devices::StepResult result = executable_->wait(executable_->submit({{&run, 1}, {}}));
    computed_.insert(computed_.end(), tokens.begin(), tokens.end());
    return result.tokens[0];
  }

  std::shared_ptr<const Model> model_;
  size_t context_;
  std::unique_ptr<devices::Executable> executable_;
  std::vector<int32_t> pages_;
  std::vector<int32_t> computed_;  // tokens whose keys and values are in pages
};

}  // namespace

std::string_view name_of(Speculation speculation) {
  switch (speculation) {
    case Speculation::kAuto:
      return "auto";
    case Speculation::kOff:
      return "off";
    case Speculation::kLookup:
      return "lookup";
    case Speculation::kMtp:
      return "mtp";
    case Speculation::kDraft:
      return "draft";
  }
  return "?";
}

std::optional<Speculation> speculation_of(std::string_view name) {
  for (const Speculation each : {Speculation::kAuto, Speculation::kOff, Speculation::kLookup,
                                 Speculation::kMtp, Speculation::kDraft})
    if (name == name_of(each)) return each;
  return std::nullopt;
}

std::unique_ptr<Drafter> lookup_drafter() { return std::make_unique<LookupDrafter>(); }

std::unique_ptr<Drafter> model_drafter(std::shared_ptr<const Model> draft, const Model& model,
                                       devices::Device& device, int context) {
  const text::Tokenizer& own = model.tokenizer();
  const text::Tokenizer& other = draft->tokenizer();
  const size_t size = std::min(own.vocabulary_size(), other.vocabulary_size());
  const std::string& name = draft->program().name;
  for (size_t id = 0; id < size; ++id) {
    const auto token = static_cast<int32_t>(id);
    if (own.piece(token, true) != other.piece(token, true))
      throw Error(
          fmt::format("{} can't draft for {}: token {} is \"{}\" there and \"{}\" here", name,
                      model.program().name, id, other.piece(token, true), own.piece(token, true)),
          "A draft model has the same vocabulary: choose a smaller one of the same family.");
  }
  // Some models of a family have tokens more, which mean nothing; a few.
  constexpr size_t kPadding = 1024;
  if (other.vocabulary_size() > own.vocabulary_size() || own.vocabulary_size() - size > kPadding)
    throw Error(fmt::format("{} can't draft for {}: it has {} tokens, and the other {}", name,
                            model.program().name, other.vocabulary_size(), own.vocabulary_size()),
                "A draft model has the same vocabulary: choose a smaller one of the same family.");
  if (!draft->program().slot_states.empty())
    throw Error(fmt::format("{} can't draft: it keeps recurrent states, which can't be taken back "
                            "where a guess was wrong",
                            name),
                "Choose a draft model with attention alone, or --speculate lookup.");
  return std::make_unique<ModelDrafter>(std::move(draft), device, context);
}

void DraftLength::begin() {
  patience_ = kPatience;
  since_drafted_ = 0;
  tries_ = false;
}

double DraftLength::seconds_of(size_t tokens) const {
  // On a busy machine a wider step may seem to be the faster one: it is not.
  double least = 0;
  size_t known = 1;
  for (size_t n = 1; n <= tokens; ++n)
    if (seconds_[n] > 0) {
      least = std::max(least, seconds_[n]);
      known = n;
    }
  // Of those that are not known, a little more than the next shorter one: worth a try.
  constexpr double kMore = 0.05;
  return least * (1 + kMore * static_cast<double>(tokens - known));
}

size_t DraftLength::choose(size_t most) {
  most = std::min(most, kMaxDraft);
  ++since_drafted_;
  tries_ = false;
  if (most == 0 || seconds_[1] == 0) return 0;  // a plain step has to be known first
  double tokens = 1, right = 1, best = 1 / seconds_of(1);
  best *= 1.02;  // not for nothing
  size_t chosen = 0;
  for (size_t n = 1; n <= most; ++n) {
    right *= right_[n - 1];
    tokens += right;
    const double rate = tokens / (seconds_of(n + 1) + draft_seconds_ * static_cast<double>(n));
    if (rate > best) {
      best = rate;
      chosen = n;
    }
  }
  // Texts change: a short try now and then, which costs a part of a step in so many.
  tries_ = chosen == 0 && since_drafted_ >= patience_;
  if (tries_) chosen = std::min<size_t>(most, 2);
  if (chosen > 0) since_drafted_ = 0;
  return chosen;
}

void DraftLength::took(size_t tokens, double seconds) {
  if (tokens >= seconds_.size()) return;
  double& known = seconds_[tokens];
  // A step that something else held up says little.
  const double sample = known > 0 ? std::min(seconds, 4 * known) : seconds;
  known = known > 0 ? known + (sample - known) / 8 : sample;
}

void DraftLength::drafted(size_t tokens, double seconds) {
  if (tokens == 0) return;
  const double each = seconds / static_cast<double>(tokens);
  draft_seconds_ = draft_seconds_ > 0 ? draft_seconds_ + (each - draft_seconds_) / 8 : each;
}

void DraftLength::compared(size_t guesses, size_t right) {
  constexpr int kMemory = 12;
  for (size_t n = 0; n < std::min(guesses, right + 1); ++n) {
    seen_[n] = std::min(seen_[n] + 1, kMemory);
    right_[n] += ((n < right ? 1.0 : 0.0) - right_[n]) / std::max(2, seen_[n]);
  }
  if (right > 0) {
    patience_ = kPatience;
  } else if (tries_) {
    patience_ = std::min(2 * patience_, kMostPatience + 1);
  }
}

}  // namespace outboard::engine
