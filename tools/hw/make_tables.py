#!/usr/bin/env python3
"""Writes the hardware tables of src/hardware/amd/navi31 from the amdgpu headers of a Linux source tree.

    tools/hw/make_tables.py LINUX/drivers/gpu/drm/amd [OUTPUT FOLDER]

LINUX: Debian's package linux-source-6.1, unpacked. Only what a driver or the simulator uses is
written: the lists below say what. Names are the vendor's.
"""

import pathlib
import re
import sys

HEADERS = pathlib.Path(sys.argv[1])
OUTPUT = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else
                      pathlib.Path(__file__).parents[2] / "src/hardware/amd/navi31")

# Where the blocks' registers lie: dword addresses of the segments, as the discovery table of a
# 7900 XTX gives them. Origin: include/sienna_cichlid_ip_offset.h and yellow_carp_offset.h name the
# same layout for neighbouring chips; tinygrad 0.14.0, runtime/autogen/am/navi_offsets.py, confirms
# it for this one, save segment 5 of NBIO, which only yellow_carp_offset.h has.
BASES = {
    "Gc": [0x1260, 0xA000, 0x1C000, 0x02402C00],
    "Mmhub": [0x1A000, 0x02408800],
    "Mp0": [0x16000, 0x00DC0000, 0x00E00000, 0x00E40000, 0x0243FC00],
    "Mp1": [0x16000, 0x00DC0000, 0x00E00000, 0x00E40000, 0x0243FC00],
    "Nbio": [0x0, 0x14, 0xD20, 0x10400, 0x0241B000, 0x04040000],
    "Osssys": [0x10A0, 0x0240A000],
    "Hdp": [0xF20, 0x0240A400],
}

