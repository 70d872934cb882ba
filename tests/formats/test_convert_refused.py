"""Model folders and archives that are damaged, hostile, or ask for what Outboard lacks: refused by name, never a crash,
and nothing is left behind."""
import io
import pathlib
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest
import yaml

import marian_folders as marian
from convert_support import LAYOUTS, MARIAN_FILE, VOCABULARY, VOCABULARY_FILE, convert, edit_json, torch_model


def refused(path, *messages):
    out = path.parent / "refused.gguf"
    with pytest.raises(RuntimeError) as error:
        convert(path, out)
    for message in messages:
        assert message in str(error.value)
    assert not [p for p in path.parent.iterdir() if p.name.startswith("refused")]


HF_OPTIONS = [
    ("config.json", {"activation_function": "gelu_new"}, "activation_function is gelu_new"),
    ("config.json", {"normalize_embedding": True}, "normalize_embedding"),
    ("config.json", {"static_position_embeddings": False}, "static_position_embeddings"),
    ("config.json", {"decoder_vocab_size": 17}, "decoder_vocab_size is 17"),
    ("config.json", {"add_final_layer_norm": True}, "add_final_layer_norm"),
    ("config.json", {"encoder_attention_heads": 5}, "encoder heads: found 5"),
    ("config.json", {"encoder_layers": 3}, "enc.blk.2.attn_q.weight: it is missing"),
    ("config.json", {"encoder_layers": 1}, "leave no place for it"),
    ("config.json", {"encoder_layers": 1 << 40}, "encoder layers: found 1099511627776"),
    ("config.json", {"max_position_embeddings": 1 << 40}, "positions: found 1099511627776"),
    ("config.json", {"encoder_ffn_dim": 65}, "found the shape [64, 32], expected [65, 32]"),
    ("config.json", {"d_model": "wide"}, "d_model: found \"wide\""),
    ("config.json", {"decoder_start_token_id": VOCABULARY}, "decoder_start_token_id"),
    ("config.json", {"tie_word_embeddings": False}, "lm_head.weight: it is missing"),
    ("config.json", {"share_encoder_decoder_embeddings": False}, "encoder.embed_tokens.weight: it is missing"),
    ("generation_config.json", {"repetition_penalty": 1.2}, "repetition_penalty is 1.2"),
    ("generation_config.json", {"no_repeat_ngram_size": 3}, "no_repeat_ngram_size is 3"),
    ("generation_config.json", {"forced_bos_token_id": 3}, "forced_bos_token_id is 3"),
    ("generation_config.json", {"bad_words_ids": [[1, 2]]}, "bad_words_ids has words of several tokens"),
    ("generation_config.json", {"bad_words_ids": [[1 << 40]]}, "bad_words_ids: found id 1099511627776"),
    ("generation_config.json", {"early_stopping": "never"}, "early_stopping is \"never\""),
    ("generation_config.json", {"do_sample": True}, "do_sample is true"),
    ("generation_config.json", {"eos_token_id": 5}, "eos_token_id is 5"),
    ("tokenizer_config.json", {"separate_vocabs": True}, "separate_vocabs"),
    ("tokenizer_config.json", {"sp_model_kwargs": {"alpha": 0.1}}, "sp_model_kwargs"),
    ("tokenizer_config.json", {"unk_token": "[UNK]"}, "the token [UNK] is missing"),
    ("tokenizer_config.json", {"eos_token": "<unk>"}, "eos_token_id is 0 and the eos_token is token 1"),
    ("vocab.json", {"one more": VOCABULARY}, "found id 400"),
    ("vocab.json", {"again": 3}, "found id 3"),
]


@pytest.mark.parametrize("file, change, message", HF_OPTIONS, ids=[o[2][:30] for o in HF_OPTIONS])
def test_hf_options(file, change, message, model, tmp_path):
    marian.write_hf(tmp_path / "in", *model)
    edit_json(tmp_path / "in" / file, lambda d: d.update(change))
    refused(tmp_path / "in", str(tmp_path / "in"), message)


def test_options_are_refused_together(model, tmp_path):
    marian.write_hf(tmp_path / "in", *model)
    edit_json(tmp_path / "in/config.json", lambda d: d.update(normalize_embedding=True))
    edit_json(tmp_path / "in/generation_config.json", lambda d: d.update(do_sample=True, min_length=5))
    edit_json(tmp_path / "in/tokenizer_config.json", lambda d: d.update(separate_vocabs=True))
    refused(tmp_path / "in", "normalize_embedding", "do_sample", "min_length", "separate_vocabs")


