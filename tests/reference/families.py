"""Writes small GGUF files with random weights, one or more for every family whose answers llama.cpp has
given (llama_cpp.py): odd sizes, two layers of each kind at least, and everything that a family has
within reach of 200 tokens: windows and chunks are short, YaRN's original context is passed, several
experts are chosen, caps bend what they cap.

    families.py NAME OUT.gguf
    families.py --list

The keys and tensors are those that llama.cpp's loader reads. The same name gives the same file, byte for
byte, on every machine: weights are integers of PCG64 times a scale, without any function whose last bit
differs between libraries of mathematics.
"""
import argparse
import math

import gguf
import numpy as np

import make_model

CONTEXT = 512  # what the sessions of the tests have, too
LENGTH = 200  # tokens of text
CARD_LENGTH = 60  # of which the simulated card gets these: it takes its time
# Of files whose first draw left doubts (llama_cpp.py seed).
SEEDS = {"gpt-oss": 99, "gpt-oss-mxfp4": 17, "gemma4-e2b": 1, "gemma4-moe": 21, "deepseek2-lite": 8, "deepseek2": 23,
         "phi3-short": 5, "phi3-long": 2, "phi3": 4, "granite": 6, "granitemoe-shared": 1, "olmo3": 8,
         "seed-oss": 8, "hunyuan-dense": 1, "exaone4": 2, "exaone4-window": 3, "ernie4-5": 6, "ernie4-5-moe": 22,
         "muse-glimmer": 13, "gemma2-27b": 21, "gemma2": 1, "command-r": 1, "cohere2": 1, "starcoder2": 3,
         "stablelm-parallel": 9, "llama4": 4, "granitemoe": 2, "qwen35": 23, "granitehybrid": 3, "nemotron-h": 1,
         "qwen35moe": 35, "qwen3next": 40, "qwen3next-one": 115, "lfm2moe": 6, "granitehybrid-moe": 1, "falcon-h1": 2, "falcon-h1-norm": 3}
# Llama 4's chunks and its temperature begin at 8,192 tokens, whatever its file says.
LENGTHS = {"llama4": 8240}
# Tensors that a family has, but that do not change its answers: a scale before the last norm, the other table.
INERT = {"gemma4": {"blk.5.layer_output_scale.weight"}, "gemma4-moe": {"blk.4.layer_output_scale.weight"},
         "gemma4-e2b": {"blk.6.layer_output_scale.weight"}, "phi3-short": {"rope_factors_long.weight"},
         "phi3-long": {"rope_factors_short.weight"}}
# Where a file of this form must not have a key that llama.cpp wants of files with other numbers of layers.
OVERRIDES = {"deepseek2-lite": [("deepseek2.attention.q_lora_rank", 0)]}


def context_of(name):
    return max(CONTEXT, LENGTHS.get(name, 0))


def positions_of(name):
    """Those of which the record keeps logits: the last of all, and every fifth before, of a long text
    those about its ends."""
    at = np.arange(4, LENGTHS.get(name, LENGTH), 5)
    return at[(at < 60) | (at >= at[-1] - 140)] if name in LENGTHS else at



