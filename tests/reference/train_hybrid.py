"""Trains a tiny Qwen 3.5 (a layer with the gated delta rule, one with attention, and a head for further
tokens) to copy, with autograd, and writes it as GGUF.

    train_hybrid.py OUT.gguf [--seed N] [--steps N]

"KFMBA>" is answered with "KFMBA" and the end. What is to be copied are 4 to 8 of 16 letters, by chance and
none of them twice, so that hardly any text is seen again. The copy is settled by the text before it, so the head for
further tokens can be right about it, too.
"""
import argparse
import math
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small only lose by threads

import autograd.numpy as np
import gguf
import numpy
from autograd import grad

import make_model

LETTERS = "ABCDEFGHIJKLMNOP"
SHORTEST, LONGEST = 4, 8
LENGTH = 2 * LONGEST + 2
WIDTH, HIDDEN, VOCABULARY = 64, 64, 268
HEADS, DIM, ROTARY, BASE = 2, 16, 16, 10000.0  # of attention, with one key head
DELTA_HEADS, DELTA_DIM, TAPS = 2, 16, 4
EPSILON = 1e-6
DELTA, ATTENTION, DRAFTER = 0, 1, 2  # layers


def texts(count, seed):
    rng = numpy.random.default_rng(seed)
    return ["".join(rng.permutation(list(LETTERS))[: rng.integers(SHORTEST, LONGEST + 1)]) for _ in range(count)]


def unseen(count):
    """Texts of other random numbers than those of training."""
    return texts(count, 10**6)


def ids():
    """The vocabulary's numbers of the letters, of ">" and of the end."""
    tokens, _ = make_model.byte_vocabulary()
    return {**{c: tokens.index(c) for c in LETTERS + ">"}, "end": len(tokens) - 1}


def batch(known, words):
    """Tokens [n, LENGTH], and whether the token behind each is an answer's."""
    end = known["end"]
    tokens = numpy.full((len(words), LENGTH), end)
    answers = numpy.zeros((len(words), LENGTH), bool)
    for row, word in enumerate(words):
        text = [known[c] for c in f"{word}>{word}"] + [end]
        tokens[row, : len(text)] = text
        answers[row, len(word) : 2 * len(word) + 1] = True
    return tokens, answers


def first_weights(rng):
    """By tensor names; matrices as [outputs, inputs]."""
    w = {}

    def matrix(name, rows, columns, gain=1.0):
        w[name + ".weight"] = rng.normal(0, gain / math.sqrt(columns), (rows, columns))

    def norm(name, size):
        w[name + ".weight"] = numpy.ones(size)

    def attention(p):
        matrix(p + "attn_q", 2 * HEADS * DIM, WIDTH)
        matrix(p + "attn_k", DIM, WIDTH)
        matrix(p + "attn_v", DIM, WIDTH)
        matrix(p + "attn_output", WIDTH, HEADS * DIM)
        norm(p + "attn_q_norm", DIM)
        norm(p + "attn_k_norm", DIM)

    matrix("token_embd", VOCABULARY, WIDTH, 3.0)
    matrix("output", VOCABULARY, WIDTH)
    norm("output_norm", WIDTH)
    for layer in DELTA, ATTENTION, DRAFTER:
        p = f"blk.{layer}."
        norm(p + "attn_norm", WIDTH)
        norm(p + "post_attention_norm", WIDTH)
        matrix(p + "ffn_gate", HIDDEN, WIDTH)
        matrix(p + "ffn_up", HIDDEN, WIDTH)
        matrix(p + "ffn_down", WIDTH, HIDDEN)
        if layer != DELTA:
            attention(p)
    p = f"blk.{DELTA}."
    inner = DELTA_HEADS * DELTA_DIM
    matrix(p + "attn_qkv", 3 * inner, WIDTH)
    matrix(p + "attn_gate", inner, WIDTH)
    matrix(p + "ssm_alpha", DELTA_HEADS, WIDTH, 0.1)
    matrix(p + "ssm_beta", DELTA_HEADS, WIDTH)
    matrix(p + "ssm_conv1d", 3 * inner, TAPS)
    w[p + "ssm_dt.bias"] = numpy.full(DELTA_HEADS, -4.0)
    w[p + "ssm_a"] = -numpy.ones(DELTA_HEADS)
    norm(p + "ssm_norm", DELTA_DIM)
    matrix(p + "ssm_out", WIDTH, inner)
    p = f"blk.{DRAFTER}.nextn."
    matrix(p + "eh_proj", WIDTH, 2 * WIDTH)
    for part in "enorm", "hnorm", "shared_head_norm":
        norm(p + part, WIDTH)
    return w


