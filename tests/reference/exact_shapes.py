"""Writes GGUF files of the exact shapes of large models with random weights, to be run by hand.

    exact_shapes.py NAME OUT.gguf [--layers N]

--layers keeps so many of its layers (of each kind one at least is among the first six). Numbers are those
of the published configurations. Every matrix repeats some thousand random blocks: nothing here is text.
"""
import argparse

import gguf
import numpy as np

import make_model

Q4_0, Q8_0, MXFP4, F32, Q4_K, Q6_K = (
    gguf.GGMLQuantizationType[name] for name in ("Q4_0", "Q8_0", "MXFP4", "F32", "Q4_K", "Q6_K"))


class File:
    def __init__(self, out, arch, name, layers, width, vocabulary, context):
        self.writer = gguf.GGUFWriter(out, arch, use_temp_file=True)
        self.writer.add_name(f"random {name}")
        self.arch, self.layers, self.width, self.vocabulary = arch, layers, width, vocabulary
        self.random = np.random.default_rng(1)
        make_model.add_tokenizer(self.writer, None, vocabulary)
        self.keys(context_length=context, embedding_length=width, block_count=layers)

    def keys(self, prefix="", **values):
        add = {bool: self.writer.add_bool, int: self.writer.add_uint32, float: self.writer.add_float32,
               str: self.writer.add_string, list: self.writer.add_array}
        for name, value in values.items():
            add[type(value)](f"{self.arch}.{prefix}{name}", value)

    def matrix(self, name, kind, *shape):
        rows, columns = int(np.prod(shape[:-1])), shape[-1]
        if kind == F32:
            self.writer.add_tensor(name, self.random.standard_normal(shape, dtype=np.float32) * columns**-0.5)
            return
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        count, few = rows * columns // elements, 4099
        if kind in (Q4_K, Q6_K):
            blocks = make_model.random_blocks(kind, few, elements, columns**-0.5, self.random)
            self.writer.add_tensor(name, np.resize(blocks, (count, size)).reshape(*shape[:-1], -1), raw_dtype=kind)
            return
        blocks = self.random.integers(0, 256, (few, size), dtype=np.uint8)
        if kind == MXFP4:
            blocks[:, 0] = 127 - 2 - int(np.log2(columns) / 2)
        else:
            spread = {Q4_0: 4.6, Q8_0: 74.0}[kind]
            blocks[:, :2] = np.array([columns**-0.5 / spread], np.float16).view(np.uint8)
        self.writer.add_tensor(name, np.resize(blocks, (count, size)).reshape(*shape[:-1], -1), raw_dtype=kind)

    def vector(self, name, n, around=1.0):
        self.writer.add_tensor(name, (around + 0.1 * self.random.standard_normal(n)).astype(np.float32))

    def ends(self, kind):
        self.matrix("token_embd.weight", kind, self.vocabulary, self.width)
        self.matrix("output.weight", kind, self.vocabulary, self.width)
        self.vector("output_norm.weight", self.width)

    def norms(self, layer, *names):
        for name in names:
            self.vector(f"blk.{layer}.{name}.weight", self.width)

    def feed_forward(self, layer, kind, hidden, suffix=""):
        for part, shape in (("gate", (hidden, self.width)), ("up", (hidden, self.width)), ("down", (self.width, hidden))):
            self.matrix(f"blk.{layer}.ffn_{part}{suffix}.weight", kind, *shape)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def gpt_oss_20b(out, layers):
    f = File(out, "gpt-oss", "gpt-oss-20b", layers or 24, 2880, 201088, 131072)
    f.keys("attention.", head_count=64, head_count_kv=8, key_length=64, value_length=64, sliding_window=128,
           layer_norm_rms_epsilon=1e-5)
    f.keys("rope.", freq_base=150000.0, dimension_count=64)
    f.keys("rope.scaling.", type="yarn", factor=32.0, original_context_length=4096)
    f.keys(expert_count=32, expert_used_count=4, expert_feed_forward_length=2880)
    f.ends(Q8_0)
    for layer in range(f.layers):
        p = f"blk.{layer}."
        f.norms(layer, "attn_norm", "post_attention_norm")
        for part, rows, columns in (("q", 4096, 2880), ("k", 512, 2880), ("v", 512, 2880), ("output", 2880, 4096)):
            f.matrix(f"{p}attn_{part}.weight", Q8_0, rows, columns)
            f.vector(f"{p}attn_{part}.bias", rows, 0)
        f.vector(p + "attn_sinks.weight", 64)
        f.matrix(p + "ffn_gate_inp.weight", F32, 32, 2880)
        f.vector(p + "ffn_gate_inp.bias", 32, 0)
        for part in ("gate", "up", "down"):
            f.matrix(f"{p}ffn_{part}_exps.weight", MXFP4, 32, 2880, 2880)
            f.vector(f"{p}ffn_{part}_exps.bias", (32, 2880), 0)
    f.close()


