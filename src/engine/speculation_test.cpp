// Answers with guesses are those without, whoever guesses and however wrong.
#include "engine/speculation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "engine/engine.h"
#include "engine/tiny_files.h"
#include "machine/sim_device.h"
#include "models/tiny_model.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

using Tokens = std::vector<int32_t>;
using ::testing::ElementsAre;

TEST(LookupDrafter, TakesWhatFollowedTheLongestOfThoseAlike) {
  const auto drafter = lookup_drafter();
  const auto draft = [&](const Tokens& tokens, size_t most) {
    return drafter->draft(tokens, most);
  };
  EXPECT_THAT(draft({1, 2, 3, 4, 5, 1, 2, 3}, 7), ElementsAre(4, 5, 1, 2, 3));
  EXPECT_THAT(draft({1, 2, 3, 4, 5, 1, 2, 3}, 2), ElementsAre(4, 5));
  // The last of equals, the longer one of others.
  EXPECT_THAT(draft({1, 2, 3, 4, 0, 1, 2, 3, 5, 0, 0, 1, 2, 3}, 1), ElementsAre(5));
  EXPECT_THAT(draft({9, 1, 2, 3, 4, 0, 1, 2, 3, 5, 0, 9, 1, 2, 3}, 1), ElementsAre(4));
  EXPECT_THAT(draft({7, 7, 7, 7}, 7), ElementsAre(7));
  EXPECT_THAT(draft({1, 2, 0, 1, 2}, 7), ElementsAre());
  EXPECT_THAT(draft({1}, 7), ElementsAre());
}

// Steps that cost `more` of a plain one for each token, and guesses that are right so often.
int drafts_of(double more, size_t right, int steps = 400) {
  DraftLength length;
  int drafted = 0;
  for (int step = 0; step < steps; ++step) {
    const size_t n = length.choose(kMaxDraft);
    length.took(n + 1, 0.01 * (1 + more * static_cast<double>(n)));
    if (n > 0) length.compared(n, std::min(n, right));
    drafted += static_cast<int>(n);
  }
  return drafted;
}

TEST(DraftLength, FollowsWhatGains) {
  EXPECT_GT(drafts_of(0.1, kMaxDraft), 400 * 6);  // right and cheap: as many as there may be
  EXPECT_LT(drafts_of(0.1, 2), 400 * 4);          // two are right: not many more
  EXPECT_GT(drafts_of(0.1, 2), 400 * 3 / 2);
  // Never right: a few tries, of which each costs a part of a step.
  EXPECT_LT(drafts_of(0.1, 0), 400 * 3 / 10);
  EXPECT_LT(drafts_of(1.0, kMaxDraft), 400 * 3 / 10);  // right, but as dear as plain steps
  // A wider step that something made look faster is not believed.
  EXPECT_LT(drafts_of(-0.1, 0), 400 * 6 / 10);
}

TEST(DraftLength, GivesUpInATextAndBeginsAgainInTheNext) {
  DraftLength length;
  const auto steps = [&](int count, size_t right) {
    for (int step = 0; step < count; ++step) {
      const size_t n = length.choose(kMaxDraft);
      length.took(n + 1, 0.01);
      if (n > 0) length.compared(n, std::min(n, right));
    }
  };
  steps(300, 0);
  EXPECT_FALSE(length.gave_up());
  steps(600, 0);
  EXPECT_TRUE(length.gave_up());
  length.begin();
  EXPECT_FALSE(length.gave_up());
  steps(100, 2);  // it is tried, and right
  EXPECT_FALSE(length.gave_up());
  steps(600, 2);
  EXPECT_GT(length.choose(kMaxDraft), 0);
}

std::shared_ptr<const Model> tiny(const std::string& architecture, unsigned seed = 1) {
  const std::filesystem::path path = temporary_model_path();
  models::write_tiny_model(path, architecture, seed);
  const auto model = Model::load(path);
  std::filesystem::remove(path);  // it is mapped
  return model;
}

struct Case {
  std::string device, architecture;

  friend void PrintTo(const Case& c, std::ostream* out) {
    *out << c.device << " " << c.architecture;
  }
};