# (namespace and file, header stem, block, registers written in full, registers written by name and
# address only because a numbered sister has the same fields)
BLOCKS = [
    ("gc", "gc/gc_11_0_0", "Gc", [
        r"GRBM_(CNTL|STATUS\d?|STATUS_SE\d|GFX_CNTL|GFX_INDEX|SOFT_RESET|SCRATCH_REG0)",
        r"SCRATCH_REG[0-7]",
        r"CP_(STAT|BUSY_STAT\d?|STALLED_STAT[123]|CPC_STATUS|CPC_BUSY_STAT\d?|CPC_STALLED_STAT1|"
        r"CPF_STATUS|CPF_BUSY_STAT\d?|CPF_STALLED_STAT1)",
        r"CP_MEC_(RS64_CNTL|RS64_PRGRM_CNTR_START|RS64_PRGRM_CNTR_START_HI|DOORBELL_RANGE_(LOWER|UPPER)|"
        r"CNTL|MDBASE_LO|MDBASE_HI|DC_BASE_CNTL|DC_OP_CNTL)",
        r"CP_CPC_IC_(BASE_LO|BASE_HI|BASE_CNTL|OP_CNTL)",
        r"CP_(ME_CNTL|MES_CNTL|INT_CNTL|INT_CNTL_RING0|RB_WPTR_POLL_CNTL|PQ_STATUS|PQ_WPTR_POLL_CNTL|"
        r"PERFMON_CNTL|DEVICE_ID|MAX_CONTEXT|ME1_PIPE0_INT_CNTL|ME1_PIPE0_INT_STATUS|"
        r"VMID_RESET|VMID|PWR_CNTL|RB_DOORBELL_RANGE_(LOWER|UPPER))",
        r"CP_HQD_.*", r"CP_MQD_.*",
        r"COMPUTE_.*",
        r"SPI_(COMPUTE_QUEUE_RESET|CONFIG_CNTL|GDBG_WAVE_CNTL|WCL_PIPE_PERCENT_CS\d|COMPUTE_WF_CTX_SAVE.*)",
        r"SH_MEM_(CONFIG|BASES)", r"SQ_(DEBUG|SHADER_TBA_LO|SHADER_TBA_HI|SHADER_TMA_LO|SHADER_TMA_HI)",
        r"TCP_CNTL", r"GB_ADDR_CONFIG", r"PA_SC_ENHANCE",
        r"CC_GC_SHADER_ARRAY_CONFIG", r"GC_USER_SHADER_ARRAY_CONFIG", r"CC_RB_BACKEND_DISABLE",
        r"CC_GC_SA_UNIT_DISABLE", r"GC_USER_SA_UNIT_DISABLE",
        r"RLC_(CNTL|STAT|SAFE_MODE|SRM_CNTL|SPM_MC_CNTL|CGCG_CGLS_CTRL|CGTT_MGCG_OVERRIDE|PG_CNTL|"
        r"RLCS_BOOTLOAD_STATUS|CP_SCHEDULERS|GPM_STAT|GPU_CLOCK_COUNT_LSB|GPU_CLOCK_COUNT_MSB|"
        r"CAPTURE_GPU_CLOCK_COUNT|REFCLOCK_TIMESTAMP_LSB|REFCLOCK_TIMESTAMP_MSB|UCODE_CNTL|MAX_PG_CU|"
        r"JUMP_TABLE_RESTORE|CGCG_RAMP_CTRL|DYN_PG_REQUEST|INT_STAT)",
        r"GFX_IMU_(CORE_CTRL|CORE_STATUS|GFX_RESET_CTRL|SCRATCH_\d|C2PMSG_(16|ACCESS_CTRL\d)|I_RAM_ADDR|"
        r"I_RAM_DATA|D_RAM_ADDR|D_RAM_DATA)",
        r"GCVM_(L2|CONTEXT0|CONTEXT1|CONTEXTS_DISABLE|INVALIDATE_ENG0|INVALIDATE_ENG1|INVALIDATE_CNTL).*",
        r"GCMC_VM_.*", r"GCUTCL2_.*",
        r"SDMA0_(QUEUE0_.*|CNTL\d?|F32_CNTL|WATCHDOG_CNTL|UTCL1_.*|STATUS.*REG|CHICKEN_BITS\d?|"
        r"GB_ADDR_CONFIG.*|RLC_CGCG_CTRL|GLOBAL_QUANTUM|TIMESTAMP_CNTL|POWER_CNTL|CLOCK_GATING_STATUS|"
        r"UCODE_(ADDR|DATA|SELFLOAD_CONTROL)|BROADCAST_UCODE_(ADDR|DATA)|VERSION|ID|HOLE_ADDR.*|FREEZE|"
        r"GLOBAL_TIMESTAMP.*|RB_RPTR_FETCH.*|SEM_WAIT_FAIL_TIMER_CNTL|PROCESS_QUANTUM\d|ERROR_LOG)",
        r"SDMA1_(QUEUE0_.*|CNTL\d?|F32_CNTL|WATCHDOG_CNTL|UTCL1_.*|STATUS.*REG|RLC_CGCG_CTRL|"
        r"CHICKEN_BITS\d?|GLOBAL_QUANTUM)",
    ], [
        r"GCVM_(CONTEXT([2-9]|1[0-5])|INVALIDATE_ENG([2-9]|1\d))_.*",
        r"SDMA[01]_QUEUE[1-7]_.*",
    ]),
    ("mmhub", "mmhub/mmhub_3_0_0", "Mmhub", [
        r"MMVM_(L2|CONTEXT0|CONTEXT1|CONTEXTS_DISABLE|INVALIDATE_ENG0|INVALIDATE_ENG1|INVALIDATE_CNTL).*",
        r"MMMC_VM_.*", r"MM_ATC_L2_MISC_CG", r"MMUTCL2_.*", r"DAGB\d_CNTL_MISC2",
    ], [r"MMVM_(CONTEXT([2-9]|1[0-5])|INVALIDATE_ENG([2-9]|1\d))_.*"]),
    ("mp", "mp/mp_13_0_0", "Mp0", [r"MP[01]_SMN_C2PMSG_\d+", r"MP1_SMN_EXT_SCRATCH\d", r"MP0_SMN_IH_.*"], []),
    ("nbio", "nbio/nbio_4_3_0", "Nbio", [
        r"BIF_BX0_(PCIE_(INDEX2|DATA2|INDEX2_HI)|BIF_DOORBELL_INT_CNTL|BIF_FB_EN|REMAP_HDP_(MEM|REG)_FLUSH_CNTL|"
        r"BIF_DOORBELL_CNTL|INTERRUPT_CNTL2?)",
        r"BIF_BX_PF0_(MM_INDEX|MM_DATA|MM_INDEX_HI|RSMU_INDEX|RSMU_DATA|RSMU_INDEX_HI|GPU_HDP_FLUSH_REQ|"
        r"GPU_HDP_FLUSH_DONE|HDP_MEM_COHERENCY_FLUSH_CNTL|HDP_REG_COHERENCY_FLUSH_CNTL|"
        r"DOORBELL_SELFRING_GPA_APER_(BASE_HIGH|BASE_LOW|CNTL))",
        r"RCC_DEV0_EPF0_RCC_(DOORBELL_APER_EN|CONFIG_MEMSIZE|CONFIG_RESERVED)",
        r"RCC_DEV0_EPF0_STRAP0", r"RCC_DEV0_EPF2_STRAP2", r"S2A_DOORBELL_ENTRY_\d+_CTRL",
    ], []),
    ("osssys", "oss/osssys_6_0_0", "Osssys", [r"IH_.*"], []),
    ("hdp", "hdp/hdp_6_0_0", "Hdp", [
        r"HDP_(MEM_POWER_CTRL|MISC_CNTL|NONSURFACE_.*|HOST_PATH_CNTL|CLK_CNTL|VERSION)",
    ], []),
]

ORIGIN = """// Generated by tools/hw/make_tables.py; do not edit. Regenerate with
//   tools/hw/make_tables.py LINUX/drivers/gpu/drm/amd
// Origin: Linux 6.1 (Debian linux-source-6.1), drivers/gpu/drm/amd: %s.
// Names and values are AMD's.
"""


def text(path):
    return (HEADERS / path).read_text(errors="replace")


def number(literal):
    return int(re.sub(r"[uUlL]+$", "", literal), 0)


def write(name, lines):
    (OUTPUT / name).write_text("\n".join(lines).rstrip("\n") + "\n")


def header(origin, includes=('<cstdint>',)):
    return [ORIGIN % origin + "#pragma once", "",
            "// NOLINTBEGIN(bugprone-reserved-identifier): the vendor's names hold double underscores.", "", *[f"#include {i}" for i in includes], "",
            "namespace outboard::hardware::amd::navi31 {", ""]


NAMESPACE_END = ["", "}  // namespace outboard::hardware::amd::navi31"]
FOOTER = NAMESPACE_END + ["", "// NOLINTEND(bugprone-reserved-identifier)"]


# ---- registers ---------------------------------------------------------------------------------