def gemma_4_26b_a4b(out, layers):
    f = File(out, "gemma4", "Gemma 4 26B-A4B", layers or 30, 2816, 262144, 262144)
    slides = [(layer + 1) % 6 != 0 for layer in range(f.layers)]
    f.keys("attention.", head_count=16, head_count_kv=[8 if s else 2 for s in slides], key_length=512,
           value_length=512, key_length_swa=256, value_length_swa=256, sliding_window=1024,
           sliding_window_pattern=slides, layer_norm_rms_epsilon=1e-6)
    f.keys("rope.", freq_base=1e6, freq_base_swa=10000.0, dimension_count=512, dimension_count_swa=256)
    f.keys(expert_count=128, expert_used_count=8, expert_feed_forward_length=704, final_logit_softcapping=30.0,
           embedding_length_per_layer_input=0)
    f.ends(Q4_0)
    f.writer.add_tensor("rope_freqs.weight", np.where(np.arange(256) < 64, 1, 1e30).astype(np.float32))
    for layer in range(f.layers):
        p, dim, kv = f"blk.{layer}.", 256 if slides[layer] else 512, 8 if slides[layer] else 2
        f.norms(layer, "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "pre_ffw_norm_2",
                "post_ffw_norm_1", "post_ffw_norm_2")
        f.matrix(p + "attn_q.weight", Q4_0, 16 * dim, 2816)
        f.matrix(p + "attn_k.weight", Q4_0, kv * dim, 2816)
        if slides[layer]:
            f.matrix(p + "attn_v.weight", Q4_0, kv * dim, 2816)
        f.matrix(p + "attn_output.weight", Q4_0, 2816, 16 * dim)
        f.vector(p + "attn_q_norm.weight", dim)
        f.vector(p + "attn_k_norm.weight", dim)
        f.vector(p + "layer_output_scale.weight", 1)
        f.feed_forward(layer, Q4_0, 2112)
        f.matrix(p + "ffn_gate_inp.weight", F32, 128, 2816)
        f.vector(p + "ffn_gate_inp.scale", 2816)
        f.matrix(p + "ffn_gate_up_exps.weight", Q4_0, 128, 2 * 704, 2816)
        f.matrix(p + "ffn_down_exps.weight", Q4_0, 128, 2816, 704)
        f.vector(p + "ffn_down_exps.scale", 128)
    f.close()


