"""Where the guide's pseudo-code does not say what the hardware does, and what it does instead.

Sources:
  tinygrad-hw: tests that tinygrad records on a 7900 XTX (its repository, test/amd/hw).
  LLVM: how LLVM's AMDGPU backend uses or folds the instruction.
  guide: another place of the guide than the pseudo-code.
  IEEE: the operation's name is one of IEEE 754, which says what the pseudo-code leaves open.
"""

import math
from fractions import Fraction

import isa
import pcode
import softfloat as sf
from pcode import Value

FORMATS = {16: sf.F16, 32: sf.F32, 64: sf.F64}


def source(env, i, f):
    """S0.f32 and so on."""
    return env.variables[f"S{i}"].bits & (1 << f.bits) - 1


def result(env, f, bits):
    old = env.variables["D0"]
    env.variables["D0"] = Value("b", max(old.width, f.bits), bits)


# Operations whose denormal inputs and results stay whatever the mode says: they do not compute.
# Guide, 7.2.1 (denormals): moves, selects and classification.
KEEPS_DENORMALS = {"v_mov_b32", "v_mov_b16", "v_cndmask_b32", "v_cndmask_b16", "v_cmp_class_f16",
                   "v_cmp_class_f32", "v_cmp_class_f64", "v_cmpx_class_f16", "v_cmpx_class_f32",
                   "v_cmpx_class_f64"}


# Clamp saturates sums and products (guide, 7.2.2); a shift and a product's low half have nothing to
# saturate.
NEVER_SATURATES = {"v_pk_mul_lo_u16", "v_pk_lshlrev_b16", "v_pk_lshrrev_b16", "v_pk_ashrrev_i16"}


# --- Roundings: IEEE ---

def rndne(f):
    """floor(x + 0.5) rounds the sum first; roundToIntegralTiesToEven does not."""
    return lambda case, env: result(env, f, sf.round_to_integral(source(env, 0, f), f, "rndne"))


def ceil_floor(f, how):
    """The pseudo-code's trunc and + 1 give the same; a NaN becomes quiet."""
    return lambda case, env: result(env, f, sf.round_to_integral(source(env, 0, f), f, how))


def fract(f):
    """LLVM (AMDGPUCodeGenPrepare, fract pattern): min(x - floor(x), the largest below 1)."""
    def run(case, env):
        x = source(env, 0, f)
        if sf.is_nan(x, f) or sf.is_inf(x, f):
            result(env, f, sf.quiet(x, f) if sf.is_nan(x, f) else f.nan)
            return
        floor = sf.round_to_integral(x, f, "floor")
        d = sf.sub(x, floor, f, env.mode_of(f))
        one = sf.from_int(1, f)
        result(env, f, one - 1 if d == one else d)
    return run


def ldexp(f, exponent_bits):
    """2**n may lie outside of the format where x * 2**n does not (guide: "D = S0 * 2**S1")."""
    def run(case, env):
        n = env.variables["S1"].bits & (1 << exponent_bits) - 1
        n -= (n >> exponent_bits - 1) << exponent_bits
        result(env, f, sf.scale(source(env, 0, f), n, f, env.mode_of(f)))
    return run


def frexp_exponent(f):
    """frexp of C, which the guide names and LLVM lowers to it: denormals have the exponent that they
    would have were they normal, zero has 0."""
    def run(case, env):
        x = source(env, 0, f)
        n = 0
        if not (sf.is_nan(x, f) or sf.is_inf(x, f) or sf.is_zero(x, f)):
            _, m, e = sf.unpack(x, f)
            n = m.bit_length() + e
        width = env.variables["D0"].width
        env.variables["D0"] = Value("b", width, n & (1 << width) - 1)
    return run


def frexp_mantissa(f):
    """The fraction that goes with it: in [0.5, 1)."""
    def run(case, env):
        x = source(env, 0, f)
        if sf.is_nan(x, f) or sf.is_inf(x, f) or sf.is_zero(x, f):
            result(env, f, sf.quiet(x, f) if sf.is_nan(x, f) else x)
            return
        s, m, _ = sf.unpack(x, f)
        result(env, f, sf.pack(s, m, -m.bit_length(), f))
    return run


