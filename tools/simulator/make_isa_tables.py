#!/usr/bin/env python3
"""Generates src/hardware/amd/rdna3/{opcodes.h,isa_tables.cpp}: the RDNA3 (gfx1100) instruction set.

Sources:
  - tinygrad 0.14.0, tinygrad.runtime.autogen.amd.rdna3 (enum, operands): AMD's machine-readable ISA
    description as Python tables. Gives opcode numbers, mnemonics, operand types and sizes.
  - llvm-mc-19: which of those opcodes gfx1100 has (the description covers gfx1150 too), which bits of
    an encoding must be zero, and which instructions have a DPP form.

Regenerate, from the repository root:
  python3 tools/simulator/make_isa_tables.py            (needs tinygrad 0.14.0 and llvm-mc-19)
  python3 tools/simulator/make_isa_tables.py --check    (fails when the files differ)
"""

import argparse
import pathlib
import re
import subprocess
import sys

from tinygrad.runtime.autogen.amd.rdna3 import enum as isa
from tinygrad.runtime.autogen.amd.rdna3.operands import OPERANDS

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "src/hardware/amd/rdna3"
MARKER = 0xBF80CAFE  # s_nop 0xcafe

# Format: (enum of its opcodes, first word with opcode 0, bit of the opcode, further words).
FORMATS = {
    "kSop1": ("SOP1Op", 0xBE800000, 8, ()),
    "kSop2": ("SOP2Op", 0x80000000, 23, ()),
    "kSopk": ("SOPKOp", 0xB0000000, 23, ()),
    "kSopc": ("SOPCOp", 0xBF000000, 16, ()),
    "kSopp": ("SOPPOp", 0xBF800000, 16, ()),
    "kSmem": ("SMEMOp", 0xF4000000, 18, (0,)),
    "kVop1": ("VOP1Op", 0x7E000000, 9, ()),
    "kVop2": ("VOP2Op", 0x00000000, 25, ()),
    "kVopc": ("VOPCOp", 0x7C000000, 17, ()),
    "kVop3": ("VOP3Op", 0xD4000000, 16, (0,)),
    "kVop3Sd": ("VOP3SDOp", 0xD4000000, 16, (0,)),
    "kVop3p": ("VOP3POp", 0xCC000000, 16, (0,)),
    "kVinterp": ("VINTERPOp", 0xCD000000, 16, (0,)),
    "kLdsDirect": ("LDSDIROp", 0xCE000000, 20, ()),
    "kDs": ("DSOp", 0xD8000000, 18, (0,)),
    "kFlat": ("FLATOp", 0xDC000000, 18, (0x007C0000,)),
    "kGlobal": ("GLOBALOp", 0xDC020000, 18, (0,)),
    "kScratch": ("SCRATCHOp", 0xDC010000, 18, (0,)),
    "kMubuf": ("MUBUFOp", 0xE0000000, 18, (0,)),
    "kMtbuf": ("MTBUFOp", 0xE8000000, 15, (0,)),
    "kMimg": ("MIMGOp", 0xF0000100, 18, (0,)),
}
# Opcode fields, for leaving them out when single bits are tried.
OPCODE_BITS = {"kSop1": 8, "kSop2": 7, "kSopk": 5, "kSopc": 7, "kSopp": 7, "kSmem": 8, "kVop1": 8,
               "kVop2": 6, "kVopc": 8, "kVop3": 10, "kVop3Sd": 10, "kVop3p": 7, "kVinterp": 7,
               "kLdsDirect": 2, "kDs": 8, "kFlat": 7, "kGlobal": 7, "kScratch": 7, "kMubuf": 8,
               "kMtbuf": 4, "kMimg": 8}
FORMAT_MASK = {"kSop1": 0xFF800000, "kSop2": 0xC0000000, "kSopk": 0xF0000000, "kSopc": 0xFF800000,
               "kSopp": 0xFF800000, "kVop1": 0xFE000000, "kVop2": 0x80000000, "kVopc": 0xFE000000,
               "kVop3p": 0xFF000000, "kVinterp": 0xFF000000, "kLdsDirect": 0xFF000000,
               "kFlat": 0xFC030000, "kGlobal": 0xFC030000, "kScratch": 0xFC030000}

