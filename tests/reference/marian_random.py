"""Random weights of Marian models whose translations look alive: every position and every word of the
source matter, words differ along the sentence, and sentences of differing lengths end by themselves.

Random transformers collapse otherwise (every position ends up the same: the mean of an activation, biases
and attention are common to all). So: second feed-forward matrices with rows of mean zero, small biases,
attention smaller than feed-forward, and one channel that carries the position past all decoder layers to
the row of </s>, which therefore grows likelier word by word.
"""
import numpy as np

# The sine of the position over about 20: rises for the first 31 words.
SLOWNESS = 20


def position_channel(config):
    return round(config["d_model"] / 2 * np.log(SLOWNESS) / np.log(10000))


def weights(config, seed, eos_bias=12.0, eos_slope=30.0, sharpness=2.5):
    """Float32 weights by Hugging Face's names, for marian_folders' writers."""
    rng = np.random.default_rng(seed)
    width, vocabulary, hidden = config["d_model"], config["vocab_size"], config["encoder_ffn_dim"]
    channel = position_channel(config)
    out = {}

    def normal(*shape, std):
        return rng.standard_normal(shape, np.float32) * np.float32(std)

    def linear(name, outputs, inputs, gain):
        out[name + ".weight"] = normal(outputs, inputs, std=gain / np.sqrt(inputs))
        out[name + ".bias"] = normal(outputs, std=0.02)

    def keep_channel(linear_name):
        out[linear_name + ".weight"][channel] = 0
        out[linear_name + ".bias"][channel] = 0

    def norm(name, gain, kept):
        out[name + ".weight"] = 1 + normal(width, std=0.1)
        out[name + ".bias"] = normal(width, std=0.02)
        if kept:  # the norm divides by what the sublayer added; the channel takes no part in that
            out[name + ".weight"][channel] = np.sqrt(1 + gain**2)
            out[name + ".bias"][channel] = 0

    def attention(name, gain, sharp, kept):
        for part, scale in (("q", sharp), ("k", sharp), ("v", gain), ("out", gain)):
            linear(f"{name}.{part}_proj", width, width, scale)
        if kept:
            keep_channel(f"{name}.out_proj")

    embedding = normal(vocabulary, width, std=1 / np.sqrt(width))
    embedding[:, channel] = 0
    embedding[config["eos_token_id"], channel] = 1
    embedding[config["pad_token_id"]] = 0
    out["model.shared.weight"] = embedding
    for side in ("encoder", "decoder"):
        decoder = side == "decoder"
        for layer in range(config[f"{side}_layers"]):
            p = f"model.{side}.layers.{layer}."
            attention(p + "self_attn", 0.8 if decoder else 0.5, 2.0, decoder)
            norm(p + "self_attn_layer_norm", 0.6, decoder)
            if decoder:
                attention(p + "encoder_attn", 0.8, 2.0, True)
                norm(p + "encoder_attn_layer_norm", 0.6, True)
            linear(p + "fc1", hidden, width, 1.0)
            linear(p + "fc2", width, hidden, 4.0)
            out[p + "fc2.weight"] -= out[p + "fc2.weight"].mean(axis=1, keepdims=True)
            if decoder:
                keep_channel(p + "fc2")
            norm(p + "final_layer_norm", 2.4, decoder)
    last = f"model.decoder.layers.{config['decoder_layers'] - 1}.final_layer_norm.weight"
    out[last] *= sharpness
    out[last][channel] = eos_slope
    bias = normal(1, vocabulary, std=0.3)
    bias[0, config["eos_token_id"]] = eos_bias
    bias[0, config["pad_token_id"]] = 0
    out["final_logits_bias"] = bias
    return {name: value.astype(np.float32) for name, value in out.items()}
