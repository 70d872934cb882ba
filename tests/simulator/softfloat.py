"""IEEE 754 arithmetic on bit patterns, exact and then rounded once, in integers.

Independent of the host's floating point, so that rounding modes, denormals and float16 come out as
the standard says. Formats: F16, BF16, F32, F64. A value is an int of the format's width.
"""

from dataclasses import dataclass
from math import isqrt

NEAREST, UP, DOWN, ZERO = range(4)  # MODE.FP_ROUND of the chip


@dataclass(frozen=True)
class Format:
    bits: int
    exponent: int  # bits of the exponent
    fraction: int

    @property
    def bias(self):
        return (1 << self.exponent - 1) - 1

    @property
    def sign_bit(self):
        return 1 << self.bits - 1

    @property
    def inf(self):
        return ((1 << self.exponent) - 1) << self.fraction

    @property
    def quiet_bit(self):
        return 1 << self.fraction - 1

    @property
    def nan(self):
        return self.inf | self.quiet_bit

    @property
    def largest(self):
        return self.inf - 1

    @property
    def smallest_normal(self):
        return 1 << self.fraction


F16, BF16, F32, F64 = Format(16, 5, 10), Format(16, 8, 7), Format(32, 8, 23), Format(64, 11, 52)


@dataclass(frozen=True)
class Mode:
    """How an operation reads denormals and rounds."""
    round: int = NEAREST
    flush_in: bool = False
    flush_out: bool = False


DEFAULT = Mode()


def is_nan(x, f):
    return x & ~f.sign_bit > f.inf


def is_signaling(x, f):
    return is_nan(x, f) and not x & f.quiet_bit


def is_inf(x, f):
    return x & ~f.sign_bit == f.inf


def is_zero(x, f):
    return x & ~f.sign_bit == 0


def is_denormal(x, f):
    return 0 < x & ~f.sign_bit < f.smallest_normal


def sign(x, f):
    return x >> f.bits - 1


def quiet(x, f):
    return x | f.quiet_bit


def flush(x, f):
    return x & f.sign_bit if is_denormal(x, f) else x


def read(x, f, mode):
    return flush(x, f) if mode.flush_in else x


def unpack(x, f):
    """(sign, m, e) of a finite value: (-1)**sign * m * 2**e."""
    field = x >> f.fraction & (1 << f.exponent) - 1
    m = x & (1 << f.fraction) - 1
    if field:
        m |= 1 << f.fraction
    else:
        field = 1
    return x >> f.bits - 1, m, field - f.bias - f.fraction


def pack(s, m, e, f, mode=DEFAULT, sticky=False):
    """Rounds (-1)**s * m * 2**e, and a little more when sticky, to the format."""
    sign_bits = f.sign_bit if s else 0
    if m == 0 and not sticky:
        return sign_bits
    # Keep enough bits below the last one that sticky can stand there.
    if sticky:
        m, e = m << 2 | 1, e - 2
    length = m.bit_length()
    # Exponent of the lowest kept bit.
    lowest = max(e + length - 1 - f.fraction, 1 - f.bias - f.fraction)
    shift = lowest - e
    if shift <= 0:
        kept, rest, half = m << -shift, 0, 1
    else:
        kept, rest, half = m >> shift, m & (1 << shift) - 1, 1 << shift - 1
    if mode.round == NEAREST:
        up = shift > 0 and (rest > half or rest == half and kept & 1)
    elif mode.round == UP:
        up = rest != 0 and not s
    elif mode.round == DOWN:
        up = rest != 0 and s
    else:
        up = False
    kept += bool(up)
    if kept >> f.fraction + 1:
        kept >>= 1
        lowest += 1
    field = lowest + f.fraction + f.bias
    if kept < 1 << f.fraction:  # denormal, or zero
        if mode.flush_out:
            return sign_bits
        return sign_bits | kept
    if field >= (1 << f.exponent) - 1:
        to_inf = mode.round == NEAREST or mode.round == (DOWN if s else UP)
        return sign_bits | (f.inf if to_inf else f.largest)
    return sign_bits | field << f.fraction | kept & (1 << f.fraction) - 1


def nan_of(f, *operands):
    """The NaN that comes out: the first one that went in, made quiet; else the default."""
    for x in operands:
        if is_nan(x, f):
            return quiet(x, f)
    return f.nan


def _zero_sum_sign(s1, s2, mode):
    return s1 if s1 == s2 else int(mode.round == DOWN)


def add(a, b, f, mode=DEFAULT):
    a, b = read(a, f, mode), read(b, f, mode)
    if is_nan(a, f) or is_nan(b, f):
        return nan_of(f, a, b)
    if is_inf(a, f):
        return f.nan if is_inf(b, f) and a != b else a
    if is_inf(b, f):
        return b
    return _sum(unpack(a, f), unpack(b, f), f, mode)


def _sum(x, y, f, mode):
    (s1, m1, e1), (s2, m2, e2) = x, y
    e = min(e1, e2)
    total = (-m1 if s1 else m1) << e1 - e
    total += (-m2 if s2 else m2) << e2 - e
    if total == 0:
        return f.sign_bit if _zero_sum_sign(s1, s2, mode) else 0
    return pack(int(total < 0), abs(total), e, f, mode)


def negate(a, f):
    return a ^ f.sign_bit


def sub(a, b, f, mode=DEFAULT):
    return add(a, b if is_nan(b, f) else negate(b, f), f, mode)


