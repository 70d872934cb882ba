"""Models run straight from a Hugging Face folder, against the reference on the folder's own tensors."""
import json

import numpy as np
import pytest
import sentencepiece
from tokenizers import Tokenizer

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


def write(tmp_path, family, changes=(), **options):
    """A folder of hf_models; changes: (file, change of its data)."""
    folder = tmp_path / "model"
    written = hf_models.write_family(folder, family, **options)
    for file, change in changes:
        path = folder / file
        data = json.loads(path.read_text()) if path.exists() else {}
        change(data)
        path.write_text(json.dumps(data))
    return folder, *written


def test_mistral_window(tmp_path):
    """Every layer sees the last 16 tokens only."""
    folder, tensors, config = write(tmp_path, "mistral", [("config.json", lambda c: c.update(sliding_window=16))])
    text = tmp_path / "text.txt"
    text.write_text("Hello world, this is a small text about numbers and words. " * 8)
    tokens = run_json("tokenize", folder, "-f", text)["ids"][:100]
    got = {}
    for name, model in (("folder", folder), ("gguf", tmp_path / "m.gguf")):
        if name == "gguf":
            run("quantize", folder, model, "F32")
        run("perplexity", model, "-f", text, "--ctx", 100, "--logits", tmp_path / "l.npy")
        got[name] = np.load(tmp_path / "l.npy")
    want = {window: reference(FolderModel(tensors, {**config, "sliding_window": window}), tokens)
            for window in (16, None)}
    for logits in got.values():
        np.testing.assert_allclose(logits, want[16][:, :logits.shape[1]], atol=0.01 * want[16].std())
    assert abs(want[16] - want[None]).max() > 0.1 * want[16].std()


@pytest.mark.parametrize("file", ["generation_config.json", "config.json"])
def test_every_listed_end_ends_the_answer(file, tmp_path):
    folder, *_ = write(tmp_path, "mistral")
    arguments = ("-p", "Hello", "--raw", "-n", 6, "--temp", 0)
    answer = run_json("run", folder, *arguments)["tokens"]
    place = next(i for i in range(1, 6) if answer[i] not in answer[:i])
    write(tmp_path, "mistral", [(file, lambda data: data.update(eos_token_id=[2, answer[place]]))])
    run("quantize", folder, tmp_path / "m.gguf", "F32")
    for model in (folder, tmp_path / "m.gguf"):
        cut = run_json("run", model, *arguments)
        assert cut["finish"] == "stop" and cut["tokens"][:place] == answer[:place] and len(cut["tokens"]) <= place + 1


TEXTS = ["Hello world, this is a small text", "HELLO  wörld\n\n 1234 12", "cafe\u0301 na\u00efve \u0301x", " lead and trail ",
         "they're   fun, aren't they?\r\n\tTiny", "ﬁne x² Å Å", "hellox hello", "你好 мир 😀", "▁a  b", "<|begin|>x <|end|>", "<|end|>x<|end|> y<|end|> "]
DIGITS = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, {
    "type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]}


def unreachable(data):
    """A token that no merges make: whether a whole word is looked up first shows."""
    data["model"]["vocab"]["hellox"] = len(data["model"]["vocab"])
    for token in data["added_tokens"]:  # they follow the model's own
        token["id"] += 1
    for processor in data["post_processor"].get("processors", []):
        for token in processor.get("special_tokens", {}).values():
            token["ids"][0] += 1


WAYS = {
    "llama": ("llama", unreachable),
    "llama_merges_only": ("llama", lambda d: (unreachable(d), d["model"].update(ignore_merges=False))),
    "qwen": ("qwen2", unreachable),
    "qwen_not_composed": ("qwen2", lambda d: d.update(normalizer=None)),
    "gpt2": ("gpt2", unreachable),
    "digits": ("gpt2", lambda d: d.update(pre_tokenizer=DIGITS)),
    "mistral": ("mistral", lambda d: None),
    "gemma": ("gemma3_text", lambda d: None),
    "metaspace": ("gemma3_text", lambda d: d.update(normalizer=None, pre_tokenizer={
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"})),
    # As transformers 5 saves Llama 2's and Mistral's.
    **{f"metaspace_{scheme}": ("mistral", lambda d, scheme=scheme: d.update(normalizer=None, pre_tokenizer={
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": False})) for scheme in ("first", "always")},
}


@pytest.mark.parametrize("way", WAYS)
def test_tokens_are_those_of_tokenizers(way, tmp_path):
    family, change = WAYS[way]
    folder, *_ = write(tmp_path, family, [("tokenizer.json", change)])
    theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in TEXTS:
        assert run_json("tokenize", folder, text)["ids"] == theirs.encode(text).ids, repr(text)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("options", [
    {}, {"normalization_rule_name": "identity"}, {"remove_extra_whitespaces": False}, {"add_dummy_prefix": False},
    {"normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False, "remove_extra_whitespaces": False}], ids=str)
def test_tokens_are_those_of_sentencepiece(kind, options, tmp_path):
    folder, *_ = write(tmp_path, "mistral")
    (folder / "tokenizer.json").unlink()
    (tmp_path / "text").write_text("\n".join(hf_models.TEXT))
    sentencepiece.SentencePieceTrainer.train(
        input=tmp_path / "text", model_prefix=folder / "tokenizer", vocab_size=310, model_type=kind, byte_fallback=True,
        minloglevel=2, **options)
    theirs = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    for text in TEXTS[:-2]:  # control tokens are not text to SentencePiece
        assert run_json("tokenize", folder, text, "--no-special")["ids"] == theirs.encode(text), repr(text)


# One wish of each file that is not done.
WISHES = {
    "config.json: attention_sinks = 4": ("config.json", lambda d: d.update(attention_sinks=4)),
    "generation_config.json: no_repeat_ngram_size = 3": (
        "generation_config.json", lambda d: d.update(no_repeat_ngram_size=3)),
    'tokenizer.json: normalizer: the step "Lowercase"': (
        "tokenizer.json", lambda d: d.update(normalizer={"type": "Lowercase"})),
    "tokenizer_config.json: do_lower_case = true": ("tokenizer_config.json", lambda d: d.update(do_lower_case=True)),
}
COMMANDS = {
    "tokenize": lambda folder, tmp: ("tokenize", folder, "Hello"),
    "run": lambda folder, tmp: ("run", folder, "-p", "Hello", "--raw", "-n", 2),
    "perplexity": lambda folder, tmp: ("perplexity", folder, "-f", tmp / "text", "--ctx", 20),
    "convert": lambda folder, tmp: ("convert", folder, tmp / "out.gguf"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_wishes_that_are_not_done_are_refused_together(command, tmp_path):
    folder, *_ = write(tmp_path, "llama", WISHES.values())
    (tmp_path / "text").write_text("Hello world. " * 40)
    arguments = COMMANDS[command](folder, tmp_path)
    message = run(*arguments, ok=False).err
    assert all(line in message for line in WISHES)
    assert not (tmp_path / "out.gguf").exists()
    notice = run(*arguments, "--ignore-unknown").err
    assert all(line in notice for line in WISHES)


def test_notes_are_told(tmp_path):
    folder, *_ = write(tmp_path, "llama", [("config.json", lambda d: d.update(pad_token_id=400))])
    note = "config.json: pad_token_id = 400, and the model's tokens are 0 to 399: not used"
    assert note in run("run", folder, "-p", "Hello", "--raw", "-n", 2).err
