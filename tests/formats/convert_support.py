"""What the tests of conversion share: small Marian models in every layout, and what they must become."""
import json

import gguf
import numpy as np

import marian_folders as marian
from support import tool

VOCABULARY = 400
MARIAN_FILE = "opus.spm32k-spm32k.transformer.model1.npz"
VOCABULARY_FILE = "opus.spm32k-spm32k.vocab.yml"

LAYOUTS = {
    "safetensors": lambda *model: marian.write_hf(*model),
    "torch": lambda *model: marian.write_hf(*model, pickle=True),
    "torch_legacy": lambda *model: marian.write_hf(*model, pickle="legacy"),
    "older_hub": lambda *model: marian.write_hf(*model, pickle="legacy", generation=False),
    "marian": lambda *model: marian.write_marian(*model),
    "marian_compressed": lambda *model: marian.write_marian(*model, compress=True),
}
CONFIGS = {
    "opus": {},
    "other_sides": {"layers": 3, "decoder_layers": 1, "activation_function": "relu"},
    "pre_norm": {"normalize_before": True},
    "untied": {"tie_word_embeddings": False},
    "two_embeddings": {"share_encoder_decoder_embeddings": False},
    "nothing_shared": {"share_encoder_decoder_embeddings": False, "tie_word_embeddings": False},
}


def convert(path, out, mix="F32"):
    tool("convert", path, out, mix)
    return gguf.GGUFReader(out)


def values(reader):
    """Tensors as arrays of their own shapes and types."""
    return {t.name: t.data.reshape(tuple(reversed([int(n) for n in t.shape]))) for t in reader.tensors}


def metadata(reader):
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def expected_tensors(weights, config):
    """GGUF's names for Hugging Face's, llama.cpp's of T5."""
    renames = [("model.", ""), ("encoder.layers.", "enc.blk."), ("decoder.layers.", "dec.blk."),
               ("encoder.layer_norm", "enc.output_norm"), ("decoder.layer_norm", "dec.output_norm"),
               ("shared.", "token_embd."), ("encoder.embed_tokens", "token_embd"),
               ("decoder.embed_tokens", "dec.token_embd"), ("lm_head", "output"), ("final_logits_bias", "output.bias"),
               ("self_attn_layer_norm", "attn_norm"), ("encoder_attn_layer_norm", "cross_attn_norm"),
               ("final_layer_norm", "ffn_norm"), ("self_attn.", "attn_"), ("encoder_attn.", "cross_attn_"),
               ("out_proj", "o"), ("_proj", ""), ("fc1", "ffn_up"), ("fc2", "ffn_down")]
    out = {"position_embd.weight": marian.positions(config)}
    for name, value in weights.items():
        for old, new in renames:
            name = name.replace(old, new)
        out[name] = value
    out["output.bias"] = out["output.bias"][0].copy()
    out["output.bias"][config["pad_token_id"]] = -np.inf
    return out


def expected_metadata(config, tokenizer):
    return {
        "general.architecture": "marian", "general.file_type": 0, "general.quantization_version": 2,
        "marian.context_length": 512, "marian.embedding_length": 32,
        "marian.block_count": config["encoder_layers"], "marian.decoder_block_count": config["decoder_layers"],
        "marian.feed_forward_length": 64, "marian.decoder_feed_forward_length": 64,
        "marian.attention.head_count": 4, "marian.decoder_attention_head_count": 4,
        "marian.attention.layer_norm_epsilon": np.float32(1e-5), "marian.activation": config["activation_function"],
        "marian.normalize_before": config["normalize_before"], "marian.embedding_scale": np.sqrt(np.float32(32)),
        "marian.decoder_start_token_id": VOCABULARY - 1, "marian.generation.num_beams": 4,
        "tokenizer.ggml.model": "marian", "tokenizer.ggml.tokens": tokenizer.tokens,
        "tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.padding_token_id": VOCABULARY - 1,
        "tokenizer.marian.source_spm": list(tokenizer.source_spm),
        "tokenizer.marian.target_spm": list(tokenizer.target_spm)}


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape and found[name].dtype == value.dtype, name
        assert found[name].tobytes() == np.ascontiguousarray(value).tobytes(), name


def torch_model(tmp_path, model, change, write=marian.torch_zip):
    """A folder whose state_dict went through `change`."""
    weights, config, tokens = model
    marian.write_hf(tmp_path / "in", weights, config, tokens)
    (tmp_path / "in" / "model.safetensors").unlink()
    state = dict(weights)
    change(state)
    (tmp_path / "in" / "pytorch_model.bin").write_bytes(write(state))
    return tmp_path / "in"


def edit_json(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
