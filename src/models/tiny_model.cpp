#include "models/tiny_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <random>

#include "formats/gguf_writer.h"

namespace outboard::models {
namespace {

using formats::MetadataArray;

constexpr uint32_t kWidth = 64;
constexpr uint32_t kHeads = 4;
constexpr uint32_t kHeadDim = 16;
constexpr uint32_t kHidden = 96;
constexpr uint32_t kLayers = 2;
constexpr uint32_t kContext = 512;
constexpr uint32_t kVocabulary = 260;
constexpr uint32_t kExperts = 4;
constexpr uint32_t kLatent = 32;
constexpr uint32_t kTaps = 4;

class Maker {
 public:
  Maker(std::string architecture, unsigned seed)
      : architecture_(std::move(architecture)), random_(seed) {
    model_.path = "tiny-" + architecture_ + ".gguf";
  }

  formats::Model make_marian() {
    model_.metadata.set("general.architecture", architecture_);
    model_.metadata.set("general.name", std::string("tiny marian"));
    for (const auto& [key, value] : {std::pair("block_count", kLayers),
                                     {"decoder_block_count", kLayers},
                                     {"embedding_length", kWidth},
                                     {"context_length", kContext},
                                     {"feed_forward_length", kHidden},
                                     {"decoder_feed_forward_length", kHidden},
                                     {"attention.head_count", kHeads},
                                     {"decoder_attention_head_count", kHeads},
                                     {"decoder_start_token_id", kVocabulary - 1}})
      set(key, value);
    set("embedding_scale", std::sqrt(static_cast<float>(kWidth)));
    marian_tokenizer();
    add("token_embd.weight", {kVocabulary, kWidth}, 0.2F);
    add("position_embd.weight", {kContext, kWidth}, 0.5F);
    for (const char* stack : {"enc", "dec"})
      for (uint32_t layer = 0; layer < kLayers; ++layer) {
        const std::string p = fmt::format("{}.blk.{}.", stack, layer);
        marian_attention(p + "attn");
        if (stack == std::string("dec")) marian_attention(p + "cross_attn");
        norm(p + "ffn_norm", kWidth);
        linear(p + "ffn_up", kHidden, kWidth);
        balanced_linear(p + "ffn_down", kWidth, kHidden);
      }
    add("output.weight", {kVocabulary, kWidth}, 0.25F);
    const auto bias = std::make_shared<std::vector<float>>(kVocabulary, 0.0F);
    bias->back() = -INFINITY;
    model_.add(
        {"output.bias", formats::TensorType::F32, {kVocabulary}, std::as_bytes(std::span(*bias))});
    model_.keep_alive(bias);
    return std::move(model_);
  }

  formats::Model make() {
    metadata();
    tokenizer();
    tensors();
    return std::move(model_);
  }

 private:
  bool is(const char* name) const { return architecture_ == name; }
  template <typename... Names>
  bool is_any(Names... names) const {
    return (is(names) || ...);
  }
  bool has_layer_norms() const { return is_any("gpt2", "starcoder2", "stablelm"); }
  bool has_epsilon_of_layer_norms() const {
    return has_layer_norms() || is_any("command-r", "cohere2");
  }
  bool has_delta_rule() const { return is_any("qwen35", "qwen35moe", "qwen3next"); }
  // A head for further tokens.
  bool has_drafter() const { return is_any("qwen35", "qwen35moe"); }
  bool has_scan() const {
    return is_any("mamba2", "nemotron_h", "nemotron_h_moe", "granitehybrid", "falcon-h1");
  }
  // Layers that hold one thing each.
  bool is_one_a_layer() const { return is_any("mamba2", "nemotron_h", "nemotron_h_moe"); }
  bool is_recurrent(uint32_t layer) const {
    return is_any("mamba2", "falcon-h1") ||
           (layer == 0 && (has_delta_rule() || has_scan() || is_any("lfm2", "lfm2moe")));
  }
  bool has_attention(uint32_t layer) const {
    return is("falcon-h1") || !(is_recurrent(layer) || is_one_a_layer());
  }
  bool has_experts(uint32_t layer) const {
    if (is_any("lfm2moe", "nemotron_h_moe")) return layer > 0;
    return is_any("qwen35moe", "qwen3next", "qwen2moe", "qwen3moe", "granitemoe", "ernie4_5-moe",
                  "gpt-oss", "llama4") ||
           (is("deepseek2") && layer > 0);
  }
  uint32_t kv_heads() const { return is("gpt2") ? kHeads : 2; }
  formats::MetadataValue each_layer(const std::function<uint32_t(uint32_t)>& number) const {
    std::vector<uint32_t> all;
    for (uint32_t layer = 0; layer < kLayers; ++layer) all.push_back(number(layer));
    return MetadataArray{all};
  }