class File:
    """A model file in the making: keys are of the architecture, tensors random unless given."""

    def __init__(self, out, name, arch, width):
        self.writer = gguf.GGUFWriter(out, arch)
        self.arch, self.width = arch, width
        self.bits = np.random.PCG64(SEEDS.get(name, 0))
        self.vocabulary = make_model.add_tokenizer(self.writer, None, 0)
        self.keys(context_length=CONTEXT if name not in LENGTHS else 10240, embedding_length=width)

    def keys(self, prefix="", **values):
        for name, value in values.items():
            self.key(f"{prefix}{name}", value)

    def key(self, name, value):
        add = {bool: self.writer.add_bool, int: self.writer.add_uint32, float: self.writer.add_float32,
               str: self.writer.add_string, list: self.writer.add_array}[type(value)]
        add(f"{self.arch}.{name}", value)

    def random(self, *shape):
        """Uniform float32 of standard deviation 1."""
        raw = self.bits.random_raw(int(np.prod(shape))) >> np.uint64(40)
        return ((raw.astype(np.float32) - np.float32(2**23)) * np.float32(math.sqrt(3) / 2**23)).reshape(shape)

    def given(self, name, values):
        self.writer.add_tensor(name, np.asarray(values, np.float32))

    def matrix(self, name, *shape, gain=1.0, scale=None):
        """Rows of numbers that keep the size of what they are multiplied with, times gain."""
        self.given(f"{name}.weight", self.random(*shape) * np.float32(scale or gain / math.sqrt(shape[-1])))

    def vector(self, name, n, around=1.0, spread=0.2):
        self.given(name, np.float32(around) + np.float32(spread) * self.random(n))

    def bias(self, name, *shape, spread=0.15):
        self.given(f"{name}.bias", np.float32(spread) * self.random(*shape))

    def mxfp4(self, name, *shape, gain):
        """Random codes under a few powers of two: a sign, 2 bits of exponent and 1 of mantissa each, 32 a
        block. The standard deviation is about that of matrix()."""
        *rows, columns = shape
        n = int(np.prod(rows)) * columns // 32
        raw = self.bits.random_raw(n * 17).astype(np.uint8).reshape(n, 17)
        power = round(math.log2(gain / math.sqrt(columns) / 4))
        raw[:, 0] = 127 + power + raw[:, 0] % 2  # 2^(e - 127): this much, or twice
        self.writer.add_tensor(f"{name}.weight", raw.reshape(*rows, -1), raw_dtype=gguf.GGMLQuantizationType.MXFP4)

    def heads(self, heads, kv_heads, key, value=None):
        self.keys("attention.", head_count=heads, head_count_kv=kv_heads, key_length=key,
                  value_length=value or key)

    def rms(self, eps=1e-5):
        self.key("attention.layer_norm_rms_epsilon", eps)

    def layer_norm(self, eps=1e-5):
        self.key("attention.layer_norm_epsilon", eps)

    def rope(self, base, dimensions):
        self.keys("rope.", freq_base=base, dimension_count=dimensions)

    def yarn(self, factor, original, **more):
        self.keys("rope.scaling.", type="yarn", factor=float(factor), original_context_length=original, **more)

    def norms(self, layer, *names, around=1.0, bias=False):
        for name in names:
            self.vector(f"blk.{layer}.{name}.weight", self.width, around, 0.2 * around)
            if bias:
                self.bias(f"blk.{layer}.{name}", self.width)

    def attention(self, layer, heads, kv_heads, dim, bias="", fused=False, value=True, head_norms=0.0, gain=1.4):
        """q, k and v of one size of heads, and the output. bias: which of "qkvo" have one. head_norms: about
        what the weights of the norms of q's and k's heads are; otherwise the gain of q's and k's matrices
        lets positions differ."""
        p = f"blk.{layer}.attn_"
        rows = {"q": heads * dim, "k": kv_heads * dim, "v": kv_heads * dim}
        if fused:
            self.matrix(p + "qkv", sum(rows.values()), self.width, gain=gain)
            if bias:
                self.bias(p + "qkv", sum(rows.values()))
        for part, n in rows.items():
            if fused or (part == "v" and not value) or (kv_heads == 0 and part != "q"):
                continue
            self.matrix(p + part, n, self.width, gain=1.0 if part == "v" or head_norms else gain)
            if part in bias:
                self.bias(p + part, n)
        if head_norms:
            for part in "qk" if kv_heads else "q":
                self.vector(f"{p}{part}_norm.weight", dim, head_norms)
        self.matrix(p + "output", self.width, heads * dim)
        if "o" in bias:
            self.bias(p + "output", self.width)

    def feed_forward(self, layer, hidden, fused=False, gate=True, bias=False, kind=""):
        """kind: "", or "_shexp" for an expert that every token asks."""
        p = f"blk.{layer}.ffn_"
        parts = ("gate", hidden, self.width), ("up", hidden, self.width), ("down", self.width, hidden)
        for part, rows, columns in parts:
            if part == "gate" and (fused or not gate):
                continue
            rows = 2 * rows if part == "up" and fused else rows
            self.matrix(f"{p}{part}{kind}", rows, columns)
            if bias:
                self.bias(f"{p}{part}{kind}", rows)

    def experts(self, layer, count, hidden, fused=False, bias=0.0, mxfp4=False, router=2.0):
        """bias: the spread of those of gate and up; 0: there are none at all."""
        p = f"blk.{layer}.ffn_"
        self.matrix(p + "gate_inp", count, self.width, gain=router)
        if bias:
            self.bias(p + "gate_inp", count)
        parts = [("gate_up", 2 * hidden, self.width)]
        if not fused:
            parts = [("gate", hidden, self.width), ("up", hidden, self.width)]
        for part, rows, columns in (*parts, ("down", self.width, hidden)):
            gain = (0.25 if part == "down" else 1.8) if bias else 1.0
            (self.mxfp4 if mxfp4 else self.matrix)(f"{p}{part}_exps", count, rows, columns, gain=gain)
            if bias:
                self.bias(f"{p}{part}_exps", count, rows, spread=0.15 if part == "down" else bias)

    def ends(self, embedding=0.5, output=3.0, norm=1.0, bias=False):
        """The embeddings, the last norm, and the output unless it is the embeddings (output 0)."""
        self.matrix("token_embd", self.vocabulary, self.width, scale=embedding)
        self.vector("output_norm.weight", self.width, norm)
        if bias:
            self.bias("output_norm", self.width)
        if output:
            self.matrix("output", self.vocabulary, self.width, gain=output)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


FAMILIES = {}  # name: what writes the file
MATTERS = {}  # name: keys, each with a value under which the answers must be others


def family(arch, width, matters=(), **variants):
    """Makes what follows the writer of one file for each variant (name: its arguments)."""

    def register(write):
        for name, arguments in variants.items():
            name = name.replace("_", "-")

            FAMILIES[name] = maker(name, arch, width, write, arguments)
            MATTERS[name] = dict(matters)
        return write

    return register


def maker(name, arch, width, write, arguments):
    def make(out):
        file = File(out, name, arch, width)
        write(file, **arguments)
        file.close()

    return make


DRAFTERS = {}  # as FAMILIES: files with a head for further tokens, which llama.cpp was not asked about


def drafter(f, layer, add_layer):
    """The head for further tokens is one more layer; what goes into it and comes out is its own."""
    f.key("nextn_predict_layers", 1)
    p = f"blk.{layer}.nextn."
    add_layer()
    f.matrix(p + "eh_proj", f.width, 2 * f.width)
    for part in ("enorm", "hnorm", "shared_head_norm"):
        f.vector(f"{p}{part}.weight", f.width)


@family("gpt-oss", 64, {"attention.sliding_window": 48, "rope.scaling.factor": 4.0, "expert_used_count": 2,
                        "rope.scaling.original_context_length": 256},
        gpt_oss=dict(mxfp4=False), gpt_oss_mxfp4=dict(mxfp4=True))
