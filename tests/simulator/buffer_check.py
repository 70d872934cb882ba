"""MUBUF without formats: addressing through a resource, bounds, swizzles. Guide: section 9.

Where lanes must not meet (stores and atomics), each has an index or an offset of its own.
"""

import random
from dataclasses import dataclass

import numpy as np

import isa
import memory_model
import outboard_sim
from global_check import (MASKS, data_dwords, data_of, image_of, kind_of, registers, result_dwords, size_of, split,
                          value_of)
from memory_model import Memory
from valu_kernel import ASSEMBLERS, set_execute

WINDOW = 16384
BASE = 64                 # of the resource, in its window
BIG = 1 << 20

PROLOGUE = """
s_load_b256 s[4:11], s[0:1], 0x0
v_and_b32_e32 v0, 0x3ff, v0
v_lshlrev_b32_e32 v1, 5, v0
v_lshlrev_b32_e32 v2, 4, v0
s_waitcnt lgkmcnt(0)
""".strip().splitlines()


@dataclass(frozen=True)
class Resource:
    stride: int = 0
    swizzle: int = 0          # 0: none; 1, 2, 3: elements of 4, 8, 16 bytes
    records: int = BIG
    index_stride: int = 0     # 8 << n lanes
    add_tid: bool = False
    rule: int = 3             # what is out of bounds
    format: int = 0

    def dwords(self):
        x_y_z_w = 4 | 5 << 3 | 6 << 6 | 7 << 9
        return [0, self.stride << 16 | self.swizzle << 30, self.records,
                x_y_z_w | self.format << 12 | self.index_stride << 21 | int(self.add_tid) << 23 | self.rule << 28]


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    execute: int
    resource: Resource
    idxen: bool = False
    offen: bool = False
    offset: int = 0
    scalar: int = 0


def address_text(idxen, offen):
    return {(False, False): "off", (True, False): "v8", (False, True): "v8", (True, True): "v[8:9]"}[idxen, offen]


def tail(idxen, offen, offset):
    return " idxen" * idxen + " offen" * offen + (f" offset:{offset}" if offset else "")


def resources(rng):
    """(resource, idxen, offen)."""
    yield Resource(), False, True
    yield Resource(records=rng.choice((256, 300, 1000))), False, True
    yield Resource(64, 0, 20, rule=0), True, True
    yield Resource(64, 0, 17, rule=1), True, True
    yield Resource(64, 0, rng.choice((0, 5)), rule=2), True, False
    yield Resource(64, rng.randrange(1, 4), 40, rng.randrange(4), rule=rng.choice((0, 3))), True, True
    yield Resource(16, 0, BIG, 0, True), rng.random() < 0.5, False


def cases_of(rng, name):
    kind = kind_of(name)
    for number, (resource, idxen, offen) in enumerate(resources(rng)):
        returns = kind == "atomic" and number != 0
        data = registers(20, result_dwords(name) if kind == "load" else data_dwords(name))
        offset = 0 if resource.stride == 64 and resource.rule != 1 else rng.choice((0, 16, 32))
        scalar = rng.choice((0, 4, 64)) * (4 if size_of(name) > 4 else 1) if resource.rule != 3 or resource.records == BIG else 0
        s = "s14" if scalar else "0"
        text = f"{name} {data}, {address_text(idxen, offen)}, s[16:19], {s}{tail(idxen, offen, offset)}"
        mask = rng.choice(MASKS[:3]) if number else MASKS[0]
        yield Case(name, text + " glc" * returns, mask, resource, idxen, offen, offset, scalar)


def numbers_of(rng, case, lane):
    """(index, offset) in the lane's VGPRs: apart from all other lanes'."""
    size = size_of(case.name)
    r = case.resource
    # Where a record's end is a bound, some lanes lie across it or beyond.
    end = 64 + 24 if r.rule == 0 and not r.swizzle else 64 - 16
    within = rng.randrange(0, end, 8) if size >= 4 or kind_of(case.name) == "atomic" else rng.randrange(0, end + 12)
    within -= within % min(size, 8)
    if case.idxen and case.offen:
        return lane, within
    return lane, 16 * lane


