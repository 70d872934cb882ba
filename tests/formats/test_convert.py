"""Folders of Marian models against the weights they hold: every layout gives the same GGUF, bit for bit. Oracles:
numpy, gguf, sentencepiece, PyYAML; pickles are written without PyTorch."""
import zipfile

import gguf
import numpy as np
import pytest
import sentencepiece
import yaml

import hf_models
import marian_folders as marian
from convert_support import CONFIGS, LAYOUTS, MARIAN_FILE, VOCABULARY, VOCABULARY_FILE, assert_same, convert, edit_json, \
    expected_metadata, expected_tensors, metadata, torch_model, values
from support import dump, text, tool


@pytest.mark.parametrize("shape", CONFIGS)
def test_every_layout_gives_the_same(shape, tokenizer, tmp_path):
    config = marian.make_config(VOCABULARY, **CONFIGS[shape])
    weights = marian.random_weights(config, seed=5)
    for layout, write in LAYOUTS.items():
        write(tmp_path / layout, weights, config, tokenizer)
        reader = convert(tmp_path / layout, tmp_path / "out.gguf")
        assert_same(values(reader), expected_tensors(weights, config))
        own = {"marian.generation.length_penalty": 1.0} if "marian" in layout else {"marian.generation.max_length": 512}
        assert metadata(reader) == {**expected_metadata(config, tokenizer), **own}, layout


@pytest.mark.parametrize("layout", ["safetensors", "marian"])
@pytest.mark.parametrize("inside", ["", "opus-2020-02-26/"])
def test_archives(layout, inside, model, tmp_path):
    LAYOUTS[layout](tmp_path / "folder", *model)
    marian.zip_folder(tmp_path / "folder", tmp_path / "model.zip", inside)
    with zipfile.ZipFile(tmp_path / "model.zip", "a") as archive:  # what is elsewhere is left alone
        archive.writestr(inside + "deeper/config.json", "{")
    assert_same(values(convert(tmp_path / "model.zip", tmp_path / "out.gguf")), expected_tensors(*model[:2]))


def test_sentencepiece_models_are_whole(model, tmp_path):
    marian.write_hf(tmp_path / "in", *model[:2], marian.make_tokenizer(VOCABULARY))
    tool("convert", tmp_path / "in", tmp_path / "out.gguf", "F16")
    fields = dump(tmp_path / "out.gguf")["metadata"]
    known = {text(token) for token in fields["tokenizer.ggml.tokens"]}
    for key in ("source", "target"):
        processor = sentencepiece.SentencePieceProcessor(model_proto=bytes(fields[f"tokenizer.marian.{key}_spm"]))
        pieces = processor.encode("petite maison", out_type=str)
        assert processor.decode(pieces) == "petite maison"
        assert all(processor.id_to_piece(i) in known for i in range(3, processor.get_piece_size()))


def test_vocabulary_as_yaml_writes_it(model, tmp_path):
    """PyYAML quotes otherwise than yaml-cpp, and orders otherwise."""
    marian.write_marian(tmp_path / "in", *model)
    # U+0085 is a line break of YAML 1.1, PyYAML's, and none of 1.2's, yaml-cpp's.
    tokens = [token.replace("\u0085", "\u00a0") for token in model[2].tokens]
    for content in ({token: i for i, token in enumerate(tokens[:-1])}, tokens[:-1]):
        (tmp_path / "in" / VOCABULARY_FILE).write_text(yaml.safe_dump(content, allow_unicode=True))
        assert metadata(convert(tmp_path / "in", tmp_path / "out.gguf"))["tokenizer.ggml.tokens"] == tokens


def test_names_without_decoder_yml(model, tmp_path):
    folder = tmp_path / "in"
    marian.write_marian(folder, *model)
    (folder / "decoder.yml").unlink()
    (folder / MARIAN_FILE).rename(folder / "model.npz")
    (folder / VOCABULARY_FILE).rename(folder / "vocab.yml")
    reader = convert(folder, tmp_path / "out.gguf")
    assert_same(values(reader), expected_tensors(*model[:2]))
    assert "marian.generation.num_beams" not in metadata(reader)


def test_vocabulary_with_holes(model, tmp_path):
    marian.write_hf(tmp_path / "in", *model)
    edit_json(tmp_path / "in" / "vocab.json", lambda v: v.pop("▁filler7"))
    tokens = metadata(convert(tmp_path / "in", tmp_path / "out.gguf"))["tokenizer.ggml.tokens"]
    hole = model[2].tokens.index("▁filler7")
    assert tokens[hole] == f"[PAD{hole}]" and tokens[hole - 1:hole + 2:2] == model[2].tokens[hole - 1:hole + 2:2]


