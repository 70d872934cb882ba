"""Folders of the families of tests/reference/families.py, made of the same numbers as its files, with the names,
orders and fields that transformers' models have: the program must answer alike from both."""
import json

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from safetensors.numpy import save_file

import families
import forward
import make_model
from support import run
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
        heads, width = self.key("attention.head_count"), self.key("embedding_length")
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
            if stem in TOP:
                full = TOP[stem]
            elif stem.startswith("blk."):
                _, layer, part = stem.split(".")
                if part not in names:
                    continue
                full = f"model.layers.{layer}.{names[part]}"
                if halves and part in ("attn_q", "attn_k"):
                    value = self.halves(value, self.heads if part == "attn_q" else self.kv_heads)
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
    families.FAMILIES[name](folder / f"{name}.gguf")
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
}


@pytest.mark.parametrize("name", WISHES)
def test_wishes_that_are_not_done_are_named(name, tmp_path, monkeypatch):
    _, folder = made(name, tmp_path, monkeypatch, WISHES[name])
    message = run("run", folder, "-p", "x", "--raw", "-n", 1, ok=False).err
    assert f"config.json: {next(iter(WISHES[name]))}" in message