  void set(const std::string& name, formats::MetadataValue value) {
    model_.metadata.set(architecture_ + "." + name, std::move(value));
  }

  void metadata() {
    model_.metadata.set("general.architecture", architecture_);
    model_.metadata.set("general.name", "tiny " + architecture_);
    set("block_count", has_drafter() ? kLayers + 1 : kLayers);
    if (has_drafter()) set("nextn_predict_layers", uint32_t{1});
    set("embedding_length", kWidth);
    set("context_length", kContext);
    set("feed_forward_length", kHidden);
    if (is_one_a_layer())
      set("feed_forward_length",
          each_layer([&](uint32_t layer) { return is("mamba2") || layer == 0 ? 0 : kHidden; }));
    set("attention.head_count", is("mamba2") ? 0 : kHeads);
    if (!is("mamba2")) set("attention.head_count_kv", kv_heads());
    if (is_any("nemotron_h", "nemotron_h_moe", "granitehybrid", "lfm2", "lfm2moe"))
      set("attention.head_count_kv",
          each_layer([&](uint32_t layer) { return has_attention(layer) ? kv_heads() : 0; }));
    if (has_delta_rule()) set("full_attention_interval", uint32_t{2});
    if (has_delta_rule() || has_scan()) {
      set("ssm.conv_kernel", kTaps);
      set("ssm.inner_size", kWidth);
      set("ssm.state_size", kHeadDim);
      set("ssm.time_step_rank", kHeads);
      set("ssm.group_count", uint32_t{2});
    }
    if (is_any("lfm2", "lfm2moe")) set("shortconv.l_cache", kTaps);
    if (is("lfm2moe")) set("leading_dense_block_count", uint32_t{1});
    set(has_epsilon_of_layer_norms() ? "attention.layer_norm_epsilon"
                                     : "attention.layer_norm_rms_epsilon",
        1e-5F);
    if (is_any("gemma2", "gemma3", "gemma4", "gpt-oss", "cohere2", "muse-glimmer"))
      set("attention.sliding_window", uint32_t{40});
    if (is_any("gemma4", "cohere2", "muse-glimmer"))
      set("attention.sliding_window_pattern", MetadataArray{std::vector<bool>{true, false}});
    if (is("gemma3")) set("rope.freq_base", 1e6F);
    if (is("gemma4")) set("embedding_length_per_layer_input", kHeadDim);
    if (is_any("granite", "granitemoe", "granitehybrid", "muse-glimmer", "cohere2"))
      set("logit_scale", 0.5F);
    if (has_experts(kLayers)) {
      set("expert_count", kExperts);
      set("expert_used_count", uint32_t{2});
    }
    if (is("deepseek2")) {
      set("leading_dense_block_count", uint32_t{1});
      set("attention.kv_lora_rank", kLatent);
      set("attention.key_length_mla", 2 * kHeadDim);
      set("attention.value_length_mla", kHeadDim);
      set("rope.dimension_count", kHeadDim);
    }
  }

  // GPT-2's spelling of the 256 bytes, then four more tokens.
  void tokenizer() {
    std::vector<std::string> tokens;
    const auto utf8 = [](int c) {
      std::string s;
      if (c < 0x80) {
        s += static_cast<char>(c);
      } else {
        s += static_cast<char>(0xC0 | (c >> 6));
        s += static_cast<char>(0x80 | (c & 0x3F));
      }
      return s;
    };
    int extra = 256;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      tokens.push_back(utf8(printable ? byte : extra++));
    }
    tokens.insert(tokens.end(), {"th", "he", "in", "<end>"});
    std::vector<int32_t> types(kVocabulary, 1);
    types.back() = 3;  // a control token
    model_.metadata.set("tokenizer.ggml.model", std::string("gpt2"));
    model_.metadata.set("tokenizer.ggml.pre", std::string("gpt-2"));
    model_.metadata.set("tokenizer.ggml.tokens", MetadataArray{tokens});
    model_.metadata.set("tokenizer.ggml.token_type", MetadataArray{types});
    model_.metadata.set("tokenizer.ggml.merges",
                        MetadataArray{std::vector<std::string>{"t h", "h e", "i n"}});
    model_.metadata.set("tokenizer.ggml.eos_token_id", kVocabulary - 1);
  }

