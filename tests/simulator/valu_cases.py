"""Vector ALU instructions to try: each mnemonic in each of its forms, with what can be put on it."""

import re
from dataclasses import dataclass, field, replace

import isa
import softfloat as sf

# Registers of the test kernel (valu_kernel.py).
SOURCE = (8, 12, 16)      # v8, v12, v16: four VGPRs for each source
DESTINATION = 20          # v[20:23]
SCALAR = (40, 42)         # s[40:41]: a scalar source; s[42:43]: a lane mask
MASK_DESTINATION = 36     # s[36:37]

INTEGERS = {str(i): i for i in (0, 1, 2, 17, 31, 64, -1, -3, -16)}
FLOATS = {"0.5": (1, -1), "-0.5": (-1, -1), "1.0": (1, 0), "-1.0": (-1, 0), "2.0": (1, 1),
          "-2.0": (-1, 1), "4.0": (1, 2), "-4.0": (-1, 2)}
INVERSE_2PI = {16: 0x3118, 32: 0x3E22F983, 64: 0x3FC45F306DC9C882}
LITERALS = [0x12345678, 0x7F800000, 0x80000000, 0x3C00BEEF, 0xFFFFFF80, 0x00010041]

DPP16 = ["quad_perm:[3,0,2,1]", "quad_perm:[1,1,3,3]", "row_shl:1", "row_shl:15", "row_shr:3",
         "row_ror:5", "row_mirror", "row_half_mirror", "row_share:9", "row_xmask:6"]


@dataclass(frozen=True)
class Source:
    kind: str            # v: VGPR, s: scalar register, c: constant
    text: str = ""
    value: int = 0


@dataclass(frozen=True)
class Case:
    instruction: isa.Instruction
    form: str                       # e32, e64, vop3p
    sources: tuple                  # of Source
    neg: int = 0                    # VOP3P: neg_lo
    abs: int = 0                    # VOP3P: neg_hi
    op_sel: int = 0
    op_sel_hi: int = 7              # VOP3P
    clamp: bool = False
    omod: int = 0
    dpp: str = ""
    execute: int = (1 << 64) - 1    # EXEC
    literal: int | None = None      # K of fmamk and fmaak
    texts: tuple = field(default=(), compare=False)  # the first that assembles is used

    @property
    def name(self):
        return self.instruction.name


def source_types(instruction):
    names = (("src0", "vsrc0"), ("src1", "vsrc1"), ("src2",))
    types = [instruction.type(*n) for n in names]
    return [t for t in types if t is not None]


def inline_value(text, t):
    """What an inline constant is for an operand of a type. Guide, table of source operands."""
    width = 64 if t.bits == 64 else 32
    if text in INTEGERS:
        return INTEGERS[text] & (1 << width) - 1
    floating = t.kind in ("f", "pf")
    bits = 64 if t.bits == 64 else 16 if floating and (t.bits == 16 or t.kind == "pf") else 32
    if t.kind in ("bf", "pbf"):
        f = sf.BF16
    else:
        f = {16: sf.F16, 32: sf.F32, 64: sf.F64}[bits]
    if text == "0.15915494":
        return 0x3E22 if f is sf.BF16 else INVERSE_2PI[bits]
    s, e = FLOATS[text]
    return sf.pack(int(s < 0), 1, e, f)


def literal_value(literal, t):
    if t.bits == 64:
        if t.kind == "f":
            return literal << 32
        if t.kind == "i" and literal >> 31:
            return literal | 0xFFFFFFFF << 32
    return literal


def registers(kind, first, dwords):
    return f"{kind}{first}" if dwords == 1 else f"{kind}[{first}:{first + dwords - 1}]"


def mask_registers(first, wave64):
    return registers("s", first, 2) if wave64 else f"s{first}"


def vcc(wave64):
    return "vcc" if wave64 else "vcc_lo"


def is_compare(name):
    return name.startswith(("v_cmp_", "v_cmpx_"))


