"""Names for what a driver writes to the card: registers, fields, flags. All of it from tinygrad's tables, which
are generated apart from ours (src/hardware/amd/navi31)."""

import functools

from tinygrad.runtime.autogen.am import am, navi_offsets, regs

# Table, block of the bases, name of the block here.
TABLES = [("gc_11_0_0", "GC", "GC"), ("mmhub_3_0_0", "MMHUB", "memory hub"), ("mp_13_0_0", "MP0", "PSP"),
          ("nbio_4_3_0", "NBIO", "bus interface"), ("osssys_6_0_0", "OSSSYS", "interrupts"),
          ("hdp_6_0_0", "HDP", "host data path")]
# navi_offsets ends at segment 4; Linux amdgpu, beige_goby_ip_offset.h and the simulated card's discovery table do not.
LATER_BASES = {("NBIO", 5): 0x04040000}
# Registers that tinygrad's tables lack, from Linux's gc_11_0_0_offset.h and gc_11_0_0_sh_mask.h: offset, segment, fields.
MORE = {"gc_11_0_0": {"regCP_PQ_WPTR_POLL_CNTL": (0x1E23, 0, {"period": (0, 7), "disable_pend_req_one_shot": (29, 29),
                                                             "poll_active": (30, 30), "en": (31, 31)})}}
# What GC holds, by the beginning of a register's name.
PARTS = [("GCVM_", "graphics hub"), ("GCMC_", "graphics hub"), ("SDMA", "copy engine"), ("CP_HQD_", "compute queue"),
         ("CP_MQD_", "compute queue"), ("CP_PQ_", "compute queue"), ("CP_MEC_", "compute engine"), ("SPI_COMPUTE_QUEUE_RESET", "compute queue"),
         ("RLC_CGTT", "clock gating"), ("RLC_CGCG", "clock gating"), ("RLC_SAFE_MODE", "clock gating"),
         ("CP_RB_WPTR_POLL_CNTL", "clock gating"), ("CP_INT_CNTL", "clock gating")]
GATING = {"SDMA0_RLC_CGCG_CTRL", "SDMA1_RLC_CGCG_CTRL", "MM_ATC_L2_MISC_CG", "HDP_MEM_POWER_CTRL"}


class Register:
    """block: as docs/hardware.md names it; fields: name to (lowest bit, highest bit)."""

    def __init__(self, name, block, fields):
        self.name, self.block, self.fields = name, block, fields

    def values(self, value):
        return {name: value >> low & (2 << high - low) - 1 for name, (low, high) in self.fields.items()}

    def differing(self, a, b):
        """(field, value in a, value in b) of all that differ; what no field covers is called by its bits."""
        rest = a ^ b
        for name, (low, high) in sorted(self.fields.items(), key=lambda item: item[1]):
            mask = (2 << high - low) - 1
            if rest >> low & mask:
                yield name.upper(), a >> low & mask, b >> low & mask
                rest &= ~(mask << low)
        while rest:
            bit = (rest & -rest).bit_length() - 1
            yield f"bit {bit}", a >> bit & 1, b >> bit & 1
            rest &= rest - 1


@functools.cache
def registers():
    """Dword address to Register."""
    out = {}
    for table, bases, block in TABLES:
        for name, (offset, segment, fields) in {**MORE.get(table, {}), **getattr(regs, table)}.items():
            name = name.removeprefix("reg").removeprefix("mm")
            base = LATER_BASES.get((bases, segment)) or getattr(navi_offsets, f"{bases}_BASE__INST0_SEG{segment}", 0)
            if base == 0 and segment > 0:
                continue
            part = next((p for start, p in PARTS if name.startswith(start)), None) if block == "GC" else None
            where = "clock gating" if name in GATING else part or ("graphics core" if block == "GC" else block)
            out.setdefault(base + offset, Register(name, where, fields))
    for name, (offset, segment, fields) in regs.mp_11_0_0.items():  # power management's mailboxes, as tinygrad does
        if name.startswith("mmMP1_"):
            base = getattr(navi_offsets, f"MP1_BASE__INST0_SEG{segment}")
            out[base + offset] = Register(name.removeprefix("mm"), "power management", fields)
    # A queue's registers are written one after the other; one of them has no name.
    places = {register.name: address for address, register in out.items()}
    for address in range(places["CP_MQD_BASE_ADDR"], places["CP_HQD_PQ_WPTR_HI"]):
        out.setdefault(address, Register(f"CP_HQD_ without a name, {address:#x}", "compute queue", {}))
    return out


@functools.cache
def by_name():
    return {register.name: register for register in registers().values()}


def address_of(name):
    return next(address for address, register in registers().items() if register.name == name)