class Speculates : public ::testing::TestWithParam<Case> {
 protected:
  Speculates() : model_(tiny(GetParam().architecture)) {
    if (GetParam().device == "cpu") {
      device_ = devices::open_cpu(2);
      return;
    }
    simulator::card::CardOptions card;
    card.vram_bytes = card.bar0_bytes = uint64_t{1} << 30;
    card.strict = true;
    auto opened = std::make_unique<machine::SimDevice>(card, devices::amd::AmdOptions{});
    card_ = opened.get();
    device_ = std::move(opened);
  }
  void TearDown() override {
    if (card_ == nullptr) return;
    EXPECT_THAT(card_->shut_down(), ::testing::IsEmpty());
  }
  static SessionOptions options(Speculation speculation) {
    SessionOptions o;
    o.context = 256;
    o.max_step_tokens = 64;
    o.snapshots = 4;
    o.speculation = speculation;
    o.draft_tokens = 4;
    return o;
  }
  // Of a few tokens alone, so that texts repeat themselves, and go other ways.
  Request request(int seed, float temperature) const {
    Request r;
    for (int i = 0; i < 40; ++i) r.prompt.push_back((i * i + seed) % 5 + 40);
    for (int32_t token = 0; token < static_cast<int32_t>(model_->tokenizer().vocabulary_size());
         ++token)
      if (token < 40 || token > 43) r.logit_bias.emplace_back(token, -100.0F);
    r.temperature = temperature;
    r.seed = static_cast<uint64_t>(seed);
    r.max_tokens = card_ == nullptr ? 120 : 24;
    r.ignore_end_of_text = true;
    return r;
  }
  Completion answer(const SessionOptions& o, const Request& r) {
    return Session(model_, *device_, o).generate(r);
  }

