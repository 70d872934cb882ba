"""What a driver did to the card, in words: requests of trace_proxy.py decoded with the tables of card_names.py.

    state = CardState()
    session = decode(proxy.sessions[0], state, {})     # then sessions[1] with the same state: the card remembers
    session.boot, session.rest                         # lists of Item, in order

Addresses that only differ by where a driver puts things become words ("in VRAM"); everything else stays a value."""

import struct
from dataclasses import dataclass, field

from tinygrad.runtime.autogen.am import am

import card_names
from card_mailboxes import Mailboxes
from card_packets import copy_items, packet_items
from card_state import PAGE, Memory, page_table_entries
from trace_proxy import Command

VRAM_BAR, DOORBELL_BAR, REGISTER_BAR = 0, 2, 5
MEMORY_SIZE = 0xDE3  # RCC_CONFIG_MEMSIZE, where it lies on every card (Linux amdgpu_discovery.c)
PCI_EXPRESS = 0x10  # the capability
CONFIGURATION = {0x04: "Command"}
CONFIGURATION_OF_PCI_EXPRESS = {0x10: "Link Control"}

# Read again and again until something has happened: part of a handshake, as writes are.
WAITS = {"MP0_SMN_C2PMSG_35", "MP0_SMN_C2PMSG_64", "MP0_SMN_C2PMSG_81", "MP1_SMN_C2PMSG_90", "MP1_SMN_C2PMSG_54",
         "CP_STAT", "RLC_RLCS_BOOTLOAD_STATUS", "RLC_SAFE_MODE", "CP_HQD_ACTIVE",
         "GCVM_INVALIDATE_ENG17_ACK", "MMVM_INVALIDATE_ENG17_ACK", "MMVM_INVALIDATE_ENG17_SEM"}
MAILBOXES = {"MP0_SMN_C2PMSG_35", "MP0_SMN_C2PMSG_36", "MP0_SMN_C2PMSG_67"}  # told as messages, not as registers
WAITS_OF_MAILBOXES = {"MP0_SMN_C2PMSG_35", "MP1_SMN_C2PMSG_90", "MP1_SMN_C2PMSG_54"}
# Which of several a write reaches is told by GRBM_GFX_CNTL.
BANKED_BY_QUEUE = ("CP_HQD_", "CP_MQD_", "CP_MEC_RS64_PRGRM_CNTR_START", "SPI_COMPUTE_QUEUE_RESET")
BANKED_BY_VMID = ("SH_MEM_",)
# What follows the request to flush a hub's TLBs and belongs to it.
FLUSH = {"wait for GCVM_INVALIDATE_ENG17_ACK", "wait for MMVM_INVALIDATE_ENG17_ACK", "MMVM_INVALIDATE_ENG17_SEM",
         "MMVM_L2_BANK_SELECT_RESERVED_CID2"}
SEMAPHORE = "wait for MMVM_INVALIDATE_ENG17_SEM"


@dataclass
class Item:
    """One thing that was done. value: a number (a register's), words, or a dict of fields."""

    block: str
    label: str
    value: object
    register: object = None
    ordered: bool = True  # its place among the others says something
    at: int = 0  # that place


@dataclass
class Session:
    boot: list = field(default_factory=list)  # until the driver begins to stop the engines
    rest: list = field(default_factory=list)
    entries: dict = field(default_factory=dict)  # of the page tables: (level, table or leaf, flags) to an example


def decode(requests, state, images):
    """images: hash to name, filled by the first who sends one."""
    return Decoder(state, images).run(requests)


