// Models whose numbers go wrong: the error names the place.
#include "engine/not_finite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/perplexity.h"
#include "engine/tiny_files.h"
#include "engine/translator.h"
#include "formats/gguf_writer.h"
#include "machine/sim_device.h"
#include "models/tiny_model.h"

namespace outboard::engine {
namespace {

using ::testing::HasSubstr;

struct Damage {
  const char* architecture;
  const char* tensor;
  size_t element;
  float value;
  std::vector<const char*> says;
};
void PrintTo(const Damage& d, std::ostream* out) {
  *out << d.architecture << " " << d.tensor << " " << d.value;
}

class NotFiniteTest : public ::testing::TestWithParam<Damage> {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  void write(const Damage& damage) const {
    const formats::Model model = models::tiny_model(damage.architecture);
    std::vector<formats::TensorPlan> plans;
    for (const formats::Tensor& t : model.tensors()) plans.push_back({t.name, t.type, t.shape});
    formats::GgufWriter writer(path_, model.metadata, plans);
    for (const formats::Tensor& t : model.tensors()) {
      std::vector<std::byte> bytes(t.data.begin(), t.data.end());
      if (t.name == damage.tensor) std::memcpy(&bytes.at(damage.element * 4), &damage.value, 4);
      writer.append(bytes);
    }
    writer.finish();
  }

  static std::unique_ptr<devices::Device> open(bool card) {
    if (!card) return devices::open_cpu(2);
    simulator::card::CardOptions simulated;
    simulated.vram_bytes = simulated.bar0_bytes = uint64_t{1} << 30;
    return std::make_unique<machine::SimDevice>(simulated, devices::amd::AmdOptions{});
  }

  static Request request(const Model& model, const std::string& prompt, float temperature = 0) {
    Request r;
    r.prompt = model.tokenizer().encode(prompt, true, false);
    r.max_tokens = 20;
    r.temperature = temperature;
    r.seed = 1;
    r.ignore_end_of_text = true;
    return r;
  }

  template <typename Action>
  static Error error_of(const Action& action) {
    try {
      action();
    } catch (const Error& e) {
      return e;
    }
    return Error("no error");
  }

