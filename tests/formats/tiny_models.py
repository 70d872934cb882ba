"""Small GGUF models with random weights, written by the Python package gguf."""
import gguf
import numpy as np


def write_llama(path, layers=16, width=256, feed_forward=512, vocabulary=64, heads=8, kv_heads=4,
                experts=0, tied=False, biases=False, dtype=np.float32):
    """A model of llama's shape; returns its tensors by name."""
    rng = np.random.default_rng(layers * 31 + width)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(2)
    tensors = {}

    def add(name, *shape):
        tensors[name] = rng.normal(0, 0.05, shape).astype(np.float32 if len(shape) == 1 else dtype)

    add("token_embd.weight", vocabulary, width)
    for layer in range(layers):
        block = f"blk.{layer}."
        kv_width = width // heads * kv_heads
        add(block + "attn_norm.weight", width)
        add(block + "attn_q.weight", width, width)
        add(block + "attn_k.weight", kv_width, width)
        add(block + "attn_v.weight", kv_width, width)
        add(block + "attn_output.weight", width, width)
        if biases:
            add(block + "attn_q.bias", width)
        add(block + "ffn_norm.weight", width)
        if experts:
            add(block + "ffn_gate_inp.weight", experts, width)
            add(block + "ffn_gate_exps.weight", experts, feed_forward, width)
            add(block + "ffn_up_exps.weight", experts, feed_forward, width)
            add(block + "ffn_down_exps.weight", experts, width, feed_forward)
        else:
            add(block + "ffn_gate.weight", feed_forward, width)
            add(block + "ffn_up.weight", feed_forward, width)
            add(block + "ffn_down.weight", width, feed_forward)
    add("output_norm.weight", width)
    if not tied:
        add("output.weight", vocabulary, width)
    for name, data in tensors.items():
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


# Shapes on which the choice of types was recorded (recorded_mixes.json).
MIX_SHAPES = {
    "plain": {},
    "tied": {"tied": True, "layers": 9},
    "narrow": {"width": 96, "heads": 4, "kv_heads": 2, "layers": 4},
    "odd": {"width": 48, "heads": 4, "kv_heads": 2, "layers": 2, "feed_forward": 96},
    "experts": {"experts": 8, "layers": 8, "vocabulary": 32},
    "four experts": {"experts": 4, "layers": 8, "vocabulary": 32},
    "shared": {"layers": 16, "kv_heads": 2, "vocabulary": 32},
    "70B": {"layers": 80, "feed_forward": 256, "vocabulary": 32},
}