def parse_registers(stem):
    offsets = dict(re.findall(r"#define\s+reg(\w+?)\s+(0x[0-9a-fA-F]+)", text(f"include/asic_reg/{stem}_offset.h")))
    segments = dict(re.findall(r"#define\s+reg(\w+)_BASE_IDX\s+(\d+)", text(f"include/asic_reg/{stem}_offset.h")))
    masks = {}
    for reg, field, value in re.findall(r"#define\s+(\w+?)__(\w+)_MASK\s+(0x[0-9A-Fa-f]+)L?",
                                        text(f"include/asic_reg/{stem}_sh_mask.h")):
        masks.setdefault(reg, []).append((field, number(value)))
    defaults = {}
    path = HEADERS / f"include/asic_reg/{stem}_default.h"
    if path.exists():
        defaults = dict(re.findall(r"#define\s+reg(\w+)_DEFAULT\s+(0x[0-9a-fA-F]+)", path.read_text()))
    result = {}
    for name, offset in offsets.items():
        if name in segments:
            result[name] = (int(segments[name]), number(offset), masks.get(name, []),
                            number(defaults.get(name, "0")))
    return result


def registers():
    table = []
    for space, stem, block, full, by_name in BLOCKS:
        regs = parse_registers(stem)
        full_re = re.compile("|".join(f"(?:{p})" for p in full))
        name_re = re.compile("|".join(f"(?:{p})" for p in by_name)) if by_name else None
        lines = header(f"include/asic_reg/{stem}_{{offset,sh_mask}}.h", ('"hardware/amd/navi31/register.h"',))
        lines += [f"namespace {space} {{", ""]
        for name, (segment, offset, fields, default) in regs.items():
            in_full = full_re.fullmatch(name)
            if not in_full and not (name_re and name_re.fullmatch(name)):
                continue
            ip = "Mp1" if name.startswith("MP1_") else block
            table.append((name, ip, segment, offset, default))
            if not in_full:
                continue
            lines.append(f"struct {name} : Register<Ip::k{ip}, {segment}, {offset:#x}> {{")
            for field, mask in fields:
                shift = (mask & -mask).bit_length() - 1
                field += "_" if field == name else ""
                lines.append(f"  static constexpr Field {field}{{{mask:#x}, {shift}}};")
            lines.append("};")
        lines += ["", f"}}  // namespace {space}"]
        write(f"{space}.h", lines + FOOTER)

    lines = [ORIGIN % "include/asic_reg" + '#include "hardware/amd/navi31/register.h"', "",
             "namespace outboard::hardware::amd::navi31 {", "", "namespace {", "",
             "constexpr RegisterInfo kRegisters[] = {"]
    for name, ip, segment, offset, default in table:
        lines.append(f'    {{"{name}", address_of(Ip::k{ip}, {segment}, {offset:#x}), {default:#x}}},')
    lines += ["};", "", "}  // namespace", "",
              "std::span<const RegisterInfo> registers() { return kRegisters; }"]
    write("registers.cpp", lines + NAMESPACE_END)

    lines = header("see BASES in the script for the origin of each line", ("<array>", "<cstdint>"))
    lines += ["// Dword addresses of a block's register segments.",
              "enum class Ip : uint8_t { " + ", ".join(f"k{ip}" for ip in BASES) + " };",
              f"inline constexpr std::array<std::array<uint32_t, 6>, {len(BASES)}> kIpBases = {{{{"]
    for ip, segs in BASES.items():
        lines.append("    {" + ", ".join(f"{s:#x}" for s in segs + [0] * (6 - len(segs))) + f"}},  // {ip}")
    lines += ["}};", "// How many segments a block has.",
              f"inline constexpr std::array<uint8_t, {len(BASES)}> kIpSegments = {{{{" +
              ", ".join(str(len(s)) for s in BASES.values()) + "}};"]
    write("ip_bases.h", lines + FOOTER)


# ---- PM4 ---------------------------------------------------------------------------------------