class Decoder:
    def __init__(self, state, images):
        self.state, self.session, self.items = state, Session(), []
        self.mailboxes = Mailboxes(state, images)
        self.system, self.bus_pages = {}, {}  # system memory by handle; bus address of a page to (handle, offset)
        self.sizes = {}  # of the last message to an offset in VRAM
        self.flushed = True  # what the host wrote through BAR 0
        self.bank = self.index = 0
        self.pointers = {}  # of rings: where the last doorbell left them
        self.launched = False
        self.seen = set()
        self.late = []  # (item, function): what can be told only when the page tables stand

    # ---- requests

    def run(self, requests):
        handlers = {Command.MMIO_WRITE: self.bar_write, Command.MMIO_READ: self.bar_read,
                    Command.CONFIG_WRITE: self.config_write, Command.CONFIG_READ: self.config_read,
                    Command.MAP_SYSMEM: self.share, Command.SYSMEM_WRITE: self.system_write,
                    Command.RESET: lambda _: self.add("bus", "function reset", "")}
        for request in requests:
            if handler := handlers.get(request.command):
                handler(request)
        self.fold_flushes()
        self.leave_out_interrupts()
        self.settle()
        stops = [i for i, item in enumerate(self.items) if item.label == "SDMA0_QUEUE0_RB_CNTL" and not item.value & 1]
        stop = stops[-1] if stops else len(self.items)
        for i, item in enumerate(self.items):
            item.at = i
        self.session.boot, self.session.rest = self.items[:stop], self.items[stop:]
        return self.session

    def fold_flushes(self):
        """Flushes of TLBs are many and alike: each way of doing it is told once, in words."""
        items, seen = [], set()
        for item in self.items:
            if items and items[-1].label == "TLB flush" and item.label in FLUSH:
                items[-1].value += f", {item.label}" + (f" = {item.value:#x}" if item.register else "")
            else:
                items.append(item)
        self.items = []
        for item in items:
            key = (item.block, item.value) if item.label == "TLB flush" else id(item)
            if key not in seen:
                seen.add(key)
                self.items.append(item)

    def leave_out_interrupts(self):
        """While it computes, tinygrad empties the interrupt ring now and then: how often depends on the time."""
        bells = [i for i, item in enumerate(self.items) if item.label == "doorbell"]
        stops = [i for i, item in enumerate(self.items) if item.label == "SDMA0_QUEUE0_RB_CNTL"]
        if bells and stops:
            self.items = [item for i, item in enumerate(self.items)
                          if not (bells[0] < i < stops[-1] and item.label == "IH_RB_RPTR")]

    def settle(self):
        """Before the driver takes its mappings away again: what addresses lead to, and what the tables say."""
        for item, words in self.late:
            item.value = words()
        self.late = []
        for key, where in page_table_entries(self.state).items():
            self.session.entries.setdefault(key, where)

    def add(self, block, label, value, register=None):
        self.items.append(Item(block, label, value, register))

    def once(self, block, label, value):
        """For what is done over and over: each way of doing it once."""
        if (key := (label, str(value))) not in self.seen:
            self.seen.add(key)
            self.items.append(Item(block, label, value, ordered=False))

    def config_read(self, request):
        for i in range(request.arg1):
            self.state.config[request.arg0 + i] = request.answer[0] >> 8 * i & 0xFF

    def config_write(self, request):
        name = CONFIGURATION.get(request.arg0, f"configuration space {request.arg0:#x}")
        capability = self.state.capability(PCI_EXPRESS)
        if capability and (named := CONFIGURATION_OF_PCI_EXPRESS.get(request.arg0 - capability)):
            name = named
        self.add("bus", name, request.arg2)

    def share(self, request):
        handle = request.answer[1]
        self.system[handle] = Memory()
        for i, (address,) in enumerate(struct.iter_unpack("<Q", request.payload)):
            self.bus_pages[address] = (handle, i * PAGE)

    def system_write(self, request):
        self.system[request.bar].write(request.arg0, request.payload)

    def bar_read(self, request):
        if request.bar == VRAM_BAR and request.arg0 == self.mailboxes.fence and request.arg1 == 4:
            self.mailboxes.note("MP0", "wait for the fence")
        if request.bar != REGISTER_BAR or request.arg1 != 4:
            return
        address, value = request.arg0 // 4, int.from_bytes(request.payload, "little")
        if address == MEMORY_SIZE:
            self.state.vram_bytes = value << 20
        register = card_names.registers().get(address)
        if register is None:
            return
        if register.name == "MMMC_VM_FB_LOCATION_BASE":
            self.state.vram_base = (value & 0xFFFFFF) << 24
        elif register.name == "BIF_BX0_REMAP_HDP_MEM_FLUSH_CNTL":
            self.state.flush_address = value // 4
        elif register.name in WAITS:
            label = "wait for " + register.name
            if register.name[:3] in self.mailboxes.steps:
                self.mailboxes.note(register.name[:3], label)
            if register.name not in WAITS_OF_MAILBOXES and (not self.items or self.items[-1].label != label):
                self.add(register.block, label, "")

    def bar_write(self, request):
        if request.bar == VRAM_BAR:
            self.state.vram.write(request.arg0, request.payload)
            self.sizes[request.arg0] = request.arg1
            self.flushed = False
        elif request.bar == DOORBELL_BAR:
            self.doorbell(request.arg0, request.payload)
        elif request.bar == REGISTER_BAR:
            words = struct.unpack(f"<{request.arg1 // 4}I", request.payload)
            if len(words) != 1:
                self.once("bus", "registers written as one block", f"from {card_names.name_at(request.arg0 // 4)}")
            for i, value in enumerate(words):
                self.register_write(request.arg0 // 4 + i, value)

    # ---- registers

    def register_write(self, address, value):
        if address == self.state.flush_address:
            self.flushed = True
            return
        register = card_names.registers().get(address)
        if register is None:
            self.add("unknown", f"register {address:#x}", value)
            return
        name = register.name
        if name == "BIF_BX_PF0_RSMU_INDEX":
            self.index = value // 4
            return
        if name == "BIF_BX_PF0_RSMU_DATA":
            self.register_write(self.index, value)
            return
        self.state.write_register(name, value)
        flushed = "yes" if self.flushed else "no"
        if name == "GRBM_GFX_CNTL":
            self.bank = value
        elif name.startswith("MP1_SMN_"):
            if message := self.mailboxes.power_register(name, value):
                self.once(register.block, "handshake of a message", message[2])
                self.add(register.block, *message[:2])
        elif name in MAILBOXES:
            if message := self.mailboxes.security_register(name, value, flushed, self.sizes):
                self.add(register.block, *message)
        elif name.endswith("VM_INVALIDATE_ENG17_REQ"):
            taken = [self.items.pop().label] if self.items and self.items[-1].label == SEMAPHORE else []
            how = ", ".join([f"host writes flushed: {flushed}", *taken, f"{name} = {value:#x}"])
            self.items.append(Item(register.block, "TLB flush", how, ordered=False))
        else:
            self.plain_write(register, value, flushed)

    def plain_write(self, register, value, flushed):
        name = register.name
        item = Item(register.block, name + self.bank_of(name), value, register)
        if name == "CP_HQD_ACTIVE" and value & 1:
            self.once(register.block, "host writes flushed before the queue is activated", flushed)
            self.descriptor()
        if name in card_names.LOW_HALVES:
            item.register = None
            high = card_names.LOW_HALVES[name][0]
            self.late.append((item, lambda: self.address_in_words(name, value, self.state.registers.get(high, 0))))
        elif name in card_names.HIGH_HALVES:
            item.value, item.register = "high half", None
        self.items.append(item)

    def bank_of(self, name):
        select = card_names.by_name()["GRBM_GFX_CNTL"].values(self.bank)
        if name.startswith(BANKED_BY_QUEUE):
            return "[me {meid} pipe {pipeid} queue {queueid}]".format(**select)
        return "[vmid {vmid}]".format(**select) if name.startswith(BANKED_BY_VMID) else ""

    def address_in_words(self, register, low, high):
        _, shift, kind, alignment = card_names.LOW_HALVES[register]
        return self.state.place((low | high << 32) << shift, kind, alignment)

    # ---- queues

    def descriptor(self):
        """The MQD, as it lies in VRAM when the queue is activated."""
        state, kind = self.state, am.struct_v11_compute_mqd
        base = state.registers.get("CP_MQD_BASE_ADDR", 0) | state.registers.get("CP_MQD_BASE_ADDR_HI", 0) << 32
        raw = state.vram.read(state.controller(base), 2048)
        first = card_names.address_of("CP_MQD_BASE_ADDR")
        offsets = {name: offset for name, _, offset, *_ in kind._real_fields_}
        item = Item("compute queue", "descriptor (MQD)", {})

        def words():
            out = {}
            for name, value in card_names.structure(kind, raw).items():
                word = offsets[name] // 4 - offsets["cp_mqd_base_addr_lo"] // 4
                register = card_names.name_at(first + word) if word >= 0 else ""
                if register in card_names.LOW_HALVES:
                    value = self.address_in_words(register, value, int.from_bytes(raw[offsets[name] + 4:][:4], "little"))
                if register not in card_names.HIGH_HALVES:
                    out[name] = value
            return out
        self.late.append((item, words))
        self.items.append(item)

    def doorbell(self, offset, payload):
        self.settle()
        registers, by_name = self.state.registers, card_names.by_name()
        control = by_name["CP_HQD_PQ_DOORBELL_CONTROL"].values(registers.get("CP_HQD_PQ_DOORBELL_CONTROL", 0))
        copies = by_name["SDMA0_QUEUE0_DOORBELL_OFFSET"].values(registers.get("SDMA0_QUEUE0_DOORBELL_OFFSET", 0))
        value = int.from_bytes(payload, "little")
        if offset == control["doorbell_offset"] * 4:
            self.once("compute queue", "doorbell", f"{offset:#x}, {len(payload)} bytes")
            items = packet_items(self.ring("CP_HQD_PQ_BASE", value * 4), self.state)
            if items and not self.launched:
                self.launched = True
                for item in items:
                    self.add(*item)
        elif offset == copies["offset"] * 4:
            self.once("copy engine", "doorbell", f"{offset:#x}, {len(payload)} bytes")
            for item in copy_items(self.ring("SDMA0_QUEUE0_RB_BASE", value)):
                self.once(*item)
        else:
            self.add("unknown", f"doorbell {offset:#x}", value)

    def ring(self, low, end):
        """The words that a doorbell adds (both drivers' rings are longer than what is looked at here)."""
        high = card_names.LOW_HALVES[low][0]
        base = (self.state.registers[low] | self.state.registers[high] << 32) << 8
        at, self.pointers[low] = self.pointers.get(low, 0), end
        out = b""
        while at < end:
            size = min(end - at, PAGE - at % PAGE)
            out += self.bytes_at(base + at, size)
            at += size
        return struct.unpack(f"<{len(out) // 4}I", out)

    def bytes_at(self, address, size):
        entry, offset = self.state.walk(address)
        physical = (entry & card_names.PTE_ADDRESS) + offset
        if not entry & am.AMDGPU_PTE_SYSTEM:
            return self.state.vram.read(physical, size)
        handle, at = self.bus_pages[physical & ~(PAGE - 1)]
        return self.system[handle].read(at + physical % PAGE, size)