def name_at(address):
    register = registers().get(address)
    return register.name if register else f"{address:#x}"


@functools.cache
def constants(prefix):
    """Value to name, of tinygrad's constants that begin so."""
    return {value: name for name in dir(am) if name.startswith(prefix) and isinstance(value := getattr(am, name), int)}


def structure(kind, data, prefix=""):
    """Name to number, of a C structure of tinygrad's."""
    out = {}
    for name, type_, offset, *bits in kind._real_fields_:
        if hasattr(type_, "_real_fields_"):
            out |= structure(type_, data[offset:], f"{prefix}{name}.")
        elif not bits and type_.__name__.startswith("c_uint"):
            size = 4 if type_.__name__ in ("c_uint", "c_uint32") else 8
            out[prefix + name] = int.from_bytes(data[offset:offset + size], "little")
    return out


PTE_BITS = [(name, getattr(am, "AMDGPU_PTE_" + name)) for name in
            ("VALID", "SYSTEM", "SNOOPED", "TMZ", "EXECUTABLE", "READABLE", "WRITEABLE", "PRT", "NOALLOC")]
PTE_BITS.append(("PDE_PTE", am.AMDGPU_PDE_PTE))
PTE_ADDRESS = 0x0000FFFFFFFFF000
PTE_FRAGMENT = 0x1F << 7


@functools.cache
def entry_flags(entry):
    """A page table entry in words; without its address and fragment."""
    words = [name for name, bit in PTE_BITS if entry & bit]
    if mtype := entry >> 48 & 7:
        words.append(f"MTYPE={mtype}")
    known = PTE_ADDRESS | PTE_FRAGMENT | 7 << 48
    for _, bit in PTE_BITS:
        known |= bit
    if rest := entry & ~known:
        words.append(f"other bits {rest:#x}")
    return " ".join(words) or "0"


# Registers that hold an address: low half, high half, shift, kind, alignment. The comparison takes the value for "an
# address of that kind" when it is one. Kinds:
#   vram: offset in VRAM; table: the same, of a page table, with flags below; controller: the memory controller's address
#   of something in VRAM; virtual: through the page tables.
ADDRESSES = [
    ("MP0_SMN_C2PMSG_69", "MP0_SMN_C2PMSG_70", 0, "controller", 4096),
    ("IH_RB_BASE", "IH_RB_BASE_HI", 8, "controller", 4096),
    ("IH_RB_BASE_RING1", "IH_RB_BASE_HI_RING1", 8, "controller", 4096),
    ("IH_RB_WPTR_ADDR_LO", "IH_RB_WPTR_ADDR_HI", 0, "controller", 4),
    ("CP_MQD_BASE_ADDR", "CP_MQD_BASE_ADDR_HI", 0, "controller", 4096),
    ("CP_HQD_PQ_BASE", "CP_HQD_PQ_BASE_HI", 8, "virtual", 4096),
    ("CP_HQD_PQ_RPTR_REPORT_ADDR", "CP_HQD_PQ_RPTR_REPORT_ADDR_HI", 0, "virtual", 8),
    ("CP_HQD_PQ_WPTR_POLL_ADDR", "CP_HQD_PQ_WPTR_POLL_ADDR_HI", 0, "virtual", 8),
    ("CP_HQD_EOP_BASE_ADDR", "CP_HQD_EOP_BASE_ADDR_HI", 8, "virtual", 4096),
    ("SDMA0_QUEUE0_RB_BASE", "SDMA0_QUEUE0_RB_BASE_HI", 8, "virtual", 4096),
    ("SDMA0_QUEUE0_RB_RPTR_ADDR_LO", "SDMA0_QUEUE0_RB_RPTR_ADDR_HI", 0, "virtual", 8),
    ("SDMA0_QUEUE0_RB_WPTR_POLL_ADDR_LO", "SDMA0_QUEUE0_RB_WPTR_POLL_ADDR_HI", 0, "virtual", 8),
]
for _hub in ("GC", "MM"):
    _default, _fault = f"{_hub}MC_VM_SYSTEM_APERTURE_DEFAULT_ADDR_", f"{_hub}VM_L2_PROTECTION_FAULT_DEFAULT_ADDR_"
    _table = f"{_hub}VM_CONTEXT0_PAGE_TABLE_BASE_ADDR_"
    ADDRESSES += [(_default + "LSB", _default + "MSB", 12, "vram", 4096), (_fault + "LO32", _fault + "HI32", 12, "vram", 4096),
                  (_table + "LO32", _table + "HI32", 0, "table", 4096)]
HIGH_HALVES = {high: low for low, high, *_ in ADDRESSES}
LOW_HALVES = {low: rest for low, *rest in ADDRESSES}