# Fields of packets: (packet, [(dword, name, shift, bits)]). The shifts are those of the macros and
# comments of nvd.h (and, for RELEASE_MEM, WRITE_DATA, COPY_DATA, of amdkfd/kfd_pm4_headers_ai.h,
# gfx_v11_0.c and tinygrad's ops_amd.py, which use them); nvd.h gives no widths, these are the
# distances to the next field. dword 0 is the header.
PM4_FIELDS = {
    "Header": [(0, "PREDICATE", 0, 1), (0, "SHADER_TYPE", 1, 1), (0, "OPCODE", 8, 8), (0, "COUNT", 16, 14),
               (0, "TYPE", 30, 2)],
    "SetReg": [(1, "REG_OFFSET", 0, 16), (1, "INDEX", 28, 4)],
    "DispatchDirect": [(1, "DIM_X", 0, 32), (2, "DIM_Y", 0, 32), (3, "DIM_Z", 0, 32), (4, "INITIATOR", 0, 32)],
    "DispatchIndirect": [(1, "ADDR_LO", 0, 32), (2, "ADDR_HI", 0, 32), (3, "INITIATOR", 0, 32)],
    "IndirectBuffer": [(1, "IB_BASE_LO", 0, 32), (2, "IB_BASE_HI", 0, 16), (3, "IB_SIZE", 0, 20),
                       (3, "CHAIN", 20, 1), (3, "PRE_ENA", 21, 1), (3, "VALID", 23, 1), (3, "VMID", 24, 4)],
    "WaitRegMem": [(1, "FUNCTION", 0, 3), (1, "MEM_SPACE", 4, 2), (1, "OPERATION", 6, 2), (1, "ENGINE", 8, 2),
                   (2, "POLL_ADDR_LO", 0, 32), (3, "POLL_ADDR_HI", 0, 32), (4, "REFERENCE", 0, 32),
                   (5, "MASK", 0, 32), (6, "POLL_INTERVAL", 0, 16)],
    "WriteData": [(1, "DST_SEL", 8, 4), (1, "WR_ONE_ADDR", 16, 1), (1, "WR_CONFIRM", 20, 1),
                  (1, "CACHE_POLICY", 25, 2), (1, "ENGINE_SEL", 30, 2), (2, "DST_ADDR_LO", 0, 32),
                  (3, "DST_ADDR_HI", 0, 32)],
    "CopyData": [(1, "SRC_SEL", 0, 4), (1, "DST_SEL", 8, 4), (1, "COUNT_SEL", 16, 1), (1, "WR_CONFIRM", 20, 1),
                 (1, "ENGINE_SEL", 30, 2), (2, "SRC_ADDR_LO", 0, 32), (3, "SRC_ADDR_HI", 0, 32),
                 (4, "DST_ADDR_LO", 0, 32), (5, "DST_ADDR_HI", 0, 32)],
    "EventWrite": [(1, "EVENT_TYPE", 0, 6), (1, "EVENT_INDEX", 8, 4)],
    "ReleaseMem": [(1, "EVENT_TYPE", 0, 6), (1, "EVENT_INDEX", 8, 4), (1, "GCR_GLM_WB", 12, 1),
                   (1, "GCR_GLM_INV", 13, 1), (1, "GCR_GLV_INV", 14, 1), (1, "GCR_GL1_INV", 15, 1),
                   (1, "GCR_GL2_US", 16, 1), (1, "GCR_GL2_RANGE", 17, 2), (1, "GCR_GL2_DISCARD", 19, 1),
                   (1, "GCR_GL2_INV", 20, 1), (1, "GCR_GL2_WB", 21, 1), (1, "GCR_SEQ", 22, 2),
                   (1, "CACHE_POLICY", 25, 2), (1, "EXECUTE", 28, 1), (2, "DST_SEL", 16, 2),
                   (2, "INT_SEL", 24, 3), (2, "DATA_SEL", 29, 3), (3, "ADDRESS_LO", 0, 32),
                   (4, "ADDRESS_HI", 0, 32), (5, "DATA_LO", 0, 32), (6, "DATA_HI", 0, 32), (7, "INT_CTXID", 0, 28)],
    "AcquireMem": [(2, "COHER_SIZE", 0, 32), (3, "COHER_SIZE_HI", 0, 8), (4, "COHER_BASE_LO", 0, 32),
                   (5, "COHER_BASE_HI", 0, 24), (6, "POLL_INTERVAL", 0, 16), (7, "GCR_GLI_INV", 0, 2),
                   (7, "GCR_GL1_RANGE", 2, 2), (7, "GCR_GLM_WB", 4, 1), (7, "GCR_GLM_INV", 5, 1),
                   (7, "GCR_GLK_WB", 6, 1), (7, "GCR_GLK_INV", 7, 1), (7, "GCR_GLV_INV", 8, 1),
                   (7, "GCR_GL1_INV", 9, 1), (7, "GCR_GL2_US", 10, 1), (7, "GCR_GL2_RANGE", 11, 2),
                   (7, "GCR_GL2_DISCARD", 13, 1), (7, "GCR_GL2_INV", 14, 1), (7, "GCR_GL2_WB", 15, 1),
                   (7, "GCR_SEQ", 16, 2), (7, "GCR_RANGE_IS_PA", 18, 1)],
    "DmaData": [(1, "ENGINE", 0, 1), (1, "SRC_CACHE_POLICY", 13, 2), (1, "DST_SEL", 20, 2),
                (1, "DST_CACHE_POLICY", 25, 2), (1, "SRC_SEL", 29, 2), (1, "CP_SYNC", 31, 1),
                (2, "SRC_ADDR_LO", 0, 32), (3, "SRC_ADDR_HI", 0, 32), (4, "DST_ADDR_LO", 0, 32),
                (5, "DST_ADDR_HI", 0, 32), (6, "BYTE_COUNT", 0, 26), (6, "SAS", 26, 1), (6, "DAS", 27, 1),
                (6, "SAIC", 28, 1), (6, "DAIC", 29, 1), (6, "RAW_WAIT", 30, 1)],
    "AtomicMem": [(1, "ATOMIC", 0, 7), (1, "COMMAND", 8, 4), (1, "CACHE_POLICY", 25, 2), (1, "ENGINE_SEL", 30, 2),
                  (2, "ADDR_LO", 0, 32), (3, "ADDR_HI", 0, 32), (4, "SRC_DATA_LO", 0, 32),
                  (5, "SRC_DATA_HI", 0, 32), (6, "CMP_DATA_LO", 0, 32), (7, "CMP_DATA_HI", 0, 32),
                  (8, "LOOP_INTERVAL", 0, 13)],
    "CondExec": [(1, "ADDR_LO", 0, 32), (2, "ADDR_HI", 0, 32), (4, "EXEC_COUNT", 0, 14)],
    "PredExec": [(1, "EXEC_COUNT", 0, 14), (1, "DEVICE_SELECT", 24, 8)],
}
EVENTS = ["CACHE_FLUSH_TS", "CACHE_FLUSH", "CS_PARTIAL_FLUSH", "CACHE_FLUSH_AND_INV_TS_EVENT",
          "CACHE_FLUSH_AND_INV_EVENT", "PERFCOUNTER_START", "PERFCOUNTER_STOP", "PERFCOUNTER_SAMPLE",
          "THREAD_TRACE_MARKER", "BOTTOM_OF_PIPE_TS", "CS_DONE"]
