"""MTBUF and MUBUF with formats: each format of equally wide components, both ways.

Conversions: Direct3D 11's functional specification, 3.2.3 (normalized numbers are divided by the largest; stores
clamp, round to nearest even, and make NaN zero), which formats of buffers follow. The packed formats (10_11_11 and
the like) are not simulated.
"""

import random
import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

import buffer_check
import isa
import operand_values
import softfloat as sf
from buffer_check import BASE, WINDOW, Case, Resource
from corrections import rounded
from global_check import MASKS, split, value_of
from valu_kernel import ASSEMBLERS

SHAPES = {"8": "UNORM SNORM USCALED SSCALED UINT SINT", "16": "UNORM SNORM USCALED SSCALED UINT SINT FLOAT",
          "8_8": "UNORM SNORM USCALED SSCALED UINT SINT", "32": "UINT SINT FLOAT",
          "16_16": "UNORM SNORM USCALED SSCALED UINT SINT FLOAT", "8_8_8_8": "UNORM SNORM USCALED SSCALED UINT SINT",
          "32_32": "UINT SINT FLOAT", "16_16_16_16": "UNORM SNORM USCALED SSCALED UINT SINT FLOAT",
          "32_32_32": "UINT SINT FLOAT", "32_32_32_32": "UINT SINT FLOAT"}


@dataclass(frozen=True)
class Format:
    shape: str
    number: str
    code: int

    @property
    def bits(self):
        return int(self.shape.split("_")[0])

    @property
    def count(self):
        return len(self.shape.split("_"))

    @property
    def is_integer(self):
        return self.number in ("UINT", "SINT")


def formats():
    """Their codes as LLVM writes them."""
    names = [(shape, number) for shape, numbers in SHAPES.items() for number in numbers.split()]
    lines = [f"tbuffer_load_format_x v20, off, s[16:19], 0 format:[BUF_FMT_{s}_{n}]" for s, n in names]
    ASSEMBLERS[False].want(lines)
    codes = [struct.unpack_from("<I", ASSEMBLERS[False].code(line))[0] >> 19 & 0x7F for line in lines]
    return [Format(*name, code) for name, code in zip(names, codes)]


def largest(f):
    return (1 << f.bits - (f.number[0] == "S")) - 1


def signed(x, bits):
    return x - (1 << bits) if x >> bits - 1 else x


def loaded(raw, f):
    """Exact value of a component: int or Fraction, or float bits."""
    if f.number == "FLOAT":
        return raw
    if f.number in ("UINT", "USCALED"):
        return raw
    if f.number in ("SINT", "SSCALED"):
        return signed(raw, f.bits)
    if f.number == "UNORM":
        return Fraction(raw, largest(f))
    return max(Fraction(-1), Fraction(signed(raw, f.bits), largest(f)))


def register_values(raw, f, half):
    """What a register, or a half of one, may hold: converted at once or by way of float32."""
    value = loaded(raw, f)
    if f.is_integer:
        return {value & (0xFFFF if half else 0xFFFFFFFF)}
    source = sf.F16 if f.bits == 16 else sf.F32
    if f.number == "FLOAT":
        wide = sf.convert(value, sf.F16, sf.F32) if source is sf.F16 else value
        return {value if source is sf.F16 else sf.convert(value, sf.F32, sf.F16)} if half else {wide}
    if value == 0:
        return {0}
    wide = rounded(Fraction(value), sf.F32)
    return {sf.convert(wide, sf.F32, sf.F16), rounded(Fraction(value), sf.F16)} if half else {wide}


def stored(x, f, half):
    """Bits of a component from a register (or half of one)."""
    if f.is_integer:
        if half:
            x = x & 0xFFFF if f.number == "UINT" else signed(x, 16) & 0xFFFFFFFF
        if f.number == "UINT":
            return min(x, largest(f))
        return max(-largest(f) - 1, min(largest(f), signed(x, 32))) & (1 << f.bits) - 1
    wide = sf.convert(x, sf.F16, sf.F32) if half else x
    if f.number == "FLOAT":
        return sf.convert(wide, sf.F32, sf.F16) if f.bits == 16 else wide
    if sf.is_nan(wide, sf.F32):
        return 0
    low = {"UNORM": 0, "USCALED": 0, "SNORM": -largest(f), "SSCALED": -largest(f) - 1}[f.number]
    if sf.is_inf(wide, sf.F32):
        n = low if sf.sign(wide, sf.F32) else largest(f)
    else:
        exact = sf.to_fraction(wide, sf.F32) * (largest(f) if "NORM" in f.number else 1)
        n = max(low, min(largest(f), round(exact)))
    return n & (1 << f.bits) - 1


def shape_of(name):
    """(components, half, high half, store)."""
    return len(name.rsplit("format_", 1)[1]), "_d16_" in name, "_hi_" in name, "_store_" in name


def register_count(name):
    components, half, _, _ = shape_of(name)
    return (components + 1) // 2 if half else components


def names(form):
    return [n for n, i in isa.instructions().items() if form in i.forms and "format" in n and "lds" not in n]


def cases(rng, all_formats):
    for name in names("MTBUF") + names("MUBUF"):
        typed = name.startswith("tbuffer")
        chosen = all_formats if typed else rng.sample(all_formats, 8)
        for f in chosen:
            count = register_count(name)
            data = "v20" if count == 1 else f"v[20:{19 + count}]"
            resource = Resource(16, 0, 60, rule=1, format=0 if typed else f.code)
            tail = f" format:[BUF_FMT_{f.shape}_{f.number}]" if typed else ""
            text = f"{name} {data}, v8, s[16:19], 0{tail} idxen"
            yield Case(name, text, rng.choice(MASKS), resource, idxen=True), f


