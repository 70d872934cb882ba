"""The card's memory as a trace shows it: VRAM, the registers last written, page tables, addresses in words."""

import struct

from tinygrad.runtime.autogen.am import am

import card_names

PAGE = 4096
NAMELESS = ~(card_names.PTE_ADDRESS | card_names.PTE_FRAGMENT)


class Memory:
    """Bytes at offsets, few of them."""

    def __init__(self):
        self.pages = {}

    def write(self, offset, data):
        data = memoryview(data)
        while data:
            page, at = divmod(offset, PAGE)
            piece = data[:PAGE - at]
            self.pages.setdefault(page, bytearray(PAGE))[at:at + len(piece)] = piece
            offset, data = offset + len(piece), data[len(piece):]

    def read(self, offset, size):
        out = b""
        while len(out) < size:
            page, at = divmod(offset + len(out), PAGE)
            out += bytes(self.pages.get(page, bytes(PAGE))[at:at + size - len(out)])
        return out

    def word(self, offset, size=4):
        return int.from_bytes(self.read(offset, size), "little")


class CardState:
    """What the card remembers from one client to the next, as far as the trace tells."""

    def __init__(self):
        self.vram, self.registers, self.config = Memory(), {}, {}
        self.vram_base = self.vram_bytes = self.flush_address = 0
        self.root = None  # of the page tables: offset in VRAM

    def write_register(self, name, value):
        self.registers[name] = value
        if name.startswith("GCVM_CONTEXT0_PAGE_TABLE_BASE_ADDR"):
            low, high = (self.registers.get(f"GCVM_CONTEXT0_PAGE_TABLE_BASE_ADDR_{half}32", 0) for half in ("LO", "HI"))
            self.root = (high << 32 | low) & card_names.PTE_ADDRESS

    def capability(self, wanted):
        """Where a PCI capability lies, as far as its list has been read; 0: not seen."""
        at, seen = self.config.get(0x34, 0) & 0xFC, set()
        while at and at not in seen and self.config.get(at) != wanted:
            seen.add(at)
            at = self.config.get(at + 1, 0) & 0xFC
        return at if self.config.get(at) == wanted else 0

    def place(self, value, kind, alignment):
        """An address in words: what it leads to, not where."""
        if kind == "virtual":
            entry, _ = self.walk(value)
            where = "system memory" if entry & am.AMDGPU_PTE_SYSTEM else "VRAM"
            return f"virtual, {where if entry else 'not mapped'}{aligned(value, alignment)}"
        if kind == "table":
            return in_vram(self, value & ~(PAGE - 1), alignment) + f", low bits {value % PAGE:#x}"
        return in_vram(self, self.controller(value) if kind == "controller" else value, alignment)

    def controller(self, address):
        return address - self.vram_base

    def walk(self, address):
        """The leaf of a virtual address in the graphics hub's tables, and what of the address it leaves over."""
        start = self.registers.get("GCVM_CONTEXT0_PAGE_TABLE_START_ADDR_LO32", 0) << 12
        start |= self.registers.get("GCVM_CONTEXT0_PAGE_TABLE_START_ADDR_HI32", 0) << 44
        if self.root is None or address < start:
            return 0, 0
        table, offset = self.root, address - start
        for level in (3, 2, 1, 0):
            shift = 12 + 9 * level
            entry = self.vram.word(table + (offset >> shift & 511) * 8, 8)
            if not entry & am.AMDGPU_PTE_VALID:
                return 0, 0
            if level == 0 or entry & am.AMDGPU_PDE_PTE:
                return entry, offset & (1 << shift) - 1
            table = entry & card_names.PTE_ADDRESS
        return 0, 0


def aligned(value, alignment):
    return "" if value % alignment == 0 else f", not aligned to {alignment}"


def in_vram(state, offset, alignment):
    return ("in VRAM" if 0 <= offset < state.vram_bytes else f"outside VRAM ({offset:#x})") + aligned(offset, alignment)


def page_table_entries(state):
    """(level, "table" or "leaf", flags in words) to an entry's address, of all tables under the root."""
    out = {}
    pending = [] if state.root is None else [(state.root, 3)]
    names = {3: "PDB2", 2: "PDB1", 1: "PDB0", 0: "PTB"}
    while pending:
        table, level = pending.pop()
        entries = struct.unpack("<512Q", state.vram.read(table, PAGE))
        for i, entry in enumerate(entries):
            if entry == 0:
                continue
            leaf = level == 0 or bool(entry & am.AMDGPU_PDE_PTE)
            kind = "leaf" if leaf else "table"
            out.setdefault((names[level], kind, card_names.entry_flags(entry & NAMELESS)), table + i * 8)
            if leaf and not fragment_holds(entries, i, level):
                out.setdefault((names[level], kind, "FRAG larger than what lies together"), table + i * 8)
            if not leaf:
                pending.append((entry & card_names.PTE_ADDRESS, level - 1))
    return out


def fragment_holds(entries, i, level):
    """FRAG = n says that this entry is one of 2^n pages that lie together, at a multiple of that size."""
    fragment = (entries[i] & card_names.PTE_FRAGMENT) >> 7
    count = 1 << fragment >> 9 * level
    if count <= 1:
        return True
    first = i - i % count
    start = entries[first] & card_names.PTE_ADDRESS
    size = PAGE << 9 * level
    if start % (count * size):
        return False
    return all((entries[first + k] & card_names.PTE_ADDRESS) == start + k * size and
               (entries[first + k] ^ entries[i]) & ~card_names.PTE_ADDRESS == 0 for k in range(count))
