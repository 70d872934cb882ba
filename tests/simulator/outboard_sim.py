"""Runs RDNA3 machine code on liboutboard_sim through ctypes.

    code = assemble("s_endpgm")
    outcome = run(code, arguments=[numpy array, ...])

Arrays are handed to the kernel by address (GPU addresses are host addresses) and changed in place.
The library's path comes from OUTBOARD_SIM_LIBRARY."""

import ctypes
import functools
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

WAVE64, STRICT, CACHES = 1, 2, 4
DONE, MEMORY_VIOLATION, ILLEGAL_INSTRUCTION, HANG, TRAP, BAD_ARGUMENT = range(6)


class Region(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("bytes", ctypes.c_uint64),
                ("writable", ctypes.c_uint32), ("reserved", ctypes.c_uint32)]


class Launch(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint64), ("flags", ctypes.c_uint32), ("threads", ctypes.c_uint32),
                ("code", ctypes.c_void_p), ("code_bytes", ctypes.c_uint64),
                ("pgm_rsrc1", ctypes.c_uint32), ("pgm_rsrc2", ctypes.c_uint32),
                ("pgm_rsrc3", ctypes.c_uint32), ("lds_bytes", ctypes.c_uint32),
                ("scratch_bytes", ctypes.c_uint32), ("workgroups", ctypes.c_uint32 * 3),
                ("workgroup_size", ctypes.c_uint32 * 3), ("user_sgprs", ctypes.c_uint32 * 16),
                ("kernel_arguments", ctypes.c_void_p), ("regions", ctypes.POINTER(Region)),
                ("region_count", ctypes.c_uint64), ("instruction_limit", ctypes.c_uint64),
                ("name", ctypes.c_char_p)]


COUNTERS = ("workgroups waves instructions salu smem valu transcendental dot wmma lds vmem_load "
            "vmem_store vmem_atomic scratch branch barrier waitcnt other valu_lanes lds_bytes "
            "lds_bank_conflicts gl2_reads gl2_writes gl2_read_misses gl2_miss_bytes vram_read_bytes "
            "vram_write_bytes").split()


class Counters(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in COUNTERS]

    def as_dict(self):
        return {name: getattr(self, name) for name in COUNTERS}


class Result(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint64), ("status", ctypes.c_uint32), ("reserved", ctypes.c_uint32),
                ("fault_address", ctypes.c_uint64), ("violations", ctypes.c_uint64),
                ("counters", Counters), ("message", ctypes.c_char * 1024),
                ("violation_text", ctypes.c_char * 8192)]


@functools.cache
def library():
    lib = ctypes.CDLL(os.environ["OUTBOARD_SIM_LIBRARY"])
    lib.outboard_sim_run.argtypes = [ctypes.POINTER(Launch), ctypes.POINTER(Result)]
    lib.outboard_sim_disassemble.restype = ctypes.c_size_t
    return lib


@functools.cache
def assemble(text, wave64=False):
    """Machine code of assembly text, by LLVM (bytes)."""
    size = "-wavefrontsize32,+wavefrontsize64" if wave64 else "+wavefrontsize32"
    with tempfile.TemporaryDirectory() as folder:
        obj, raw = Path(folder, "a.o"), Path(folder, "a.bin")
        done = subprocess.run(["llvm-mc-19", "-triple=amdgcn-amd-amdhsa", "-mcpu=gfx1100", f"-mattr={size}",
                               "-filetype=obj", "-o", obj], input=text, text=True, capture_output=True)
        if done.returncode != 0:
            raise ValueError(done.stderr[:4000])
        subprocess.run(["llvm-objcopy-19", "-O", "binary", "--only-section=.text", obj, raw], check=True)
        return raw.read_bytes()


def rsrc1(vgprs=64, wave64=False, float_mode=0xF0, ieee=False, dx10_clamp=True):
    """compute_pgm_rsrc1: registers in units of 8 (wave32) or 4 (wave64); rounding in the low four
    bits of float_mode, denormals in the high four."""
    unit = 4 if wave64 else 8
    return (vgprs + unit - 1) // unit - 1 | float_mode << 12 | int(dx10_clamp) << 21 | int(ieee) << 23


