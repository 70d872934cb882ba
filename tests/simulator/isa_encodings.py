"""Makes gfx1100 encodings: every opcode number of every format, with fields drawn from kinds of values.

Knows nothing of which opcodes exist or what operands they take; field positions are those of the ISA
guide, chapter "Microcode Formats".
"""

LITERALS = [0, 1, 0x40, 0x41, 0xFFFFFFF0, 0xFFFFFFEF, 0xFFF0, 0xFFEF, 0x3F000000, 0xBF800000,
            0x3E22F983, 0x3800, 0x3118, 0xC400, 0x3FE00000, 0x3FF00000, 0x40100000, 0x3FC45F30,
            0x80000000, 0x7FFFFFFF, 0xFFFFFFFF, 0x12345678, 0x3C003C00, 0x3F803F80, 0xFFFF]
# Special source codes: the edges of each range, and everything above the integers.
SPECIAL = [0, 1, 3, 5, 101, 103, 104, 105, 106, 107, 108, 109, 111, 121, 122, 123, 124, 125, 126, 127,
           128, 129, 191, 192, 193, 208, *range(209, 256)]
DPP_CONTROLS = [0, 0x1B, 0xE4, 0xFF, 0x100, 0x101, 0x10F, 0x110, 0x111, 0x11F, 0x120, 0x121, 0x12F,
                0x130, 0x134, 0x138, 0x13C, 0x140, 0x141, 0x142, 0x143, 0x144, 0x150, 0x15F, 0x160,
                0x16F, 0x170, 0x1FF]


class Format:
    """base: the fixed bits. op: (lowest bit, count). fields: name -> (lowest bit, width, kind)."""

    def __init__(self, base, op, fields):
        self.base, self.op, self.fields = base, op, fields