def gpt_oss(f, mxfp4):
    layers, count, hidden = 4, 5, 64 if mxfp4 else 40
    f.keys(block_count=layers, feed_forward_length=hidden, expert_count=count, expert_used_count=3,
           expert_feed_forward_length=hidden)
    f.key("attention.sliding_window", 24)
    f.heads(4, 2, 32)
    f.rms()
    f.rope(10000.0, 32)
    f.yarn(8, 128)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "post_attention_norm")
        f.attention(layer, 4, 2, 32, bias="qkvo")
        f.vector(f"blk.{layer}.attn_sinks.weight", 4, 3.0, 2.0)
        f.experts(layer, count, hidden, bias=2.0, mxfp4=mxfp4)  # beyond the limits of 7, at times


@family("gemma4", 64, {"attention.sliding_window": 40, "final_logit_softcapping": 40.0, "rope.freq_base_swa": 1e5,
                       "rope.freq_base": 1e4, "attention.layer_norm_rms_epsilon": 1e-2},
        gemma4=dict(layers="lllglg", kv_heads=(2, 1)),
        gemma4_moe=dict(layers="llglg", kv_heads=(2, 1), experts=5),
        gemma4_e2b=dict(layers="llg" "lglg", kv_heads=(1, 1), shared=4, per_layer=16))
def gemma4(f, layers, kv_heads, experts=0, shared=0, per_layer=0):
    local, full, hidden = 24, 32, 72
    window = [kind == "l" for kind in layers]
    f.keys(block_count=len(layers), embedding_length_per_layer_input=per_layer, final_logit_softcapping=20.0)
    f.key("feed_forward_length", [2 * hidden if i >= len(layers) - shared else hidden for i in range(len(layers))]
          if shared else hidden)
    f.keys("attention.", shared_kv_layers=shared, sliding_window=20, sliding_window_pattern=window,
           key_length_swa=local, value_length_swa=local)
    f.heads(4, [kv_heads[0] if w else kv_heads[1] for w in window], full)
    f.rms(1e-6)
    f.rope(1e6, full)
    f.keys("rope.", freq_base_swa=10000.0, dimension_count_swa=local)
    if experts:
        f.keys(expert_count=experts, expert_used_count=2, expert_feed_forward_length=24)
    f.ends(embedding=0.1, output=3.0 if experts or per_layer else 4.0)
    # A quarter of the pairs turn on the layers that see everything ("proportional" rotation).
    f.given("rope_freqs.weight", [1.0] * (full // 8) + [1e30] * (full // 2 - full // 8))
    if per_layer:
        f.matrix("per_layer_token_embd", f.vocabulary, per_layer * len(layers), scale=0.3)
        # What this gives is divided by the root of the width.
        f.matrix("per_layer_model_proj", per_layer * len(layers), f.width, gain=8.0)
        f.vector("per_layer_proj_norm.weight", per_layer)
    for layer, is_local in enumerate(window):
        p = f"blk.{layer}."
        dim, kv = (local, kv_heads[0]) if is_local else (full, kv_heads[1])
        own = layer < len(layers) - shared
        f.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        # The scores are not divided by the root of the head's size. Where all is seen, keys are values too.
        f.attention(layer, 4, kv if own else 0, dim, value=is_local or bool(per_layer),
                    head_norms=0.5 if experts or per_layer else 0.6)
        f.feed_forward(layer, hidden if own else 2 * hidden)
        if experts:
            f.norms(layer, "pre_ffw_norm_2", "post_ffw_norm_1")
            f.norms(layer, "post_ffw_norm_2", around=0.6)
            f.experts(layer, experts, 24, fused=True, router=24.0)
            f.vector(p + "ffn_gate_inp.scale", f.width)
            f.vector(p + "ffn_down_exps.scale", experts, 1.0, 0.4)
        if per_layer:
            f.matrix(p + "inp_gate", per_layer, f.width)
            f.matrix(p + "proj", f.width, per_layer)
            f.norms(layer, "post_norm", around=0.5)
        f.given(p + "layer_output_scale.weight", [0.8 + 0.1 * (layer % 3)])


@family("deepseek2", 64, {"rope.scaling.yarn_log_multiplier": 0.03, "rope.scaling.factor": 2.0,
                          "rope.scaling.original_context_length": 4096, "expert_used_count": 2},
        deepseek2_lite=dict(lite=True), deepseek2=dict(lite=False))
def deepseek2(f, lite):
    layers, heads, latent, turned, nope, value, rank, hidden, count = 4, 4, 32, 8, 16, 24, 24, 24, 8
    f.keys(block_count=layers, feed_forward_length=80, leading_dense_block_count=1 if lite else 2,
           expert_count=count, expert_used_count=3, expert_shared_count=2 if lite else 1,
           expert_feed_forward_length=hidden, expert_weights_norm=not lite, expert_gating_func=1 if lite else 2,
           expert_weights_scale=1.0 if lite else 1.8)
    if not lite:
        f.keys(expert_group_count=4, expert_group_used_count=2)
        f.key("attention.q_lora_rank", rank)
    f.heads(heads, 1, latent + turned, latent)
    f.keys("attention.", kv_lora_rank=latent, key_length_mla=nope + turned, value_length_mla=value)
    f.rms(1e-6)
    f.rope(10000.0, turned)
    # 0.1 times the configuration's mscale_all_dim, as the converter writes it.
    f.yarn(40 if lite else 8, 64, yarn_log_multiplier=0.0707 if lite else 0.1)
    f.ends()
    for layer in range(layers):
        p = f"blk.{layer}.attn_"
        f.norms(layer, "attn_norm", "ffn_norm")
        if lite:
            f.matrix(p + "q", heads * (nope + turned), f.width, gain=1.5)
        else:
            f.matrix(p + "q_a", rank, f.width)
            f.vector(p + "q_a_norm.weight", rank)
            f.matrix(p + "q_b", heads * (nope + turned), rank, gain=1.5)
        f.matrix(p + "kv_a_mqa", latent + turned, f.width, gain=1.5)
        f.vector(p + "kv_a_norm.weight", latent)
        f.matrix(p + "k_b", heads, latent, nope, gain=math.sqrt(nope / latent))  # of k's columns, transposed
        f.matrix(p + "v_b", heads, value, latent)
        f.matrix(p + "output", f.width, heads * value)
        if layer < (1 if lite else 2):
            f.feed_forward(layer, 80)
            continue
        f.experts(layer, count, hidden)
        if not lite:
            f.bias(f"blk.{layer}.exp_probs_b", count, spread=0.2)
        f.feed_forward(layer, hidden * (2 if lite else 1), kind="_shexp")


@family("phi3", 96, {"rope.scaling.attn_factor": 1.0, "rope.freq_base": 1000.0},
        phi3_short=dict(original=CONTEXT), phi3_long=dict(original=64), phi3=dict(original=0))
def phi3(f, original):
    """longrope: which table is used depends on the context that is asked for, not on the position."""
    layers, heads, kv_heads, dim, turned = 3, 3, 1, 32, 24
    turned = turned if original else dim
    f.keys(block_count=layers, feed_forward_length=88)
    f.keys("attention.", head_count=heads, head_count_kv=kv_heads, sliding_window=0)
    f.rms()
    f.rope(10000.0, turned)
    if original:
        f.keys("rope.scaling.", original_context_length=original, attn_factor=1.19)
        pair = np.arange(turned // 2, dtype=np.float32)
        f.given("rope_factors_long.weight", 1 + np.float32(0.75) * pair)
        f.given("rope_factors_short.weight", 1 + np.float32(0.0625) * pair)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, heads, kv_heads, dim, fused=True)
        f.feed_forward(layer, 88, fused=True)


@family("glm4", 72, {"rope.dimension_count": 24}, glm4={})
def glm4(f):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104)
    f.heads(6, 2, 24)
    f.rms()
    f.rope(10000.0, 12)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
        f.attention(layer, 6, 2, 24, bias="qkv")
        f.feed_forward(layer, 104, fused=True)


@family("mistral3", 72, {"attention.temperature_scale": 0.2, "rope.scaling.yarn_log_multiplier": 0.5,
                         "rope.scaling.factor": 8.0, "rope.scaling.yarn_beta_fast": 4.0,
                         "rope.scaling.yarn_beta_slow": 0.5,
                         "rope.scaling.original_context_length": 96}, mistral3={})
def mistral3(f):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104)
    f.heads(6, 2, 24)
    f.rms()
    f.rope(10000.0, 24)
    f.yarn(16, 48, yarn_beta_fast=2.0, yarn_beta_slow=1.0, yarn_log_multiplier=1.0)
    f.key("attention.temperature_scale", 0.4)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 6, 2, 24)
        f.feed_forward(layer, 104)


