"""llama.cpp as an oracle: logits and greedy text of a GGUF file, and the record of its answers for the files
of families.py, which tests/e2e/test_families.py holds Outboard to.

    llama_cpp.py logits MODEL TOKENS.npy OUT.npy [--pieces N]
    llama_cpp.py record [NAME ...]
    llama_cpp.py seed NAME ...

It is built once (a few minutes) from the source distribution of the Python package
llama-cpp-python, whose bindings call it, into $OUTBOARD_LLAMA_CPP (else ~/.cache/outboard-tests/llama-cpp):
for this processor, without OpenMP, and with gelu computed instead of looked up in a table of half floats.
It runs with keys and values in float32 and without flash attention, which would round them to half floats.

record writes tests/data/families/NAME.npz: a checksum of the model file, the tokens of the text, logits at
some positions rounded to 16 bits of their range, and the 64 tokens that follow. It refuses what would prove
little: text that leaves no choice or every choice, a greedy token that is hardly likelier than the next,
metadata or a tensor without which the answers are the same; and what it cannot be sure of: answers that
depend on how the prompt is cut, or are not those of forward.py, or that a device which keeps half floats
might miss, such as a choice of experts that is nearly a tie. seed finds what to write into families.SEEDS
for a file that does better.
"""
import argparse
import contextlib
import ctypes
import hashlib
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import types

import gguf
import numpy as np

import families
import forward

VERSION = "0.3.36"
FOLDER = pathlib.Path(os.environ.get("OUTBOARD_LLAMA_CPP", pathlib.Path.home() / ".cache/outboard-tests/llama-cpp"))
ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDS = ROOT / "tests/data/families"
TEXT = ROOT / "tests/data/alice.txt"
PROMPT = "the rain in the other on"
GREEDY = 64


def build():
    """Returns the folder of the sources; the libraries are in FOLDER/build/bin."""
    package = FOLDER / f"llama_cpp_python-{VERSION}"
    if (FOLDER / "build/bin/libllama.so").exists():
        return package
    FOLDER.mkdir(parents=True, exist_ok=True)

    def call(*command):
        print("+", *command, file=sys.stderr)
        subprocess.run([str(c) for c in command], check=True, cwd=FOLDER)

    if not package.exists():
        call(sys.executable, "-m", "venv", "env")
        call("env/bin/pip", "install", "-q", "scikit-build-core", "setuptools", "wheel")
        call("env/bin/pip", "download", "-q", "--no-deps", "--no-build-isolation", "--no-binary", ":all:",
             f"llama-cpp-python=={VERSION}")
        call("tar", "xzf", f"llama_cpp_python-{VERSION}.tar.gz")
    vec = package / "vendor/llama.cpp/ggml/src/ggml-cpu/vec.h"
    vec.write_text("".join(line for line in vec.read_text().splitlines(keepends=True)
                           if not line.startswith(("#define GGML_GELU_FP16", "#define GGML_GELU_QUICK_FP16"))))
    call("cmake", "-G", "Ninja", "-S", package / "vendor/llama.cpp", "-B", "build", "-DCMAKE_BUILD_TYPE=Release",
         "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG", "-DBUILD_SHARED_LIBS=ON", "-DGGML_NATIVE=ON", "-DGGML_OPENMP=OFF",
         "-DGGML_LLAMAFILE=OFF", "-DGGML_CPU_REPACK=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF",
         "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_BUILD_APP=OFF")
    call("ninja", "-C", "build", "llama")
    return package


def bindings():
    """The package's module of declarations, without what the package imports for its own API."""
    package = build()
    os.environ["LLAMA_CPP_LIB_PATH"] = str(FOLDER / "build/bin")
    here = types.ModuleType("llama_cpp")
    here.__path__ = [str(package / "llama_cpp")]
    sys.modules["llama_cpp"] = here
    return importlib.import_module("llama_cpp.llama_cpp")