ATOMICS = r"TC_OP_ATOMIC_(?:SWAP|CMPSWAP|ADD|SUB|SMIN|UMIN|SMAX|UMAX|AND|OR|XOR|INC|DEC)(?:_RTN)?_(?:32|64)"


def field_structs(packets):
    lines = []
    for packet, fields in packets.items():
        lines.append(f"struct {packet} {{")
        for dword, name, shift, bits in fields:
            mask = ((1 << bits) - 1) << shift
            lines.append(f"  static constexpr PacketField {name}{{{dword}, {{{mask:#x}, {shift}}}}};")
        lines.append("};")
    return lines


def pm4():
    nvd = text("amdgpu/nvd.h")
    lines = header("amdgpu/nvd.h, include/soc21_enum.h, amdkfd/kfd_pm4_headers_ai.h",
                   ('"hardware/amd/navi31/register.h"',)) + ["namespace pm4 {", "",
                   "// Opcodes of type 3 packets."]
    seen = set()
    for name, value in re.findall(r"#\s*define\s+PACKET3_(\w+)\s+(0x[0-9A-Fa-f]{2})\b", nvd):
        if number(value) not in seen:
            seen.add(number(value))
            lines.append(f"inline constexpr uint8_t {name} = {value};")
    lines += ["", "// Dword ranges that the SET_* packets reach."]
    for name, value in re.findall(r"#\s*define\s+PACKET3_(SET_(?:SH|UCONFIG|CONFIG|CONTEXT)_REG_(?:START|END))\s+(0x[0-9A-Fa-f]+)", nvd):
        lines.append(f"inline constexpr uint32_t {name} = {value};")
    enum = text("include/soc21_enum.h")
    lines += ["", "// Event types (VGT_EVENT_TYPE)."]
    for name, value in re.findall(r"^(\w+)\s+= (0x[0-9a-fA-F]+),", enum, re.M):
        if name in EVENTS:
            lines.append(f"inline constexpr uint32_t {name} = {value};")
    found = re.findall(rf"^({ATOMICS})\s+= (0x[0-9a-fA-F]+),", enum, re.M)
    if found:
        lines += ["", "// ATOMIC_MEM operations (TC_OP)."]
        lines += [f"inline constexpr uint32_t {name} = {value};" for name, value in found]
    lines += ["", "// Header and body, by dword."] + field_structs(PM4_FIELDS)
    lines += ["", "}  // namespace pm4"]
    write("pm4.h", lines + FOOTER)


# ---- SDMA --------------------------------------------------------------------------------------

SDMA_PACKETS = ["NOP", "COPY_LINEAR", "WRITE_UNTILED", "CONSTANT_FILL", "FENCE", "TRAP", "POLL_REGMEM",
                "TIMESTAMP_GET", "TIMESTAMP_GET_GLOBAL", "TIMESTAMP_SET", "INDIRECT", "COND_EXE", "ATOMIC",
                "GCR_REQ", "SRBM_WRITE", "PRE_EXE", "POLL_MEM_VERIFY", "VM_INVALIDATION"]


def sdma():
    source = text("amdgpu/sdma_v6_0_0_pkt_open.h")
    lines = header("amdgpu/sdma_v6_0_0_pkt_open.h", ('"hardware/amd/navi31/register.h"',)) + ["namespace sdma {", ""]
    for name, value in re.findall(r"#define SDMA_((?:SUB)?OP_\w+)\s+(\d+)", source):
        lines.append(f"inline constexpr uint8_t {name} = {value};")
    lines.append("")
    for packet in SDMA_PACKETS:
        name = "".join(p.capitalize() for p in packet.split("_"))
        parts = re.findall(rf"#define SDMA_PKT_{packet}_(\w+)_offset\s+(\d+)\n#define SDMA_PKT_{packet}_\w+_mask\s+(0x[0-9A-Fa-f]+)\n"
                           rf"#define SDMA_PKT_{packet}_\w+_shift\s+(\d+)", source)
        if not parts:
            raise SystemExit(f"no fields for SDMA packet {packet}")
        lines.append(f"struct {name} {{")
        for field, dword, mask, shift in parts:
            if re.match(r"BC_|SUBWIN", field):
                continue  # another packet whose name goes on from this one's
            lines.append(f"  static constexpr PacketField {field}{{{dword}, {{{number(mask) << int(shift):#x}, {shift}}}}};")
        lines.append("};")
    lines += ["", "}  // namespace sdma"]
    write("sdma_packets.h", lines + FOOTER)


# ---- C structs ---------------------------------------------------------------------------------

SIZES = {"uint8_t": 1, "uint16_t": 2, "uint32_t": 4, "uint64_t": 8, "int32_t": 4, "int16_t": 2, "int8_t": 1,
         "float": 4}