def operand_text(case, i, t, wave64):
    source = case.sources[i]
    if source.kind == "c":
        text = source.text
        if text == "0.15915494" and t.bits == 64:
            text = "0.15915494309189532"  # else LLVM takes it for another number
    elif t.kind == "m":
        return mask_registers(SCALAR[1], wave64)
    elif source.kind == "s":
        text = registers("s", SCALAR[0], t.dwords)
    else:
        text = registers("v", SOURCE[i], t.dwords)
    if case.form == "vop3p" and "fma_mix" not in case.name:
        return text
    if case.abs >> i & 1:
        text = f"|{text}|"
    if case.neg >> i & 1:
        text = f"neg({text})" if source.kind == "c" else f"-{text}"
    return text


def bits(name, value, count):
    return f" {name}:[" + ",".join(str(value >> i & 1) for i in range(count)) + "]"


def texts(case, wave64):
    """The ways to write the instruction, best first."""
    instruction, name = case.instruction, case.name
    types = source_types(instruction)
    operands = []
    destination = instruction.type("vdst")
    if name.startswith("v_cmp_"):
        operands.append(vcc(wave64) if case.form == "e32" else mask_registers(MASK_DESTINATION, wave64))
    elif not name.startswith("v_cmpx_"):
        operands.append(registers("v", DESTINATION, destination.dwords))
    carry = instruction.type("sdst") is not None
    if carry:
        operands.append(vcc(wave64) if case.form == "e32" else mask_registers(MASK_DESTINATION, wave64))
    for i, t in enumerate(types):
        if t.kind == "m" and case.form == "e32":
            continue
        operands.append(operand_text(case, i, t, wave64))
    if case.literal is not None:
        operands.insert(2 if "fmamk" in name else 3, hex(case.literal))
    if case.form == "e32" and ("_co_ci_" in name or name == "v_cndmask_b32"):
        operands.append(vcc(wave64))
    if case.form == "e64" and name == "v_cndmask_b32":
        operands.append(mask_registers(SCALAR[1], wave64))
    tail = ""
    if case.form == "vop3p":
        count = len(types)
        ones = (1 << count) - 1
        mix = "fma_mix" in name
        if case.op_sel:
            tail += bits("op_sel", case.op_sel, count)
        if case.op_sel_hi & ones != (0 if mix else ones):
            tail += bits("op_sel_hi", case.op_sel_hi, count)
        if not mix:
            if case.neg:
                tail += bits("neg_lo", case.neg, count)
            if case.abs:
                tail += bits("neg_hi", case.abs, count)
    elif case.op_sel:
        count = len([t for t in types if t.kind != "m"]) + (name == "v_fmac_f16")
        tail += bits("op_sel", case.op_sel & (1 << count) - 1 | (case.op_sel >> 3) << count, count + 1)
    if case.clamp:
        tail += " clamp"
    if case.omod:
        tail += ("", " mul:2", " mul:4", " div:2")[case.omod]
    if case.dpp:
        tail += " " + case.dpp
    line = " " + ", ".join(operands) + tail
    if name == "v_mov_b16":  # the one 16-bit operation whose halves LLVM 19 names
        line = re.sub(r"\b(v\d+)", r"\1.l", line)
    suffix = {"e32": "_e32", "e64": "_e64", "vop3p": ""}[case.form]
    if case.dpp:
        suffix = {"e32": "_dpp", "e64": "_e64_dpp", "vop3p": "_e64_dpp"}[case.form]
    return (name + suffix + line, name + line)


def modifiable(t):
    return t.kind in ("f", "bf")


def constants_of(random, t):
    """A few constants for an operand: (text, value)."""
    out = []
    for text in random.sample(sorted(INTEGERS), 2) + random.sample(sorted(FLOATS), 1):
        out.append((text, inline_value(text, t)))
    if random.random() < 0.2:
        out.append(("0.15915494", inline_value("0.15915494", t)))
    literal = random.choice(LITERALS)
    if literal_value(literal, t) == literal or t.bits == 64:
        out.append((hex(literal), literal_value(literal, t)))
    return out


