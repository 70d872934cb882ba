"""A corpus of kernels, compiled by clang for gfx1100 and run on the simulated compute units:
equal to the same source compiled for the host, bit for bit. Kernels whose lanes work together have
no host twin; numpy computes their answers."""

import ctypes
import json
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

OUTBOARD = os.environ["OUTBOARD"]
SOURCES = Path(__file__).parent / "corpus"
FLAGS = ["-O2", "-ffp-contract=off", "-w"]
DEVICE = ["-x", "hip", "--offload-arch=gfx1100", "--cuda-device-only", "--no-gpu-bundle-output", "-nogpulib",
          "-nogpuinc", "-munsafe-fp-atomics", *FLAGS]
THREADS = 512  # in workgroups of 256


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Compiles a source of the corpus for the device (and for the host, where it has a twin)."""
    folder = tmp_path_factory.mktemp("corpus")
    done = {}

    def build(name):
        if name in done:
            return done[name]
        device, host = folder / f"{name}.co", folder / f"{name}.so"
        subprocess.run(["clang-19", *DEVICE, SOURCES / f"{name}.cpp", "-o", device], check=True)
        library = None
        if name != "lanes":
            driver = folder / "driver.cpp"
            driver.write_text('extern "C" unsigned host_thread = 0;\n'
                              'extern "C" void host_run(void (*f)(const void*, const void*, const void*, void*),\n'
                              '  const void* a, const void* b, const void* c, void* out, unsigned n) {\n'
                              '  for (host_thread = 0; host_thread < n; ++host_thread) f(a, b, c, out);\n}\n')
            subprocess.run(["clang++-19", "-shared", "-fPIC", *FLAGS, SOURCES / f"{name}.cpp", driver, "-o", host],
                           check=True)
            ctypes.CDLL("libm.so.6", mode=ctypes.RTLD_GLOBAL)  # for what the compiler leaves to it
            library = ctypes.CDLL(host)
        done[name] = device, library
        return done[name]
    return build


def kernels(name):
    """{kernel: type of its results} of a source, from what the preprocessor makes of it."""
    text = subprocess.run(["clang-19", "-x", "hip", "--offload-arch=gfx1100", "--cuda-device-only", "-nogpulib",
                           "-nogpuinc", "-E", "-P", SOURCES / f"{name}.cpp"], check=True, capture_output=True,
                          text=True).stdout
    return dict(re.findall(r"\)\)\) void (\w+)\(.*?\(\((\w+) ?\*\)po\)", text, re.DOTALL))


def interesting():
    """Eight bytes a thread: edge values of every type in turn, then random ones."""
    f32 = np.array([0, -0.0, 1, -1, 0.5, -2.5, 1e-45, -1e-40, 1.17549435e-38, 3.4028235e38, np.inf, -np.inf, np.nan,
                    65504, 65520, 1e-7, 33.5, 2.0**31, -2.0**31, 2.0**32, 1.5, 2.5, 3.5, 1/3], np.float32)
    f64 = np.array([0, -0.0, 1, -1, 1e-320, -1e308, np.inf, np.nan, 2.0**63, -2.0**53, 0.1, 1e-310], np.float64)
    f16 = np.array([0, -0.0, 1, -1, 6e-8, 6.1e-5, 65504, np.inf, -np.inf, np.nan, 0.333, 2.5, -1024.5], np.float16)
    ints = np.array([0, 1, 2, 3, 7, 31, 32, 63, 64, 127, 128, 255, 256, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff,
                     0x80000000, 0xffffffff, 0x100000000, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    return b"".join(x.tobytes() for x in (f32, f64, np.resize(f16, 64), ints))


def inputs(seed):
    random = np.random.default_rng(seed)
    raw = np.frombuffer(random.bytes(THREADS * 16), np.uint8).copy()
    # Ordinary floats in a third of the places, so that not everything overflows.
    floats = random.normal(size=THREADS).astype(np.float32).view(np.uint8)
    raw[THREADS * 4:THREADS * 8] = floats
    edge = np.frombuffer(interesting(), np.uint8)
    edge = edge[:len(edge) // 8 * 8].reshape(-1, 8)[random.permutation(len(edge) // 8)]
    raw[:edge.size] = edge.reshape(-1)
    return raw


def run_device(code, kernel, arrays, out_bytes, tmp_path, grid=THREADS // 256, block=256, out=None):
    files = []
    for i, array in enumerate(arrays):
        files.append(tmp_path / f"in{i}")
        files[-1].write_bytes(np.ascontiguousarray(array).tobytes())
    result = tmp_path / "out"
    result.write_bytes(b"\0" * out_bytes if out is None else out.tobytes())
    done = subprocess.run([OUTBOARD, "sim", "run", code, "--kernel", kernel, "--grid", str(grid), "--block",
                           str(block), *[x for f in files for x in ("--arg", f"in:{f}")], "--arg", f"inout:{result}",
                           "--json", "--limit", "10000000"], capture_output=True, text=True)
    assert done.returncode == 0, f"{kernel}: {done.stderr}\n{done.stdout[-3000:]}"
    return np.frombuffer(result.read_bytes(), np.uint8), json.loads(done.stdout)


FLOATS = {"f16": np.float16, "f32": np.float32, "f64": np.float64}


def equal(kind, device, host):
    """Bit for bit, but any NaN equals any other: their payloads are not IEEE's business."""
    if kind.split("x")[0] not in FLOATS:
        return bool((device == host).all())
    a, b = (x.view(FLOATS[kind.split("x")[0]]) for x in (device, host))
    same = (device.reshape(-1, a.itemsize) == host.reshape(-1, a.itemsize)).all(axis=1)
    return bool((same | (np.isnan(a) & np.isnan(b))).all())


