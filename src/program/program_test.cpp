#include "program/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/model_file.h"
#include "program/builder.h"
#include "program/cost.h"
#include "support/error.h"

namespace outboard::program {
namespace {

using formats::TensorType;
using ::testing::HasSubstr;

// A model with shapes only; a Program never looks at the bytes.
formats::Model tiny_model() {
  formats::Model model;
  model.path = "tiny.gguf";
  const auto add = [&](const char* name, std::vector<int64_t> shape) {
    model.add({name, TensorType::F32, std::move(shape), {}});
  };
  add("embed.weight", {100, 32});
  add("norm.weight", {32});
  add("q.weight", {64, 32});
  add("kv.weight", {16, 32});
  add("wide.weight", {32, 48});
  return model;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e.message();
  }
  return "no error";
}

// A model of two ops with a drafter; change() may spoil it before it is verified.
Program drafting(const std::function<void(Program&)>& change = {}) {
  const formats::Model model = tiny_model();
  Builder b(model, "tiny");
  const ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("embed.weight")});
  b.op("kept", KeepRows{x});
  const auto logits = [&](ValueId rows) {
    return b.op("logits", Linear{b.op("rows", SelectRows{rows}), b.weight("embed.weight"), kNone});
  };
  const ValueId own = logits(x);
  b.begin_drafter();
  const ValueId token = b.op("embedding", Embed{b.tokens(), b.weight("embed.weight")});
  const ValueId kv = b.linear("kv", b.op("kept", KeptRows{32}), "kv");
  const ValueId a = b.op("attention", Attention{kv, kv, kv, b.kv_state(2, 8, 8), 2, 0, 1, 0});
  const ValueId sum = b.op("sum", Add{token, b.op("both", Concat{a, a})});
  b.op("kept", KeepRows{sum});
  Program p = b.finish(own, 128, logits(sum));
  if (change) {
    change(p);
    verify(p);
  }
  return p;
}

TEST(Drafter, StandsBehindTheModel) {
  const Program p = drafting();
  EXPECT_THAT(to_string(p), HasSubstr("  drafter:\n"));
  EXPECT_EQ(p.drafter_ops, 9);
  EXPECT_EQ(std::get<Embed>(p.ops[p.drafter_begin()].kind).ids, Program::kTokens);
  const Program plain = without_drafter(p);
  EXPECT_EQ(plain.ops.size(), 3) << "nothing is kept";
  EXPECT_EQ(plain.kv_bytes_per_token(), 0);
  EXPECT_EQ(to_string(without_drafter(plain)), to_string(plain));
  EXPECT_TRUE(hidden_states(p).ends_in_states);
  EXPECT_EQ(weight_bytes_per_token(p), weight_bytes_per_token(plain));
}

TEST(Drafter, SeesNothingButWhatWasKept) {
  const auto wrong = [](const std::function<void(Program&)>& change) {
    return message_of([&] { drafting(change); });
  };
  EXPECT_THAT(wrong([](Program& p) { p.drafter_ops -= 1; }), HasSubstr("before it is defined"));
  EXPECT_THAT(wrong([](Program& p) { p.drafter_ops = 0; }), HasSubstr("outside the drafter"));
  EXPECT_THAT(wrong([](Program& p) { p.drafter_ops = 99; }), HasSubstr("99 of a drafter"));
  EXPECT_THAT(wrong([](Program& p) { p.draft_logits = p.logits; }), HasSubstr("drafter's logits"));
  EXPECT_THAT(wrong([](Program& p) { p.draft_logits = kNone; }), HasSubstr("drafter's logits"));
  EXPECT_THAT(wrong([](Program& p) { p.ops.erase(p.ops.begin() + 1); }), HasSubstr("no rows"));
}

TEST(Builder, InfersShapesAndPrints) {
  const formats::Model model = tiny_model();
  Builder b(model, "tiny");
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("embed.weight")});
  b.scope("layer 0");
  x = b.op("norm", RmsNorm{x, b.weight("norm.weight"), 1e-5F, 32});
  const ValueId q = b.linear("q", x, "q");
  const ValueId kv = b.linear("kv", x, "kv");
  const ValueId a = b.op("attention", Attention{q, kv, kv, b.kv_state(2, 8, 8), 8, 0, 0.35F, 0});
  const ValueId rows = b.op("rows", SelectRows{a});
  const ValueId half = b.op("half", Slice{rows, 0, 32});
  const Program p = b.finish(b.op("logits", Linear{half, b.weight("embed.weight"), kNone}), 128);
  EXPECT_EQ(p.vocabulary, 100);
  EXPECT_EQ(p.kv_bytes_per_token(), 2u * (8 + 8) * 2);
  const std::string text = to_string(p);
  EXPECT_THAT(text, HasSubstr("= linear %3, q.weight[64, 32]:F32 : [T, 64]  # layer 0 q"));
  EXPECT_THAT(text, HasSubstr("kv 0: 2 heads, keys 8, values 8"));
  EXPECT_THAT(text, HasSubstr(": [R, 100]"));
}