  // A SentencePiece model (sentencepiece_model.proto) of single characters, for both sides.
  void marian_tokenizer() {
    std::vector<std::string> tokens;
    std::string model;
    const auto piece = [&](const std::string& text, int type) {  // 1: normal, 2: unknown
      const float score = -1;
      std::string message = {'\x0A', static_cast<char>(text.size())};
      message += text + '\x15';
      message.append(reinterpret_cast<const char*>(&score), sizeof(score));
      message += {'\x18', static_cast<char>(type)};
      model += {'\x0A', static_cast<char>(message.size())};
      model += message;
    };
    piece("<unk>", 2);
    for (int c = 0; c < 256; ++c) {
      const bool printable = c > ' ' && c < 127;
      tokens.push_back(printable ? std::string(1, static_cast<char>(c)) : fmt::format("<{}>", c));
      if (printable) piece(tokens.back(), 1);
    }
    tokens.insert(tokens.end(), {"\xE2\x96\x81", "<unk>", "</s>", "<pad>"});  // U+2581, a space
    piece(tokens[256], 1);
    const std::vector<uint8_t> bytes(model.begin(), model.end());
    model_.metadata.set("tokenizer.ggml.model", std::string("marian"));
    model_.metadata.set("tokenizer.ggml.tokens", MetadataArray{tokens});
    model_.metadata.set("tokenizer.marian.source_spm", MetadataArray{bytes});
    model_.metadata.set("tokenizer.marian.target_spm", MetadataArray{bytes});
    model_.metadata.set("tokenizer.ggml.unknown_token_id", kVocabulary - 3);
    model_.metadata.set("tokenizer.ggml.eos_token_id", kVocabulary - 2);
    model_.metadata.set("tokenizer.ggml.padding_token_id", kVocabulary - 1);
  }

  void add(const std::string& name, std::vector<int64_t> shape, float scale, float around = 0) {
    const auto count = static_cast<size_t>(
        std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>()));
    const auto values = std::make_shared<std::vector<float>>(count);
    std::normal_distribution<float> normal;
    for (float& value : *values) value = around + scale * normal(random_);
    model_.add(
        {name, formats::TensorType::F32, std::move(shape), std::as_bytes(std::span(*values))});
    model_.keep_alive(values);
  }
  void matrix(const std::string& name, int64_t rows, int64_t columns) {
    add(name, {rows, columns}, 1 / std::sqrt(static_cast<float>(columns)));
  }
  void linear(const std::string& name, int64_t rows, int64_t columns) {
    matrix(name + ".weight", rows, columns);
    add(name + ".bias", {rows}, 0.02F);
  }
  // What all activations have in common would drown what tells sentences apart: rows of sum zero
  // don't let it through.
  void balanced_linear(const std::string& name, int64_t rows, int64_t columns) {
    const auto values = std::make_shared<std::vector<float>>(static_cast<size_t>(rows * columns));
    std::normal_distribution<float> normal;
    for (auto row = values->begin(); row != values->end(); row += columns) {
      std::generate(row, row + columns, [&] { return 0.3F * normal(random_); });
      const float mean = std::accumulate(row, row + columns, 0.0F) / static_cast<float>(columns);
      std::for_each(row, row + columns, [&](float& value) { value -= mean; });
    }
    model_.add({name + ".weight",
                formats::TensorType::F32,
                {rows, columns},
                std::as_bytes(std::span(*values))});
    model_.keep_alive(values);
    add(name + ".bias", {rows}, 0.02F);
  }
  void marian_attention(const std::string& name) {
    for (const char* part : {"q", "k", "v", "o"})
      linear(fmt::format("{}_{}", name, part), kWidth, kWidth);
    norm(name + "_norm", kWidth);
  }
  void norm(const std::string& name, int64_t size) {
    add(name + ".weight", {size}, 0.1F, 1);
    if (has_layer_norms() || is("marian")) add(name + ".bias", {size}, 0.1F);
  }

  void tensors() {
    add("token_embd.weight", {kVocabulary, kWidth}, is("gemma3") ? 0.15F : 0.5F);
    if (is("gpt2")) add("position_embd.weight", {kContext, kWidth}, 0.1F);
    if (is("gemma4")) add("rope_freqs.weight", {kHeadDim / 2}, 0, 1);
    for (uint32_t layer = 0; layer < kLayers; ++layer)
      this->layer(layer, fmt::format("blk.{}.", layer));
    norm(is_any("lfm2", "lfm2moe") ? "token_embd_norm" : "output_norm", kWidth);
    // Not tied: a random model with tied embeddings repeats its last token for ever.
    add("output.weight", {kVocabulary, kWidth}, 0.25F);
    if (is("gemma4")) layer_embeddings();
    if (!has_drafter()) return;
    const std::string p = fmt::format("blk.{}.", kLayers);
    this->layer(kLayers, p);
    matrix(p + "nextn.eh_proj.weight", kWidth, 2 * kWidth);
    for (const char* part : {"enorm", "hnorm", "shared_head_norm"})
      norm(p + "nextn." + part, kWidth);
  }