@pytest.mark.parametrize("name", ["integers", "floats", "programs"])
def test_same_as_the_host(name, built, tmp_path):
    code, library = built(name)
    arrays = [inputs(seed) for seed in (1, 2, 3)]
    wrong, names = [], kernels(name)
    assert len(names) > 10
    for kernel, kind in names.items():
        host = np.zeros(THREADS * 16, np.uint8)
        library.host_run(getattr(library, kernel), *[ctypes.c_void_p(a.ctypes.data) for a in arrays],
                         ctypes.c_void_p(host.ctypes.data), THREADS)
        device, report = run_device(code, kernel, arrays, host.nbytes, tmp_path)
        assert report["violation_count"] == 0, (kernel, report)
        if not equal(kind, device, host):
            at = int(np.flatnonzero(device != host)[0])
            wrong.append(f"{kernel}: byte {at}: device {device[at // 8 * 8:at // 8 * 8 + 8].tobytes().hex()} "
                         f"host {host[at // 8 * 8:at // 8 * 8 + 8].tobytes().hex()}")
    print(f"{len(names)} kernels")
    assert not wrong, f"{len(wrong)} of {len(names)}:\n" + "\n".join(wrong[:40])


def without_work_arounds(name, folder):
    """A code object for wave64 in which nobody waits for the ALUs, and the kernels that did."""
    text = subprocess.run(["clang-19", *DEVICE, "-mwavefrontsize64", "-S", SOURCES / f"{name}.cpp", "-o", "-"],
                          check=True, capture_output=True, text=True).stdout
    waiting = [kernel for kernel, body in re.findall(r"^(\w+): +; @\1$(.*?)^\.Lfunc_end", text, re.DOTALL | re.MULTILINE)
               if "s_waitcnt_depctr" in body]
    source, code = folder / f"{name}.s", folder / f"{name}.co"
    source.write_text("\n".join(line for line in text.splitlines() if "s_waitcnt_depctr" not in line))
    subprocess.run(["clang-19", "-target", "amdgcn-amd-amdhsa", "-mcpu=gfx1100", "-mwavefrontsize64", source, "-o", code],
                   check=True)
    return code, waiting