MARIAN_OPTIONS = [
    ({"type": "amun"}, "type is amun, expected transformer"),
    ({"transformer-decoder-autoreg": "average-attention"}, "transformer-decoder-autoreg"),
    ({"transformer-ffn-activation": "gelu"}, "transformer-ffn-activation is gelu"),
    ({"transformer-ffn-depth": 3}, "transformer-ffn-depth is 3"),
    ({"transformer-no-projection": True}, "transformer-no-projection"),
    ({"transformer-postprocess": "dhn"}, "'', dhn and ''"),
    ({"transformer-preprocess": "n"}, "n, dan and ''"),
    ({"transformer-postprocess-emb": "nd"}, "transformer-postprocess-emb is nd"),
    ({"transformer-train-position-embeddings": True}, "transformer-train-position-embeddings"),
    ({"transformer-tied-layers": [1, 1]}, "transformer-tied-layers"),
    ({"input-types": ["sequence", "class"]}, "input-types has class"),
    ({"right-left": True}, "right-left"),
    ({"lemma-dim-emb": 64}, "lemma-dim-emb is 64"),
    ({"dim-emb": None}, "dim-emb: it is missing"),
    ({"transformer-heads": "many"}, "transformer-heads: found \"many\""),
    ({"tied-embeddings-all": False, "tied-embeddings": False}, "decoder_ff_logit_out_W: it is missing"),
    ({"tied-embeddings-all": False, "tied-embeddings-src": False}, "decoder_Wemb: it is missing"),
]


@pytest.mark.parametrize("options, message", MARIAN_OPTIONS, ids=[o[1][:30] for o in MARIAN_OPTIONS])
def test_marian_options(options, message, model, tmp_path):
    marian.write_marian(tmp_path / "in", *model, options=options)
    refused(tmp_path / "in", str(tmp_path / "in"), message)


DECODER_OPTIONS = [
    ({"models": ["a.npz", "b.npz"]}, "ensembles"), ({"models": ["../a.npz"]}, "without a folder"),
    ({"models": []}, "models: found 0"), ({"vocabs": ["a.spm", "a.spm"]}, "a.spm"),
    ({"vocabs": ["/etc/passwd"] * 2}, "without a folder"), ({"word-penalty": 0.5}, "word-penalty is 0.5"),
    ({"shortlist": ["lex.gz", 50]}, "shortlist"), ({"output-sampling": ["topk"]}, "output-sampling"),
    ({"beam-size": 0}, "num_beams: found 0"), ({"normalize": "much"}, "normalize: found \"much\""),
]


@pytest.mark.parametrize("options, message", DECODER_OPTIONS, ids=[o[1] for o in DECODER_OPTIONS])
def test_decoder_options(options, message, model, tmp_path):
    marian.write_marian(tmp_path / "in", *model)
    path = tmp_path / "in" / "decoder.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **options}))
    refused(tmp_path / "in", message)


def test_vocabularies_that_differ(model, tmp_path):
    marian.write_marian(tmp_path / "in", *model)
    content = (tmp_path / "in" / VOCABULARY_FILE).read_text()
    (tmp_path / "in" / "target.vocab.yml").write_text(content.replace("filler7\"", "filler seven\""))
    decoder = tmp_path / "in" / "decoder.yml"
    decoder.write_text(yaml.safe_dump({**yaml.safe_load(decoder.read_text()),
                                       "vocabs": [VOCABULARY_FILE, "target.vocab.yml"]}))
    refused(tmp_path / "in", "opus.spm32k-spm32k.vocab.yml and target.vocab.yml differ")


BAD_YAML = [
    (b"a: 0\nb: 2\n", "token \"b\": found id \"2\""), (b"a: 0\nb: 0\n", "token \"b\""), (b"a: 0\na: 1\n", "\"a\" twice"),
    (b"a: 0\nb: one\n", "found id \"one\""), (b"a: 0\nb: -1\n", "found id \"-1\""), (b"", "is empty"), (b"a", "no tokens"),
    (b"a: &x 0\nb: *x\n", "alias"), (b"[a]: 0\n", "a key that is no text"), (b"a: 0\n  b: 1\n", "line 2"),
    (b"x: 0\n\"a: 1", "illegal EOF"), (b"a: 0\n---\nb: 1\n", "two documents"), (b"[" * 100_000, "YAML"),
    (b"{a: " * 100_000, "YAML"), (b"a: " + b"[" * 100_000, "YAML"), (b"- " * 100_000, "nesting"), (b"\xff\xfe\xff", "vocab"), (b"</s>: 0\n<unk>: 1\n", "expected [3, 32]"),
]


