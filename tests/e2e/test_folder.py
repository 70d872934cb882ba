"""Models run straight from a Hugging Face folder, against the reference on the folder's own tensors."""
import numpy as np
import pytest

import forward
import hf_models
from support import run, run_json

LAYER = {  # GGUF's names to the folder's, written by hand from the models' own source
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
GEMMA = {"post_attention_norm": "post_attention_layernorm", "ffn_norm": "pre_feedforward_layernorm",
         "post_ffw_norm": "post_feedforward_layernorm"}
GPT2 = {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj", "ffn_norm": "ln_2",
        "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}


class FolderModel(forward.Model):
    """A folder's tensors and configuration, as forward.py asks for them."""

    def __init__(self, tensors, config):
        self.tensors, self.config = tensors, config
        self.arch = config["model_type"]
        self.gemma = self.arch == "gemma3_text"

    def name(self, name):
        layer = dict(LAYER, **(GEMMA if self.gemma else {}))
        top = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
        prefix = "model.layers."
        if self.arch == "gpt2":
            layer, prefix = GPT2, "h."
            top = {"token_embd": "wte", "position_embd": "wpe", "output_norm": "ln_f", "output": "lm_head"}
        stem, _, leaf = name.rpartition(".")
        if stem.startswith("blk."):
            _, number, part = stem.split(".")
            full = f"{prefix}{number}.{layer.get(part, part)}.{leaf}"
        else:
            full = f"{top.get(stem, stem)}.{leaf}"
        return next((n for n in (full, "transformer." + full, "model." + full) if n in self.tensors), None)

    def __contains__(self, name):
        return self.name(name) is not None

    def __getitem__(self, name):
        if name == "rope_freqs.weight":
            return self.llama3_factors()
        value = np.asarray(self.tensors[self.name(name)], np.float32)
        if self.arch == "gpt2" and name.endswith(".weight") and ".attn_" in name + "." and value.ndim == 2 \
                or self.arch == "gpt2" and ".ffn_" in name and value.ndim == 2:
            value = value.T  # Conv1D keeps [inputs, outputs]
        if self.gemma and "norm" in name:
            value = value + 1  # Gemma stores weights around 0
        return value

    def llama3_factors(self):
        """arXiv:2407.21783 as the model's configuration describes it."""
        s, c = self.config["rope_scaling"], self.config
        dim = c["hidden_size"] // c["num_attention_heads"]
        frequency = c["rope_theta"] ** (-2 * np.arange(dim // 2) / dim)
        wavelength = 2 * np.pi / frequency
        old = s["original_max_position_embeddings"]
        smooth = (old / wavelength - s["low_freq_factor"]) / (s["high_freq_factor"] - s["low_freq_factor"])
        smooth = np.clip(smooth, 0, 1)
        return 1 / ((1 - smooth) / s["factor"] + smooth)

    def key(self, name, default=None):
        c = self.config
        keys = {"embedding_length": "hidden_size", "attention.head_count": "num_attention_heads",
                "attention.head_count_kv": "num_key_value_heads", "attention.key_length": "head_dim",
                "attention.layer_norm_rms_epsilon": "rms_norm_eps", "rope.freq_base": "rope_theta",
                "attention.sliding_window": "sliding_window", "block_count": "num_hidden_layers"}
        if self.arch == "gpt2":
            keys = {"attention.head_count": "n_head", "attention.layer_norm_epsilon": "layer_norm_epsilon",
                    "block_count": "n_layer"}
        return c.get(keys.get(name, name), default)


def reference(model, tokens):
    if model.arch == "gpt2":
        return forward.gpt2(model, np.asarray(tokens))
    if "rope_scaling" in model.config:
        model.tensors = {**model.tensors, "rope_freqs.weight": None}
    return forward.decoder(model, np.asarray(tokens), halves=True, gemma=model.gemma,
                           head_norms=model.arch in ("qwen3", "gemma3_text"))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("family", hf_models.FAMILIES)
def test_logits(family, parts, tmp_path):
    folder = tmp_path / family
    tensors, config = hf_models.write_family(folder, family, parts=parts)
    text = tmp_path / "text.txt"
    text.write_text("Hello world, this is a small text about numbers and words. " * 8)
    count = 30 if family == "gpt2" else 120
    tokens = run_json("tokenize", folder, "-f", text)["ids"][:count]
    assert len(tokens) == count
    run("perplexity", folder, "-f", text, "--ctx", count, "--logits", tmp_path / "l.npy")
    got = np.load(tmp_path / "l.npy")
    want = reference(FolderModel(tensors, config), tokens)[:, : got.shape[1]]
    assert got.shape == want.shape
    assert want.std() > 0.05
    np.testing.assert_allclose(got, want, atol=0.01 * want.std())
    # The same model as a GGUF file.
    run("quantize", folder, tmp_path / "m.gguf", "F32")
    run("perplexity", tmp_path / "m.gguf", "-f", text, "--ctx", count, "--logits", tmp_path / "g.npy")
    np.testing.assert_allclose(np.load(tmp_path / "g.npy"), want, atol=0.01 * want.std())
    assert run_json("run", folder, "-p", "Hello", "--raw", "-n", 4, "--temp", 0)["answer_tokens"] <= 4