  std::filesystem::path path_ = temporary_model_path();
};

TEST_P(NotFiniteTest, IsAnErrorThatNamesThePlace) {
  const Damage& damage = GetParam();
  write(damage);
  for (const bool card : {false, true}) {
    const auto model = Model::load(path_);
    const auto device = open(card);
    const auto expect = [&](const Error& e) {
      EXPECT_THAT(e.message(), HasSubstr(path_.string()));
      EXPECT_THAT(e.message(), HasSubstr(device->description()));
      for (const char* part : damage.says)
        EXPECT_THAT(e.message() + " " + e.hint(), HasSubstr(part));
    };
    if (model->translates()) {
      Translator translator(model, *device, {});
      expect(error_of([&] { translator.translate("the small house"); }));
      continue;
    }
    SessionOptions options;
    options.context = 128;
    for (const float temperature : {0.0F, 1.0F}) {
      Session session(model, *device, options);
      expect(error_of([&] { session.generate(request(*model, "the rain", temperature)); }));
    }
    Session session(model, *device, options);
    const auto tokens = model->tokenizer().encode(std::string(300, 'a'), false, false);
    expect(error_of([&] { perplexity(session, *model, tokens, [](size_t, size_t) {}); }));
  }
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
INSTANTIATE_TEST_SUITE_P(
    Tiny, NotFiniteTest,
    ::testing::Values(
        Damage{"llama",
               "blk.1.ffn_down.weight",
               17 * 96 + 3,
               kNan,
               {"layer 1 ", "(linear), position 0: tensor blk.1.ffn_down.weight, row 17, holds NaN",
                "get it again"}},
        Damage{"llama",
               "blk.0.attn_norm.weight",
               5,
               INFINITY,
               {"layer 0 ",
                "(rms_norm), position 0: tensor blk.0.attn_norm.weight, element 5, "
                "holds an infinite number"}},
        Damage{"llama",
               "blk.1.ffn_norm.weight",
               5,
               3e38F,
               {"layer 1 ", "what goes in is finite", "leave the range of numbers",
                "wrongly converted"}},
        Damage{"llama", "output.weight", 200 * 64, kNan, {"logits", "output.weight, row 200"}},
        Damage{"qwen3moe",
               "blk.0.ffn_up_exps.weight",
               (96 + 7) * 64,
               kNan,
               {"layer 0 ", "(experts)", "blk.0.ffn_up_exps.weight, matrix 1, row 7, holds NaN"}},
        Damage{"marian",
               "enc.blk.1.ffn_up.weight",
               3 * 64,
               kNan,
               {" of the source, position 0", "enc.blk.1.ffn_up.weight, row 3, holds NaN"}},
        Damage{"marian",
               "dec.blk.0.cross_attn_q.bias",
               9,
               INFINITY,
               {"dec.blk.0.cross_attn_q.bias, element 9, holds an infinite number"}},
        // Beside one that is minus infinity by right.
        Damage{"marian", "output.bias", 9, kNan, {"output.bias, element 9, holds NaN"}}));

// Only what has read the letter z.
const Damage kLetter{"llama", "token_embd.weight", size_t{'z'} * 64 + 5, kNan, {}};

TEST_F(NotFiniteTest, OthersGoOn) {
  write(kLetter);
  for (const bool card : {false, true}) {
    const auto model = Model::load(path_);
    const auto device = open(card);
    SessionOptions options;
    options.context = 128;
    options.max_sequences = 2;
    Completion alone;
    {
      Session session(model, *device, options);
      alone = session.generate(request(*model, "the rain"));
    }
    ASSERT_EQ(alone.tokens.size(), 20u);
    Session session(model, *device, options);
    const SequenceId other = session.add(request(*model, "the rain"));
    const SequenceId broken = session.add(request(*model, "ooze"));
    while (session.step()) {
    }
    const auto failed = session.take(broken);
    ASSERT_TRUE(failed && failed->error);
    EXPECT_EQ(failed->finish, Finish::kFailed);
    EXPECT_THAT(failed->error->message(),
                HasSubstr("embedding (embed), position 2: tensor token_embd.weight, row "));
    const auto done = session.take(other);
    ASSERT_TRUE(done) << (card ? "card" : "cpu");
    EXPECT_EQ(done->tokens, alone.tokens);
    // Nothing that was computed is kept.
    EXPECT_EQ(session.generate(request(*model, "the rain")).tokens, alone.tokens);
  }
}

// In the midst of an answer: on the card, among steps that are queued together.
TEST_F(NotFiniteTest, AnAnswerEndsWhereItBreaks) {
  write({"llama", "", 0, 0, {}});
  Completion whole;
  Request asked;
  {
    const auto model = Model::load(path_);
    const auto device = open(false);
    Session session(model, *device, {});
    asked = request(*model, "the rain");
    whole = session.generate(asked);
  }
  // The first token from the fourth on that was not there before.
  size_t at = 3;
  const auto is_new = [&](size_t i) {
    const auto& before = whole.tokens;
    return std::find(before.begin(), before.begin() + static_cast<ptrdiff_t>(i), before[i]) ==
               before.begin() + static_cast<ptrdiff_t>(i) &&
           std::ranges::find(asked.prompt, before[i]) == asked.prompt.end();
  };
  while (!is_new(at)) ++at;
  ASSERT_LT(at, 12u);
  write({"llama", "token_embd.weight", static_cast<size_t>(whole.tokens[at]) * 64, kNan, {}});
  for (const bool card : {false, true}) {
    const auto model = Model::load(path_);
    const auto device = open(card);
    Session session(model, *device, {});
    std::string text;
    Request r = asked;
    r.on_text = [&](std::string_view more) { text += more; };
    const Error e = error_of([&] { session.generate(r); });
    const size_t position = asked.prompt.size() + at;
    EXPECT_THAT(e.message(), HasSubstr(fmt::format("behind {} tokens", position + 1)));
    EXPECT_THAT(e.message(),
                HasSubstr(fmt::format("embedding (embed), position {}: tensor token_embd.weight, "
                                      "row {}, holds NaN",
                                      position, whole.tokens[at])));
    EXPECT_FALSE(text.empty());
    EXPECT_TRUE(whole.text.starts_with(text)) << text << " of " << whole.text;
    EXPECT_LT(text.size(), whole.text.size());
  }
}

TEST_F(NotFiniteTest, ADeviceThatComputedWronglyIsNamed) {
  write({"llama", "", 0, 0, {}});
  for (const bool card : {false, true}) {
    const auto model = Model::load(path_);
    const auto device = open(card);
    const Error e = not_finite(*model, device->description(),
                               std::vector<Broken>{{std::vector<int32_t>(600, 66)}})
                        .error;
    EXPECT_THAT(e.message(), HasSubstr("600 tokens"));
    EXPECT_THAT(e.message(), HasSubstr(card ? "computed wrongly" : "once more, they are finite"));
    EXPECT_THAT(e.hint(), HasSubstr(card ? "outboard doctor" : "test its memory"));
  }
}

// Logits so far apart that the text is next to impossible.
TEST_F(NotFiniteTest, InfinitePerplexityIsAnError) {
  write({"llama", "output_norm.weight", 5, 1e7F, {}});
  const auto model = Model::load(path_);
  const auto device = open(false);
  SessionOptions options;
  options.context = 64;
  Session session(model, *device, options);
  const auto tokens = model->tokenizer().encode(std::string(150, 'a'), false, false);
  const Error e = error_of([&] { perplexity(session, *model, tokens, [](size_t, size_t) {}); });
  EXPECT_THAT(e.message(), HasSubstr("the perplexity is e^"));
}

}  // namespace
}  // namespace outboard::engine