class Structs:
    """Reads the plain C structs of a header and writes them as packed C++ structs with their size."""

    def __init__(self, source, constants=()):
        source = re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.S)
        source = re.sub(r"#if defined\(__BIG_ENDIAN\).*?#else(.*?)#endif", r"\1", source, flags=re.S)
        self.source, self.sizes, self.constants = source, dict(SIZES), dict(constants)

    def body(self, name):
        match = (re.search(rf"\b(?:struct|union)\s+{name}\s*\{{", self.source) or None)
        if match:
            start = match.end()
        else:  # typedef struct { ... } name;
            end = re.search(rf"\}}\s*{name}\s*;", self.source)
            if not end:
                raise SystemExit(f"no struct {name}")
            depth, i = 1, end.start() - 1
            while depth:
                depth += {"}": 1, "{": -1}.get(self.source[i], 0)
                i -= 1
            start = i + 2
        depth, i = 1, start
        while depth:
            depth += {"{": 1, "}": -1}.get(self.source[i], 0)
            i += 1
        return self.source[start:i - 1], match and match.group(0).startswith("union")

    def evaluate(self, expression):
        expression = re.sub(r"sizeof\(\s*(?:struct|union)?\s*(\w+)\s*\)", lambda m: str(self.sizes[m[1]]), expression)
        expression = re.sub(r"[A-Z_][A-Z_0-9]+", lambda m: str(self.constants[m[0]]), expression)
        return eval(expression.replace("/", "//"))  # an array length from a kernel header

    def members(self, body, indent):
        """Returns (lines, bytes) of a struct's body."""
        lines, bits, largest, total_bits = [], 0, 0, 0
        sizes = []
        i = 0
        while True:
            match = re.compile(r"\s*(struct|union)\s*(\w*)\s*\{").match(body, i)
            if match:
                depth, j = 1, match.end()
                while depth:
                    depth += {"{": 1, "}": -1}.get(body[j], 0)
                    j += 1
                inner, size, member_sizes = self.members(body[match.end():j - 1], indent + "  ")
                end = body.index(";", j)
                name = body[j:end].strip()
                size = max(member_sizes) if match[1] == "union" else size
                if not name:
                    raise_name = "u" if match[1] == "union" else "s"
                    name = raise_name
                lines += [f"{indent}{match[1]} {{", *inner, f"{indent}}} {name};"]
                sizes.append(size)
                i = end + 1
                continue
            end = body.find(";", i)
            if end < 0:
                break
            member = " ".join(body[i:end].split())
            i = end + 1
            if not member or member.startswith("#"):
                continue
            member = re.sub(r"^(volatile )", "", member)
            m = re.fullmatch(r"(?:(struct|enum|union) )?(\w+) (\w+) ?((?:\[[^\]]*\] ?)*)(?:: ?(\d+))?", member)
            if not m:
                raise SystemExit(f"cannot read member: {member}")
            kind, ctype, name, dims, width = m.groups()
            if kind == "enum":
                ctype = "uint32_t"
            if width:
                lines.append(f"{indent}{ctype} {name} : {width};")
                bits += int(width)
                if bits % 8 == 0:
                    sizes.append(bits // 8)
                    bits = 0
                continue
            count, suffix = 1, ""
            for d in re.findall(r"\[([^\]]*)\]", dims or ""):
                if not d.strip():
                    count = 0  # flexible array: not written
                    continue
                n = self.evaluate(d)
                count *= n
                suffix += f"[{n}]"
            if count == 0:
                continue
            size = self.sizes[ctype]
            name += "_" if name == ctype else ""
            lines.append(f"{indent}{ctype} {name}{suffix};")
            sizes.append(size * count)
        return lines, sum(sizes), sizes

    def write(self, name, kind=None):
        body, is_union = self.body(name)
        lines, size, sizes = self.members(body, "  ")
        size = max(sizes) if is_union else size
        self.sizes[name] = size
        return [f"{'union' if is_union else 'struct'} {name} {{", *lines, "};",
                f"static_assert(sizeof({name}) == {size});", ""]


def packed(lines):
    return ["#pragma pack(push, 1)", *lines, "#pragma pack(pop)"]


def enumerators(source, pattern, kind="uint32_t"):
    """Constants of an enum or of #defines whose names match, with implied values counted on."""
    source = re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.S)
    values = {}
    for body in re.findall(r"enum\s*\w*\s*\{(.*?)\}", source, re.S):
        value = -1
        for item in body.split(","):
            item = item.strip()
            if not item or item.startswith("#"):
                continue
            name, _, given = (p.strip() for p in item.partition("="))
            if given:
                try:
                    value = values[given] if given in values else number(given)
                except ValueError:
                    continue
            else:
                value += 1
            values[name] = value
    for name, value in re.findall(r"#define\s+(\w+)\s+(0x[0-9A-Fa-f]+|\d+)[UL]*\s*$", source, re.M):
        values[name] = number(value)
    lines = []
    for name, value in values.items():
        if re.fullmatch(pattern, name):
            lines.append(f"inline constexpr {kind} {name} = {value:#x};")
    if not lines:
        raise SystemExit(f"nothing matches {pattern}")
    return lines