class Oracle:
    """A model in llama.cpp, and one context of it."""

    def __init__(self, path, context, overrides=()):
        self.api = api = bindings()
        keep = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self.errors = []
        warn = lambda level, text, _: self.errors.append(text.decode(errors="replace")) if level >= 3 else None
        self.log = keep(warn)
        api._lib.llama_log_set(self.log, None)
        params = api.llama_model_default_params()
        self.overrides = (api.llama_model_kv_override * (len(overrides) + 1))()
        for slot, (key, value) in zip(self.overrides, overrides):
            slot.tag, slot.key, slot.value.val_i64 = 0, key.encode(), value
        params.kv_overrides = self.overrides
        self.model = api.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            raise RuntimeError(f"llama.cpp does not load {path}: {''.join(self.errors)}")
        params = api.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = context
        params.n_threads = params.n_threads_batch = 1
        params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.type_k = params.type_v = api.GGML_TYPE_F32
        params.no_perf = True
        self.context = api.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError(f"llama.cpp makes no context for {path}: {''.join(self.errors)}")
        vocabulary = api.llama_model_get_vocab(self.model)
        self.vocabulary = vocabulary, api.llama_vocab_n_tokens(vocabulary)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.api.llama_free(self.context)
        self.api.llama_model_free(self.model)

    def tokens(self, text):
        data = text.encode()
        out = (ctypes.c_int32 * (len(data) + 8))()
        n = self.api.llama_tokenize(self.vocabulary[0], data, len(data), out, len(out), True, False)
        return np.array(out[:n], np.int32)

    def forget(self):
        self.api.llama_memory_clear(self.api.llama_get_memory(self.context), True)

    def decode(self, tokens, start):
        """Logits [tokens, vocabulary] of tokens that follow the first `start`."""
        api, n = self.api, len(tokens)
        batch = api.llama_batch_init(n, 0, 1)
        batch.n_tokens = n
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = int(token), start + i, 1, 1
            batch.seq_id[i][0] = 0
        status = api.llama_decode(self.context, batch)
        api.llama_batch_free(batch)
        if status:
            raise RuntimeError(f"llama_decode: {status}: {''.join(self.errors)}")
        rows = api.llama_get_logits(self.context)
        return np.ctypeslib.as_array(rows, (n, self.vocabulary[1])).copy()

    def logits(self, tokens, pieces=0):
        """Of a text from its beginning, all at once or in pieces of so many tokens."""
        self.forget()
        step = pieces or len(tokens)
        return np.concatenate([self.decode(tokens[i : i + step], i) for i in range(0, len(tokens), step)])

    def greedy(self, tokens, count):
        """The likeliest tokens after these."""
        self.forget()
        row = self.decode(tokens, 0)[-1]
        out = []
        for i in range(count):
            out.append(int(row.argmax()))
            row = self.decode(out[-1:], len(tokens) + i)[-1]
        return np.array(out, np.int32)


def in_float32(path, folder):
    """The same model with every tensor as float32: llama.cpp rounds what it multiplies with blocks."""
    reader = gguf.GGUFReader(path)
    if all(t.tensor_type == gguf.GGMLQuantizationType.F32 for t in reader.tensors):
        return path
    out = pathlib.Path(folder) / f"{path.stem}-float32.gguf"
    writer = gguf.GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            sub = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub)
    for t in reader.tensors:
        rows = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        writer.add_tensor(t.name, rows.reshape([int(n) for n in reversed(t.shape)]))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


class Doubt(Exception):
    """The answers would prove little."""


def check(holds, what):
    if not holds:
        raise Doubt(what)


def worst(reference, other):
    return forward.kl_divergence(reference, other).max()


@contextlib.contextmanager
def replaced(**functions):
    """forward.py with other functions."""
    kept = {name: getattr(forward, name) for name in functions}
    for name, make in functions.items():
        setattr(forward, name, make(kept[name]))
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(forward, name, function)


def half(x):
    return x.astype(np.float16).astype(np.float32)


def keeping_half_floats():
    """forward.py with keys and values as half floats."""
    return replaced(attention=lambda real: lambda q, k, v, *more, **named: real(q, half(k), half(v), *more, **named))


def with_noise(random, size):
    """forward.py with all that norms and convolutions give a little off."""

    def noisy(real):
        def function(*arguments, **named):
            exact = real(*arguments, **named)
            return exact * (1 + np.float32(size) * random.standard_normal(exact.shape, np.float32))

        return function

    return replaced(rms_norm=noisy, layer_norm=noisy, causal_conv=noisy)


def check_steady(path, tokens, want, context):
    """A device that keeps half floats and computes with a little more gives the same answers, or nearly; in
    the beginning of the text, which is as much as the simulated card is asked for, one that computes with
    half floats, too."""
    model = forward.Model(path)
    noise = np.random.default_rng(1)
    with keeping_half_floats(), with_noise(noise, 1e-4):
        kept = max(worst(want, forward.logits(model, tokens, context)) for _ in range(3))
    print(f"KL by half floats kept {kept:.1e}", end="", flush=True)
    check(kept < 5e-5, "half floats as keys and values change the answers")
    start = tokens[: families.CARD_LENGTH]
    with with_noise(noise, 5e-4):
        given = max(worst(want[: len(start)], forward.logits(model, start, context)) for _ in range(3))
    print(f" and given {given:.1e}", end="", flush=True)
    check(given < 6e-4, "half floats as what is multiplied change the answers")


