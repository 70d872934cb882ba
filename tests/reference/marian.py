"""Marian encoder-decoders (Helsinki-NLP's opus-mt) in numpy, and the beam search that goes with them.

Written from "Attention Is All You Need" (arXiv:1706.03762), from Marian's own layer order (a norm after
every sublayer, or before it) and, for the search, from what Hugging Face's generate documents. Nothing is
shared with the C++ code but the names in the GGUF file. No cache: every prefix is computed whole.
"""
import math
import re
import sys

import gguf
import numpy as np
import sentencepiece

from forward import layer_norm, silu


def relu(x):
    return np.maximum(x, 0)


def gelu(x):
    """With the error function, as torch's nn.GELU."""
    erf = np.frompyfunc(math.erf, 1, 1)
    return (0.5 * x * (1 + erf(x / math.sqrt(2)).astype(x.dtype))).astype(x.dtype)


ACTIVATIONS = {"swish": silu, "relu": relu, "gelu": gelu}


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def log_softmax(x):
    """Words of minus infinity stay there and take no part."""
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


class Reader(gguf.GGUFReader):
    """Reads arrays of numbers in one piece: the SentencePiece models are long arrays of bytes."""

    def _get_field_parts(self, orig_offs, raw_type):
        if raw_type != gguf.GGUFValueType.ARRAY:
            return super()._get_field_parts(orig_offs, raw_type)
        kind = gguf.GGUFValueType(int(self._get(orig_offs, np.uint32)[0]))
        item = self.gguf_scalar_to_np.get(kind)
        if item is None:
            return super()._get_field_parts(orig_offs, raw_type)
        count = self._get(orig_offs + 4, np.uint64)
        values = self._get(orig_offs + 12, item, count[0])
        return 12 + values.nbytes, [count, values], [1], [gguf.GGUFValueType.ARRAY, kind]