def psp():
    interface, boot, ucode = text("amdgpu/psp_gfx_if.h"), text("amdgpu/amdgpu_psp.h"), text("amdgpu/amdgpu_ucode.h")
    structs = Structs(interface, {"GFX_BUF_MAX_DESC": 64})
    lines = header("amdgpu/psp_gfx_if.h, amdgpu_psp.h, amdgpu_ucode.h") + ["namespace psp {", ""]
    lines += ["// Commands of the boot loader (C2PMSG_35)."] + enumerators(boot, r"PSP_BL__\w+")
    lines += ["", "// Kinds of rings."] + enumerators(boot, r"PSP_RING_TYPE__\w+")
    lines += ["", "// Commands of the control register (C2PMSG_64)."] + enumerators(interface, r"GFX_CTRL_CMD_ID_\w+|GFX_FLAG_RESPONSE|GFX_CMD_STATUS_MASK|GFX_CMD_ID_MASK|GFX_CMD_RESPONSE_MASK")
    lines += ["", "// Commands of the ring."] + enumerators(interface, r"GFX_CMD_ID_(?!MASK)\w+")
    lines += ["", "// Answers."] + enumerators(interface, r"PSP_ERR_\w+|TEE_\w+")
    lines += ["", "// Firmware types of LOAD_IP_FW."] + enumerators(interface, r"GFX_FW_TYPE_\w+")
    lines += ["", "// Parts of the sos image."] + enumerators(ucode, r"PSP_FW_TYPE_\w+")
    body = []
    for name in ["psp_gfx_cmd_load_ta", "psp_gfx_cmd_unload_ta", "psp_gfx_buf_desc", "psp_gfx_buf_list",
                 "psp_gfx_cmd_invoke_cmd", "psp_gfx_cmd_setup_tmr", "psp_gfx_cmd_load_ip_fw",
                 "psp_gfx_cmd_save_restore_ip_fw", "psp_gfx_cmd_reg_prog", "psp_gfx_cmd_load_toc",
                 "psp_gfx_cmd_boot_cfg", "psp_gfx_commands", "psp_gfx_uresp_reserved",
                 "psp_gfx_uresp_fwar_db_info", "psp_gfx_uresp_bootcfg", "psp_gfx_uresp", "psp_gfx_resp",
                 "psp_gfx_cmd_resp", "psp_gfx_rb_frame"]:
        body += structs.write(name)
    write("psp.h", lines + [""] + packed(body) + ["", "}  // namespace psp"] + FOOTER)

    structs = Structs(ucode)
    body = []
    for name in ["common_firmware_header", "smc_firmware_header_v1_0", "smc_firmware_header_v2_0",
                 "smc_soft_pptable_entry", "smc_firmware_header_v2_1", "psp_fw_bin_desc",
                 "psp_firmware_header_v2_0", "gfx_firmware_header_v1_0", "gfx_firmware_header_v2_0",
                 "rlc_firmware_header_v2_0", "rlc_firmware_header_v2_1", "rlc_firmware_header_v2_2",
                 "rlc_firmware_header_v2_3", "sdma_firmware_header_v1_0", "sdma_firmware_header_v2_0",
                 "imu_firmware_header_v1_0"]:
        body += structs.write(name)
    write("ucode.h", header("amdgpu/amdgpu_ucode.h") + ["// Headers of firmware files.",
          "namespace ucode {", ""] + packed(body) + ["", "}  // namespace ucode"] + FOOTER)


def discovery():
    source = text("include/discovery.h")
    structs = Structs(source, {"TOTAL_TABLES": 6})
    lines = header("include/discovery.h, include/soc15_hw_ip.h, amdgpu/amdgpu_discovery.h") + ["namespace discovery {", ""]
    lines += enumerators(source, r"\w+_SIGNATURE|\w+_TABLE_ID|IP_DISCOVERY|GC|HARVEST_INFO|VCN_INFO|MALL_INFO|TOTAL_TABLES")
    lines += ["", "// Where the table lies: bytes before the end of VRAM, and its size."]
    for name, expression in re.findall(r"#define (DISCOVERY_TMR_\w+)\s+\((.*?)\)", text("amdgpu/amdgpu_discovery.h")):
        lines.append(f"inline constexpr uint32_t {name} = {eval(expression):#x};")
    lines += ["", "// Hardware ids."] + enumerators(text("include/soc15_hw_ip.h"), r"(MP[01]|THM|SMUIO|FUSE|CLKA|GC|VCN|UVD|DMU|MMHUB|ATHUB|OSSSYS|HDP|SDMA[01]|DF|PCIE|NBIF|UMC|LSDMA)_HWID")
    body = []
    for name in ["table_info", "binary_header", "die_info", "ip_discovery_header", "ip_v3", "die_header",
                 "gpu_info_header", "gc_info_v1_0", "gc_info_v1_1", "gc_info_v1_2", "gc_info_v2_0", "harvest_info_header",
                 "harvest_info", "harvest_table", "mall_info_header", "mall_info_v1_0"]:
        body += structs.write(name)
    write("discovery.h", lines + [""] + packed(body) + ["", "}  // namespace discovery"] + FOOTER)


def smu():
    messages = text("pm/swsmu/inc/pmfw_if/smu_v13_0_0_ppsmc.h")
    interface = text("pm/swsmu/inc/pmfw_if/smu13_driver_if_v13_0_0.h")
    lines = header("pm/swsmu/inc/pmfw_if/{smu_v13_0_0_ppsmc.h,smu13_driver_if_v13_0_0.h}") + ["namespace smu {", ""]
    lines += enumerators(messages, r"PPSMC_\w+|DEBUGSMC_\w+")
    lines += ["", "// Clocks, tables, features."] + enumerators(interface, r"PPCLK_\w+|TABLE_\w+|FEATURE_\w+_BIT|SVI_PLANE_COUNT|TEMP_COUNT|THROTTLER_COUNT")
    lines += enumerators(text("pm/swsmu/inc/smu_v13_0.h"), r"SMU13_DRIVER_IF_VERSION_SMU_V13_0_0_0")
    constants = {}
    for line in enumerators(interface, r"\w+"):
        name, value = re.match(r"inline constexpr uint32_t (\w+) = (\w+);", line).groups()
        constants[name] = number(value)
    structs = Structs(interface, constants)
    body = structs.write("SmuMetrics_t")
    write("smu.h", lines + [""] + packed(body) + ["", "}  // namespace smu"] + FOOTER)


