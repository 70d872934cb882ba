"""Hugging Face folders give the tensors and keys that a GGUF file of the model has."""
import json

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer

from hf_models import FAMILIES, HEADS, KV_HEADS, LAYERS, WIDTH, write_family
from support import dump, text, tool

ARCHITECTURES = {"mistral": gguf.MODEL_ARCH.LLAMA, "llama": gguf.MODEL_ARCH.LLAMA,
                 "qwen2": gguf.MODEL_ARCH.QWEN2, "qwen3": gguf.MODEL_ARCH.QWEN3,
                 "gemma3_text": gguf.MODEL_ARCH.GEMMA3, "gpt2": gguf.MODEL_ARCH.GPT2}


def tensor(folder, name, kind):
    out = folder.parent / "tensor.bin"
    tool("tensor", folder, name, out)
    return np.fromfile(out, dtype=np.float32 if kind == "F32" else np.float16)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("parts", [1, 3])
def test_tensors(family, parts, tmp_path):
    """Names from gguf's own table of names; values as in the folder."""
    folder = tmp_path / "model"
    tensors, config = write_family(folder, family, parts)
    names = gguf.get_tensor_name_map(ARCHITECTURES[family], LAYERS)
    found = dump(folder)["tensors"]
    expected = set()
    for name, data in tensors.items():
        if name.endswith(".attn.bias"):
            continue
        mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
        expected.add(mapped)
        if family == "gpt2" and data.ndim == 2 and name.startswith("h."):
            data = data.T
        if family == "gemma3_text" and mapped == "token_embd.weight":
            data = data[:config["vocab_size"]]
        kind = "F32" if data.ndim == 1 or data.dtype == np.float32 else "F16"
        assert found[mapped]["type"] == kind
        assert found[mapped]["shape"] == list(data.shape)
        values = data.astype(np.float32 if kind == "F32" else np.float16).ravel()
        if family == "gemma3_text" and name.endswith("norm.weight"):
            values = values + np.float32(1)
        assert (tensor(folder, mapped, kind) == values).all(), mapped
    if family == "llama":
        expected.add("rope_freqs.weight")
    assert set(found) == expected


def test_llama3_rope_factors(tmp_path):
    folder = tmp_path / "model"
    write_family(folder, "llama")
    half = WIDTH // HEADS // 2
    frequencies = 1 / 500000.0 ** (np.arange(half) * 2 / (2 * half))
    expected = []
    for wavelength in 2 * np.pi / frequencies:
        smooth = (256 / wavelength - 1) / (4 - 1)
        expected.append(1 if wavelength < 64 else 8 if wavelength > 256
                        else 1 / ((1 - smooth) / 8 + smooth))
    assert 1 in expected and 8 in expected
    assert np.allclose(tensor(folder, "rope_freqs.weight", "F32"), expected, rtol=1e-5)


KEYS = {
    "llama": {"llama.rope.freq_base": 500000.0, "llama.vocab_size": 400,
              "llama.rope.dimension_count": 16, "outboard.rope.neox": True,
              "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-5),
              "tokenizer.ggml.add_bos_token": True, "outboard.eos_token_ids": [397, 1]},
    "mistral": {"llama.rope.freq_base": 10000.0, "outboard.rope.neox": True,
                "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_space_prefix": True},
    "qwen2": {"qwen2.attention.head_count_kv": KV_HEADS, "tokenizer.ggml.add_bos_token": False},
    "qwen3": {"qwen3.attention.key_length": 32, "qwen3.attention.value_length": 32},
    "gemma3_text": {"gemma3.attention.sliding_window": 64, "gemma3.rope.freq_base_swa": 10000.0,
                    "gemma3.rope.freq_base": 500000.0, "gemma3.attention.key_length": 32,
                    "tokenizer.ggml.add_space_prefix": False},
    "gpt2": {"gpt2.context_length": 32, "gpt2.feed_forward_length": 4 * WIDTH,
             "gpt2.attention.layer_norm_epsilon": pytest.approx(1e-5),
             "tokenizer.ggml.add_bos_token": False},
}
NAMES = {  # tokenizer.ggml.model and .pre
    "llama": ("gpt2", "llama-bpe"), "mistral": ("llama", "default"), "qwen2": ("gpt2", "qwen2"),
    "qwen3": ("gpt2", "qwen2"), "gemma3_text": ("llama", "default"), "gpt2": ("gpt2", "gpt-2")}