@family("smollm3", 48, smollm3={})
def smollm3(f):
    layers = 8
    f.keys(block_count=layers, feed_forward_length=72)
    f.heads(3, 1, 16)
    f.rms()
    f.rope(10000.0, 16)
    f.ends(embedding=0.4, output=0)
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 3, 1, 16)
        f.feed_forward(layer, 72)


@family("granite", 64, {"embedding_scale": 2.0, "residual_scale": 0.6, "attention.scale": 0.2, "logit_scale": 0.15},
        granite={})
def granite(f):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104, embedding_scale=3.0, residual_scale=0.4, logit_scale=0.1)
    f.keys("attention.", head_count=4, head_count_kv=2, scale=0.1)
    f.rms()
    f.rope(10000.0, 16)
    f.ends(embedding=0.05, output=0)
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 4, 2, 16, gain=2.2)
        f.feed_forward(layer, 104)


@family("granitemoe", 64, {"expert_used_count": 2, "residual_scale": 0.6, "logit_scale": 1.0},
        granitemoe=dict(shared=0), granitemoe_shared=dict(shared=40))
def granitemoe(f, shared):
    layers, count, hidden = 3, 6, 32
    f.keys(block_count=layers, feed_forward_length=hidden, embedding_scale=3.0, residual_scale=0.4, logit_scale=0.6,
           expert_count=count, expert_used_count=3)
    if shared:
        f.key("expert_shared_feed_forward_length", shared)
    f.keys("attention.", head_count=4, head_count_kv=2, scale=0.1)
    f.rms()
    f.rope(10000.0, 16)
    f.ends(embedding=0.2, output=2.0)
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 4, 2, 16, gain=2.2)
        f.experts(layer, count, hidden)
        if shared:
            f.feed_forward(layer, shared, kind="_shexp")


@family("olmo2", 64, {"attention.sliding_window": 48, "rope.scaling.factor": 4.0,
                      "rope.scaling.original_context_length": 256}, olmo2=dict(window=0), olmo3=dict(window=24))
def olmo2(f, window):
    layers = 4 if window else 3
    f.keys(block_count=layers, feed_forward_length=88)
    f.keys("attention.", head_count=4, head_count_kv=2 if window else 4)
    f.rms(1e-6)
    f.rope(10000.0, 16)
    kv_heads = 2 if window else 4
    if window:
        f.keys("attention.", sliding_window=window, sliding_window_pattern=[True, False, True, False])
        f.yarn(8, 64)
    f.ends()
    for layer in range(layers):
        p = f"blk.{layer}.attn_"
        f.norms(layer, "post_attention_norm", "post_ffw_norm")
        f.attention(layer, 4, kv_heads, 16)
        f.vector(p + "q_norm.weight", 64, 1.4)  # of the whole row
        f.vector(p + "k_norm.weight", kv_heads * 16, 1.4)
        f.feed_forward(layer, 88)


