"""What a vector ALU case must leave behind, by the guide's pseudo-code."""

import functools
import re

import corrections
import isa
import pcode
import softfloat as sf
from pcode import Value
from valu_cases import inline_value, is_compare, source_types

FORMATS = {16: sf.F16, 32: sf.F32, 64: sf.F64}


def float_format(t):
    return sf.BF16 if t.kind == "bf" else FORMATS[t.bits]


def float_mode(mode):
    """softfloat modes of float32 and of float16 and 64, from FLOAT_MODE."""
    rounding, denormals = mode.float_mode & 15, mode.float_mode >> 4
    return [sf.Mode(rounding >> 2 * i & 3, not denormals >> 2 * i & 1, not denormals >> 2 * i & 2)
            for i in (0, 1)]


class Wave:
    """Registers of a wave before the instruction: lanes' A, B, C, D as 128-bit ints."""

    def __init__(self, lanes, scalars, wave64, mode):
        self.lanes, self.scalars, self.wave64, self.mode = lanes, scalars, wave64, mode
        self.mode32, self.mode16_64 = float_mode(mode)

    @property
    def size(self):
        return 64 if self.wave64 else 32


# --- DPP ---

def dpp_source(text, lane):
    """The lane that a lane reads, None when it lies outside of the row."""
    row, i = lane & ~15, lane & 15
    control, _, argument = text.partition(":")
    if control == "dpp8":
        return lane & ~7 | int(argument.strip("[]").split(",")[lane & 7])
    if control == "quad_perm":
        return lane & ~3 | int(argument.strip("[]").split(",")[lane & 3])
    n = int(argument or 0)
    if control == "row_shl":
        return row + i + n if i + n < 16 else None
    if control == "row_shr":
        return row + i - n if i - n >= 0 else None
    return row + {"row_ror": (i - n) % 16, "row_mirror": 15 - i, "row_half_mirror": i ^ 7,
                  "row_share": n, "row_xmask": i ^ n}[control]


