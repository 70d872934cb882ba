"""Firmware images for the simulated card: true headers, made-up contents.

The names are those of linux-firmware's amdgpu folder; the headers follow Linux amdgpu's
amdgpu_ucode.h. The real images are never part of this repository.

    python firmware.py FOLDER    writes all of them
"""

import pathlib
import random
import struct
import sys

COMMON = "<IIHHHHIIII"  # struct common_firmware_header
COMMON_BYTES = 32
ALIGN = 0x100


def contents(name, size):
    """Bytes that differ from image to image and never are all zero."""
    return random.Random(name).randbytes(size)


def signed(name, size):
    """An image for the PSP's boot loader: mark at 0x10, size of the whole at 0x6c."""
    image = bytearray(contents(name, size))
    image[0x10:0x14] = b"$PS1"
    image[0x6C:0x70] = struct.pack("<I", size)
    return bytes(image)


def pack(major, minor, ucode_bytes, rest, parts, header_bytes=None, ip=(11, 0)):
    """A file: common header, the rest of the header, then `parts` (offset, bytes)."""
    header_bytes = header_bytes or COMMON_BYTES + len(rest)
    size = max(offset + len(data) for offset, data in parts)
    first = parts[0][0]
    common = struct.pack(COMMON, size, header_bytes, major, minor, ip[0], ip[1], 1, ucode_bytes, first, 0)
    file = bytearray(size)
    file[:COMMON_BYTES] = common
    file[COMMON_BYTES:COMMON_BYTES + len(rest)] = rest
    for offset, data in parts:
        file[offset:offset + len(data)] = data
    return bytes(file)


def layout(*sizes, start=ALIGN):
    offsets = []
    for size in sizes:
        offsets.append(start)
        start += (size + ALIGN - 1) // ALIGN * ALIGN
    return offsets


def psp_sos():
    """psp_firmware_header_v2_0: the secure OS and its helpers, by type (enum psp_fw_type)."""
    kinds = {"SOS": 1, "SYS_DRV": 2, "KDB": 3, "TOC": 4, "SPL": 5, "RL": 6, "SOC_DRV": 7, "INTF_DRV": 8,
             "DBG_DRV": 9, "RAS_DRV": 10}
    sizes = {"SOS": 0x20000, "SYS_DRV": 0x8000, "TOC": 0x800}
    images = {k: signed(k, sizes.get(k, 0x2000)) for k in kinds}
    offsets = layout(*[len(i) for i in images.values()], start=0x200)
    rest = struct.pack("<I", len(kinds))
    for (kind, number), offset in zip(kinds.items(), offsets):
        # Offsets count from the start of the ucode array.
        rest += struct.pack("<IIII", number, 1, offset - offsets[0], len(images[kind]))
    return pack(2, 0, sum(len(i) for i in images.values()), rest, list(zip(offsets, images.values())), ip=(13, 0))


def smu():
    """smc_firmware_header_v2_1, without soft power tables."""
    image = contents("smu", 0x10000)
    return pack(2, 1, len(image), struct.pack("<III", 0, 0, 0), [(ALIGN, image)], ip=(13, 0))


def sdma():
    """sdma_firmware_header_v2_0: context and control threads."""
    context, control = contents("sdma ctx", 0x4000), contents("sdma ctl", 0x4000)
    at, ctl_at = layout(len(context), len(control))
    rest = struct.pack("<IIIIIIII", 60, len(context), 0x400, 0, ctl_at, len(control), 0x400, 0)
    return pack(2, 0, len(context) + len(control), rest, [(at, context), (ctl_at, control)], ip=(6, 0))


def mec():
    """gfx_firmware_header_v2_0: code and the stack of each pipe."""
    code, data = contents("mec", 0x20000), contents("mec stack", 0x2000)
    at, data_at = layout(len(code), len(data))
    rest = struct.pack("<IIIIIII", 29, len(code), at, len(data), data_at, 0x3000, 0)
    return pack(2, 0, len(code), rest, [(at, code), (data_at, data)])


def imu():
    """imu_firmware_header_v1_0."""
    code, data = contents("imu i", 0x8000), contents("imu d", 0x2000)
    rest = struct.pack("<IIII", len(code), ALIGN, len(data), ALIGN + len(code))
    return pack(1, 0, len(code) + len(data), rest, [(ALIGN, code + data)])


def rlc():
    """rlc_firmware_header_v2_3, which holds 2_2, 2_1 and 2_0 at its front."""
    parts = {name: contents(f"rlc {name}", size) for name, size in
             [("ucode", 0x8000), ("cntl", 0x100), ("gpm", 0x400), ("srm", 0x400), ("iram", 0x2000), ("dram", 0x2000),
              ("p", 0x1000), ("v", 0x1000)]}
    at = dict(zip(parts, layout(*[len(p) for p in parts.values()], start=0x200)))
    size = {name: len(data) for name, data in parts.items()}
    words = [29, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]  # v2_0 after the common header
    words += [0]                                                    # v2_1: list length
    for name in ("cntl", "gpm", "srm"):
        words += [1, 1, size[name], at[name]]
    words += [size["iram"], at["iram"], size["dram"], at["dram"]]   # v2_2
    for name in ("p", "v"):                                         # v2_3
        words += [1, 1, size[name], at[name]]
    rest = struct.pack(f"<{len(words)}I", *words)
    return pack(2, 3, size["ucode"], rest, [(at[name], parts[name]) for name in parts])


IMAGES = {
    "psp_13_0_0_sos.bin": psp_sos,
    "smu_13_0_0.bin": smu,
    "sdma_6_0_0.bin": sdma,
    "gc_11_0_0_mec.bin": mec,
    "gc_11_0_0_imu.bin": imu,
    "gc_11_0_0_rlc.bin": rlc,
}


def image(name):
    return IMAGES[name]()


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file_name in IMAGES:
        (folder / file_name).write_bytes(image(file_name))
