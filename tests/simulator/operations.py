"""At least 60 operations on the simulated card through tinygrad, each compared with numpy.

Run by tinygrad_client.py. Prints one line an operation and, at the end, "N passed, M failed".
"""

import sys
import time

import numpy as np

from tinygrad import Tensor, TinyJit, dtypes, nn

rng = np.random.default_rng(7)
results = []


def f32(*shape, low=-2.0, high=2.0):
    return rng.uniform(low, high, shape).astype(np.float32)


def f16(*shape):
    return f32(*shape).astype(np.float16)


def i32(*shape, low=-100, high=100):
    return rng.integers(low, high, shape).astype(np.int32)


def check(name, run, expected, rtol=1e-5, atol=1e-6):
    """run: makes a Tensor; expected: what numpy says."""
    start = time.time()
    try:
        got = run().numpy()
        expected = np.asarray(expected)
        assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
        if np.issubdtype(expected.dtype, np.floating):
            np.testing.assert_allclose(got.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol)
        else:
            np.testing.assert_array_equal(got, expected)
        results.append(True)
        print(f"ok   {name} ({time.time() - start:.2f} s)", flush=True)
    except Exception as error:  # noqa: BLE001: whatever it was, the list goes on
        results.append(False)
        print(f"FAIL {name}: {str(error)[:600]}", flush=True)


def erf(x):
    """Abramowitz and Stegun 7.1.26 is what tinygrad uses; compare with the true function."""
    import math
    return np.vectorize(math.erf)(x).astype(np.float32)


# --- element by element, float32 ---
a, b = f32(37, 65), f32(37, 65)
p = f32(37, 65, low=0.1, high=4.0)
ta, tb, tp = Tensor(a), Tensor(b), Tensor(p)
check("add f32", lambda: ta + tb, a + b)
check("subtract f32", lambda: ta - tb, a - b)
check("multiply f32", lambda: ta * tb, a * b)
check("divide f32", lambda: ta / tp, a / p)
check("negate f32", lambda: -ta, -a)
check("exp f32", lambda: ta.exp(), np.exp(a), rtol=2e-6)
check("exp2 f32", lambda: ta.exp2(), np.exp2(a), rtol=2e-6)
check("log f32", lambda: tp.log(), np.log(p), rtol=1e-5, atol=1e-6)
check("log2 f32", lambda: tp.log2(), np.log2(p), rtol=1e-5, atol=1e-6)
check("sqrt f32", lambda: tp.sqrt(), np.sqrt(p))
check("rsqrt f32", lambda: tp.rsqrt(), 1 / np.sqrt(p))
check("reciprocal f32", lambda: tp.reciprocal(), 1 / p)
check("sin f32", lambda: ta.sin(), np.sin(a), rtol=1e-5, atol=1e-6)
check("cos f32", lambda: ta.cos(), np.cos(a), rtol=1e-5, atol=1e-6)
check("tanh f32", lambda: ta.tanh(), np.tanh(a), rtol=1e-5, atol=1e-6)
check("sigmoid f32", lambda: ta.sigmoid(), 1 / (1 + np.exp(-a)), rtol=1e-5)
check("relu f32", lambda: ta.relu(), np.maximum(a, 0))
check("erf f32", lambda: ta.erf(), erf(a), rtol=1e-4, atol=1e-5)
check("gelu f32", lambda: ta.gelu(), 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))), rtol=1e-4, atol=1e-5)
check("pow f32", lambda: tp.pow(1.7), p**1.7, rtol=1e-5)
check("maximum f32", lambda: ta.maximum(tb), np.maximum(a, b))
check("where", lambda: (ta > 0).where(ta, tb), np.where(a > 0, a, b))
check("clamp", lambda: ta.clamp(-1, 1), np.clip(a, -1, 1))
check("floor", lambda: ta.floor(), np.floor(a))
check("round", lambda: ta.round(), np.round(a))
check("abs", lambda: ta.abs(), np.abs(a))
check("compare", lambda: (ta < tb), a < b)

