"""Writes GGUF files with random weights: small ones of every family for the tests, and the exact
shapes of large models.

    make_model.py FAMILY OUT.gguf [--type F32|F16|Q8_0|Q4_0|Q4_K_M] [--seed N] [--like GGUF] [--layers N]
    make_model.py --list

--layers keeps so many, of types that stand for all of them. Weights are scaled so that activations keep their size and the text varies. --like takes the
tokenizer of another model file (large vocabularies); small models get a byte-level one of their own.
"""
import argparse

import gguf
import numpy as np

# layers, width, heads, kv_heads, head_dim, feed_forward, vocabulary (0: the tokenizer's), context
SHAPES = {
    "gpt2-small": ("gpt2", 3, 96, 6, 6, 16, 384, 0, 1024),
    "llama-small": ("llama", 3, 128, 8, 2, 16, 352, 0, 2048),
    "llama31-small": ("llama", 2, 128, 4, 2, 32, 256, 0, 8192),
    "mistral-small": ("llama", 2, 128, 4, 4, 32, 320, 0, 2048),
    "qwen2-small": ("qwen2", 3, 96, 6, 2, 16, 256, 0, 2048),
    "qwen3-small": ("qwen3", 3, 96, 4, 2, 32, 256, 0, 2048),
    "qwen3moe-small": ("qwen3moe", 2, 64, 4, 2, 16, 96, 0, 2048),
    "gemma3-small": ("gemma3", 7, 96, 4, 1, 32, 256, 0, 2048),
    "gpt2": ("gpt2", 12, 768, 12, 12, 64, 3072, 50257, 1024),
    "gpt2-medium": ("gpt2", 24, 1024, 16, 16, 64, 4096, 50257, 1024),
    "gpt2-large": ("gpt2", 36, 1280, 20, 20, 64, 5120, 50257, 1024),
    "gpt2-xl": ("gpt2", 48, 1600, 25, 25, 64, 6400, 50257, 1024),
    "qwen3-0.6b": ("qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960),
    "llama-3.1-8b-layer": ("llama", 1, 4096, 32, 8, 128, 14336, 128256, 131072),  # one of its layers
    "llama-3.1-8b": ("llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072),
}
EXPERTS, EXPERTS_USED, EXPERT_HIDDEN = 8, 2, 96


def byte_vocabulary():
    """256 bytes in GPT-2's printable spelling, some merges, and an end token."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            letters[byte] = chr(byte)
        else:
            letters[byte] = chr(256 + extra)
            extra += 1
    tokens = [letters[b] for b in range(256)]
    merges = []
    for pair in ("t h", "th e", "i n", "e r", "o n", "a n", "Ġ t", "Ġt h", "Ġth e", "Ġ a", "r e"):
        a, b = pair.split(" ")
        merges.append(pair)
        tokens.append(a + b)
    return tokens + ["<|endoftext|>"], merges


def add_tokenizer(writer, like, size):
    if like is None:
        tokens, merges = byte_vocabulary()
        missing = max(0, size - len(tokens))
        tokens = tokens[:-1] + [f"<unused{i}>" for i in range(missing)] + tokens[-1:]
        types = [gguf.TokenType.NORMAL] * 267 + [gguf.TokenType.UNUSED] * missing
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types(types + [gguf.TokenType.CONTROL])
        writer.add_token_merges(merges)
        writer.add_eos_token_id(len(tokens) - 1)
        writer.add_bos_token_id(len(tokens) - 1)
        writer.add_add_bos_token(False)
        return len(tokens)
    reader = gguf.GGUFReader(like)
    for key, field in reader.fields.items():
        if key.startswith("tokenizer."):
            kind = field.types[0]
            sub = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(key, field.contents(), kind, sub_type=sub)
    return len(reader.fields["tokenizer.ggml.tokens"].contents())


def random_blocks(kind, rows, columns, scale, random):
    """Blocks of a K format whose weights have mean 0 and the standard deviation `scale`: every code is
    as likely as any other, so the scale of the block settles it."""
    n = rows * columns // 256
    if kind == gguf.GGMLQuantizationType.Q4_K:
        packed = random.integers(0, 256, (n, 12), dtype=np.uint8)
        packed[:, 4:8] = packed[:, 0:4]  # minimum = scale of each group: sums to 0 with dmin = 7.5 d
        packed[:, 8:12] = (packed[:, 8:12] & 15) * 17
        d = scale / (36.5 * 4.6)
        head = np.tile(np.array([d, 7.5 * d], np.float16).view(np.uint8), (n, 1))
        blocks = [head, packed, random.integers(0, 256, (n, 128), dtype=np.uint8)]
    else:
        tail = np.tile(np.array([scale / (33 * 18.5)], np.float16).view(np.uint8), (n, 1))
        blocks = [random.integers(0, 256, (n, 192), dtype=np.uint8), random.integers(16, 48, (n, 16), dtype=np.uint8), tail]
    return np.concatenate(blocks, axis=1).reshape(rows, -1)


def type_in_mix(name, layers):
    """llama-quantize's Q4_K_M: some matrices, and the output, have more bits."""
    more, less = gguf.GGMLQuantizationType.Q6_K, gguf.GGMLQuantizationType.Q4_K
    if name == "output.weight":
        return more
    if name.split(".")[2:3] not in (["attn_v"], ["ffn_down"]):
        return less
    layer = int(name.split(".")[1])
    return more if layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2 else less


def make(family, out, kind="F32", seed=1, like=None, keep=None):
    arch, all_layers, width, heads, kv_heads, dim, hidden, vocabulary, context = SHAPES[family]
    layers = keep or all_layers
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(out, arch, use_temp_file=True)
    writer.add_name(f"random {family}")
    size = add_tokenizer(writer, like, vocabulary)
    vocabulary = max(vocabulary, size)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    quantized = None if kind == "Q4_K_M" else gguf.GGMLQuantizationType[kind]

    def matrix(name, *shape, scale=None):
        rows, columns = int(np.prod(shape[:-1])), shape[-1]
        scale = columns**-0.5 if scale is None else scale
        if quantized is None:
            parts = name.split(".")
            if parts[0] == "blk":  # the one that it stands for
                parts[1] = str(int(parts[1]) * all_layers // layers)
            use = type_in_mix(".".join(parts), all_layers)
            writer.add_tensor(name, random_blocks(use, rows, columns, scale, random), raw_dtype=use)
            return
        use = quantized if columns % gguf.GGML_QUANT_SIZES[quantized][0] == 0 else gguf.GGMLQuantizationType.F32
        # Large matrices repeat one block of rows, so that an 8B model is written in minutes.
        block = random.standard_normal((min(rows, 4096 if rows > 40000 else 512), columns), dtype=np.float32)
        block *= np.float32(scale)
        if use != gguf.GGMLQuantizationType.F32:
            block = gguf.quants.quantize(block, use)
        data = np.concatenate([block] * (rows // len(block)) + [block[: rows % len(block)]])
        data = data.reshape(*shape[:-1], -1)
        writer.add_tensor(name, data, raw_dtype=use)

    def vector(name, n, around=1.0, spread=0.2):
        writer.add_tensor(name, (around + spread * random.standard_normal(n)).astype(np.float32))

    matrix("token_embd.weight", vocabulary, width, scale=0.5)
    if arch == "gpt2":
        writer.add_layer_norm_eps(1e-5)
        matrix("position_embd.weight", context, width, scale=0.1)
    else:
        writer.add_layer_norm_rms_eps(1e-6 if arch == "gemma3" else 1e-5)
        writer.add_rope_freq_base({"gemma3": 1e6, "qwen3": 1e6, "llama": 5e5}.get(arch, 1e4))
        writer.add_key_length(dim)
        writer.add_value_length(dim)
        writer.add_rope_dimension_count(dim)
    if arch == "gemma3":
        writer.add_sliding_window(64)
    if family == "mistral-small":
        writer.add_sliding_window(100)
    if arch == "qwen3moe":
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(EXPERTS_USED)
        writer.add_expert_feed_forward_length(EXPERT_HIDDEN)
    if "llama31" in family or "8b" in family:
        # Llama 3.1's scaling (arXiv:2407.21783): slow pairs turn 8 times slower, fast ones not.
        i = np.arange(dim // 2)
        wavelength = 2 * np.pi * 500000.0 ** (2 * i / dim)
        smooth = np.clip((8192 / wavelength - 1) / (4 - 1), 0, 1)
        writer.add_tensor("rope_freqs.weight", (1 / ((1 - smooth) / 8 + smooth)).astype(np.float32))
    for layer in range(layers):
        p = f"blk.{layer}."
        norms = ["attn_norm", "ffn_norm"]
        if arch == "gemma3":
            norms += ["post_attention_norm", "post_ffw_norm"]
        for norm in norms:
            vector(f"{p}{norm}.weight", width)
            if arch == "gpt2":
                vector(f"{p}{norm}.bias", width, 0)
        if arch == "gpt2":
            matrix(p + "attn_qkv.weight", 3 * width, width)
            vector(p + "attn_qkv.bias", 3 * width, 0)
        else:
            for part, n in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
                matrix(f"{p}attn_{part}.weight", n * dim, width)
                if arch == "qwen2":
                    vector(f"{p}attn_{part}.bias", n * dim, 0)
        if arch in ("qwen3", "qwen3moe", "gemma3"):
            vector(p + "attn_q_norm.weight", dim)
            vector(p + "attn_k_norm.weight", dim)
        matrix(p + "attn_output.weight", width, heads * dim)
        if arch == "gpt2":
            vector(p + "attn_output.bias", width, 0)
            matrix(p + "ffn_up.weight", hidden, width)
            vector(p + "ffn_up.bias", hidden, 0)
            matrix(p + "ffn_down.weight", width, hidden)
            vector(p + "ffn_down.bias", width, 0)
        elif arch == "qwen3moe":
            matrix(p + "ffn_gate_inp.weight", EXPERTS, width, scale=0.3)
            matrix(p + "ffn_gate_exps.weight", EXPERTS, EXPERT_HIDDEN, width)
            matrix(p + "ffn_up_exps.weight", EXPERTS, EXPERT_HIDDEN, width)
            matrix(p + "ffn_down_exps.weight", EXPERTS, width, EXPERT_HIDDEN)
        else:
            matrix(p + "ffn_gate.weight", hidden, width)
            matrix(p + "ffn_up.weight", hidden, width)
            matrix(p + "ffn_down.weight", width, hidden)
    vector("output_norm.weight", width)
    if arch == "gpt2":
        vector("output_norm.bias", width, 0)
    # The others are tied. Gemma's files are too, but it multiplies embeddings by sqrt(width): with random
    # weights a tied output would leave no doubt about any token, and nothing to compare.
    if family in ("llama-small", "llama31-small", "mistral-small", "qwen2-small", "gemma3-small") or "8b" in family:
        matrix("output.weight", vocabulary, width, scale=3 * width**-0.5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", nargs="?", choices=SHAPES)
    parser.add_argument("out", nargs="?")
    parser.add_argument("--type", default="F32")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--like")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list or not options.out:
        print("\n".join(SHAPES))
    else:
        make(options.family, options.out, options.type, options.seed, options.like, options.layers)
