"""Small Hugging Face folders with random weights, written by safetensors and tokenizers."""
import json

import numpy as np
from safetensors.numpy import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, \
    processors, trainers

TEXT = ["Hello world, this is a small text with 1234 numbers and words.", "Tiny models learn tiny "
        "vocabularies; they're fun, aren't they?", "naïve café über straße 你好 мир"] * 20
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")

LAYERS, WIDTH, HEADS, KV_HEADS, FEED_FORWARD = 2, 64, 4, 2, 96


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level_tokenizer(pre_tokenizer, vocabulary=400, bos=None, ignore_merges=False, normalizer=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=vocabulary - 4, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    tokenizer.add_tokens([AddedToken("▁user▁made", normalized=False)])
    if bos:
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[
                (bos, tokenizer.token_to_id(bos))])])
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def character_tokenizer(gemma=False):
    """As transformers makes SentencePiece's BPE over for Llama 2, or Gemma."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    trained.train_from_iterator(TEXT, trainers.BpeTrainer(
        vocab_size=460, show_progress=False, special_tokens=special))
    data = json.loads(trained.to_str())
    data["model"].update(byte_fallback=True, fuse_unk=True)
    data["pre_tokenizer"] = None
    data["added_tokens"] = data["added_tokens"][:3]
    data["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    if gemma:
        data["normalizer"] = data["normalizer"]["normalizers"][1]
        data["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "},
                                 "behavior": "MergedWithPrevious", "invert": False}
    data["post_processor"] = None
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def llama_tensors(rng, vocabulary, dtype=np.float32, biases=False, norms=(), head_dim=16,
                  tied=False):
    def normal(*shape):
        return rng.normal(0, 0.1, shape).astype(dtype)
    out = {"model.embed_tokens.weight": normal(vocabulary, WIDTH), "model.norm.weight": normal(WIDTH)}
    if not tied:
        out["lm_head.weight"] = normal(vocabulary, WIDTH)
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        for name, rows in (("q", HEADS), ("k", KV_HEADS), ("v", KV_HEADS)):
            out[p + f"self_attn.{name}_proj.weight"] = normal(rows * head_dim, WIDTH)
            if biases:
                out[p + f"self_attn.{name}_proj.bias"] = normal(rows * head_dim)
        out[p + "self_attn.o_proj.weight"] = normal(WIDTH, HEADS * head_dim)
        for name in ("gate", "up"):
            out[p + f"mlp.{name}_proj.weight"] = normal(FEED_FORWARD, WIDTH)
        out[p + "mlp.down_proj.weight"] = normal(WIDTH, FEED_FORWARD)
        for name in ("input_layernorm", "post_attention_layernorm", *norms):
            size = head_dim if name.startswith("self_attn") else WIDTH
            out[p + name + ".weight"] = normal(size)
    return out


def gpt2_tensors(rng, vocabulary, context=32):
    def normal(*shape):
        return rng.normal(0, 0.1, shape).astype(np.float32)
    out = {"wte.weight": normal(vocabulary, WIDTH), "wpe.weight": normal(context, WIDTH),
           "ln_f.weight": normal(WIDTH), "ln_f.bias": normal(WIDTH)}
    for layer in range(LAYERS):
        p = f"h.{layer}."
        for name, rows, columns in (("attn.c_attn", WIDTH, 3 * WIDTH), ("attn.c_proj", WIDTH, WIDTH),
                                    ("mlp.c_fc", WIDTH, 4 * WIDTH), ("mlp.c_proj", 4 * WIDTH, WIDTH)):
            out[p + name + ".weight"] = normal(rows, columns)
            out[p + name + ".bias"] = normal(columns)
        for name in ("ln_1", "ln_2"):
            out[p + name + ".weight"] = normal(WIDTH)
            out[p + name + ".bias"] = normal(WIDTH)
        out[p + "attn.bias"] = np.tril(np.ones((1, 1, context, context), np.uint8))
    return out


def base_config(model_type, vocabulary, **more):
    return {"model_type": model_type, "hidden_size": WIDTH, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
            "intermediate_size": FEED_FORWARD, "vocab_size": vocabulary,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, **more}


def write_folder(folder, config, tensors, tokenizer, tokenizer_config=None, generation=None, parts=1):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config or {}))
    if generation:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    if parts == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names, weight_map = sorted(tensors), {}
    for part in range(parts):
        file = f"model-{part + 1:05}-of-{parts:05}.safetensors"
        mine = {n: tensors[n] for n in names[part::parts]}
        save_file(mine, folder / file)
        weight_map.update({n: file for n in mine})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def write_family(folder, family, parts=1):
    """One of FAMILIES; returns its tensors under the folder's names and its config."""
    rng = np.random.default_rng(17)
    vocabulary = 464 if family in ("mistral", "gemma3_text") else 400
    bos = {"bos_token": "<|begin|>", "eos_token": {"content": "<|end|>"},
           "chat_template": "{{ messages }}"}
    chars = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    if family == "llama":
        config = base_config("llama", vocabulary, rope_scaling={
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 256})
        tensors = llama_tensors(rng, vocabulary, np.float16)
        args = (byte_level_tokenizer(split(LLAMA3), bos="<|begin|>", ignore_merges=True), bos, {"eos_token_id": [397, 1]})
    elif family == "mistral":
        config = base_config("mistral", vocabulary, rope_theta=10000.0)
        tensors = llama_tensors(rng, vocabulary)
        args = (character_tokenizer(), chars, None)
    elif family == "qwen2":
        config = base_config("qwen2", vocabulary, tie_word_embeddings=True)
        tensors = llama_tensors(rng, vocabulary, biases=True, tied=True)
        args = (byte_level_tokenizer(split(QWEN2), normalizer=normalizers.NFC()), bos, None)
    elif family == "qwen3":
        config = base_config("qwen3", vocabulary, head_dim=32)
        tensors = llama_tensors(rng, vocabulary, head_dim=32,
                                norms=("self_attn.q_norm", "self_attn.k_norm"))
        args = (byte_level_tokenizer(split(QWEN2), normalizer=normalizers.NFC()), bos, None)
    elif family == "gemma3_text":
        config = base_config("gemma3_text", vocabulary, head_dim=32, sliding_window=64,
                             rope_local_base_freq=10000.0)
        tensors = llama_tensors(rng, vocabulary + 8, head_dim=32, tied=True, norms=(
            "self_attn.q_norm", "self_attn.k_norm", "pre_feedforward_layernorm",
            "post_feedforward_layernorm"))
        args = (character_tokenizer(gemma=True), chars, None)
    else:
        config = {"model_type": "gpt2", "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS,
                  "n_positions": 32, "vocab_size": vocabulary, "layer_norm_epsilon": 1e-5,
                  "n_inner": None}
        tensors = gpt2_tensors(rng, vocabulary)
        args = (byte_level_tokenizer(pre_tokenizers.ByteLevel(add_prefix_space=False)), bos, None)
    write_folder(folder, config, tensors, *args, parts=parts)
    return tensors, config


FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gemma3_text", "gpt2"]