@pytest.mark.parametrize("name, least", [("floats", 6), ("programs", 3)])
def test_what_llvm_works_around(name, least, tmp_path):
    """Wave64: what LLVM compiles breaks no rule; without its waits for the ALUs, kernels do."""
    right = tmp_path / "right.co"
    subprocess.run(["clang-19", *DEVICE, "-mwavefrontsize64", SOURCES / f"{name}.cpp", "-o", right], check=True)
    wrong, waiting = without_work_arounds(name, tmp_path)
    arrays = [inputs(seed) for seed in (1, 2, 3)]
    for kernel in kernels(name):
        run_device(right, kernel, arrays, THREADS * 16, tmp_path)  # fails where a rule is broken
    reported = []
    for kernel in waiting:
        try:
            run_device(wrong, kernel, arrays, THREADS * 16, tmp_path)  # the path may not be taken
        except AssertionError as broken:
            rules = set(re.findall(r'"rule": "([\w-]+)"', str(broken)))
            assert rules <= {"transcendental-use", "mask-write", "partial-forwarding"}, (kernel, rules)
            reported.append(kernel)
    print(f"{len(reported)} kernels need LLVM's waits")
    assert len(reported) >= least


# --- Lanes together ---

N = 512
RNG = np.random.default_rng(7)
A = RNG.integers(0, 2**32, N, dtype=np.uint32)
B = RNG.integers(0, 2**32, N, dtype=np.uint32)
C = RNG.integers(0, 2**32, N, dtype=np.uint32)
WAVES = A.reshape(-1, 32)
LANES = np.arange(32)


def each_wave(function):
    return np.concatenate([np.asarray(function(w), dtype=np.uint64).astype(np.uint32) * np.ones(32, np.uint32)
                           for w in WAVES])


def row(index):  # a lane's place in its row of 16
    return LANES // 16 * 16 + index


def permlane(wave, low, high, other):
    selects = [(low >> (4 * k)) & 15 for k in range(8)] + [(high >> (4 * k)) & 15 for k in range(8)]
    first = LANES // 16 * 16 if not other else (1 - LANES // 16) * 16
    return wave[first + np.array([selects[lane % 16] for lane in range(32)])]


def permuted(wave):
    out = np.zeros(32, np.uint32)
    out[LANES * 7 % 32] = wave
    return out


def shifted(wave):  # row_shr:1; the first lane of a row keeps the old value, 5
    return np.where(LANES % 16 >= 1, wave[np.maximum(LANES - 1, 0)], 5)


