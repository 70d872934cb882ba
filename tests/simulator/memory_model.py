"""Memory as the pseudo-code sees it, and memory instructions lane by lane."""

import isa
import pcode
import softfloat as sf
from pcode import Value


class Memory:
    """Bytes from address `base` on. Outside, reads give zero and writes are dropped."""

    WIDEST = 16

    def __init__(self, data, base=0):
        self.data, self.base = bytearray(data), base

    def __getitem__(self, address):
        at = address - self.base
        if not 0 <= at < len(self.data):
            return Value("b", 8 * self.WIDEST, 0)
        piece = bytes(self.data[at:at + self.WIDEST])
        return Value("b", 8 * self.WIDEST, int.from_bytes(piece, "little"))

    def __setitem__(self, address, value):
        at, count = address - self.base, value.width // 8
        if 0 <= at and at + count <= len(self.data):
            self.data[at:at + count] = value.raw().to_bytes(count, "little")


# Fields of the encoding that the programs declare only to say how wide they are.
DECLARED = {"OFFSET": 16, "OFFSET0": 8, "OFFSET1": 8}


def access(instruction, memory, address, data=0, data2=0, old=0, offset=0, offset0=0, offset1=0, lane=0, m0=0):
    """Runs one lane; returns its result register (of 128 bits)."""
    program = pcode.compile_program(PCODE.get(instruction.name, instruction.pcode))
    result = Value("b", 128, old)
    if "OFFSET.u32" not in instruction.pcode and "2addr" not in instruction.name:
        address += offset  # the address that the program speaks of includes it
    variables = {
        "MEM": memory, "LDS": memory, "ADDR": Value("u", 64, address), "ADDR_BASE": Value("u", 64, address),
        "DATA": Value("b", 128, data), "DATA2": Value("b", 128, data2), "RETURN_DATA": result,
        "OFFSET": Value("u", 16, offset), "OFFSET0": Value("u", 8, offset0), "OFFSET1": Value("u", 8, offset1),
        "laneID": Value("u", 32, lane), "M0": Value("u", 32, m0)}
    loads = "_load_" in instruction.name
    if "RETURN_DATA" not in instruction.pcode:  # flat and the like call both VDATA
        variables["VDATA"] = result if loads else variables["DATA"]
    program(pcode.Environment(variables, sf.DEFAULT))
    return variables["VDATA" if loads and "VDATA" in variables else "RETURN_DATA"].bits


# Pseudo-code that the evaluator cannot take as it stands, in the guide's own words elsewhere.
PCODE = {
    # DATA and ADDR are operands here as in all others; the result is one register of 64 bits.
    "ds_condxchg32_rtn_b64": """
ADDR0 = (ADDR.u32 & 0xfff8U);
RETURN_DATA[31 : 0] = MEM[ADDR0].b32;
if DATA[31] then
MEM[ADDR0].b32 = { 1'0, DATA[30 : 0] }
endif;
RETURN_DATA[63 : 32] = MEM[ADDR0 + 4U].b32;
if DATA[63] then
MEM[ADDR0 + 4U].b32 = { 1'0, DATA[62 : 32] }
endif""",
    # Offset and M0's low half, added to four bytes for each lane.
    "ds_store_addtid_b32": "MEM[OFFSET.u32 + M0[15 : 0].u32 + laneID.u32 * 4U].b32 = DATA.b32",
    "ds_load_addtid_b32": "RETURN_DATA.b32 = MEM[OFFSET.u32 + M0[15 : 0].u32 + laneID.u32 * 4U].b32",
}


def instruction(name):
    return isa.instructions()[name]