// A slot state costs the same whatever the length.
TEST(Builder, SlotStates) {
  formats::Model model = tiny_model();
  model.add({"conv.weight", TensorType::F32, {32, 4}, {}});
  model.add({"conv.bias", TensorType::F32, {32}, {}});
  Builder b(model, "tiny");
  const ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("embed.weight")});
  const SlotStateId slot = b.slot_state(3 * 32);
  const ValueId y = b.op("conv", SsmConv{x, b.weight("conv.weight"), b.weight("conv.bias"), slot});
  const ValueId rows = b.op("rows", SelectRows{y});
  const Program p = b.finish(b.op("logits", Linear{rows, b.weight("embed.weight"), kNone}), 128);
  EXPECT_EQ(p.slot_bytes(), 3u * 32 * 4);
  EXPECT_EQ(p.kv_bytes_per_token(), 0u);
  EXPECT_EQ(state_bytes_read(p, 1), 3u * 32 * 4);
  EXPECT_EQ(state_bytes_read(p, 100), 3u * 32 * 4);
  const std::string text = to_string(p);
  EXPECT_THAT(text, HasSubstr("slot 0: 96 values"));
  EXPECT_THAT(
      text, HasSubstr("= ssm_conv %2, conv.weight[32, 4]:F32, conv.bias[32]:F32 slot=0 : [T, 32]"));

  const auto refused = [&](SsmConv conv, const char* why) {
    Builder other(model, "tiny");
    const ValueId in = other.op("embedding", Embed{other.tokens(), other.weight("embed.weight")});
    for (const char* name : {"conv.weight", "conv.bias", "norm.weight", "wide.weight"})
      other.weight(name);
    other.slot_state(3 * 32);
    other.slot_state(2 * 32);
    conv.x = in;
    EXPECT_THAT(message_of([&] { other.op("conv", conv); }), HasSubstr(why));
  };
  refused({0, 1, 2, 2}, "the slot state does not exist");
  refused({0, 1, 2, 1}, "slot state 1 has 64 values, expected 96");
  refused({0, 3, 2, 0}, "weight norm.weight has shape [32], expected [32, 2 or more taps]");
  refused({0, 1, 4, 0}, "weight wide.weight has shape [32, 48], expected [32]");

  Program twice = p;
  twice.values.push_back(twice.values[static_cast<size_t>(y)]);
  twice.ops.insert(twice.ops.begin() + 2,
                   {twice.ops[1].kind, static_cast<ValueId>(twice.values.size() - 1)});
  EXPECT_THAT(message_of([&] { verify(twice); }), HasSubstr("slot state 0 is written by two ops"));
}

// An output matrix may have more rows than there are tokens, for a round number.
TEST(Builder, CountsTokens) {
  for (const int count : {70, 100, 101}) {
    formats::Model model = tiny_model();
    model.metadata.set("tokenizer.ggml.tokens", formats::MetadataArray{std::vector<std::string>(
                                                    static_cast<size_t>(count), "x")});
    Builder b(model, "tiny");
    const ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("embed.weight")});
    const ValueId rows = b.op("rows", SelectRows{x});
    Program p = b.finish(b.op("logits", Linear{rows, b.weight("embed.weight"), kNone}), 128);
    EXPECT_EQ(p.vocabulary, 100);
    EXPECT_EQ(p.tokens, std::min(count, 100));
    EXPECT_EQ(to_string(p).find("(70 of them tokens, the others padding)") != std::string::npos,
              count == 70);
    for (const int wrong : {0, 101}) {
      p.tokens = wrong;
      EXPECT_THAT(message_of([&] { verify(p); }), HasSubstr(fmt::format("{} tokens", wrong)));
    }
  }
}

