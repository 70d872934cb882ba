"""Logits that are NaN or infinite, and output matrices with more rows than there are tokens."""
import gguf
import numpy as np
import pytest

import make_model
from support import ALICE, run, run_json

DEVICES = ["cpu", "sim"]
PROMPT = ("--raw", "-p", "the rain")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("not_finite")


def change(path, name, action):
    """Changes a tensor of a file where it lies; what its numbers are then is the action's affair."""
    tensor = next(t for t in gguf.GGUFReader(path, "r+").tensors if t.name == name)
    action(tensor.data)
    tensor.data.flush()


def damaged(folder, name, family, tensor, action, kind="F32"):
    path = folder / f"{name}.gguf"
    make_model.make(family, path, kind)
    change(path, tensor, action)
    return path


def put(*place_and_value):
    *place, value = place_and_value

    def action(data):
        data[tuple(place)] = value
    return action


def scale_of_block(data):
    """Row 9 of a matrix of Q8_0 blocks, which begin with their scale: NaN."""
    data[9, :2] = np.array([np.nan], np.float16).view(np.uint8)


# name: family, tensor, what is done to it, the file's type, what the message says
DAMAGES = {
    "nan": ("llama-small", "blk.1.ffn_down.weight", put(17, 3, np.nan), "F32",
            ["layer 1", "blk.1.ffn_down.weight, row 17, holds NaN", "get it again"]),
    "inf": ("qwen2-small", "blk.2.attn_k.bias", put(5, np.inf), "F32",
            ["layer 2", "blk.2.attn_k.bias, element 5, holds an infinite number"]),
    "half": ("llama-small", "blk.0.attn_v.weight", put(2, 3, np.inf), "F16",
             ["layer 0", "blk.0.attn_v.weight, row 2, holds an infinite number"]),
    "block": ("llama-small", "blk.2.ffn_gate.weight", scale_of_block, "Q8_0",
              ["layer 2", "blk.2.ffn_gate.weight, row 9, holds NaN"]),
    "overflow": ("llama-small", "blk.1.ffn_norm.weight", put(slice(None), 1e38), "F32",
                 ["layer 1", "what goes in is finite", "leave the range of numbers"]),
    "overflow in blocks": ("llama-small", "blk.1.ffn_norm.weight", put(slice(None), 1e38), "Q8_0",
                           ["layer 1", "what goes in is finite", "leave the range of numbers"]),
    "norm in blocks": ("llama-small", "blk.1.attn_norm.weight", put(7, np.nan), "Q8_0",
                       ["layer 1", "blk.1.attn_norm.weight, element 7, holds NaN"]),
    "logits": ("llama-small", "output.weight", put(200, 0, np.nan), "F32",
               ["logits", "output.weight, row 200, holds NaN"]),
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", DAMAGES)
def test_the_message_names_the_place(name, device, folder, tmp_path):
    *how, says = DAMAGES[name]
    path = damaged(folder, name, *how)
    text = tmp_path / "text.txt"
    text.write_bytes(ALICE.read_bytes()[:300])
    commands = {
        "greedy": ("run", path, *PROMPT, "--temp", 0, "-n", 20),
        "sampled": ("run", path, *PROMPT, "--temp", 1, "--seed", 1, "-n", 20),
        "perplexity": ("perplexity", path, "-f", text, "--ctx", 32),
        "logits": ("perplexity", path, "-f", text, "--ctx", 32, "--logits", tmp_path / "logits.npy"),
    }
    for command in commands.values():
        result = run(*command, "--device", device, ok=False)
        assert str(path) in result.err and "are NaN or infinite" in result.err, result.err
        for part in says:
            assert part in result.err, result.err
        assert "computed wrongly" not in result.err, result.err
        assert result.out == ""
    assert not (tmp_path / "logits.npy").exists()


def padded(folder, family, rows, change_padding, kind="F32"):
    """A model, and the same with rows of the output matrix that stand for no token."""
    path = folder / f"{family}-{kind}.gguf"
    make_model.make(family, path, kind)
    reader = gguf.GGUFReader(path)
    more = folder / f"{family}-{kind}-padded.gguf"
    writer = gguf.GGUFWriter(more, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        sub = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub)
    for tensor in reader.tensors:
        data = tensor.data
        if tensor.name in ("output.weight", "token_embd.weight"):
            padding = change_padding(data) if tensor.name == "output.weight" else data
            data = np.concatenate([data, padding[:rows]])
        writer.add_tensor(tensor.name, data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, more


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("padding", ["great", "nan"])
def test_padding_is_never_chosen(padding, device, folder):
    """Rows that win by far (either one of x and -x does), or are NaN: the text is that without them."""
    factor = 50 if padding == "great" else np.nan
    path, more = padded(folder, "llama-small", 52, lambda data: np.concatenate([data[:26], -data[:26]]) * np.float32(factor))
    for options in (("--temp", 0), ("--temp", 5, "--top-k", 0, "--top-p", 1, "--min-p", 0, "--seed", 7),
                    ("--temp", 5, "--seed", 8, "--repeat-penalty", 1.3)):
        arguments = (*PROMPT, "-n", 16, *options, "--device", device)
        want, got = run_json("run", path, *arguments), run_json("run", more, *arguments)
        assert len(want["tokens"]) > 3
        assert got["tokens"] == want["tokens"]
        assert got["text"] == want["text"]


def test_padding_counts_in_perplexity(folder, tmp_path):
    """As in llama.cpp's: the rows are part of the softmax, and of what --logits writes."""
    path, more = padded(folder, "llama-small", 52, lambda data: data[:52])
    files = tmp_path / "without.npy", tmp_path / "with.npy"
    for model, file in zip((path, more), files):
        run("perplexity", model, "-f", ALICE, "--ctx", 32, "--logits", file)
    without, with_ = (np.load(file) for file in files)
    assert with_.shape == (32, without.shape[1] + 52)
    np.testing.assert_allclose(with_[:, : without.shape[1]], without, atol=1e-4)
    assert run_json("perplexity", more, "-f", ALICE, "--ctx", 256)["perplexity"] > \
        run_json("perplexity", path, "-f", ALICE, "--ctx", 256)["perplexity"]


@pytest.mark.parametrize("device", DEVICES)
def test_padding_of_nan_is_an_error_where_all_rows_count(device, folder, tmp_path):
    _, more = padded(folder, "llama-small", 52, lambda data: data[:52] * np.float32(np.nan))
    result = run("perplexity", more, "-f", ALICE, "--ctx", 32, "--logits", tmp_path / "x.npy", "--device", device, ok=False)
    assert "output.weight, row 268, holds NaN" in result.err, result.err