  std::shared_ptr<const Model> model_;
  std::unique_ptr<devices::Device> device_;
  machine::SimDevice* card_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(Devices, Speculates,
                         ::testing::Values(Case{"cpu", "llama"}, Case{"cpu", "qwen35"},
                                           Case{"cpu", "falcon-h1"}, Case{"cpu", "lfm2"},
                                           Case{"cpu", "gemma3"}, Case{"sim", "llama"},
                                           Case{"sim", "qwen35"}),
                         [](const auto& test) {
                           std::string name = test.param.device + "_" + test.param.architecture;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// Greedy and sampled, guesses that are right and wrong.
TEST_P(Speculates, TheTextIsTheSame) {
  int drafted = 0, accepted = 0;
  for (const int seed : {1, 2, 3})
    for (const float temperature : {0.0F, 1.0F}) {
      if (card_ != nullptr && (seed > 1 || temperature > 0)) continue;
      const Request r = request(seed, temperature);
      const Completion want = answer(options(Speculation::kOff), r);
      const Completion got = answer(options(Speculation::kLookup), r);
      EXPECT_EQ(got.tokens, want.tokens) << seed << " at " << temperature;
      EXPECT_EQ(got.finish, want.finish);
      EXPECT_EQ(want.drafted_tokens, 0);
      drafted += got.drafted_tokens;
      accepted += got.accepted_tokens;
    }
  EXPECT_GT(accepted, 0);
  EXPECT_LT(accepted, drafted);
}

// Rows of which the device chooses, greedy and drawn, with a penalty that looks back on guesses.
TEST_P(Speculates, TheDeviceChooses) {
  int drafted = 0, accepted = 0;
  for (const int seed : {1, 2, 3}) {
    if (card_ != nullptr && seed > 1) continue;
    Request r = request(seed, seed == 3 ? 0.3F : 0);
    r.logit_bias.clear();
    r.repeat_penalty = seed == 2 ? 1.05F : 1;
    r.max_tokens = card_ == nullptr ? 400 : 60;
    SessionOptions o = options(Speculation::kOff);
    o.context = 512;
    const Completion want = answer(o, r);
    o.speculation = Speculation::kLookup;
    const Completion got = answer(o, r);
    EXPECT_EQ(got.tokens, want.tokens) << seed;
    drafted += got.drafted_tokens;
    accepted += got.accepted_tokens;
  }
  // These texts do not come round to what they had before, in so few tokens.
  if (GetParam().architecture == "falcon-h1" ||
      (card_ != nullptr && !model_->program().slot_states.empty()))
    return;
  EXPECT_GT(drafted, accepted);
  EXPECT_GT(accepted, 0);
}

// With a head of random weights hardly any guess is right.
TEST_P(Speculates, ByItsOwnHead) {
  if (model_->program().drafter_ops == 0) {
    EXPECT_THROW(answer(options(Speculation::kMtp), request(1, 0)), Error);
    return;
  }
  SessionOptions mtp = options(Speculation::kMtp);
  mtp.draft_tokens = 3;
  for (const float temperature : {0.0F, 1.0F})
    for (const bool is_biased : {false, true}) {
      // The card's kernels for one row and for several round otherwise: a draw can come out
      // otherwise.
      if (card_ != nullptr && (is_biased || temperature > 0)) continue;
      Request r = request(1, temperature);
      if (!is_biased) r.logit_bias.clear();
      const Completion want = answer(options(Speculation::kOff), r);
      const Completion got = answer(mtp, r);
      EXPECT_EQ(got.tokens, want.tokens) << temperature;
      EXPECT_GE(got.drafted_tokens, r.max_tokens);
    }
  // Several sequences, of which one goes on alone; what is unset takes the head, too.
  SessionOptions several = options(Speculation::kAuto);
  several.max_sequences = 2;
  Session session(model_, *device_, several);
  Request shorter = request(2, 0);
  shorter.max_tokens = 6;
  const SequenceId first = session.add(shorter), second = session.add(request(3, 0));
  while (session.step()) {
  }
  EXPECT_EQ(session.take(first)->tokens, answer(options(Speculation::kOff), shorter).tokens);
  const Completion alone = *session.take(second);
  EXPECT_EQ(alone.tokens, answer(options(Speculation::kOff), request(3, 0)).tokens);
  EXPECT_GT(alone.drafted_tokens, 0);
}

// Of the model itself all guesses are right; of another one of its tokens hardly any is.
TEST_P(Speculates, ByADraftModel) {
  if (card_ != nullptr) return;  // the devices differ in nothing that this asks
  Request r = request(1, 0);
  r.logit_bias.clear();
  const Completion want = answer(options(Speculation::kOff), r);
  SessionOptions o = options(Speculation::kDraft);
  o.draft = tiny("llama", 7);
  const Completion other = answer(o, r);
  EXPECT_EQ(other.tokens, want.tokens);
  EXPECT_GT(other.drafted_tokens, 100);
  o.draft = model_;
  if (!model_->program().slot_states.empty()) {
    EXPECT_THROW(answer(o, r), Error);  // its states can't be taken back
    return;
  }
  const Completion own = answer(o, r);
  EXPECT_EQ(own.tokens, want.tokens);
  EXPECT_EQ(own.accepted_tokens, own.drafted_tokens);
  EXPECT_GT(own.accepted_tokens, 90);
}

// What a session keeps of a text that was answered with guesses is what it would be without.
TEST_P(Speculates, ALaterTurnGoesOn) {
  if (card_ != nullptr) return;  // the devices differ in nothing that this asks
  Session session(model_, *device_, options(Speculation::kLookup));
  const Completion first = session.generate(request(2, 0));
  EXPECT_GT(first.drafted_tokens, first.accepted_tokens);
  Request r = request(2, 0);
  r.prompt.insert(r.prompt.end(), first.tokens.begin(), first.tokens.end());
  r.prompt.push_back(50);
  r.max_tokens = 30;
  SessionOptions plain = options(Speculation::kOff);
  plain.prefix_cache = false;
  const Completion got = session.generate(r);
  EXPECT_EQ(got.tokens, answer(plain, r).tokens);
  EXPECT_GE(got.cached_tokens, 128);  // 40 and 120, but for what no page and no snapshot holds
}

// Three tokens that are drawn, the last two of them with guesses, against what the model's logits
// say of all that could come: Pearson's test over those that are likely enough.
TEST(Speculation, DrawnTokensAreDistributedAsTheModelSays) {
  constexpr size_t kChoices = 4, kDraws = 6000;
  const std::shared_ptr<const Model> model = tiny("llama");
  const auto device = devices::open_cpu(1);
  SessionOptions o;
  o.context = 64;
  o.speculation = Speculation::kDraft;
  o.draft = model;  // its greedy guesses are right as often as the likeliest token is drawn
  o.draft_tokens = 2;
  Session session(model, *device, o);
  Request r;
  r.prompt = {90, 41, 72, 43, 55};
  r.temperature = 1.5F;
  r.top_k = kChoices;
  r.top_p = 1;
  r.min_p = 0;
  r.max_tokens = 3;
  r.ignore_end_of_text = true;

  std::map<std::vector<int32_t>, double> expected;
  const std::function<void(std::vector<int32_t>, double)> expect = [&](std::vector<int32_t> text,
                                                                       double likely) {
    if (text.size() == r.prompt.size() + 3) {
      expected[{text.end() - 3, text.end()}] = likely * kDraws;
      return;
    }
    std::vector<std::pair<float, int32_t>> best;
    session.evaluate(text, [&](size_t first, std::span<const float> rows) {
      const auto width = static_cast<size_t>(model->program().vocabulary);
      if (first + rows.size() / width != text.size()) return;
      for (size_t t = 0; t < width; ++t)
        best.emplace_back(rows[rows.size() - width + t], static_cast<int32_t>(t));
    });
    std::ranges::sort(best, std::greater());
    double sum = 0;
    for (size_t i = 0; i < kChoices; ++i)
      sum += std::exp((best[i].first - best[0].first) / static_cast<double>(r.temperature));
    text.push_back(0);
    for (size_t i = 0; i < kChoices; ++i) {
      text.back() = best[i].second;
      expect(text,
             likely *
                 std::exp((best[i].first - best[0].first) / static_cast<double>(r.temperature)) /
                 sum);
    }
  };
  expect(r.prompt, 1);

  std::map<std::vector<int32_t>, double> drawn;
  std::mt19937_64 seeds(1);
  int right = 0, guesses = 0;
  for (size_t i = 0; i < kDraws; ++i) {
    r.seed = seeds();
    const Completion c = session.generate(r);
    drawn[c.tokens] += 1;
    right += c.accepted_tokens;
    guesses += c.drafted_tokens;
  }
  EXPECT_GT(right, guesses / 10);
  EXPECT_LT(right, guesses * 9 / 10);
  double sum = 0, rest = kDraws, rest_drawn = kDraws;
  int cells = 0;
  for (const auto& [tokens, count] : expected) {
    if (count < 8) continue;
    sum += (drawn[tokens] - count) * (drawn[tokens] - count) / count;
    rest -= count;
    rest_drawn -= drawn[tokens];
    ++cells;
  }
  if (rest >= 8) {
    sum += (rest_drawn - rest) * (rest_drawn - rest) / rest;
    ++cells;
  }
  // Its mean is the degrees of freedom, its variance twice as much.
  const double freedom = cells - 1;
  EXPECT_GT(cells, 20);
  EXPECT_LT(sum, freedom + 3.5 * std::sqrt(2 * freedom)) << cells << " kinds of texts";
}

TEST(ModelDrafter, OtherTokensAreRefused) {
  const auto cpu = devices::open_cpu(1);
  const auto model = tiny("llama");
  const std::filesystem::path path = temporary_model_path();
  formats::Model other = models::tiny_model("llama");
  other.metadata.set("tokenizer.ggml.merges",
                     formats::MetadataArray{std::vector<std::string>{"t h", "h e"}});
  std::vector<std::string> tokens = other.metadata.get_strings("tokenizer.ggml.tokens");
  std::swap(tokens[40], tokens[41]);
  other.metadata.set("tokenizer.ggml.tokens", formats::MetadataArray{tokens});
  models::write_model(path, other);
  const auto draft = Model::load(path);
  std::filesystem::remove(path);
  try {
    model_drafter(draft, *model, *cpu, 128);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.message(), ::testing::HasSubstr("token 40 is"));
  }
}

}  // namespace
}  // namespace outboard::engine
