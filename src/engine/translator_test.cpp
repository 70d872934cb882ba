// Translators of a tiny model, on the CPU and on the simulated card.
#include "engine/translator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/tiny_files.h"
#include "machine/sim_device.h"
#include "support/error.h"

namespace outboard::engine {
namespace {

using ::testing::HasSubstr;

const std::vector<std::string> kLines = {
    "the small house", "a river", "x", "we walk to the market", "nobody knows", "", "seven trains"};

class TranslatorTest : public ::testing::Test {
 protected:
  // Null faults: none, and a strict card.
  void open_card(const char* faults, std::chrono::milliseconds patience) {
    simulator::card::CardOptions card;
    card.vram_bytes = card.bar0_bytes = uint64_t{1} << 30;
    card.strict = faults == nullptr;
    if (faults != nullptr) card.faults = simulator::card::FaultPlan::parse(faults, "test");
    devices::amd::AmdOptions options;
    options.patience = patience;
    options.boot.wait = patience;
    card_ = std::make_unique<machine::SimDevice>(card, options);
  }

  // Random weights seldom end a sentence: they are cut.
  static TranslatorOptions options(int batch) {
    TranslatorOptions o;
    o.beams = 4;
    o.batch = batch;
    o.max_tokens = 10;
    o.best = 2;
    return o;
  }

  static std::vector<Translation> translate(Translator& translator) {
    std::vector<LineId> ids;
    for (const std::string& line : kLines) ids.push_back(translator.add(line));
    while (translator.step()) {
    }
    std::vector<Translation> all;
    for (const LineId id : ids) all.push_back(translator.take(id).value());
    return all;
  }

  // Of all choices, at least `same` (of 13) have the same tokens; all have like scores.
  static void expect_alike(const std::vector<Translation>& got,
                           const std::vector<Translation>& want, int same, float tolerance) {
    ASSERT_EQ(got.size(), want.size());
    int equal = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(got[i].choices.size(), want[i].choices.size());
      for (size_t k = 0; k < got[i].choices.size(); ++k) {
        equal += got[i].choices[k].tokens == want[i].choices[k].tokens ? 1 : 0;
        EXPECT_NEAR(got[i].choices[k].score, want[i].choices[k].score, tolerance) << kLines[i];
      }
    }
    EXPECT_GE(equal, same);
  }

  std::shared_ptr<const Model> model_ = Model::load(TinyFile("marian").path());
  std::unique_ptr<devices::Device> cpu_ = devices::open_cpu(0);
  std::unique_ptr<machine::SimDevice> card_;
};

constexpr std::chrono::hours kNoHurry(1);

TEST_F(TranslatorTest, LinesAreTranslatedAlikeInAnyCompany) {
  Translator alone(model_, *cpu_, options(1)), together(model_, *cpu_, options(3));
  const std::vector<Translation> want = translate(alone);
  expect_alike(translate(together), want, 13, 1e-4F);
  // Every line says something of its own.
  for (size_t i = 1; i < 4; ++i) EXPECT_NE(want[i].choices[0].tokens, want[0].choices[0].tokens);
  EXPECT_EQ(want[5].choices[0].text, "");
  EXPECT_EQ(want[0].choices.size(), 2u);
  EXPECT_GE(want[0].choices[0].score, want[0].choices[1].score);
  EXPECT_EQ(alone.work().encodes, 6u);
  EXPECT_LT(together.work().encodes, 6u);
}

TEST_F(TranslatorTest, LongLinesAreSplit) {
  Translator translator(model_, *cpu_, options(4));
  std::string line;
  for (int i = 0; i < 12; ++i) line += "The small house stands by a river. ";
  const Translation whole = translator.translate(line);
  const Translation part = translator.translate("The small house stands by a river.");
  EXPECT_EQ(whole.tokens, 12 * part.tokens);
  EXPECT_NEAR(whole.choices[0].score, part.choices[0].score, 1e-4F);
}

TEST_F(TranslatorTest, RefusesWhatItCannotDo) {
  const auto message = [&](const TranslatorOptions& o) {
    try {
      Translator translator(model_, *cpu_, o);
    } catch (const Error& e) {
      return e.message() + " / " + e.hint();
    }
    return std::string("no error");
  };
  TranslatorOptions o = options(4);
  o.beams = 17;
  EXPECT_THAT(message(o), HasSubstr("1 to 16"));
  o = options(4);
  o.best = 5;
  EXPECT_THAT(message(o), HasSubstr("5 best of 4 beams"));
  o = options(4);
  o.to = "fra";
  EXPECT_THAT(message(o), HasSubstr("one language only"));
  EXPECT_THROW((Session{model_, *cpu_}), Error);
}

TEST_F(TranslatorTest, TheCardTranslatesLikeTheCpu) {
  open_card(nullptr, kNoHurry);
  Translator on_cpu(model_, *cpu_, options(3));
  const std::vector<Translation> want = translate(on_cpu);
  auto translator = std::make_unique<Translator>(model_, *card_, options(3));
  Translator& on_card = *translator;
  // The card's float16 may decide the other way where two beams are all but equal.
  expect_alike(translate(on_card), want, 10, 2e-2F);
  // Streams are recorded now: a step costs one message, and none that is answered.
  const auto before = card_->card().counters();
  const Translator::Work work = on_card.work();
  translate(on_card);
  const auto after = card_->card().counters();
  const uint64_t steps =
      on_card.work().encodes - work.encodes + on_card.work().searches - work.searches;
  EXPECT_LE(after.doorbells - before.doorbells, steps);
  for (int bar = 0; bar < 6; ++bar) EXPECT_EQ(after.mmio_reads[bar], before.mmio_reads[bar]) << bar;
  EXPECT_EQ(after.mmio_writes[0] + after.mmio_writes[5],
            before.mmio_writes[0] + before.mmio_writes[5]);
  EXPECT_EQ(after.config_reads, before.config_reads);
  translator.reset();
  EXPECT_THAT(card_->shut_down(), ::testing::IsEmpty());
}

TEST_F(TranslatorTest, TheCardGoesOnAfterAHang) {
  open_card(R"([{"what": "mec.queue-hang", "skip": 2500, "count": 1}])",
            std::chrono::milliseconds(4000));
  Translator on_cpu(model_, *cpu_, options(3)), on_card(model_, *card_, options(3));
  expect_alike(translate(on_card), translate(on_cpu), 10, 2e-2F);
  EXPECT_GT(card_->amd().generation(), 0);
}

TEST_F(TranslatorTest, LogitsAreComputedAgainAfterAHang) {
  open_card(R"([{"what": "mec.queue-hang", "skip": 900, "count": 1}])",
            std::chrono::milliseconds(4000));
  Translator on_cpu(model_, *cpu_, options(1)), on_card(model_, *card_, options(1));
  const std::vector<int32_t> source = {10, 20, 30, 258}, target = {11, 21, 31, 41};
  const std::vector<float> want = on_cpu.logits(source, target);
  for (int round = 0; round < 4; ++round)
    EXPECT_THAT(on_card.logits(source, target),
                ::testing::Pointwise(::testing::FloatNear(0.05F), want));
  EXPECT_GT(card_->amd().generation(), 0);
}

}  // namespace
}  // namespace outboard::engine