@pytest.mark.parametrize("content, message", BAD_YAML, ids=range(len(BAD_YAML)))
def test_bad_vocabulary(content, message, model, tmp_path):
    marian.write_marian(tmp_path / "in", *model)
    (tmp_path / "in" / VOCABULARY_FILE).write_bytes(content)
    refused(tmp_path / "in", message)


@pytest.mark.parametrize("layout, name", [
    ("safetensors", n) for n in ("vocab.json", "source.spm", "target.spm", "model.safetensors")] + [
    ("marian", n) for n in ("source.spm", "target.spm", MARIAN_FILE, VOCABULARY_FILE)])
def test_missing_or_cut_files(layout, name, model, tmp_path):
    LAYOUTS[layout](tmp_path / "in", *model)
    path = tmp_path / "in" / name
    content = path.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 1):
        if name.endswith((".json", ".yml", ".spm", ".safetensors", ".npz")):
            path.write_bytes(content[:size])
            if not (name.endswith(".yml") and size == len(content) - 1):  # only the last newline is gone
                refused(tmp_path / "in", str(tmp_path / "in"))
    path.write_bytes(b"")
    refused(tmp_path / "in", name)
    path.unlink()
    refused(tmp_path / "in", name)


def test_bpe_codes(model, tmp_path):
    marian.write_marian(tmp_path / "in", *model)
    (tmp_path / "in" / "source.spm").rename(tmp_path / "in" / "source.bpe")
    refused(tmp_path / "in", "found source.bpe, expected source.spm")


@pytest.mark.parametrize("change, message", [
    (lambda a: a.update(Wpos=np.ones((512, 32), np.float32)), "array Wpos"),
    (lambda a: a.update(encoder_emb_ln_scale_pre=np.ones((1, 32), np.float32)), "array encoder_emb_ln_scale_pre"),
    (lambda a: a.pop("encoder_l1_self_Wq"), "enc.blk.0.attn_q.weight: it is missing"),
    (lambda a: a.pop("special:model.yml"), "array special:model.yml: it is missing"),
    (lambda a: a.pop("Wemb"), "token_embd.weight: it is missing"),
    (lambda a: a.update(Wemb=a["Wemb"].astype(np.float64)), "found '<f8'"),
    (lambda a: a.update(Wemb=a["Wemb"].astype(">f4")), "found '>f4'"),
    (lambda a: a.update(Wemb=a["Wemb"].reshape(-1)), "found 1 dimensions"),
    (lambda a: a.update(Wemb=a["Wemb"][:, :0]), "found 2 dimensions and 0 bytes"),
    (lambda a: a.update(Wemb=a["Wemb"][:-1]), "expected [400, 32]"),
    (lambda a: a.update(Wemb=np.array([{}], object)), "found '|O'"),
    (lambda a: a.update({"encoder_l0_self_Wq": a["Wemb"]}), "encoder_l0_self_Wq"),
    (lambda a: a.update({"special:model.yml": a["Wemb"]}), "expected bytes"),
])
def test_bad_arrays(change, message, model, tmp_path):
    marian.write_marian(tmp_path / "in", *model)
    path = tmp_path / "in" / MARIAN_FILE
    arrays = dict(np.load(path))
    change(arrays)
    np.savez(path, **arrays)
    refused(tmp_path / "in", message)


@pytest.mark.parametrize("header, message", [
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9), }", "overflows"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "shape: expected integers of at least 0"),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }", "expected 36"),
    ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "a structure"),
    ("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", "True or False"),
    ("{'descr': '<f4', 'fortran_order': False, }", "expected descr, fortran_order and shape"),
    ("{'descr': '<f4'", "expected '}'"), ("__import__('os')", "expected '{'"),
])
def test_bad_array_headers(header, message, model, tmp_path):
    marian.write_marian(tmp_path / "in", *model)
    with zipfile.ZipFile(tmp_path / "in" / MARIAN_FILE, "a") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + b"1234")
    refused(tmp_path / "in", "array x", message)


