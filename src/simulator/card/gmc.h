// A memory hub (GCHUB for the compute engines, MMHUB for the rest): apertures, page tables, TLB,
// protection faults. Sources: Linux amdgpu gmc_v11_0.c, gfxhub_v3_0.c, mmhub_v3_0.c, amdgpu_vm.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

#include "hardware/amd/navi31/address_space.h"
#include "simulator/card/board.h"
#include "simulator/compute/memory.h"

namespace outboard::simulator::card {

// Who asks; the number is the client id in the fault status. Source: gfxhub_v3_0.c,
// gfxhub_client_ids.
enum class Client : uint8_t {
  kCp = 5,
  kTcp = 8,
  kSqcInstruction = 9,
  kSdma0 = 13,
  kSdma1 = 14,
  kOther = 0
};

class Hub {
 public:
  enum class Kind : uint8_t { kGc, kMm };
  Hub(Board& board, Kind kind);

  // One address to the host. `host` is null when it faulted: then the status registers are set and
  // the interrupt is raised, as the context's control register says.
  compute::Translation translate(uint32_t vmid, uint64_t address, compute::Access access,
                                 Client client, bool counted = true);

  // An engine's accesses, across pages. False: faulted; what was before the fault is done.
  // counted: false for looks and reports whose number depends on timing.
  bool read(uint32_t vmid, uint64_t address, std::span<std::byte> out, Client client,
            bool counted = true);
  bool write(uint32_t vmid, uint64_t address, std::span<const std::byte> data, Client client,
             bool counted = true);
  template <typename T>
  bool read_value(uint32_t vmid, uint64_t address, T& value, Client client, bool counted = true) {
    return read(vmid, address, std::as_writable_bytes(std::span(&value, 1)), client, counted);
  }
  template <typename T>
  bool write_value(uint32_t vmid, uint64_t address, const T& value, Client client,
                   bool counted = true) {
    return write(vmid, address, std::as_bytes(std::span(&value, 1)), client, counted);
  }

  // Addresses of the memory controller itself (VMID 0, frame buffer and AGP apertures only): what
  // the PSP, the SMU and the interrupt ring are given. Null host: no such memory.
  compute::Translation resolve_physical(ControllerAddress address);

  void invalidate(uint32_t vmids);  // a bit for each VMID
  void power_on();

 private:
  static constexpr int kVmids = hardware::amd::navi31::kVmids;
  static constexpr int kEngines = hardware::amd::navi31::kInvalidateEngines;

  // A translation that the TLB keeps: base address and rights of a leaf, until it is invalidated,
  // whatever happens to the page table meanwhile.
  struct Entry {
    uint64_t page = 0, bytes = 0;  // of virtual memory
    uint64_t physical = 0;         // VRAM offset or bus address of `page`
    bool readable = false, writable = false, executable = false, system = false, uncached = false;
    bool counted = false;  // its walk stands in the counters
  };
  enum class Fault : uint8_t { kRange, kPde, kValid, kRead, kWrite, kExecute, kUnshared };

  compute::Translation fault(uint32_t vmid, uint64_t address, compute::Access access, Client client,
                             Fault kind, const std::string& detail);
  compute::Translation view(const Entry& entry, uint64_t address);
  Entry* find(uint32_t vmid, uint64_t address);
  // Walks the page table; returns nothing when it faulted.
  Entry* walk(uint32_t vmid, uint64_t address, compute::Access access, Client client);
  void check_fragment(uint64_t table, uint64_t index, uint64_t entry);
  bool read_table(uint64_t address, bool system, uint64_t& entry);
  void invalidate_request(int engine, uint32_t value);
  uint32_t reg(std::string_view name, int number = -1) const;
  std::string_view name() const { return kind_ == Kind::kGc ? "GCHUB" : "MMHUB"; }

  Board& board_;
  Kind kind_;
  std::unordered_map<uint64_t, Entry>
      tlb_[kVmids][hardware::amd::navi31::pte::kLevels];  // by page number, by size
  // Register addresses by number, looked up once.
  uint32_t fb_base_, fb_top_, fb_offset_, agp_base_, agp_bottom_, agp_top_, l1_control_;
  uint32_t fault_status_, fault_address_low_, fault_address_high_, fault_control_;
  uint32_t context_control_[kVmids], table_low_[kVmids], table_high_[kVmids];
  uint32_t start_low_[kVmids], start_high_[kVmids], end_low_[kVmids], end_high_[kVmids];
  uint32_t acknowledge_[kEngines], semaphore_[kEngines];
};

// Global memory as the compute units see it: VMID by VMID through the GCHUB.
class ShaderMemory : public compute::Memory {
 public:
  explicit ShaderMemory(Board& board) : board_(board) {}
  // The VMID of the dispatch that runs.
  void set_vmid(uint32_t vmid) { vmid_ = vmid; }
  compute::Translation translate(uint64_t address, compute::Access access) override;

 private:
  Board& board_;
  uint32_t vmid_ = 0;
};

}  // namespace outboard::simulator::card
