"""Every field of a Hugging Face folder is used, harmless, or named: what ends in which of the three."""
import json

import gguf
import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto

from hf_models import QWEN2, TEXT, write_family
from hf_published import CONFIGS
from support import dump, text, tool


def edit(path, change):
    data = json.loads(path.read_text()) if path.exists() else {}
    change(data)
    path.write_text(json.dumps(data))


def opened(tmp_path, family, change=None, file="config.json"):
    folder = tmp_path / "model"
    if not folder.exists():
        write_family(folder, family)
    if change:
        edit(folder / file, change if callable(change) else lambda data: data.update(change))
    return dump(folder)


# --- config.json ---

@pytest.mark.parametrize("name", CONFIGS)
def test_published_configs_hold_nothing_unknown(name, tmp_path):
    family, config = CONFIGS[name]
    folder = tmp_path / "model"
    write_family(folder, family)
    (folder / "config.json").write_text(json.dumps(config))
    assert dump(folder)["unknown"] == []


LLAMA_LIKE = ["llama", "mistral", "qwen2", "qwen3", "gemma3_text"]
ALL = [*LLAMA_LIKE, "gpt2"]
UNKNOWN = [  # families, fields, the path and value in the message
    (ALL, {"attention_sinks": 4}, "attention_sinks = 4"),
    (ALL, {"quantization_config": {"quant_method": "gptq"}}, 'quantization_config = {"quant_method":"gptq"}'),
    (ALL, {"quantization": {"bits": 4}}, 'quantization = {"bits":4}'),
    (ALL, {"auto_map": {"AutoModel": "x.Y"}}, 'auto_map = {"AutoModel":"x.Y"}'),
    (ALL, {"is_encoder_decoder": True}, "is_encoder_decoder = true"),
    (ALL, {"add_cross_attention": True}, "add_cross_attention = true"),
    (ALL, {"pruned_heads": {"0": [1]}}, 'pruned_heads = {"0":[1]}'),
    (ALL, {"long\nname": "\x1b[2J"}, '"long\\nname" = "\\u001b[2J"'),
    (["llama", "mistral", "qwen2", "qwen3"], {"hidden_act": "gelu"}, 'hidden_act = "gelu"'),
    (["gemma3_text"], {"hidden_activation": "gelu"}, 'hidden_activation = "gelu"'),
    (["gemma3_text"], {"hidden_act": "silu"}, 'hidden_act = "silu"'),
    (["gemma3_text"], {"use_bidirectional_attention": True}, "use_bidirectional_attention = true"),
    (["gemma3_text"], {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping = 50.0"),
    (["gemma3_text"], {"layer_types": ["full_attention", "sliding_attention"]},
     'layer_types = ["full_attention","sliding_attention"]'),
    (["gpt2"], {"activation_function": "relu"}, 'activation_function = "relu"'),
    (["gpt2"], {"scale_attn_weights": False}, "scale_attn_weights = false"),
    (["gpt2"], {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = true"),
    (["gpt2"], {"hidden_size": 65}, "hidden_size = 65"),
    (["gpt2"], {"rope_theta": 10000.0}, "rope_theta = 10000.0"),
    (["qwen2", "qwen3"], {"use_sliding_window": True, "max_window_layers": 1}, "use_sliding_window = true"),
    (["qwen2", "qwen3"], {"layer_types": ["full_attention", "sliding_attention"]},
     'layer_types = ["full_attention","sliding_attention"]'),
    (["llama"], {"layer_types": ["full_attention"]}, 'layer_types = ["full_attention"]'),
    (["llama"], {"sliding_window": 64}, "sliding_window = 64"),
    (["llama"], {"no_rope_layers": [1, 0]}, "no_rope_layers = [1,0]"),
    (["llama"], {"text_config": {"hidden_size": 64}}, 'text_config = {"hidden_size":64}'),
    (LLAMA_LIKE, {"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
    (LLAMA_LIKE, {"rope_interleaved": True}, "rope_interleaved = true"),
    (LLAMA_LIKE, {"rope_scaling": 4}, "rope_scaling = 4"),
    (LLAMA_LIKE, {"rope_scaling": {"type": "linear", "factor": 2.0, "beta": 1}}, "rope_scaling.beta = 1"),
    (LLAMA_LIKE, {"rope_scaling": {"rope_type": "default", "mrope_section": [1, 2]}},
     "rope_scaling.mrope_section = [1,2]"),
    (LLAMA_LIKE, {"rope_scaling": {"rope_type": "linear", "type": "yarn", "factor": 2.0}},
     'rope_scaling.type = "yarn"'),
    (LLAMA_LIKE, {"rope_scaling": {"factor": 2.0}}, "rope_scaling.factor = 2.0"),
    (LLAMA_LIKE, {"rope_scaling": {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64,
                                   "truncate": False}}, "rope_scaling.truncate = false"),
    (LLAMA_LIKE, {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
     "rope_parameters.partial_rotary_factor = 0.5"),
    (["llama"], {"rope_parameters": {"rope_type": "default"}},
     'rope_scaling = {"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4...'),
    (["qwen3"], {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
     'rope_parameters.full_attention = {"rope_type":"default"}'),
    (["gemma3_text"], {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {
        "rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}},
     'rope_parameters.sliding_attention.rope_type = "linear"'),
]


@pytest.mark.parametrize("family, fields, line", [
    pytest.param(family, fields, line, id=f"{family}-{next(iter(fields))!r}-{i}")
    for i, (families, fields, line) in enumerate(UNKNOWN) for family in families])
def test_unknown_config_field(family, fields, line, tmp_path):
    assert f"config.json: {line}" in opened(tmp_path, family, fields)["unknown"]


def test_unknown_field_of_the_text_model(tmp_path):
    """Both parts of a model that also sees are looked through."""
    _, config = CONFIGS["gemma-3-4b-it"]
    folder = tmp_path / "model"
    write_family(folder, "gemma3_text")
    config = {**config, "odd": 1, "text_config": {**config["text_config"], "even": 2}}
    (folder / "config.json").write_text(json.dumps(config))
    assert dump(folder)["unknown"] == ["config.json: text_config.even = 2", "config.json: odd = 1"]


HARMLESS = [
    (ALL, {"attention_sinks": None, "quantization_config": None, "pruned_heads": {}}),
    (["llama", "mistral", "qwen2", "qwen3"], {"hidden_act": "swish"}),
    (["gpt2"], {"activation_function": "gelu_pytorch_tanh", "hidden_size": 64, "num_hidden_layers": 2}),
    (["qwen2", "qwen3"], {"use_sliding_window": True, "max_window_layers": 2, "sliding_window": 8}),
    (["llama", "qwen2", "qwen3"], {"layer_types": ["full_attention"] * 2}),
    (["mistral"], {"layer_types": ["sliding_attention"] * 2, "sliding_window": 8}),
    (["mistral"], {"layer_types": ["full_attention"] * 2, "sliding_window": None}),
    (LLAMA_LIKE, {"partial_rotary_factor": 1.0, "rope_scaling": {"type": "linear", "factor": 2}}),
    (LLAMA_LIKE, {"rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 2}}),
    (LLAMA_LIKE, {"rope_scaling": {"rope_type": "default", "factor": 1.0}}),
]


@pytest.mark.parametrize("family, fields", [
    pytest.param(family, fields, id=f"{family}-{i}") for i, (families, fields) in enumerate(HARMLESS)
    for family in families])
def test_harmless_config_field(family, fields, tmp_path):
    assert opened(tmp_path, family, fields)["unknown"] == []


@pytest.mark.parametrize("window, context, key", [
    (64, 512, 64), (512, 512, None), (None, 512, None), ("absent", 8192, 4096), ("absent", 512, None)])
def test_mistral_window(window, context, key, tmp_path):
    """All layers have it; without the field the family's own 4096."""
    def change(config):
        config.update(max_position_embeddings=context, sliding_window=window)
        if window == "absent":
            del config["sliding_window"]
    assert opened(tmp_path, "mistral", change)["metadata"].get("llama.attention.sliding_window") == key


@pytest.mark.parametrize("layers, pattern", [("sf", 2), ("ff", 1), ("ss", 3)])
def test_gemma_pattern_from_layer_types(layers, pattern, tmp_path):
    names = {"s": "sliding_attention", "f": "full_attention"}
    found = opened(tmp_path, "gemma3_text", {"layer_types": [names[c] for c in layers],
                                             "sliding_window_pattern": 6})
    assert found["metadata"]["gemma3.attention.sliding_window_pattern"] == pattern


# --- generation_config.json, or config.json in its place ---

FILES = ["generation_config.json", "config.json"]
SAMPLING = {"temperature": ("temp", 0.5), "top_k": ("top_k", 7), "top_p": ("top_p", 0.75),
            "min_p": ("min_p", 0.125), "repetition_penalty": ("penalty_repeat", 1.25)}


def sampling(found):
    prefix = "general.sampling."
    return {k.removeprefix(prefix): v for k, v in found["metadata"].items() if k.startswith(prefix)}


@pytest.mark.parametrize("file", FILES)
def test_sampling_keys(file, tmp_path):
    found = opened(tmp_path, "gpt2", {"do_sample": True, **{n: v for n, (_, v) in SAMPLING.items()}}, file)
    assert sampling(found) == dict(SAMPLING.values()) and found["unknown"] == []


def test_sampling_key_types(tmp_path):
    """The types that llama.cpp's converter writes."""
    opened(tmp_path, "gpt2", {n: v for n, (_, v) in SAMPLING.items()}, "generation_config.json")
    tool("convert", tmp_path / "model", tmp_path / "out.gguf", "F32")
    fields = gguf.GGUFReader(tmp_path / "out.gguf").fields
    for key, value in SAMPLING.values():
        expected = gguf.GGUFValueType.INT32 if key == "top_k" else gguf.GGUFValueType.FLOAT32
        assert fields[f"general.sampling.{key}"].types == [expected]
        assert fields[f"general.sampling.{key}"].contents() == value


def test_no_sampling_is_temperature_0(tmp_path):
    """The rest does not count then, but for what also changes the likeliest token."""
    fields = {"do_sample": False, **{n: v for n, (_, v) in SAMPLING.items()}}
    found = opened(tmp_path, "gpt2", fields, "generation_config.json")
    assert sampling(found) == {"temp": 0, "penalty_repeat": 1.25}


def test_defaults_in_config_are_no_wish(tmp_path):
    """Older configs hold every field of their time."""
    found = opened(tmp_path, "gpt2", {"do_sample": False, "temperature": 1.0, "top_k": 50, "top_p": 1.0,
                                      "repetition_penalty": 1.0, "num_beams": 1, "bad_words_ids": None,
                                      "no_repeat_ngram_size": 0, "max_length": 20, "length_penalty": 1.0})
    assert sampling(found) == {} and found["unknown"] == []


def test_generation_config_replaces_config(tmp_path):
    opened(tmp_path, "gpt2", {"top_k": 7, "no_repeat_ngram_size": 3})
    found = opened(tmp_path, "gpt2", {"top_p": 0.5}, "generation_config.json")
    assert sampling(found) == {"top_p": 0.5} and found["unknown"] == []


NOT_DONE = {"no_repeat_ngram_size": 3, "num_beams": 4, "num_beam_groups": 2, "typical_p": 0.9,
            "suppress_tokens": [1], "begin_suppress_tokens": [1], "bad_words_ids": [[1]],
            "force_words_ids": [[1]], "forced_bos_token_id": 0, "forced_eos_token_id": 2,
            "encoder_repetition_penalty": 1.5, "epsilon_cutoff": 0.1, "eta_cutoff": 0.1,
            "exponential_decay_length_penalty": [1, 2.0], "guidance_scale": 1.5, "min_length": 3,
            "min_new_tokens": 3, "num_return_sequences": 2, "penalty_alpha": 0.5, "dola_layers": "high",
            "sequence_bias": [[[1], 2.0]], "stop_strings": ["x"], "token_healing": True,
            "watermarking_config": {"bias": 2}, "top_h": 0.4, "temperature": -1.0, "top_k": -1, "top_p": 0,
            "min_p": 2, "repetition_penalty": 0}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", NOT_DONE)
def test_unknown_generation_field(name, file, tmp_path):
    value = NOT_DONE[name]
    found = opened(tmp_path, "gpt2", {name: value}, file)
    shown = json.dumps(value, separators=(",", ":"))
    assert found["unknown"] == [f"{file}: {name} = {shown}"] and sampling(found) == {}


PUBLISHED_GENERATION = [
    {"_from_model_config": True, "bos_token_id": 50256, "eos_token_id": 50256, "transformers_version": "4.26.0"},
    {"bos_token_id": 1, "do_sample": True, "eos_token_id": 2, "max_length": 4096, "pad_token_id": 0,
     "temperature": 0.6, "top_p": 0.9, "transformers_version": "4.31.0.dev0"},
    {"cache_implementation": "hybrid", "do_sample": True, "eos_token_id": [1, 106], "pad_token_id": 0,
     "bos_token_id": 2, "top_k": 64, "top_p": 0.95, "transformers_version": "4.51.3"},
    {"bos_token_id": 3, "do_sample": True, "eos_token_id": [4, 3], "pad_token_id": 3, "max_new_tokens": 2048,
     "repetition_penalty": 1.05, "temperature": 0.7, "top_k": 20, "top_p": 0.8,
     "transformers_version": "4.37.0", "trust_remote_code": True, "no_repeat_ngram_size": None},
]


@pytest.mark.parametrize("fields", PUBLISHED_GENERATION)
def test_published_generation_configs_hold_nothing_unknown(fields, tmp_path):
    assert opened(tmp_path, "gpt2", fields, "generation_config.json")["unknown"] == []


def ends(tmp_path, config, generation):
    opened(tmp_path, "gpt2", {"eos_token_id": config})
    found = opened(tmp_path, "gpt2", {"eos_token_id": generation}, "generation_config.json")
    return found["metadata"].get("outboard.eos_token_ids"), found["notes"]


@pytest.mark.parametrize("config, generation, expected", [
    (None, [397, 1], [397, 1]), ([1, 2], None, [1, 2]), ([1, 2], [2, 3], [2, 3, 1]), (5, None, [5]),
    (363, 363, None), (None, None, None), (None, 6, [6])])
def test_all_ends_of_an_answer(config, generation, expected, tmp_path):
    """363 is <|end|>, which the tokenizer's own configuration names."""
    assert ends(tmp_path, config, generation) == (expected, [])


def test_ids_that_the_model_lacks_are_noted(tmp_path):
    found, notes = ends(tmp_path, None, [1, 400])
    assert found == [1]
    assert notes == ["generation_config.json: eos_token_id = [1,400], and the model's tokens are 0 to 399: not used"]
    notes = opened(tmp_path, "gpt2", {"pad_token_id": 400, "sep_token_id": -1})["notes"]
    assert "config.json: pad_token_id = 400, and the model's tokens are 0 to 399: not used" in notes
    assert not any("sep" in note for note in notes)
    notes = opened(tmp_path, "gpt2", {"mask_token": "<mask>"}, "tokenizer_config.json")["notes"]
    assert 'tokenizer_config.json: mask_token = "<mask>", which the model has no token for' in notes


# --- tokenizer.json ---

def at(path, value):
    """A change that sets data[path]; "a.0.b" for steps into lists."""
    def change(data):
        *steps, last = [int(p) if p.isdigit() else p for p in path.split(".")]
        for step in steps:
            data = data[step]
        data[last] = value
    return change


def prepend(path, value):
    def change(data):
        for step in path.split("."):
            data = data[int(step) if step.isdigit() else step]
        data.insert(0, value)
    return change


SPLIT, BYTES = "pre_tokenizer.pretokenizers.0", "pre_tokenizer.pretokenizers.1"
NFC = {"type": "NFC"}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}
NEWLINES = {"type": "Split", "pattern": {"Regex": "\n"}, "behavior": "Isolated", "invert": False}


def added(**flags):
    """A token more; without content that of its number in the vocabulary."""
    token = {"id": 390, "content": "<x>", "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": False, **flags}

    def change(data):
        names = {id: text for text, id in data["model"]["vocab"].items()}
        data["added_tokens"].append({**token, "content": token["content"] or names[token["id"]]})
    return change


UNKNOWN_STEPS = [  # family, change, line
    ("llama", at("normalizer", {"type": "Lowercase"}), 'normalizer: the step "Lowercase"'),
    ("llama", at("normalizer", {"type": "Sequence", "normalizers": [{"type": "Strip"}]}), 'normalizer: the step "Strip"'),
    ("llama", at("normalizer", NFC), 'normalizer: the step "NFC" with this pre_tokenizer'),
    ("gpt2", at("normalizer", NFC), 'normalizer: the step "NFC" with this pre_tokenizer'),
    ("qwen2", at("normalizer", {"type": "NFKC"}), 'normalizer: the step "NFKC"'),
    ("qwen2", at("model.ignore_merges", True), "model.ignore_merges = true"),
    ("gpt2", at("model.ignore_merges", True), "model.ignore_merges = true"),
    ("mistral", at("model.ignore_merges", True), "model.ignore_merges = true"),
    ("llama", at("model.dropout", 0.1), "model.dropout = 0.1"),
    ("llama", at("model.continuing_subword_prefix", "##"), 'model.continuing_subword_prefix = "##"'),
    ("llama", at("model.end_of_word_suffix", "</w>"), 'model.end_of_word_suffix = "</w>"'),
    ("llama", at("model.odd", 1), "model.odd = 1"),
    ("llama", at("odd", 1), "odd = 1"),
    ("llama", at(SPLIT + ".behavior", "Removed"), 'pre_tokenizer: Split: behavior = "Removed"'),
    ("llama", at(SPLIT + ".invert", True), "pre_tokenizer: Split: invert = true"),
    ("llama", at(BYTES + ".add_prefix_space", True), "pre_tokenizer: ByteLevel: add_prefix_space = true"),
    ("llama", at(BYTES + ".use_regex", True), "pre_tokenizer: ByteLevel: use_regex = true"),
    ("gpt2", at("pre_tokenizer.use_regex", False), "pre_tokenizer: ByteLevel: use_regex = false"),
    ("llama", lambda d: d["pre_tokenizer"]["pretokenizers"].pop(), 'pre_tokenizer: no step "ByteLevel"'),
    ("llama", lambda d: d["pre_tokenizer"]["pretokenizers"].append(NEWLINES), 'pre_tokenizer: the step "Split"'),
    ("llama", prepend("pre_tokenizer.pretokenizers", {"type": "Digits", "individual_digits": True}),
     'pre_tokenizer: the step "Digits"'),
    ("llama", prepend("pre_tokenizer.pretokenizers", {"type": "Whitespace"}), 'pre_tokenizer: the step "Whitespace"'),
    ("gpt2", at("pre_tokenizer", {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": False}, {"type": "ByteLevel", "add_prefix_space": False}]}),
     "pre_tokenizer: Digits: individual_digits = false"),
    ("llama", added(rstrip=True), 'added_tokens: "<x>": rstrip = true'),
    ("llama", added(lstrip=True), 'added_tokens: "<x>": lstrip = true'),
    ("llama", added(single_word=True), 'added_tokens: "<x>": single_word = true'),
    ("qwen2", added(normalized=True, content="é"), 'added_tokens: "\\u00e9": normalized = true'),
    ("llama", added(), 'added_tokens: "<x>": id = 390, where tokenizers reads 363'),
    ("mistral", added(id=300, content=None), "special = false amid the vocabulary"),
    ("mistral", added(normalized=True), 'added_tokens: "<x>": normalized = true'),
    ("llama", prepend("post_processor.processors.1.single", {"SpecialToken": {"id": "<|end|>", "type_id": 0}}),
     'post_processor: the special token "<|end|>" before a text'),
    ("llama", lambda d: d["post_processor"]["processors"][1]["single"].append(
        {"SpecialToken": {"id": "<|begin|>", "type_id": 0}}),
     'post_processor: the special token "<|begin|>" behind a text'),
    ("llama", at("post_processor", {"type": "RobertaProcessing"}), 'post_processor: the step "RobertaProcessing"'),
    ("llama", at("post_processor.processors.1.odd", 1), "post_processor: TemplateProcessing: odd = 1"),
    ("llama", at("post_processor.processors.0.odd", 1), "post_processor: ByteLevel: odd = 1"),
    ("llama", at("decoder.odd", 1), "decoder: ByteLevel: odd = 1"),
    ("llama", at("decoder", {"type": "WordPiece"}), 'decoder: the step "WordPiece"'),
    ("mistral", at("decoder", {"type": "Strip", "content": " ", "start": 2, "stop": 0}), "decoder: Strip: start = 2"),
    ("gemma3_text", at("decoder", {"type": "Strip", "content": " ", "start": 1, "stop": 0}), "decoder: Strip: start = 1"),
    ("mistral", at("normalizer.normalizers.0.prepend", "_"), 'normalizer: Prepend: prepend = "_"'),
    ("mistral", at("normalizer.normalizers.1.content", "_"), 'normalizer: the step "Replace"'),
    ("mistral", lambda d: d["normalizer"]["normalizers"].pop(), 'normalizer: no step that writes "▁" for spaces'),
    ("mistral", prepend("normalizer.normalizers", {"type": "Lowercase"}), 'normalizer: the step "Lowercase"'),
    ("mistral", at("pre_tokenizer", NEWLINES), 'pre_tokenizer: the step "Split"'),
    ("gemma3_text", at("pre_tokenizer", {**METASPACE, "prepend_scheme": "last"}),
     'pre_tokenizer: Metaspace: prepend_scheme = "last"'),
    ("gemma3_text", at("pre_tokenizer", {**METASPACE, "replacement": "_"}), 'pre_tokenizer: Metaspace: replacement = "_"'),
]


@pytest.mark.parametrize("family, change, line", UNKNOWN_STEPS, ids=[f"{s[0]}-{s[2]}" for s in UNKNOWN_STEPS])
def test_unknown_step(family, change, line, tmp_path):
    found = opened(tmp_path, family, change, "tokenizer.json")["unknown"]
    assert any(each.startswith("tokenizer.json: ") and each.endswith(line) for each in found), found


def test_splitting_at_spaces_matters_only_across_words(tmp_path):
    """Metaspace splits by default; merges within words do not see it."""
    change = at("pre_tokenizer", {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"})
    assert opened(tmp_path, "gemma3_text", change, "tokenizer.json")["unknown"] == []

    def join(data):
        data["model"]["vocab"]["▁▁"] = len(data["model"]["vocab"])
        data["model"]["merges"].append(["▁", "▁"])
    assert opened(tmp_path, "gemma3_text", join, "tokenizer.json")["unknown"] == [
        "tokenizer.json: pre_tokenizer: Metaspace: split = true"]


HARMLESS_STEPS = [
    ("llama", at("version", "2.0")),
    ("llama", at("model.dropout", 0.0)),
    ("llama", at("model.continuing_subword_prefix", "")),
    ("llama", at("decoder", None)),
    ("qwen2", added(id=361, normalized=True)),
    ("mistral", added(id=403)),
    ("gemma3_text", added(id=100, content=None)),
    ("gpt2", at("pre_tokenizer", {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True})),
    ("mistral", at("decoder", {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})),
    ("gemma3_text", at("pre_tokenizer", METASPACE)),
    ("gemma3_text", at("pre_tokenizer", {"type": "Metaspace", "replacement": "▁", "add_prefix_space": False, "split": False})),
]


@pytest.mark.parametrize("family, change", HARMLESS_STEPS)
def test_harmless_step(family, change, tmp_path):
    assert opened(tmp_path, family, change, "tokenizer.json")["unknown"] == []


FAMILY_NAMES = [  # family, changes of tokenizer.json, tokenizer.ggml.pre
    ("llama", [], "llama-bpe"),
    ("llama", [at("model.ignore_merges", False)], "smaug-bpe"),
    ("qwen2", [], "qwen2"),
    ("qwen2", [at("normalizer", None)], "deepseek-r1-qwen"),
    ("gpt2", [], "gpt-2"),
    ("gpt2", [at("pre_tokenizer", {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", "add_prefix_space": False}]})], "smollm"),
]


@pytest.mark.parametrize("family, changes, name", FAMILY_NAMES, ids=[n[2] for n in FAMILY_NAMES])
def test_family_names(family, changes, name, tmp_path):
    write_family(tmp_path / "model", family)
    for change in changes:
        edit(tmp_path / "model" / "tokenizer.json", change)
    found = dump(tmp_path / "model")
    assert text(found["metadata"]["tokenizer.ggml.pre"]) == name and found["unknown"] == []


def test_ends_of_a_text(tmp_path):
    def both(data):
        data["post_processor"]["processors"][1].update(single=[
            {"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<|end|>", "type_id": 0}}], special_tokens={
                "<|begin|>": {"id": "<|begin|>", "ids": [360], "tokens": ["<|begin|>"]},
                "<|end|>": {"id": "<|end|>", "ids": [361], "tokens": ["<|end|>"]}})
    # Also where only the template names the tokens.
    opened(tmp_path, "llama", lambda d: d.clear(), "tokenizer_config.json")
    opened(tmp_path, "llama", lambda d: d.clear(), "generation_config.json")
    found = opened(tmp_path, "llama", both, "tokenizer.json")
    assert found["unknown"] == []
    assert {k: found["metadata"]["tokenizer.ggml." + k] for k in (
        "add_bos_token", "add_eos_token", "bos_token_id", "eos_token_id")} == {
            "add_bos_token": True, "add_eos_token": True, "bos_token_id": 360, "eos_token_id": 361}


def test_notes_of_the_tokenizer(tmp_path):
    opened(tmp_path, "llama", at("truncation", {"max_length": 128}), "tokenizer.json")
    opened(tmp_path, "llama", {"add_bos_token": False}, "tokenizer_config.json")
    notes = opened(tmp_path, "llama", added(id=400), "tokenizer.json")["notes"]
    assert notes == [
        "tokenizer.json: truncation is set; texts are taken whole and as they are",
        "tokenizer.json: added_tokens: \"<x>\" is beyond the model's 400 rows: read as plain text",
        "tokenizer_config.json: add_bos_token = false, and tokenizer.json's post_processor does otherwise and counts"]


@pytest.mark.parametrize("name", ["do_lower_case", "split_special_tokens", "add_prefix_space"])
def test_unknown_tokenizer_config(name, tmp_path):
    assert opened(tmp_path, "llama", {name: False}, "tokenizer_config.json")["unknown"] == []
    assert opened(tmp_path, "llama", {name: True}, "tokenizer_config.json")["unknown"] == [
        f"tokenizer_config.json: {name} = true"]


# --- tokenizer.model ---

def sentencepiece_folder(tmp_path, change=lambda model: None, json_too=False, **options):
    folder = tmp_path / "model"
    write_family(folder, "mistral")
    if not json_too:
        (folder / "tokenizer.json").unlink()
    (tmp_path / "text").write_text("\n".join(TEXT))
    sentencepiece.SentencePieceTrainer.train(**{
        "input": tmp_path / "text", "model_prefix": folder / "tokenizer", "vocab_size": 380,
        "model_type": "bpe", "byte_fallback": True, "minloglevel": 2, **options})
    model = proto.ModelProto.FromString((folder / "tokenizer.model").read_bytes())
    change(model)
    (folder / "tokenizer.model").write_bytes(model.SerializeToString())
    return folder, model


def test_sentencepiece_normalisation(tmp_path):
    folder, model = sentencepiece_folder(tmp_path)
    found = dump(folder)
    assert found["unknown"] == []
    assert bytes(found["metadata"]["tokenizer.ggml.precompiled_charsmap"]) == model.normalizer_spec.precompiled_charsmap
    assert found["metadata"]["tokenizer.ggml.remove_extra_whitespaces"] is True
    assert found["metadata"]["tokenizer.ggml.add_space_prefix"] is True
    tool("convert", folder, tmp_path / "out.gguf", "F32")
    field = gguf.GGUFReader(tmp_path / "out.gguf").fields["tokenizer.ggml.precompiled_charsmap"]
    assert field.types == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT8]


def test_llamas_sentencepiece_adds_no_keys(tmp_path):
    """As Llama 2's file is; converters write nothing for it."""
    folder, _ = sentencepiece_folder(tmp_path, normalization_rule_name="identity", remove_extra_whitespaces=False)
    keys = dump(folder)["metadata"]
    assert "tokenizer.ggml.precompiled_charsmap" not in keys
    assert "tokenizer.ggml.remove_extra_whitespaces" not in keys
    folder, _ = sentencepiece_folder(tmp_path, add_dummy_prefix=False)
    assert dump(folder)["metadata"]["tokenizer.ggml.add_space_prefix"] is False


def set_field(part, name, value):
    return lambda model: setattr(getattr(model, part), name, value)


@pytest.mark.parametrize("change, line", [
    (set_field("normalizer_spec", "escape_whitespaces", False), "normalizer_spec.escape_whitespaces = false"),
    (set_field("trainer_spec", "treat_whitespace_as_suffix", True), "trainer_spec.treat_whitespace_as_suffix = true"),
    (set_field("trainer_spec", "model_type", 4), "trainer_spec.model_type = 4"),
    (set_field("denormalizer_spec", "precompiled_charsmap", b"x"), "denormalizer_spec: replacements of characters")])
def test_unknown_in_sentencepiece(change, line, tmp_path):
    folder, _ = sentencepiece_folder(tmp_path, change)
    assert dump(folder)["unknown"] == [f"tokenizer.model: {line}"]


def test_tokenizer_json_beside_a_model(tmp_path):
    """tokenizer.model is read; the other may say the same in its way, but nothing more."""
    folder, _ = sentencepiece_folder(tmp_path, json_too=True)
    metaspace = {**METASPACE, "prepend_scheme": "first"}
    edit(folder / "tokenizer.json", at("pre_tokenizer", metaspace))
    edit(folder / "tokenizer.json", at("normalizer", {"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": ""}, {"type": "Strip", "strip_left": False, "strip_right": True},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]}))
    assert dump(folder)["unknown"] == []
    edit(folder / "tokenizer.json", at("normalizer", {"type": "Lowercase"}))
    edit(folder / "tokenizer.json", added(lstrip=True))
    edit(folder / "tokenizer_config.json", at("added_tokens_decoder", {"0": {"content": "<unk>", "rstrip": True}}))
    assert sorted(dump(folder)["unknown"]) == [
        'tokenizer.json: added_tokens: "<x>": lstrip = true', 'tokenizer.json: normalizer: the step "Lowercase"',
        'tokenizer_config.json: added_tokens_decoder: "<unk>": rstrip = true']


# --- the JSON itself ---

@pytest.mark.parametrize("write", [lambda b: b"\xef\xbb\xbf" + b, lambda b: b.replace(b", ", b",\r\n")])
def test_windows_files(write, tmp_path):
    plain = opened(tmp_path, "llama")
    for file in tmp_path.glob("model/*.json"):
        file.write_bytes(write(file.read_bytes()))
    assert dump(tmp_path / "model") == plain


def test_infinity_is_a_number(tmp_path):
    """Python writes it; where it is no sensible one it is refused as any other."""
    plain = opened(tmp_path, "llama")
    config = tmp_path / "model" / "config.json"
    whole = config.read_bytes()
    config.write_bytes(b'{"x \\" Infinity": "-Infinity", "limit": [0.0, Infinity], ' + whole[1:])
    unknown = dump(tmp_path / "model")["unknown"]
    assert unknown[0] == r'config.json: "x \" Infinity" = "-Infinity"' and unknown[1].startswith("config.json: limit = ")
    config.write_bytes(whole[:-1] + b', "num_hidden_layers": Infinity}')
    with pytest.raises(RuntimeError, match="num_hidden_layers"):
        dump(tmp_path / "model")
    config.write_bytes(whole)
    assert dump(tmp_path / "model") == plain


@pytest.mark.parametrize("data, message", [
    (b'{"a": 1,\n "x": NaN}', "line 2, column 7: NaN is no number of JSON's"),
    (b'{"x": -Infinity}', "line 1, column 8: Infinity is no number of JSON's"),
    (b'// x\n{}', "line 1, column 1: comments are not allowed in JSON"),
    (b'\xef\xbb\xbf{}\n# x', "line 2, column 1: comments are not allowed in JSON"),
    (b'{"x": 1,}', "line 1, column 8: the comma before } is one too many")])
def test_what_is_no_json(data, message, tmp_path):
    opened(tmp_path, "llama")
    (tmp_path / "model" / "config.json").write_bytes(data)
    with pytest.raises(RuntimeError) as error:
        dump(tmp_path / "model")
    assert message in str(error.value) and "config.json: no valid JSON" in str(error.value)
    assert "json.exception" not in str(error.value)
