"""The instructions of gfx1100 for tests: mnemonics, operand types and pseudo-code.

From tinygrad 0.14.0 (tinygrad.runtime.autogen.amd.rdna3), AMD's machine-readable ISA as Python.
"""

import functools
import re
from dataclasses import dataclass

from tinygrad.runtime.autogen.amd.rdna3 import enum
from tinygrad.runtime.autogen.amd.rdna3.operands import OPERANDS
from tinygrad.runtime.autogen.amd.rdna3.str_pcode import PCODE


@dataclass(frozen=True)
class Type:
    """Of an operand. kind: f float, u/i integer, b bits, m lane mask, p packed pair of 16 bits."""
    kind: str
    bits: int

    @property
    def dwords(self):
        return max(1, (self.bits + 31) // 32)


def type_of(operand):
    fmt, bits, _ = operand
    name = fmt.name.removeprefix("FMT_").removeprefix("NUM_")
    if name == "M64":
        return Type("m", 64)
    if name == "BF16":
        return Type("bf", 16)
    if re.fullmatch(r"[FUI]\d+", name):
        return Type(name[0].lower(), bits)
    if name.startswith("PK2_"):
        return Type("p" + name[4].lower() if not name.startswith("PK2_BF") else "pbf", bits)
    return Type("b", bits)


@dataclass(frozen=True)
class Instruction:
    name: str        # v_add_f32
    pcode: str
    types: tuple     # (field, Type) of each operand, by field name
    forms: frozenset  # formats that it exists in: VOP1, VOP3, ...

    def type(self, *fields):
        for field, t in self.types:
            if field in fields:
                return t
        return None


FORMATS = ("SOP1", "SOP2", "SOPC", "SOPK", "SOPP", "SMEM", "VOP1", "VOP2", "VOPC", "VOP3", "VOP3SD",
           "VOP3P", "VINTERP", "DS", "FLAT", "GLOBAL", "SCRATCH", "MUBUF", "MTBUF", "LDSDIR")


@functools.cache
def instructions():
    """By mnemonic. The short forms' operands come first: of many long ones only those of the DPP
    form are listed."""
    found = {}
    for form in FORMATS:
        for op in getattr(enum, form + "Op"):
            name = re.sub(r"_E(32|64)$", "", op.name).lower()
            old = found.get(name)
            operands = OPERANDS.get(op, {})
            types = old.types if old else tuple((k, type_of(v)) for k, v in operands.items())
            pcode = old.pcode if old and old.pcode else PCODE.get(op, "")
            forms = (old.forms if old else frozenset()) | {form}
            if old and form == "VOP3SD":  # the carry's operands are only here
                types = tuple((k, type_of(v)) for k, v in operands.items())
            found[name] = Instruction(name, pcode, types, forms)
    return found
