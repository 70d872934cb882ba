#!/usr/bin/env python3
"""Instructions of Outboard's arm64 kernels beside those of llama.cpp's, counted exactly under qemu.

    bench/arm64_instructions/count.py --llama-cpp SOURCE [--types Q4_1,F16,...] [--tokens 1,512]
                                      [--tables dotprod,i8mm] [--rows 256] [--columns 2048]

SOURCE is llama.cpp's source; its library ggml is built for arm64, once for each table, below build/arm64-ggml.
Needs g++-aarch64-linux-gnu, qemu-user and what tests/arm64/build.sh fetches; nothing is installed.

A program of each side computes the same product of a matrix with one thread, activations' packing included:
ggml's from a buffer that it repacks for the processor where it can, as llama.cpp does. A plugin of qemu counts
the instructions of runs with one and with three repeats; half the difference is one product. The two
products are compared. An instruction is not a moment: what it costs, a processor decides.
"""
import argparse
import os
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
ARM = ROOT / "build/arm64"
SYSROOT = ROOT / "build/arm64-sysroot"
CXX = "aarch64-linux-gnu-g++"
# What llama.cpp's own builds for several processors take (GGML_CPU_ALL_VARIANTS).
ARCHITECTURES = {"dotprod": "armv8.2-a+dotprod+fp16", "i8mm": "armv8.6-a+dotprod+fp16+i8mm"}
TYPES = "Q4_1,Q4_0,Q8_0,Q4_K,Q6_K,IQ4_XS,F16,BF16"


def run(command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def ggml_product(source, table):
    """Builds ggml with the table's instructions and the program on top of it."""
    build = ROOT / "build/arm64-ggml" / table
    if not (build / "build.ninja").exists():
        run(["cmake", "-S", source, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
             "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
             "-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc", f"-DCMAKE_CXX_COMPILER={CXX}", "-DBUILD_SHARED_LIBS=OFF",
             "-DGGML_NATIVE=OFF", f"-DGGML_CPU_ARM_ARCH={ARCHITECTURES[table]}", "-DGGML_OPENMP=OFF",
             "-DLLAMA_CURL=OFF", *(f"-DLLAMA_BUILD_{part}=OFF" for part in
                                   ("COMMON", "TESTS", "TOOLS", "EXAMPLES", "SERVER", "APP"))])
    run(["ninja", "-C", build, "ggml"])
    program = build / "ggml_product"
    run([CXX, "-O2", "-std=c++17", "-I", source / "ggml/include", HERE / "ggml_product.cpp", "-o", program,
         *(build / "ggml/src" / f"lib{name}.a" for name in ("ggml", "ggml-cpu", "ggml-base")), "-lpthread", "-ldl"])
    return program


def outboard_product():
    run([ROOT / "tests/arm64/build.sh", "outboard_cpu_kernels"])
    program = ARM / "outboard_product"
    run([CXX, "-O2", "-std=c++20", "-I", ROOT / "src", "-isystem", SYSROOT / "usr/include",
         HERE / "outboard_product.cpp", "-o", program, ARM / "src/devices/cpu/kernels/liboutboard_cpu_kernels.a",
         ARM / "src/formats/liboutboard_formats.a", ARM / "src/support/liboutboard_support.a",
         "-L", SYSROOT / "usr/lib/aarch64-linux-gnu", "-lfmt", "-lpthread"])
    return program


class Counter:
    """Counts the instructions of a program for arm64."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.plugin = self.folder / "instruction_counter.so"
        run(["cc", "-O1", "-shared", "-fPIC", "-o", self.plugin, HERE / "instruction_counter.c"])

    def run(self, program, *arguments, table=""):
        """Standard output and the number of instructions."""
        out = self.folder / "count"
        libraries = f"{SYSROOT}/usr/lib/aarch64-linux-gnu:{SYSROOT}/lib/aarch64-linux-gnu"
        text = run(["qemu-aarch64", "-cpu", "max,sve=off,sme=off", "-L", "/usr/aarch64-linux-gnu",
                    "-E", f"LD_LIBRARY_PATH={libraries}", "-plugin", f"{self.plugin},out={out}", program, *arguments],
                   env={**os.environ, "OUTBOARD_CPU": table})
        return text.strip(), int(out.read_text())

    def of_one(self, program, shape, file, table=""):
        """Standard output of a run, and the instructions of one product."""
        text, once = self.run(program, *shape, 1, file, table=table)
        _, thrice = self.run(program, *shape, 3, file, table=table)
        return text, (thrice - once) / 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True)
    parser.add_argument("--types", default=TYPES)
    parser.add_argument("--tokens", default="1,512")
    parser.add_argument("--tables", default="dotprod,i8mm")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--columns", type=int, default=2048)
    options = parser.parse_args()

    mine = outboard_product()
    print("Instructions a thousand multiply-adds; the last column: relative difference of the two products.\n")
    print("| table | type | tokens | llama.cpp | Outboard | ratio | llama.cpp's buffer | difference |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(folder)
        file = counter.folder / "product"
        for table in options.tables.split(","):
            theirs = ggml_product(options.llama_cpp, table)
            for name in options.types.split(","):
                for tokens in options.tokens.split(","):
                    shape = [options.rows, options.columns, tokens]
                    buffer, expected = counter.of_one(theirs, [ggml_name(name), *shape], file)
                    difference, count = counter.of_one(mine, [name, *shape], file, table)
                    size = options.rows * options.columns * int(tokens) / 1000
                    print(f"| {table} | {name} | {tokens} | {expected / size:.1f} | {count / size:.1f} | "
                          f"{count / expected:.2f} | {buffer} | {difference} |", flush=True)


def ggml_name(name):
    """How ggml writes a type: its K in capitals, the rest small."""
    return name.lower().replace("_k", "_K")


if __name__ == "__main__":
    main()