def place(case, index, offset, lane):
    """Bytes from the base, or None: refused. Guide, 9.1.5."""
    r = case.resource
    size = size_of(case.name)
    offset = (offset if case.offen else 0) + case.offset
    index = (index if case.idxen else 0) + (lane if r.add_tid else 0)
    over_index = index >= r.records
    over_stride = r.stride != 0 and offset + size > r.stride
    out = {0: over_index or over_stride, 1: over_index, 2: r.records == 0,
           3: over_index or over_stride if r.swizzle and r.stride else offset + size > r.records}[r.rule]
    if out:
        return None
    if not r.swizzle:
        return case.scalar + index * r.stride + offset
    element, lanes = 2 << r.swizzle, 8 << r.index_stride
    return (case.scalar + (index // lanes * r.stride + offset // element * element) * lanes
            + index % lanes * element + offset % element)


def fits(case, offset):
    """Swizzled, an access must not leave its element; no place is said for the rest."""
    r = case.resource
    if not r.swizzle:
        return True
    element = 2 << r.swizzle
    at = (offset if case.offen else 0) + case.offset
    return at % element + size_of(case.name) <= element


def names():
    return [n for n, i in isa.instructions().items() if "MUBUF" in i.forms and "format" not in n and "lds" not in n
            and "_inv" not in n]


def build(cases, size, wave64, register_count=4):
    lines = list(PROLOGUE)
    for case in cases:
        lines += ["global_load_b128 v[8:11], v1, s[4:5]", "global_load_b128 v[20:23], v1, s[4:5] offset:16",
                  "s_load_b128 s[16:19], s[10:11], 0x0", "s_waitcnt vmcnt(0) lgkmcnt(0)",
                  f"s_add_u32 s16, s8, {BASE}", "s_addc_u32 s20, s9, 0", "s_or_b32 s17, s17, s20",
                  f"s_mov_b32 s14, {case.scalar:#x}", *set_execute(case.execute, wave64), case.text,
                  "s_waitcnt vmcnt(0)", "s_waitcnt_vscnt null, 0x0", *set_execute((1 << 64) - 1, wave64),
                  "global_store_b128 v2, v[20:23], s[6:7]",
                  f"s_add_u32 s4, s4, {size * 32:#x}", "s_addc_u32 s5, s5, 0",
                  f"s_add_u32 s6, s6, {size * 16:#x}", "s_addc_u32 s7, s7, 0",
                  f"s_add_u32 s8, s8, {WINDOW:#x}", "s_addc_u32 s9, s9, 0",
                  "s_add_u32 s10, s10, 16", "s_addc_u32 s11, s11, 0"]
    return ASSEMBLERS[wave64].program(lines + ["s_endpgm"])


def run(cases, lanes, images, wave64):
    """lanes: (index or first address register, second, data). Returns (results, memory afterwards)."""
    size = 64 if wave64 else 32
    window = np.frombuffer(b"".join(images), np.uint8).copy()
    inputs = np.array([[[a, b, 0, 0] + split(d, 4) for a, b, d in rows] for rows in lanes], np.uint32)
    tables = np.array([c.resource.dwords() for c in cases], np.uint32)
    results = np.zeros((len(cases), size, 4), np.uint32)
    outcome = outboard_sim.run(build(cases, size, wave64), [inputs, results, window, tables], block=(size, 1, 1),
                               wave64=wave64, strict=False, limit=0)
    assert outcome.status == outboard_sim.DONE, outcome.message
    return results, window.reshape(len(cases), WINDOW)


def registers_of(case, index, offset):
    return (index, offset) if case.idxen else (offset, 0)


def check(wave64, report):
    size = 64 if wave64 else 32
    rng = random.Random(f"buffer {wave64}")
    cases = [c for n in names() for c in cases_of(rng, n)]
    pool = {}
    images, lanes, places = [], [], []
    for case in cases:
        kind = "f32" if "f32" in case.name else "b", size_of(case.name)
        image = pool.setdefault(kind, image_of(rng, case.name, WINDOW))
        rows, at = [], []
        for lane in range(size):
            index, offset = numbers_of(rng, case, lane)
            while not fits(case, offset) and case.offen:
                offset = rng.randrange(0, 64, 2 << case.resource.swizzle)
                if size_of(case.name) > 2 << case.resource.swizzle:
                    break
            where = place(case, index, offset, lane)
            start = BASE + (where or 0)
            rows.append((*registers_of(case, index, offset), data_of(rng, case.name, image, start)))
            at.append(None if where is None else start)
        images.append(image)
        lanes.append(rows)
        places.append(at)
    keep = [n for n, case in enumerate(cases)
            if size_of(case.name) <= 2 << case.resource.swizzle or not case.resource.swizzle]
    cases, lanes, images, places = ([x[n] for n in keep] for x in (cases, lanes, images, places))
    results, after = run(cases, lanes, images, wave64)
    for case, rows, image, at, got, memory in zip(cases, lanes, images, places, results, after):
        compare(case, rows, image, at, got, memory, size, report)


def compare(case, rows, image, places, got, after, size, report):
    instruction = isa.instructions()[case.name]
    memory, nowhere = Memory(image), Memory(b"")
    report.cases += 1
    report.covered.add(case.name)
    loads = kind_of(case.name) == "load" or " glc" in case.text
    mask = (1 << 32 * result_dwords(case.name)) - 1
    where = f"{case.text} (wave{size}, exec {case.execute:#x}, {case.resource})"
    for lane, ((_, _, data), at) in enumerate(zip(rows, places)):
        right = data
        report.lanes += 1
        if case.execute >> lane & 1:
            result = memory_model.access(instruction, nowhere if at is None else memory, at or 0, data, old=data)
            if loads:
                right = data & ~mask | result & mask
        value = value_of(got[lane])
        if value != right:
            report.failures.append(f"{where}: lane {lane} at {at} {value:#x}, expected {right:#x}")
    if bytes(after) != bytes(memory.data):
        at = next(i for i in range(WINDOW) if after[i] != memory.data[i]) & ~7
        report.failures.append(f"{where}: memory at {at:#x} {bytes(after[at:at + 16]).hex()}, expected "
                               f"{bytes(memory.data[at:at + 16]).hex()}")
