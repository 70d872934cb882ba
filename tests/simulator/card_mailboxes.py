"""The two processors that take messages, the PSP and power management: what they were told, as (label, value)."""

import hashlib

from tinygrad.runtime.autogen.am import am, smu_13_0_0

import card_names
from card_state import in_vram

MEBIBYTE = 1 << 20
COMMAND_BYTES = 1024
BODY = 28  # where the part of a command begins that depends on what it is (psp_gfx_if.h)
BODIES = {"GFX_CMD_ID_LOAD_IP_FW": "load_ip_fw", "GFX_CMD_ID_SETUP_TMR": "setup_tmr", "GFX_CMD_ID_LOAD_TOC": "load_toc"}
FLAGS = 12  # of SETUP_TMR: bit fields, behind address and size
CLOCKS = {getattr(smu_13_0_0, "PPCLK_" + name): name for name in ("GFXCLK", "SOCCLK", "UCLK", "FCLK")}
MESSAGES = {getattr(smu_13_0_0, name): name for name in dir(smu_13_0_0) if name.startswith("PPSMC_MSG_")}


class Mailboxes:
    """images: hash of an image to how its first sender called it."""

    def __init__(self, state, images):
        self.state, self.images = state, images
        self.steps = {"MP0": [], "MP1": []}  # of the handshake that is under way
        self.fence = None  # where the PSP's lies
        self.ring = 0  # how far it has been filled, in dwords
        self.table = 0  # power management's

    def note(self, processor, step):
        if not self.steps[processor] or self.steps[processor][-1] != step:
            self.steps[processor].append(step)

    def handshake(self, processor):
        steps = ", ".join(self.steps[processor])
        self.steps[processor] = []
        return steps

    # ---- power management

    def power_register(self, name, value):
        """(message, value, handshake) when a register's write sends one, else None."""
        number = name.removeprefix("MP1_SMN_C2PMSG_")
        self.note("MP1", f"C2PMSG_{number}" + (" = 0" if value == 0 and number in ("90", "54") else ""))
        if number not in ("66", "75"):
            return None
        argument = self.state.registers.get(f"MP1_SMN_C2PMSG_{53 if number == '75' else 82}", 0)
        label, value = self.power_message(value, argument) if number == "66" else (f"debug message {value}", "")
        return label, value, self.handshake("MP1")

    def power_message(self, number, argument):
        what = MESSAGES.get(number, f"message {number:#x}").removeprefix("PPSMC_MSG_")
        if what in ("GetDpmFreqByIndex", "SetSoftMinByFreq", "SetSoftMaxByFreq"):
            return f"{what} {CLOCKS.get(argument >> 16, argument >> 16)} {argument & 0xFFFF}", ""
        if what == "SetDriverDramAddrHigh":
            self.table = argument << 32
            return what, ""
        if what == "SetDriverDramAddrLow":
            return what, in_vram(self.state, self.state.controller(self.table | argument), 4096)
        return f"{what} {argument:#x}", ""

    # ---- PSP

    def security_register(self, name, value, flushed, message_bytes):
        """(message, fields) when a register's write sends one, else None. message_bytes: of what the host wrote
        last to an offset in VRAM."""
        state = self.state
        self.note("MP0", name.removeprefix("MP0_SMN_"))
        if name.endswith("_36"):
            return None
        if name.endswith("_35"):
            message = state.controller(state.registers.get("MP0_SMN_C2PMSG_36", 0) << 20)
            what = card_names.constants("PSP_BL__").get(value, f"{value:#x}")
            return f"boot loader: {what}", {"image": self.image(message, message_bytes.get(message, 0), what),
                                            "address": in_vram(state, message, MEBIBYTE),
                                            "flushed": flushed, "handshake": self.handshake("MP0")}
        ring = state.registers.get("MP0_SMN_C2PMSG_69", 0) | state.registers.get("MP0_SMN_C2PMSG_70", 0) << 32
        frame = card_names.structure(am.struct_psp_gfx_rb_frame, state.vram.read(state.controller(ring) + self.ring * 4, 64))
        self.ring = value
        label, fields = self.command(frame)
        return label, {**fields, "flushed": flushed, "handshake": self.handshake("MP0")}

    def command(self, frame):
        state = self.state
        self.fence = state.controller(frame["fence_addr_lo"] | frame["fence_addr_hi"] << 32)
        address = state.controller(frame["cmd_buf_addr_lo"] | frame["cmd_buf_addr_hi"] << 32)
        raw = state.vram.read(address, COMMAND_BYTES)
        head = card_names.structure(am.struct_psp_gfx_cmd_resp, raw)
        what = card_names.constants("GFX_CMD_ID_").get(head["cmd_id"], f"command {head['cmd_id']:#x}")
        out = {f"frame.{k}": v for k, v in frame.items() if "addr" not in k and k != "fence_value"}
        out |= {k: v for k, v in head.items() if k.startswith(("buf_", "resp_"))}
        out |= {"frame.cmd_buf_addr": in_vram(state, address, 4096), "frame.fence_addr": in_vram(state, self.fence, 4096)}
        if body := BODIES.get(what):
            kind, fields = self.body(body, raw[BODY:])
            what, out = what + kind, out | fields
        return f"command: {what}", out

    def body(self, name, raw):
        """(what the command is about, fields)"""
        state = self.state
        kinds = {n: t for n, t, *_ in am.union_psp_gfx_commands._real_fields_}
        fields, out, about = card_names.structure(kinds["cmd_" + name], raw), {}, ""
        for low in [field for field in fields if field.endswith("_lo")]:
            address = fields.pop(low) | fields.pop(low.replace("_lo", "_hi")) << 32
            offset = address if low.startswith("system") else state.controller(address)
            out[low.removesuffix("_lo")] = in_vram(state, offset, MEBIBYTE)
        if name == "setup_tmr":
            out["flags"] = int.from_bytes(raw[FLAGS:FLAGS + 4], "little")
        if name == "load_ip_fw":
            about = " " + card_names.constants("GFX_FW_TYPE_").get(fields["fw_type"], hex(fields["fw_type"]))
        if name in ("load_ip_fw", "load_toc"):  # these begin with the image's address
            message = state.controller(int.from_bytes(raw[:8], "little"))
            out["image"] = self.image(message, fields["fw_size" if about else "toc_size"], (name + about).upper())
        return about, out | fields

    def image(self, offset, size, sender):
        data = self.state.vram.read(offset, size).rstrip(b"\0")
        return self.images.setdefault(hashlib.sha256(data).hexdigest(), f"the one for {sender}")
