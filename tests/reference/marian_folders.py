"""Marian models with random weights, written in every layout that `outboard convert` reads.

A model is a config (the keys of Hugging Face's config.json), weights by Hugging Face's names, and a pair of
SentencePiece models with the vocabulary that joins them. Facts: transformers' modeling_marian.py and
convert_marian_to_pytorch.py (names, the pad row), marian-dev (the npz file).
"""
import contextlib
import dataclasses
import io
import json
import pathlib
import pickle as python_pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import sentencepiece
import yaml
from safetensors.numpy import save_file

SOURCE_TEXT = """The small house stands by the river.
We walk to the market every morning.
She reads a long book about the sea.
The children play in the green garden.
He writes letters to his old friend.
Tomorrow the train leaves at seven o'clock.
It rains, but we are not cold.
Where is the nearest station?
They bought bread, cheese and three red apples.
Nobody knows how old that tree is!""".splitlines()
TARGET_TEXT = """La petite maison se trouve près de la rivière.
Nous marchons au marché chaque matin.
Elle lit un long livre sur la mer.
Les enfants jouent dans le jardin vert.
Il écrit des lettres à son vieil ami.
Demain le train part à sept heures.
Il pleut, mais nous n'avons pas froid.
Où est la gare la plus proche ?
Ils ont acheté du pain, du fromage et trois pommes rouges.
Personne ne sait quel âge a cet arbre !""".splitlines()

ACTIVATIONS = {"swish": "swish", "silu": "swish", "relu": "relu", "gelu": "gelu"}  # Hugging Face's name: Marian's


@dataclasses.dataclass
class Tokenizer:
    tokens: list  # by id; the last is <pad>
    source_spm: bytes
    target_spm: bytes


def train_spm(lines, pieces, normalization="nmt_nfkc"):
    """The bytes of a SentencePiece model trained on the lines, unigram as opus-mt's. "identity" makes it small."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=pieces, model_type="unigram",
        character_coverage=1.0, hard_vocab_limit=False, normalization_rule_name=normalization, minloglevel=2)
    return model.getvalue()


def make_tokenizer(vocabulary, source=SOURCE_TEXT, target=TARGET_TEXT, pieces=120, languages=(">>fra<<", ">>deu<<"),
                   normalization="nmt_nfkc"):
    """Two SentencePiece models and one vocabulary of exactly `vocabulary` tokens: </s>, <unk>, the pieces of both
    models, the languages, made-up words to fill it, <pad>."""
    models = [train_spm(lines, pieces, normalization) for lines in (source, target)]
    tokens = ["</s>", "<unk>"]
    for model in models:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        for i in range(processor.get_piece_size()):
            if not (processor.is_control(i) or processor.is_unknown(i)):
                tokens.append(processor.id_to_piece(i))
    tokens = list(dict.fromkeys(tokens + list(languages)))
    # What a YAML file must quote.
    tokens += [t for t in ("\"", "'", "\\", ":", "▁#", "-", "? ", "yes", "null", "~", "1.5", "\u0085", "{", "[", "&a", "*a")
               if t not in tokens]
    if len(tokens) + 1 > vocabulary:
        raise ValueError(f"{vocabulary} tokens are too few: the models and specials have {len(tokens) + 1}")
    tokens += [f"▁filler{i}" for i in range(vocabulary - 1 - len(tokens))] + ["<pad>"]
    return Tokenizer(tokens, *models)


def make_config(vocabulary, width=32, layers=2, decoder_layers=None, heads=4, feed_forward=64,
                normalize_before=False, **more):
    """config.json of a small model as opus-mt's are."""
    return {
        "architectures": ["MarianMTModel"], "model_type": "marian", "is_encoder_decoder": True,
        "vocab_size": vocabulary, "decoder_vocab_size": vocabulary, "d_model": width,
        "encoder_layers": layers, "decoder_layers": decoder_layers or layers,
        "encoder_attention_heads": heads, "decoder_attention_heads": heads,
        "encoder_ffn_dim": feed_forward, "decoder_ffn_dim": feed_forward,
        "activation_function": "swish", "max_position_embeddings": 512, "scale_embedding": True,
        "normalize_before": normalize_before, "normalize_embedding": False,
        "add_final_layer_norm": normalize_before,
        "static_position_embeddings": True, "share_encoder_decoder_embeddings": True,
        "tie_word_embeddings": True, "eos_token_id": 0, "forced_eos_token_id": 0, "bos_token_id": 0,
        "pad_token_id": vocabulary - 1, "decoder_start_token_id": vocabulary - 1,
        "bad_words_ids": [[vocabulary - 1]], "num_beams": 4, "max_length": 512, **more}