def glm_4_7_flash(out, layers):
    f = File(out, "deepseek2", "GLM-4.7-Flash", layers or 47, 2048, 154880, 202752)
    f.keys("attention.", head_count=20, head_count_kv=1, key_length=576, value_length=512, key_length_mla=256,
           value_length_mla=256, q_lora_rank=768, kv_lora_rank=512, layer_norm_rms_epsilon=1e-5)
    f.keys("rope.", freq_base=1e6, dimension_count=64)
    f.keys(expert_count=64, expert_used_count=4, expert_shared_count=1, expert_feed_forward_length=1536,
           expert_weights_scale=1.8, expert_weights_norm=True, expert_gating_func=2, leading_dense_block_count=1)
    f.ends(Q4_0)
    for layer in range(f.layers):
        p = f"blk.{layer}."
        f.norms(layer, "attn_norm", "ffn_norm")
        f.matrix(p + "attn_q_a.weight", Q4_0, 768, 2048)
        f.vector(p + "attn_q_a_norm.weight", 768)
        f.matrix(p + "attn_q_b.weight", Q4_0, 20 * 256, 768)
        f.matrix(p + "attn_kv_a_mqa.weight", Q4_0, 576, 2048)
        f.vector(p + "attn_kv_a_norm.weight", 512)
        f.matrix(p + "attn_k_b.weight", Q8_0, 20, 512, 192)
        f.matrix(p + "attn_v_b.weight", Q8_0, 20, 256, 512)
        f.matrix(p + "attn_output.weight", Q4_0, 2048, 20 * 256)
        if layer == 0:
            f.feed_forward(layer, Q4_0, 10240)
            continue
        f.matrix(p + "ffn_gate_inp.weight", F32, 64, 2048)
        f.vector(p + "exp_probs_b.bias", 64, 0)
        for part, rows, columns in (("gate", 1536, 2048), ("up", 1536, 2048), ("down", 2048, 1536)):
            f.matrix(f"{p}ffn_{part}_exps.weight", Q4_0, 64, rows, columns)
        f.feed_forward(layer, Q4_0, 1536, "_shexp")
    f.close()


def mistral_small_24b(out, layers):
    f = File(out, "llama", "Mistral Small 3 24B", layers or 40, 5120, 131072, 32768)
    f.keys("attention.", head_count=32, head_count_kv=8, key_length=128, value_length=128,
           layer_norm_rms_epsilon=1e-5)
    f.keys("rope.", freq_base=1e8, dimension_count=128)
    f.ends(Q4_0)
    for layer in range(f.layers):
        f.norms(layer, "attn_norm", "ffn_norm")
        for part, rows, columns in (("q", 4096, 5120), ("k", 1024, 5120), ("v", 1024, 5120), ("output", 5120, 4096)):
            f.matrix(f"blk.{layer}.attn_{part}.weight", Q4_0, rows, columns)
        f.feed_forward(layer, Q4_0, 32768)
    f.close()


def qwen(out, layers, name, arch, width, heads, kv_heads, key_heads, value_heads, hidden=0, experts=None, tied=False):
    """Qwen 3.5 and 3.6: of four layers the last has attention; one more is the head for further tokens."""
    f = File(out, arch, name, layers + 1, width, 248320, 262144)
    f.keys(nextn_predict_layers=1)
    f.keys("attention.", head_count=heads, head_count_kv=kv_heads, key_length=256, value_length=256,
           layer_norm_rms_epsilon=1e-6)
    f.keys("rope.", freq_base=1e7, dimension_count=64, dimension_sections=[11, 11, 10, 0])
    f.keys("ssm.", conv_kernel=4, inner_size=128 * value_heads, state_size=128, time_step_rank=value_heads,
           group_count=key_heads)
    if experts:
        f.keys(expert_count=experts, expert_used_count=8, expert_feed_forward_length=512,
               expert_shared_feed_forward_length=512)
    else:
        f.keys(feed_forward_length=hidden)
    if tied:
        f.matrix("token_embd.weight", Q4_0, f.vocabulary, width)
        f.vector("output_norm.weight", width)
    else:
        f.ends(Q4_0)
    for layer in range(f.layers):
        p = f"blk.{layer}."
        f.norms(layer, "attn_norm", "post_attention_norm")
        if layer == layers:
            f.matrix(p + "nextn.eh_proj.weight", Q4_0, width, 2 * width)
            for part in ("enorm", "hnorm", "shared_head_norm"):
                f.vector(f"{p}nextn.{part}.weight", width)
        if layer % 4 == 3 or layer == layers:
            f.matrix(p + "attn_q.weight", Q4_0, 2 * heads * 256, width)
            for part in "kv":
                f.matrix(f"{p}attn_{part}.weight", Q4_0, kv_heads * 256, width)
            f.matrix(p + "attn_output.weight", Q4_0, width, heads * 256)
            for part in "qk":
                f.vector(f"{p}attn_{part}_norm.weight", 256)
        else:
            mixed = (2 * key_heads + value_heads) * 128
            f.matrix(p + "attn_qkv.weight", Q4_0, mixed, width)
            f.matrix(p + "attn_gate.weight", Q4_0, value_heads * 128, width)
            for part in ("alpha", "beta"):
                f.matrix(f"{p}ssm_{part}.weight", F32, value_heads, width)
            f.matrix(p + "ssm_conv1d.weight", F32, mixed, 4)
            f.vector(p + "ssm_dt.bias", value_heads, -2)
            f.vector(p + "ssm_a", value_heads, -0.5)
            f.vector(p + "ssm_norm.weight", 128)
            f.matrix(p + "ssm_out.weight", Q4_0, width, value_heads * 128)
        if experts:
            f.matrix(p + "ffn_gate_inp.weight", F32, experts, width)
            f.vector(p + "ffn_gate_inp_shexp.weight", width, 0)
            for part, rows, columns in (("gate", 512, width), ("up", 512, width), ("down", width, 512)):
                f.matrix(f"{p}ffn_{part}_exps.weight", Q4_0, experts, rows, columns)
            f.feed_forward(layer, Q4_0, 512, "_shexp")
        else:
            f.feed_forward(layer, Q4_0, hidden)
    f.close()