def dpp_lane(case, execute, lane):
    """(lane to read or None for zero, whether the lane writes). Guide, 7.7: a source that EXEC
    disables counts as outside unless fi is set; outside, bound_ctrl gives zero and else the lane
    does not write; DPP8 always gives zero."""
    words = case.dpp.split()
    options = dict(w.split(":") for w in words[1:])
    source = dpp_source(words[0], lane)
    if source is not None and "fi" not in options and not execute >> source & 1:
        source = None
    writes = True
    if not words[0].startswith("dpp8"):
        rows, banks = int(options["row_mask"], 0), int(options["bank_mask"], 0)
        writes = bool(rows >> lane // 16 & 1 and banks >> lane % 16 // 4 & 1)
        if source is None and "bound_ctrl" not in options:
            writes = False
    return source, writes


# --- Operands ---

def raw_source(case, i, t, wave, lane):
    source = case.sources[i]
    if source.kind == "c":
        if "fma_mix" in case.name:  # the type is chosen by op_sel_hi
            t = isa.Type("f", 16 if case.op_sel_hi >> i & 1 else 32)
            if source.text.startswith("0x"):
                return source.value
            return inline_value(source.text, t)
        return source.value
    if source.kind == "s":
        return wave.scalars.source & (1 << 32 * t.dwords) - 1
    return wave.lanes[lane]["ABC"[i]] & (1 << 32 * t.dwords) - 1


def half(x, high):
    return x >> 16 & 0xFFFF if high else x & 0xFFFF


def packed_source(case, i, raw):
    low = half(raw, case.op_sel >> i & 1)
    high = half(raw, case.op_sel_hi >> i & 1)
    return low | high << 16


def source_bits(case, i, t, raw, flush):
    """The operand as the operation sees it: half chosen, then |x|, then -x, denormals flushed."""
    if case.form == "vop3p":
        if "fma_mix" in case.name:
            return mixed_source(case, i, raw, flush)
        if t.kind[0] != "p":
            if t.kind == "f" and case.neg >> i & 1:  # C of the dot products
                raw ^= 1 << t.bits - 1
            return raw
        x = packed_source(case, i, raw)
        if t.kind in ("pf", "pbf"):
            x ^= (case.neg >> i & 1) << 15 | (case.abs >> i & 1) << 31
        return flushed(x, t, flush, "flush_in")
    x = raw
    if t.bits == 16:
        x = half(x, case.op_sel >> i & 1)
    x &= (1 << max(t.bits, 1)) - 1 if t.kind != "m" else (1 << 64) - 1
    if t.kind in ("f", "bf") or "cndmask" in case.name:
        sign = 1 << t.bits - 1
        if case.abs >> i & 1:
            x &= ~sign
        if case.neg >> i & 1:
            x ^= sign
    return flushed(x, t, flush, "flush_in")


def flushed(x, t, flush, when):
    """Denormals made zero where the mode of the type says so."""
    if flush is None or t.kind not in ("f", "pf"):
        return x
    if t.kind == "f":
        return sf.flush(x, float_format(t)) if getattr(flush[t.bits], when) else x
    if not getattr(flush[16], when):
        return x
    return sf.flush(x & 0xFFFF, sf.F16) | sf.flush(x >> 16, sf.F16) << 16


def mixed_source(case, i, raw, flush):
    """Signs of v_fma_mix go to what op_sel_hi and op_sel choose."""
    is_half = case.op_sel_hi >> i & 1
    shift = 16 if is_half and case.op_sel >> i & 1 else 0
    t = isa.Type("f", 16 if is_half else 32)
    x, sign = raw >> shift & (1 << t.bits) - 1, 1 << t.bits - 1
    if case.abs >> i & 1:
        x &= ~sign
    if case.neg >> i & 1:
        x ^= sign
    return flushed(x, t, flush, "flush_in") << shift


# --- Results ---

def output_modified(x, t, case, wave):
    """omod and clamp of a float result."""
    f = float_format(t)
    mode = wave.mode32 if t.bits == 32 else wave.mode16_64
    if case.omod and not wave.mode.ieee and mode.flush_out:
        # Doubling and halving are exact but at the ends of the range; how those round is not said.
        x = sf.scale(x, (0, 1, 2, -1)[case.omod], f, sf.Mode(sf.NEAREST, False, True))
        if x == f.sign_bit:
            x = 0
    if case.clamp:
        if sf.is_nan(x, f):
            return 0 if wave.mode.dx10_clamp else x
        if sf.sign(x, f):
            return 0
        return min(x, sf.from_int(1, f))
    return x


@functools.cache
def program_of(instruction):
    return pcode.compile_program(corrections.PCODE.get(instruction.name, instruction.pcode))


def call(env):
    """Functions of the pseudo-code that are named like instructions."""
    def run(name, values):
        if name in corrections.FUNCTIONS:
            return corrections.FUNCTIONS[name](env, *values)
        width = values[0].width
        variables = {f"S{i}": v for i, v in enumerate(values)}
        variables |= {"D0": Value("b", width, 0), "WAVE_MODE.IEEE": env.variables["WAVE_MODE.IEEE"]}
        inner = pcode.Environment(variables, env.mode, env.mode16_64, None)
        inner.call = call(inner)
        known = isa.instructions()[name]
        program_of(known)(inner)
        t = known.type("vdst")
        return pcode.view(variables["D0"], t.kind, t.bits)
    return run


def expected(case, wave):
    """(destinations: for each lane the 128-bit ints that are right, mask destination, VCC, EXEC)."""
    instruction = case.instruction
    types = source_types(instruction)
    result_type = instruction.type("vdst")
    execute = case.execute & (1 << wave.size) - 1
    flush = {32: wave.mode32, 16: wave.mode16_64, 64: wave.mode16_64}
    if case.name in corrections.KEEPS_DENORMALS:
        flush = None
    mask_out = 0
    results = [(wave.lanes[lane]["D"],) for lane in range(wave.size)]
    carry_in = wave.scalars.vcc if case.form == "e32" or not has_mask(case) else wave.scalars.mask
    for lane in range(wave.size):
        if not execute >> lane & 1:
            continue
        read, writes = (lane, True) if not case.dpp else dpp_lane(case, execute, lane)
        if not writes:
            continue
        variables = {"laneId": Value("u", 32, lane), "WAVE_MODE.IEEE": pcode.boolean(wave.mode.ieee),
                     "WAVE32": pcode.boolean(not wave.wave64), "EXEC": Value("u", 64, execute),
                     "VCC": Value("b", 64, carry_in), "ROUND_MODE": Value("old", 2, 0)}
        sources = []
        for i, t in enumerate(types):
            if t.kind == "m":
                continue
            if i == 0 and case.dpp:
                raw = 0 if read is None else raw_source(case, i, t, wave, read)
            else:
                raw = raw_source(case, i, t, wave, lane)
            x = source_bits(case, i, t, raw, flush)
            width = max(t.bits, 32) if t.kind[0] == "p" or "fma_mix" in case.name else t.bits
            variables[f"S{i}"] = Value("b", width, x)
            sources.append(variables[f"S{i}"])
        if case.form == "vop3p":
            variables |= {"S": sources, "OPSEL": Value("u", 3, case.op_sel),
                          "OPSEL_HI": Value("u", 3, case.op_sel_hi), "NEG": Value("u", 3, case.neg)}
        if case.literal is not None:
            f = result_type
            literal = case.literal & (1 << f.bits) - 1
            variables["SIMM32"] = Value("b", f.bits, flushed(literal, f, flush, "flush_in"))
        old = wave.lanes[lane]["D"]
        high_half = result_type is not None and result_type.bits == 16 and (
            case.name == "v_fma_mixhi_f16" or case.form != "vop3p" and case.op_sel >> 3 & 1)
        if is_compare(case.name):
            variables["D0"] = Value("b", 64, 0)
        else:
            width = max(result_type.bits, 32) if result_type.bits != 16 else 16
            variables["D0"] = Value("b", width, old >> (16 if high_half else 0) & (1 << width) - 1)
            if "fma_mix" in case.name:
                variables["D0"] = Value("b", 32, old & 0xFFFFFFFF)
        if result_type is not None and "fma_mix" not in case.name and not is_compare(case.name):
            old_value = variables["D0"]  # the accumulator of v_fmac
            variables["D0"] = Value("b", old_value.width,
                                    flushed(old_value.bits, result_type, flush, "flush_in"))
        # Denormals are flushed where operands come in and results go out.
        env = pcode.Environment(variables, sf.Mode(wave.mode32.round), sf.Mode(wave.mode16_64.round))
        env.call = call(env)
        if case.clamp and case.name not in corrections.NEVER_SATURATES:
            env.saturate = ("tmp",) if case.name.startswith("v_pk_") else ("D0",)
        run_lane(case, env)
        if is_compare(case.name):
            source = "EXEC" if case.name.startswith("v_cmpx") else "D0"
            mask_out |= (variables[source].bits >> lane & 1) << lane
            continue
        mask_out |= carry_out(case, variables, lane) << lane
        answers = env.alternatives or (variables["D0"].raw(),)
        results[lane] = tuple(
            insert(old, flushed(finished(x, case, wave), result_type, flush, "flush_out"), result_type,
                   high_half) for x in answers)
    return finish(case, wave, results, mask_out, execute)


def finished(x, case, wave):
    """What the operation gave, with the output modifiers."""
    t = case.instruction.type("vdst")
    if case.name == "v_fma_mixhi_f16":
        x >>= 16
    if t.kind == "f":
        return output_modified(x & (1 << t.bits) - 1, t, case, wave)
    if t.kind == "pf" and case.clamp:
        return packed_clamp(x, wave)
    return x


def run_lane(case, env):
    if case.name in corrections.LANE:
        corrections.LANE[case.name](case, env)
    else:
        program_of(case.instruction)(env)


def has_mask(case):
    return case.name in ("v_cndmask_b32", "v_cndmask_b16") or "_co_ci_" in case.name


def packed_clamp(x, wave):
    out = 0
    for shift in (0, 16):
        h = x >> shift & 0xFFFF
        if sf.is_nan(h, sf.F16):
            h = 0 if wave.mode.dx10_clamp else h
        elif sf.sign(h, sf.F16):
            h = 0
        else:
            h = min(h, 0x3C00)
        out |= h << shift
    return out


def carry_out(case, variables, lane):
    if case.instruction.type("sdst") is None:
        return 0
    if case.name.startswith("v_div_scale"):
        return variables["VCC"].bits & 1
    if case.name.startswith("v_mad_"):
        return variables["D1"].bits & 1
    return variables["VCC"].bits >> lane & 1


def insert(old, x, t, high_half):
    if t.bits == 16:
        shift = 16 if high_half else 0
        return old & ~(0xFFFF << shift) | (x & 0xFFFF) << shift
    width = 32 * t.dwords
    mask = (1 << width) - 1
    return old & ~mask | x & mask


def finish(case, wave, results, mask_out, execute):
    scalars = wave.scalars
    mask, vcc = scalars.old_mask, scalars.vcc
    full = (1 << wave.size) - 1

    def written(old):
        return old & ~full | mask_out & full
    if case.name.startswith("v_cmpx"):
        execute = mask_out
    elif case.name.startswith("v_cmp_") or case.instruction.type("sdst") is not None:
        if case.form == "e32":
            vcc = written(vcc)
        else:
            mask = written(mask)
    return results, mask, vcc, execute