TEST(Builder, NamesOpAndShapesThatDoNotFit) {
  const formats::Model model = tiny_model();
  Builder b(model, "tiny");
  const ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("embed.weight")});
  b.scope("layer 0");
  EXPECT_EQ(message_of([&] { b.linear("down", x, "wide"); }),
            "layer 0 down: [linear] weight wide.weight has shape [32, 48], expected [outputs, 32] "
            "for an input [T, 32]");
  EXPECT_THAT(message_of([&] { b.weight("missing.weight"); }), HasSubstr("missing.weight"));
  EXPECT_THAT(message_of([&] { b.op("cut", Slice{x, 30, 10}); }), HasSubstr("[slice]"));
  EXPECT_THAT(message_of([&] { b.op("norm", RmsNorm{x, kNone, 1e-5F, 5}); }),
              HasSubstr("multiple of the group"));
  EXPECT_THAT(message_of([&] { b.op("norm", Embed{x, b.weight("embed.weight")}); }),
              HasSubstr("expected integers"));
}

TEST(Builder, HeadsGatesAndLatents) {
  const formats::Model model = tiny_model();
  Builder b(model, "tiny");
  const ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("embed.weight")});
  const auto width = [&](OpKind kind) { return b.width(b.op("value", std::move(kind))); };
  EXPECT_EQ(width(Slice{x, 2, 3, 4}), 12);
  EXPECT_EQ(width(Concat{x, b.op("half", Slice{x, 0, 16}), 4}), 48);
  EXPECT_EQ(width(Gate{b.op("four", Slice{x, 0, 4}), x, Function::kSigmoid}), 32);
  EXPECT_EQ(width(Attention{.q = x,
                            .k = b.op("key", Slice{x, 0, 16}),
                            .v = kNone,
                            .state = b.latent_state(16, 8),
                            .heads = 2,
                            .window = 0,
                            .scale = 1,
                            .softcap = 0}),
            16);
  EXPECT_THAT(message_of([&] { b.op("cut", Slice{x, 6, 3, 4}); }), HasSubstr("outside its input"));
  EXPECT_THAT(message_of([&] { b.op("cut", Slice{x, 0, 1, 5}); }),
              HasSubstr("multiple of the heads"));
  EXPECT_THAT(message_of([&] { b.op("gate", Gate{b.op("five", Slice{x, 0, 5}), x, {}}); }),
              HasSubstr("multiple of the gate's"));
  EXPECT_THAT(message_of([&] { b.op("act", Activation{x, Function::kSwigluOai}); }),
              HasSubstr("needs a gate"));
}

class Verify : public ::testing::Test {
 protected:
  Verify() : model_(tiny_model()) {
    Builder b(model_, "tiny");
    const ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("embed.weight")});
    const ValueId k = b.op("k", Slice{x, 0, 16});
    const ValueId a = b.op("attention", Attention{x, k, k, b.kv_state(2, 8, 8), 4, 0, 1, 0});
    const ValueId rows = b.op("rows", SelectRows{a});
    program_ = b.finish(b.op("logits", Linear{rows, b.weight("embed.weight"), kNone}), 16);
  }
  formats::Model model_;
  Program program_;
};

TEST_F(Verify, KeysOfAnEarlierOpAreThere) {
  auto again = program_.ops[2];
  auto& attention = std::get<Attention>(again.kind);
  attention.k = attention.v = kNone;
  program_.ops.insert(program_.ops.begin() + 3, {again.kind, 0});
  program_.ops[3].out = static_cast<ValueId>(program_.values.size());
  program_.values.push_back(program_.values[static_cast<size_t>(program_.ops[2].out)]);
  EXPECT_NO_THROW(verify(program_));
  std::swap(program_.ops[2], program_.ops[3]);
  EXPECT_THAT(message_of([&] { verify(program_); }), HasSubstr("before it is written"));
}

TEST_F(Verify, AcceptsWhatTheBuilderMade) { EXPECT_NO_THROW(verify(program_)); }

TEST_F(Verify, RefusesUseBeforeDefinition) {
  std::swap(program_.ops[0], program_.ops[1]);
  EXPECT_THAT(message_of([&] { verify(program_); }), HasSubstr("before it is defined"));
}

TEST_F(Verify, RefusesWrongShape) {
  program_.values[2].shape[1].size = 33;
  EXPECT_THAT(message_of([&] { verify(program_); }),
              HasSubstr("has shape [T, 33], expected [T, 32]"));
}