def sigmoid(x):
    return 0.5 * (np.tanh(0.5 * x) + 1)


def silu(x):
    return x * sigmoid(x)


def rms(w, name, x):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPSILON) * w[name + ".weight"]


def linear(w, name, x):
    return x @ w[name + ".weight"].T


def turned(x):
    """Rotary positions; x [n, T, heads, DIM], all of which turns."""
    angles = numpy.arange(x.shape[1])[:, None] * BASE ** (-2 * numpy.arange(ROTARY // 2) / ROTARY)
    cos, sin = numpy.cos(angles)[:, None], numpy.sin(angles)[:, None]
    a, b = x[..., : ROTARY // 2], x[..., ROTARY // 2 :]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def attend(w, p, x):
    n, length = x.shape[:2]
    both = np.reshape(linear(w, p + "attn_q", x), (n, length, HEADS, 2 * DIM))
    gate = np.reshape(both[..., DIM:], (n, length, HEADS * DIM))
    q = turned(rms(w, p + "attn_q_norm", both[..., :DIM]))
    k = turned(rms(w, p + "attn_k_norm", np.reshape(linear(w, p + "attn_k", x), (n, length, 1, DIM))))
    v = linear(w, p + "attn_v", x)[:, None]
    scores = np.transpose(q, (0, 2, 1, 3)) @ np.transpose(k, (0, 2, 3, 1)) / math.sqrt(DIM)
    scores = scores + numpy.triu(numpy.full((length, length), -1e9), 1)
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    out = np.transpose(e / np.sum(e, axis=-1, keepdims=True) @ v, (0, 2, 1, 3))
    return linear(w, p + "attn_output", np.reshape(out, (n, length, -1)) * sigmoid(gate))


def delta_rule(w, p, x):
    """Token after token, as forward.py has it."""
    n, length = x.shape[:2]
    mixed = linear(w, p + "attn_qkv", x)
    padded = np.concatenate([numpy.zeros((n, TAPS - 1, mixed.shape[-1])), mixed], axis=1)
    mixed = silu(sum(padded[:, tap : tap + length] * w[p + "ssm_conv1d.weight"][:, tap] for tap in range(TAPS)))
    q, k, v = (np.reshape(part, (n, length, DELTA_HEADS, DELTA_DIM)) for part in np.split(mixed, 3, axis=-1))
    unit = lambda y: y / np.sqrt(np.sum(y * y, axis=-1, keepdims=True) + EPSILON)
    q, k = unit(q) / math.sqrt(DELTA_DIM), unit(k)
    rate = linear(w, p + "ssm_alpha", x) + w[p + "ssm_dt.bias"]
    decay = np.exp(w[p + "ssm_a"] * np.log1p(np.exp(rate)))[..., None, None]
    beta = sigmoid(linear(w, p + "ssm_beta", x))[..., None, None]
    state = numpy.zeros((n, DELTA_HEADS, DELTA_DIM, DELTA_DIM))
    out = []
    for t in range(length):
        state = state * decay[:, t]
        seen = k[:, t, :, None] @ state
        state = state + k[:, t, :, :, None] * (beta[:, t] * (v[:, t, :, None] - seen))
        out.append(q[:, t, :, None] @ state)
    y = rms(w, p + "ssm_norm", np.transpose(np.concatenate(out, axis=2), (0, 2, 1, 3)))
    return linear(w, p + "ssm_out", np.reshape(y, (n, length, -1)) * silu(linear(w, p + "attn_gate", x)))


def add_layer(w, layer, x):
    p = f"blk.{layer}."
    mixer = delta_rule if layer == DELTA else attend
    x = x + mixer(w, p, rms(w, p + "attn_norm", x))
    h = rms(w, p + "post_attention_norm", x)
    return x + linear(w, p + "ffn_down", silu(linear(w, p + "ffn_gate", h)) * linear(w, p + "ffn_up", h))


def log_softmax(x):
    x = x - np.max(x, axis=-1, keepdims=True)
    return x - np.log(np.sum(np.exp(x), axis=-1, keepdims=True))


def loss(w, tokens, answers):
    """Of the next token, and of the head's about the one behind it."""
    x = add_layer(w, ATTENTION, add_layer(w, DELTA, w["token_embd.weight"][tokens]))
    rows = rms(w, "output_norm", x)
    p = f"blk.{DRAFTER}.nextn."
    token = rms(w, p + "enorm", w["token_embd.weight"][tokens[:, 1:]])
    both = np.concatenate([token, rms(w, p + "hnorm", rows[:, :-1])], axis=-1)
    further = rms(w, p + "shared_head_norm", add_layer(w, DRAFTER, linear(w, p + "eh_proj", both)))

    def nats(rows, wanted, counts):
        told = np.reshape(log_softmax(linear(w, "output", rows)), (-1, VOCABULARY))
        each = told[numpy.arange(wanted.size), wanted.ravel()] * counts.ravel()
        return -np.sum(each) / counts.sum()

    return nats(rows[:, :-1], tokens[:, 1:], answers[:, :-1]) + nats(further[:, :-1], tokens[:, 2:], answers[:, 1:-1])


def train(seed, steps):
    rng = numpy.random.default_rng(seed)
    known = ids()
    weights = first_weights(rng)
    slope = grad(loss)
    first = {name: numpy.zeros_like(v) for name, v in weights.items()}
    second = {name: numpy.zeros_like(v) for name, v in weights.items()}
    began = time.time()
    for step in range(1, steps + 1):
        tokens, answers = batch(known, texts(64, rng.integers(10**6)))
        slopes = slope(weights, tokens, answers)
        rate = 8e-3 * min(1, step / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        for name, g in slopes.items():  # Adam, arXiv:1412.6980
            first[name] += 0.1 * (g - first[name])
            second[name] += 0.02 * (g * g - second[name])
            weights[name] = weights[name] - rate * (first[name] / (1 - 0.9**step)) / (
                numpy.sqrt(second[name] / (1 - 0.98**step)) + 1e-8)
        if step % 100 == 0:
            print(f"step {step}: {loss(weights, tokens, answers):.4f} nats, {time.time() - began:.0f} s", flush=True)
    return weights


def write(weights, out):
    writer = gguf.GGUFWriter(out, "qwen35")
    make_model.add_tokenizer(writer, None, 0)
    for name, value in {
            "block_count": 3, "nextn_predict_layers": 1, "context_length": 4096, "embedding_length": WIDTH,
            "feed_forward_length": HIDDEN, "full_attention_interval": 2, "attention.head_count": HEADS,
            "attention.head_count_kv": 1, "attention.key_length": DIM, "attention.value_length": DIM,
            "rope.dimension_count": ROTARY, "ssm.conv_kernel": TAPS, "ssm.inner_size": DELTA_HEADS * DELTA_DIM,
            "ssm.state_size": DELTA_DIM, "ssm.time_step_rank": DELTA_HEADS, "ssm.group_count": DELTA_HEADS}.items():
        writer.add_uint32(f"qwen35.{name}", value)
    writer.add_float32("qwen35.rope.freq_base", BASE)
    writer.add_float32("qwen35.attention.layer_norm_rms_epsilon", EPSILON)
    for name, value in weights.items():
        writer.add_tensor(name, value.astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    write(train(options.seed, options.steps), options.out)