def rsrc2(user_sgprs=2, group_ids="xyz", item_ids=3):
    """compute_pgm_rsrc2: user SGPRs, then which workgroup ids follow; item_ids 1 to 3: x, xy, xyz in v0."""
    bits = sum(1 << 7 + "xyz".index(axis) for axis in group_ids)
    return user_sgprs << 1 | bits | item_ids - 1 << 11


@dataclass
class Outcome:
    status: int
    message: str
    violations: int
    violation_text: str
    fault_address: int
    counters: dict = field(default_factory=dict)

    def rules(self):
        """Names of the rules that were broken."""
        return [line.split(":")[0] for line in self.violation_text.splitlines()]


def run(code, arguments=(), grid=(1, 1, 1), block=(32, 1, 1), *, wave64=False, strict=True, caches=False,
        threads=1, vgprs=64, lds=0, scratch=0, float_mode=0xF0, ieee=False, dx10_clamp=True, group_ids="xyz",
        user_sgprs=(), initial_sgprs=16, privileged=False, limit=10_000_000, name="kernel", check_regions=True, read_only=()):
    """Arguments: arrays (their address) or Python ints (64 bits), one after the other, 8 bytes each.
    s[0:1] points at them; user_sgprs follow from s2. The workgroup ids are the last of `initial_sgprs`
    (gfx1100 wants 16 loaded): s13 to s15 when there are three, s15 when there is one."""
    code_buffer = np.zeros(len(code) + 8192, np.uint8)
    start = -code_buffer.ctypes.data % 4096
    code_buffer[start:start + len(code)] = np.frombuffer(code, np.uint8)
    values = [a.ctypes.data if isinstance(a, np.ndarray) else int(a) for a in arguments]
    kernargs = np.array([v % 2**64 for v in values] or [0], np.uint64)
    regions = [Region(kernargs.ctypes.data, kernargs.nbytes, 0, 0)]
    for a in arguments:
        if isinstance(a, np.ndarray):
            writable = not any(a is r for r in read_only)
            regions.append(Region(a.ctypes.data, a.nbytes, int(writable), 0))
    launch = Launch(size=ctypes.sizeof(Launch), threads=threads,
                    flags=WAVE64 * wave64 | STRICT * strict | CACHES * caches,
                    code=code_buffer.ctypes.data + start, code_bytes=len(code),
                    pgm_rsrc1=rsrc1(vgprs, wave64, float_mode, ieee, dx10_clamp) | privileged << 20,
                    pgm_rsrc2=rsrc2(initial_sgprs - len(group_ids), group_ids), lds_bytes=lds, scratch_bytes=scratch,
                    kernel_arguments=kernargs.ctypes.data, instruction_limit=limit, name=name.encode())
    launch.workgroups[:] = (tuple(grid) + (1, 1))[:3]
    launch.workgroup_size[:] = (tuple(block) + (1, 1))[:3]
    launch.user_sgprs[2:2 + len(user_sgprs)] = list(user_sgprs)
    table = (Region * len(regions))(*regions)
    if check_regions:
        launch.regions, launch.region_count = table, len(regions)
    result = Result(size=ctypes.sizeof(Result))
    library().outboard_sim_run(ctypes.byref(launch), ctypes.byref(result))
    return Outcome(result.status, result.message.decode(), result.violations, result.violation_text.decode(),
                   result.fault_address, result.counters.as_dict())


def disassemble(code, address=0):
    """(size, text) of the instruction at the start of `code`; size 0: none."""
    words = np.frombuffer(code[:len(code) // 4 * 4], np.uint32)
    out = ctypes.create_string_buffer(512)
    size = library().outboard_sim_disassemble(words.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(words)),
                                              ctypes.c_uint64(address), out, ctypes.c_size_t(512))
    return size, out.value.decode()