@family("seed_oss", 64, seed_oss={})
def seed_oss(f):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104)
    f.heads(4, 2, 24)
    f.rms(1e-6)
    f.rope(1e7, 24)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "post_attention_norm")
        f.attention(layer, 4, 2, 24, bias="qkv")
        f.feed_forward(layer, 104)


@family("hunyuan-dense", 64, hunyuan_dense={})
def hunyuan_dense(f):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104)
    f.heads(4, 2, 24)
    f.rms()
    f.rope(10000.0, 24)
    f.key("rope.scaling.type", "none")
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 4, 2, 24, head_norms=1.4)
        f.feed_forward(layer, 104)


@family("exaone4", 64, exaone4={})
def exaone4(f):
    """The 1.2B form: every layer sees and turns all, slow pairs slower (Llama 3.1's factors)."""
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104)
    f.heads(4, 2, 16)
    f.rms()
    f.rope(1e4, 16)
    f.ends()
    f.given("rope_freqs.weight", [1.0, 1.0, 1.0, 2.0, 6.5, 16.0, 16.0, 16.0])
    for layer in range(layers):
        f.norms(layer, "post_attention_norm", "post_ffw_norm")
        f.attention(layer, 4, 2, 16, head_norms=1.4)
        f.feed_forward(layer, 104)


@family("exaone4", 16, {"attention.sliding_window": 40}, exaone4_window={})
def exaone4_window(f):
    """The 32B form, which llama.cpp tells by its 64 layers: three that turn and see a window, one that sees
    all and does not turn."""
    layers = 64
    f.keys(block_count=layers, feed_forward_length=24)
    f.heads(2, 1, 8)
    f.keys("attention.", sliding_window=20, sliding_window_pattern=[layer % 4 != 3 for layer in range(layers)])
    f.rms()
    f.rope(1e4, 8)
    f.ends(embedding=1.5)
    for layer in range(layers):
        f.norms(layer, "post_attention_norm", "post_ffw_norm", around=0.2)  # or so many layers would be chaos
        f.attention(layer, 2, 1, 8, head_norms=1.4)
        f.feed_forward(layer, 24)


@family("ernie4_5", 64, ernie4_5={})
def ernie4_5(f):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104)
    f.heads(4, 2, 24)
    f.rms()
    f.rope(5e5, 24)
    f.ends(embedding=0.4, output=0)
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 4, 2, 24)
        f.feed_forward(layer, 104)


@family("ernie4_5-moe", 64, {"expert_used_count": 2}, ernie4_5_moe={})
def ernie4_5_moe(f):
    layers, dense, count, hidden = 4, 2, 6, 24
    f.keys(block_count=layers, feed_forward_length=80, leading_dense_block_count=dense, interleave_moe_layer_step=1,
           expert_count=count, expert_used_count=3, expert_feed_forward_length=hidden, expert_shared_count=2,
           expert_shared_feed_forward_length=2 * hidden)
    f.heads(4, 2, 16)
    f.rms()
    f.rope(5e5, 16)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 4, 2, 16)
        if layer < dense:
            f.feed_forward(layer, 80)
        else:
            f.experts(layer, count, hidden)
            f.bias(f"blk.{layer}.exp_probs_b", count, spread=0.2)
            f.feed_forward(layer, 2 * hidden, kind="_shexp")


@family("muse-glimmer", 48, {"attention.sliding_window": 40, "final_logit_softcapping": 40.0, "logit_scale": 0.5},
        muse_glimmer={})
def muse_glimmer(f):
    layers = 8
    f.keys(block_count=layers, feed_forward_length=64, final_logit_softcapping=20.0, logit_scale=0.25)
    f.heads(4, 2, 16)
    f.keys("attention.", sliding_window=20, sliding_window_pattern=[layer % 4 != 3 for layer in range(layers)])
    f.rms()
    f.rope(1e4, 16)
    f.ends(output=14.0)
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.norms(layer, "post_attention_norm", "post_ffw_norm", around=0.6)
        f.attention(layer, 4, 2, 16, head_norms=1.4)
        f.matrix(f"blk.{layer}.attn_gate", 64, f.width, gain=2.0)
        f.feed_forward(layer, 64)


GEMMA2_MATTERS = {"attention.sliding_window": 40, "attn_logit_softcapping": 8.0, "final_logit_softcapping": 40.0}


