"""Trains a tiny Marian model on a made-up language pair, in numpy, and writes it in Hugging Face's layout.

    train_toy.py OUT_FOLDER [--seed N] [--steps N]

English noun phrases and verbs become words of a small language that has no articles, puts adjectives and
numbers after the noun, marks plurals, and puts the verb last: "two red cats see the old dog" is
"mirai sulo ka belun tag vidu". What is learned must be put together anew in unseen sentences.
"""
import argparse
import itertools
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small only lose by threads

import numpy as np

import marian_folders

NOUNS = {"cat": "mira", "dog": "belu", "house": "tona", "river": "seki", "child": "pomi", "horse": "gara",
         "tree": "luve", "king": "rosa", "boat": "nedi", "bird": "fila", "stone": "kuno", "woman": "jaba"}
PLURALS = {"child": "children", "woman": "women"}
ADJECTIVES = {"red": "sulo", "old": "tag", "small": "wen", "white": "dorf", "good": "plim", "dark": "hask",
              "quiet": "yrra", "strong": "obst"}
NUMBERS = {"two": "ka", "three": "mun", "four": "zot", "five": "reg", "seven": "shi"}
VERBS = {"see": "vidu", "find": "tropa", "love": "amra", "carry": "benku", "want": "cheli", "know": "dunsa",
         "leave": "eksi"}
THIRD = {"carry": "carries"}


def phrase(rng):
    """(English words, target words, plural?)"""
    noun = str(rng.choice(list(NOUNS)))
    number = str(rng.choice(list(NUMBERS))) if rng.random() < 0.5 else None
    adjective = str(rng.choice(list(ADJECTIVES))) if rng.random() < 0.6 else None
    english = [number or "the"] + ([adjective] if adjective else [])
    english.append(PLURALS.get(noun, noun + "s") if number else noun)
    target = [NOUNS[noun] + ("i" if number else "")] + ([ADJECTIVES[adjective]] if adjective else [])
    return english, target + ([NUMBERS[number]] if number else []), number is not None


def sentence(rng):
    """A line and its translation."""
    subject, subject_target, plural = phrase(rng)
    verb = str(rng.choice(list(VERBS)))
    words, target = list(subject), list(subject_target)
    words.append(verb if plural else THIRD.get(verb, verb + "s"))
    if rng.random() < 0.8:
        thing, thing_target, _ = phrase(rng)
        words += thing
        target += [thing_target[0] + "n"] + thing_target[1:]
    return " ".join(words), " ".join(target + [VERBS[verb]])


def corpus(seed, count):
    rng = np.random.default_rng(seed)
    return list(dict.fromkeys(sentence(rng) for _ in range(count)))


def unseen(count, seed=1, trained=None):
    """Pairs that training with this seed does not see."""
    seen = set(trained if trained is not None else corpus(seed, CORPUS))
    fresh = (pair for pair in corpus(seed + 1000, 50 * count) if pair not in seen)
    return list(itertools.islice(fresh, count))


class Var:
    """A value in the graph; `back` hands its gradient on to what it was made of."""

    def __init__(self, value, parents=(), back=None):
        self.value, self.parents, self.back, self.grad = value, parents, back, None

    def add_grad(self, grad):
        self.grad = grad if self.grad is None else self.grad + grad


def backward(loss):
    order, seen = [], set()
    stack = [(loss, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack += [(parent, False) for parent in node.parents]
    loss.grad = np.float32(1)
    for node in reversed(order):
        if node.back:
            node.back(node.grad)


def linear(x, weight, bias):
    flat = x.value.reshape(-1, x.value.shape[-1])
    out = flat @ weight.value.T + bias.value

    def back(grad):
        grad = grad.reshape(out.shape)
        weight.add_grad(grad.T @ flat)
        bias.add_grad(grad.sum(0).reshape(bias.value.shape))
        x.add_grad((grad @ weight.value).reshape(x.value.shape))
    return Var(out.reshape(*x.value.shape[:-1], -1), (x, weight, bias), back)


def embed(table, ids, scale, positions):
    def back(grad):
        rows = np.zeros_like(table.value)
        np.add.at(rows, ids.ravel(), grad.reshape(-1, grad.shape[-1]) * scale)
        table.add_grad(rows)
    return Var(table.value[ids] * scale + positions[: ids.shape[1]], (table,), back)


def add(x, y):
    def back(grad):
        x.add_grad(grad)
        y.add_grad(grad)
    return Var(x.value + y.value, (x, y), back)


def norm(x, weight, bias):
    centred = x.value - x.value.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-5))
    unit = centred * inverse

    def back(grad):
        weight.add_grad((grad * unit).sum((0, 1)))
        bias.add_grad(grad.sum((0, 1)))
        grad = grad * weight.value
        x.add_grad(inverse * (grad - grad.mean(-1, keepdims=True) - unit * (grad * unit).mean(-1, keepdims=True)))
    return Var(unit * weight.value + bias.value, (x, weight, bias), back)