def nearest_i32(case, env):
    """The sum is a float32, rounded to nearest in every mode, as the name says."""
    env.round_override = sf.NEAREST
    NEAREST_I32(env)


NEAREST_I32 = pcode.compile_program(isa.instructions()["v_cvt_nearest_i32_f32"].pcode)


def off_i4(case, env):
    """The table, which the guide prints elsewhere: a signed 4-bit number of sixteenths."""
    n = source(env, 0, sf.F32) & 15
    n -= (n >> 3) << 4
    result(env, sf.F32, sf.pack(int(n < 0), abs(n), -4, sf.F32))


def norm(f, bits, is_signed):
    """f32_to_snorm and the like: scaled, rounded to nearest even, symmetric (tinygrad-hw: -1.0 gives
    0x8001)."""
    limit = (1 << bits - 1) - 1 if is_signed else (1 << bits) - 1

    def convert(env, v):
        x = v.bits
        if sf.is_nan(x, f):
            return Value("i", bits, 0)
        if sf.is_inf(x, f):
            n = -limit if sf.sign(x, f) else limit
        else:
            n = round(max(Fraction(-1), min(Fraction(1), sf.to_fraction(x, f))) * limit)
        return Value("i", bits, max(n, -limit if is_signed else 0))
    return convert


FUNCTIONS = {
    "f16_to_snorm": norm(sf.F16, 16, True), "f16_to_unorm": norm(sf.F16, 16, False),
    "f32_to_snorm": norm(sf.F32, 16, True), "f32_to_unorm": norm(sf.F32, 16, False),
}


# --- Division steps ---

def div_scale(f, big):
    """tinygrad-hw: a zero operand (after flushing) gives NaN and VCC; "denormal" quotients and
    reciprocals are told by exponents. LLVM: its division is right for every input only when S1 is
    scaled down, not up, where both would be denormal."""
    span = {sf.F32: 96, sf.F64: 768}[f]
    top = (1 << f.exponent) - 1

    def run(case, env):
        s0, s1, s2 = (source(env, i, f) for i in range(3))
        e1, e2 = ((x >> f.fraction) & top for x in (s1, s2))
        vcc, scale = 0, 0
        if sf.is_zero(s1, f) or sf.is_zero(s2, f):
            env.variables["VCC"] = Value("u", 64, 1)
            result(env, f, f.nan)
            return
        reciprocal, quotient = e1 >= top - 2, e2 - e1 <= 1 - f.bias
        if e2 - e1 >= span:
            vcc, scale = 1, big if s0 == s1 else 0
        elif e1 == 0:
            scale = big
        elif reciprocal and quotient:
            vcc, scale = 1, -big if s0 == s1 else 0
        elif reciprocal:
            scale = -big
        elif quotient:
            vcc, scale = 1, big if s0 == s2 else 0
        elif e2 <= f.fraction + (1 if f is sf.F64 else 0):
            scale = big
        env.variables["VCC"] = Value("u", 64, vcc)
        result(env, f, sf.scale(s0, scale, f, env.mode_of(f)) if scale and not sf.is_nan(s0, f) else s0)
    return run


def div_fmas(f, big):
    """tinygrad-hw: scaled up or down by 2**64 (2**128), by the exponent of S2. Whether the product is
    rounded before it is scaled shows only where that overflows or becomes denormal; both count."""
    def run(case, env):
        a, b, c = (source(env, i, f) for i in range(3))
        mode = env.mode_of(f)
        x = sf.fma(a, b, c, f, mode)
        finite = not any(sf.is_nan(y, f) or sf.is_inf(y, f) for y in (a, b, c))
        if env.variables["VCC"].bits >> env.variables["laneId"].bits & 1 and finite:
            up = (c >> f.fraction & (1 << f.exponent) - 1) > f.bias
            n = big if up else -big
            env.alternatives = [sf.scale(x, n, f, mode), _fma_scaled(a, b, c, n, f, mode)]
            x = env.alternatives[0]
        result(env, f, x)
    return run