class Marian:
    """Weights, vocabulary and text of a GGUF file; computes in `dtype`."""

    def __init__(self, path, dtype=np.float32):
        reader = Reader(path)
        self.fields = reader.fields
        assert self.value("general.architecture") == "marian"
        self.dtype = dtype
        self.weights = {}
        for tensor in reader.tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            self.weights[tensor.name] = values.astype(dtype).reshape([int(n) for n in reversed(tensor.shape)])
        self.tokens = self.value("tokenizer.ggml.tokens")
        self.ids = {piece: i for i, piece in enumerate(self.tokens)}
        self.eos = self.value("tokenizer.ggml.eos_token_id")
        self.unknown = self.value("tokenizer.ggml.unknown_token_id")
        self.pad = self.value("tokenizer.ggml.padding_token_id")
        self.start = self.key("decoder_start_token_id")
        self.epsilon = dtype(self.key("attention.layer_norm_epsilon"))
        self.activation = ACTIVATIONS[self.key("activation")]
        self.pre_norm = self.key("normalize_before", False)
        self.source_spm, self.target_spm = (
            sentencepiece.SentencePieceProcessor(model_proto=bytes(self.value(f"tokenizer.marian.{side}_spm")))
            for side in ("source", "target"))

    def value(self, name, default=None):
        return self.fields[name].contents() if name in self.fields else default

    def key(self, name, default=None):
        return self.value(f"marian.{name}", default)

    # Text

    def source_ids(self, text):
        """A target language in front (">>fra<<") is one piece; the rest is the source model's pieces."""
        language = re.match(r">>.+<<", text)
        pieces = [language[0]] if language else []
        pieces += self.source_spm.encode(text[language.end():] if language else text, out_type=str)
        return [self.ids.get(piece, self.unknown) for piece in pieces] + [self.eos]

    def pieces(self, ids):
        return [self.tokens[i] for i in ids]

    def text(self, ids):
        special = (self.eos, self.pad, self.unknown)
        return self.target_spm.decode([self.tokens[i] for i in ids if i not in special])

    # The network; hidden states are [..., positions, width]

    def linear(self, x, name):
        matrix = self.weights[name + ".weight"]
        rows = x.reshape(-1, x.shape[-1]) @ matrix.T  # one product: numpy is slow at stacks of them
        return rows.reshape(*x.shape[:-1], -1) + self.weights[name + ".bias"]

    def norm(self, x, name):
        return layer_norm(x, self.weights[name + ".weight"], self.weights[name + ".bias"], self.epsilon)

    def attention(self, x, memory, name, heads, causal):
        def split(y):
            return y.reshape(*y.shape[:-1], heads, -1).swapaxes(-2, -3)
        q = split(self.linear(x, name + "_q"))
        k, v = split(self.linear(memory, name + "_k")), split(self.linear(memory, name + "_v"))
        scores = q @ k.swapaxes(-1, -2) / self.dtype(math.sqrt(q.shape[-1]))
        if causal:
            scores[..., np.triu(np.ones(scores.shape[-2:], bool), 1)] = -np.inf
        out = (softmax(scores) @ v).swapaxes(-2, -3)
        return self.linear(out.reshape(*out.shape[:-2], -1), name + "_o")

    def sublayer(self, x, norm, function):
        return x + function(self.norm(x, norm)) if self.pre_norm else self.norm(x + function(x), norm)

    def feed_forward(self, x, name):
        return self.linear(self.activation(self.linear(x, name + "ffn_up")), name + "ffn_down")

    def embed(self, ids, table):
        ids = np.asarray(ids)
        scale = self.dtype(self.key("embedding_scale", 1.0))
        return self.weights[table][ids] * scale + self.weights["position_embd.weight"][: ids.shape[-1]]

    def top(self, x, name):
        return self.norm(x, name) if name + ".weight" in self.weights else x

    def encode(self, ids):
        """The encoder's output [positions, width] of one text's ids, eos included."""
        x = self.embed(ids, "token_embd.weight")
        heads = self.key("attention.head_count")
        for n in range(self.key("block_count")):
            p = f"enc.blk.{n}."
            x = self.sublayer(x, p + "attn_norm", lambda y: self.attention(y, y, p + "attn", heads, causal=False))
            x = self.sublayer(x, p + "ffn_norm", lambda y: self.feed_forward(y, p))
        return self.top(x, "enc.output_norm")

    def decode(self, memory, ids):
        """The decoder's output [..., positions, width] for ids [..., positions], the start token included."""
        own = "dec.token_embd.weight" in self.weights
        x = self.embed(ids, "dec.token_embd.weight" if own else "token_embd.weight")
        heads = self.key("decoder_attention_head_count")
        for n in range(self.key("decoder_block_count")):
            p = f"dec.blk.{n}."
            x = self.sublayer(x, p + "attn_norm", lambda y: self.attention(y, y, p + "attn", heads, causal=True))
            x = self.sublayer(x, p + "cross_attn_norm",
                              lambda y: self.attention(y, memory, p + "cross_attn", heads, causal=False))
            x = self.sublayer(x, p + "ffn_norm", lambda y: self.feed_forward(y, p))
        return self.top(x, "dec.output_norm")

    def project(self, x):
        names = ("output.weight", "dec.token_embd.weight", "token_embd.weight")
        matrix = next(self.weights[name] for name in names if name in self.weights)
        return x @ matrix.T + self.weights["output.bias"]

    def logits(self, memory, ids):
        """[positions, vocabulary] by teacher forcing: `ids` follow the start token, one row for each of them
        and one for what comes next."""
        return self.project(self.decode(memory, [self.start, *ids]))

    # Search

    def translate(self, text, beams=4, **options):
        """The hypotheses of one line, best first: (ids without eos, score)."""
        memory = self.encode(self.source_ids(text))

        def step(prefixes):
            start = np.full((len(prefixes), 1), self.start)
            x = self.decode(memory, np.concatenate([start, np.array(prefixes, int).reshape(len(prefixes), -1)], 1))
            return log_softmax(self.project(x[:, -1]))
        if beams == 1:
            found = [greedy(step, self.eos, **options)]
        else:
            found = beam_search(step, self.eos, beams, **options)
        return [([i for i in ids if i != self.eos], score) for ids, score in found]


