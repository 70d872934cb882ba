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


def frequencies(rotary, base, scale=1.0, factors=None):
    """What each of the rotary/2 pairs turns by at each position: base^(-2i/rotary), divided."""
    frequency = base ** (-2.0 * np.arange(rotary // 2) / rotary) / scale
    return frequency if factors is None else frequency / factors


def yarn(m, rotary, base):
    """arXiv:2309.00071, from the model's metadata: frequencies, and what cos and sin are multiplied with."""
    factor = m.key("rope.scaling.factor", 1.0)
    fast = m.key("rope.scaling.yarn_beta_fast", 32.0)
    slow = m.key("rope.scaling.yarn_beta_slow", 1.0)
    original = m.key("rope.scaling.original_context_length")
    pair_of = lambda turns: rotary * np.log(original / (turns * 2 * np.pi)) / (2 * np.log(base))
    low = max(0, np.floor(pair_of(fast)))
    high = min(rotary - 1, np.ceil(pair_of(slow)))
    interpolated = np.clip((np.arange(rotary // 2) - low) / max(0.001, high - low), 0, 1)
    frequency = frequencies(rotary, base)
    return frequency * (interpolated / factor + 1 - interpolated), yarn_magnitude(factor)


def yarn_magnitude(factor, multiplier=1.0):
    return 0.1 * multiplier * np.log(factor) + 1 if factor > 1 else 1.0


def rope(x, frequency, halves, magnitude=1.0, start=0):
    """arXiv:2104.09864 on x [tokens, heads, head_dim]: the pair i of each head turns by
    position * frequency[i]. Pairs are (i, i + rotary/2) if halves, else neighbours, from start on."""
    rotary = 2 * len(frequency)
    angle = np.arange(x.shape[0])[:, None, None] * frequency
    cos = (magnitude * np.cos(angle)).astype(np.float32)
    sin = (magnitude * np.sin(angle)).astype(np.float32)
    out = x.copy()
    a, b = (slice(start, start + rotary // 2), slice(start + rotary // 2, start + rotary)) if halves else (
        slice(start, start + rotary, 2), slice(start + 1, start + rotary, 2))
    out[..., a] = x[..., a] * cos - x[..., b] * sin
    out[..., b] = x[..., a] * sin + x[..., b] * cos
    return out


def attention(q, k, v, scale, window=0, chunk=0, sinks=None, cap=0.0):
    """q [tokens, heads, d], k and v [tokens, kv_heads, d]; causal, optionally within a window or a chunk.
    A sink is one more score of its head, without a value. A cap bends scores: cap * tanh(score / cap)."""
    n, heads, _ = q.shape
    group = heads // k.shape[1]
    position = np.arange(n)
    hidden = position[None, :] > position[:, None]
    if window:
        hidden |= position[:, None] - position[None, :] >= window
    if chunk:
        hidden |= position[None, :] < position[:, None] // chunk * chunk
    out = np.empty((n, heads, v.shape[2]), np.float32)
    for h in range(heads):
        scores = (q[:, h] @ k[:, h // group].T) * np.float32(scale)
        if cap:
            scores = np.float32(cap) * np.tanh(scores / np.float32(cap))
        scores[hidden] = -np.inf
        top = scores.max(axis=-1, keepdims=True)
        if sinks is not None:
            top = np.maximum(top, sinks[h])
        scores = np.exp(scores - top)
        total = scores.sum(axis=-1, keepdims=True)
        if sinks is not None:
            total += np.exp(sinks[h] - top)
        out[:, h] = (scores / total) @ v[:, h // group]
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


def decoder_states(m, tokens, halves, head_norms=False, gemma=False):
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
        frequency = frequencies(rotary, layer_base, layer_scaling, factors)
        q, k = rope(q, frequency, halves), rope(k, frequency, halves)
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


def gpt2_states(m, tokens):
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


def rms(m, x, name, eps):
    return rms_norm(x, m[name + ".weight"] if name else np.float32(1), np.float32(eps))


def softmax(x):
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softcap(x, cap):
    return np.float32(cap) * np.tanh(x / np.float32(cap)) if cap else x


class Sizes:
    """What the metadata of most families say; numbers that may differ from layer to layer are lists."""

    def __init__(self, m):
        each = lambda value: list(value) if isinstance(value, (list, tuple)) else [value] * self.layers
        self.layers = m.key("block_count")
        self.width = m.key("embedding_length")
        self.heads = m.key("attention.head_count")
        self.kv_heads = each(m.key("attention.head_count_kv", self.heads))
        self.dim = m.key("attention.key_length", self.width // max(1, self.heads))
        self.rotary = m.key("rope.dimension_count", self.dim)
        self.base = m.key("rope.freq_base", 10000.0)
        self.eps = m.key("attention.layer_norm_rms_epsilon", m.key("attention.layer_norm_epsilon"))
        self.window = m.key("attention.sliding_window", 0)
        self.experts, self.used = m.key("expert_count", 0), m.key("expert_used_count", 0)


def project(m, x, p, heads, kv_heads, dim):
    """q, k and v of every token: from three matrices or one."""
    n = len(x)
    if p + "attn_qkv.weight" in m:
        q, k, v = np.split(m.linear(x, p + "attn_qkv"), [heads * dim, (heads + kv_heads) * dim], axis=-1)
    else:
        q, k, v = (m.linear(x, f"{p}attn_{part}") for part in "qkv")
    return q.reshape(n, heads, dim), k.reshape(n, kv_heads, dim), v.reshape(n, kv_heads, dim)


def feed_forward(m, x, p, act=silu, kind=""):
    """act(gate) * up, then down; gate and up from two matrices, or both (gate first) from "up"."""
    if f"{p}ffn_gate{kind}.weight" in m:
        gate, up = m.linear(x, f"{p}ffn_gate{kind}"), m.linear(x, f"{p}ffn_up{kind}")
    else:
        gate, up = np.split(m.linear(x, f"{p}ffn_up{kind}"), 2, axis=-1)
    return m.linear(act(gate) * up, f"{p}ffn_down{kind}")


def best(scores, used):
    """The indices of the `used` largest of each row, largest first."""
    return np.argsort(-scores, axis=-1, kind="stable")[:, :used]


def picked(scores, chosen):
    return np.take_along_axis(scores, chosen, axis=-1)


def ask(m, x, p, chosen, weights, glu=lambda gate, up: silu(gate) * up, weigh_input=False):
    """What the chosen experts [tokens, used] answer, added up by weights of the same shape. Gate and up
    are two matrices, or both (gate first) one."""
    fused = p + "ffn_gate_up_exps.weight" in m
    parts = {part: m[f"{p}ffn_{part}_exps.weight"] for part in (["gate_up"] if fused else ["gate", "up"]) + ["down"]}
    biases = {part: m[f"{p}ffn_{part}_exps.bias"] for part in parts if f"{p}ffn_{part}_exps.bias" in m}
    scale = m[p + "ffn_down_exps.scale"] if p + "ffn_down_exps.scale" in m else None
    out = np.zeros_like(x)
    for e in range(len(parts["down"])):
        tokens, place = np.nonzero(chosen == e)
        if not len(tokens):
            continue
        weight = weights[tokens, place][:, None]
        h = x[tokens] * weight if weigh_input else x[tokens]
        linear = lambda y, part: y @ parts[part][e].T + (biases[part][e] if part in biases else 0)
        gate, up = np.split(linear(h, "gate_up"), 2, axis=-1) if fused else (linear(h, "gate"), linear(h, "up"))
        y = linear(glu(gate, up), "down")
        if scale is not None:
            y = y * scale[e]
        out[tokens] += y if weigh_input else weight * y
    return out


def head(m, x):
    return x @ m["output.weight" if "output.weight" in m else "token_embd.weight"].T


def gpt_oss(m, tokens):
    """OpenAI's gpt-oss model card (arXiv:2508.10925) and its reference implementation."""
    s = Sizes(m)
    frequency, magnitude = yarn(m, s.rotary, s.base)

    def glu(gate, up):
        gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
        return gate * sigmoid(np.float32(1.702) * gate) * (up + 1)

    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        h = rms(m, x, p + "attn_norm", s.eps)
        q, k, v = project(m, h, p, s.heads, s.kv_heads[layer], s.dim)
        q, k = (rope(y, frequency, True, magnitude) for y in (q, k))
        window = s.window if layer % 2 == 0 else 0
        x = x + m.linear(attention(q, k, v, s.dim**-0.5, window, sinks=m[p + "attn_sinks.weight"]), p + "attn_output")
        h = rms(m, x, p + "post_attention_norm", s.eps)
        scores = m.linear(h, p + "ffn_gate_inp")
        chosen = best(scores, s.used)
        x = x + ask(m, h, p, chosen, softmax(picked(scores, chosen)), glu)
    return head(m, rms(m, x, "output_norm", s.eps))


def gemma4(m, tokens):
    """Gemma 4's published implementation: two kinds of layers with heads of their own sizes; per-layer
    embeddings, layers that read an earlier one's keys and values, and experts beside the feed-forward
    where the file has them."""
    s = Sizes(m)
    n = len(tokens)
    local = m.key("attention.sliding_window_pattern")
    own = s.layers - m.key("attention.shared_kv_layers", 0)
    per_layer = m.key("embedding_length_per_layer_input", 0)
    x = m["token_embd.weight"][tokens] * np.float32(np.sqrt(s.width))
    if per_layer:
        given = m["per_layer_token_embd.weight"][tokens].reshape(n, s.layers, per_layer)
        given = given * np.float32(np.sqrt(per_layer))
        made = (x @ m["per_layer_model_proj.weight"].T / np.float32(np.sqrt(s.width))).reshape(n, s.layers, per_layer)
        inputs = (rms(m, made, "per_layer_proj_norm", s.eps) + given) / np.float32(np.sqrt(2))
    kept = {}
    for layer in range(s.layers):
        p = f"blk.{layer}."
        if local[layer]:
            dim = m.key("attention.key_length_swa")
            frequency = frequencies(m.key("rope.dimension_count_swa", dim), m.key("rope.freq_base_swa"))
        else:
            dim = s.dim
            frequency = frequencies(s.rotary, s.base, factors=m["rope_freqs.weight"])
        h = rms(m, x, p + "attn_norm", s.eps)
        q = rope(rms(m, m.linear(h, p + "attn_q").reshape(n, s.heads, dim), p + "attn_q_norm", s.eps), frequency, True)
        if layer < own:
            k = m.linear(h, p + "attn_k").reshape(n, s.kv_heads[layer], dim)
            v = m.linear(h, p + "attn_v").reshape(k.shape) if p + "attn_v.weight" in m else k
            k = rope(rms(m, k, p + "attn_k_norm", s.eps), frequency, True)
            kept[local[layer]] = k, rms(m, v, None, s.eps)
        k, v = kept[local[layer]]  # the last layer of this kind that has its own
        a = m.linear(attention(q, k, v, 1.0, s.window if local[layer] else 0), p + "attn_output")
        x = x + rms(m, a, p + "post_attention_norm", s.eps)
        f = feed_forward(m, rms(m, x, p + "ffn_norm", s.eps), p, gelu_tanh)
        if s.experts:
            scores = rms(m, x, None, s.eps) / np.float32(np.sqrt(s.width)) * m[p + "ffn_gate_inp.scale"]
            probability = softmax(m.linear(scores, p + "ffn_gate_inp"))
            chosen = best(probability, s.used)
            weights = picked(probability, chosen)
            e = ask(m, rms(m, x, p + "pre_ffw_norm_2", s.eps), p, chosen, weights / weights.sum(-1, keepdims=True),
                    lambda gate, up: gelu_tanh(gate) * up)
            f = rms(m, f, p + "post_ffw_norm_1", s.eps) + rms(m, e, p + "post_ffw_norm_2", s.eps)
        x = x + rms(m, f, p + "post_ffw_norm", s.eps)
        if per_layer:
            y = gelu_tanh(m.linear(x, p + "inp_gate")) * inputs[:, layer]
            x = x + rms(m, m.linear(y, p + "proj"), p + "post_norm", s.eps)
        if p + "layer_output_scale.weight" in m:
            x = x * m[p + "layer_output_scale.weight"]
    return softcap(head(m, rms(m, x, "output_norm", s.eps)), m.key("final_logit_softcapping"))


def deepseek2(m, tokens):
    """arXiv:2405.04434 and arXiv:2412.19437, with latent attention as they are trained: keys and values
    of every head are made from the latent. (Files hold the same matrices for the absorbed form.)"""
    s = Sizes(m)
    n = len(tokens)
    latent, turned = m.key("attention.kv_lora_rank"), s.rotary
    dim, value_dim = m.key("attention.key_length_mla"), m.key("attention.value_length_mla")
    frequency, magnitude, scale = frequencies(turned, s.base), 1.0, dim**-0.5
    if m.key("rope.scaling.type") == "yarn":
        # mscale and mscale_all_dim are equal in DeepSeek's configurations: cos and sin keep their size, and
        # the scores are multiplied with the square.
        frequency, _ = yarn(m, turned, s.base)
        all_dim = m.key("rope.scaling.yarn_log_multiplier", 0.0) / 0.1
        scale *= yarn_magnitude(m.key("rope.scaling.factor"), all_dim) ** 2
    groups, group_used = m.key("expert_group_count", 1), m.key("expert_group_used_count", 1)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        h = rms(m, x, p + "attn_norm", s.eps)
        if p + "attn_q.weight" in m:
            q = m.linear(h, p + "attn_q")
        else:
            q = m.linear(rms(m, m.linear(h, p + "attn_q_a"), p + "attn_q_a_norm", s.eps), p + "attn_q_b")
        q = rope(q.reshape(n, s.heads, dim), frequency, False, magnitude, start=dim - turned)
        c = m.linear(h, p + "attn_kv_a_mqa")
        k_turned = rope(c[:, None, latent:], frequency, False, magnitude)
        c = rms(m, c[:, :latent], p + "attn_kv_a_norm", s.eps)
        k = np.einsum("nl,hld->nhd", c, m[p + "attn_k_b.weight"])
        k = np.concatenate([k, np.repeat(k_turned, s.heads, axis=1)], axis=-1)
        v = np.einsum("nl,hdl->nhd", c, m[p + "attn_v_b.weight"])
        x = x + m.linear(attention(q, k, v, scale), p + "attn_output")
        h = rms(m, x, p + "ffn_norm", s.eps)
        if layer < m.key("leading_dense_block_count", 0):
            x = x + feed_forward(m, h, p)
            continue
        scores = m.linear(h, p + "ffn_gate_inp")
        probability = sigmoid(scores) if m.key("expert_gating_func", 1) == 2 else softmax(scores)
        bias = p + "exp_probs_b.bias"
        selection = probability + (m[bias] if bias in m else 0)
        if groups > 1:
            grouped = selection.reshape(n, groups, -1)
            value = np.sort(grouped, axis=-1)[..., -2:].sum(axis=-1)  # the two best speak for their group
            allowed = np.zeros((n, groups, 1), bool)
            np.put_along_axis(allowed, best(value, group_used)[..., None], True, axis=1)
            selection = np.where(allowed, grouped, -np.inf).reshape(n, -1)
        chosen = best(selection, s.used)
        weights = picked(probability, chosen)
        if m.key("expert_weights_norm", False):
            weights = weights / weights.sum(-1, keepdims=True)
        weights = weights * np.float32(m.key("expert_weights_scale", 1.0))
        x = x + ask(m, h, p, chosen, weights) + feed_forward(m, h, p, kind="_shexp")
    return head(m, rms(m, x, "output_norm", s.eps))


def phi3(m, tokens, context):
    """arXiv:2404.14219; long and short factors: arXiv:2402.13753. The longer table serves a context
    beyond the original one, whatever the position."""
    s = Sizes(m)
    factors = None
    if "rope_factors_long.weight" in m:
        long = context > m.key("rope.scaling.original_context_length")
        factors = m["rope_factors_long.weight" if long else "rope_factors_short.weight"]
    frequency, magnitude = frequencies(s.rotary, s.base, factors=factors), m.key("rope.scaling.attn_factor", 1.0)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        q, k, v = project(m, rms(m, x, p + "attn_norm", s.eps), p, s.heads, s.kv_heads[layer], s.dim)
        q, k = (rope(y, frequency, True, magnitude) for y in (q, k))
        x = x + m.linear(attention(q, k, v, s.dim**-0.5), p + "attn_output")
        x = x + feed_forward(m, rms(m, x, p + "ffn_norm", s.eps), p)
    return head(m, rms(m, x, "output_norm", s.eps))


def glm4(m, tokens):
    """GLM-4-0414's published implementation: norms before and after attention and feed-forward."""
    s = Sizes(m)
    frequency = frequencies(s.rotary, s.base)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        q, k, v = project(m, rms(m, x, p + "attn_norm", s.eps), p, s.heads, s.kv_heads[layer], s.dim)
        q, k = (rope(y, frequency, False) for y in (q, k))
        a = m.linear(attention(q, k, v, s.dim**-0.5), p + "attn_output")
        x = x + rms(m, a, p + "post_attention_norm", s.eps)
        f = feed_forward(m, rms(m, x, p + "ffn_norm", s.eps), p)
        x = x + rms(m, f, p + "post_ffw_norm", s.eps)
    return head(m, rms(m, x, "output_norm", s.eps))


def mistral3(m, tokens):
    """Ministral 3 (arXiv:2601.08584): Llama with YaRN, and queries that grow with the logarithm of the
    position beyond the original context."""
    s = Sizes(m)
    frequency, magnitude = yarn(m, s.rotary, s.base)
    multiplier = m.key("rope.scaling.yarn_log_multiplier", 0.0)
    if multiplier:
        magnitude /= yarn_magnitude(m.key("rope.scaling.factor"), multiplier)
    pieces = np.arange(len(tokens)) // m.key("rope.scaling.original_context_length")
    grown = (1 + m.key("attention.temperature_scale", 0.0) * np.log(1.0 + pieces)).astype(np.float32)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        q, k, v = project(m, rms(m, x, p + "attn_norm", s.eps), p, s.heads, s.kv_heads[layer], s.dim)
        q, k = (rope(y, frequency, False, magnitude) for y in (q, k))
        x = x + m.linear(attention(q * grown[:, None, None], k, v, s.dim**-0.5), p + "attn_output")
        x = x + feed_forward(m, rms(m, x, p + "ffn_norm", s.eps), p)
    return head(m, rms(m, x, "output_norm", s.eps))


def llama_like(m, tokens, halves, turns=lambda layer: True, window=lambda layer: 0, second_norm="ffn_norm",
               post_norms=False, pre_norms=True, head_norms=None, row_norms=False, scale=None, residual=1.0,
               embedded=lambda x: x, factors=None, rotation=None, cap=0.0, act=silu, mixture=None):
    """The loop that many share; what a family changes is named. turns, window: of a layer. post_norms: their
    epsilon. head_norms: of q's and k's heads, "before" or "after" they are turned; row_norms: of all heads
    together. embedded(x): what is done to embeddings. rotation(layer): frequencies and magnitude.
    mixture(layer, h): what a layer has instead of the feed-forward, or None."""
    s = Sizes(m)
    same = frequencies(s.rotary, s.base, factors=factors), 1.0
    x = embedded(m["token_embd.weight"][tokens])
    for layer in range(s.layers):
        p = f"blk.{layer}."
        h = rms(m, x, p + "attn_norm", s.eps) if pre_norms else x
        if row_norms:
            n, kv = len(x), s.kv_heads[layer]
            q = rms(m, m.linear(h, p + "attn_q"), p + "attn_q_norm", s.eps).reshape(n, s.heads, s.dim)
            k = rms(m, m.linear(h, p + "attn_k"), p + "attn_k_norm", s.eps).reshape(n, kv, s.dim)
            v = m.linear(h, p + "attn_v").reshape(n, kv, s.dim)
        else:
            q, k, v = project(m, h, p, s.heads, s.kv_heads[layer], s.dim)
        if head_norms == "before":
            q, k = rms(m, q, p + "attn_q_norm", s.eps), rms(m, k, p + "attn_k_norm", s.eps)
        if turns(layer):
            frequency, magnitude = rotation(layer) if rotation else same
            q, k = (rope(y, frequency, halves, magnitude) for y in (q, k))
        if head_norms == "after":
            q, k = rms(m, q, p + "attn_q_norm", s.eps), rms(m, k, p + "attn_k_norm", s.eps)
        a = attention(q, k, v, scale or s.dim**-0.5, window(layer), cap=cap)
        if p + "attn_gate.weight" in m:
            a = a * sigmoid(m.linear(h, p + "attn_gate"))
        a = m.linear(a, p + "attn_output")
        if post_norms:
            a = rms(m, a, p + "post_attention_norm", post_norms)
        x = x + np.float32(residual) * a
        h = rms(m, x, p + second_norm, s.eps) if pre_norms else x
        f = mixture(layer, h) if mixture else None
        if f is None:
            f = feed_forward(m, h, p, act)
        if post_norms:
            f = rms(m, f, p + "post_ffw_norm", post_norms)
        x = x + np.float32(residual) * f
    return head(m, rms(m, x, "output_norm", s.eps))


def softmax_experts(m, h, p, used, normed):
    """The likeliest experts of a softmax over all of them (arXiv:2401.04088); a bias counts in choosing alone."""
    probability = softmax(m.linear(h, p + "ffn_gate_inp"))
    bias = p + "exp_probs_b.bias"
    chosen = best(probability + (m[bias] if bias in m else 0), used)
    weights = picked(probability, chosen)
    return ask(m, h, p, chosen, weights / weights.sum(-1, keepdims=True) if normed else weights)


def smollm3(m, tokens):
    """SmolLM3's published implementation: Llama, but every fourth layer knows no positions."""
    return llama_like(m, tokens, halves=False, turns=lambda layer: (layer + 1) % 4 != 0)


def granite(m, tokens):
    """Granite 3's published implementation: Llama with four numbers; its experts beside one that all ask."""

    def mixture(layer, h):
        p = f"blk.{layer}."
        if p + "ffn_gate_inp.weight" not in m:
            return None
        f = softmax_experts(m, h, p, m.key("expert_used_count"), True)
        return f + feed_forward(m, h, p, kind="_shexp") if p + "ffn_up_shexp.weight" in m else f

    y = llama_like(m, tokens, halves=False, scale=m.key("attention.scale"), residual=m.key("residual_scale", 1.0),
                   embedded=lambda x: x * np.float32(m.key("embedding_scale", 1.0)), mixture=mixture)
    return y / np.float32(m.key("logit_scale"))


def olmo2(m, tokens):
    """arXiv:2501.00656; OLMo 3: windows, and YaRN on the layers without one (arXiv:2512.13961)."""
    s = Sizes(m)
    local = m.key("attention.sliding_window_pattern", [False] * s.layers)
    scaled = yarn(m, s.rotary, s.base) if m.key("rope.scaling.type") == "yarn" else (frequencies(s.rotary, s.base), 1.0)
    return llama_like(m, tokens, halves=True, pre_norms=False, post_norms=s.eps, row_norms=True,
                      window=lambda layer: s.window if local[layer] else 0,
                      rotation=lambda layer: (frequencies(s.rotary, s.base), 1.0) if local[layer] else scaled)


def exaone4(m, tokens):
    """arXiv:2507.11407: where there are windows, layers without one do not turn."""
    s = Sizes(m)
    local = m.key("attention.sliding_window_pattern", [True] * s.layers)
    return llama_like(m, tokens, halves=True, pre_norms=False, post_norms=s.eps, head_norms="before",
                      turns=lambda layer: local[layer], window=lambda layer: s.window if local[layer] else 0,
                      factors=m["rope_freqs.weight"] if "rope_freqs.weight" in m else None)


def ernie(m, tokens):
    """ERNIE 4.5's technical report (Baidu 2025)."""

    def mixture(layer, h):
        p = f"blk.{layer}."
        if p + "ffn_gate_inp.weight" not in m:
            return None
        f = softmax_experts(m, h, p, m.key("expert_used_count"), True)
        return f + feed_forward(m, h, p, kind="_shexp")

    return llama_like(m, tokens, halves=False, mixture=mixture)


def muse_glimmer(m, tokens):
    """Muse Glimmer's published implementation: embeddings are normed, what attention gives is gated, and
    layers without a window do not turn."""
    s = Sizes(m)
    local = m.key("attention.sliding_window_pattern")

    y = llama_like(m, tokens, halves=False, head_norms="before", post_norms=1e-8,
                   embedded=lambda x: rms(m, x, None, s.eps), turns=lambda layer: local[layer],
                   window=lambda layer: s.window if local[layer] else 0)
    return softcap(y * np.float32(m.key("logit_scale")), m.key("final_logit_softcapping", 0.0))


def gemma2(m, tokens):
    """arXiv:2408.00118: every second layer has a window, from the first on; scores and logits are capped. The
    27B model, of 46 layers, scales scores by another number."""
    s = Sizes(m)
    scale = (s.width / s.heads if s.layers == 46 else s.dim) ** -0.5
    y = llama_like(m, tokens, halves=True, post_norms=s.eps, embedded=lambda x: x * np.float32(np.sqrt(s.width)),
                   act=gelu_tanh, scale=scale, cap=m.key("attn_logit_softcapping"),
                   window=lambda layer: s.window if layer % 2 == 0 else 0)
    return softcap(y, m.key("final_logit_softcapping"))


def normed(m, x, name, eps):
    return layer_norm(x, m[name + ".weight"], m[name + ".bias"] if name + ".bias" in m else 0, np.float32(eps))


def layer_norm_decoder(m, tokens, halves, parallel=False, turns=lambda layer: True, window=lambda layer: 0):
    """Command R, StarCoder 2, StableLM 2: layer norms; parallel: attention and feed-forward of the same input."""
    s = Sizes(m)
    frequency = frequencies(s.rotary, s.base)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        h = normed(m, x, p + "attn_norm", s.eps)
        q, k, v = project(m, h, p, s.heads, s.kv_heads[layer], s.dim)
        if p + "attn_q_norm.weight" in m:
            q, k = normed(m, q, p + "attn_q_norm", s.eps), normed(m, k, p + "attn_k_norm", s.eps)
        if turns(layer):
            q, k = rope(q, frequency, halves), rope(k, frequency, halves)
        x = x + m.linear(attention(q, k, v, s.dim**-0.5, window(layer)), p + "attn_output")
        if not parallel:
            h = normed(m, x, p + "ffn_norm", s.eps)
        if p + "ffn_gate.weight" in m:
            x = x + feed_forward(m, h, p)
        else:
            x = x + m.linear(gelu_tanh(m.linear(h, p + "ffn_up")), p + "ffn_down")
    return head(m, normed(m, x, "output_norm", s.eps)) * np.float32(m.key("logit_scale", 1.0))


def cohere2(m, tokens):
    """Command R7B's published implementation: three layers that turn and see a window, one that sees all."""
    local = lambda layer: (layer + 1) % 4 != 0
    return layer_norm_decoder(m, tokens, halves=False, parallel=True, turns=local,
                              window=lambda layer: m.key("attention.sliding_window") if local(layer) else 0)


def qwen2moe(m, tokens):
    """arXiv:2407.10671: the expert that all ask has a gate; the weights of the chosen stay as they are."""

    def mixture(layer, h):
        p = f"blk.{layer}."
        gate = sigmoid(h @ m[p + "ffn_gate_inp_shexp.weight"])[:, None]
        return softmax_experts(m, h, p, m.key("expert_used_count"), False) + gate * feed_forward(m, h, p, kind="_shexp")

    return llama_like(m, tokens, halves=True, mixture=mixture)


def llama4(m, tokens, chunk=8192):
    """Meta's published implementation of Llama 4: three layers that turn and see a chunk, one that sees all,
    whose queries grow with the position; q and k normed after turning."""
    s = Sizes(m)
    frequency = frequencies(s.rotary, s.base)
    grown = (1 + 0.1 * np.log(1 + (1 + np.arange(len(tokens))) // chunk)).astype(np.float32)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        q, k, v = project(m, rms(m, x, p + "attn_norm", s.eps), p, s.heads, s.kv_heads[layer], s.dim)
        if (layer + 1) % 4 != 0:
            q, k = (rms(m, rope(y, frequency, False), None, s.eps) for y in (q, k))
            a = attention(q, k, v, s.dim**-0.5, chunk=chunk)
        else:
            a = attention(q * grown[:, None, None], k, v, s.dim**-0.5)
        x = x + m.linear(a, p + "attn_output")
        h = rms(m, x, p + "ffn_norm", s.eps)
        if p + "ffn_gate_inp.weight" not in m:
            x = x + feed_forward(m, h, p)
            continue
        scores = m.linear(h, p + "ffn_gate_inp")
        chosen = best(scores, s.used)
        x = x + ask(m, h, p, chosen, sigmoid(picked(scores, chosen)), weigh_input=True)
        x = x + feed_forward(m, h, p, kind="_shexp")
    return head(m, rms(m, x, "output_norm", s.eps))


def softplus(x):
    return np.logaddexp(x, np.float32(0))


def causal_conv(m, x, name, act=silu):
    """arXiv:2312.00752, 3.4: for each channel the weighted sum of its last inputs, oldest first."""
    w = m[name + ".weight"]
    taps = w.shape[1]
    before = np.concatenate([np.zeros((taps - 1, x.shape[1]), np.float32), x])
    y = sum(before[i:i + len(x)] * w[:, i] for i in range(taps))
    return act(y + m[name + ".bias"] if name + ".bias" in m else y)


def delta_rule(m, x, p, s, neighbours):
    """Gated DeltaNet, arXiv:2412.06464, as transformers' Qwen3-Next has it (one token after the other)."""
    n = len(x)
    dim, heads, key_heads = m.key("ssm.state_size"), m.key("ssm.time_step_rank"), m.key("ssm.group_count")
    each = heads // key_heads
    if p + "ssm_in.weight" in m:
        parts = m.linear(x, p + "ssm_in").reshape(n, key_heads, -1)
        q, k, v, z = (y.reshape(n, -1) for y in np.split(parts, [dim, 2 * dim, (2 + each) * dim], axis=-1))
        qkv = np.concatenate([q, k, v], axis=-1)
    else:
        qkv, z = m.linear(x, p + "attn_qkv"), m.linear(x, p + "attn_gate")
    if p + "ssm_ba.weight" in m:
        parts = m.linear(x, p + "ssm_ba").reshape(n, key_heads, 2 * each)
        beta, alpha = parts[..., :each].reshape(n, heads), parts[..., each:].reshape(n, heads)
    else:
        beta, alpha = m.linear(x, p + "ssm_beta"), m.linear(x, p + "ssm_alpha")
    qkv = causal_conv(m, qkv, p + "ssm_conv1d")
    q, k, v = np.split(qkv, [key_heads * dim, 2 * key_heads * dim], axis=-1)
    unit = lambda y: y / np.sqrt((y * y).sum(-1, keepdims=True) + np.float32(s.eps))
    q, k = (unit(y.reshape(n, key_heads, dim)) for y in (q, k))
    q, k = (np.repeat(y, each, axis=1) if neighbours else np.tile(y, (1, each, 1)) for y in (q, k))
    v = v.reshape(n, heads, dim)
    decay = np.exp(m[p + "ssm_a"] * softplus(alpha + m[p + "ssm_dt.bias"]))
    beta = sigmoid(beta)
    state = np.zeros((heads, dim, dim), np.float32)
    out = np.empty((n, heads, dim), np.float32)
    for t in range(n):
        state = state * decay[t][:, None, None]
        seen = np.einsum("hkv,hk->hv", state, k[t])
        state = state + k[t][:, :, None] * (beta[t][:, None] * (v[t] - seen))[:, None, :]
        out[t] = np.einsum("hkv,hk->hv", state, q[t]) / np.sqrt(np.float32(dim))
    y = rms(m, out, p + "ssm_norm", s.eps).reshape(n, -1) * silu(z)
    return m.linear(y, p + "ssm_out")


def gated_attention(m, x, p, s, layer, frequency):
    """Of each head the first half of q is the query, the other one what gates the output."""
    n = len(x)
    q, gate = np.split(m.linear(x, p + "attn_q").reshape(n, s.heads, 2 * s.dim), 2, axis=-1)
    k, v = (m.linear(x, f"{p}attn_{part}").reshape(n, s.kv_heads[layer], s.dim) for part in "kv")
    q, k = (rope(rms(m, y, f"{p}attn_{part}_norm", s.eps), frequency, True) for part, y in (("q", q), ("k", k)))
    a = attention(q, k, v, s.dim**-0.5)
    return m.linear(a.reshape(n, -1) * sigmoid(gate.reshape(n, -1)), p + "attn_output")


def qwen35_layer(m, x, s, layer, recurrent):
    p = f"blk.{layer}."
    h = rms(m, x, p + "attn_norm", s.eps)
    if recurrent:
        x = x + delta_rule(m, h, p, s, m.arch == "qwen3next")
    else:
        x = x + gated_attention(m, h, p, s, layer, frequencies(s.rotary, s.base))
    h = rms(m, x, p + "post_attention_norm", s.eps)
    if p + "ffn_gate_inp.weight" in m:
        gate = sigmoid(h @ m[p + "ffn_gate_inp_shexp.weight"])[:, None]
        return x + softmax_experts(m, h, p, s.used, True) + gate * feed_forward(m, h, p, kind="_shexp")
    return x + feed_forward(m, h, p)


def qwen35_rows(m, tokens):
    s = Sizes(m)
    every = m.key("full_attention_interval", 4)
    layers = s.layers - m.key("nextn_predict_layers", 0)
    recurrent = m.key("attention.recurrent_layers", [(layer + 1) % every != 0 for layer in range(layers)])
    x = m["token_embd.weight"][tokens]
    for layer in range(layers):
        x = qwen35_layer(m, x, s, layer, recurrent[layer])
    return rms(m, x, "output_norm", s.eps)


def qwen35(m, tokens):
    """transformers' Qwen3-Next, and Qwen 3.5 and its mixtures."""
    return head(m, qwen35_rows(m, tokens))


def qwen35_drafter(m, tokens):
    """Row t guesses token t + 2, from token t + 1 and the model's row t: the multi-token prediction of
    DeepSeek-V3's paper (arXiv:2412.19437, 2.2), with the order of vLLM's qwen3_5_mtp.py."""
    s = Sizes(m)
    layer = s.layers - 1
    p = f"blk.{layer}.nextn."
    token = rms(m, m["token_embd.weight"][tokens[1:]], p + "enorm", s.eps)
    row = rms(m, qwen35_rows(m, tokens)[:-1], p + "hnorm", s.eps)
    x = m.linear(np.concatenate([token, row], axis=-1), p + "eh_proj")
    return head(m, rms(m, qwen35_layer(m, x, s, layer, False), p + "shared_head_norm", s.eps))


def scan(m, x, p, eps):
    """The mixer of Mamba-2, arXiv:2405.21060, one token after the other."""
    n = len(x)
    inner, size = m.key("ssm.inner_size"), m.key("ssm.state_size")
    heads, groups = m.key("ssm.time_step_rank"), m.key("ssm.group_count")
    z, xbc, dt = np.split(m.linear(x, p + "ssm_in"), [inner, 2 * inner + 2 * groups * size], axis=-1)
    xbc = causal_conv(m, xbc, p + "ssm_conv1d")
    v, b, c = np.split(xbc, [inner, inner + groups * size], axis=-1)
    v = v.reshape(n, heads, -1)
    b, c = (np.repeat(y.reshape(n, groups, size), heads // groups, axis=1) for y in (b, c))
    dt = softplus(dt + m[p + "ssm_dt.bias"])
    decay = np.exp(dt * m[p + "ssm_a"][:, 0])
    state = np.zeros((heads, size, inner // heads), np.float32)
    out = np.empty((n, heads, inner // heads), np.float32)
    for t in range(n):
        state = state * decay[t][:, None, None] + b[t][:, :, None] * (dt[t][:, None] * v[t])[:, None, :]
        out[t] = np.einsum("hsv,hs->hv", state, c[t]) + m[p + "ssm_d"] * v[t]
    y = silu(z) * out.reshape(n, -1)
    if p + "ssm_norm.weight" in m:
        y = rms_norm(y.reshape(n, groups, -1), m[p + "ssm_norm.weight"], np.float32(eps)).reshape(n, -1)
    return m.linear(y, p + "ssm_out")


def mamba2(m, tokens):
    s = Sizes(m)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        x = x + scan(m, rms(m, x, p + "attn_norm", s.eps), p, s.eps)
    return head(m, rms(m, x, "output_norm", s.eps))


def relu_squared(x):
    return np.maximum(x, 0) ** 2


def plain_attention(m, h, p, s, layer):
    """Without positions."""
    q, k, v = project(m, h, p, s.heads, s.kv_heads[layer], s.dim)
    return m.linear(attention(q, k, v, m.key("attention.scale") or s.dim**-0.5), p + "attn_output")


def nemotron_h(m, tokens):
    """transformers' Nemotron-H, whose layers are one thing each."""
    s = Sizes(m)
    hidden = m.key("feed_forward_length")

    def mixture(h, p):
        probability = sigmoid(m.linear(h, p + "ffn_gate_inp"))
        chosen = best(probability + m[p + "exp_probs_b.bias"], s.used)
        weights = picked(probability, chosen)
        if m.key("expert_weights_norm"):
            weights = weights / weights.sum(-1, keepdims=True)
        weights = weights * np.float32(m.key("expert_weights_scale", 1.0))
        latent = p + "ffn_latent_down.weight" in m
        inner = m.linear(h, p + "ffn_latent_down") if latent else h
        up, down = m[p + "ffn_up_exps.weight"], m[p + "ffn_down_exps.weight"]
        out = np.zeros_like(inner)
        for e in range(len(up)):
            at, place = np.nonzero(chosen == e)
            out[at] += weights[at, place][:, None] * (relu_squared(inner[at] @ up[e].T) @ down[e].T)
        out = m.linear(out, p + "ffn_latent_up") if latent else out
        return out + m.linear(relu_squared(m.linear(h, p + "ffn_up_shexp")), p + "ffn_down_shexp")

    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        h = rms(m, x, p + "attn_norm", s.eps)
        if hidden[layer]:
            x = x + (mixture(h, p) if s.used else m.linear(relu_squared(m.linear(h, p + "ffn_up")), p + "ffn_down"))
        elif s.kv_heads[layer]:
            x = x + plain_attention(m, h, p, s, layer)
        else:
            x = x + scan(m, h, p, s.eps)
    return head(m, rms(m, x, "output_norm", s.eps))


def granitehybrid(m, tokens):
    """transformers' GraniteMoeHybrid."""
    s = Sizes(m)
    turns, frequency = m.key("rope.scaling.finetuned", True), frequencies(s.rotary, s.base)
    residual = np.float32(m.key("residual_scale"))
    x = m["token_embd.weight"][tokens] * np.float32(m.key("embedding_scale"))
    for layer in range(s.layers):
        p = f"blk.{layer}."
        h = rms(m, x, p + "attn_norm", s.eps)
        if s.kv_heads[layer]:
            q, k, v = project(m, h, p, s.heads, s.kv_heads[layer], s.dim)
            if turns:
                q, k = rope(q, frequency, False), rope(k, frequency, False)
            x = x + residual * m.linear(attention(q, k, v, m.key("attention.scale")), p + "attn_output")
        else:
            x = x + residual * scan(m, h, p, s.eps)
        h = rms(m, x, p + "ffn_norm", s.eps)
        if p + "ffn_gate_inp.weight" in m:
            f = softmax_experts(m, h, p, s.used, True) + feed_forward(m, h, p, kind="_shexp")
        else:
            f = feed_forward(m, h, p)
        x = x + residual * f
    return head(m, rms(m, x, "output_norm", s.eps)) / np.float32(m.key("logit_scale"))


def falcon_h1(m, tokens):
    """arXiv:2507.22448: attention and a scan of the same input, side by side."""
    s = Sizes(m)
    frequency = frequencies(s.rotary, s.base)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        h = rms(m, x, p + "attn_norm", s.eps)
        q, k, v = project(m, h, p, s.heads, s.kv_heads[layer], s.dim)
        q, k = rope(q, frequency, True), rope(k, frequency, True)
        x = x + m.linear(attention(q, k, v, s.dim**-0.5), p + "attn_output") + scan(m, h, p, s.eps)
        x = x + feed_forward(m, rms_norm(x, m[p + "ffn_norm"], np.float32(s.eps)), p)
    return head(m, rms(m, x, "output_norm", s.eps))


def lfm2(m, tokens):
    """transformers' LFM2 and LFM2-MoE."""
    s = Sizes(m)
    frequency = frequencies(s.rotary, s.base)
    x = m["token_embd.weight"][tokens]
    for layer in range(s.layers):
        p = f"blk.{layer}."
        h = rms(m, x, p + "attn_norm", s.eps)
        if s.kv_heads[layer]:
            q, k, v = project(m, h, p, s.heads, s.kv_heads[layer], s.dim)
            q, k = rms(m, q, p + "attn_q_norm", s.eps), rms(m, k, p + "attn_k_norm", s.eps)
            q, k = rope(q, frequency, True), rope(k, frequency, True)
            x = x + m.linear(attention(q, k, v, s.dim**-0.5), p + "attn_output")
        else:
            b, c, y = np.split(m.linear(h, p + "shortconv.in_proj"), 3, axis=-1)
            y = c * causal_conv(m, b * y, p + "shortconv.conv", act=lambda y: y)
            x = x + m.linear(y, p + "shortconv.out_proj")
        h = rms(m, x, p + "ffn_norm", s.eps)
        if p + "ffn_gate_inp.weight" in m:
            probability = sigmoid(m.linear(h, p + "ffn_gate_inp"))
            chosen = best(probability + m[p + "exp_probs_b.bias"], s.used)
            weights = picked(probability, chosen)
            x = x + ask(m, h, p, chosen, weights / weights.sum(-1, keepdims=True))
        else:
            x = x + feed_forward(m, h, p)
    return head(m, rms(m, x, "token_embd_norm", s.eps))


def decoder(m, tokens, **how):
    return head(m, decoder_states(m, tokens, **how))


def gpt2(m, tokens):
    return head(m, gpt2_states(m, tokens))


# What these give are hidden states.
STATES = {
    "gpt2": gpt2_states,
    "llama": lambda m, tokens: decoder_states(m, tokens, halves=False),
    "qwen2": lambda m, tokens: decoder_states(m, tokens, halves=True),
    "qwen3": lambda m, tokens: decoder_states(m, tokens, halves=True, head_norms=True),
    "qwen3moe": lambda m, tokens: decoder_states(m, tokens, halves=True, head_norms=True),
    "gemma3": lambda m, tokens: decoder_states(m, tokens, halves=True, head_norms=True, gemma=True),
}

FAMILIES = {
    "gpt-oss": gpt_oss,
    "gemma4": gemma4,
    "deepseek2": deepseek2,
    "glm4": glm4,
    "mistral3": mistral3,
    "smollm3": smollm3,
    "granite": granite,
    "granitemoe": granite,
    "olmo2": olmo2,
    "seed_oss": lambda m, tokens: llama_like(m, tokens, halves=True, second_norm="post_attention_norm"),
    "hunyuan-dense": lambda m, tokens: llama_like(m, tokens, halves=True, head_norms="after"),
    "exaone4": exaone4,
    "ernie4_5": ernie,
    "ernie4_5-moe": ernie,
    "muse-glimmer": muse_glimmer,
    "gemma2": gemma2,
    "command-r": lambda m, tokens: layer_norm_decoder(m, tokens, halves=False, parallel=True),
    "cohere2": cohere2,
    "starcoder2": lambda m, tokens: layer_norm_decoder(m, tokens, halves=True),
    "stablelm": lambda m, tokens: layer_norm_decoder(m, tokens, halves=True, parallel=m.key("use_parallel_residual")),
    "qwen2moe": qwen2moe,
    "llama4": llama4,
    "qwen35": qwen35,
    "qwen35moe": qwen35,
    "qwen3next": qwen35,
    "mamba2": mamba2,
    "nemotron_h": nemotron_h,
    "nemotron_h_moe": nemotron_h,
    "granitehybrid": granitehybrid,
    "falcon-h1": falcon_h1,
    "lfm2": lfm2,
    "lfm2moe": lfm2,
}


def states(model, tokens):
    """Float32 hidden states [tokens, width] behind the final norm, of the families that have been asked for them."""
    return STATES[model.arch](model, np.asarray(tokens))


def logits(model, tokens, context=0):
    """Float32 logits [tokens, vocabulary] of one text. context: that of the session, which some models look
    at; 0: as many as the tokens."""
    if model.arch in STATES:
        return head(model, states(model, tokens))
    tokens = np.asarray(tokens)
    if model.arch == "phi3":
        return phi3(model, tokens, context or len(tokens))
    return FAMILIES[model.arch](model, tokens)


def kl_divergence(reference, other):
    """KL(reference || other) of the next-token distributions at every position, in nats."""
    def log_softmax(x):
        x = x.astype(np.float64)
        x = x - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    p, q = log_softmax(reference), log_softmax(other)
    return (np.exp(p) * (p - q)).sum(axis=-1)
