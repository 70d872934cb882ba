"""Token ids against the Python packages tokenizers and sentencepiece, on real vocabularies."""
import io
import pathlib
import random

import pytest
from support import Tool, llama_cpp_models, models_folder

gguf = pytest.importorskip("gguf")
tokenizers = pytest.importorskip("tokenizers")
sentencepiece = pytest.importorskip("sentencepiece")
from sentencepiece import sentencepiece_model_pb2 as proto  # noqa: E402

# One range of letters for each script, all in Unicode 14 (which PCRE2 10.42 knows).
SCRIPTS = [(0x41, 0x7A), (0xC0, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x556), (0x5D0, 0x5EA), (0x620, 0x6FF), (0x710, 0x72F), (0x780, 0x7B1), (0x7CA, 0x7EA), (0x904, 0x97F),
           (0x985, 0x9B9), (0xA05, 0xA39), (0xA85, 0xAB9), (0xB05, 0xB39), (0xB85, 0xBB9), (0xC05, 0xC39), (0xC85, 0xCB9), (0xD05, 0xD3A), (0xD85, 0xDC6), (0xE01, 0xE5B), (0xE81, 0xEDD), (0xF40, 0xFBC),
           (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x1248), (0x13A0, 0x13F5), (0x1401, 0x167F), (0x1681, 0x169A), (0x16A0, 0x16F0), (0x1780, 0x17DD), (0x1820, 0x1878), (0x1E00, 0x1EFF),
           (0x2000, 0x206F), (0x2070, 0x209C), (0x20A0, 0x20C0), (0x2100, 0x218B), (0x2190, 0x23FF), (0x2500, 0x27BF), (0x2C80, 0x2CF3), (0x2D30, 0x2D67), (0x3000, 0x303F), (0x3041, 0x3096), (0x30A0, 0x30FF),
           (0x3105, 0x312F), (0x3400, 0x3480), (0x4E00, 0x9FFC), (0xA000, 0xA48C), (0xAC00, 0xD7A3), (0xFB00, 0xFB06), (0xFE70, 0xFEFC), (0xFF01, 0xFFEE), (0x10300, 0x10323), (0x10400, 0x1044F), (0x12000, 0x12399),
           (0x13000, 0x1342E), (0x1D400, 0x1D454), (0x1E900, 0x1E943), (0x1F300, 0x1F64F), (0x20000, 0x20100)]

WRITTEN = ["", " ", "  ", "\n", "\n\n \n", "\t", "a", " a", "a ", "Hello, world!", "don't I'll WE'VE it'S", "'ſ 'S", "1234567890 12 3.14 ²³ ½ ٣٤ Ⅻ", "x = [i**2 for i in range(10)]  # comment\n\tif x:\n\t\tpass\n",
           "#include <stdio.h>\r\nint main() { return 0; }\r\n", "👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪 ❤️", "e\u0301 a\u0308 \u1112\u1161\u11ab ﬁ Å", "\u00a0\u2003\u3000\u200b\u200d\ufeff\u180e\u0085\u2028x", "\x00\x01\x1f\x7f\x80", "a" * 5000, "ab" * 3000 + "c",
           " " * 1000 + "x", "\n" * 500, "日本語" * 500, "=" * 300 + "\n", "camelCaseHTTPServer XMLHttpRequest", "<s></s><unk><0x41>", "▁▁ under ▁x", "😀" * 200, "_a__b ...!!!???", "\r\n\r\n \r", "مرحبا بالعالم", "Ω≈ç√∫˜µ≤≥÷"]


def corpus():
    rng = random.Random(7)
    texts = list(WRITTEN)
    for low, high in SCRIPTS:
        for _ in range(3):
            word = lambda: "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8)))
            texts.append(rng.choice(["", " "]) + rng.choice([" ", "  ", "\n", ", "]).join(word() for _ in range(rng.randint(1, 8))))
    pieces = WRITTEN[9:16] + [" ", "  ", "\n", "'s", "7", "ß", "你", "🙂", "\t", ".", "A", "xyz", "\u0301"]
    for _ in range(200):
        texts.append("".join(rng.choice(pieces) for _ in range(rng.randint(1, 12))))
    return texts


TEXTS = corpus()


def fields(path):
    return {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items() if key.startswith("tokenizer.")}


def space_class(pattern):
    return tokenizers.Regex(pattern)


# The pipelines of the families' tokenizer.json files, each as its authors published it.
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def family(pre):
    """Normalizer, pre-tokenizer, ignore_merges."""
    p = tokenizers.pre_tokenizers
    byte_level = p.ByteLevel(add_prefix_space=False, use_regex=False)
    gpt2 = p.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre in ("gpt-2", "default", "mpt"):
        return None, gpt2, False
    if pre in ("smollm", "starcoder", "refact"):
        return None, p.Sequence([p.Digits(individual_digits=True), gpt2]), False
    if pre == "llama-bpe":
        return None, p.Sequence([p.Split(space_class(LLAMA3), "isolated"), byte_level]), True
    if pre == "qwen2":
        return tokenizers.normalizers.NFC(), p.Sequence([p.Split(space_class(QWEN2), "isolated"), byte_level]), False
    return None