S, D, V, F, Z = "source9", "scalar", "vgpr", "flags", "rare"
FORMATS = {
    "SOP1": Format(0xBE800000, (8, 8), {"ssrc0": (0, 8, "source8"), "sdst": (16, 7, D)}),
    "SOP2": Format(0x80000000, (23, 7), {"ssrc0": (0, 8, "source8"), "ssrc1": (8, 8, "source8"),
                                         "sdst": (16, 7, D)}),
    "SOPK": Format(0xB0000000, (23, 5), {"simm16": (0, 16, "number"), "sdst": (16, 7, D)}),
    "SOPC": Format(0xBF000000, (16, 7), {"ssrc0": (0, 8, "source8"), "ssrc1": (8, 8, "source8")}),
    "SOPP": Format(0xBF800000, (16, 7), {"simm16": (0, 16, "number")}),
    "SMEM": Format(0xF4000000, (18, 8), {"sbase": (0, 6, "number"), "sdata": (6, 7, D),
                                         "flags": (13, 5, F), "offset": (32, 21, "number"),
                                         "rest": (53, 4, Z), "soffset": (57, 7, D)}),
    "VOP1": Format(0x7E000000, (9, 8), {"src0": (0, 9, S), "vdst": (17, 8, V)}),
    "VOP2": Format(0x00000000, (25, 6), {"src0": (0, 9, S), "vsrc1": (9, 8, V), "vdst": (17, 8, V)}),
    "VOPC": Format(0x7C000000, (17, 8), {"src0": (0, 9, S), "vsrc1": (9, 8, V)}),
    "VOP3": Format(0xD4000000, (16, 10), {"vdst": (0, 8, V), "abs": (8, 3, F), "opsel": (11, 4, F),
                                          "clamp": (15, 1, F), "src0": (32, 9, S),
                                          "src1": (41, 9, S), "src2": (50, 9, S),
                                          "omod": (59, 2, F), "neg": (61, 3, F)}),
    "VOP3P": Format(0xCC000000, (16, 7), {"vdst": (0, 8, V), "neghi": (8, 3, F),
                                          "opsel": (11, 3, F), "hi2": (14, 1, "flags1"),
                                          "clamp": (15, 1, F), "fixed": (23, 1, Z),
                                          "src0": (32, 9, S), "src1": (41, 9, S),
                                          "src2": (50, 9, S), "hi": (59, 2, "flags1"),
                                          "neg": (61, 3, F)}),
    "VINTERP": Format(0xCD000000, (16, 7), {"vdst": (0, 8, V), "wait": (8, 3, "number"),
                                            "opsel": (11, 4, F), "clamp": (15, 1, F),
                                            "src0": (32, 9, S), "src1": (41, 9, S),
                                            "src2": (50, 9, S), "rest": (59, 2, Z),
                                            "neg": (61, 3, F), "fixed": (23, 1, Z)}),
    "VOPD": Format(0xC8000000, (17, 9), {"srcx0": (0, 9, S), "vsrcx1": (9, 8, "vgpr0"),
                                         "srcy0": (32, 9, S), "vsrcy1": (41, 8, "vgpr0"),
                                         "vdsty": (49, 7, V), "vdstx": (56, 8, V)}),
    "LDSDIR": Format(0xCE000000, (20, 2), {"vdst": (0, 8, V), "attr": (8, 8, "number"),
                                           "wait": (16, 4, "number"), "rest": (22, 2, Z)}),
    "DS": Format(0xD8000000, (18, 8), {"offset": (0, 16, "number"), "rest": (16, 1, Z),
                                       "gds": (17, 1, F), "addr": (32, 8, "vgpr0"),
                                       "data0": (40, 8, "vgpr0"), "data1": (48, 8, "vgpr0"),
                                       "vdst": (56, 8, "vgpr0")}),
    "FLAT": Format(0xDC000000, (16, 10), {"offset": (0, 13, "number"), "flags": (13, 3, F),
                                          "addr": (32, 8, "vgpr0"), "data": (40, 8, "vgpr0"),
                                          "saddr": (48, 7, "saddr"), "sve": (55, 1, F),
                                          "vdst": (56, 8, "vgpr0")}),
    "MUBUF": Format(0xE0000000, (18, 8), {"offset": (0, 12, "number"), "flags": (12, 3, F),
                                          "rest": (15, 3, Z), "vaddr": (32, 8, "vgpr0"),
                                          "vdata": (40, 8, "vgpr0"), "srsrc": (48, 5, "number"),
                                          "tfe": (53, 1, F), "addressing": (54, 2, "number"),
                                          "soffset": (56, 8, "source8")}),
    "MTBUF": Format(0xE8000000, (15, 4), {"offset": (0, 12, "number"), "flags": (12, 3, F),
                                          "format": (19, 7, "number"), "vaddr": (32, 8, "vgpr0"),
                                          "vdata": (40, 8, "vgpr0"), "srsrc": (48, 5, "number"),
                                          "tfe": (53, 1, F), "addressing": (54, 2, "number"),
                                          "soffset": (56, 8, "source8")}),
    "MIMG": Format(0xF0000000, (18, 8), {"nsa": (0, 1, F), "rest": (1, 1, Z), "dim": (2, 3, "number"),
                                         "rest2": (5, 2, Z), "unrm": (7, 1, F), "dmask": (8, 4, "number"),
                                         "flags": (12, 6, F), "vaddr": (32, 8, "vgpr0"),
                                         "vdata": (40, 8, "vgpr0"), "srsrc": (48, 5, "number"),
                                         "tfe": (53, 2, F), "rest3": (55, 3, Z),
                                         "ssamp": (58, 5, "number0"), "rest4": (63, 1, Z)}),
    "EXP": Format(0xF8000000, (4, 6), {"en": (0, 4, "number"), "rest": (10, 1, Z), "done": (11, 1, F),
                                       "rest2": (12, 1, Z), "row": (13, 1, F), "rest3": (14, 12, Z),
                                       "vsrc0": (32, 8, V), "vsrc1": (40, 8, V), "vsrc2": (48, 8, V),
                                       "vsrc3": (56, 8, V)}),
}


def field_value(random, kind, width):
    limit = (1 << width) - 1
    if kind == "vgpr":
        return random.choice((random.randrange(128), random.randrange(256), 0, 255, 127, 128)) & limit
    if kind in ("vgpr0", "number0"):  # often unused, and then perhaps refused when not zero
        return 0 if random.random() < 0.5 else random.randrange(limit + 1)
    if kind == "scalar":
        return random.choice((random.randrange(128), random.randrange(106), 124, 106, 126, 0))
    if kind == "saddr":
        return random.choice((124, 124, 124, random.randrange(128), random.randrange(53) * 2, 0))
    if kind == "source8":
        return random.choice((random.randrange(106), random.choice(SPECIAL), random.randrange(256)))
    if kind == "source9":
        if random.random() < 0.15:
            return 0
        return random.choice((256 + random.randrange(128), 256 + random.randrange(256),
                              random.randrange(106), random.choice(SPECIAL)))
    if kind in ("flags", "flags1"):
        normal = 0 if kind == "flags" else limit
        return normal if random.random() < 0.6 else random.randrange(limit + 1)
    if kind == "rare":
        return 0 if random.random() < 0.97 else random.randrange(limit + 1)
    return random.choice((0, 1, limit, 1 << random.randrange(width), random.randrange(limit + 1),
                          random.randrange(limit + 1)))