def component_values(rng, f):
    """A component in memory, and one in a register that is to be stored."""
    if f.number == "FLOAT":
        raw = operand_values.value(rng, "f", f.bits)
    else:
        raw = operand_values.value(rng, "u", f.bits)
    if f.is_integer:
        return raw, operand_values.value(rng, "u", 32)
    if rng.random() < 0.5:  # of the format's range
        scale = 1 if "NORM" in f.number else largest(f) if f.number != "FLOAT" else 100
        x = struct.unpack("<I", struct.pack("<f", rng.uniform(-1.2, 1.2) * scale))[0]
    else:
        x = operand_values.value(rng, "f", 32)
    return raw, x


def lane_data(rng, name, f):
    """(16 bytes of memory, registers)."""
    _, half, high, _ = shape_of(name)
    memory, data = 0, rng.getrandbits(128)
    for c in range(4):
        raw, x = component_values(rng, f)
        if c < f.count:
            memory |= raw << f.bits * c
        if half:
            x = x & 0xFFFF if f.is_integer else sf.convert(x, sf.F32, sf.F16)
            shift = 16 if high else 16 * c
            data = data & ~(0xFFFF << shift) | x << shift
            if high:
                break
        else:
            data = data & ~(0xFFFFFFFF << 32 * c) | x << 32 * c
    memory |= rng.getrandbits(128) << f.bits * f.count & (1 << 128) - 1
    return memory, data


def expected(name, f, memory, data, inside):
    """(sets of right register values by register, memory)."""
    components, half, high, stores = shape_of(name)
    if stores:
        for c in range(min(components, f.count) if inside else 0):
            shift = 16 if high else 16 * c
            x = data >> shift & 0xFFFF if half else data >> 32 * c & 0xFFFFFFFF
            mask = (1 << f.bits) - 1
            memory = memory & ~(mask << f.bits * c) | stored(x, f, half) << f.bits * c
        return [{x} for x in split(data, 4)], memory
    result = [{x} for x in split(data, 4)]
    for c in range(components):
        if c < f.count:
            values = register_values(memory >> f.bits * c & (1 << f.bits) - 1 if inside else 0, f, half)
        else:  # a missing fourth component is one
            one = 1 if f.is_integer else 0x3C00 if half else 0x3F800000
            values = {one if c == 3 else 0}
        if not half:
            result[c] = values
        elif high or c % 2:
            result[c // 2] = {old & 0xFFFF | v << 16 for old in result[c // 2] for v in values}
        else:
            result[c // 2] = {old & 0xFFFF0000 | v for old in result[c // 2] for v in values}
    return result, memory


def same(right, got, f, half):
    """NaN's payloads are open."""
    if got in right:
        return True
    if f.number != "FLOAT":
        return False
    parts = (0, 16) if half else (0,)
    g, mask = (sf.F16, 0xFFFF) if half else (sf.F32, 0xFFFFFFFF)
    return any(all((got >> s & mask) == (r >> s & mask) or sf.is_nan(got >> s & mask, g) and sf.is_nan(r >> s & mask, g)
                   for s in parts) for r in right)


def check(wave64, report):
    size = 64 if wave64 else 32
    rng = random.Random(f"formats {wave64}")
    found = list(cases(rng, formats()))
    if wave64:
        found = found[::4]
    lanes, images = [], []
    for case, f in found:
        rows = [lane_data(rng, case.name, f) for _ in range(size)]
        image = bytearray(WINDOW)
        for lane, (memory, _) in enumerate(rows):
            image[BASE + 16 * lane:BASE + 16 * lane + 16] = memory.to_bytes(16, "little")
        images.append(bytes(image))
        lanes.append([(lane, 0, data) for lane, (_, data) in enumerate(rows)])
    results, after = buffer_check.run([c for c, _ in found], lanes, images, wave64)
    for (case, f), rows, image, got, memory in zip(found, lanes, images, results, after):
        compare(case, f, rows, image, got, memory, size, report)


def compare(case, f, rows, image, got, after, size, report):
    report.cases += 1
    report.covered.add(case.name)
    half = shape_of(case.name)[1]
    for lane, (_, _, data) in enumerate(rows):
        report.lanes += 1
        at = BASE + 16 * lane
        before = int.from_bytes(image[at:at + 16], "little")
        right, memory = [{x} for x in split(data, 4)], before
        if case.execute >> lane & 1:
            right, memory = expected(case.name, f, before, data, lane < case.resource.records)
        now = int.from_bytes(bytes(after[at:at + 16]), "little")
        good = all(same(r, int(g), f, half) for r, g in zip(right, got[lane]))
        if not good or now != memory and not same_memory(now, memory, f):
            report.failures.append(f"{case.text} (wave{size}, format {f.shape} {f.number}): lane {lane} "
                                   f"{value_of(got[lane]):#x}, expected {[[hex(x) for x in r] for r in right]}; memory "
                                   f"{now:#x}, expected {memory:#x}, before {before:#x}, data {data:#x}")


def same_memory(now, right, f):
    if f.number != "FLOAT" or now >> f.bits * f.count != right >> f.bits * f.count:
        return False
    g, mask = (sf.F16 if f.bits == 16 else sf.F32), (1 << f.bits) - 1
    parts = [(now >> f.bits * c & mask, right >> f.bits * c & mask) for c in range(f.count)]
    return all(a == b or sf.is_nan(a, g) and sf.is_nan(b, g) for a, b in parts)