BUFFERS = ("kMubuf", "kMtbuf", "kMimg")

# A literal constant always follows these.
LITERAL_OPS = {"V_FMAMK_F32", "V_FMAAK_F32", "V_FMAMK_F16", "V_FMAAK_F16", "S_SETREG_IMM32_B32"}

# What the description leaves out or gives with another width than the hardware reads.
# (format or None for all, mnemonic, role): (type, dwords)
CORRECTIONS = {
    # The class mask is an integer; LLVM reads a whole register in the long form.
    ("kVopc", "V_CMP_CLASS_F16", "s1"): ("kB16", 1),
    ("kVopc", "V_CMPX_CLASS_F16", "s1"): ("kB16", 1),
    ("kVop3", "V_CMP_CLASS_F16", "s1"): ("kB32", 1),
    ("kVop3", "V_CMPX_CLASS_F16", "s1"): ("kB32", 1),
    # Left out.
    (None, "S_SUBVECTOR_LOOP_BEGIN", "d0"): ("kB32", 1),
    (None, "S_SUBVECTOR_LOOP_END", "d0"): ("kB32", 1),
    # The saved carry in and out and the select mask are lane masks.
    (None, "V_CNDMASK_B32", "s2"): ("kMask", 1),
    (None, "V_CNDMASK_B16", "s2"): ("kMask", 1),
    (None, "V_ADD_CO_CI_U32", "s2"): ("kMask", 1),
    (None, "V_SUB_CO_CI_U32", "s2"): ("kMask", 1),
    (None, "V_SUBREV_CO_CI_U32", "s2"): ("kMask", 1),
    # Only in the VOP2 form is the carry out VCC.
    ("kVop2", "V_ADD_CO_CI_U32", "d1"): ("kMask", 1),
    ("kVop2", "V_SUB_CO_CI_U32", "d1"): ("kMask", 1),
    ("kVop2", "V_SUBREV_CO_CI_U32", "d1"): ("kMask", 1),
    # A shift amount, read from a whole register.
    (None, "V_ALIGNBIT_B32", "s2"): ("kU32", 1),
    (None, "V_ALIGNBYTE_B32", "s2"): ("kU32", 1),
}


def words_to_block(words):
    return "[" + " ".join(f"0x{w >> s & 255:02x}" for w in words for s in (0, 8, 16, 24)) + "]"


def llvm(cases):
    """Disassembles each list of words; returns for each the one line it gave, or None."""
    text = "".join(words_to_block(c) + "\n" + words_to_block([MARKER]) + "\n" for c in cases)
    run = subprocess.run(
        ["llvm-mc-19", "--disassemble", "--triple=amdgcn-amd-amdhsa", "-mcpu=gfx1100",
         "-mattr=+wavefrontsize32"], input=text, capture_output=True, text=True, check=False)  # 1: refused
    result, lines = [], []
    for line in run.stdout.splitlines():
        line = line.strip()
        if line == "s_nop 0xcafe":
            result.append(lines[0] if len(lines) == 1 else None)
            lines = []
        elif line and not line.startswith("."):
            lines.append(line)
    if len(result) != len(cases):
        sys.exit("llvm-mc-19 lost its place: " + run.stderr[:300])
    return result


def base_name(name):
    return re.sub(r"_E(32|64)$", "", name)


def cpp_name(name):
    """V_WMMA_F32_16X16X16_F16: kVWmmaF32_16x16x16F16."""
    result = "k"
    for part in name.split("_"):
        result += "_" if result[-1].isdigit() and part[0].isdigit() else ""
        result += part.capitalize()
    return result


