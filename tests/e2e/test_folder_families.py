"""Folders of the families of tests/reference/families.py, made of the same numbers as its files, with the names,
orders and fields that transformers' models have: the program must answer alike from both."""
import json

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from safetensors.numpy import load_file, save_file

import families
import forward
import hf_models
import make_model
from support import run, run_json
from test_families import Asked

LIMIT = 1e-6  # nats, at every position
LENGTH = 100  # tokens

LLAMA = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
         "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
AFTER = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


class Source:
    """A file of families.py, and what every config.json says of it."""

    def __init__(self, path):
        self.model = forward.Model(path)
        self.key = self.model.key
        heads, width = self.key("attention.head_count") or 1, self.key("embedding_length")
        self.heads, self.kv_heads = heads, self.key("attention.head_count_kv")
        self.head_dim = self.key("attention.key_length", width // heads)
        self.layers = self.key("block_count")
        vocabulary = len(self.model.value("tokenizer.ggml.tokens"))
        self.config = {
            "hidden_size": width, "num_hidden_layers": self.layers, "num_attention_heads": heads,
            "num_key_value_heads": self.kv_heads, "intermediate_size": self.key("feed_forward_length"),
            "max_position_embeddings": self.key("context_length"), "vocab_size": vocabulary,
            "rope_theta": self.key("rope.freq_base", 10000.0), "tie_word_embeddings": "output.weight" not in self.model}
        eps = self.key("attention.layer_norm_rms_epsilon")
        if eps is not None:
            self.config["rms_norm_eps"] = eps

    def halves(self, values, heads):
        """Rows whose rotary pairs are neighbours, as rows whose pairs lie half a head apart."""
        rows = values.reshape(heads, values.shape[0] // heads // 2, 2, -1)
        return rows.swapaxes(1, 2).reshape(values.shape)

    def tensors(self, names, halves=False, norms_minus_1=False):
        out = {}
        for name in self.model.tensors:
            stem, _, leaf = name.rpartition(".")
            value = self.model[name]
            if leaf not in ("weight", "bias"):
                continue
            if stem in TOP:
                full = TOP[stem]
            elif stem.startswith("blk."):
                _, layer, part = stem.split(".", 2)
                if part not in names:
                    continue
                full = f"model.layers.{layer}.{names[part]}"
                if halves and part in ("attn_q", "attn_k"):
                    kv_heads = max(self.kv_heads) if isinstance(self.kv_heads, list) else self.kv_heads
                    value = self.halves(value, self.heads if part == "attn_q" else kv_heads)
            else:
                continue
            if norms_minus_1 and "norm" in full:
                value = value - np.float32(1)
            out[f"{full}.{leaf}"] = np.ascontiguousarray(value)
        return out

    def layer_types(self, name="attention.sliding_window_pattern", period=None):
        slides = self.key(name) or [(i + 1) % period != 0 for i in range(self.layers)]
        return ["sliding_attention" if each else "full_attention" for each in slides]

    def yarn(self, **more):
        return {"rope_type": "yarn", "factor": self.key("rope.scaling.factor"), "beta_fast": 32.0, "beta_slow": 1.0,
                "original_max_position_embeddings": self.key("rope.scaling.original_context_length"), **more}


def mixture(f):
    """Llama's layer with experts, and norms of heads where the architecture has them."""
    f.keys(block_count=3, feed_forward_length=40, expert_count=5, expert_used_count=2, expert_feed_forward_length=40)
    f.heads(4, 2, 16)
    f.rms()
    f.rope(1e4, 16)
    f.ends()
    for layer in range(3):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 4, 2, 16, head_norms=1.4 if f.arch == "qwen3moe" else 0.0)
        f.experts(layer, 5, 40)


def unscaled(f):
    """DeepSeek V3's form without YaRN, as GLM-4.7-Flash is."""
    f.yarn = lambda *_, **__: None
    families.deepseek2(f, lite=False)


TIED = 0.75


def tied_by_factors(f):
    """Falcon-H1 whose output matrix is the embedding's, but for a factor."""
    given, kept = f.given, {}

    def give(name, values):
        kept[name] = values
        given(name, kept["token_embd.weight"] * np.float32(TIED) if name == "output.weight" else values)

    f.given = give
    families.falcon_h1(f, norm=False)


# Beside those of families.py, of which llama.cpp was asked.
MORE = {"mixtral": families.maker("mixtral", "llama", 64, mixture, {}),
        "qwen3moe": families.maker("qwen3moe", "qwen3moe", 64, mixture, {}),
        "glm4-moe-lite": families.maker("deepseek2", "deepseek2", 64, unscaled, {}),
        "falcon-h1-tied": families.maker("falcon-h1", "falcon-h1", 64, tied_by_factors, {}),
        "granite-micro": families.maker("granite", "granite", 64, families.granite, {})}

FOLDERS = {}  # name of families.py: from a Source to (tensors, config)


def folder(*names):
    def register(make):
        FOLDERS.update(dict.fromkeys(names, make))
        return make
    return register


@folder("smollm3")
def smollm3(s):
    turned = [int((i + 1) % 4 != 0) for i in range(s.layers)]
    return s.tensors(LLAMA, halves=True), dict(
        s.config, model_type="smollm3", hidden_act="silu", no_rope_layers=turned, no_rope_layer_interval=4,
        layer_types=["full_attention"] * s.layers, use_sliding_window=False, sliding_window=None, mlp_bias=False)


@folder("seed-oss")
def seed_oss(s):
    return s.tensors({**LLAMA, "post_attention_norm": "post_attention_layernorm"}), dict(
        s.config, model_type="seed_oss", head_dim=s.head_dim, attention_bias=True, attention_out_bias=False,
        residual_dropout=0.1, rope_scaling={"rope_type": "default"})


@folder("mistral3")
def mistral3(s):
    text = dict(s.config, model_type="ministral3", head_dim=s.head_dim, sliding_window=None, hidden_act="silu")
    del text["rope_theta"], text["tie_word_embeddings"]
    text["rope_parameters"] = s.yarn(
        rope_theta=s.key("rope.freq_base"), beta_fast=s.key("rope.scaling.yarn_beta_fast"), mscale=1.0,
        mscale_all_dim=1.0, llama_4_scaling_beta=s.key("attention.temperature_scale"))
    tensors = {f"language_model.{name}": value for name, value in s.tensors(LLAMA, halves=True).items()}
    tensors["vision_tower.ln_pre.weight"] = np.ones(8, np.float32)
    tensors["multi_modal_projector.norm.weight"] = np.ones(8, np.float32)
    return tensors, dict(model_type="mistral3", text_config=text, vision_config={"hidden_size": 8}, image_token_index=10,
                         tie_word_embeddings=False, spatial_merge_size=2, vision_feature_layer=-1)


@folder("phi3", "phi3-short", "phi3-long")
def phi3(s):
    config = dict(s.config, model_type="phi3", hidden_act="silu", sliding_window=None, embd_pdrop=0.0,
                  original_max_position_embeddings=s.key("rope.scaling.original_context_length", 512))
    if s.key("rope.scaling.original_context_length"):
        factors = {f"{kind}_factor": s.model[f"rope_factors_{kind}.weight"].tolist() for kind in ("short", "long")}
        config["partial_rotary_factor"] = s.key("rope.dimension_count") / s.head_dim
        config["rope_scaling"] = {"type": "longrope", **factors}
        factor = s.config["max_position_embeddings"] / config["original_max_position_embeddings"]
        # What the formula gives of these sizes is another than the file's.
        assert abs(np.sqrt(1 + np.log(factor) / np.log(64)) - 1.19) > 0.01
        config["rope_scaling"]["attention_factor"] = s.key("rope.scaling.attn_factor")
    names = {**LLAMA, "attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}
    return s.tensors(names), config


@folder("olmo2", "olmo3")
def olmo(s):
    config = dict(s.config, model_type="olmo2", hidden_act="silu")
    if s.key("attention.sliding_window"):
        config.update(model_type="olmo3", sliding_window=s.key("attention.sliding_window"),
                      layer_types=s.layer_types(), rope_scaling=s.yarn(attention_factor=0.1 * np.log(8.0) + 1))
    return s.tensors({**LLAMA, **AFTER}), config


LLAMA3 = {"rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 512}


def llama3_factors(base, dim):
    """arXiv:2407.21783, as the field rope_scaling describes it."""
    wavelength = 2 * np.pi * base ** (2 * np.arange(dim // 2) / dim)
    low, high = LLAMA3["low_freq_factor"], LLAMA3["high_freq_factor"]
    smooth = np.clip((LLAMA3["original_max_position_embeddings"] / wavelength - low) / (high - low), 0, 1)
    return 1 / ((1 - smooth) / LLAMA3["factor"] + smooth)


@folder("exaone4", "exaone4-window")
def exaone4(s):
    config = dict(s.config, model_type="exaone4", hidden_act="silu", head_dim=s.head_dim, sliding_window=None,
                  sliding_window_pattern=None)
    if "rope_freqs.weight" in s.model:
        config["rope_scaling"] = LLAMA3
    if s.key("attention.sliding_window"):
        config.update(sliding_window=s.key("attention.sliding_window"), sliding_window_pattern="LLLG",
                      layer_types=s.layer_types())
    return s.tensors({**LLAMA, **AFTER}), config


@folder("gemma2", "gemma2-27b")
def gemma2(s):
    names = {**LLAMA, **AFTER, "ffn_norm": "pre_feedforward_layernorm"}
    scalar = s.config["hidden_size"] / s.heads if s.layers == 46 else s.head_dim
    return s.tensors(names, norms_minus_1=True), dict(
        s.config, model_type="gemma2", head_dim=s.head_dim, query_pre_attn_scalar=scalar,
        hidden_activation="gelu_pytorch_tanh", attn_logit_softcapping=s.key("attn_logit_softcapping"),
        final_logit_softcapping=s.key("final_logit_softcapping"), sliding_window=s.key("attention.sliding_window"),
        layer_types=s.layer_types(period=2), cache_implementation="hybrid")


@folder("glm4")
def glm4(s):
    names = {**LLAMA, "ffn_up": "mlp.gate_up_proj", "post_attention_norm": "post_self_attn_layernorm",
             "post_ffw_norm": "post_mlp_layernorm"}
    return s.tensors(names), dict(s.config, model_type="glm4", head_dim=s.head_dim, attention_bias=True,
                                  partial_rotary_factor=s.key("rope.dimension_count") / s.head_dim)


@folder("starcoder2")
def starcoder2(s):
    return s.tensors({**LLAMA, "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}), dict(
        s.config, model_type="starcoder2", norm_epsilon=s.key("attention.layer_norm_epsilon"), use_bias=True,
        hidden_act="gelu_pytorch_tanh", mlp_type="default", norm_type="layer_norm", sliding_window=None)


@folder("granite", "granitemoe", "granitemoe-shared")
def granite(s):
    config = dict(s.config, model_type="granite", embedding_multiplier=s.key("embedding_scale"),
                  residual_multiplier=s.key("residual_scale"), attention_multiplier=s.key("attention.scale"),
                  logits_scaling=s.key("logit_scale"))
    if not s.key("expert_count"):
        return s.tensors(LLAMA, halves=True), config
    shared = s.key("expert_shared_feed_forward_length")
    config.update(model_type="granitemoeshared" if shared else "granitemoe", num_local_experts=s.key("expert_count"),
                  num_experts_per_tok=s.key("expert_used_count"), output_router_logits=False)
    names = {part: name for part, name in LLAMA.items() if not name.startswith("mlp.")}
    tensors = s.tensors({**names, "ffn_gate_inp": "block_sparse_moe.router.layer",
                         "ffn_down_exps": "block_sparse_moe.output_linear", "ffn_down_shexp": "shared_mlp.output_linear"},
                        halves=True)
    kinds = {"exps": "block_sparse_moe"}
    if shared:
        config["shared_intermediate_size"] = shared
        kinds["shexp"] = "shared_mlp"
    for layer in range(s.layers):
        for kind, name in kinds.items():
            both = [s.model[f"blk.{layer}.ffn_{part}_{kind}.weight"] for part in ("gate", "up")]
            tensors[f"model.layers.{layer}.{name}.input_linear.weight"] = np.concatenate(both, axis=-2)
    return tensors, config


@folder("ernie4-5-moe")
def ernie4_5_moe(s):
    tensors = {name: value for name, value in s.tensors(
        {**LLAMA, "ffn_gate_inp": "mlp.gate", "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
         "ffn_up_shexp": "mlp.shared_experts.up_proj", "ffn_down_shexp": "mlp.shared_experts.down_proj"}).items()}
    dense = s.key("leading_dense_block_count")
    for layer in range(dense, s.layers):
        p, out = f"blk.{layer}.", f"model.layers.{layer}.mlp."
        for part in ("gate", "up", "down"):
            for expert, matrix in enumerate(s.model[f"{p}ffn_{part}_exps.weight"]):
                tensors[f"{out}experts.{expert}.{part}_proj.weight"] = matrix.copy()
        tensors[out + "moe_statics.e_score_correction_bias"] = s.model[p + "exp_probs_b.bias"][None].copy()
    tensors["model.mtp_block.0.input_layernorm.weight"] = np.ones(8, np.float32)
    return tensors, dict(
        s.config, model_type="ernie4_5_moe", use_bias=False, moe_num_experts=s.key("expert_count"),
        moe_k=s.key("expert_used_count"), moe_intermediate_size=s.key("expert_feed_forward_length"),
        moe_num_shared_experts=s.key("expert_shared_count"), moe_layer_start_index=dense, moe_layer_end_index=-1,
        moe_layer_interval=1, moe_use_aux_free=True, num_nextn_predict_layers=1)


@folder("ernie4-5")
def ernie4_5(s):
    return s.tensors(LLAMA), dict(s.config, model_type="ernie4_5", head_dim=s.head_dim, use_bias=False)


@folder("command-r", "cohere2")
def cohere(s):
    config = dict(s.config, model_type="cohere", layer_norm_eps=s.key("attention.layer_norm_epsilon"),
                  logit_scale=s.key("logit_scale"), use_qk_norm=False)
    if s.key("attention.sliding_window"):
        del config["use_qk_norm"]
        config.update(model_type="cohere2", sliding_window=s.key("attention.sliding_window"), sliding_window_pattern=4,
                      order_of_interleaved_layers="local_attn_first", rotary_pct=1.0, head_dim=s.head_dim)
    return s.tensors(LLAMA), config


@folder("stablelm", "stablelm-parallel")
def stablelm(s):
    tensors = s.tensors(LLAMA)
    for layer in range(s.layers):
        for part, heads in (("q", s.heads), ("k", s.kv_heads)):
            whole = tensors.pop(f"model.layers.{layer}.self_attn.{part}_norm.weight", None)
            for head in range(heads if whole is not None else 0):
                name = f"model.layers.{layer}.self_attn.{part}_layernorm.norms.{head}.weight"
                tensors[name] = whole[head].copy()
    parallel = s.key("use_parallel_residual")
    return tensors, dict(s.config, model_type="stablelm", layer_norm_eps=s.key("attention.layer_norm_epsilon"),
                         partial_rotary_factor=s.key("rope.dimension_count") / s.head_dim, hidden_act="silu",
                         use_parallel_residual=parallel, qk_layernorm=parallel, use_qkv_bias=not parallel)


def each_expert(tensors, s, layer, part, name):
    """A matrix of all experts, as a tensor each."""
    whole = s.model[f"blk.{layer}.{part}.weight"]
    for expert in range(len(whole)):
        tensors[f"model.layers.{layer}.{name.format(expert)}.weight"] = whole[expert].copy()


def mxfp4(s, name):
    """Codes and exponents as transformers has them (integrations/mxfp4.py): two codes a byte, one after the other."""
    t = s.model.tensors[name]
    blocks = np.asarray(t.data).reshape(*[int(n) for n in reversed(t.shape)][:-1], -1, 17)
    low, high = blocks[..., 1:] & 15, blocks[..., 1:] >> 4
    codes = np.concatenate([low, high], axis=-1)
    return codes[..., 0::2] | codes[..., 1::2] << 4, blocks[..., 0]


@folder("gpt-oss", "gpt-oss-mxfp4")
def gpt_oss(s):
    tensors = s.tensors({**LLAMA, "post_attention_norm": "post_attention_layernorm", "ffn_gate_inp": "mlp.router"})
    config = dict(s.config, model_type="gpt_oss", hidden_act="silu", head_dim=s.head_dim, attention_bias=True,
                  num_local_experts=s.key("expert_count"), num_experts_per_tok=s.key("expert_used_count"),
                  experts_per_token=s.key("expert_used_count"), swiglu_limit=7.0, layer_types=s.layer_types(period=2),
                  sliding_window=s.key("attention.sliding_window"), rope_scaling=s.yarn(truncate=False),
                  initial_context_length=s.key("rope.scaling.original_context_length"), output_router_logits=False)
    packed = s.model.tensors["blk.0.ffn_down_exps.weight"].tensor_type.name == "MXFP4"
    if packed:
        config["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}
    by_turns = lambda gate, up: np.stack([gate, up], axis=2).reshape(len(gate), 2 * gate.shape[1], *gate.shape[2:])
    for layer in range(s.layers):
        p, out = f"blk.{layer}.ffn_", f"model.layers.{layer}."
        tensors[out + "self_attn.sinks"] = s.model[f"blk.{layer}.attn_sinks.weight"]
        gate, up, down = (s.model[f"{p}{part}_exps.bias"] for part in ("gate", "up", "down"))
        tensors[out + "mlp.experts.gate_up_proj_bias"] = by_turns(gate, up)
        tensors[out + "mlp.experts.down_proj_bias"] = down
        if packed:
            parts = [mxfp4(s, f"{p}{part}_exps.weight") for part in ("gate", "up", "down")]
            for leaf, gate, up, down in zip(("blocks", "scales"), *parts):
                tensors[f"{out}mlp.experts.gate_up_proj_{leaf}"] = by_turns(gate, up)
                tensors[f"{out}mlp.experts.down_proj_{leaf}"] = np.ascontiguousarray(down)
        else:  # [experts, inputs, outputs]
            gate, up, down = (s.model[f"{p}{part}_exps.weight"] for part in ("gate", "up", "down"))
            tensors[out + "mlp.experts.gate_up_proj"] = np.ascontiguousarray(by_turns(gate, up).swapaxes(1, 2))
            tensors[out + "mlp.experts.down_proj"] = np.ascontiguousarray(down.swapaxes(1, 2))
    return tensors, config


@folder("gemma4", "gemma4-moe", "gemma4-e2b")
def gemma4(s):
    names = {**LLAMA, **AFTER, "ffn_norm": "pre_feedforward_layernorm", "ffn_gate_inp": "router.proj",
             "inp_gate": "per_layer_input_gate", "proj": "per_layer_projection", "post_norm": "post_per_layer_input_norm",
             "pre_ffw_norm_2": "pre_feedforward_layernorm_2", "post_ffw_norm_1": "post_feedforward_layernorm_1",
             "post_ffw_norm_2": "post_feedforward_layernorm_2"}
    tensors = s.tensors(names)
    sliding, kv_heads = s.key("attention.sliding_window_pattern"), s.kv_heads
    hidden = s.key("feed_forward_length")
    shared, own = s.key("attention.shared_kv_layers"), s.key("embedding_length_per_layer_input")
    text = dict(s.config, model_type="gemma4_text", hidden_activation="gelu_pytorch_tanh", layer_types=s.layer_types(),
                intermediate_size=hidden[0] if shared else hidden, use_double_wide_mlp=bool(shared),
                head_dim=s.key("attention.key_length_swa"), global_head_dim=s.head_dim,
                num_key_value_heads=kv_heads[sliding.index(True)], num_global_key_value_heads=kv_heads[sliding.index(False)],
                attention_k_eq_v=f"blk.{sliding.index(False)}.attn_v.weight" not in s.model, num_kv_shared_layers=shared,
                hidden_size_per_layer_input=own, vocab_size_per_layer_input=s.config["vocab_size"],
                sliding_window=s.key("attention.sliding_window"), attention_bias=False,
                final_logit_softcapping=s.key("final_logit_softcapping"), enable_moe_block=False, num_experts=None,
                rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": s.key("rope.freq_base_swa")},
                                 "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25,
                                                    "rope_theta": s.key("rope.freq_base")}})
    del text["rope_theta"]
    for layer in range(s.layers):
        p, out = f"blk.{layer}.", f"model.layers.{layer}."
        tensors[out + "layer_scalar"] = s.model[p + "layer_output_scale.weight"]
        if p + "ffn_gate_inp.scale" in s.model:
            tensors[out + "router.scale"] = s.model[p + "ffn_gate_inp.scale"]
            tensors[out + "router.per_expert_scale"] = s.model[p + "ffn_down_exps.scale"]
            tensors[out + "experts.gate_up_proj"] = s.model[p + "ffn_gate_up_exps.weight"]
            tensors[out + "experts.down_proj"] = s.model[p + "ffn_down_exps.weight"]
            text.update(enable_moe_block=True, num_experts=s.key("expert_count"), top_k_experts=s.key("expert_used_count"),
                        moe_intermediate_size=s.key("expert_feed_forward_length"))
    if not own:
        return tensors, text
    tensors["model.embed_tokens_per_layer.weight"] = s.model["per_layer_token_embd.weight"]
    tensors["model.per_layer_model_projection.weight"] = s.model["per_layer_model_proj.weight"]
    tensors["model.per_layer_projection_norm.weight"] = s.model["per_layer_proj_norm.weight"]
    # With eyes and ears.
    tensors = {name.replace("model.", "model.language_model.", 1): value for name, value in tensors.items()}
    for name in ("vision_tower.patch_embedder.input_proj", "audio_tower.output_proj", "embed_vision.embedding_projection"):
        tensors[f"model.{name}.weight"] = np.ones((8, 8), np.float32)
    return tensors, dict(model_type="gemma4", text_config=text, vision_config={"hidden_size": 8}, audio_config=None,
                         image_token_id=10, tie_word_embeddings=text.pop("tie_word_embeddings"))


@folder("deepseek2-lite", "deepseek2", "glm4-moe-lite")
def deepseek2(s):
    names = {part: name for part, name in LLAMA.items() if part != "attn_k" and part != "attn_v"}
    tensors = s.tensors({
        **names, "attn_q_a": "self_attn.q_a_proj", "attn_q_a_norm": "self_attn.q_a_layernorm",
        "attn_q_b": "self_attn.q_b_proj", "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
        "attn_kv_a_norm": "self_attn.kv_a_layernorm", "ffn_gate_inp": "mlp.gate",
        "ffn_gate_shexp": "mlp.shared_experts.gate_proj", "ffn_up_shexp": "mlp.shared_experts.up_proj",
        "ffn_down_shexp": "mlp.shared_experts.down_proj"})
    turned, sigmoid = s.key("rope.dimension_count"), s.key("expert_gating_func") == 2
    all_dims = round(s.key("rope.scaling.yarn_log_multiplier", 0.0) * 10, 6)
    config = dict(
        s.config, model_type="deepseek_v3" if sigmoid else "deepseek_v2", hidden_act="silu", num_key_value_heads=s.heads,
        kv_lora_rank=s.key("attention.kv_lora_rank"), q_lora_rank=s.key("attention.q_lora_rank") if sigmoid else None,
        qk_rope_head_dim=turned, qk_nope_head_dim=s.key("attention.key_length_mla") - turned,
        v_head_dim=s.key("attention.value_length_mla"), n_routed_experts=s.key("expert_count"),
        n_shared_experts=s.key("expert_shared_count"), num_experts_per_tok=s.key("expert_used_count"),
        moe_intermediate_size=s.key("expert_feed_forward_length"), first_k_dense_replace=s.key("leading_dense_block_count"),
        routed_scaling_factor=s.key("expert_weights_scale"), norm_topk_prob=s.key("expert_weights_norm"),
        n_group=s.key("expert_group_count", 1), topk_group=s.key("expert_group_used_count", 1), moe_layer_freq=1,
        topk_method="noaux_tc" if sigmoid else "greedy", scoring_func="sigmoid" if sigmoid else "softmax",
        num_nextn_predict_layers=1 if sigmoid else None, rope_scaling=None)
    if all_dims:
        config["rope_scaling"] = {"type": "yarn", **s.yarn(mscale=all_dims, mscale_all_dim=all_dims)}
        del config["rope_scaling"]["rope_type"]
    else:
        dense = config.pop("first_k_dense_replace")
        config.update(model_type="glm4_moe_lite", mlp_layer_types=["dense"] * dense + ["sparse"] * (s.layers - dense),
                      rope_interleave=True)
    for layer in range(s.layers):
        p, out = f"blk.{layer}.", f"model.layers.{layer}."
        k, v = s.model[p + "attn_k_b.weight"].swapaxes(1, 2), s.model[p + "attn_v_b.weight"]
        tensors[out + "self_attn.kv_b_proj.weight"] = np.concatenate([k, v], axis=1).reshape(-1, k.shape[2])
        if p + "ffn_gate_exps.weight" not in s.model:
            continue
        for part in ("gate", "up", "down"):
            each_expert(tensors, s, layer, f"ffn_{part}_exps", f"mlp.experts.{{}}.{part}_proj")
        if sigmoid:
            tensors[out + "mlp.gate.e_score_correction_bias"] = s.model[p + "exp_probs_b.bias"]
    if sigmoid:  # a layer that predicts further tokens
        tensors[f"model.layers.{s.layers}.eh_proj.weight"] = np.ones((8, 16), np.float32)
    return tensors, config


@folder("mixtral", "qwen3moe")
def mixtral(s):
    is_qwen = s.model.arch == "qwen3moe"
    tensors = s.tensors({**LLAMA, "ffn_gate_inp": "mlp.gate" if is_qwen else "block_sparse_moe.gate"}, halves=not is_qwen)
    names = (("gate", "w1"), ("down", "w2"), ("up", "w3"))
    for layer in range(s.layers):
        for part, name in names:
            each_expert(tensors, s, layer, f"ffn_{part}_exps",
                        f"mlp.experts.{{}}.{part}_proj" if is_qwen else f"block_sparse_moe.experts.{{}}.{name}")
    config = dict(s.config, hidden_act="silu", num_experts_per_tok=s.key("expert_used_count"))
    if not is_qwen:
        return tensors, dict(config, model_type="mixtral", num_local_experts=s.key("expert_count"), sliding_window=None)
    return tensors, dict(config, model_type="qwen3_moe", num_experts=s.key("expert_count"), norm_topk_prob=True,
                         head_dim=s.head_dim, moe_intermediate_size=s.key("expert_feed_forward_length"))


@folder("qwen2moe")
def qwen2moe(s):
    shared = {f"ffn_{part}_shexp": f"mlp.shared_expert.{part}_proj" for part in ("gate", "up", "down")}
    tensors = s.tensors({**LLAMA, **shared, "ffn_gate_inp": "mlp.gate"})
    for layer in range(s.layers):
        for part in ("gate", "up", "down"):
            each_expert(tensors, s, layer, f"ffn_{part}_exps", f"mlp.experts.{{}}.{part}_proj")
        weight = s.model[f"blk.{layer}.ffn_gate_inp_shexp.weight"]
        tensors[f"model.layers.{layer}.mlp.shared_expert_gate.weight"] = weight.reshape(1, -1)
    return tensors, dict(s.config, model_type="qwen2_moe", hidden_act="silu", num_experts=s.key("expert_count"),
                         num_experts_per_tok=s.key("expert_used_count"), norm_topk_prob=False,
                         moe_intermediate_size=s.key("expert_feed_forward_length"), decoder_sparse_step=1,
                         shared_expert_intermediate_size=s.key("expert_shared_feed_forward_length"), mlp_only_layers=[],
                         use_sliding_window=False, sliding_window=None, max_window_layers=s.layers)


@folder("qwen35", "qwen35moe", "qwen3next-one")
def qwen35(s):
    """Files of Qwen 3.5 have the heads of values in another order: those of a key head far apart."""
    shared = {f"ffn_{part}_shexp": f"mlp.shared_expert.{part}_proj" for part in ("gate", "up", "down")}
    linear = {"attn_gate": "in_proj_z", "ssm_in": "in_proj_qkvz", "ssm_ba": "in_proj_ba", "ssm_alpha": "in_proj_a",
              "ssm_beta": "in_proj_b", "ssm_out": "out_proj", "attn_qkv": "in_proj_qkv"}
    tensors = s.tensors({**LLAMA, **shared, "post_attention_norm": "post_attention_layernorm", "ffn_gate_inp": "mlp.gate",
                         **{part: f"linear_attn.{name}" for part, name in linear.items()}}, norms_minus_1=True)
    keys, heads, state = s.key("ssm.group_count"), s.key("ssm.time_step_rank"), s.key("ssm.state_size")
    dim, is_next = s.key("ssm.inner_size") // heads, s.model.arch == "qwen3next"

    def grouped(values, each, begin=0):
        """Heads from `begin` on: those of a key head side by side. each: rows a head."""
        head, tail = values[:begin], values[begin:]
        tail = tail.reshape(heads // keys, keys, each, *values.shape[1:]).swapaxes(0, 1).reshape(tail.shape)
        return np.concatenate([head, tail]) if not is_next else values

    kinds = []
    for layer in range(s.layers):
        p, out = f"blk.{layer}.", f"model.layers.{layer}."
        kinds.append("linear_attention" if p + "ssm_a" in s.model else "full_attention")
        if kinds[-1] == "linear_attention":
            a = out + "linear_attn."
            for part, each, begin in ("in_proj_qkv", dim, 2 * keys * state), ("in_proj_z", dim, 0), ("in_proj_a", 1, 0), ("in_proj_b", 1, 0):
                if f"{a}{part}.weight" in tensors:
                    tensors[f"{a}{part}.weight"] = grouped(tensors[f"{a}{part}.weight"], each, begin)
            whole = tensors[a + "out_proj.weight"]
            tensors[a + "out_proj.weight"] = np.ascontiguousarray(grouped(whole.T, dim).T)
            tensors[a + "conv1d.weight"] = grouped(s.model[p + "ssm_conv1d.weight"], dim, 2 * keys * state)[:, None].copy()
            tensors[a + "A_log"] = np.log(-grouped(s.model[p + "ssm_a"], 1))
            tensors[a + "dt_bias"] = grouped(s.model[p + "ssm_dt.bias"], 1)
            tensors[a + "norm.weight"] = s.model[p + "ssm_norm.weight"]
        if s.key("expert_count"):
            for part in ("gate", "up", "down"):
                each_expert(tensors, s, layer, f"ffn_{part}_exps", f"mlp.experts.{{}}.{part}_proj")
            weight = s.model[p + "ffn_gate_inp_shexp.weight"]
            tensors[out + "mlp.shared_expert_gate.weight"] = weight.reshape(1, -1)
    rope = {"rope_type": "default", "rope_theta": s.config["rope_theta"],
            "partial_rotary_factor": s.key("rope.dimension_count") / s.head_dim}
    text = dict(s.config, hidden_act="silu", head_dim=s.head_dim, rope_parameters=rope, layer_types=kinds,
                linear_conv_kernel_dim=4, linear_key_head_dim=state, linear_value_head_dim=dim, linear_num_key_heads=keys,
                linear_num_value_heads=heads, mtp_num_hidden_layers=1)
    del text["rope_theta"]
    if s.key("expert_count"):
        del text["intermediate_size"]
        text.update(num_experts=s.key("expert_count"), num_experts_per_tok=s.key("expert_used_count"),
                    moe_intermediate_size=s.key("expert_feed_forward_length"),
                    shared_expert_intermediate_size=s.key("expert_shared_feed_forward_length"))
    tensors["mtp.fc.weight"] = np.ones((8, 16), np.float32)
    if is_next:
        text.update(model_type="qwen3_next", intermediate_size=88, norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[])
        return tensors, text
    rope.update(mrope_section=s.key("rope.dimension_sections")[:3], mrope_interleaved=True)
    tensors = {name.replace("model.", "model.language_model.", 1): value for name, value in tensors.items()}
    tensors["model.visual.merger.norm.weight"] = np.ones(8, np.float32)
    kind = "qwen3_5_moe" if s.key("expert_count") else "qwen3_5"
    text["model_type"] = f"{kind}_text"
    return tensors, dict(model_type=kind, text_config=text, vision_config={"hidden_size": 8}, image_token_id=10,
                         tie_word_embeddings=text.pop("tie_word_embeddings"))


def scan(s, tensors, layer, name, out):
    """Mamba-2's tensors."""
    p = f"blk.{layer}.ssm_"
    for part, theirs in (("in", "in_proj"), ("out", "out_proj")):
        tensors[f"{out}{name}.{theirs}.weight"] = s.model[f"{p}{part}.weight"]
    tensors[f"{out}{name}.conv1d.weight"] = s.model[p + "conv1d.weight"][:, None].copy()
    tensors[f"{out}{name}.conv1d.bias"] = s.model[p + "conv1d.bias"]
    tensors[f"{out}{name}.A_log"] = np.log(-s.model[p + "a"].ravel())
    tensors[f"{out}{name}.D"] = s.model[p + "d"].ravel().copy()
    tensors[f"{out}{name}.dt_bias"] = s.model[p + "dt.bias"]
    if p + "norm.weight" in s.model:
        tensors[f"{out}{name}.norm.weight"] = s.model[p + "norm.weight"].ravel().copy()


@folder("granitehybrid", "granitehybrid-moe", "granite-micro")
def granitehybrid(s):
    dense = not isinstance(s.kv_heads, list)  # of a hybrid's folder, whose layers all attend
    if dense:
        s.kv_heads = [s.kv_heads] * s.layers
    tensors, config = s.tensors({**LLAMA, "ffn_gate_inp": "block_sparse_moe.router.layer",
                                 "ffn_down_exps": "block_sparse_moe.output_linear"}, halves=True), dict(s.config)
    experts, shared = s.key("expert_count", 0), s.key("expert_shared_feed_forward_length", s.config["intermediate_size"])
    kinds = []
    for layer in range(s.layers):
        p, out = f"blk.{layer}.", f"model.layers.{layer}."
        kinds.append("attention" if s.kv_heads[layer] else "mamba")
        if kinds[-1] == "mamba":
            scan(s, tensors, layer, "mamba", out)
        kind = "_shexp" if experts else ""
        both = lambda kind: np.concatenate([s.model[f"{p}ffn_{part}{kind}.weight"] for part in ("gate", "up")], axis=-2)
        tensors[out + "shared_mlp.input_linear.weight"] = both(kind)
        tensors[out + "shared_mlp.output_linear.weight"] = s.model[f"{p}ffn_down{kind}.weight"]
        if experts:
            tensors[out + "block_sparse_moe.input_linear.weight"] = both("_exps")
    tensors = {name: value for name, value in tensors.items() if ".mlp." not in name}
    if not dense:
        config.update(mamba_expand=s.key("ssm.inner_size") // s.config["hidden_size"],
                      mamba_n_heads=s.key("ssm.time_step_rank"), mamba_n_groups=s.key("ssm.group_count"),
                      mamba_d_state=s.key("ssm.state_size"))
    config.update(
        model_type="granitemoehybrid", num_key_value_heads=max(s.kv_heads), embedding_multiplier=s.key("embedding_scale"),
        residual_multiplier=s.key("residual_scale"), attention_multiplier=s.key("attention.scale"),
        logits_scaling=s.key("logit_scale"), num_local_experts=experts, num_experts_per_tok=s.key("expert_used_count", 0),
        shared_intermediate_size=shared, layer_types=kinds, position_embedding_type="rope" if experts or dense else "nope",
        mamba_d_conv=4, mamba_conv_bias=True)
    return tensors, config


@folder("nemotron-h", "nemotron-h-moe", "nemotron-h-latent")
def nemotron_h(s):
    names = {"attn_norm": "norm", "attn_q": "mixer.q_proj", "attn_k": "mixer.k_proj", "attn_v": "mixer.v_proj",
             "attn_output": "mixer.o_proj", "ffn_up": "mixer.up_proj", "ffn_down": "mixer.down_proj", "ffn_gate_inp": "mixer.gate",
             "ffn_up_shexp": "mixer.shared_experts.up_proj", "ffn_down_shexp": "mixer.shared_experts.down_proj",
             "ffn_latent_down": "mixer.fc1_latent_proj", "ffn_latent_up": "mixer.fc2_latent_proj"}
    tensors = {name.replace("model.embed_tokens", "backbone.embeddings").replace("model.norm", "backbone.norm_f")
               .replace("model.layers", "backbone.layers"): value for name, value in s.tensors(names).items()}
    kinds, hidden, experts = "", s.key("feed_forward_length"), s.key("expert_count", 0)
    for layer in range(s.layers):
        p, out = f"blk.{layer}.", f"backbone.layers.{layer}."
        kinds += "*" if s.kv_heads[layer] else "M" if not hidden[layer] else "E" if experts else "-"
        if kinds[-1] == "M":
            scan(s, tensors, layer, "mixer", out)
        if kinds[-1] == "E":
            for part in ("up", "down"):
                for expert, matrix in enumerate(s.model[f"{p}ffn_{part}_exps.weight"]):
                    tensors[f"{out}mixer.experts.{expert}.{part}_proj.weight"] = matrix.copy()
            tensors[out + "mixer.gate.e_score_correction_bias"] = s.model[p + "exp_probs_b.bias"]
    tensors["mtp.layers.0.norm.weight"] = np.ones(8, np.float32)
    eps = s.key("attention.layer_norm_rms_epsilon", s.key("attention.layer_norm_epsilon"))
    config = {key: value for key, value in s.config.items() if key not in ("rope_theta", "rms_norm_eps")}
    heads, inner = s.key("ssm.time_step_rank"), s.key("ssm.inner_size")
    config.update(
        model_type="nemotron_h", hybrid_override_pattern=kinds, num_key_value_heads=max(s.kv_heads), head_dim=s.head_dim,
        intermediate_size=max(hidden), layer_norm_epsilon=eps, mlp_hidden_act="relu2", mamba_hidden_act="silu",
        mamba_num_heads=heads, mamba_head_dim=inner // heads, n_groups=s.key("ssm.group_count"),
        ssm_state_size=s.key("ssm.state_size"), conv_kernel=4, time_step_limit=[0.0, float("inf")], use_conv_bias=True)
    if experts:
        config.update(n_routed_experts=experts, n_shared_experts=1, num_experts_per_tok=s.key("expert_used_count"),
                      moe_intermediate_size=s.key("expert_feed_forward_length"), norm_topk_prob=True, n_group=1, topk_group=1,
                      moe_shared_expert_intermediate_size=s.key("expert_shared_feed_forward_length"),
                      moe_latent_size=s.key("moe_latent_size"), routed_scaling_factor=s.key("expert_weights_scale"))
    return tensors, config


@folder("mamba2")
def mamba2(s):
    tensors = {name.replace("model.embed_tokens", "backbone.embeddings").replace("model.norm", "backbone.norm_f")
               .replace("model.layers", "backbone.layers"): value for name, value in s.tensors({"attn_norm": "norm"}).items()}
    for layer in range(s.layers):
        scan(s, tensors, layer, "mixer", f"backbone.layers.{layer}.")
    heads, inner = s.key("ssm.time_step_rank"), s.key("ssm.inner_size")
    return tensors, dict(
        model_type="mamba2", hidden_size=s.config["hidden_size"], num_hidden_layers=s.layers, hidden_act="silu",
        vocab_size=s.config["vocab_size"], layer_norm_epsilon=s.config["rms_norm_eps"], num_heads=heads,
        head_dim=inner // heads, n_groups=s.key("ssm.group_count"), state_size=s.key("ssm.state_size"), conv_kernel=4,
        expand=1.5, time_step_limit=[0.0, float("inf")], tie_word_embeddings=s.config["tie_word_embeddings"])


@folder("falcon-h1", "falcon-h1-norm", "falcon-h1-tied")
def falcon_h1(s):
    """The factors are in the file's numbers already, so they are taken out of the folder's."""
    names = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "feed_forward.gate_proj",
             "ffn_up": "feed_forward.up_proj", "ffn_down": "feed_forward.down_proj"}
    tensors = {name.replace("model.norm", "model.final_layernorm"): value for name, value in s.tensors(names).items()}
    inner, state, groups = s.key("ssm.inner_size"), s.key("ssm.state_size"), s.key("ssm.group_count")
    parts, heads = [0.4, 0.3, 0.2, 1.5, 0.6], s.key("ssm.time_step_rank")
    normed = "blk.0.ssm_norm.weight" in s.model
    rows = np.repeat(np.float32(parts), [inner, inner, groups * state, groups * state, heads])[:, None]
    for layer in range(s.layers):
        out = f"model.layers.{layer}."
        scan(s, tensors, layer, "mamba", out)
        tensors[out + "pre_ff_layernorm.weight"] = s.model[f"blk.{layer}.ffn_norm"]
        for name, factor in (("self_attn.q_proj", 0.9), ("self_attn.k_proj", 0.9 * 0.35), ("self_attn.v_proj", 0.9),
                             ("self_attn.o_proj", 1.1), ("mamba.in_proj", 1.2 * rows), ("mamba.out_proj", 0.7),
                             ("feed_forward.gate_proj", 0.8), ("feed_forward.down_proj", 0.45)):
            tensors[f"{out}{name}.weight"] = (tensors[f"{out}{name}.weight"] / factor).astype(np.float32)
    config = dict(
        s.config, model_type="falcon_h1", head_dim=s.head_dim, embedding_multiplier=5.5, lm_head_multiplier=0.04,
        attention_in_multiplier=0.9, key_multiplier=0.35, attention_out_multiplier=1.1, mlp_multipliers=[0.8, 0.45],
        ssm_multipliers=parts, ssm_in_multiplier=1.2, ssm_out_multiplier=0.7, mamba_d_ssm=inner, mamba_n_heads=heads,
        mamba_d_head=inner // heads, mamba_n_groups=groups, mamba_d_state=state, mamba_d_conv=4, mamba_rms_norm=normed,
        mamba_norm_before_gate=not normed, projectors_bias=False)
    for name, factor in (("model.embed_tokens", 5.5), ("lm_head", 0.04)):
        if f"{name}.weight" in tensors:
            tensors[f"{name}.weight"] = (tensors[f"{name}.weight"] / np.float32(factor)).astype(np.float32)
    if np.allclose(s.model["token_embd.weight"] * TIED, s.model["output.weight"], atol=0):
        del tensors["lm_head.weight"]
        config.update(tie_word_embeddings=True, lm_head_multiplier=5.5 * TIED)
    return tensors, config


@folder("lfm2", "lfm2moe")
def lfm2(s):
    names = {"attn_norm": "operator_norm", "ffn_norm": "ffn_norm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.out_proj", "attn_q_norm": "self_attn.q_layernorm",
             "attn_k_norm": "self_attn.k_layernorm", "ffn_gate": "feed_forward.w1", "ffn_down": "feed_forward.w2",
             "ffn_up": "feed_forward.w3", "ffn_gate_inp": "feed_forward.gate"}
    tensors = s.tensors(names)
    tensors["model.embedding_norm.weight"] = s.model["token_embd_norm.weight"]
    kinds = ["full_attention" if heads else "conv" for heads in s.kv_heads]
    config = {key: value for key, value in s.config.items() if key not in ("rms_norm_eps", "tie_word_embeddings")}
    config.update(model_type="lfm2", norm_eps=s.key("attention.layer_norm_rms_epsilon"), conv_bias=False, conv_L_cache=3,
                  num_key_value_heads=max(s.kv_heads), layer_types=kinds, block_auto_adjust_ff_dim=False)
    for layer, kind in enumerate(kinds):
        p, out = f"blk.{layer}.", f"model.layers.{layer}."
        if kind == "conv":
            for part in ("in_proj", "out_proj"):
                tensors[f"{out}conv.{part}.weight"] = s.model[f"{p}shortconv.{part}.weight"]
            tensors[out + "conv.conv.weight"] = s.model[p + "shortconv.conv.weight"][:, None].copy()
        if p + "ffn_gate_exps.weight" in s.model:
            for part, name in (("gate", "w1"), ("down", "w2"), ("up", "w3")):
                each_expert(tensors, s, layer, f"ffn_{part}_exps", f"feed_forward.experts.{{}}.{name}")
            tensors[out + "feed_forward.expert_bias"] = s.model[p + "exp_probs_b.bias"]
    if s.key("expert_count"):
        config.update(model_type="lfm2_moe", num_experts=s.key("expert_count"), num_dense_layers=1, use_expert_bias=True,
                      num_experts_per_tok=s.key("expert_used_count"), norm_topk_prob=True, routed_scaling_factor=1.0,
                      moe_intermediate_size=s.key("expert_feed_forward_length"))
    else:
        config["full_attn_idxs"] = [i for i, kind in enumerate(config.pop("layer_types")) if kind == "full_attention"]
    return tensors, config


def write(path, tensors, config):
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    save_file(tensors, path / "model.safetensors")
    tokens, merges = make_model.byte_vocabulary()
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens[:-1])},
                                     merges=[tuple(merge.split(" ")) for merge in merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([tokens[-1]])
    tokenizer.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": tokens[-1]}))


def made(name, folder, monkeypatch, changes=()):
    given = families.File.given
    if name == "exaone4":  # whose factors no configuration gives
        monkeypatch.setattr(families.File, "given", lambda file, tensor, values: given(
            file, tensor, llama3_factors(1e4, 16) if tensor == "rope_freqs.weight" else values))
    if name.startswith("gemma2"):  # weights that are what a folder's numbers around 0 plus 1 give, to the last bit
        one = np.float32(1)
        monkeypatch.setattr(families.File, "given", lambda file, tensor, values: given(
            file, tensor, np.asarray(values, np.float32) - one + one if "norm" in tensor else values))
    {**families.FAMILIES, **MORE}[name](folder / f"{name}.gguf")
    tensors, config = FOLDERS[name](Source(folder / f"{name}.gguf"))
    for field, value in dict(changes).items():
        if isinstance(config.get(field), dict):
            config[field].update(value)
        else:
            config[field] = value
    write(folder / name, tensors, config)
    return folder / f"{name}.gguf", folder / name


@pytest.fixture(scope="module")
def cpu():
    return Asked("cpu")


@pytest.mark.parametrize("name", FOLDERS)
def test_answers_are_the_files(name, cpu, tmp_path, monkeypatch):
    file, folder = made(name, tmp_path, monkeypatch)
    run("quantize", folder, tmp_path / "again.gguf", "F32")
    tokens = np.random.default_rng(1).integers(0, 267, LENGTH)
    want = cpu.logits(file, families.CONTEXT, LENGTH, tokens)
    assert want.std() > 0.05
    for model in (folder, tmp_path / "again.gguf"):
        got = cpu.logits(model, families.CONTEXT, LENGTH, tokens)
        divergence = forward.kl_divergence(want, got)
        print(f"{name}, {model.name}: KL at most {divergence.max():.2e}")
        assert divergence.max() < LIMIT


# config.json of published models, as their authors wrote them; what the test's folder has, and what belongs to it, wins.
PUBLISHED = {
    "gpt-oss-mxfp4": """{"architectures": ["GptOssForCausalLM"], "attention_bias": true, "attention_dropout": 0.0,
        "eos_token_id": 200002, "experts_per_token": 3, "head_dim": 64, "hidden_act": "silu", "initializer_range": 0.02,
        "num_local_experts": 32, "output_router_logits": false, "pad_token_id": 199999, "quantization_config":
        {"modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"],
        "quant_method": "mxfp4"}, "router_aux_loss_coef": 0.9, "swiglu_limit": 7.0, "transformers_version": "4.55.0.dev0",
        "use_cache": true}""",
    "gemma4": """{"architectures": ["Gemma4ForConditionalGeneration"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 2, "dtype": "bfloat16", "enable_moe_block": false, "eos_token_id": 1, "expert_intermediate_size": null,
        "moe_intermediate_size": null, "pad_token_id": 0, "top_k_experts": null, "use_bidirectional_attention": "vision",
        "initializer_range": 0.02, "use_cache": true, "use_double_wide_mlp": false, "transformers_version": "5.5.0.dev0",
        "audio_config": null, "audio_token_id": 258881, "boa_token_id": 256000, "boi_token_id": 255999, "eoa_token_id": 258883,
        "eoa_token_index": 258883, "eoi_token_id": 258882, "image_token_id": 258880, "video_token_id": 258884}""",
    "deepseek2-lite": """{"architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekV2Config"}, "aux_loss_alpha": 0.001, "bos_token_id": 100000,
        "eos_token_id": 100001, "hidden_act": "silu", "initializer_range": 0.02, "moe_layer_freq": 1, "n_group": 1,
        "pretraining_tp": 1, "scoring_func": "softmax", "seq_aux": true, "topk_group": 1, "topk_method": "greedy",
        "torch_dtype": "bfloat16", "transformers_version": "4.33.1", "use_cache": true}""",
    "glm4-moe-lite": """{"architectures": ["Glm4MoeLiteForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "dtype": "bfloat16", "eos_token_id": [154820, 154827, 154829], "hidden_act": "silu", "num_nextn_predict_layers": 1,
        "pad_token_id": 154820, "partial_rotary_factor": 1.0, "rope_scaling": null, "topk_method": "noaux_tc",
        "transformers_version": "5.0.0rc0"}""",
    "qwen3moe": """{"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645, "hidden_act": "silu",
        "initializer_range": 0.02, "max_window_layers": 48, "mlp_only_layers": [], "output_router_logits": false,
        "rope_scaling": null, "router_aux_loss_coef": 0.001, "sliding_window": null, "torch_dtype": "bfloat16",
        "transformers_version": "4.51.0", "use_cache": true, "use_sliding_window": false}""",
    "mixtral": """{"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "initializer_range": 0.02, "output_router_logits": false, "router_aux_loss_coef": 0.02,
        "sliding_window": null, "torch_dtype": "bfloat16", "transformers_version": "4.36.0.dev0", "use_cache": true}""",
    "lfm2": """{"architectures": ["Lfm2ForCausalLM"], "block_auto_adjust_ff_dim": true, "block_dim": 2048, "block_ff_dim": 12288,
        "block_ffn_dim_multiplier": 1.0, "block_mlp_init_scale": 1.0, "block_multiple_of": 256, "block_norm_eps": 1e-05,
        "block_out_init_scale": 1.0, "block_use_swiglu": true, "block_use_xavier_init": true, "bos_token_id": 1,
        "conv_dim": 2048, "conv_dim_out": 2048, "conv_use_xavier_init": true, "eos_token_id": 7, "initializer_range": 0.02,
        "num_heads": 32, "pad_token_id": 0, "torch_dtype": "bfloat16", "transformers_version": "4.54.0.dev0",
        "use_cache": true, "use_pos_enc": true}""",
    "granitehybrid-moe": """{"architectures": ["GraniteMoeHybridForCausalLM"], "attention_bias": false,
        "attention_dropout": 0.0, "bos_token_id": 100257, "eos_token_id": 100257, "hidden_act": "silu", "init_method": "mup",
        "initializer_range": 0.1, "mamba_chunk_size": 256, "mamba_d_head": 64, "mamba_proj_bias": false,
        "normalization_function": "rmsnorm", "output_router_logits": false, "pad_token_id": 100256, "rope_scaling": null,
        "router_aux_loss_coef": 0.0, "torch_dtype": "bfloat16", "transformers_version": "4.56.0", "use_cache": true}""",
    "nemotron-h-moe": """{"architectures": ["NemotronHForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "auto_map": {"AutoConfig": "configuration_nemotron_h.NemotronHConfig"}, "bos_token_id": 1, "chunk_size": 128,
        "eos_token_id": 2, "expand": 2, "hidden_dropout": 0.0, "initializer_range": 0.02, "mamba_proj_bias": false,
        "mamba_ssm_cache_dtype": "float32", "mlp_bias": false, "norm_eps": 1e-05, "num_logits_to_keep": 1, "pad_token_id": 0,
        "partial_rotary_factor": 1.0, "rescale_prenorm_residual": true, "residual_in_fp32": false, "rope_theta": 10000,
        "sliding_window": null, "time_step_floor": 0.0001, "time_step_max": 0.1, "time_step_min": 0.001,
        "torch_dtype": "bfloat16", "transformers_version": "4.55.4", "use_bias": false, "use_cache": true,
        "use_mamba_kernels": true}""",
    "qwen35moe": """{"attention_bias": false, "attention_dropout": 0.0, "attn_output_gate": true, "bos_token_id": 248044,
        "dtype": "bfloat16", "eos_token_id": 248044, "full_attention_interval": 4, "hidden_act": "silu",
        "mamba_ssm_dtype": "float32", "mlp_only_layers": [], "mtp_num_hidden_layers": 1, "mtp_use_dedicated_embeddings": false,
        "output_router_logits": false, "pad_token_id": null, "partial_rotary_factor": 0.5, "use_cache": true}""",
    "qwen3next-one": """{"architectures": ["Qwen3NextForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 151643, "eos_token_id": 151645, "full_attention_interval": 4, "initializer_range": 0.02,
        "output_router_logits": false, "router_aux_loss_coef": 0.001, "torch_dtype": "bfloat16",
        "transformers_version": "4.57.0.dev0", "use_cache": true, "use_sliding_window": false}""",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_fields_of_published_models_are_known(name, tmp_path, monkeypatch):
    _, folder = made(name, tmp_path, monkeypatch)
    config = json.loads((folder / "config.json").read_text())
    published = json.loads(PUBLISHED[name])
    assert set(published) - set(config)
    if "text_config" in config:
        config["text_config"] = {**published, **config["text_config"]}
    else:
        config = {**published, **config}
    (folder / "config.json").write_text(json.dumps(config))
    assert run_json("inspect", folder)["unknown"] == []


def test_gemma4_merges_in_the_lists_order(tmp_path, monkeypatch):
    """Not by what comes of it: a piece may be made early of one pair, and late of another. Of αβγδ come αβ and γδ; by
    scores it would be αβγ, whose first pair is α and βγ, and δ."""
    _, folder = made("gemma4", tmp_path, monkeypatch)
    data = json.loads(hf_models.character_tokenizer(gemma=True).to_str())
    vocabulary, merges = data["model"]["vocab"], data["model"]["merges"]
    for piece in ("α", "β", "γ", "δ", "αβ", "βγ", "γδ", "αβγ"):
        vocabulary[piece] = len(vocabulary)
    merges += [["α", "βγ"], ["α", "β"], ["γ", "δ"], ["β", "γ"], ["αβ", "γ"]]
    (folder / "tokenizer.json").write_text(json.dumps(data))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "bos_token": "<s>"}))
    rows = len(vocabulary)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": rows, "vocab_size_per_layer_input": rows}))
    tensors = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = np.resize(tensors[name], (rows, tensors[name].shape[1]))
    save_file(tensors, folder / "model.safetensors")
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    run("quantize", folder, tmp_path / "again.gguf", "F32")
    assert theirs.encode("αβγδ").tokens[1:] == ["αβ", "γδ"]
    for text in ("αβγδ", "αβγ βγδ", "  Hello, wörld\n\n 1234", "你好 мир 😀", *hf_models.TEXT[:20]):
        for model in (folder, tmp_path / "again.gguf"):
            assert run_json("tokenize", model, text)["ids"] == theirs.encode(text).ids, repr(text)


# name: what config.json asks for that the family does not do.
WISHES = {
    "smollm3": {"no_rope_layers": [1, 0] * 4},
    "seed-oss": {"partial_rotary_factor": 0.5},
    "phi3-long": {"lm_head_bias": True},
    "olmo3": {"layer_types": ["chunked_attention"] * 4},
    "exaone4": {"sliding_window_pattern": "LG"},
    "gemma2": {"use_bidirectional_attention": True},
    "glm4": {"hidden_act": "gelu"},
    "starcoder2": {"norm_type": "rms_norm"},
    "granitemoe": {"position_embedding_type": "nope"},
    "ernie4-5": {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
    "cohere2": {"position_embedding_type": "alibi"},
    "stablelm": {"clip_qkv": 8},
    "mistral3": {"text_config": {"model_type": "mistral"}},
    "gpt-oss": {"swiglu_limit": 5.0},
    "gemma4": {"use_bidirectional_attention": "all"},
    "deepseek2": {"rope_interleave": False},
    "qwen2moe": {"decoder_sparse_step": 2},
    "lfm2": {"conv_bias": True},
    "qwen3next-one": {"mlp_only_layers": [1]},
    "granitehybrid": {"time_step_limit": [0.1, 0.2]},
    "mamba2": {"rms_norm": False},
    "falcon-h1": {"mlp_bias": True},
    "falcon-h1-norm": {"mamba_norm_before_gate": True},
    "ernie4-5-moe": {"moe_layer_end_index": 2},
    "nemotron-h": {"mlp_hidden_act": "silu"},
}


@pytest.mark.parametrize("name", WISHES)
def test_wishes_that_are_not_done_are_named(name, tmp_path, monkeypatch):
    _, folder = made(name, tmp_path, monkeypatch, WISHES[name])
    message = run("run", folder, "-p", "x", "--raw", "-n", 1, ok=False).err
    assert f"config.json: {next(iter(WISHES[name]))}" in message