def _fma_scaled(a, b, c, n, f, mode):
    (s1, m1, e1), (s2, m2, e2), (s3, m3, e3) = (sf.unpack(x, f) for x in (a, b, c))
    e = min(e1 + e2, e3)
    total = (-1 if s1 ^ s2 else 1) * (m1 * m2 << e1 + e2 - e) + (-1 if s3 else 1) * (m3 << e3 - e)
    if total == 0:
        return sf.fma(a, b, c, f, mode)
    return sf.pack(int(total < 0), abs(total), e + n, f, mode)


def div_fixup(f):
    """tinygrad-hw: a NaN for a quotient, where the operands are ordinary, gives infinity."""
    def run(case, env):
        s0, s1, s2 = (source(env, i, f) for i in range(3))
        ordinary = not any(sf.is_nan(x, f) or sf.is_inf(x, f) or sf.is_zero(x, f) for x in (s1, s2))
        e1, e2 = ((x >> f.fraction) & (1 << f.exponent) - 1 for x in (s1, s2))
        tiny = e2 - e1 < (-150 if f is sf.F32 else -1075)
        if sf.is_nan(s0, f) and ordinary and not tiny:
            result(env, f, f.inf | (s1 ^ s2) & f.sign_bit)
        else:
            DIV_FIXUP[f](env)
    return run


DIV_FIXUP = {f: pcode.compile_program(isa.instructions()[f"v_div_fixup_f{f.bits}"].pcode)
             for f in (sf.F32, sf.F64)}


def trig_preop(case, env):
    """The guide's own words, with 2/pi to 1201 bits."""
    f = sf.F64
    exponent = source(env, 0, f) >> 52 & 2047
    shift = (env.variables["S1"].bits & 31) * 53
    if exponent > 1077:
        shift += exponent - 1077
    bits = (TWO_OVER_PI_1201 << shift) & (1 << 1201) - 1
    mantissa = bits >> 1201 - 53
    scale = -53 - shift
    if exponent >= 1968:
        scale += 128
    result(env, f, sf.pack(0, mantissa, scale, f))