def mul(a, b, f, mode=DEFAULT):
    a, b = read(a, f, mode), read(b, f, mode)
    if is_nan(a, f) or is_nan(b, f):
        return nan_of(f, a, b)
    s = sign(a, f) ^ sign(b, f)
    if is_inf(a, f) or is_inf(b, f):
        return f.nan if is_zero(a, f) or is_zero(b, f) else f.inf | (f.sign_bit if s else 0)
    (_, m1, e1), (_, m2, e2) = unpack(a, f), unpack(b, f)
    return pack(s, m1 * m2, e1 + e2, f, mode)


def fma(a, b, c, f, mode=DEFAULT):
    a, b, c = (read(x, f, mode) for x in (a, b, c))
    if is_nan(a, f) or is_nan(b, f) or is_nan(c, f):
        return nan_of(f, a, b, c)
    s = sign(a, f) ^ sign(b, f)
    if is_inf(a, f) or is_inf(b, f):
        product = f.inf | (f.sign_bit if s else 0)
        if is_zero(a, f) or is_zero(b, f) or is_inf(c, f) and c != product:
            return f.nan
        return product
    if is_inf(c, f):
        return c
    (_, m1, e1), (_, m2, e2) = unpack(a, f), unpack(b, f)
    return _sum((s, m1 * m2, e1 + e2), unpack(c, f), f, mode)


def div(a, b, f, mode=DEFAULT):
    a, b = read(a, f, mode), read(b, f, mode)
    if is_nan(a, f) or is_nan(b, f):
        return nan_of(f, a, b)
    s = sign(a, f) ^ sign(b, f)
    sign_bits = f.sign_bit if s else 0
    if is_inf(a, f):
        return f.nan if is_inf(b, f) else f.inf | sign_bits
    if is_inf(b, f):
        return sign_bits
    if is_zero(b, f):
        return f.nan if is_zero(a, f) else f.inf | sign_bits
    (_, m1, e1), (_, m2, e2) = unpack(a, f), unpack(b, f)
    extra = 2 * f.fraction + 10
    q, r = divmod(m1 << extra, m2)
    return pack(s, q, e1 - e2 - extra, f, mode, r != 0)


def sqrt(a, f, mode=DEFAULT):
    a = read(a, f, mode)
    if is_nan(a, f):
        return nan_of(f, a)
    if is_zero(a, f):
        return a
    if sign(a, f):
        return f.nan
    if is_inf(a, f):
        return a
    _, m, e = unpack(a, f)
    shift = 2 * f.fraction + 10 + (e & 1)
    m, e = m << shift, e - shift
    root = isqrt(m)
    return pack(0, root, e // 2, f, mode, root * root != m)


def convert(a, source, target, mode=DEFAULT):
    a = read(a, source, mode)
    s = sign(a, source)
    sign_bits = target.sign_bit if s else 0
    if is_nan(a, source):
        payload = quiet(a, source) & (1 << source.fraction) - 1
        shift = target.fraction - source.fraction
        payload = payload << shift if shift >= 0 else payload >> -shift
        return sign_bits | target.inf | payload
    if is_inf(a, source):
        return sign_bits | target.inf
    _, m, e = unpack(a, source)
    return pack(s, m, e, target, mode)


def from_int(value, f, mode=DEFAULT):
    return pack(int(value < 0), abs(value), 0, f, mode)


def integral(a, f, how):
    """floor, ceil, trunc or rndne of a finite value, as an int."""
    s, m, e = unpack(a, f)
    value = -m if s else m
    if e >= 0:
        return value << e
    whole, rest = value >> -e, value & (1 << -e) - 1  # floor and what is above it
    half = 1 << -e - 1
    if how == "floor":
        return whole
    if how == "ceil":
        return whole + (rest != 0)
    if how == "trunc":
        return whole + (rest != 0 and value < 0)
    return whole + (rest > half or rest == half and whole & 1)


def round_to_integral(a, f, how):
    if is_nan(a, f):
        return quiet(a, f)
    if is_inf(a, f) or is_zero(a, f):
        return a
    value = integral(a, f, how)
    if value == 0:
        return a & f.sign_bit
    return from_int(value, f)


def compare(a, b, f, mode=DEFAULT):
    """-1, 0, 1, or None when unordered."""
    a, b = read(a, f, mode), read(b, f, mode)
    if is_nan(a, f) or is_nan(b, f):
        return None
    key = [-(x & ~f.sign_bit) if sign(x, f) else x for x in (a, b)]
    return (key[0] > key[1]) - (key[0] < key[1])


def scale(a, n, f, mode=DEFAULT):
    """a * 2**n, rounded once."""
    a = read(a, f, mode)
    if is_nan(a, f):
        return quiet(a, f)
    if is_inf(a, f) or is_zero(a, f):
        return a
    s, m, e = unpack(a, f)
    n = max(min(n, 10000), -10000)
    return pack(s, m, e + n, f, mode)


def to_fraction(a, f):
    from fractions import Fraction
    s, m, e = unpack(a, f)
    value = Fraction(m) * Fraction(2) ** e
    return -value if s else value


def ulp_distance(a, b, f):
    """Steps between two values of a format, through zero."""
    key = [-(x & ~f.sign_bit) if sign(x, f) else x & ~f.sign_bit for x in (a, b)]
    return abs(key[0] - key[1])