@family("gemma2", 64, GEMMA2_MATTERS, gemma2=dict(layers=4, heads=4, dim=24, hidden=88, norm=10.0, added=1.0))
@family("gemma2", 16, GEMMA2_MATTERS, gemma2_27b=dict(layers=46, heads=2, dim=16, hidden=24, norm=10.0, added=0.06))
def gemma2(f, layers, heads, dim, hidden, norm, added):
    """46 layers are the 27B form, whose scores are divided by the root of width over heads, not of the heads' size."""
    f.keys(block_count=layers, feed_forward_length=hidden, attn_logit_softcapping=4.0, final_logit_softcapping=20.0)
    f.heads(heads, heads // 2, dim)
    f.key("attention.sliding_window", 20)
    f.rms(1e-6)
    f.ends(embedding=0.05 if layers == 4 else 0.1, output=0, norm=norm)
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.norms(layer, "post_attention_norm", "post_ffw_norm", around=added)
        f.attention(layer, heads, heads // 2, dim, gain=2.0 if layers == 4 else 1.4)
        f.feed_forward(layer, hidden)


@family("command-r", 64, {"logit_scale": 2.0}, command_r={})
def command_r(f):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104, logit_scale=4.0)
    f.keys("attention.", head_count=4, head_count_kv=2)
    f.layer_norm()
    f.rope(10000.0, 16)
    f.key("rope.scaling.type", "none")
    f.ends(embedding=0.1, output=0)
    for layer in range(layers):
        f.norms(layer, "attn_norm")
        f.attention(layer, 4, 2, 16)
        f.feed_forward(layer, 104)


@family("cohere2", 48, {"logit_scale": 2.0, "attention.sliding_window": 40}, cohere2={})
def cohere2(f):
    layers = 8
    f.keys(block_count=layers, feed_forward_length=72, logit_scale=4.0)
    f.keys("attention.", head_count=3, head_count_kv=1, sliding_window=20)
    f.layer_norm()
    f.rope(50000.0, 16)
    f.key("rope.scaling.type", "none")
    f.ends(embedding=0.1, output=0)
    for layer in range(layers):
        f.norms(layer, "attn_norm")
        f.attention(layer, 3, 1, 16)
        f.feed_forward(layer, 72)


@family("starcoder2", 64, starcoder2={})
def starcoder2(f):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=152)
    f.keys("attention.", head_count=4, head_count_kv=2)
    f.layer_norm()
    f.rope(1e5, 16)
    f.ends(bias=True)
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm", bias=True)
        f.attention(layer, 4, 2, 16, bias="qkvo")
        f.feed_forward(layer, 152, gate=False, bias=True)


@family("stablelm", 64, {"rope.dimension_count": 8}, stablelm=dict(parallel=False),
        stablelm_parallel=dict(parallel=True))
def stablelm(f, parallel):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=104, use_parallel_residual=parallel)
    f.keys("attention.", head_count=4, head_count_kv=2)
    f.layer_norm()
    f.rope(10000.0, 4)
    f.ends(bias=True)
    for layer in range(layers):
        p = f"blk.{layer}."
        f.norms(layer, *(["attn_norm"] if parallel else ["attn_norm", "ffn_norm"]), bias=True)
        f.attention(layer, 4, 2, 16, bias="" if parallel else "qkv")
        if parallel:  # norms of each head's own
            f.matrix(p + "attn_q_norm", 4, 16, scale=1.4)
            f.matrix(p + "attn_k_norm", 2, 16, scale=1.4)
        f.feed_forward(layer, 104)


@family("qwen2moe", 64, {"expert_used_count": 2}, qwen2moe={})
def qwen2moe(f):
    layers, count, hidden, shared = 3, 6, 24, 56
    f.keys(block_count=layers, feed_forward_length=160, expert_count=count, expert_used_count=3,
           expert_feed_forward_length=hidden, expert_shared_feed_forward_length=shared)
    f.keys("attention.", head_count=4, head_count_kv=2)
    f.rms(1e-6)
    f.rope(1e6, 16)
    f.ends()
    for layer in range(layers):
        p = f"blk.{layer}."
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 4, 2, 16, bias="qkv")
        f.experts(layer, count, hidden)
        f.feed_forward(layer, shared, kind="_shexp")
        f.given(p + "ffn_gate_inp_shexp.weight", f.random(64) * np.float32(0.25))


@family("llama4", 40, {"expert_used_count": 1}, llama4={})
def llama4(f):
    layers, count, hidden = 8, 4, 24
    f.keys(block_count=layers, feed_forward_length=56, interleave_moe_layer_step=2,
           expert_count=count, expert_used_count=2, expert_feed_forward_length=hidden)
    f.heads(5, 1, 16)
    f.rms()
    f.rope(5e5, 16)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        f.attention(layer, 5, 1, 16, gain=2.0)
        if layer % 2 == 0:
            f.feed_forward(layer, 56)
        else:
            f.experts(layer, count, hidden)
            f.feed_forward(layer, hidden, kind="_shexp")


def delta_rule(f, layer, key_heads, heads, dim, form):
    """The gated delta rule's tensors. form: "apart", "ba" (beta and alpha in one) or "one" (all the rest in
    another one, key head by key head)."""
    p = f"blk.{layer}."
    keys, values = key_heads * dim, heads * dim
    if form == "one":
        f.matrix(p + "ssm_in", 2 * keys + 2 * values, f.width)
    else:
        f.matrix(p + "attn_qkv", 2 * keys + values, f.width)
        f.matrix(p + "attn_gate", values, f.width)
    if form == "apart":
        f.matrix(p + "ssm_alpha", heads, f.width)
        f.matrix(p + "ssm_beta", heads, f.width)
    else:
        f.matrix(p + "ssm_ba", 2 * heads, f.width)
    f.matrix(p + "ssm_conv1d", 2 * keys + values, 4, gain=1.5)
    f.vector(p + "ssm_dt.bias", heads, -2.0, 1.0)
    f.vector(p + "ssm_a", heads, -0.5, 0.25)  # decays over some ten tokens
    f.vector(p + "ssm_norm.weight", dim)
    f.matrix(p + "ssm_out", f.width, values)


def recurrence(f, inner, state, heads, groups):
    f.keys("ssm.", conv_kernel=4, inner_size=inner, state_size=state, time_step_rank=heads, group_count=groups)


def gated_attention(f, layer, heads, kv_heads, dim):
    """Of each head q holds the query, then the gate."""
    p = f"blk.{layer}.attn_"
    f.matrix(p + "q", 2 * heads * dim, f.width)
    f.matrix(p + "k", kv_heads * dim, f.width)
    f.matrix(p + "v", kv_heads * dim, f.width)
    f.vector(p + "q_norm.weight", dim, 1.4)
    f.vector(p + "k_norm.weight", dim, 1.4)
    f.matrix(p + "output", f.width, heads * dim)