def dpp_word(random):
    control = random.choice((random.choice(DPP_CONTROLS), random.randrange(256)))
    modifiers = random.choice((0, 0, random.randrange(16)))
    return (random.randrange(256) | control << 8 | random.choice((0, 0, random.randrange(8))) << 17
            | modifiers << 20 | random.choice((0xFF, random.randrange(256))) << 24)


def further_word(random, sources):
    if 250 in sources:
        return dpp_word(random)
    if 233 in sources or 234 in sources:
        return random.getrandbits(32)
    return random.choice((random.choice(LITERALS), random.getrandbits(32)))


def encode(random, fmt, number, fixed=()):
    """Three words: the encoding, and what follows it. fixed: field values by name."""
    fixed = dict(fixed)
    bits = fmt.base | number << fmt.op[0]
    sources = set()
    for name, (low, width, kind) in fmt.fields.items():
        value = fixed.get(name)
        if value is None:
            value = field_value(random, kind, width)
        if kind.startswith("source"):
            sources.add(value)
        bits |= (value & (1 << width) - 1) << low
    words = [bits & 0xFFFFFFFF]
    if bits >> 32 or fmt.base >> 31 and any(low >= 32 for low, _, _ in fmt.fields.values()):
        words.append(bits >> 32)
    while len(words) < 3:
        words.append(further_word(random, sources))
    return words


def sweep(random, rounds):
    """Yields (what, words)."""
    for name, fmt in FORMATS.items():
        for number in range(1 << fmt.op[1]):
            for _ in range(rounds[name]):
                yield name, encode(random, fmt, number)
            nothing = {f: (1 << w) - 1 if k == "flags1" else 0
                       for f, (_, w, k) in fmt.fields.items()}
            yield name, encode(random, fmt, number, nothing)
            if name == "DS":
                yield name, encode(random, fmt, number, nothing | {"gds": 1})
            if name == "FLAT":
                yield name, encode(random, fmt, number, nothing | {"saddr": 124})
            for field, (_, _, kind) in fmt.fields.items():
                if not kind.startswith("source") or name == "VOPD":
                    continue
                # Every special code in every source of every opcode, the rest kept simple.
                for code in SPECIAL + [256, 255 + (256 if kind == "source9" else 0)]:
                    simple = {f: (256 + 2 if k == "source9" else 2 if k == "source8" else 0)
                              for f, (_, _, k) in fmt.fields.items() if k in ("source9", "source8",
                                                                              "flags", "rare")}
                    simple |= {f: (1 << w) - 1 for f, (_, w, k) in fmt.fields.items() if k == "flags1"}
                    if "src2" in simple:
                        simple["src2"] = random.choice((0, 258))
                    if "src1" in simple:
                        simple["src1"] = random.choice((0, 260, 260))
                    simple[field] = code & 0x1FF
                    yield name, encode(random, fmt, number, simple)
    for number in (25, 26):  # ray instructions have most of their fields fixed
        for _ in range(rounds["rays"]):
            words = encode(random, FORMATS["MIMG"], number,
                           {"dmask": 15, "dim": 0, "unrm": 1, "tfe": 0, "ssamp": 0, "rest": 0,
                            "rest2": 0, "rest3": 0, "rest4": 0, "flags": random.choice((8, 24))})
            # llvm-mc-19 crashes when a separate address runs past v255.
            yield "MIMG", [words[0], words[1], words[2] & 0x7F7F7F7F]
    for x in range(16):  # every pair of VOPD
        for y in range(32):
            for _ in range(rounds["VOPD pairs"]):
                yield "VOPD", encode(random, FORMATS["VOPD"], y | x << 5)
    for _ in range(rounds["noise"]):
        yield "noise", [random.getrandbits(32) for _ in range(3)]