def reference_bpe(data):
    normalizer, pre_tokenizer, ignore_merges = family(data.get("tokenizer.ggml.pre", "default"))
    types = data["tokenizer.ggml.token_type"]
    tokens = data["tokenizer.ggml.tokens"]
    model = tokenizers.models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=[tuple(m.split(" ")) for m in data["tokenizer.ggml.merges"]], ignore_merges=ignore_merges)
    result = tokenizers.Tokenizer(model)
    if normalizer:
        result.normalizer = normalizer
    result.pre_tokenizer = pre_tokenizer
    result.add_tokens([tokenizers.AddedToken(t, normalized=False) for t, kind in zip(tokens, types) if kind == 4])
    return result


def reference_sentencepiece(data):
    model = proto.ModelProto()
    unigram = data["tokenizer.ggml.model"] == "t5"
    for text, score, kind in zip(data["tokenizer.ggml.tokens"], data["tokenizer.ggml.scores"], data["tokenizer.ggml.token_type"]):
        piece = model.pieces.add()
        piece.piece, piece.score, piece.type = text.replace(" ", "▁") if kind in (1, 4) else text, score, kind
    unk = data.get("tokenizer.ggml.unknown_token_id", 2 if unigram else 0)
    for i, piece in enumerate(model.pieces):  # sentencepiece knows one unknown token only
        piece.type = 2 if i == unk else 3 if piece.type == 2 else piece.type
    spec = model.trainer_spec
    spec.model_type = 1 if unigram else 2
    spec.vocab_size, spec.unk_id = len(model.pieces), unk
    spec.bos_id = spec.eos_id = spec.pad_id = -1
    spec.unk_piece = model.pieces[unk].piece
    spec.byte_fallback = any(p.type == 6 for p in model.pieces)
    normal = model.normalizer_spec
    normal.name = "identity"
    normal.add_dummy_prefix = data.get("tokenizer.ggml.add_space_prefix", True)
    normal.remove_extra_whitespaces = data.get("tokenizer.ggml.remove_extra_whitespaces", False)
    if "tokenizer.ggml.precompiled_charsmap" in data:
        normal.precompiled_charsmap = bytes(b & 255 for b in data["tokenizer.ggml.precompiled_charsmap"])
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


@pytest.fixture(scope="module")
def tool():
    return Tool()


def model_path(name):
    if name.startswith("ggml-vocab"):
        return llama_cpp_models() / name
    folder = models_folder()
    found = sorted(folder.glob(f"{name}*.gguf")) if folder else []
    if not found:
        pytest.skip(f"OUTBOARD_MODELS has no {name}")
    return found[0]


def compare(tool, reference_ids, texts):
    wrong = [(text[:60], tool.ids(text)[:12], reference_ids(text)[:12]) for text in texts if tool.ids(text) != reference_ids(text)]
    assert not wrong, f"{len(wrong)} of {len(texts)}; first: " + "\n".join(map(str, wrong[:6]))


@pytest.mark.parametrize("name", ["smollm2", "ggml-vocab-gpt-2.gguf", "ggml-vocab-llama-bpe.gguf", "ggml-vocab-qwen2.gguf", "ggml-vocab-starcoder.gguf"])
def test_byte_level_bpe(tool, name):
    path = model_path(name)
    data = fields(path)
    assert "error" not in tool("load", gguf=str(path))
    reference = reference_bpe(data)
    compare(tool, lambda text: reference.encode(text, add_special_tokens=False).ids, TEXTS)


@pytest.mark.parametrize("name", ["gemma3-270m", "ggml-vocab-llama-spm.gguf", "ggml-vocab-phi-3.gguf", "ggml-vocab-nomic-bert-moe.gguf"])
def test_sentencepiece(tool, name):
    path = model_path(name)
    data = fields(path)
    assert "error" not in tool("load", gguf=str(path))
    reference = reference_sentencepiece(data)
    compare(tool, reference.encode, TEXTS)
    # Bytes that are no UTF-8 count as U+FFFD, as here.
    bad = [b"\xff", b"a\xc3", b"\xe2\x82 b", b"\xf0\x9f\x99", b"x\xed\xa0\x80y", b"\xc0\x80", b"\x80\x80 ok \xfe"]
    compare(tool, reference.encode, bad)