@family("qwen35", 64, {"rope.freq_base": 100.0}, qwen35={})
def qwen35(f, drafts=0):
    layers = 5
    f.keys(block_count=layers + drafts, feed_forward_length=104, full_attention_interval=3)
    f.heads(4, 2, 32)
    f.rms(1e-6)
    f.rope(1e4, 8)
    f.key("rope.dimension_sections", [2, 1, 1, 0])
    recurrence(f, 96, 16, 6, 2)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "post_attention_norm")
        if (layer + 1) % 3:
            delta_rule(f, layer, 2, 6, 16, "apart")
        else:
            gated_attention(f, layer, 4, 2, 32)
        f.feed_forward(layer, 104)
    if drafts:
        f.norms(layers, "attn_norm", "post_attention_norm")
        drafter(f, layers, lambda: (gated_attention(f, layers, 4, 2, 32), f.feed_forward(layers, 104)))


DRAFTERS["qwen35-mtp"] = maker("qwen35", "qwen35", 64, qwen35, {"drafts": 1})


def shared_mixture(f, layer, count, hidden, shared):
    f.experts(layer, count, hidden)
    f.feed_forward(layer, shared, kind="_shexp")
    f.given(f"blk.{layer}.ffn_gate_inp_shexp.weight", f.random(f.width) * np.float32(0.25))


@family("qwen35moe", 64, {"expert_used_count": 3}, qwen35moe={})
def qwen35moe(f, drafts=0):
    layers, count, hidden, shared = 4, 6, 24, 40
    f.keys(block_count=layers + drafts, expert_count=count, expert_used_count=2, expert_feed_forward_length=hidden,
           expert_shared_feed_forward_length=shared)
    f.heads(2, 1, 32)
    f.rms(1e-6)
    f.rope(1e4, 16)
    f.key("rope.dimension_sections", [3, 3, 2, 0])
    f.key("attention.recurrent_layers", [True, False, True, True] + drafts * [False])
    recurrence(f, 64, 16, 4, 4)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "post_attention_norm")
        if layer != 1:
            delta_rule(f, layer, 4, 4, 16, "apart")
        else:
            gated_attention(f, layer, 2, 1, 32)
        shared_mixture(f, layer, count, hidden, shared)
    if drafts:
        f.norms(layers, "attn_norm", "post_attention_norm")
        drafter(f, layers, lambda: (gated_attention(f, layers, 2, 1, 32),
                                    shared_mixture(f, layers, count, hidden, shared)))


DRAFTERS["qwen35moe-mtp"] = maker("qwen35moe", "qwen35moe", 64, qwen35moe, {"drafts": 1})


@family("qwen3next", 64, {"expert_used_count": 3}, qwen3next=dict(form="ba"), qwen3next_one=dict(form="one"))
def qwen3next(f, form):
    layers, count, hidden, shared = 4, 6, 24, 40
    f.keys(block_count=layers, expert_count=count, expert_used_count=2, expert_feed_forward_length=hidden,
           expert_shared_feed_forward_length=shared)
    f.heads(2, 1, 32)
    f.rms(1e-6)
    f.rope(1e4, 8)
    recurrence(f, 96, 16, 6, 2)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm", "post_attention_norm")
        if layer != 3:
            delta_rule(f, layer, 2, 6, 16, form)
        else:
            gated_attention(f, layer, 2, 1, 32)
        shared_mixture(f, layer, count, hidden, shared)