def swish(x):
    gate = 1 / (1 + np.exp(-x.value))
    return Var(x.value * gate, (x,), lambda grad: x.add_grad(grad * gate * (1 + x.value * (1 - gate))))


def attention(q, k, v, heads, causal):
    def split(x):
        return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

    def join(x):
        return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)
    a, b, c = split(q.value), split(k.value), split(v.value)
    scale = np.float32(a.shape[-1] ** -0.5)
    scores = a @ b.swapaxes(-1, -2) * scale
    if causal:
        scores += np.triu(np.full(scores.shape[-2:], -1e9, np.float32), 1)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)

    def back(grad):
        grad = split(grad)
        v.add_grad(join(p.swapaxes(-1, -2) @ grad))
        dp = grad @ c.swapaxes(-1, -2)
        ds = p * (dp - (dp * p).sum(-1, keepdims=True)) * scale
        q.add_grad(join(ds @ b))
        k.add_grad(join(ds.swapaxes(-1, -2) @ a))
    return Var(join(p @ c), (q, k, v), back)


def cross_entropy(logits, labels, smoothing=0.1):
    """Mean over all labels, smoothed as opus-mt's training does (which also keeps gradients out of the
    denormal numbers, where processors are slow)."""
    rows = logits.value.reshape(-1, logits.value.shape[-1])
    p = np.exp(rows - rows.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    picked = (np.arange(labels.size), labels.ravel())

    def back(grad):
        d = p.copy()
        d -= np.float32(smoothing / d.shape[1])
        d[picked] -= np.float32(1 - smoothing)
        logits.add_grad((d * (grad / labels.size)).reshape(logits.value.shape))
    log_p = np.log(p + np.float32(1e-20))
    return Var(-(1 - smoothing) * log_p[picked].mean() - smoothing * log_p.mean(), (logits,), back)


def forward(w, config, positions, source, target):
    """Logits [batch, target, vocabulary]; w holds the parameters by Hugging Face's names."""
    scale = np.float32(np.sqrt(config["d_model"]))

    def lin(x, name):
        return linear(x, w[name + ".weight"], w[name + ".bias"])

    def block(x, name, memory, causal):
        heads = config["decoder_attention_heads"]
        y = attention(lin(x, name + ".q_proj"), lin(memory, name + ".k_proj"), lin(memory, name + ".v_proj"),
                      heads, causal)
        return finish(x, lin(y, name + ".out_proj"), name + "_layer_norm")

    def finish(x, y, name):
        return norm(add(x, y), w[name + ".weight"], w[name + ".bias"])

    def feed_forward(x, p):
        return finish(x, lin(swish(lin(x, p + "fc1")), p + "fc2"), p + "final_layer_norm")

    x = embed(w["model.shared.weight"], source, scale, positions)
    for n in range(config["encoder_layers"]):
        p = f"model.encoder.layers.{n}."
        x = feed_forward(block(x, p + "self_attn", x, False), p)
    memory = x
    x = embed(w["model.shared.weight"], target, scale, positions)
    for n in range(config["decoder_layers"]):
        p = f"model.decoder.layers.{n}."
        x = block(x, p + "self_attn", x, True)
        x = feed_forward(block(x, p + "encoder_attn", memory, False), p)
    return linear(x, w["model.shared.weight"], w["final_logits_bias"])


def initial(config, seed):
    rng = np.random.default_rng(seed)
    shapes = marian_folders.random_weights(config, seed)
    w = {}
    for name, like in shapes.items():
        if "layer_norm" in name:
            value = np.ones_like(like) if name.endswith("weight") else np.zeros_like(like)
        elif like.ndim == 2 and "bias" not in name:
            value = rng.standard_normal(like.shape, np.float32) / np.float32(np.sqrt(like.shape[1]))
        else:
            value = np.zeros_like(like)
        w[name] = Var(value)
    w["model.shared.weight"].value[config["pad_token_id"]] = 0
    return w


class Adam:
    def __init__(self, w):
        self.w, self.step = w, 0
        self.m = {name: np.zeros_like(p.value) for name, p in w.items()}
        self.v = {name: np.zeros_like(p.value) for name, p in w.items()}

    def update(self, rate):
        self.step += 1
        for name, p in self.w.items():
            self.m[name] += 0.1 * (p.grad - self.m[name])
            self.v[name] += 0.02 * (p.grad * p.grad - self.v[name])
            mean, square = self.m[name] / (1 - 0.9**self.step), self.v[name] / (1 - 0.98**self.step)
            p.value -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-8))
            p.grad = None


