"""Assembly lines turned into machine code, many in one run of llvm-mc-19."""

import re
import subprocess

ENCODING = re.compile(r"encoding: \[([0-9a-fx,]+)\]")


def encode(lines, wave64=False):
    """Machine code of each line, None for those that LLVM refuses."""
    size = "-wavefrontsize32,+wavefrontsize64" if wave64 else "+wavefrontsize32"
    run = subprocess.run(["llvm-mc-19", "--triple=amdgcn-amd-amdhsa", "-mcpu=gfx1100",
                          f"-mattr={size}", "--show-encoding"], input="\n".join(lines) + "\n",
                         capture_output=True, text=True, check=False)
    refused = {int(n) - 1 for n in re.findall(r"<stdin>:(\d+):\d+: error", run.stderr)}
    found = [bytes(int(b, 16) for b in m[1].split(",")) for m in ENCODING.finditer(run.stdout)]
    result, at = [], 0
    for i in range(len(lines)):
        if i in refused:
            result.append(None)
        else:
            result.append(found[at])
            at += 1
    assert at == len(found), "llvm-mc-19 encoded other lines than expected"
    return result


class Assembler:
    """Remembers what was encoded before; wants() all lines, then code() of each."""

    def __init__(self, wave64):
        self.wave64 = wave64
        self.known = {}
        self.wanted = []

    def want(self, lines):
        self.wanted += [line for line in lines if line not in self.known]

    def code(self, line):
        if line not in self.known:
            self.wanted = list(dict.fromkeys([*self.wanted, line]))
            self.known.update(zip(self.wanted, encode(self.wanted, self.wave64)))
            self.wanted = []
        return self.known[line]

    def program(self, lines):
        self.want([line for line in lines if isinstance(line, str)])
        parts = [line if isinstance(line, bytes) else self.code(line) for line in lines]
        missing = [line for line, part in zip(lines, parts) if part is None]
        assert not missing, f"llvm-mc-19 refuses {missing[:3]}"
        return b"".join(parts)
