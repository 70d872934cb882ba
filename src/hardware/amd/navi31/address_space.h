// How memory is addressed: windows of the bus, pages, page tables. Source: Linux amdgpu
// amdgpu_vm.h, gmc_v11_0.c (gmc_v11_0_sw_init), gfxhub_v3_0.c; tinygrad 0.14.0,
// runtime/support/am/ip.py (AM_GMC).
#pragma once

#include <cstdint>

namespace outboard::hardware::amd::navi31 {

// What each PCI window shows.
namespace bar {
inline constexpr int kVram = 0, kDoorbells = 2, kRegisters = 5;
}  // namespace bar

// A VMID chooses an address space (GRBM_GFX_CNTL.VMID and a set of VM_CONTEXTn registers each).
// AMDGPU_NUM_VMID.
inline constexpr int kVmids = 16;
// Each hub has as many engines that forget translations (VM_INVALIDATE_ENGn registers).
// gfxhub_v3_0_program_invalidation.
inline constexpr int kInvalidateEngines = 18;

namespace pte {

inline constexpr int kAddressBits = 48;  // of a virtual address
inline constexpr int kPageBits = 12;
inline constexpr int kLevelBits = 9;  // of an address, that choose an entry of a table
inline constexpr int kLevels = 4;     // PTB, PDB0, PDB1, PDB2
static_assert(kPageBits + kLevels * kLevelBits == kAddressBits);
inline constexpr uint32_t kEntries = 1U << kLevelBits;  // of a table, 64 bits each
inline constexpr uint64_t kPageBytes = uint64_t{1} << kPageBits;
// What an entry of the table above the last one maps, where it is a leaf (PDE_PTE).
inline constexpr uint64_t kHugeBytes = kPageBytes << kLevelBits;
inline constexpr uint64_t kLastPage =
    (uint64_t{1} << (kAddressBits - kPageBits)) - 1;  // its number

}  // namespace pte

// Registers give addresses without bits that are always zero; by so many bits they are shifted.
inline constexpr int kFrameBufferShift = 24;     // MC_VM_FB_LOCATION_BASE, _TOP, MC_VM_AGP_*
inline constexpr int kSystemApertureShift = 18;  // MC_VM_SYSTEM_APERTURE_LOW_ADDR, _HIGH_ADDR
inline constexpr int kRingShift = 8;             // IH_RB_BASE, CP_HQD_PQ_BASE, SDMA0_QUEUE0_RB_BASE
inline constexpr int kPspMessageShift = 20;      // MP0_SMN_C2PMSG_36

}  // namespace outboard::hardware::amd::navi31