LANE_KERNELS = {
    "ballot": lambda w: sum(1 << int(i) for i in LANES if w[i] & 1),
    "read_first": lambda w: w[0],
    "read_lane": lambda w: w[5],
    "permute": permuted,
    "swizzle_xor": lambda w: w[LANES ^ 31],
    "swizzle_quad": lambda w: w[LANES // 4 * 4 + 3 - LANES % 4],
    "permlanex": lambda w: permlane(w, 0x76543210, 0xfedcba98, True),
    "permlane": lambda w: permlane(w, 0x89abcdef, 0x01234567, False),
    "dpp_quad": lambda w: w[LANES // 4 * 4 + 3 - LANES % 4],
    "dpp_shift": shifted,
    "dpp_rotate": lambda w: w[row((LANES - 3) % 16)],
    "dpp_mirror": lambda w: w[row(15 - LANES % 16)],
    "dpp_xmask": lambda w: w[row((LANES % 16) ^ 5)],
    "dpp8_reverse": lambda w: w[LANES // 8 * 8 + np.array([(0x53977 >> (3 * (i % 8))) & 7 for i in range(32)])],
}


@pytest.mark.parametrize("kernel", LANE_KERNELS)
def test_lanes(kernel, built, tmp_path):
    device, report = run_device(built("lanes")[0], kernel, [A, B, C], N * 4, tmp_path)
    assert (device.view(np.uint32) == each_wave(LANE_KERNELS[kernel])).all()
    assert report["violation_count"] == 0


def test_bpermute(built, tmp_path):
    device, _ = run_device(built("lanes")[0], "bpermute", [A, B, C], N * 4, tmp_path)
    expected = np.concatenate([w[b & 31] for w, b in zip(WAVES, B.reshape(-1, 32))])
    assert (device.view(np.uint32) == expected).all()


def test_mbcnt(built, tmp_path):
    device, _ = run_device(built("lanes")[0], "mbcnt", [A, B, C], N * 4, tmp_path)
    expected = np.array([bin(int(A[0]) & ((1 << lane) - 1)).count("1") + 3 for lane in range(32)])
    assert (device.view(np.uint32).reshape(-1, 32) == expected).all()


WORKGROUP_KERNELS = {
    "block_sum": lambda g: g.sum(dtype=np.uint32) + np.arange(256, dtype=np.uint32),
    "transpose": lambda g: g.reshape(16, 16).T.reshape(-1),
    "lds_histogram": lambda g: np.tile(np.bincount(g & 31, minlength=32), 8),
}


@pytest.mark.parametrize("kernel", WORKGROUP_KERNELS)
def test_workgroup(kernel, built, tmp_path):
    device, report = run_device(built("lanes")[0], kernel, [A, B, C], N * 4, tmp_path)
    expected = np.concatenate([WORKGROUP_KERNELS[kernel](g) for g in A.reshape(-1, 256)])
    assert (device.view(np.uint32) == expected).all()
    assert report["violation_count"] == 0


def reduce_into(start, function, values, dtype):
    out = start.view(dtype).copy()
    for where, value in zip(A & 15, values):
        out[where] = function(out[where], value)
    return out


ATOMICS = {
    "atomic_add_u32": (np.uint32, lambda m, v: m + v, B),
    "atomic_add_u64": (np.uint64, lambda m, v: m + v * np.uint64(0x100000001), B.astype(np.uint64)),
    "atomic_and_u32": (np.uint32, lambda m, v: m & (v | np.uint32(0xff)), B),
    "atomic_or_u32": (np.uint32, lambda m, v: m | (v & np.uint32(0xff0ff)), B),
    "atomic_xor_u32": (np.uint32, lambda m, v: m ^ v, B),
    "atomic_min_u32": (np.uint32, min, B),
    "atomic_max_i32": (np.int32, max, B.view(np.int32)),
    "atomic_min_i64": (np.int64, min, B.astype(np.int64) - 0x40000000),
    "atomic_max_u64": (np.uint64, max, B.astype(np.uint64)),
    "atomic_add_f32": (np.float32, lambda m, v: m + v, (B & 1023).astype(np.float32)),
    "atomic_cas_max": (np.uint32, max, B),
}


@pytest.mark.parametrize("kernel", ATOMICS)
def test_atomics(kernel, built, tmp_path):
    dtype, function, values = ATOMICS[kernel]
    start = np.arange(1, 129, dtype=np.uint32)
    if dtype == np.float32:
        start = start.astype(np.float32)
    with np.errstate(over="ignore"):
        expected = reduce_into(start, function, values, dtype)
    device, report = run_device(built("lanes")[0], kernel, [A, B, C], 0, tmp_path, out=start)
    assert (device.view(dtype) == expected).all()
    assert report["violation_count"] == 0


def test_atomic_ticket(built, tmp_path):
    device, _ = run_device(built("lanes")[0], "atomic_ticket", [A, B, C], (64 + N) * 4, tmp_path)
    out = device.view(np.uint32)
    assert out[0] == N and (out[64:] == 1).all()


def parts(x, bits, signed):
    """The 32 / bits numbers packed in each word."""
    count = 32 // bits
    out = np.stack([(x >> (bits * k)) & ((1 << bits) - 1) for k in range(count)], axis=-1).astype(np.int64)
    return np.where(out >= 1 << bits - 1, out - (1 << bits), out) if signed else out


DOTS = {"udot4": (8, False, False), "sudot4": (8, True, True), "mixed_dot4": (8, True, False), "udot8": (4, False, False),
        "sudot8": (4, True, True)}


@pytest.mark.parametrize("kernel", DOTS)
def test_dot(kernel, built, tmp_path):
    bits, sa, sb = DOTS[kernel]
    device, _ = run_device(built("lanes")[0], kernel, [A, B, C], N * 4, tmp_path)
    expected = (parts(A, bits, sa) * parts(B, bits, sb)).sum(axis=-1) + C
    assert (device.view(np.uint32) == (expected % 2**32).astype(np.uint32)).all()


def test_dot_clamp(built, tmp_path):
    c = np.where(np.arange(N) % 2 == 0, 0x7fffff00, 0x80000100).astype(np.uint32)
    device, _ = run_device(built("lanes")[0], "dot4_clamp", [A, B, c], N * 4, tmp_path)
    exact = (parts(A, 8, True) * parts(B, 8, True)).sum(axis=-1) + c.view(np.int32).astype(np.int64)
    assert (device.view(np.int32) == np.clip(exact, -2**31, 2**31 - 1)).all()


def test_fdot2(built, tmp_path):
    a, b = (RNG.normal(size=2 * N).astype(np.float16) for _ in range(2))
    c = RNG.normal(size=N).astype(np.float32)
    device, _ = run_device(built("lanes")[0], "fdot2", [a, b, c], N * 4, tmp_path)
    exact = (a.astype(np.float64) * b).reshape(-1, 2).sum(axis=1) + c
    # The guide leaves the roundings in between open; each is at most half an ulp of the largest term.
    largest = np.abs(a.astype(np.float64) * b).reshape(-1, 2).max(axis=1) + np.abs(c)
    assert (np.abs(device.view(np.float32) - exact) <= 2**-23 * largest).all()


def bfloat(x):
    return (x.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("kernel", ["wmma_f32_f16", "wmma_f32_bf16", "wmma_f16_f16", "wmma_i32_iu8", "wmma_i32_iu4"])
def test_wmma(kernel, built, tmp_path):
    """Small whole numbers, so that every order of summing is exact."""
    code = built("lanes")[0]
    bits = 4 if kernel.endswith("iu4") else 8
    a = RNG.integers(-8, 8, (16, 16))
    b = RNG.integers(0, 8, (16, 16)) if kernel.endswith("iu8") else RNG.integers(-8, 8, (16, 16))
    c = RNG.integers(-50, 50, (16, 16))
    expected = a @ b + c
    if kernel.startswith("wmma_i32"):
        def pack(m):
            per = 32 // bits
            m = (m & ((1 << bits) - 1)).astype(np.uint32).reshape(16, -1, per)
            return sum(m[:, :, k] << (bits * k) for k in range(per)).astype(np.uint32)
        arrays, dtype = [pack(a), pack(b.T), c.astype(np.int32)], np.int32
    else:
        to = bfloat if kernel.endswith("bf16") else lambda m: m.astype(np.float16)
        dtype = np.float16 if kernel == "wmma_f16_f16" else np.float32
        arrays = [to(a), to(b.T), c.astype(dtype)]
    device, report = run_device(code, kernel, arrays, 256 * np.dtype(dtype).itemsize, tmp_path, grid=1, block=32)
    assert (device.view(dtype).reshape(16, 16) == expected).all()
    assert report["instructions"]["wmma"] == 1 and report["violation_count"] == 0


NATIVES = {
    "rcp": (lambda x: 1 / x, lambda r: r.normal(size=N) * 100),
    "rsq": (lambda x: 1 / np.sqrt(x), lambda r: np.abs(r.normal(size=N)) * 1000),
    "sqrt": (np.sqrt, lambda r: np.abs(r.normal(size=N)) * 1000),
    "exp2": (np.exp2, lambda r: r.uniform(-120, 120, N)),
    "log2": (np.log2, lambda r: np.exp(r.uniform(-80, 80, N))),
    "sin": (lambda x: np.sin(2 * np.pi * x), lambda r: r.uniform(-1, 1, N)),
    "cos": (lambda x: np.cos(2 * np.pi * x), lambda r: r.uniform(-1, 1, N)),
    "fract": (lambda x: x - np.floor(x), lambda r: r.normal(size=N) * 100),
    "med3": (lambda x: np.clip(x, -1, 1), lambda r: r.normal(size=N) * 2),
}


@pytest.mark.parametrize("name", NATIVES)
def test_native(name, built, tmp_path):
    function, draw = NATIVES[name]
    x = draw(np.random.default_rng(3)).astype(np.float32)
    device, _ = run_device(built("lanes")[0], f"native_{name}", [x, x, x], N * 4, tmp_path)
    got = device.view(np.float32).astype(np.float64)
    exact = function(x.astype(np.float64))
    ulp = np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)
    assert (np.abs(got - exact) <= ulp).all(), np.max(np.abs(got - exact) / ulp)