# Pickles that ask for more than tensors.

class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile_pickles():
    yield "os.system", pickle.dumps(Call(__import__("os").system, "touch owned"), 2), "posix.system"
    yield "eval", pickle.dumps(Call(eval, "1"), 4), "builtins.eval"
    yield "numpy", pickle.dumps(np.zeros(3), 2), "numpy"
    yield "object", pickle.dumps(pathlib.PurePosixPath("x"), 2), "pathlib.PurePosixPath"
    yield "torch.load", b"\x80\x02ctorch\nload\n.", "torch.load"
    yield "from_bytes", b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"
    yield "stack_global", b"\x80\x04\x8c\x05torch\x8c\x04load\x93.", "torch.load"
    yield "inst", b"\x80\x02(ios\nsystem\n.", "opcode INST"
    yield "obj", b"\x80\x02(ctorch\nFloatStorage\no.", "opcode OBJ"
    yield "newobj", b"\x80\x02ccollections\nOrderedDict\n)\x81.", "opcode NEWOBJ"
    yield "ext1", b"\x80\x02\x82\x01.", "opcode EXT1"
    yield "unknown", b"\x80\x02\xff.", "opcode 0xff"
    yield "storage_called", b"\x80\x02ctorch\nFloatStorage\n)R.", "a call of FloatStorage"
    yield "dict_with_items", b"\x80\x02ccollections\nOrderedDict\n]\x85R.", "a call of OrderedDict"
    yield "build_of_a_class", b"\x80\x02ctorch\nFloatStorage\n}b.", "BUILD: found a class"
    yield "protocol", b"\x80\x07.", "PROTO: found 7"
    yield "no_dict", b"\x80\x02]\x2e", "found a list, expected a dict"
    yield "no_tensor", b"\x80\x02}X\x01\0\0\0aK\x01s.", "tensor a: found an integer"
    yield "twice", b"\x80\x02}X\x01\0\0\0aNX\x01\0\0\0aN\x30\x30ss.", "stack"
    yield "persid", b"\x80\x02}X\x01\0\0\0aK\x01Qs.", "BINPERSID: found an integer"
    yield "empty_stack", b"\x80\x02.", "empty stack"
    yield "no_mark", b"\x80\x02t.", "no mark"
    yield "unknown_memo", b"\x80\x02h\x05.", "nothing was put at 5"
    yield "cut", b"\x80\x02}X\xff\xff\xff\x7fa", "end of the file"
    yield "no_end", b"\x80\x02}", "end of the file"
    yield "long", b"\x80\x02\x8a\xff" + b"\1" * 255 + b".", "LONG1"
    yield "itself", b"\x80\x02]q\0h\0a.", "found a list, expected a dict"
    yield "many_values", b"\x80\x02(" + b"N" * 2_000_000 + b"t.", "more than 1000000 values"
    yield "many_marks", b"\x80\x02" + b"(" * 2_000_000 + b"t.", "MARK: found more than 1000000"
    yield "many_gets", b"\x80\x02Nq\0" + b"h\0" * 2_000_000 + b".", "more than 1000000"


HOSTILE = list(hostile_pickles())