def qwen_3_6_27b(out, layers):
    qwen(out, layers or 64, "Qwen3.6 27B", "qwen35", 5120, 24, 4, 16, 48, hidden=17408)


def qwen_3_6_35b_a3b(out, layers):
    qwen(out, layers or 40, "Qwen3.6 35B-A3B", "qwen35moe", 2048, 16, 2, 16, 32, experts=256)


def qwen_3_30b_a3b(out, layers):
    """In the mix of Q4_K_M."""
    f = File(out, "qwen3moe", "Qwen3 30B-A3B", layers or 48, 2048, 151936, 262144)
    f.keys("attention.", head_count=32, head_count_kv=4, key_length=128, value_length=128,
           layer_norm_rms_epsilon=1e-6)
    f.keys("rope.", freq_base=1e6)
    f.keys(expert_count=128, expert_used_count=8, expert_feed_forward_length=768)
    f.matrix("token_embd.weight", Q4_K, f.vocabulary, 2048)
    f.matrix("output.weight", Q6_K, f.vocabulary, 2048)
    f.vector("output_norm.weight", 2048)
    for layer in range(f.layers):
        p, stands_for = f"blk.{layer}.", layer * 48 // f.layers
        f.norms(layer, "attn_norm", "ffn_norm")
        for part in "qk":
            f.vector(f"{p}attn_{part}_norm.weight", 128)
        f.matrix(p + "ffn_gate_inp.weight", F32, 128, 2048)
        for name, shape in (("attn_q", (4096, 2048)), ("attn_k", (512, 2048)), ("attn_v", (512, 2048)),
                            ("attn_output", (2048, 4096)), ("ffn_gate_exps", (128, 768, 2048)),
                            ("ffn_up_exps", (128, 768, 2048)), ("ffn_down_exps", (128, 2048, 768))):
            kind = make_model.type_in_mix(f"blk.{stands_for}.{name.removesuffix('_exps')}.weight", 48)
            f.matrix(f"{p}{name}.weight", kind, *shape)
    f.close()


def qwen_3_5_0_8b(out, layers):
    qwen(out, layers or 24, "Qwen3.5 0.8B", "qwen35", 1024, 8, 2, 16, 16, hidden=3584, tied=True)


SHAPES = {"gpt-oss-20b": gpt_oss_20b, "gemma-4-26b-a4b": gemma_4_26b_a4b, "glm-4.7-flash": glm_4_7_flash,
          "mistral-small-24b": mistral_small_24b, "qwen3.6-27b": qwen_3_6_27b,
          "qwen3.6-35b-a3b": qwen_3_6_35b_a3b, "qwen3-30b-a3b": qwen_3_30b_a3b, "qwen3.5-0.8b": qwen_3_5_0_8b}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("out")
    parser.add_argument("--layers", type=int)
    options = parser.parse_args()
    SHAPES[options.name](options.out, options.layers)
