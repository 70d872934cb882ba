"""Forward passes of the model families in float32 numpy, written from the papers.

The oracle of Outboard's logits: nothing here is shared with the C++ code but the names of metadata
keys and tensors, which are GGUF's. One text at a time, no cache, every position at once.
"""
import numpy as np
import gguf


class Model:
    """Metadata and tensors of a GGUF file; tensors are dequantized when asked for."""

    def __init__(self, path):
        self.reader = gguf.GGUFReader(path)
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.arch = self.value("general.architecture")

    def value(self, key, default=None):
        field = self.reader.fields.get(key)
        return default if field is None else field.contents()

    def key(self, name, default=None):
        return self.value(f"{self.arch}.{name}", default)

    def __contains__(self, name):
        return name in self.tensors

    def __getitem__(self, name):
        t = self.tensors[name]
        rows = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        return rows.reshape([int(n) for n in reversed(t.shape)])

    def linear(self, x, name):
        y = x @ self[f"{name}.weight"].T
        return y + self[f"{name}.bias"] if f"{name}.bias" in self else y


def rms_norm(x, weight, eps):
    """arXiv:1910.07467: divide by the root of the mean square."""
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def layer_norm(x, weight, bias, eps):
    """arXiv:1607.06450."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight + bias


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    """arXiv:1606.08415, the approximation with tanh."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def rope(x, base, rotary, halves, scale=1.0, factors=None):
    """arXiv:2104.09864 on x [tokens, heads, head_dim]: the pair i of each head turns by
    position * base^(-2i/rotary). Pairs are (i, i + rotary/2) if halves, else neighbours."""
    i = np.arange(rotary // 2)
    frequency = base ** (-2.0 * i / rotary) / scale
    if factors is not None:
        frequency = frequency / factors
    angle = np.arange(x.shape[0])[:, None, None] * frequency
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    out = x.copy()
    a, b = (slice(0, rotary // 2), slice(rotary // 2, rotary)) if halves else (
        slice(0, rotary, 2), slice(1, rotary, 2))
    out[..., a] = x[..., a] * cos - x[..., b] * sin
    out[..., b] = x[..., a] * sin + x[..., b] * cos
    return out


def attention(q, k, v, scale, window=0):
    """q [tokens, heads, d], k and v [tokens, kv_heads, d]; causal, optionally within a window."""
    n, heads, _ = q.shape
    group = heads // k.shape[1]
    distance = np.arange(n)[:, None] - np.arange(n)[None, :]
    hidden = distance < 0
    if window:
        hidden |= distance >= window
    out = np.empty((n, heads, v.shape[2]), np.float32)
    for h in range(heads):
        scores = (q[:, h] @ k[:, h // group].T) * np.float32(scale)
        scores[hidden] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, h] = (scores / scores.sum(axis=-1, keepdims=True)) @ v[:, h // group]
    return out.reshape(n, -1)


def experts(m, x, layer, used):
    """Top-`used` of the experts by router probability, weights renormalised (arXiv:2401.04088)."""
    p = f"blk.{layer}.ffn_"
    scores = x @ m[p + "gate_inp.weight"].T
    probability = np.exp(scores - scores.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    gate, up, down = (m[p + f"{n}_exps.weight"] for n in ("gate", "up", "down"))
    out = np.zeros_like(x)
    for t in range(x.shape[0]):
        best = np.argsort(-probability[t], kind="stable")[:used]
        weight = probability[t, best] / probability[t, best].sum()
        for e, w in zip(best, weight):
            out[t] += w * (down[e] @ (silu(gate[e] @ x[t]) * (up[e] @ x[t])))
    return out


def decoder(m, tokens, halves, head_norms=False, gemma=False):
    """Llama, Mistral, Qwen and Gemma 3: one loop, the differences named."""
    width = m.key("embedding_length")
    heads = m.key("attention.head_count")
    kv_heads = m.key("attention.head_count_kv", heads)
    dim = m.key("attention.key_length", width // heads)
    eps = np.float32(m.key("attention.layer_norm_rms_epsilon"))
    base = m.key("rope.freq_base", 10000.0)
    rotary = m.key("rope.dimension_count", dim)
    scaling = m.key("rope.scaling.factor", 1.0) if m.key("rope.scaling.type") == "linear" else 1.0
    factors = m["rope_freqs.weight"] if "rope_freqs.weight" in m else None
    used = m.key("expert_used_count", 0)
    n = len(tokens)
    x = m["token_embd.weight"][tokens]
    if gemma:
        x = x * np.float32(np.sqrt(width))
    for layer in range(m.key("block_count")):
        p = f"blk.{layer}."
        local = gemma and (layer + 1) % 6 != 0
        layer_base, layer_scaling = (10000.0, 1.0) if local else (base, scaling)
        window = m.key("attention.sliding_window", 0) if local or not gemma else 0

        h = rms_norm(x, m[p + "attn_norm.weight"], eps)
        q = m.linear(h, p + "attn_q").reshape(n, heads, dim)
        k = m.linear(h, p + "attn_k").reshape(n, kv_heads, dim)
        v = m.linear(h, p + "attn_v").reshape(n, kv_heads, dim)
        if head_norms:
            q = rms_norm(q, m[p + "attn_q_norm.weight"], eps)
            k = rms_norm(k, m[p + "attn_k_norm.weight"], eps)
        q = rope(q, layer_base, rotary, halves, layer_scaling, factors)
        k = rope(k, layer_base, rotary, halves, layer_scaling, factors)
        a = m.linear(attention(q, k, v, dim**-0.5, window), p + "attn_output")
        if gemma:
            a = rms_norm(a, m[p + "post_attention_norm.weight"], eps)
        x = x + a

        h = rms_norm(x, m[p + "ffn_norm.weight"], eps)
        if used:
            f = experts(m, h, layer, used)
        else:
            act = gelu_tanh if gemma else silu
            f = m.linear(act(m.linear(h, p + "ffn_gate")) * m.linear(h, p + "ffn_up"), p + "ffn_down")
        if gemma:
            f = rms_norm(f, m[p + "post_ffw_norm.weight"], eps)
        x = x + f
    return rms_norm(x, m["output_norm.weight"], eps)


def gpt2(m, tokens):
    """Radford et al. 2019."""
    heads = m.key("attention.head_count")
    eps = np.float32(m.key("attention.layer_norm_epsilon"))
    n = len(tokens)
    x = m["token_embd.weight"][tokens] + m["position_embd.weight"][:n]
    norm = lambda v, name: layer_norm(v, m[name + ".weight"], m[name + ".bias"], eps)
    for layer in range(m.key("block_count")):
        p = f"blk.{layer}."
        qkv = m.linear(norm(x, p + "attn_norm"), p + "attn_qkv")
        q, k, v = (part.reshape(n, heads, -1) for part in np.split(qkv, 3, axis=-1))
        x = x + m.linear(attention(q, k, v, q.shape[-1] ** -0.5), p + "attn_output")
        x = x + m.linear(gelu_tanh(m.linear(norm(x, p + "ffn_norm"), p + "ffn_up")), p + "ffn_down")
    return norm(x, "output_norm")


def logits(model, tokens):
    """Float32 logits [tokens, vocabulary] of one text."""
    return states(model, tokens) @ model["output.weight" if "output.weight" in model else "token_embd.weight"].T


def states(model, tokens):
    """Float32 hidden states [tokens, width] behind the final norm."""
    tokens = np.asarray(tokens)
    if model.arch == "gpt2":
        return gpt2(model, tokens)
    if model.arch == "llama":
        return decoder(model, tokens, halves=False)
    if model.arch == "qwen2":
        return decoder(model, tokens, halves=True)
    if model.arch in ("qwen3", "qwen3moe"):
        return decoder(model, tokens, halves=True, head_norms=True)
    if model.arch == "gemma3":
        return decoder(model, tokens, halves=True, head_norms=True, gemma=True)
    raise ValueError(f"no reference for {model.arch}")


def kl_divergence(reference, other):
    """KL(reference || other) of the next-token distributions at every position, in nats."""
    def log_softmax(x):
        x = x.astype(np.float64)
        x = x - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    p, q = log_softmax(reference), log_softmax(other)
    return (np.exp(p) * (p - q)).sum(axis=-1)