def test_bad_words_and_generation(model, tmp_path):
    weights, config, tokens = model
    marian.write_hf(tmp_path / "in", weights, {**config, "scale_embedding": False, "activation_function": "silu"}, tokens)
    edit_json(tmp_path / "in" / "generation_config.json", lambda g: g.update(
        bad_words_ids=[[7], [VOCABULARY - 1]], suppress_tokens=[9], early_stopping=True, length_penalty=0.75,
        num_beams=6, max_length=200))
    reader = convert(tmp_path / "in", tmp_path / "out.gguf")
    assert np.flatnonzero(values(reader)["output.bias"] == -np.inf).tolist() == [7, 9, VOCABULARY - 1]
    fields = metadata(reader)
    assert {k[18:]: v for k, v in fields.items() if ".generation." in k} == {
        "num_beams": 6, "length_penalty": 0.75, "early_stopping": True, "max_length": 200}
    assert fields["marian.embedding_scale"] == 1 and fields["marian.activation"] == "swish"


def test_half_weights(model, tmp_path):
    weights, config, _ = model
    marian.write_hf(tmp_path / "in", *model, pickle=True, dtype=np.float16)
    expected = expected_tensors({n: v.astype(np.float16) for n, v in weights.items()}, config)
    found = values(convert(tmp_path / "in", tmp_path / "out.gguf", "F16"))
    assert_same(found, {n: v.astype(np.float32) if v.ndim == 1 else v for n, v in expected.items()})


@pytest.mark.parametrize("mix, usual, embedding", [
    ("F16", "F16", "F16"), ("Q8_0", "Q8_0", "Q8_0"), ("Q4_K_M", "Q4_K", "Q6_K")])
def test_types(mix, usual, embedding, tokenizer, tmp_path):
    config = marian.make_config(VOCABULARY, width=256, feed_forward=256)
    weights = marian.random_weights(config, seed=7)
    marian.write_hf(tmp_path / "in", weights, config, tokenizer)
    reader = convert(tmp_path / "in", tmp_path / "out.gguf", mix)
    expected = expected_tensors(weights, config)
    for t in reader.tensors:
        kind, value = t.tensor_type.name, expected[t.name]
        if value.ndim == 1 or t.name == "position_embd.weight":
            assert kind == "F32", t.name
            continue
        allowed = {embedding} if "token_embd" in t.name else {usual} | ({"Q6_K"} if mix == "Q4_K_M" else set())
        assert kind in allowed, t.name
        found = gguf.quants.dequantize(t.data, t.tensor_type).reshape(value.shape)
        assert np.sqrt(np.mean((found - value) ** 2)) < 0.08 * value.std(), t.name


# Tensors of PyTorch's files that are no plain rows.

@pytest.mark.parametrize("write", [marian.torch_zip, marian.torch_legacy])
def test_views(write, model, tmp_path):
    name, other = "model.encoder.layers.0.fc1.weight", "model.encoder.layers.0.fc1.bias"
    weights = model[0]
    rows, columns = weights[name].shape
    padded = np.full((columns, rows + 3), 9, np.float32)
    padded[:, 2:2 + rows] = weights[name].T
    many = np.full(3 + 2 * rows, 9, np.float32)
    many[3::2] = weights[other]

    def change(state):
        state[name] = marian.TorchTensor(padded.reshape(-1), (rows, columns), (1, rows + 3), offset=2)
        state[other] = marian.TorchTensor(many, (rows,), (2,), offset=3)
    folder = torch_model(tmp_path, model, change, write)
    assert_same(values(convert(folder, tmp_path / "out.gguf")), expected_tensors(*model[:2]))


def test_bfloat16(model, tmp_path):
    weights, config, _ = model
    high = {n: (v.view(np.uint32) >> 16).astype(np.uint16) for n, v in weights.items()}

    def change(state):
        for name, value in high.items():
            state[name] = marian.TorchTensor(value, value.shape, marian.as_torch(value).stride, bfloat16=True)
    folder = torch_model(tmp_path, model, change)
    cut = {n: (v.astype(np.uint32) << 16).view(np.float32) for n, v in high.items()}
    reader = convert(folder, tmp_path / "out.gguf")
    assert_same(values(reader), expected_tensors(cut, config))


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_other_families_from_torch(family, tmp_path):
    tensors, _ = hf_models.write_family(tmp_path / "in", family)
    expected = values(convert(tmp_path / "in", tmp_path / "a.gguf"))
    (tmp_path / "in" / "model.safetensors").unlink()
    (tmp_path / "in" / "pytorch_model.bin").write_bytes(marian.torch_zip(tensors))
    assert_same(values(convert(tmp_path / "in", tmp_path / "b.gguf")), expected)


def test_arrays_in_fortran_order(model, tmp_path):
    marian.write_marian(tmp_path / "in", *model)
    path = tmp_path / "in" / MARIAN_FILE
    np.savez(path, **{n: np.asfortranarray(v) for n, v in np.load(path).items()})
    assert_same(values(convert(tmp_path / "in", tmp_path / "out.gguf")), expected_tensors(*model[:2]))
