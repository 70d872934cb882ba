#include "models/tiny_slot_model.h"

#include <fmt/format.h>

#include <memory>
#include <random>
#include <vector>

#include "models/tiny_model.h"
#include "program/builder.h"

namespace outboard::models {

using namespace program;  // NOLINT: a model file is written in the Program's words

formats::Model tiny_slot_model() {
  formats::Model model = tiny_model("llama");
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 0.6F);
  const auto add = [&](const char* name, std::vector<int64_t> shape) {
    formats::Tensor tensor{name, formats::TensorType::F32, std::move(shape), {}};
    const auto values =
        std::make_shared<std::vector<float>>(static_cast<size_t>(tensor.elements()));
    for (float& value : *values) value = normal(random);
    tensor.data = std::as_bytes(std::span(*values));
    model.keep_alive(values);
    model.add(std::move(tensor));
  };
  add("conv_a.weight", {96, 4});
  add("conv_a.bias", {96});
  add("conv_b.weight", {64, 3});
  return model;
}

void write_tiny_slot_model(const std::filesystem::path& path) {
  write_model(path, tiny_slot_model());
}

Program slot_program(const formats::Model& model) {
  Builder b(model, "slots");
  const auto norm = [&](ValueId x, const char* tensor) {
    return b.op("norm", RmsNorm{x, b.weight(tensor), 1e-5F, 64});
  };
  const auto conv = [&](ValueId x, const char* tensor, WeightId bias) {
    const WeightId weight = b.weight(tensor);
    const std::vector<int64_t> shape = b.weight_shape(weight);
    return b.op("conv", SsmConv{x, weight, bias, b.slot_state((shape[1] - 1) * shape[0])});
  };
  ValueId x = b.op("embedding", Embed{b.tokens(), b.weight("token_embd.weight")});
  b.scope("layer 0");
  ValueId y = b.linear("up", norm(x, "blk.0.ffn_norm.weight"), "blk.0.ffn_up");
  y = b.op("activated",
           Activation{conv(y, "conv_a.weight", b.weight("conv_a.bias")), Function::kSilu});
  x = b.op("residual", Add{x, b.linear("down", y, "blk.0.ffn_down")});
  b.scope("layer 1");
  const ValueId n = norm(x, "blk.1.attn_norm.weight");
  const auto rope = [&](const char* name) {
    return b.op("rope", Rope{b.linear(name, n, fmt::format("blk.1.attn_{}", name)), 16, 16, 10000,
                             1, kNone, false});
  };
  const ValueId q = rope("q"), k = rope("k"), v = b.linear("v", n, "blk.1.attn_v");
  const ValueId a = b.op("attention", Attention{q, k, v, b.kv_state(2, 16, 16), 4, 0, 0.25F, 0});
  x = b.op("residual", Add{x, b.linear("attention output", a, "blk.1.attn_output")});
  x = b.op("residual", Add{x, conv(norm(x, "blk.1.ffn_norm.weight"), "conv_b.weight", kNone)});
  b.scope("");
  x = norm(b.op("rows", SelectRows{x}), "output_norm.weight");
  return b.finish(b.op("logits", Linear{x, b.weight("output.weight"), kNone}), 512);
}

}  // namespace outboard::models
