#!/usr/bin/env python3
"""Outboard's translation beside CTranslate2 on the CPU: the same weights, lines and threads, by turns.

    bench/compare_translate.py [-t 2] [-r 5] [--lines 96] [--beam 4] [--types f32,q8_0] [--folder DIR]
                               [--outboard build/release/src/cli/outboard]

Run it with the Python of tests/requirements.txt. The model has the exact shape of Helsinki-NLP's opus-mt
(6+6 layers, 512 wide, 8 heads, 2048 in between, 58,101 words) and random weights. F32 stands beside
CTranslate2's float32, Q8_0 beside its int8. Two loads: batches of 32 lines, and one line at a time. The
programs take turns, repetition by repetition, so that a machine whose speed drifts treats them alike; each
ratio is the median over turns. Both start their clocks with the model in memory. --folder keeps the
models for the next run.
"""
import argparse
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/reference"))

import ctranslate2  # noqa: E402
import numpy as np  # noqa: E402
import sentencepiece  # noqa: E402
from ctranslate2.converters import OpusMTConverter  # noqa: E402

import marian_folders  # noqa: E402
import marian_random  # noqa: E402

COMPUTE_TYPES = {"f32": "float32", "q8_0": "int8"}


def make_models(options, folder):
    """Both programs' models, from the same folder in Marian's own layout."""
    source = folder / "marian"
    if not source.exists():
        tokenizer = marian_folders.make_tokenizer(58101, languages=())
        config = marian_folders.opus_config(58101)
        marian_folders.write_marian(source, marian_random.weights(config, seed=7, eos_bias=options.eos_bias), config,
                                    tokenizer)
    if not (folder / "ct2").exists():
        OpusMTConverter(str(source)).convert(str(folder / "ct2"))
    for kind in options.types.split(","):
        if not (folder / f"{kind}.gguf").exists():
            subprocess.run([options.outboard, "convert", source, folder / f"{kind}.gguf", "--type", kind], check=True,
                           capture_output=True)
    return sentencepiece.SentencePieceProcessor(model_proto=(source / "source.spm").read_bytes())


def random_lines(count):
    rng = np.random.default_rng(1)
    words = " ".join(marian_folders.SOURCE_TEXT).split()
    return [" ".join(rng.choice(words, rng.integers(3, 13))) for _ in range(count)]


def outboard(options, model, lines, batch):
    """Lines and tokens a second, and the translations, as the program reports them."""
    text = "".join(line + "\n" for line in lines).encode()
    result = subprocess.run([options.outboard, "translate", model, "--device", "cpu", "-t", str(options.threads),
                             "--beam", str(options.beam), "--batch", str(batch), "--early-stopping", "yes"],
                            input=text, capture_output=True, check=True)
    found = re.search(r"([\d.]+) lines/s, ([\d.]+) tokens/s", result.stderr.decode())
    return float(found[1]), float(found[2])


def theirs(options, translator, pieces, batch):
    start = time.monotonic()
    tokens = 0
    for first in range(0, len(pieces), batch):
        results = translator.translate_batch(pieces[first : first + batch], beam_size=options.beam, max_input_length=0,
                                             min_decoding_length=0, return_scores=True)
        tokens += sum(len(result.hypotheses[0]) for result in results)
    seconds = time.monotonic() - start
    return len(pieces) / seconds, tokens / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outboard", type=pathlib.Path, default=ROOT / "build/release/src/cli/outboard")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--repetitions", type=int, default=5)
    parser.add_argument("--lines", type=int, default=96, help="of the batches; one line alone: an eighth of them")
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--types", default="f32,q8_0", help="of f32, q8_0")
    parser.add_argument("--eos-bias", type=float, default=2.0, help="less: longer translations")
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    folder = options.folder or pathlib.Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    try:
        compare(options, folder)
    finally:
        if not options.folder:
            shutil.rmtree(folder)


def compare(options, folder):
    processor = make_models(options, folder)
    lines = random_lines(options.lines)
    pieces = [processor.encode(line, out_type=str) for line in lines]
    length = np.mean([len(p) + 1 for p in pieces])
    print(f"opus-mt's shape, beam {options.beam}, {options.threads} threads, {length:.0f} source tokens a line, "
          f"median of {options.repetitions} turns\n")
    print("| types | load | CTranslate2 lines/s | tokens/s | Outboard lines/s | tokens/s | ratio | of tokens/s |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind in options.types.split(","):
        translator = ctranslate2.Translator(str(folder / "ct2"), compute_type=COMPUTE_TYPES[kind],
                                            intra_threads=options.threads)
        translator.translate_batch(pieces[:4], beam_size=options.beam)  # warm
        for load, batch in (("32 lines", 32), ("one line", 1)):
            count = len(lines) if batch > 1 else max(1, len(lines) // 8)
            turns = []
            for _ in range(options.repetitions):
                other = theirs(options, translator, pieces[:count], batch)
                time.sleep(0.5)  # its threads spin a while
                turns.append((*other, *outboard(options, folder / f"{kind}.gguf", lines[:count], batch)))
            a, b, c, d = (statistics.median(column) for column in zip(*turns))
            print(f"| {kind.upper()}, {COMPUTE_TYPES[kind]} | {load} | {a:.2f} | {b:.1f} | {c:.2f} | {d:.1f} | "
                  f"{statistics.median(t[2] / t[0] for t in turns):.2f} | "
                  f"{statistics.median(t[3] / t[1] for t in turns):.2f} |", flush=True)


if __name__ == "__main__":
    main()