def role_of(operand):
    """(Type, dwords) of one operand of the description."""
    fmt, bits, _ = operand
    name = fmt.name.removeprefix("FMT_").removeprefix("NUM_")
    dwords = max(1, (bits + 31) // 32)
    if name.startswith("WMMA"):
        return "kWmma", dwords
    if name == "M64":
        return "kMask", 1
    fixed = {"F16": "kF16", "F32": "kF32", "F64": "kF64", "BF16": "kBF16", "I16": "kI16",
             "I32": "kI32", "I64": "kI64", "U16": "kU16", "U32": "kU32", "U64": "kU64",
             "I24": "kI32", "U24": "kU32", "PK2_F16": "kPkF16", "PK2_I16": "kPkI16",
             "PK2_U16": "kPkU16", "PK2_BF16": "kPkBF16"}
    if name in fixed:
        return fixed[name], dwords
    width = next(w for w in (8, 16, 32, 64, 96, 128, 256, 512) if w >= min(bits, 512))
    return f"kB{width}", dwords


def roles(fmt, name, operands, e32):
    """Roles by position: d0, d1, s0, s1, s2."""
    o = {k: v for k, v in operands.items()}
    if fmt in ("kVop3", "kVop3Sd", "kVop1", "kVop2", "kVopc") and e32 is not None:
        o = dict(e32)  # the description lists only the DPP form's operands of many VOP3 forms
        o.update((k, operands[k]) for k in ("vdst", "sdst", "src2") if k in operands)
    result = {}
    if fmt.startswith("kVop") or fmt == "kVinterp":
        field = {"d0": ("vdst",), "d1": ("sdst",), "s0": ("src0", "vsrc0"), "s1": ("src1", "vsrc1"),
                 "s2": ("src2",)}
    elif fmt in ("kSop1", "kSop2", "kSopc", "kSopk"):
        field = {"d0": ("sdst",), "s0": ("ssrc0",), "s1": ("ssrc1",)}
    elif fmt == "kSmem":
        field = {"d0": ("sdata",), "s0": ("sbase",), "s1": ("soffset",)}
    elif fmt == "kDs":
        field = {"d0": ("vdst",), "s0": ("addr",), "s1": ("data0",), "s2": ("data1",)}
    elif fmt in ("kFlat", "kGlobal", "kScratch"):
        field = {"d0": ("vdst",), "s0": ("addr",), "s1": ("data",), "s2": ("saddr",)}
    elif fmt in ("kMubuf", "kMtbuf", "kMimg"):
        field = {"d0": ("vdata",), "s0": ("vaddr",), "s2": ("srsrc",)}
    else:
        field = {"d0": ("vdst",)}
    for role, names in field.items():
        for n in names:
            if n in o:
                result[role] = role_of(o[n])
    if fmt.startswith("kSop"):  # the scalar ALU reads whole registers
        result = {k: ("kB32", 1) if v[0] in ("kB16", "kI16", "kU16") else v
                  for k, v in result.items()}
    for (only, mnemonic, role), value in CORRECTIONS.items():
        if mnemonic == name and only in (None, fmt):
            result[role] = value
    if fmt == "kVop3" and name.startswith("V_CMPX"):
        result.pop("d0", None)  # EXEC, implied
    if fmt == "kVop2" and name.startswith(("V_FMAMK", "V_FMAAK")):
        result["s2"] = result["s1"]
    return result


def register_only(name, operands):
    """Whether the first source of a VOP1 or SOP1 can't be a constant."""
    if "src0" in operands:
        return operands["src0"][2].name in ("OPR_VGPR", "OPR_SRC_VGPR")
    return name in ("S_SETPC_B64", "S_RFE_B64", "S_MOVRELS_B32", "S_MOVRELS_B64")


def collect():
    """Rows of every format: dicts with format, number, name, roles, refused, op_sel, flags."""
    candidates = []
    e32 = {}
    for op, operands in OPERANDS.items():
        if type(op).__name__ in ("VOP1Op", "VOP2Op", "VOPCOp"):
            e32[base_name(op.name)] = operands
    for fmt, (enum_name, word, shift, more) in FORMATS.items():
        seen = set()
        for op in getattr(isa, enum_name):
            name = base_name(op.name)
            number = op.value
            if number in seen or (fmt == "kFlat" and not name.startswith("FLAT")):
                continue
            seen.add(number)
            first = word | number << shift
            words = [first, *more] + ([0x3F123456] if name in LITERAL_OPS else [])
            candidates.append(dict(format=fmt, number=number, name=name, words=words,
                                   register_source=register_only(name, OPERANDS.get(op, {})),
                                   roles=roles(fmt, name, OPERANDS.get(op, {}),
                                               e32.get(name) if fmt.startswith("kVop") else None)))
    # GWS instructions exist with the gds bit only; a few VOP1 take no scalar source.
    known = llvm([c["words"] for c in candidates])
    for c, line in zip(candidates, known):
        if line is None and c["format"] == "kDs":
            c["words"][0] |= 1 << 17
            c["gds"] = True
        if line is None and c["format"] in ("kVop1", "kVop3"):
            c["words"][-1] |= 0x100
    known = llvm([c["words"] for c in candidates])
    rows, refused = [], []
    for c, line in zip(candidates, known):
        # The ray instructions take an address of many registers, which zero does not name.
        (rows if line or c["name"].startswith("IMAGE_BVH") else refused).append(c)
        c["line"] = line
        if line and base_name(line.split()[0].upper()) != c["name"]:
            sys.exit(f"{c['name']} is {line} to llvm-mc-19")
    probe_bits(rows)
    probe_dpp(rows)
    return rows, refused


def probe_bits(rows):
    """Which bits must be zero, and which op_sel bits change the instruction."""
    cases, where = [], []
    for row in rows:
        row["refused"], row["op_sel"] = 0, 0
        opcode = ((1 << OPCODE_BITS[row["format"]]) - 1) << FORMATS[row["format"]][2]
        keep = opcode | FORMAT_MASK.get(row["format"], 0xFC000000)
        if row["format"] == "kMimg":
            keep = 0xFFFFFFFF ^ 1 << 17  # d16; sizes hang on the other fields
        for bit in range(64 if FORMATS[row["format"]][3] and row["format"] != "kMimg" else 32):
            if bit < 32 and keep >> bit & 1:
                continue
            if row.get("gds") and bit == 17:
                continue
            words = list(row["words"])
            if words[bit // 32] >> bit % 32 & 1:
                continue
            words[bit // 32] ^= 1 << bit % 32
            cases.append(words)
            where.append((row, bit))
    for (row, bit), line in zip(where, llvm(cases)):
        if line is None:
            # LLVM 19 lets 16-bit operands of the short encodings name v0 to v127 only; the
            # hardware takes bit 7 as the half of the register.
            halves = any(t in ("kF16", "kI16", "kU16", "kB16") for t, _ in row["roles"].values())
            if halves and row["format"] in ("kVop1", "kVop2") and bit in (16, 24):
                continue
            row["refused"] |= 1 << bit
        elif row["format"] in ("kVop3", "kVop3Sd", "kVinterp") and 11 <= bit <= 14:
            if line != row["line"]:
                row["op_sel"] |= 1 << (bit - 11)


def probe_dpp(rows):
    vop = [r for r in rows if r["format"].startswith("kVop")]
    for kind, code, control in (("dpp16", 0xFA, 0xFF00E400), ("dpp8", 0xE9, 0)):
        cases = []
        for r in vop:
            words = [w for w in r["words"]]
            words[-1 if len(words) == 1 else 1] |= code
            cases.append(words + [control])
        for r, line in zip(vop, llvm(cases)):
            r[kind] = line is not None and ("quad_perm" in line or "dpp8" in line)


def row_flags(r):
    flags = []
    if r["format"] in ("kVop1", "kSop1") and r["register_source"]:
        flags.append("kRegisterSource")
    if r["name"] in LITERAL_OPS:
        flags.append("kTakesLiteral")
    if r.get("dpp16"):
        flags.append("kHasDpp16")
    if r.get("dpp8"):
        flags.append("kHasDpp8")
    if r.get("gds"):
        flags.append("kGdsOnly")
    if r["format"] in BUFFERS and ("STORE" in r["name"] or "ATOMIC" in r["name"]):
        flags.append("kAtomic" if "ATOMIC" in r["name"] else "kStore")
    if r["format"] in ("kFlat", "kGlobal", "kScratch") and "ATOMIC" in r["name"]:
        flags.append("kAtomic")
    if r["format"] in ("kVop1", "kVop3") and r["name"] in ("V_READFIRSTLANE_B32", "V_READLANE_B32"):
        flags.append("kScalarDestination")
    if r["format"] == "kVop3" and r["name"].startswith("V_CMP_"):
        flags.append("kScalarDestination")
    return " | ".join(flags) or "0"


def emit(rows, refused):
    names = sorted({r["name"] for r in rows} | {"EXP"} |
                   {op.name.replace("DUAL_", "") for op in isa.VOPDOp})
    origin = ("// Generated by tools/simulator/make_isa_tables.py from AMD's machine-readable ISA\n"
              "// description as packaged in tinygrad 0.14.0, checked against llvm-mc-19. Do not edit;\n"
              "// regenerate with: python3 tools/simulator/make_isa_tables.py\n")
    header = origin + """#pragma once

#include <cstdint>

namespace outboard::hardware::amd::rdna3 {

// One value per mnemonic, whatever the encoding.
enum class Opcode : uint16_t {
  kInvalid = 0,
"""
    header += "".join(f"  {cpp_name(n)},\n" for n in names)
    header += f"""}};

inline constexpr int kOpcodeCount = {len(names) + 1};  // kInvalid included

}}  // namespace outboard::hardware::amd::rdna3
"""
    body = origin + """#include "hardware/amd/rdna3/isa_tables.h"

namespace outboard::hardware::amd::rdna3::isa {
namespace {

// Opcode numbers of the description that gfx1100 lacks (or LLVM refuses for it):
"""
    line = "//"
    for r in refused:
        if len(line) + len(r["name"]) > 98:
            body += line + "\n"
            line = "//"
        line += " " + r["name"].lower()
    body += line + "\n\n// clang-format off\n"

    def role(r, k):
        return "{Type::%s, %d}" % r["roles"][k] if k in r["roles"] else "{}"

    for fmt in FORMATS:
        body += f"constexpr Row {fmt}Rows[] = {{\n"
        for r in sorted((r for r in rows if r["format"] == fmt), key=lambda r: r["number"]):
            cells = [role(r, k) for k in ("d0", "d1", "s0", "s1", "s2")]
            body += (f"    {{{r['number']}, Opcode::{cpp_name(r['name'])}, {row_flags(r)}, "
                     f"{cells[0]}, {cells[1]}, {{{', '.join(cells[2:])}}}, "
                     f"{r['op_sel']}, 0x{r['refused']:x}}},\n")
        body += "};\n"
    body += "\nconstexpr DualRow kDualRows[] = {\n"
    for op in sorted(isa.VOPDOp, key=lambda o: o.value):
        o = OPERANDS[op]
        types = [role_of(o[k])[0] if k in o else "kNone" for k in ("vdsty", "srcy0", "vsrcy1")]
        body += (f"    {{{op.value}, Opcode::{cpp_name(op.name.replace('DUAL_', ''))}, "
                 + ", ".join(f"Type::{t}" for t in types) + "},\n")
    body += "};\n// clang-format on\n\nconstexpr std::string_view kMnemonics[] = {\n    \"\",\n"
    body += "".join(f'    "{n.lower()}",\n' for n in names)
    body += """};

}  // namespace

std::span<const Row> rows(Format format) {
  switch (format) {
"""
    for fmt in FORMATS:
        body += f"    case Format::{fmt}:\n      return {fmt}Rows;\n"
    body += """    default:
      return {};
  }
}

std::span<const DualRow> dual_rows() { return kDualRows; }

std::span<const std::string_view> mnemonics() { return kMnemonics; }

}  // namespace outboard::hardware::amd::rdna3::isa
"""
    return {"opcodes.h": header, "isa_tables.cpp": body}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    rows, refused = collect()
    stale = []
    for name, text in emit(rows, refused).items():
        text = subprocess.run(["clang-format-19", "--style=file", f"--assume-filename={name}"],
                              input=text, capture_output=True, text=True, check=True,
                              cwd=OUTPUT).stdout
        path = OUTPUT / name
        if args.check:
            if not path.exists() or path.read_text() != text:
                stale.append(name)
        else:
            path.write_text(text)
    if stale:
        sys.exit("differs from what is committed: " + ", ".join(stale))


if __name__ == "__main__":
    main()