@pytest.mark.parametrize("name", ["ggml-vocab-" + n + ".gguf" for n in ("command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "gpt-2", "llama-bpe", "llama-spm", "mpt", "phi-3", "qwen2", "qwen35", "refact", "starcoder")])
def test_recorded_ids(tool, name):
    """Texts and ids that llama.cpp keeps beside each vocabulary, from the original tokenizers."""
    path = model_path(name)
    assert "error" not in tool("load", gguf=str(path))
    texts = pathlib.Path(f"{path}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    wanted = [[int(i) for i in line.split()] for line in pathlib.Path(f"{path}.out").read_text().split("\n")]
    wrong = [(text[:60], ids) for text, ids in zip(texts, wanted) if tool.ids(text) != ids]
    assert not wrong, wrong[:4]


def test_a_missing_pre_tokenizer_is_recognised(tool):
    """Files of before May 2024 name none, or "default": GPT-2's rule, which was wrong for most (llama.cpp 7476)."""
    for name in ("gpt-2", "llama-bpe", "qwen2", "qwen35", "starcoder", "falcon", "deepseek-llm", "deepseek-coder", "command-r"):
        data = fields(model_path(f"ggml-vocab-{name}.gguf"))
        own = data.pop("tokenizer.ggml.pre")
        reference = reference_bpe({**data, "tokenizer.ggml.pre": own}) if own in ("gpt-2", "llama-bpe", "qwen2", "starcoder") else None
        # Qwen 3.5 took over Qwen 2's vocabulary, byte for byte: a file that names no rule is the older one's.
        tool("load", gguf=str(model_path(f"ggml-vocab-{'qwen2' if name == 'qwen35' else name}.gguf")))
        ids = [tool.ids(text) for text in WRITTEN]
        for pre in (None, "default") if name in ("gpt-2", "qwen2") else (None,):
            answer = tool("load", metadata={**data, **({"tokenizer.ggml.pre": pre} if pre else {})})
            assert [tool.ids(text) for text in WRITTEN] == ids, (name, pre)
            if reference and not pre:
                compare(tool, lambda text: reference.encode(text, add_special_tokens=False).ids, WRITTEN)
            if name == "gpt-2" and pre:
                assert answer["notes"] == []  # what "default" means
            else:
                said = "says only" if pre else "is missing"
                assert len(answer["notes"]) == 1 and said in answer["notes"][0] and "words of" in answer["notes"][0], answer
    few = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a", "b", "ab"], "tokenizer.ggml.merges": ["a b"]}
    assert "does not tell" in tool("load", metadata=few)["notes"][0]


def test_markers_that_are_typed_as_text(tool):
    """The template writes them; the model was taught them as one token each, not as letters."""
    for name in ("qwen2", "phi-3"):
        data = fields(model_path(f"ggml-vocab-{name}.gguf"))
        assert tool("load", metadata=data)["notes"] == []
        types, tokens = list(data["tokenizer.ggml.token_type"]), data["tokenizer.ggml.tokens"]
        end = {"qwen2": "<|im_end|>", "phi-3": "<|end|>"}[name]
        text = f"Hello {end}\nthere"
        want = tool("encode", text=text, parse_special=True)["ids"]
        chat = data.get("tokenizer.chat_template") or "{{ messages[0].content }}" + end
        assert end in chat
        types[tokens.index(end)] = 1
        answer = tool("load", metadata={**data, "tokenizer.ggml.token_type": types, "tokenizer.chat_template": chat})
        assert len(answer["notes"]) == 1 and end in answer["notes"][0], answer
        assert tool("encode", text=text, parse_special=True)["ids"] == want
        assert tokens.index(end) not in tool("encode", text=text, parse_special=False)["ids"]


def test_markers_added_to_a_sentencepiece_vocabulary(tool):
    """ChatML's in a Llama 2 vocabulary: the word behind one begins as behind any other (llama.cpp 7049)."""
    data = fields(model_path("ggml-vocab-llama-spm.gguf"))
    tokens, scores, types = (list(data[f"tokenizer.ggml.{key}"]) for key in ("tokens", "scores", "token_type"))
    vocabulary = {token: i for i, token in enumerate(tokens)}
    merges = sorted(((score, token[:i], token[i:]) for token, score, kind in zip(tokens, scores, types) if kind == 1 for i in range(1, len(token)) if token[:i] in vocabulary and token[i:] in vocabulary),
                    key=lambda merge: -merge[0])
    reference = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[merge[1:] for merge in merges], byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    reference.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.Prepend("▁"), tokenizers.normalizers.Replace(" ", "▁")])
    reference.add_special_tokens([tokenizers.AddedToken(token, normalized=False) for token in ("<s>", "</s>", "<|im_end|>")])
    reference.add_tokens([tokenizers.AddedToken("<|im_start|>", normalized=False)])
    chat = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    for kind in (4, 3, 1):
        answer = tool("load", metadata={**data, "tokenizer.ggml.tokens": tokens + ["<|im_end|>", "<|im_start|>"], "tokenizer.ggml.scores": scores + [-1000.0] * 2,
                                        "tokenizer.ggml.token_type": types + [3, kind], "tokenizer.ggml.eos_token_id": 32000, "tokenizer.chat_template": chat})
        assert len(answer["notes"]) == (1 if kind == 1 else 0), answer
        for text in ("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>", "a<|im_start|>b", "<|im_start|> user"):
            want = reference.encode(text, add_special_tokens=False).ids
            assert tool("encode", text=text, parse_special=True)["ids"] == want, (kind, text)


def test_trained_unigram_and_bpe(tool, tmp_path):
    lines = [t for t in TEXTS if t.strip()] + ["the quick brown fox jumps over the lazy dog"] * 20
    for kind in ("unigram", "bpe"):
        for fallback in (True, False):
            buffer = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=buffer, vocab_size=2600, model_type=kind, byte_fallback=fallback, character_coverage=0.98,
                                                     user_defined_symbols=["quick", "<x>"], hard_vocab_limit=False, minloglevel=2, max_sentence_length=20000)
            model = proto.ModelProto.FromString(buffer.getvalue())
            metadata = {"tokenizer.ggml.model": "t5" if kind == "unigram" else "llama", "tokenizer.ggml.tokens": [p.piece for p in model.pieces], "tokenizer.ggml.scores": [p.score for p in model.pieces],
                        "tokenizer.ggml.token_type": [p.type for p in model.pieces], "tokenizer.ggml.unknown_token_id": model.trainer_spec.unk_id, "tokenizer.ggml.remove_extra_whitespaces": True,
                        "tokenizer.ggml.precompiled_charsmap": list(model.normalizer_spec.precompiled_charsmap)}
            assert "error" not in tool("load", metadata=metadata)
            reference = sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())
            compare(tool, reference.encode, TEXTS + ["quickquick <x>the<x>", "  many   spaces  "])