def greedy(step, eos, max_length=512, length_penalty=1.0, early_stopping=True, bad_words=(), force_eos=False):
    """The likeliest token each time until eos; scored like a beam, so that scores compare."""
    ids, total = [], 0.0
    while len(ids) < max_length - 1 and ids[-1:] != [eos]:
        log_probs = allowed(step([ids]), bad_words, eos, force_eos and len(ids) == max_length - 2)[0]
        ids.append(int(log_probs.argmax()))
        total += log_probs[ids[-1]]
    return ids, float(total / len(ids) ** length_penalty)


def allowed(log_probs, bad_words, eos, only_eos):
    """Bad words take no part: those left are normalised again. At the last position only eos may stand,
    where the model asks for it (Hugging Face's forced_eos_token_id)."""
    if only_eos:
        forced = np.full_like(log_probs, -np.inf)
        forced[:, eos] = 0
        return forced
    if len(bad_words) == 0:
        return log_probs
    log_probs = log_probs.copy()
    log_probs[:, list(bad_words)] = -np.inf
    return log_softmax(log_probs)


def beam_search(step, eos, beams, max_length=512, length_penalty=1.0, early_stopping=False, bad_words=(),
                force_eos=False):
    """Hugging Face's beam search of one sentence: (ids, score) of the finished hypotheses, best first.

    step(prefixes) gives log probabilities [prefixes, vocabulary]. Every step takes the best 2 * beams
    continuations. Those among the first `beams` that end (eos, or the last position) are finished, with the
    score sum / length^length_penalty, eos counted; the best `beams` finished ones are kept. The best `beams`
    that do not end go on. max_length counts the start token, as generate's does. early_stopping True: stop
    once `beams` have finished. False: stop once the best one running, at its length of now, is no better
    than the worst one finished. "never": the same with the length at which it could score best.
    """
    running, finished = [([], 0.0)], []
    for length in range(1, max_length):
        last = length == max_length - 1
        log_probs = allowed(step([ids for ids, _ in running]), bad_words, eos, force_eos and last)
        sums = log_probs + np.array([total for _, total in running], log_probs.dtype)[:, None]
        candidates = [(running[i // sums.shape[1]][0] + [int(i % sums.shape[1])], sums.flat[i])
                      for i in top(sums, 2 * beams)]
        candidates = [c for c in candidates if c[1] > -np.inf]
        finished += [(ids, float(total / length**length_penalty))
                     for ids, total in candidates[:beams] if last or ids[-1] == eos]
        finished = sorted(finished, key=lambda f: -f[1])[:beams]
        running = [c for c in candidates if c[0][-1] != eos][:beams]
        if last or not running:
            break
        if len(finished) == beams:
            hoped = max_length - 1 if early_stopping == "never" and length_penalty > 0 else length
            if early_stopping is True or running[0][1] / hoped**length_penalty <= finished[-1][1]:
                break
    return finished


def top(values, count):
    """Flat indices of the largest values, largest first, the lower index first among equals."""
    flat = values.ravel()
    count = min(count, flat.size)
    least = -np.partition(-flat, count - 1)[count - 1]
    few = np.flatnonzero(flat >= least)
    return few[np.argsort(-flat[few], kind="stable")][:count]


if __name__ == "__main__":
    model = Marian(sys.argv[1])
    for line in sys.stdin:
        for ids, score in model.translate(line.rstrip("\n"), beams=int(sys.argv[2]) if len(sys.argv) > 2 else 4)[:1]:
            print(f"{score:.4f}\t{model.text(ids)}")