def scan(f, layer, inner, state, heads, groups, norm=True):
    """Mamba-2's tensors."""
    p = f"blk.{layer}.ssm_"
    mixed = inner + 2 * groups * state
    f.matrix(p + "in", inner + mixed + heads, f.width)
    f.matrix(p + "conv1d", mixed, 4, gain=1.5)
    f.bias(p + "conv1d", mixed)
    f.vector(p + "dt.bias", heads, -2.0, 1.0)
    f.given(p + "a", -0.5 + 0.25 * f.random(heads, 1))
    f.given(p + "d", 1 + 0.5 * f.random(heads, 1))
    if norm:
        f.given(p + "norm.weight", 1 + 0.2 * f.random(groups, inner // groups))
    f.matrix(p + "out", f.width, inner)


@family("mamba2", 64, {"attention.layer_norm_rms_epsilon": 1e-2}, mamba2={})
def mamba2(f):
    layers = 4
    f.keys(block_count=layers, feed_forward_length=0)
    f.key("attention.head_count", 0)
    f.rms()
    recurrence(f, 96, 16, 4, 2)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm")
        scan(f, layer, 96, 16, 4, 2)


@family("nemotron_h", 64, {"attention.layer_norm_rms_epsilon": 1e-2}, nemotron_h={})
def nemotron_h(f):
    kinds = "sfsaf"  # a scan, a feed-forward, attention
    f.keys(block_count=len(kinds), feed_forward_length=[80 if kind == "f" else 0 for kind in kinds])
    f.keys("attention.", head_count=4, head_count_kv=[2 if kind == "a" else 0 for kind in kinds], key_length=24,
           value_length=24)
    f.layer_norm()
    f.rms()
    recurrence(f, 128, 16, 4, 2)
    f.ends()
    for layer, kind in enumerate(kinds):
        f.norms(layer, "attn_norm")
        if kind == "s":
            scan(f, layer, 128, 16, 4, 2)
        elif kind == "a":
            f.attention(layer, 4, 2, 24, bias="o", gain=2.0)
        else:
            f.feed_forward(layer, 80, gate=False)


@family("nemotron_h_moe", 64, {"expert_used_count": 3, "expert_weights_scale": 1.0}, nemotron_h_moe=dict(latent=0),
        nemotron_h_latent=dict(latent=32))
def nemotron_h_moe(f, latent):
    kinds, count, hidden, shared = "sesae", 6, 24, 40
    f.keys(block_count=len(kinds), feed_forward_length=[hidden if kind == "e" else 0 for kind in kinds],
           expert_count=count, expert_used_count=2, expert_feed_forward_length=hidden, expert_shared_count=1,
           expert_shared_feed_forward_length=shared, expert_weights_norm=True, expert_weights_scale=2.5)
    if latent:
        f.key("moe_latent_size", latent)
    f.keys("attention.", head_count=4, head_count_kv=[2 if kind == "a" else 0 for kind in kinds], key_length=16,
           value_length=16)
    f.layer_norm()
    recurrence(f, 64, 16, 4, 1)
    f.ends()
    for layer, kind in enumerate(kinds):
        p = f"blk.{layer}."
        f.norms(layer, "attn_norm")
        if kind == "s":
            scan(f, layer, 64, 16, 4, 1)
        elif kind == "a":
            f.attention(layer, 4, 2, 16, gain=2.0)
        else:
            f.matrix(p + "ffn_gate_inp", count, f.width, gain=2.0)
            f.bias(p + "exp_probs_b", count, spread=0.3)
            if latent:
                f.matrix(p + "ffn_latent_down", latent, f.width)
                f.matrix(p + "ffn_latent_up", f.width, latent)
            f.matrix(p + "ffn_up_exps", count, hidden, latent or f.width)
            f.matrix(p + "ffn_down_exps", count, latent or f.width, hidden)
            f.feed_forward(layer, shared, gate=False, kind="_shexp")


@family("granitehybrid", 64, {"residual_scale": 0.6, "logit_scale": 1.0}, granitehybrid=dict(experts=0),
        granitehybrid_moe=dict(experts=6))
def granitehybrid(f, experts):
    kinds, hidden, shared = "ssas", 32 if experts else 80, 40
    f.keys(block_count=len(kinds), feed_forward_length=hidden, embedding_scale=3.0, residual_scale=0.4,
           logit_scale=0.3 if experts else 0.5)
    if experts:
        f.keys(expert_count=experts, expert_used_count=3, expert_shared_feed_forward_length=shared)
    f.keys("attention.", head_count=4, head_count_kv=[2 if kind == "a" else 0 for kind in kinds], scale=0.1)
    f.rms()
    f.rope(10000.0, 16)
    f.key("rope.scaling.finetuned", bool(experts))  # without: no positions
    recurrence(f, 128, 16, 4, 1)
    f.ends(embedding=0.2, output=2.0)
    for layer, kind in enumerate(kinds):
        f.norms(layer, "attn_norm", "ffn_norm")
        if kind == "s":
            scan(f, layer, 128, 16, 4, 1)
        else:
            f.attention(layer, 4, 2, 16, gain=2.2)
        if experts:
            f.experts(layer, experts, hidden)
            f.feed_forward(layer, shared, kind="_shexp")
        else:
            f.feed_forward(layer, hidden)


@family("falcon-h1", 64, {"rope.freq_base": 100.0}, falcon_h1=dict(norm=False), falcon_h1_norm=dict(norm=True))
def falcon_h1(f, norm):
    layers = 3
    f.keys(block_count=layers, feed_forward_length=88)
    f.heads(4, 2, 16)
    f.rms()
    f.rope(1e4, 16)
    recurrence(f, 96, 16, 6, 2)
    f.ends()
    for layer in range(layers):
        f.norms(layer, "attn_norm")
        f.vector(f"blk.{layer}.ffn_norm", f.width)  # files have no ".weight" here
        f.attention(layer, 4, 2, 16)
        scan(f, layer, 96, 16, 6, 2, norm)
        f.feed_forward(layer, 88)


@family("lfm2", 64, {"rope.freq_base": 100.0}, lfm2=dict(experts=0))
@family("lfm2moe", 64, {"expert_used_count": 3}, lfm2moe=dict(experts=6))
def lfm2(f, experts):
    kinds, hidden = "ccac" if experts else "cacac", 24
    f.keys(block_count=len(kinds), feed_forward_length=88)
    f.key("shortconv.l_cache", 3)
    f.keys("attention.", head_count=4, head_count_kv=[2 if kind == "a" else 0 for kind in kinds])
    f.rms()
    f.rope(1e4, 16)
    if experts:
        f.keys(expert_count=experts, expert_used_count=2, expert_feed_forward_length=hidden,
               leading_dense_block_count=1, expert_gating_func=2)
    f.matrix("token_embd", f.vocabulary, f.width, scale=0.25)
    f.vector("token_embd_norm.weight", f.width, 2.0)
    for layer, kind in enumerate(kinds):
        p = f"blk.{layer}."
        f.norms(layer, "attn_norm", "ffn_norm")
        if kind == "a":
            f.attention(layer, 4, 2, 16, head_norms=1.4)
        else:
            f.matrix(p + "shortconv.in_proj", 3 * f.width, f.width)
            f.matrix(p + "shortconv.conv", f.width, 3, gain=1.5)
            f.matrix(p + "shortconv.out_proj", f.width, f.width)
        if experts and layer:
            f.experts(layer, experts, hidden)
            f.bias(p + "exp_probs_b", experts, spread=0.3)
        else:
            f.feed_forward(layer, 88)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=FAMILIES)
    parser.add_argument("out", nargs="?")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list or not options.out:
        print("\n".join(FAMILIES))
    else:
        FAMILIES[options.name](options.out)
