"""Inputs worth trying: the edges of each type, and random values of every size."""

import softfloat as sf


def float_edges(f):
    one = f.bias << f.fraction
    half_ulp = 1 << f.fraction - 1
    positive = [
        0, 1, f.smallest_normal - 1, f.smallest_normal, f.smallest_normal + 1,  # denormals and around
        one, one + 1, one - 1, one - f.smallest_normal, one + f.smallest_normal,  # 1, 0.5, 2
        one + half_ulp, one - f.smallest_normal + half_ulp,  # 1.5, 0.75
        f.largest, f.largest - 1, f.inf, f.inf | f.quiet_bit,
        f.inf | 1, f.inf | f.quiet_bit | 5, f.inf | f.quiet_bit >> 1,  # signalling, payloads
        (f.bias + f.fraction << f.fraction) + 1, (f.bias + f.fraction + 1 << f.fraction) - 1,
        (f.bias + 1 << f.fraction) | half_ulp >> 1,  # 2.5: ties
    ]
    return positive + [x | f.sign_bit for x in positive]


def int_edges(bits):
    ones = (1 << bits) - 1
    return [0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 24, 31, 32, 33, 63, 64, 127, 128, 255, 256, ones, ones - 1,
            ones >> 1, (ones >> 1) + 1, (ones >> 1) + 2, 0x5555555555555555 & ones,
            0xAAAAAAAAAAAAAAAA & ones, 0x0123456789ABCDEF & ones, 0x7FFF, 0x8000, 0xFFFF & ones,
            0x7FFFFF & ones, 0x800000 & ones, 0xFFFFFF & ones, 1 << bits - 2, 0xFF00FF00FF00FF00 & ones]


EDGES = {("f", b): float_edges(f) for b, f in ((16, sf.F16), (32, sf.F32), (64, sf.F64))}
EDGES |= {("bf", 16): float_edges(sf.BF16)}
EDGES |= {(k, b): int_edges(b) for k in "uib" for b in (8, 16, 24, 32, 64, 96, 128)}


def value(random, kind, bits):
    """One value of a type: every third from the edges, the rest random."""
    if kind.startswith("p"):
        half = kind[1:] or "b"
        return value(random, half, 16) | value(random, half, 16) << 16
    if kind == "m":
        return random.getrandbits(64)
    edges = EDGES[kind, bits]
    choice = random.random()
    if choice < 0.45:
        return random.choice(edges)
    if kind in ("f", "bf"):
        f = {16: sf.F16, 32: sf.F32, 64: sf.F64}[bits] if kind == "f" else sf.BF16
        if choice < 0.85:  # of ordinary size
            exponent = f.bias + random.randrange(-12, 13)
            return (random.getrandbits(1) << bits - 1 | exponent << f.fraction
                    | random.getrandbits(f.fraction))
        return random.getrandbits(bits)
    if choice < 0.7:
        return random.getrandbits(random.randrange(1, bits + 1))
    return random.getrandbits(bits)