def mqd():
    structs = Structs(text("include/v11_structs.h"))
    body = structs.write("v11_compute_mqd") + structs.write("v11_sdma_mqd")
    write("mqd.h", header("include/v11_structs.h") + ["// Memory queue descriptors.", "namespace mqd {", ""] +
          packed(body) + ["", "}  // namespace mqd"] + FOOTER)


# Entry of the interrupt ring. Origin: amdkfd/soc15_int.h (SOC15_*_FROM_IH_ENTRY), amdgpu/amdgpu_ih.c
# (amdgpu_ih_decode_iv_helper) for the timestamp.
IH_ENTRY = [(0, "CLIENT_ID", 0, 8), (0, "SOURCE_ID", 8, 8), (0, "RING_ID", 16, 8), (0, "VMID", 24, 4),
            (0, "VMID_TYPE", 31, 1), (1, "TIMESTAMP_LO", 0, 32), (2, "TIMESTAMP_HI", 0, 16), (2, "TIMESTAMP_SRC", 31, 1),
            (3, "PASID", 0, 16), (3, "NODE_ID", 16, 8), (4, "CONTEXT_ID0", 0, 32), (5, "CONTEXT_ID1", 0, 32),
            (6, "CONTEXT_ID2", 0, 32), (7, "CONTEXT_ID3", 0, 32)]


# Interrupt data of the shader (SQ) for an error. Origin: amdkfd/soc15_int.h and kfd_int_process_v9.c
# for the encoding types; bit places of GC 11: tinygrad 0.14.0, runtime/support/am/ip.py.
SQ_INTERRUPT = [(0, "ERROR_TYPE", 21, 4), (1, "ENCODING", 6, 2)]

# Page table entries. Origin: amdgpu/amdgpu_vm.h (AMDGPU_PTE_*, AMDGPU_PDE_PTE).
PTE = [("VALID", 0, 1), ("SYSTEM", 1, 1), ("SNOOPED", 2, 1), ("TMZ", 3, 1), ("EXECUTABLE", 4, 1),
       ("READABLE", 5, 1), ("WRITEABLE", 6, 1), ("FRAG", 7, 5), ("ADDRESS", 12, 36), ("MTYPE", 48, 3),
       ("PRT", 51, 1), ("PDE_PTE", 54, 1), ("LOG", 55, 1), ("TF", 56, 1), ("NOALLOC", 58, 1)]


def interrupts():
    lines = header("include/soc15_ih_clientid.h, include/ivsrcid, amdkfd/soc15_int.h",
                   ('"hardware/amd/navi31/register.h"',)) + ["namespace ih {", ""]
    lines += enumerators(text("include/soc15_ih_clientid.h"), r"SOC21_IH_CLIENTID_(?!MAX)\w+", "uint8_t")
    lines += enumerators(text("include/ivsrcid/gfx/irqsrcs_gfx_11_0_0.h"), r"GFX_11_0_0__SRCID__\w+", "uint8_t")
    lines += enumerators(text("include/ivsrcid/nbio/irqsrcs_nbif_7_4.h"),
                         r"NBIF_7_4__SRCID__(RAS_CONTROLLER|ERREVENT_ATHUB)_INTERRUPT", "uint8_t")
    lines += ["", "// An entry of the ring: eight dwords."] + field_structs({"Entry": IH_ENTRY})
    lines += ["", "// Context words 0 and 1 of SQ_INTERRUPT_ID."] + field_structs({"SqInterrupt": SQ_INTERRUPT})
    lines += ["", "}  // namespace ih"]
    write("interrupts.h", lines + FOOTER)

    lines = header("amdgpu/amdgpu_vm.h, include/soc21_enum.h", ('"hardware/amd/navi31/register.h"',)) + [
        "// Page directory and page table entries.", "namespace pte {", ""]
    for name, shift, bits in PTE:
        lines.append(f"inline constexpr Field64 {name}{{{((1 << bits) - 1) << shift:#x}, {shift}}};")
    lines += ["", "// Memory types of an entry (MTYPE)."]
    for name, value in re.findall(r"^(MTYPE_\w+)\s+= (0x[0-9a-fA-F]+),", text("include/soc21_enum.h"), re.M):
        lines.append(f"inline constexpr uint32_t {name} = {value};")
    lines += ["", "}  // namespace pte"]
    write("page_table.h", lines + FOOTER)

    lines = header("amdgpu/amdgpu_doorbell.h") + ["// Doorbells: numbers of 64-bit slots.", "namespace doorbell {", ""]
    lines += enumerators(text("amdgpu/amdgpu_doorbell.h"), r"AMDGPU_NAVI10_DOORBELL\w+")
    lines += ["", "}  // namespace doorbell"]
    write("doorbells.h", lines + FOOTER)


if __name__ == "__main__":
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for step in (registers, pm4, sdma, psp, discovery, smu, mqd, interrupts):
        step()