def test_bytes_come_back(tool):
    path = model_path("ggml-vocab-gpt-2.gguf")
    tool("load", gguf=str(path))
    rng = random.Random(3)
    for text in [t.encode() for t in TEXTS] + [rng.randbytes(rng.randint(1, 60)) for _ in range(200)]:
        assert bytes.fromhex(tool("decode", ids=tool.ids(text))["hex"]) == text


def test_streaming_never_breaks_a_character(tool):
    tool("load", gguf=str(model_path("ggml-vocab-gpt-2.gguf")))
    for text in TEXTS:
        parts = tool("stream", ids=tool.ids(text))["parts"]
        assert "".join(parts) == text and "\ufffd" not in "".join(parts).replace("\ufffd", "", text.count("\ufffd"))
    # The end of a character is missing: one replacement character, at the end.
    assert "".join(tool("stream", ids=tool.ids(b"ab\xf0\x9f"))["parts"]) == "ab\ufffd"


def test_speed(tool):
    """A megabyte without a space must not take quadratic time."""
    for name in ("ggml-vocab-llama-bpe.gguf", "ggml-vocab-llama-spm.gguf"):
        tool("load", gguf=str(model_path(name)))
        for text in ("ab" * 500_000, "a" * 1_000_000, " " * 1_000_000 + "x"):
            assert tool("encode", text=text)["milliseconds"] < 5000


@pytest.mark.parametrize("change,named", [
    ({"tokenizer.ggml.merges": None}, "without merges"), ({"tokenizer.ggml.tokens": None}, "tokenizer.ggml.tokens"), ({"tokenizer.ggml.pre": "nosuch"}, "llama-bpe"), ({"tokenizer.ggml.model": "rwkv"}, "gpt2, llama, t5 or gemma4"),
    ({"tokenizer.ggml.merges": ["a z"]}, '"z"'), ({"tokenizer.ggml.merges": ["ab"]}, "merges[0]"), ({"tokenizer.ggml.bos_token_id": 99, "tokenizer.ggml.add_bos_token": True}, "bos_token_id"), ({"tokenizer.ggml.token_type": [1]}, "token_type"),
    ({"tokenizer.ggml.token_type": [1, 1, 77]}, "77"), ({"tokenizer.ggml.model": "llama"}, "without scores"), ({"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": [0.5]}, "scores"),
    ({"tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": [0.5, 1.5, 1.5], "tokenizer.ggml.tokens": ["a", "b", "<0x-1>"], "tokenizer.ggml.token_type": [1, 1, 6]}, "<0x-1>"),
])
def test_bad_metadata(tool, change, named):
    metadata = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": ["a", "b", "ab"], "tokenizer.ggml.merges": ["a b"], **change}
    answer = tool("load", metadata={k: v for k, v in metadata.items() if v is not None})
    assert named in answer.get("error", ""), answer