TEST_F(Verify, RefusesTwoWritersOfOneState) {
  program_.values.push_back(program_.values[static_cast<size_t>(program_.ops[2].out)]);
  Op again = program_.ops[2];
  again.out = static_cast<ValueId>(program_.values.size() - 1);
  program_.ops.insert(program_.ops.begin() + 3, again);
  EXPECT_THAT(message_of([&] { verify(program_); }), HasSubstr("written by two ops"));
}

TEST_F(Verify, RefusesLogitsOfTheWrongShape) {
  program_.logits = 2;
  EXPECT_THAT(message_of([&] { verify(program_); }), HasSubstr("the logits are not [R, 100]"));
}

TEST_F(Verify, RefusesValuesThatDoNotExist) {
  std::get<SelectRows>(program_.ops[3].kind).x = 99;
  EXPECT_THAT(message_of([&] { verify(program_); }), HasSubstr("%99"));
  std::get<SelectRows>(program_.ops[3].kind).x = -5;
  EXPECT_THAT(message_of([&] { verify(program_); }), HasSubstr("%-5"));
}

// An encoder of one layer and a decoder that attends to it.
Program encoder_decoder(const std::function<void(Program&)>& damage = nullptr) {
  const formats::Model model = tiny_model();
  Builder b(model, "tiny");
  const StateId shared = b.kv_state(2, 8, 8, true);
  const StateId source = b.kv_state(2, 8, 8, true);
  ValueId x = b.op("source", Embed{b.tokens(), b.weight("embed.weight")});
  ValueId q = b.linear("q", x, "q");
  ValueId kv = b.linear("kv", x, "kv");
  b.op("all", Attention{q, kv, kv, shared, 8, 0, 0.35F, 0, false});
  EXPECT_EQ(b.op("source kv", KvWrite{kv, kv, source}), kNone);
  b.end_encoder();
  x = b.op("target", Embed{b.tokens(), b.weight("embed.weight")});
  q = b.linear("q", x, "q");
  kv = b.linear("kv", x, "kv");
  const ValueId a = b.op("attention", Attention{q, kv, kv, b.kv_state(2, 8, 8), 8, 0, 0.35F, 0});
  const ValueId c = b.op("cross", CrossAttention{a, source, 8, 0.35F});
  const ValueId rows = b.op("half", Slice{b.op("rows", SelectRows{c}), 0, 32});
  Program p = b.finish(b.op("logits", Linear{rows, b.weight("embed.weight"), kNone}), 128);
  if (damage) {
    damage(p);
    verify(p);
  }
  return p;
}

TEST(Program, HoldsAnEncoderBesideADecoder) {
  const Program p = encoder_decoder();
  EXPECT_EQ(p.encoder_ops, 5u);
  // A page has room for the source's two states or the decoder's one.
  EXPECT_EQ(p.kv_bytes_per_token(), 2u * 2 * (8 + 8) * 2);
  const std::string text = to_string(p);
  EXPECT_THAT(text, HasSubstr("encoder:"));
  EXPECT_THAT(text, HasSubstr("kv_write %4, %4 kv=1\n"));
  EXPECT_THAT(text, HasSubstr("kv 0: 2 heads, keys 8, values 8, of the source"));
}

TEST(Program, KeepsEncoderAndDecoderApart) {
  EXPECT_THAT(message_of([] { encoder_decoder([](Program& p) { p.encoder_ops = 0; }); }),
              HasSubstr("[attention] stands outside the encoder"));
  EXPECT_THAT(message_of([] { encoder_decoder([](Program& p) { p.encoder_ops = p.ops.size(); }); }),
              HasSubstr("[attention] stands in the encoder"));
  EXPECT_THAT(message_of([] {
                encoder_decoder([](Program& p) {  // the decoder reads a value of the encoder
                  for (Op& op : p.ops)
                    if (auto* cross = std::get_if<CrossAttention>(&op.kind)) cross->q = 3;
                });
              }),
              HasSubstr("[cross_attention] reads %3 before it is defined"));
  EXPECT_THAT(message_of([] {
                encoder_decoder([](Program& p) {
                  for (Op& op : p.ops)
                    if (auto* cross = std::get_if<CrossAttention>(&op.kind)) cross->state = 2;
                });
              }),
              HasSubstr("the KV state is not a source's"));
}

}  // namespace
}  // namespace outboard::program