def check_lead(path, prompt, greedy, context):
    """Greedy tokens lead by more than what half floats as keys and values change."""
    model = forward.Model(path)
    text = np.concatenate([prompt, greedy])
    exact = forward.logits(model, text, context)
    with keeping_half_floats():
        other = forward.logits(model, text, context)
    order = np.argsort(-exact, axis=-1)[:, :2]
    lead = lambda logits: np.subtract(*np.take_along_axis(logits, order, axis=-1).T)[-len(greedy) - 1 : -1]
    least, change = lead(exact).min(), np.abs(lead(exact) - lead(other)).max()
    print(f", greedy tokens lead by {least:.3f}, {least / change:.1f} times what those change", end="", flush=True)
    check(least > 3 * change, "half floats change the greedy text")
    check(len(set(greedy)) > 5, "the greedy text repeats itself")
    check(model.value("tokenizer.ggml.eos_token_id") not in greedy, "the greedy text ends")


def check_matters(name, path, tokens, want, context):
    """Every tensor, and every key of its architecture that families.py calls one, changes the answers."""

    class Changed(forward.Model):
        changed = {}

        def key(self, name, default=None):
            return self.changed[name] if name in self.changed else super().key(name, default)

        def __getitem__(self, name):
            data = super().__getitem__(name)
            return np.roll(data, 1, axis=-1) * np.float32(0.9) if name in self.changed else data

    model = Changed(path)
    keys = {key: value for key, value in families.MATTERS[name].items() if model.key(key) is not None}
    least = np.inf, None
    tensors = sorted(model.tensors.keys() - families.INERT.get(name, set()))
    for changed in [{tensor: None} for tensor in tensors] + [{key: value} for key, value in keys.items()]:
        model.changed = changed
        least = min(least, (worst(want, forward.logits(model, tokens, context)), str(changed)))
    print(f", least by {least[1]} {least[0]:.1e}")
    check(least[0] > 1e-3, f"{least[1]} does not matter")


def record(name):
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = pathlib.Path(folder) / f"{name}.gguf"
        families.FAMILIES[name](path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        count, context = families.LENGTHS.get(name, families.LENGTH), families.context_of(name)
        oracle = stack.enter_context(Oracle(in_float32(path, folder), context, families.OVERRIDES.get(name, ())))
        text = TEXT.read_text()
        tokens = oracle.tokens(text * (count // len(text) * 2 + 1))[:count]
        prompt = oracle.tokens(PROMPT)
        short = tokens[: families.LENGTH]
        reference = forward.logits(forward.Model(path), short, context)
        print(f"{name}: {path.stat().st_size} bytes, ", end="")
        check_steady(path, short, reference, context)
        greedy = oracle.greedy(prompt, GREEDY)
        check_lead(path, prompt, greedy, context)
        logits = oracle.logits(tokens)
        pieces = max(worst(logits, oracle.logits(tokens, n)) for n in (37, 128))
        if count > families.LENGTH:
            reference = forward.logits(forward.Model(path), tokens, context)
        apart = worst(logits, reference)
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        entropy = -(p * np.log(p + 1e-30)).sum(-1).mean()
        print(f", entropy {entropy:.2f}, {len(set(logits.argmax(-1)))} likeliest tokens, KL in pieces {pieces:.1e}, "
              f"to forward.py {apart:.1e}", end="", flush=True)
        check(np.isfinite(logits).all() and 0.5 < entropy < 4.5, "the entropy")
        check(pieces < 1e-6 and apart < 1e-6, "they disagree")
        check_matters(name, path, short, reference[: families.LENGTH], context)
    positions = families.positions_of(name)
    kept = logits[positions]
    low, high = kept.min(), kept.max()
    RECORDS.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        RECORDS / f"{name}.npz", sha256=digest, tokens=tokens.astype(np.uint16), positions=positions.astype(np.uint16),
        prompt=prompt.astype(np.uint16), greedy=greedy.astype(np.uint16), low=low, high=high,
        logits=np.round((kept - low) / (high - low) * 65535).astype(np.uint16))


def find_seed(name):
    for seed in range(1000):
        families.SEEDS[name] = seed
        try:
            return record(name)
        except Doubt as doubt:
            print(f" ({seed}: {doubt})")
    raise Doubt(f"{name}: no seed will do")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("logits")
    for argument in ("model", "tokens", "out"):
        one.add_argument(argument)
    one.add_argument("--pieces", type=int, default=0)
    commands.add_parser("record").add_argument("names", nargs="*")
    commands.add_parser("seed").add_argument("names", nargs="+")
    options = parser.parse_args()
    if options.command == "logits":
        asked = np.load(options.tokens)
        np.save(options.out, Oracle(options.model, max(512, len(asked))).logits(asked, options.pieces))
    else:
        failed = []
        for each in options.names or families.FAMILIES:
            try:
                (record if options.command == "record" else find_seed)(each)
                if options.command == "seed":
                    print(f'"{each}": {families.SEEDS[each]}')
            except (Doubt, RuntimeError) as error:
                print()
                failed.append(f"{each}: {error}")
        sys.exit("\n".join(failed) or None)