def opus_config(vocabulary=65001, **more):
    """The shape of all opus-mt models; vocabularies have 58,101 to 65,001 tokens."""
    return make_config(vocabulary, width=512, layers=6, heads=8, feed_forward=2048, **more)


def generation_config(config):
    """generation_config.json as transformers writes it for opus-mt."""
    return {"bad_words_ids": config["bad_words_ids"], "bos_token_id": 0,
            "decoder_start_token_id": config["decoder_start_token_id"], "eos_token_id": config["eos_token_id"],
            "forced_eos_token_id": config["forced_eos_token_id"], "max_length": config["max_length"],
            "num_beams": config["num_beams"], "pad_token_id": config["pad_token_id"], "renormalize_logits": True}


def random_weights(config, seed, sharpness=6.0, eos_bias=12.0):
    """Float32 weights by Hugging Face's names, those of shared parameters once (model.shared.weight, or each side's
    embed_tokens and lm_head where the config does not share them).

    Scaled so that outputs depend on the whole input: sublayers are as large as what they are added to, attention is
    peaked, logits have a standard deviation of `sharpness`, and </s> gets `eos_bias` so that sentences end."""
    rng = np.random.default_rng(seed)
    width, vocabulary = config["d_model"], config["vocab_size"]

    def normal(*shape, std=1.0):
        return (rng.standard_normal(shape, np.float32) * np.float32(std)).astype(np.float32)

    weights = {}

    def linear(name, outputs, inputs, gain=1.0):
        weights[name + ".weight"] = normal(outputs, inputs, std=gain / np.sqrt(inputs))
        weights[name + ".bias"] = normal(outputs, std=0.1)

    def norm(name, scale=1.0):
        weights[name + ".weight"] = np.float32(scale) * (1 + normal(width, std=0.1))
        weights[name + ".bias"] = normal(width, std=0.1)

    def attention(name):
        for part, gain in (("q", 2.0), ("k", 2.0), ("v", 1.5), ("out", 1.5)):
            linear(f"{name}.{part}_proj", width, width, gain)

    def embedding(name):
        weights[name] = normal(vocabulary, width, std=1 / np.sqrt(width))
        weights[name][config["pad_token_id"]] = 0

    if config["share_encoder_decoder_embeddings"]:
        embedding("model.shared.weight")
    else:
        embedding("model.encoder.embed_tokens.weight")
        embedding("model.decoder.embed_tokens.weight")
    if not config["tie_word_embeddings"]:
        embedding("lm_head.weight")
    for side in ("encoder", "decoder"):
        last = config[f"{side}_layers"] - 1
        for layer in range(last + 1):
            prefix = f"model.{side}.layers.{layer}."
            attention(prefix + "self_attn")
            norm(prefix + "self_attn_layer_norm")
            if side == "decoder":
                attention(prefix + "encoder_attn")
                norm(prefix + "encoder_attn_layer_norm")
            linear(prefix + "fc1", config[f"{side}_ffn_dim"], width, 1.5)
            linear(prefix + "fc2", width, config[f"{side}_ffn_dim"], 1.5)
            ends = side == "decoder" and layer == last and not config["normalize_before"]
            norm(prefix + "final_layer_norm", sharpness if ends else 1.0)
        if config["normalize_before"]:
            norm(f"model.{side}.layer_norm", sharpness if side == "decoder" else 1.0)
    bias = normal(1, vocabulary, std=0.5)
    bias[0, config["eos_token_id"]] += eos_bias
    bias[0, config["pad_token_id"]] = 0
    weights["final_logits_bias"] = bias
    return weights