def dpp_text(random):
    if random.random() < 0.3:
        lanes = ",".join(str(random.randrange(8)) for _ in range(8))
        return f"dpp8:[{lanes}]" + random.choice(("", " fi:1"))
    rows, banks = random.choice(((15, 15), (15, 15), (5, 15), (15, 6), (9, 13)))
    return (f"{random.choice(DPP16)} row_mask:{rows:#x} bank_mask:{banks:#x}"
            + random.choice(("", " bound_ctrl:1")) + random.choice(("", " fi:1")))


FULL = (1 << 64) - 1
EXECUTE = [0, 1, 1 << 63 | 1 << 31, 0x5555AAAA00FFF00F, 0xFFFFFFFF00000000, 0x00000000FFFFFFFF]


def cases_of(random, instruction, effort=1):
    """Cases of one instruction: plain in every form, then each modifier that its types allow."""
    types = source_types(instruction)
    plain = tuple(Source("v") for _ in types)
    result_type = instruction.type("vdst")
    fmak = "fmamk" in instruction.name or "fmaak" in instruction.name
    out = []

    def literal():
        return random.choice((0x3F800001, 0xC0490FDB, 0x7F800000, 0x3C01, 0xC248, 0x1)) if fmak else None

    for form in sorted(instruction.forms):
        kind = {"VOP1": "e32", "VOP2": "e32", "VOPC": "e32", "VOP3": "e64", "VOP3SD": "e64",
                "VOP3P": "vop3p"}[form]
        base = Case(instruction, kind, plain, literal=literal())
        out.append(base)
        out.append(replace(base, execute=random.choice(EXECUTE), literal=literal()))
        # A scalar register or constant in one of the sources.
        for i, t in enumerate(types):
            if t.kind == "m" or kind == "e32" and i > 0:
                continue
            choices = [Source("s")] + [Source("c", text, value) for text, value in constants_of(random, t)]
            if fmak:
                choices = choices[:3]  # its literal is the only one
            for source in random.sample(choices, min(len(choices), 1 + effort)):
                sources = plain[:i] + (source,) + plain[i + 1:]
                out.append(replace(base, sources=sources, literal=literal()))
        if kind == "e64":
            out += modified(random, base, types, result_type, effort)
        if kind == "vop3p":
            out += packed(random, base, types, effort)
        if not fmak:
            for _ in range(1 + effort):
                out.append(replace(base, dpp=dpp_text(random), execute=random.choice((FULL, *EXECUTE))))
    return out


def modified(random, base, types, result_type, effort):
    out = []
    count = len([t for t in types if t.kind != "m"])
    ones = (1 << count) - 1
    floats = sum(1 << i for i, t in enumerate(types) if modifiable(t) or "cndmask" in base.name)
    if floats:
        for _ in range(2 * effort):
            signs = 0 if "sdst" in dict(base.instruction.types) else random.getrandbits(3)  # VOP3SD
            out.append(replace(base, neg=random.getrandbits(3) & floats, abs=signs & floats))
    out.append(replace(base, clamp=True))
    if result_type is not None and result_type.kind == "f":
        out.append(replace(base, omod=random.randrange(1, 4), clamp=random.random() < 0.5))
    halves = sum(1 << i for i, t in enumerate(types) if t.bits == 16)
    if result_type is not None and result_type.bits == 16:
        halves |= 8
    if halves:
        for _ in range(1 + effort):
            out.append(replace(base, op_sel=random.getrandbits(4) & (halves | ones & halves)))
    return out


def packed(random, base, types, effort):
    out = []
    count = len(types)
    ones = (1 << count) - 1
    for _ in range(2 + 2 * effort):
        out.append(replace(base, op_sel=random.getrandbits(3) & ones,
                           op_sel_hi=random.getrandbits(3) & ones | ~ones & 7,
                           neg=random.getrandbits(3) & ones, abs=random.getrandbits(3) & ones,
                           clamp=random.random() < 0.3))
    out.append(replace(base, clamp=True))
    return out
