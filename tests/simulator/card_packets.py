"""Packets of the compute queue (PM4) and of the copy engine (SDMA) as items of card_trace.py."""

from collections import Counter

from tinygrad.runtime.autogen.am import pm4_nv, sdma_6_0_0

import card_names

TYPES = ("NOP DISPATCH_DIRECT WRITE_DATA WAIT_REG_MEM INDIRECT_BUFFER COND_EXEC EVENT_WRITE RELEASE_MEM "
         "ACQUIRE_MEM SET_SH_REG SET_UCONFIG_REG").split()
PACKETS = {getattr(pm4_nv, "PACKET3_" + name): name for name in TYPES}
# A launch's registers that are the kernel's own business.
KERNELS_OWN = ("COMPUTE_PGM_RSRC1", "COMPUTE_PGM_RSRC2", "COMPUTE_PGM_RSRC3", "COMPUTE_USER_DATA_", "COMPUTE_NUM_THREAD_",
               "COMPUTE_PGM_LO", "COMPUTE_PGM_HI", "COMPUTE_DISPATCH_SCRATCH_BASE_LO", "COMPUTE_DISPATCH_SCRATCH_BASE_HI",
               "COMPUTE_TMPRING_SIZE")
ACQUIRE = {"GLI_INV": (0, 1), "GL1_RANGE": (2, 3), "GLM_WB": (4, 4), "GLM_INV": (5, 5), "GLK_WB": (6, 6), "GLK_INV": (7, 7),
           "GLV_INV": (8, 8), "GL1_INV": (9, 9), "GL2_US": (10, 10), "GL2_RANGE": (11, 12), "GL2_DISCARD": (13, 13),
           "GL2_INV": (14, 14), "GL2_WB": (15, 15), "SEQ": (16, 17)}
RELEASE = {"EVENT_TYPE": (0, 5), "EVENT_INDEX": (8, 11), "GLM_WB": (12, 12), "GLM_INV": (13, 13), "GLV_INV": (14, 14),
           "GL1_INV": (15, 15), "GL2_US": (16, 16), "GL2_RANGE": (17, 18), "GL2_DISCARD": (19, 19), "GL2_INV": (20, 20),
           "GL2_WB": (21, 21), "SEQ": (22, 23), "CACHE_POLICY": (25, 26), "EXECUTE": (28, 28)}
RELEASE_TO = {"DST_SEL": (16, 17), "INT_SEL": (24, 26), "DATA_SEL": (29, 31)}
EVENT = {"EVENT_TYPE": (0, 5), "EVENT_INDEX": (8, 11)}
LAUNCH, COPIES = "kernel launch", "copy engine"


def bits(word, fields):
    return {name: word >> low & (2 << high - low) - 1 for name, (low, high) in fields.items()}


def packets(words):
    """(name, body) of each; filling is left out."""
    at = 0
    while at < len(words):
        head = words[at]
        if head >> 30 != 3:  # a filler of type 2, or a word of nothing
            at += 1
            continue
        count = (head >> 16 & 0x3FFF) + 1
        name = PACKETS.get(head >> 8 & 0xFF, f"packet {head >> 8 & 0xFF:#x}")
        if name != "NOP":
            yield name, words[at + 1:at + 1 + count]
        at += 1 + count


def packet_items(words, state):
    """(block, label, value) of each packet of a submission that launches a kernel; of another: none."""
    found = list(packets(words))
    return list(items_of(found, state)) if any(name == "DISPATCH_DIRECT" for name, _ in found) else []


def items_of(found, state):
    registers, count = card_names.registers(), Counter()
    for name, body in found:
        if name == "SET_SH_REG":
            for i, value in enumerate(body[1:]):
                register = registers[pm4_nv.PACKET3_SET_SH_REG_START + body[0] + i]
                own = register.name.startswith(KERNELS_OWN)
                label = "COMPUTE_USER_DATA" if register.name.startswith("COMPUTE_USER_DATA_") else register.name
                if label != "COMPUTE_USER_DATA" or count[label] == 0:
                    yield LAUNCH, label, "the kernel's" if own else f"{value:#x}"
                count[label] += 1
        else:
            count[name] += 1
            yield LAUNCH, f"{name} {count[name]}", fields_of(name, body, state)


def fields_of(name, body, state):
    where = lambda i: state.place(body[i] | body[i + 1] << 32, "virtual", 4)  # noqa: E731
    if name == "ACQUIRE_MEM":
        size, base = (body[2] & 0xFF) << 32 | body[1], (body[4] & 0xFFFFFF) << 32 | body[3]  # nvd.h: no more bits
        return {"SIZE": f"{size:#x}", "BASE": f"{base:#x}", "POLL_INTERVAL": body[5], **bits(body[6], ACQUIRE)}
    if name == "RELEASE_MEM":
        return {**bits(body[0], RELEASE), **bits(body[1], RELEASE_TO), "ADDRESS": where(2), "CTXID": body[6]}
    if name == "EVENT_WRITE":
        return bits(body[0], EVENT)
    if name == "DISPATCH_DIRECT":
        return bits(body[3], card_names.by_name()["COMPUTE_DISPATCH_INITIATOR"].fields)
    if name == "WAIT_REG_MEM" and not body[0] >> 4 & 1:
        registers = card_names.registers()
        return {"CONTROL": f"{body[0]:#x}", "of": " ".join(registers[a].name for a in body[1:3] if a in registers)}
    if name == "WAIT_REG_MEM":
        return {"CONTROL": f"{body[0]:#x}", "of": where(1)}
    return {"words": len(body)}


# Words of a packet after its header, by operation.
SDMA_WORDS = {sdma_6_0_0.SDMA_OP_NOP: 0, sdma_6_0_0.SDMA_OP_COPY: 6, sdma_6_0_0.SDMA_OP_FENCE: 3, sdma_6_0_0.SDMA_OP_TRAP: 1,
              sdma_6_0_0.SDMA_OP_POLL_REGMEM: 5, sdma_6_0_0.SDMA_OP_TIMESTAMP: 2, sdma_6_0_0.SDMA_OP_CONST_FILL: 4}
SDMA_NAMES = {sdma_6_0_0.SDMA_OP_COPY: "COPY_LINEAR", sdma_6_0_0.SDMA_OP_FENCE: "FENCE", sdma_6_0_0.SDMA_OP_TRAP: "TRAP",
              sdma_6_0_0.SDMA_OP_POLL_REGMEM: "POLL_REGMEM", sdma_6_0_0.SDMA_OP_TIMESTAMP: "TIMESTAMP",
              sdma_6_0_0.SDMA_OP_CONST_FILL: "CONST_FILL"}


def copy_items(words):
    """(block, label, value): each kind of packet with all but its addresses, counts and data."""
    at = 0
    while at < len(words):
        head = words[at]
        operation = head & 0xFF
        if operation != sdma_6_0_0.SDMA_OP_NOP or head:
            value = {"header": f"{head:#010x}"}
            if operation == sdma_6_0_0.SDMA_OP_COPY:
                value["parameters"] = f"{words[at + 2]:#x}"
            yield COPIES, "packet " + SDMA_NAMES.get(operation, f"{operation:#x}"), value
        at += 1 + SDMA_WORDS.get(operation, len(words))