def make_tokenizer(pairs):
    models, tokens = [], ["</s>", "<unk>"]
    for side in (0, 1):
        lines = [pair[side] for pair in pairs]
        models.append(marian_folders.train_spm(lines, 100))
        processor = marian_folders.sentencepiece.SentencePieceProcessor(model_proto=models[-1])
        tokens += [processor.id_to_piece(i) for i in range(3, processor.get_piece_size())]
    return marian_folders.Tokenizer(list(dict.fromkeys(tokens)) + ["<pad>"], *models)


def batches(pairs, tokenizer, config, size, rng):
    """Batches without padding: lines of the same lengths on both sides."""
    ids = {token: i for i, token in enumerate(tokenizer.tokens)}
    sides = [marian_folders.sentencepiece.SentencePieceProcessor(model_proto=spm)
             for spm in (tokenizer.source_spm, tokenizer.target_spm)]
    groups = {}
    for pair in pairs:
        a, b = ([ids[p] for p in side.encode(text, out_type=str)] + [config["eos_token_id"]]
                for side, text in zip(sides, pair))
        groups.setdefault((len(a), len(b)), []).append((a, b))
    groups = [[np.array(side) for side in zip(*group)] for group in groups.values()]
    weights = np.array([len(group[0]) for group in groups], float)
    while True:
        source, target = groups[rng.choice(len(groups), p=weights / weights.sum())]
        chosen = rng.integers(len(source), size=min(size, len(source)))
        yield source[chosen], target[chosen]


CORPUS = 4000


def train(folder, seed=1, steps=1000, batch=48, rate=2e-3, report=lambda line: None):
    """Writes the model to the folder and returns the last losses' mean."""
    pairs = corpus(seed, CORPUS)
    tokenizer = make_tokenizer(pairs)
    config = marian_folders.make_config(len(tokenizer.tokens), width=64, layers=2, heads=4, feed_forward=128)
    positions = marian_folders.positions(config)
    w = initial(config, seed)
    adam, losses = Adam(w), []
    start = time.monotonic()
    for step, (source, target) in enumerate(itertools.islice(
            batches(pairs, tokenizer, config, batch, np.random.default_rng(seed)), steps)):
        begin = np.full((len(target), 1), config["decoder_start_token_id"])
        logits = forward(w, config, positions, source, np.concatenate([begin, target[:, :-1]], 1))
        loss = cross_entropy(logits, target)
        backward(loss)
        w["model.shared.weight"].grad[config["pad_token_id"]] = 0
        adam.update(rate * min((step + 1) / 100, 1 - step / steps))
        losses.append(float(loss.value))
        if (step + 1) % 100 == 0:
            report(f"step {step + 1}: loss {np.mean(losses[-100:]):.4f}, {time.monotonic() - start:.1f} s")
    weights = {name: p.value for name, p in w.items()}
    marian_folders.write_hf(folder, weights, config, tokenizer)
    return float(np.mean(losses[-50:]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    train(options.folder, options.seed, options.steps, report=print)