@pytest.mark.parametrize("family", FAMILIES)
def test_metadata(family, tmp_path):
    folder = tmp_path / "model"
    write_family(folder, family)
    found = dump(folder)["metadata"]
    architecture = gguf.MODEL_ARCH_NAMES[ARCHITECTURES[family]]
    assert text(found["general.architecture"]) == architecture
    assert found[architecture + ".block_count"] == LAYERS
    assert found[architecture + ".embedding_length"] == WIDTH
    assert found[architecture + ".attention.head_count"] == HEADS
    for key, value in KEYS[family].items():
        assert found[key] == value, key
    assert (text(found["tokenizer.ggml.model"]), text(found["tokenizer.ggml.pre"])) == NAMES[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_vocabulary(family, tmp_path):
    folder = tmp_path / "model"
    _, config = write_family(folder, family)
    found = dump(folder)["metadata"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    source = json.loads((folder / "tokenizer.json").read_text())
    tokens = [text(t) for t in found["tokenizer.ggml.tokens"]]
    kinds = found["tokenizer.ggml.token_type"]
    special = {t["id"] for t in source["added_tokens"] if t["special"]}
    assert len(tokens) == len(kinds) == config["vocab_size"]
    for i, (token, kind) in enumerate(zip(tokens, kinds)):
        expected = tokenizer.id_to_token(i)
        if expected is None:
            assert (token, kind) == (f"[PAD{i}]", gguf.TokenType.UNUSED)
        elif expected == "▁user▁made":
            assert (token, kind) == (" user made", gguf.TokenType.USER_DEFINED)
        else:
            assert token == expected
            if expected == "<unk>":
                assert kind == gguf.TokenType.UNKNOWN
            elif i in special:
                assert kind == gguf.TokenType.CONTROL
            elif expected.startswith("<0x"):
                assert kind == gguf.TokenType.BYTE
            else:
                assert kind == gguf.TokenType.NORMAL
    if NAMES[family][0] == "gpt2":
        merges = [" ".join(m) for m in source["model"]["merges"]]
        assert [text(m) for m in found["tokenizer.ggml.merges"]] == merges
        assert found["tokenizer.ggml.bos_token_id"] == tokenizer.token_to_id("<|begin|>")
        assert found["tokenizer.ggml.eos_token_id"] == tokenizer.token_to_id("<|end|>")
        assert text(found["tokenizer.chat_template"]) == "{{ messages }}"
    else:
        assert found["tokenizer.ggml.unknown_token_id"] == 0
        assert found["tokenizer.ggml.eos_token_id"] == 2


def merge_by_score(symbols, scores):
    """SentencePiece's BPE: again and again the neighbours whose union scores highest."""
    while True:
        pairs = [(scores[a + b], -i) for i, (a, b) in enumerate(zip(symbols, symbols[1:]))
                 if a + b in scores]
        if not pairs:
            return symbols
        i = -max(pairs)[1]
        symbols[i:i + 2] = [symbols[i] + symbols[i + 1]]


def test_scores_merge_as_the_folder_does(tmp_path):
    folder = tmp_path / "model"
    write_family(folder, "mistral")
    found = dump(folder)["metadata"]
    scores = {text(t): s for t, s, kind in zip(found["tokenizer.ggml.tokens"],
                                               found["tokenizer.ggml.scores"],
                                               found["tokenizer.ggml.token_type"]) if kind == 1}
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for line in ["Hello world", "this is a small text with words", "they're fun, tiny vocabularies",
                 "café straße", "1234 numbers numbers"]:
        expected = tokenizer.encode(line, add_special_tokens=False).tokens
        assert merge_by_score(list("▁" + line.replace(" ", "▁")), scores) == expected


def test_sentencepiece_file(tmp_path):
    """tokenizer.model wins over tokenizer.json; pieces, scores and types are its own."""
    import sentencepiece
    from hf_models import TEXT
    folder = tmp_path / "model"
    _, config = write_family(folder, "mistral")
    (tmp_path / "text").write_text("\n".join(TEXT))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(folder / "tokenizer"), vocab_size=380,
        model_type="bpe", byte_fallback=True, minloglevel=2)
    model = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    found = dump(folder)["metadata"]
    assert text(found["tokenizer.ggml.model"]) == "llama"
    for i in range(model.vocab_size()):
        assert text(found["tokenizer.ggml.tokens"][i]) == model.id_to_piece(i)
        assert found["tokenizer.ggml.scores"][i] == model.get_score(i)
        kind = (2 if model.is_unknown(i) else 3 if model.is_control(i) else
                6 if model.is_byte(i) else 1)
        assert found["tokenizer.ggml.token_type"][i] == kind
    assert text(found["tokenizer.ggml.tokens"][-1]) == f"[PAD{config['vocab_size'] - 1}]"


def test_quantized_folder_has_gguf_row_order(tmp_path):
    """q and k rows are interleaved as converters do, and the folder's mark is gone."""
    folder = tmp_path / "model"
    tensors, _ = write_family(folder, "mistral")
    tool("convert", folder, tmp_path / "out.gguf", "F32")
    reader = gguf.GGUFReader(tmp_path / "out.gguf")
    assert "outboard.rope.neox" not in reader.fields
    found = {t.name: t.data for t in reader.tensors}
    for name, heads in (("q", HEADS), ("k", KV_HEADS)):
        weight = tensors[f"model.layers.1.self_attn.{name}_proj.weight"]
        expected = weight.reshape(heads, 2, -1, WIDTH).swapaxes(1, 2).reshape(weight.shape)
        assert (found[f"blk.1.attn_{name}.weight"] == expected).all()
    assert (found["blk.1.attn_v.weight"] == tensors["model.layers.1.self_attn.v_proj.weight"]).all()


# --- bad folders: one way of being wrong each ---


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


BAD = [
    ("config.json", lambda d: d.update(model_type="bert"), "model_type: found \"bert\""),
    ("config.json", lambda d: d.pop("model_type"), "model_type: it is missing"),
    ("config.json", lambda d: d.pop("hidden_size"), "hidden_size: it is missing"),
    ("config.json", lambda d: d.update(hidden_size="64"), "hidden_size: found \"64\""),
    ("config.json", lambda d: d.update(hidden_size=-1), "hidden_size: found -1"),
    ("config.json", lambda d: d.update(vocab_size=10**9), "vocab_size: found 1000000000"),
    ("config.json", lambda d: d.update(num_hidden_layers=10**6), "layers: found 1000000"),
    ("config.json", lambda d: d.update(rope_scaling={"type": "odd", "factor": 2}), "type: found"),
    ("config.json", lambda d: d.update(vocab_size=100), "expected less than config.json's vocab"),
    ("tokenizer.json", lambda d: d["model"].pop("merges"), "model.merges: expected a list"),
    ("tokenizer.json", lambda d: d["model"].update(merges=["ab"]), "model.merges: element 0"),
    ("tokenizer.json", lambda d: d["model"].update(type="WordPiece"), "model.type: found"),
    ("tokenizer.json", lambda d: d["model"].update(vocab={"a": -1}), "token \"a\": expected an id"),
    ("tokenizer.json", lambda d: d["pre_tokenizer"]["pretokenizers"][0]["pattern"].update(
        Regex="x+"), "pre_tokenizer: found the pattern \"x+\""),
    ("tokenizer_config.json", lambda d: d.update(add_bos_token=3, chat_template=4), "chat_template"),
]


@pytest.mark.parametrize("file, change, message", BAD, ids=[b[2] for b in BAD])
def test_bad_field(file, change, message, tmp_path):
    folder = tmp_path / "model"
    write_family(folder, "llama")
    edit(folder / file, change)
    with pytest.raises(RuntimeError) as error:
        dump(folder)
    assert file in str(error.value) and message in str(error.value)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_file(file, tmp_path):
    folder = tmp_path / "model"
    write_family(folder, "llama")
    (folder / file).unlink()
    with pytest.raises(RuntimeError, match=file):
        dump(folder)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "..", ""])
def test_index_must_stay_in_the_folder(name, tmp_path):
    folder = tmp_path / "model"
    write_family(folder, "llama", parts=2)
    edit(folder / "model.safetensors.index.json", lambda d: d["weight_map"].update(x=name))
    with pytest.raises(RuntimeError, match="expected a file name without a folder"):
        dump(folder)
