"""llvm-mc-19 for gfx1100, thousands of instructions a run."""

import subprocess

MARKER = 0xBF80CAFE  # s_nop 0xcafe, between blocks
MARKER_TEXT = "s_nop 0xcafe"
TARGET = ["--triple=amdgcn-amd-amdhsa", "-mcpu=gfx1100"]


def _block(words):
    return "[" + ",".join("0x%02x" % (w >> s & 255) for w in words for s in (0, 8, 16, 24)) + "]\n"


def disassemble(cases):
    """For each list of words, the lines that llvm-mc makes of it; it stops at what it refuses."""
    marker = _block([MARKER])
    text = "".join(_block(c) + marker for c in cases)
    run = subprocess.run(["llvm-mc-19", "--disassemble", *TARGET, "-mattr=+wavefrontsize32"],
                         input=text, capture_output=True, text=True, check=False)
    result, lines = [], []
    for line in run.stdout.splitlines():
        line = line.strip()
        if line == MARKER_TEXT:
            result.append(lines)
            lines = []
        elif line and not line.startswith("."):
            lines.append(line)
    assert len(result) == len(cases), (
        f"llvm-mc-19 ended with {run.returncode} at {[hex(w) for w in cases[len(result)]]}")
    return result