def _two_over_pi(bits):
    """floor(2 / pi * 2**bits), by Machin's formula."""
    guard = 64
    one = 1 << bits + guard

    def arctan_inverse(n):
        total = term = one // n
        k, sign = 3, -1
        while term:
            term //= n * n
            total += sign * (term // k)
            k, sign = k + 2, -sign
        return total
    pi = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))
    return (2 * one * one // pi) >> guard


TWO_OVER_PI_1201 = _two_over_pi(1201)


# --- Transcendentals: computed beyond the format's precision, compared within one unit ---

def _float64(x, f):
    return math.nan if sf.is_nan(x, f) else float("-inf" if sf.sign(x, f) else "inf") \
        if sf.is_inf(x, f) else float(sf.to_fraction(x, f))


def rounded(value, f):
    """A Fraction or float to the nearest of the format."""
    if isinstance(value, float):
        if math.isnan(value):
            return f.nan
        if math.isinf(value):
            return f.inf | (f.sign_bit if value < 0 else 0)
        if value == 0:
            return f.sign_bit if math.copysign(1, value) < 0 else 0
        value = Fraction(value)
    m = value.numerator
    extra = value.denominator.bit_length() + f.fraction + 8
    q, r = divmod(abs(m) << extra, value.denominator)
    return sf.pack(int(m < 0), q, -extra, f, sticky=r != 0)


def exp2(x, f):
    if sf.is_nan(x, f):
        return f.nan
    value = _float64(x, f)
    if value > 2000:
        return f.inf
    if value < -2000:
        return 0
    whole = math.floor(value)
    return rounded(Fraction(2.0 ** (value - whole)) * Fraction(2) ** whole, f)


def log2(x, f):
    if sf.is_nan(x, f) or sf.sign(x, f) and not sf.is_zero(x, f):
        return f.nan
    if sf.is_zero(x, f):
        return f.inf | f.sign_bit
    if sf.is_inf(x, f):
        return f.inf
    _, m, e = sf.unpack(x, f)
    while m < 1 << f.fraction:  # denormals, to keep the mantissa in one range
        m, e = m * 2, e - 1
    mantissa = m / (1 << f.fraction)
    e += f.fraction
    if mantissa > 1.41:
        mantissa, e = mantissa / 2, e + 1
    return rounded(math.log1p(mantissa - 1) / math.log(2) + e, f)


def circle(x, f, function):
    """sin and cos of x turns."""
    if sf.is_nan(x, f) or sf.is_inf(x, f):
        return f.nan
    turns = sf.to_fraction(x, f)
    part = turns - round(turns)
    quarter = round(part * 4)
    rest = float(part - Fraction(quarter, 4)) * 2 * math.pi
    s, c = math.sin(rest), math.cos(rest)
    sine = (s, c, -s, -c)[quarter % 4]
    cosine = (c, -s, -c, s)[quarter % 4]
    value = sine if function == "sin" else cosine
    if value == 0 and function == "sin":
        return x & f.sign_bit
    return rounded(value, f)


def reciprocal_root(x, f):
    if sf.is_nan(x, f):
        return f.nan
    if sf.is_zero(x, f):
        return f.inf | x & f.sign_bit
    if sf.sign(x, f):
        return f.nan
    if sf.is_inf(x, f):
        return 0
    _, m, e = sf.unpack(x, f)
    shift = 4 * f.fraction + (e & 1)
    root = math.isqrt(m << shift)
    return rounded(Fraction(1, root) * Fraction(2) ** -((e - shift) // 2), f)


APPROXIMATE = {
    "exp": exp2, "log": log2, "rcp": lambda x, f: sf.div(sf.from_int(1, f), x, f),
    "rcp_iflag": lambda x, f: sf.div(sf.from_int(1, f), x, f), "rsq": reciprocal_root,
    "sqrt": lambda x, f: sf.sqrt(x, f), "sin": lambda x, f: circle(x, f, "sin"),
    "cos": lambda x, f: circle(x, f, "cos"),
}


def approximate(name):
    """(function, format) of v_exp_f32 and the like, or None."""
    parts = name.removeprefix("v_").rsplit("_f", 1)
    if len(parts) == 2 and parts[0] in APPROXIMATE and parts[1] in ("16", "32", "64"):
        return APPROXIMATE[parts[0]], FORMATS[int(parts[1])]
    return None


def transcendental(name):
    """LLVM: it scales the inputs and results of v_exp_f32, v_log_f32, v_rcp_f32, v_rsq_f32 and
    v_sqrt_f32 away from denormals, which these read and write as zeros whatever the mode says."""
    function, f = approximate(name)

    def run(case, env):
        x = source(env, 0, f)
        if f is sf.F32:
            result(env, f, sf.flush(function(sf.flush(x, f), f), f))
        else:
            result(env, f, function(x, f))
    return run


# --- Dot products of floats ---

def dot2(half, wide, accumulator):
    """The guide adds product by product; how often and in which order the hardware rounds is not
    said (tinygrad-hw: "up to 1 ULP difference"). All the orders that come into question count."""
    def run(case, env):
        mode = env.mode_of(wide)
        if wide is sf.F32:
            start = env.variables["S2" if accumulator == "S2" else "D0"].bits & 0xFFFFFFFF
        else:
            start = env.variables["S2"].bits & 0xFFFF
        pairs = []
        for shift in (0, 16):
            pair = [env.variables[f"S{i}"].bits >> shift & 0xFFFF for i in (0, 1)]
            if wide is sf.F32:
                pair = [sf.convert(x, half, sf.F32) for x in pair]
            pairs.append(pair)
        answers = []
        for order in (pairs, pairs[::-1]):
            fused = apart = start
            for a, b in order:
                fused = sf.fma(a, b, fused, wide, mode)
                apart = sf.add(apart, sf.mul(a, b, wide, mode), wide, mode)
            answers += [fused, apart]
        products = sf.add(*(sf.mul(a, b, wide, mode) for a, b in pairs), wide, mode)
        answers += [sf.add(start, products, wide, mode), exact_sum(start, pairs, wide, mode)]
        if wide is not sf.F32:  # in float32, rounded at the end
            total = sf.convert(start, wide, sf.F32)
            for a, b in pairs:
                a, b = sf.convert(a, wide, sf.F32), sf.convert(b, wide, sf.F32)
                total = sf.fma(a, b, total, sf.F32)
            answers.append(sf.convert(total, sf.F32, wide, mode))
        env.alternatives = answers
        result(env, wide, answers[0])
    return run


def exact_sum(start, pairs, f, mode):
    values = [start, *(x for pair in pairs for x in pair)]
    if any(sf.is_nan(x, f) or sf.is_inf(x, f) for x in values):
        return sf.fma(*pairs[1], sf.fma(*pairs[0], start, f, mode), f, mode)
    total = sf.to_fraction(start, f) + sum(sf.to_fraction(a, f) * sf.to_fraction(b, f) for a, b in pairs)
    return rounded(total, f) if total else 0


LANE = {}
for _bits, _f in FORMATS.items():
    LANE |= {f"v_rndne_f{_bits}": rndne(_f), f"v_ceil_f{_bits}": ceil_floor(_f, "ceil"),
             f"v_floor_f{_bits}": ceil_floor(_f, "floor"), f"v_fract_f{_bits}": fract(_f),
             f"v_frexp_exp_i{'16' if _bits == 16 else '32'}_f{_bits}": frexp_exponent(_f),
             f"v_frexp_mant_f{_bits}": frexp_mantissa(_f)}
LANE |= {
    "v_ldexp_f16": ldexp(sf.F16, 16), "v_ldexp_f32": ldexp(sf.F32, 32),
    "v_ldexp_f64": ldexp(sf.F64, 32),
    "v_cvt_off_f32_i4": off_i4, "v_cvt_nearest_i32_f32": nearest_i32,
    "v_div_scale_f32": div_scale(sf.F32, 64), "v_div_scale_f64": div_scale(sf.F64, 128),
    "v_div_fmas_f32": div_fmas(sf.F32, 64), "v_div_fmas_f64": div_fmas(sf.F64, 128),
    "v_div_fixup_f32": div_fixup(sf.F32), "v_div_fixup_f64": div_fixup(sf.F64),
    "v_trig_preop_f64": trig_preop,
    "v_dot2_f32_f16": dot2(sf.F16, sf.F32, "S2"), "v_dot2_f32_bf16": dot2(sf.BF16, sf.F32, "S2"),
    "v_dot2acc_f32_f16": dot2(sf.F16, sf.F32, "D0"), "v_dot2_f16_f16": dot2(sf.F16, sf.F16, "S2"),
    "v_dot2_bf16_bf16": dot2(sf.BF16, sf.BF16, "S2"),
}
for _name in ("exp_f16 exp_f32 log_f16 log_f32 rcp_f16 rcp_f32 rcp_f64 rcp_iflag_f32 rsq_f16 rsq_f32 "
              "rsq_f64 sqrt_f16 sqrt_f32 sqrt_f64 sin_f16 sin_f32 cos_f16 cos_f32").split():
    LANE["v_" + _name] = transcendental("v_" + _name)

# Pseudo-code with a slip in it: the whole of it, mended.
PCODE = {
    # The accumulator of the fused form is D0 in both branches.
    "v_fmac_dx9_zero_f32": """
if ((64'F(S0.f32) == 0.0) || (64'F(S1.f32) == 0.0)) then
D0.f32 = D0.f32
else
D0.f32 = fma(S0.f32, S1.f32, D0.f32)
endif""",
}

# With clamp the sum or difference stops at the ends of 32 bits; the pseudo-code has cut it already.
for _name in ("v_add_co_u32", "v_add_co_ci_u32", "v_sub_co_u32", "v_sub_co_ci_u32", "v_subrev_co_u32",
              "v_subrev_co_ci_u32"):
    PCODE[_name] = isa.instructions()[_name].pcode.replace("D0.u32 = tmp.u32", "D0.u32 = tmp")