  void layer_embeddings() {
    add("per_layer_token_embd.weight", {kVocabulary, kLayers * kHeadDim}, 0.3F);
    add("per_layer_model_proj.weight", {kLayers * kHeadDim, kWidth}, 1);
    norm("per_layer_proj_norm", kHeadDim);
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      const std::string p = fmt::format("blk.{}.", layer);
      add(p + "inp_gate.weight", {kHeadDim, kWidth}, 0.125F);
      add(p + "proj.weight", {kWidth, kHeadDim}, 0.25F);
      norm(p + "post_norm", kWidth);
    }
  }

  void layer(uint32_t layer, const std::string& p) {
    const bool norms_after =
        is_any("gemma2", "gemma3", "gemma4", "glm4", "olmo2", "exaone4", "muse-glimmer");
    if (!is_any("olmo2", "exaone4")) norm(p + "attn_norm", kWidth);
    if (!is_any("olmo2", "exaone4", "gpt-oss", "seed_oss", "command-r", "cohere2") &&
        !is_one_a_layer() && !has_delta_rule())
      norm(p + "ffn_norm", kWidth);
    if (norms_after || has_delta_rule() || is_any("gpt-oss", "seed_oss"))
      norm(p + "post_attention_norm", kWidth);
    if (norms_after) norm(p + "post_ffw_norm", kWidth);
    if (is("deepseek2")) {
      latent_attention(p);
    } else if (has_attention(layer)) {
      attention(p);
    }
    if (is_recurrent(layer)) recurrence(p);
    if (is_one_a_layer() && is_recurrent(layer)) return;
    if (is("gpt2")) {
      add(p + "attn_output.bias", {kWidth}, 0.1F);
      add(p + "ffn_up.bias", {kHidden}, 0.1F);
      add(p + "ffn_down.bias", {kWidth}, 0.1F);
    }
    if (has_experts(layer)) {
      add(p + "ffn_gate_inp.weight", {kExperts, kWidth}, 0.3F);
      if (!is("nemotron_h_moe"))
        add(p + "ffn_gate_exps.weight", {kExperts, kHidden, kWidth}, 0.125F);
      add(p + "ffn_up_exps.weight", {kExperts, kHidden, kWidth}, 0.125F);
      add(p + "ffn_down_exps.weight", {kExperts, kWidth, kHidden}, 0.1F);
      if (is_any("qwen2moe", "qwen35moe", "qwen3next"))
        add(p + "ffn_gate_inp_shexp.weight", {kWidth}, 0.1F);
      if (is_any("qwen2moe", "qwen35moe", "qwen3next", "ernie4_5-moe", "deepseek2", "llama4",
                 "nemotron_h_moe"))
        feed_forward(p, "_shexp");
      return;
    }
    feed_forward(p, "");
  }

  void attention(const std::string& p) {
    if (is_any("gemma3", "gemma4", "qwen3", "qwen3moe", "exaone4", "hunyuan-dense", "muse-glimmer",
               "lfm2", "lfm2moe") ||
        has_delta_rule()) {
      norm(p + "attn_q_norm", kHeadDim);
      norm(p + "attn_k_norm", kHeadDim);
    }
    if (is("olmo2")) {
      norm(p + "attn_q_norm", int64_t{kHeads} * kHeadDim);
      norm(p + "attn_k_norm", int64_t{kv_heads()} * kHeadDim);
    }
    if (is("gpt-oss")) add(p + "attn_sinks.weight", {kHeads}, 1);
    if (is("muse-glimmer")) matrix(p + "attn_gate.weight", kWidth, kWidth);
    if (is_any("gpt2", "phi3")) {
      const int64_t rows = int64_t{kHeads + 2 * kv_heads()} * kHeadDim;
      matrix(p + "attn_qkv.weight", rows, kWidth);
      if (is("gpt2")) add(p + "attn_qkv.bias", {rows}, 0.1F);
    } else {
      for (const auto& [part, heads] :
           {std::pair("q", kHeads), {"k", kv_heads()}, {"v", kv_heads()}}) {
        const int64_t rows = int64_t{heads} * kHeadDim;
        const bool gated = has_delta_rule() && part == std::string("q");  // beside the queries
        matrix(fmt::format("{}attn_{}.weight", p, part), gated ? 2 * rows : rows, kWidth);
        if (is_any("qwen2", "qwen2moe", "gpt-oss", "seed_oss"))
          add(fmt::format("{}attn_{}.bias", p, part), {int64_t{heads} * kHeadDim}, 0.1F);
      }
    }
    matrix(p + "attn_output.weight", kWidth, kWidth);
  }

  // Of kHeads heads of kHeadDim, two of them with keys, or in two groups.
  void recurrence(const std::string& p) {
    constexpr int64_t kMixed = kWidth + int64_t{2} * 2 * kHeadDim;
    if (is_any("lfm2", "lfm2moe")) {
      matrix(p + "shortconv.in_proj.weight", int64_t{3} * kWidth, kWidth);
      matrix(p + "shortconv.conv.weight", kWidth, kTaps);
      matrix(p + "shortconv.out_proj.weight", kWidth, kWidth);
      return;
    }
    if (has_delta_rule()) {
      matrix(p + "attn_qkv.weight", kMixed, kWidth);
      matrix(p + "attn_gate.weight", kWidth, kWidth);
      if (is("qwen3next")) {
        matrix(p + "ssm_ba.weight", int64_t{2} * kHeads, kWidth);
      } else {
        matrix(p + "ssm_alpha.weight", kHeads, kWidth);
        matrix(p + "ssm_beta.weight", kHeads, kWidth);
      }
      norm(p + "ssm_norm", kHeadDim);
      add(p + "ssm_a", {kHeads}, 0.1F, -0.5F);
    } else {
      matrix(p + "ssm_in.weight", int64_t{kWidth} + kMixed + kHeads, kWidth);
      add(p + "ssm_conv1d.bias", {kMixed}, 0.1F);
      if (!is("falcon-h1")) add(p + "ssm_norm.weight", {2, kWidth / 2}, 0.1F, 1);
      add(p + "ssm_a", {kHeads, 1}, 0.1F, -0.5F);
      add(p + "ssm_d", {kHeads, 1}, 0.2F, 1);
    }
    add(p + "ssm_dt.bias", {kHeads}, 0.5F, -1);
    matrix(p + "ssm_conv1d.weight", kMixed, kTaps);
    matrix(p + "ssm_out.weight", kWidth, kWidth);
  }

  void latent_attention(const std::string& p) {
    matrix(p + "attn_q.weight", int64_t{kHeads} * 2 * kHeadDim, kWidth);
    matrix(p + "attn_kv_a_mqa.weight", kLatent + kHeadDim, kWidth);
    norm(p + "attn_kv_a_norm", kLatent);
    add(p + "attn_k_b.weight", {kHeads, kLatent, kHeadDim}, 0.2F);
    add(p + "attn_v_b.weight", {kHeads, kHeadDim, kLatent}, 0.2F);
    matrix(p + "attn_output.weight", kWidth, int64_t{kHeads} * kHeadDim);
  }

  void feed_forward(const std::string& p, const std::string& suffix) {
    const auto part = [&](const char* name) { return p + "ffn_" + name + suffix + ".weight"; };
    const bool fused = is_any("glm4", "phi3");
    if (!fused && !is_any("gpt2", "starcoder2", "nemotron_h", "nemotron_h_moe"))
      matrix(part("gate"), kHidden, kWidth);
    matrix(part("up"), int64_t{kHidden} * (fused ? 2 : 1), kWidth);
    matrix(part("down"), kWidth, kHidden);
  }

  std::string architecture_;
  std::mt19937 random_;
  formats::Model model_;
};

// Of some families the first draw has experts that are nearly tied, or keys that are nearly
// nothing: what half floats decide.
unsigned draw_of(std::string_view architecture) {
  for (const auto& [name, draw] : {std::pair("lfm2moe", 1U), {"qwen3next", 1U}})
    if (architecture == name) return draw;
  return 0;
}

}  // namespace

formats::Model tiny_model(const std::string& architecture, unsigned seed) {
  Maker maker(architecture, seed + draw_of(architecture));
  return architecture == "marian" ? maker.make_marian() : maker.make();
}

void write_tiny_model(const std::filesystem::path& path, const std::string& architecture,
                      unsigned seed) {
  write_model(path, tiny_model(architecture, seed));
}

void write_model(const std::filesystem::path& path, const formats::Model& model) {
  std::vector<formats::TensorPlan> plans;
  for (const formats::Tensor& t : model.tensors()) plans.push_back({t.name, t.type, t.shape});
  formats::GgufWriter writer(path, model.metadata, plans);
  for (const formats::Tensor& t : model.tensors()) writer.append(t.data);
  writer.finish();
}

}  // namespace outboard::models