@pytest.mark.parametrize("data, message", [h[1:] for h in HOSTILE], ids=[h[0] for h in HOSTILE])
@pytest.mark.parametrize("legacy", [False, True])
def test_hostile_pickles(data, message, legacy, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = torch_model(tmp_path, model, lambda state: None)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("archive/data.pkl", data)
    head = b"".join(pickle.dumps(value, 2) for value in (0x1950a86a20f9469cfc6c, 1001, {"little_endian": True}))
    (folder / "pytorch_model.bin").write_bytes(
        head + data + pickle.dumps([], 2) if legacy else archive.getvalue())
    if message == "end of the file" and legacy:
        message = "pickle"  # what follows is read as a part of it
    refused(folder, "pytorch_model.bin", message)
    assert not (tmp_path / "owned").exists()


F = np.arange(12, dtype=np.float32)
NAME = "model.encoder.layers.0.fc1.bias"
BAD_TENSORS = [
    (marian.TorchTensor(F, (13,), (1,)), "outside of its storage of 12"), (marian.TorchTensor(F, (2,), (12,)), "outside"),
    (marian.TorchTensor(F, (2,), (1,), offset=11), "outside"), (marian.TorchTensor(F, (2,), (1,), offset=-1), "outside"),
    (marian.TorchTensor(F, (1 << 40,), (0,)), "an expanded view"), (marian.TorchTensor(F, (-1,), (1,)), "found -1"),
    (marian.TorchTensor(F, (1 << 40, 1 << 40), (1, 1)), "overflows"), (marian.TorchTensor(F, (2, 2), (1,)), "strides: found 1"),
    (marian.TorchTensor(F, (2,), (1 << 62,)), "outside"), (marian.TorchTensor(F, (1,) * 17, (1,) * 17), "17 dimensions"),
    (marian.TorchTensor(F.astype(np.int64), (12,), (1,)), "dtype: found int64"),
    (marian.TorchTensor(F.astype(bool), (12,), (1,)), "dtype: found bool"),
    (marian.TorchTensor(F, (0,), (1,)), "no elements"),
    (marian.TorchTensor(F, (12,), (1,)), "expected [64]"),
]


@pytest.mark.parametrize("tensor, message", BAD_TENSORS, ids=[b[1] + str(i) for i, b in enumerate(BAD_TENSORS)])
@pytest.mark.parametrize("write", [marian.torch_zip, marian.torch_legacy])
def test_bad_tensors(tensor, message, write, model, tmp_path):
    folder = torch_model(tmp_path, model, lambda state: state.update({NAME: tensor}), write)
    refused(folder, NAME, message)


@pytest.mark.parametrize("change, message", [
    (lambda s: s.update({"model.encoder.layers.0.fc3.bias": F}), "fc3.bias"),
    (lambda s: s.update({"model.encoder.embed_positions.weight": np.ones((512, 32), np.float32)}), "sinusoidal"),
    (lambda s: s.update({"lm_head.weight": 2 * s["model.shared.weight"]}), "different values"),
    (lambda s: s.pop(NAME), "enc.blk.0.ffn_up.bias: it is missing"),
])
def test_bad_states(change, message, model, tmp_path):
    refused(torch_model(tmp_path, model, change), message)


@pytest.mark.parametrize("write", [marian.torch_zip, marian.torch_legacy])
def test_damaged_torch_files(write, model, tmp_path):
    folder = torch_model(tmp_path, model, lambda state: None, write)
    path = folder / "pytorch_model.bin"
    content = path.read_bytes()
    for size in (3, 14, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        refused(folder, "pytorch_model.bin")
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(content), 20):  # read or refused, never a crash
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1:])
        try:
            convert(folder, tmp_path / "out.gguf")
        except RuntimeError as error:
            assert str(error)


def test_archives_that_are_traps(model, tmp_path):
    path = tmp_path / "m.zip"

    def archive(*members, compression=zipfile.ZIP_DEFLATED):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of zipfile, about names twice
            with zipfile.ZipFile(path, "w", compression) as out:
                for name, content in members:
                    out.writestr(name, content)

    archive(("bomb.npz", b"\0" * (64 << 20)), ("config.json", "{}"))
    refused(path, str(path), "bomb.npz")
    archive(("config.json", "{}"), ("config.json", "{}"))
    refused(path, "config.json twice")
    archive(("../config.json", "{}"), ("/config.json", "{}"), ("a\\b", "x"))
    refused(path, "neither config.json nor decoder.yml")
    archive()
    refused(path, str(path))
    marian.write_hf(tmp_path / "in", *model)
    marian.zip_folder(tmp_path / "in", path)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-10])
    refused(path, str(path))
    content[len(content) // 2] ^= 0xff  # the checksum finds it
    path.write_bytes(content)
    refused(path, str(path), "ZIP archive: member")


def test_temporary_folders_are_gone(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    marian.write_hf(tmp_path / "in", *model)
    marian.zip_folder(tmp_path / "in", tmp_path / "m.zip")
    convert(tmp_path / "m.zip", tmp_path / "out.gguf")
    (tmp_path / "in" / "vocab.json").write_text("{")
    marian.zip_folder(tmp_path / "in", tmp_path / "m.zip")
    refused(tmp_path / "m.zip", "m.zip/vocab.json")
    assert list((tmp_path / "tmp").iterdir()) == []
