#!/usr/bin/env python3
"""Outboard beside llama.cpp on the CPU: same files, same threads, one run after the other.

    bench/compare.py --llama-cpp DIR [--model smollm2] [--types Q4_1,Q4_0,Q8_0,Q4_K_M,F16]
                     [-t 2] [-p 512] [-n 128] [-r 3] [--outboard build/release/src/cli/outboard]

DIR holds llama.cpp's programs (llama-bench, llama-quantize). The model in the other types is written
by llama-quantize from the given one, so both programs read the same bytes. The two programs take turns,
repetition by repetition, so that a machine whose speed drifts treats them alike; each ratio is the
median over turns. Peak memory beyond the file is the peak resident set less the mapped file.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]


def measured(command):
    """Standard output and peak resident set (bytes) of a command."""
    with tempfile.TemporaryFile() as out, open(os.devnull, "w") as null:
        process = subprocess.Popen([str(c) for c in command], stdout=out, stderr=null)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise SystemExit(f"failed: {command}")
        out.seek(0)
        return out.read().decode(), usage.ru_maxrss * 1024


def llama_cpp(options, model, prompt, decode):
    out, peak = measured([options.llama_cpp / "llama-bench", "-m", model, "-t", options.threads,
                          "-p", prompt, "-n", decode, "-r", 1, "-o", "json"])
    return json.loads(out)[0]["avg_ts"], peak


def outboard(options, model, prompt, decode):
    out, _ = measured([options.outboard, "bench", model, "-t", options.threads,
                       "-p", prompt, "-n", decode, "-r", 1, "--json"])
    return json.loads(out)[0]["avg_ts"]


def peak_of_run(options, model):
    """Peak memory of a prompt of about 512 tokens and 32 tokens of answer, for both programs."""
    text = ("The quick brown fox jumps over the lazy dog near the river bank. " * 40)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        _, mine = measured([options.outboard, "run", model, "-f", file.name, "--raw", "-n", 32, "--temp", 0,
                            "-t", options.threads, "--ctx", 1024])
        _, theirs = measured([options.llama_cpp / "llama-completion", "-m", model, "-f", file.name, "-n", 32,
                              "--temp", 0, "-t", options.threads, "-c", 1024, "-no-cnv"])
    return mine, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True)
    parser.add_argument("--outboard", type=pathlib.Path, default=ROOT / "build/release/src/cli/outboard")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--types", default="Q4_1,Q4_0,Q8_0,Q4_K_M,F16")
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--decode", type=int, default=128)
    parser.add_argument("-r", "--repetitions", type=int, default=3)
    options = parser.parse_args()

    described = json.loads(subprocess.run([options.outboard, "inspect", options.model, "--json"],
                                          capture_output=True, check=True).stdout)
    source = pathlib.Path(described["path"])
    print(f"{source.name}, {options.threads} threads, prompt {options.prompt}, decode {options.decode}, "
          f"median of {options.repetitions} turns\n")
    print("| type | test | llama.cpp t/s | Outboard t/s | ratio |")
    print("| --- | --- | ---: | ---: | ---: |")
    memory = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.types.split(","):
            model = source
            if kind.upper() not in source.name.upper() and kind != own_type(described):
                model = pathlib.Path(folder) / f"{kind}.gguf"
                subprocess.run([options.llama_cpp / "llama-quantize", "--allow-requantize", source, model, kind],
                               check=True, capture_output=True)
            for test, prompt, decode in (("prompt", options.prompt, 0), ("decode", 0, options.decode)):
                if prompt == decode == 0:
                    continue
                theirs, mine, ratios = [], [], []
                for _ in range(options.repetitions):
                    theirs.append(llama_cpp(options, model, prompt, decode)[0])
                    mine.append(outboard(options, model, prompt, decode))
                    ratios.append(mine[-1] / theirs[-1])
                print(f"| {kind} | {test} | {statistics.median(theirs):.1f} | {statistics.median(mine):.1f} | "
                      f"{statistics.median(ratios):.2f} |", flush=True)
            if options.prompt > 0 and (options.llama_cpp / "llama-completion").exists():
                memory.append((kind, model.stat().st_size, *peak_of_run(options, model)))
    if memory:
        print("\nPeak memory of a 512-token prompt and 32 tokens, beyond the model file (context 1024)\n")
        print("| type | llama.cpp MB | Outboard MB |\n| --- | ---: | ---: |")
        for kind, size, mine, theirs in memory:
            print(f"| {kind} | {(theirs - size) / 1e6:.0f} | {(mine - size) / 1e6:.0f} |")
    starts = []
    for _ in range(5):
        begin = time.monotonic()
        measured([options.outboard, "run", source, "-p", "Hi", "-n", 1, "--temp", 0, "-t", options.threads])
        starts.append(time.monotonic() - begin)
    print(f"\nStart of the program to its first token and exit, warm: {statistics.median(starts):.2f} s (median of 5)")


def own_type(described):
    """The type of most bytes in the file."""
    sizes = {}
    for tensor in described["tensors"]:
        if len(tensor["shape"]) > 1 and "embd" not in tensor["name"]:
            sizes[tensor["type"]] = sizes.get(tensor["type"], 0) + tensor["bytes"]
    return max(sizes, key=sizes.get)


if __name__ == "__main__":
    main()