# --- float16 and integers ---
h, g = f16(33, 50), f16(33, 50)
th, tg = Tensor(h), Tensor(g)
check("add f16", lambda: th + tg, h + g)
check("multiply f16", lambda: th * tg, h * g)
check("f16 to f32", lambda: th.cast(dtypes.float32), h.astype(np.float32))
check("f32 to f16", lambda: ta.cast(dtypes.float16), a.astype(np.float16))
check("exp f16", lambda: th.exp(), np.exp(h), rtol=2e-3)
x, y = i32(40, 40), i32(40, 40, low=1, high=50)
tx, ty = Tensor(x), Tensor(y)
check("add i32", lambda: tx + ty, x + y)
check("multiply i32", lambda: tx * ty, x * y)
check("divide i32", lambda: tx // ty, x // y)
check("modulo i32", lambda: tx % ty, x % y)
check("shift i32", lambda: tx.abs() << 3, np.abs(x) << 3)
check("and or xor i32", lambda: (tx & ty) | (tx ^ 5), (x & y) | (x ^ 5))
check("u8 wraps", lambda: Tensor(x.astype(np.uint8)) + Tensor(y.astype(np.uint8)), x.astype(np.uint8) + y.astype(np.uint8))
check("i64 multiply", lambda: Tensor(x.astype(np.int64)) * 12345678901, x.astype(np.int64) * 12345678901)
check("f32 to i32", lambda: (ta * 50).cast(dtypes.int32), (a * np.float32(50)).astype(np.int32))
check("bool logic", lambda: (tx > 0) & (ty > 25), (x > 0) & (y > 25))

# --- reductions ---
check("sum all", lambda: ta.sum(), a.sum(dtype=np.float64).astype(np.float32), rtol=1e-4, atol=1e-4)
check("sum rows", lambda: ta.sum(axis=1), a.sum(axis=1), rtol=1e-4, atol=1e-5)
check("sum columns", lambda: ta.sum(axis=0), a.sum(axis=0), rtol=1e-4, atol=1e-5)
check("mean", lambda: ta.mean(axis=0), a.mean(axis=0), rtol=1e-4, atol=1e-6)
check("max", lambda: ta.max(axis=1), a.max(axis=1))
check("min", lambda: ta.min(), a.min())
check("argmax", lambda: ta.argmax(axis=1), a.argmax(axis=1).astype(np.int32))
check("variance", lambda: ta.var(axis=1), a.var(axis=1, ddof=1), rtol=1e-4)
check("sum i32", lambda: tx.sum(), x.sum().astype(np.int32))
check("cumulative sum", lambda: tx.cumsum(axis=1), x.cumsum(axis=1).astype(np.int32))
big = f32(1 << 18)
check("sum of 262144", lambda: Tensor(big).sum(), big.sum(dtype=np.float64).astype(np.float32), rtol=1e-4, atol=1e-2)

# --- matrices ---
m, n = f32(64, 96), f32(96, 80)
check("matmul f32", lambda: Tensor(m) @ Tensor(n), m @ n, rtol=1e-4, atol=1e-4)
v = f32(96)
check("matrix times vector", lambda: Tensor(m) @ Tensor(v), m @ v, rtol=1e-4, atol=1e-4)
q, r = f32(3, 17, 24), f32(3, 24, 19)
check("batched matmul", lambda: Tensor(q) @ Tensor(r), q @ r, rtol=1e-4, atol=1e-4)
s, t = (f16(64, 64) / 4).astype(np.float16), (f16(64, 64) / 4).astype(np.float16)
check("matmul f16, f32 sums (WMMA)", lambda: Tensor(s).matmul(Tensor(t), dtype=dtypes.float32),
      s.astype(np.float32) @ t.astype(np.float32), rtol=1e-3, atol=1e-3)
check("matmul f16, f16 sums (WMMA)", lambda: Tensor(s) @ Tensor(t), (s.astype(np.float32) @ t.astype(np.float32)).astype(np.float16),
      rtol=2e-2, atol=2e-2)
check("matmul i32", lambda: tx @ ty, x @ y)

# --- layers ---
e = np.exp(a - a.max(axis=1, keepdims=True))
check("softmax", lambda: ta.softmax(axis=1), e / e.sum(axis=1, keepdims=True), rtol=1e-5)
check("log softmax", lambda: ta.log_softmax(axis=1), np.log(e / e.sum(axis=1, keepdims=True)), rtol=1e-4, atol=1e-5)
mu, var = a.mean(axis=1, keepdims=True), a.var(axis=1, keepdims=True)
check("layernorm", lambda: ta.layernorm(), (a - mu) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
rms = a / np.sqrt((a**2).mean(axis=1, keepdims=True) + 1e-5)
check("rmsnorm", lambda: ta * (ta.square().mean(axis=1, keepdim=True) + 1e-5).rsqrt(), rms, rtol=1e-4, atol=1e-5)

image, kernel = f32(2, 3, 12, 11), f32(5, 3, 3, 3)


def conv(inputs, weights):
    out = np.zeros((inputs.shape[0], weights.shape[0], inputs.shape[2] - 2, inputs.shape[3] - 2))
    for i in range(3):
        for j in range(3):
            out += np.einsum("nchw,oc->nohw", inputs[:, :, i:i + out.shape[2], j:j + out.shape[3]].astype(np.float64), weights[:, :, i, j])
    return out.astype(np.float32)


check("conv2d", lambda: Tensor(image).conv2d(Tensor(kernel)), conv(image, kernel), rtol=1e-4, atol=1e-4)
check("max pool", lambda: Tensor(image).max_pool2d((2, 2)),
      image[:, :, :12, :10].reshape(2, 3, 6, 2, 5, 2).max(axis=(3, 5)))

# --- moving data ---
check("transpose", lambda: ta.transpose().contiguous(), a.T)
check("reshape and slice", lambda: ta[3:30:2, 5:60].contiguous(), a[3:30:2, 5:60])
check("concatenate", lambda: ta.cat(tb, dim=1), np.concatenate([a, b], axis=1))
check("pad", lambda: ta.pad(((1, 2), (3, 4))), np.pad(a, ((1, 2), (3, 4))))
check("flip", lambda: ta.flip(1).contiguous(), a[:, ::-1])
index = rng.integers(0, 37, (20,)).astype(np.int32)
check("gather rows", lambda: ta[Tensor(index)], a[index])
columns = rng.integers(0, 65, (37, 10)).astype(np.int32)
check("gather", lambda: ta.gather(1, Tensor(columns)), np.take_along_axis(a, columns, axis=1))
keys = rng.permutation(100).astype(np.int32)
check("sort", lambda: Tensor(keys).sort()[0], np.sort(keys))
check("one hot", lambda: Tensor(index).one_hot(40).cast(dtypes.int32), np.eye(40, dtype=np.int32)[index])
check("triangle", lambda: Tensor.ones(20, 20).tril(), np.tril(np.ones((20, 20), dtype=np.float32)))
check("arange", lambda: Tensor.arange(1000), np.arange(1000, dtype=np.int32))

# --- random numbers: the same seed gives the same numbers, and they are spread as they should be ---
Tensor.manual_seed(1234)
uniform = Tensor.rand(64, 64).numpy()
Tensor.manual_seed(1234)
check("rand repeats", lambda: Tensor.rand(64, 64), uniform)
check("rand is uniform", lambda: Tensor(bool(np.abs(np.histogram(uniform, 4, (0, 1))[0] - 1024).max() < 150)), np.asarray(True))
Tensor.manual_seed(5)
normal = Tensor.randn(4096).numpy()
check("randn is normal", lambda: Tensor(bool(abs(normal.mean()) < 0.06 and abs(normal.std() - 1) < 0.06)), np.asarray(True))

# --- a transformer of two layers, plain and replayed ---
DIM, HEADS, TOKENS = 32, 4, 12
weights = [{k: f32(*shape) / 6 for k, shape in
            [("qkv", (DIM, 3 * DIM)), ("out", (DIM, DIM)), ("up", (DIM, 4 * DIM)), ("down", (4 * DIM, DIM))]}
           for _ in range(2)]


def np_norm(z):
    return (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5)


def np_model(z):
    z = z.astype(np.float64)
    for w in weights:
        qkv = (np_norm(z) @ w["qkv"]).reshape(TOKENS, 3, HEADS, DIM // HEADS).transpose(1, 2, 0, 3)
        scores = qkv[0] @ qkv[1].transpose(0, 2, 1) / np.sqrt(DIM // HEADS)
        scores = np.where(np.tril(np.ones((TOKENS, TOKENS))) > 0, scores, -np.inf)
        soft = np.exp(scores - scores.max(-1, keepdims=True))
        soft /= soft.sum(-1, keepdims=True)
        z = z + (soft @ qkv[2]).transpose(1, 0, 2).reshape(TOKENS, DIM) @ w["out"]
        z = z + np.maximum(np_norm(z) @ w["up"], 0) @ w["down"]
    return z.astype(np.float32)


tweights = [{k: Tensor(value).realize() for k, value in w.items()} for w in weights]


def model(z):
    for w in tweights:
        qkv = (z.layernorm() @ w["qkv"]).reshape(TOKENS, 3, HEADS, DIM // HEADS).permute(1, 2, 0, 3)
        z = z + qkv[0].scaled_dot_product_attention(qkv[1], qkv[2], is_causal=True).permute(1, 0, 2).reshape(TOKENS, DIM) @ w["out"]
        z = z + (z.layernorm() @ w["up"]).relu() @ w["down"]
    return z.realize()


tokens = [f32(TOKENS, DIM) for _ in range(4)]
check("transformer", lambda: model(Tensor(tokens[0])), np_model(tokens[0]), rtol=1e-3, atol=1e-3)
jit = TinyJit(model)
for number, z in enumerate(tokens):  # the third call replays
    check(f"transformer under the JIT, call {number + 1}", lambda z=z: jit(Tensor(z).realize()), np_model(z), rtol=1e-3, atol=1e-3)

# --- larger copies ---
large = rng.integers(0, 255, 3 << 20).astype(np.uint8)
check("3 MiB there and back", lambda: Tensor(large).realize(), large)

print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
sys.exit(0 if all(results) else 1)