def positions(config):
    """The sinusoidal table: sines in the first half of the columns, cosines in the second."""
    width = config["d_model"]
    place = np.arange(config["max_position_embeddings"], dtype=np.float64)[:, None]
    angles = place / np.power(10000, 2 * np.arange(width // 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def write_hf(folder, weights, config, tokenizer, pickle=False, generation=True, dtype=None):
    """Hugging Face's layout. pickle: False writes model.safetensors, True pytorch_model.bin as torch.save does since
    1.6, "legacy" as it did before (many opus-mt models lie on the hub like that)."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    if generation:
        (folder / "generation_config.json").write_text(json.dumps(generation_config(config)))
    vocabulary = {token: i for i, token in enumerate(tokenizer.tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"source_lang": "eng", "target_lang": "fra", "separate_vocabs": False, "tokenizer_class": "MarianTokenizer"}))
    (folder / "source.spm").write_bytes(tokenizer.source_spm)
    (folder / "target.spm").write_bytes(tokenizer.target_spm)
    tensors = {name: value.astype(dtype or value.dtype) for name, value in weights.items()}
    if not pickle:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    # A state_dict names shared parameters once for each place; storages are written once.
    if config["share_encoder_decoder_embeddings"]:
        for side in ("encoder", "decoder"):
            tensors[f"model.{side}.embed_tokens.weight"] = tensors["model.shared.weight"]
    if config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = tensors["model.decoder.embed_tokens.weight"]
    for side in ("encoder", "decoder"):
        tensors[f"model.{side}.embed_positions.weight"] = positions(config).astype(dtype or np.float32)
    data = torch_legacy(tensors) if pickle == "legacy" else torch_zip(tensors)
    (folder / "pytorch_model.bin").write_bytes(data)


LAYER_NAMES = {  # Hugging Face's name within a layer: Marian's
    "fc1.weight": "ffn_W1", "fc1.bias": "ffn_b1", "fc2.weight": "ffn_W2", "fc2.bias": "ffn_b2",
    "final_layer_norm.weight": "ffn_ffn_ln_scale", "final_layer_norm.bias": "ffn_ffn_ln_bias",
    **{f"{hf}.{part}_proj.{kind}": f"{marian}_{letter}{part[0]}"
       for hf, marian in (("self_attn", "self"), ("encoder_attn", "context"))
       for part in ("q", "k", "v", "out") for kind, letter in (("weight", "W"), ("bias", "b"))},
    **{f"{hf}_layer_norm.{kind}": f"{marian}_Wo_ln_{end}"
       for hf, marian in (("self_attn", "self"), ("encoder_attn", "context"))
       for kind, end in (("weight", "scale"), ("bias", "bias"))}}


def marian_weights(weights, config):
    """The arrays of model.npz without its options: no pad, matrices [inputs, outputs], vectors [1, n]."""
    pre = "_pre" if config["normalize_before"] else ""
    out = {}
    for name, value in weights.items():
        if name == "final_logits_bias":
            out["decoder_ff_logit_out_b"] = value[:, :-1]
        elif name == "model.shared.weight":
            out["Wemb"] = value[:-1]
        elif name.endswith("embed_tokens.weight"):
            out[name.split(".")[1] + "_Wemb"] = value[:-1]
        elif name == "lm_head.weight":
            out["decoder_ff_logit_out_W"] = value[:-1].T
        elif ".layers." not in name:  # model.encoder.layer_norm.weight
            side, kind = name.split(".")[1], "scale" if name.endswith("weight") else "bias"
            out[f"{side}_top_ln_{kind}"] = value[None]
        else:
            _, side, _, layer, rest = name.split(".", 4)
            marian = LAYER_NAMES[rest] + (pre if "layer_norm" in rest else "")
            out[f"{side}_l{int(layer) + 1}_{marian}"] = value.T if value.ndim == 2 else value[None]
    return {name: np.ascontiguousarray(value) for name, value in out.items()}


def marian_options(config):
    """special:model.yml of opus-mt's training."""
    pre_norm, vocabulary = config["normalize_before"], config["vocab_size"] - 1
    return {
        "bert-train-type-embeddings": True, "dec-cell-base-depth": 2, "dec-cell-high-depth": 1,
        "dec-depth": config["decoder_layers"], "dim-emb": config["d_model"],
        "dim-vocabs": [vocabulary, vocabulary], "enc-depth": config["encoder_layers"],
        "input-types": [], "layer-normalization": False, "lemma-dim-emb": 0, "right-left": False, "skip": False,
        "tied-embeddings": config["tie_word_embeddings"],
        "tied-embeddings-all": config["tie_word_embeddings"] and config["share_encoder_decoder_embeddings"],
        "tied-embeddings-src": config["share_encoder_decoder_embeddings"],
        "transformer-aan-activation": "swish", "transformer-aan-depth": 2, "transformer-aan-nogate": False,
        "transformer-decoder-autoreg": "self-attention", "transformer-dim-aan": 2048,
        "transformer-dim-ffn": config["encoder_ffn_dim"],
        "transformer-ffn-activation": ACTIVATIONS[config["activation_function"]], "transformer-ffn-depth": 2,
        "transformer-guided-alignment-layer": "last", "transformer-heads": config["encoder_attention_heads"],
        "transformer-no-projection": False, "transformer-postprocess": "da" if pre_norm else "dan",
        "transformer-postprocess-emb": "d", "transformer-postprocess-top": "n" if pre_norm else "",
        "transformer-preprocess": "n" if pre_norm else "", "transformer-tied-layers": [],
        "transformer-train-position-embeddings": False, "transformer-train-positions": False,
        "type": "transformer", "ulr": False, "ulr-dim-emb": 0, "version": "v1.9.0"}


def write_marian(folder, weights, config, tokenizer, options=None, compress=False):
    """Marian's own layout, as OPUS-MT's archives hold it."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({**marian_options(config), **(options or {})}, sort_keys=True).encode()
    arrays = marian_weights(weights, config)
    arrays["special:model.yml"] = np.frombuffer(text + b"\0", np.int8)
    (np.savez_compressed if compress else np.savez)(folder / "opus.spm32k-spm32k.transformer.model1.npz", **arrays)
    (folder / "decoder.yml").write_text(yaml.safe_dump({
        "relative-paths": True, "models": ["opus.spm32k-spm32k.transformer.model1.npz"],
        "vocabs": ["opus.spm32k-spm32k.vocab.yml"] * 2, "beam-size": config["num_beams"], "normalize": 1,
        "word-penalty": 0, "mini-batch": 1, "maxi-batch": 1, "maxi-batch-sort": "src"}))
    with open(folder / "opus.spm32k-spm32k.vocab.yml", "w", encoding="utf-8") as vocabulary:
        for i, token in enumerate(tokenizer.tokens[:-1]):  # quoted as yaml-cpp's emitter does
            plain = token.replace("\\", "\\\\").replace('"', '\\"').replace("\u0085", "\\x85")
            vocabulary.write(f'"{plain}": {i}\n')
    (folder / "source.spm").write_bytes(tokenizer.source_spm)
    (folder / "target.spm").write_bytes(tokenizer.target_spm)


def zip_folder(folder, path, inside=""):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(pathlib.Path(folder).iterdir()):
            archive.write(file, inside + file.name)


# torch.save without torch: its classes by name, and what the pickler is told of them.

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage", "int64": "LongStorage",
            "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage", "uint8": "ByteStorage",
            "bool": "BoolStorage"}


@contextlib.contextmanager
def torch_names():
    """Modules that hold the names a state_dict's pickle refers to, while it is written."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for storage in {*STORAGES.values(), "BFloat16Storage"}:
        setattr(torch, storage, type(storage, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2():
        pass
    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch._utils = utils
    saved = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield torch
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@dataclasses.dataclass
class TorchTensor:
    """A view of a storage; strides in elements. bfloat16 storages are uint16 arrays with bfloat16=True."""
    storage: np.ndarray
    shape: tuple
    stride: tuple
    offset: int = 0
    bfloat16: bool = False


def as_torch(value):
    if isinstance(value, TorchTensor):
        return value
    base = np.ascontiguousarray(value)
    stride = tuple(s // base.itemsize for s in base.strides)
    return TorchTensor(base if base is value else value, base.shape, stride)


def pickle_state(state, legacy):
    """(pickle of the state_dict, storages by key)."""
    storages, keys = {}, {}

    class Storage:
        def __init__(self, tensor):
            self.tensor = tensor

    with torch_names() as torch:
        class Pickler(python_pickle.Pickler):
            def persistent_id(self, value):
                if not isinstance(value, Storage):
                    return None
                array = value.tensor.storage
                key = keys.setdefault(id(array), str(len(keys)))
                storages[key] = array
                kind = "BFloat16Storage" if value.tensor.bfloat16 else STORAGES[str(array.dtype)]
                id_ = ("storage", getattr(torch, kind), key, "cpu", int(array.size))
                return id_ + (None,) if legacy else id_

            def reducer_override(self, value):
                if not isinstance(value, TorchTensor):
                    return NotImplemented
                return (torch._utils._rebuild_tensor_v2,
                        (Storage(value), value.offset, tuple(map(int, value.shape)), tuple(map(int, value.stride)), False,
                         OrderedDict()))

        out = io.BytesIO()
        ordered = OrderedDict((name, as_torch(value)) for name, value in state.items())
        ordered._metadata = OrderedDict({"": {"version": 1}, "model": {"version": 1}})
        Pickler(out, 2).dump(ordered)
    return out.getvalue(), storages


def torch_zip(state, compression=zipfile.ZIP_STORED):
    """The bytes of torch.save(state, file) since 1.6."""
    data, storages = pickle_state(state, legacy=False)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def torch_legacy(state):
    """The bytes of torch.save(state, file, _use_new_zipfile_serialization=False)."""
    data, storages = pickle_state(state, legacy=True)
    info = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    out = b"".join(python_pickle.dumps(value, 2) for value in (0x1950a86a20f9469cfc6c, 1001, info)) + data
    keys = sorted(storages)
    out += python_pickle.dumps(keys, 2)
    for key in keys:
        out += struct.pack("<q", storages[key].size) + storages[key].tobytes()
    return out
