// The graphics core's compute side: RLC, MEC, compute queues. Source: Linux amdgpu gfx_v11_0.c,
// v11_structs.h, amdkfd kfd_mqd_manager_v11.c; tinygrad 0.14.0, runtime/support/am/ip.py (AM_GFX).
#include <array>
#include <bit>
#include <cstring>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/memory.h"
#include "hardware/amd/dwords.h"
#include "hardware/amd/navi31/address_space.h"
#include "hardware/amd/navi31/bring_up.h"
#include "hardware/amd/navi31/doorbells.h"
#include "hardware/amd/navi31/gc.h"
#include "hardware/amd/navi31/mmhub.h"
#include "hardware/amd/navi31/mqd.h"
#include "link/link.h"
#include "support/error.h"

namespace outboard::devices::amd::driver::gfx {
namespace {

namespace gc = hw::gc;
using std::chrono::milliseconds;

constexpr uint64_t kEndOfPipeBytes = 4096;
constexpr milliseconds kEngineStart{50};
constexpr milliseconds kDequeue{2000};  // it takes microseconds; tinygrad waits ten seconds

// Which compute units a queue may use, an engine each.
constexpr std::array kUnitsOfEngines = {
    &hw::mqd::v11_compute_mqd::compute_static_thread_mgmt_se0,
    &hw::mqd::v11_compute_mqd::compute_static_thread_mgmt_se1,
    &hw::mqd::v11_compute_mqd::compute_static_thread_mgmt_se2,
    &hw::mqd::v11_compute_mqd::compute_static_thread_mgmt_se3,
    &hw::mqd::v11_compute_mqd::compute_static_thread_mgmt_se4,
    &hw::mqd::v11_compute_mqd::compute_static_thread_mgmt_se5,
    &hw::mqd::v11_compute_mqd::compute_static_thread_mgmt_se6,
    &hw::mqd::v11_compute_mqd::compute_static_thread_mgmt_se7,
};

using hardware::amd::high;
using hardware::amd::low;
// A size of 2^n dwords as the registers want it: n - 1.
uint32_t log_dwords(uint64_t bytes) { return static_cast<uint32_t>(std::bit_width(bytes / 4)) - 2; }

// Banked registers show one queue, or one VMID, at a time. As soc21_grbm_select.
void select(Context& c, uint32_t me, uint32_t queue, uint32_t vmid = 0) {
  using R = gc::GRBM_GFX_CNTL;
  c.registers.set<R>(R::MEID(me) | R::PIPEID(0) | R::QUEUEID(queue) | R::VMID(vmid));
}

// Puts the engine at its code, held. Returns its control register. As
// gfx_v11_0_config_gfx_rs64; AM_GFX._config_mec.
uint32_t place_mec(Context& c, uint64_t start) {
  using R = gc::CP_MEC_RS64_CNTL;
  select(c, gc::kMec1, 0);
  c.registers.set_pair<gc::CP_MEC_RS64_PRGRM_CNTR_START, gc::CP_MEC_RS64_PRGRM_CNTR_START_HI>(
      start >> gc::kProgramCounterShift);
  select(c, 0, 0);
  const uint32_t control = c.registers.get_to_change<R>();
  c.registers.set<R>(R::MEC_PIPE0_RESET.put(control, 1));
  c.registers.set<R>(R::MEC_PIPE0_RESET.put(control, 0));
  return R::MEC_PIPE0_RESET.put(control, 0);
}

// As gfx_v11_0_cp_compute_enable; AM_GFX._enable_mec.
void start_mec(Context& c, uint32_t control) {
  using R = gc::CP_MEC_RS64_CNTL;
  c.registers.set<R>(R::MEC_HALT.put(R::MEC_PIPE0_ACTIVE.put(control, 1), 0));
  c.pause(kEngineStart);
}

// Addresses of LDS and scratch for FLAT, alignment, prefetch: of every VMID. As
// gfx_v11_0_constants_init and gfx_v11_0_init_compute_vmid.
void set_shader_memory(Context& c) {
  using Config = gc::SH_MEM_CONFIG;
  using Bases = gc::SH_MEM_BASES;
  for (uint32_t vmid = 0; vmid < hw::kVmids; ++vmid) {
    select(c, 0, 0, vmid);
    c.registers.set<Config>(Config::ADDRESS_MODE(gc::kAddresses64Bits) |
                            Config::ALIGNMENT_MODE(gc::kUnaligned) |
                            Config::INITIAL_INST_PREFETCH(gc::kInstructionPrefetch));
    c.registers.set<Bases>(Bases::SHARED_BASE(gc::kLdsAperture) |
                           Bases::PRIVATE_BASE(gc::kScratchAperture));
  }
  select(c, 0, 0);
}

}  // namespace

bool mec_runs(Context& c) {
  using R = gc::CP_MEC_RS64_CNTL;
  const uint32_t value = c.registers.get<R>();
  return R::MEC_PIPE0_ACTIVE.get(value) != 0 && R::MEC_HALT.get(value) == 0;
}

bool is_up(Context& c) {
  using Status = gc::RLC_RLCS_BOOTLOAD_STATUS;
  const uint32_t status = c.registers.get<Status>();
  if (status == 0xffffffff) return false;
  // The bit alone would do for Linux; without the graphics images it may never be set.
  return Status::BOOTLOAD_COMPLETE.get(status) != 0 || mec_runs(c);
}

// Linux waits for CP_STAT == 0 and BOOTLOAD_COMPLETE (gfx_v11_0.c,
// gfx_v11_0_wait_for_rlc_autoload_complete), with all images loaded. tinygrad loads no graphics
// images either (PFP, ME, MES), and goes on as soon as CP_STAT is 0 or the bit is clear (ip.py,
// AM_GFX.init_hw). So the bit is waited for a while after a cold boot, and its absence is noted.
void wait_for_autoload(Context& c, bool warm) {
  using Status = gc::RLC_RLCS_BOOTLOAD_STATUS;
  constexpr milliseconds kBothLimit{1000}, kLimit{10000};
  uint32_t stat = 0, status = 0;
  const auto look = [&] {
    stat = c.registers.get<gc::CP_STAT>();
    status = c.registers.get<Status>();
    return status;
  };
  const auto complete = [&] { return Status::BOOTLOAD_COMPLETE.get(status) != 0; };
  const auto answers = [&] { return stat != 0xffffffff && status != 0xffffffff; };
  try {
    if (!warm) {
      c.wait_for({"gfx", "RLC autoload to complete (RLC_RLCS_BOOTLOAD_STATUS)", kBothLimit}, look,
                 [&](uint32_t) { return answers() && stat == 0 && complete(); });
      return;
    }
  } catch (const link::LinkLost&) {
    throw;
  } catch (const Error&) {  // it may do all the same
  }
  c.wait_for({"gfx", "RLC autoload: the command processor to get idle (CP_STAT)", kLimit}, look,
             [&](uint32_t) { return answers() && (stat == 0 || !complete()); });
  if (warm) return;  // the cold boot noted it
  c.note(fmt::format(
      "RLC autoload does not say that it is complete (CP_STAT {:#x}, RLC_RLCS_BOOTLOAD_STATUS "
      "{:#x}); going on as tinygrad's driver does",
      stat, status));
}

// In the order of AM_GFX.init_hw; the functions named are Linux's for the same.
void init(Context& c, uint64_t mec_start) {
  Registers& r = c.registers;
  const uint32_t control = place_mec(c, mec_start);
  // gfx_v11_0_init_golden_registers
  r.set<gc::TCP_CNTL>(r.get_to_change<gc::TCP_CNTL>() | gc::kGoldenTcp);
  r.set<gc::RLC_CNTL>(gc::RLC_CNTL::RLC_ENABLE_F32(1));           // gfx_v11_0_rlc_start
  r.update<gc::RLC_SRM_CNTL>({{gc::RLC_SRM_CNTL::SRM_ENABLE, 1},  // gfx_v11_0_rlc_enable_srm
                              {gc::RLC_SRM_CNTL::AUTO_INCR_ADDR, 1}});
  // gfx_v11_0_update_spm_vmid
  r.set<gc::RLC_SPM_MC_CNTL>(gc::RLC_SPM_MC_CNTL::RLC_SPM_VMID(gc::kSpmVmid));
  for (const hw::nbio::DoorbellRoute& route : hw::nbio::kCommandProcessorRoutes)
    nbio::enable_doorbells(c, route, 0, 0);  // nbio_v4_3_gc_doorbell_init
  // gfx_v11_0_constants_init
  r.update<gc::GRBM_CNTL>({{gc::GRBM_CNTL::READ_TIMEOUT, gc::kReadTimeout}});
  set_shader_memory(c);
  // gfx_v11_0_kiq_init_register
  using Lower = gc::CP_MEC_DOORBELL_RANGE_LOWER;
  using Upper = gc::CP_MEC_DOORBELL_RANGE_UPPER;
  r.set<Lower>(Lower::DOORBELL_RANGE_LOWER(hw::doorbell::kMecFirst * hw::doorbell::kDwords));
  r.set<Upper>(Upper::DOORBELL_RANGE_UPPER(hw::doorbell::kMecLast * hw::doorbell::kDwords));
  start_mec(c, control);
}

// Dequeued only. SPI_COMPUTE_QUEUE_RESET stays out: Linux never writes it (amdgpu_amdkfd_gfx_v11.c,
// hqd_destroy_v11), and tinygrad took it out after 0.14.0 since queues that it had stopped did not
// start again (commit 1329033b8c, "fix hot-queue restarts, only dequeue").
bool stop_queues(Context& c) {
  Registers& r = c.registers;
  constexpr uint32_t kQueues = 2;  // as AM_GFX._dequeue_hqds; ours uses the first
  using Dequeue = gc::CP_HQD_DEQUEUE_REQUEST;
  using Active = gc::CP_HQD_ACTIVE;
  bool all = true;
  for (uint32_t queue = 0; queue < kQueues; ++queue) {
    select(c, gc::kMec1, queue);
    if (Active::ACTIVE.get(r.get_to_change<Active>()) == 0) continue;
    r.set<Dequeue>(Dequeue::DEQUEUE_REQ(gc::kResetWaves));
    const std::string what = fmt::format("compute queue {} to stop (CP_HQD_ACTIVE)", queue);
    try {
      c.wait_for(
          {"gfx", what, kDequeue}, [&] { return r.get<Active>(); },
          [](uint32_t v) { return v != 0xffffffff && Active::ACTIVE.get(v) == 0; });
    } catch (const link::LinkLost&) {
      throw;
    } catch (const Error& e) {
      // A wave that hangs can outlive the request (tinygrad tolerates it, too). Bus mastering goes
      // off next, so nothing is written any more.
      c.note(e.message());
      all = false;
    }
  }
  select(c, 0, 0);
  return all;
}

// As AM_GFX.reset_mec.
void restart_mec(Context& c, uint64_t mec_start) {
  using R = gc::GRBM_SOFT_RESET;
  c.registers.set<R>(R::SOFT_RESET_CP(1) | R::SOFT_RESET_CPC(1));
  c.pause(kEngineStart);
  c.registers.set<R>(0);
  start_mec(c, place_mec(c, mec_start));
}

uint64_t progress(Context& c) {
  Registers& r = c.registers;
  select(c, gc::kMec1, 0);
  const uint64_t value = r.get<gc::CP_HQD_PQ_RPTR>() +
                         (uint64_t{r.get<gc::CP_HQD_IB_RPTR>()} << 20) +
                         (uint64_t{r.get<gc::CP_HQD_IB_BASE_ADDR>()} << 40);
  select(c, 0, 0);
  return value;
}

// As AM_GFX.setup_ring; the descriptor as init_mqd and update_mqd of kfd_mqd_manager_v11.c.
BarOffset start_queue(Context& c, const Ring& ring, GpuAddress end_of_pipe) {
  Registers& r = c.registers;
  namespace set = hw::mqd;
  constexpr uint32_t kDoorbell = hw::doorbell::AMDGPU_NAVI10_DOORBELL_MEC_RING0;
  const ControllerAddress descriptor_address = c.controller_address(layout::kQueueDescriptor);
  hw::mqd::v11_compute_mqd mqd{};
  mqd.header = set::kHeader;
  for (size_t engine = 0; engine < c.chip->die.engines; ++engine)
    mqd.*kUnitsOfEngines.at(engine) = set::kAllUnits;
  mqd.cp_mqd_base_addr_lo = low(descriptor_address);
  mqd.cp_mqd_base_addr_hi = high(descriptor_address);
  mqd.cp_hqd_persistent_state = gc::CP_HQD_PERSISTENT_STATE::PRELOAD_SIZE(set::kPreloadSize) |
                                gc::CP_HQD_PERSISTENT_STATE::PRELOAD_REQ(1);
  mqd.cp_hqd_pipe_priority = gc::CP_HQD_PIPE_PRIORITY::PIPE_PRIORITY(set::kHighPipePriority);
  mqd.cp_hqd_queue_priority = gc::CP_HQD_QUEUE_PRIORITY::PRIORITY_LEVEL(set::kHighestQueuePriority);
  using Quantum = gc::CP_HQD_QUANTUM;
  mqd.cp_hqd_quantum = Quantum::QUANTUM_EN(1) | Quantum::QUANTUM_SCALE(set::kQuantumScale) |
                       Quantum::QUANTUM_DURATION(set::kQuantumDuration);
  mqd.cp_hqd_pq_base_lo = low(value(ring.address) >> hw::kRingShift);
  mqd.cp_hqd_pq_base_hi = high(value(ring.address) >> hw::kRingShift);
  mqd.cp_hqd_pq_rptr_report_addr_lo = low(ring.read_pointer);
  mqd.cp_hqd_pq_rptr_report_addr_hi = high(ring.read_pointer);
  mqd.cp_hqd_pq_wptr_poll_addr_lo = low(ring.write_pointer);
  mqd.cp_hqd_pq_wptr_poll_addr_hi = high(ring.write_pointer);
  using Doorbell = gc::CP_HQD_PQ_DOORBELL_CONTROL;
  mqd.cp_hqd_pq_doorbell_control =
      Doorbell::DOORBELL_OFFSET(kDoorbell * hw::doorbell::kDwords) | Doorbell::DOORBELL_EN(1);
  using Control = gc::CP_HQD_PQ_CONTROL;
  mqd.cp_hqd_pq_control = Control::RPTR_BLOCK_SIZE(set::kReadPointerBlock) |
                          Control::QUEUE_SIZE(log_dwords(ring.bytes));
  mqd.cp_hqd_ib_control = gc::CP_HQD_IB_CONTROL::MIN_IB_AVAIL_SIZE(set::kLeastIndirectBuffer);
  mqd.cp_hqd_hq_status0 = set::kKeepDispatchPointer | set::kBusAtomics;
  mqd.cp_mqd_control = gc::CP_MQD_CONTROL::PRIV_STATE(1);
  mqd.cp_hqd_eop_base_addr_lo = low(value(end_of_pipe) >> hw::kRingShift);
  mqd.cp_hqd_eop_base_addr_hi = high(value(end_of_pipe) >> hw::kRingShift);
  mqd.cp_hqd_eop_control = gc::CP_HQD_EOP_CONTROL::EOP_SIZE(log_dwords(kEndOfPipeBytes));
  c.write_vram(layout::kQueueDescriptor, std::as_bytes(std::span(&mqd, 1)));

  // The queue's registers stand in the descriptor in their own order.
  select(c, gc::kMec1, 0);
  constexpr uint32_t kFirst = gc::CP_MQD_BASE_ADDR::kAddress,
                     kLast = gc::CP_HQD_PQ_WPTR_HI::kAddress;
  const uint32_t* words = &mqd.cp_mqd_base_addr_lo;
  std::vector<uint32_t> values(kLast - kFirst + 1);
  std::memcpy(values.data(), words, values.size() * 4);
  r.write_run(r.address<gc::CP_MQD_BASE_ADDR>(), values, gc::CP_HQD_PQ_CONTROL::kAddress - kFirst);
  // The doorbell alone tells of new packets (queue.h): no polling of the write pointer, whatever an
  // earlier driver chose (Linux: gfx_v11_0_kiq_init_register).
  using Poll = gc::CP_PQ_WPTR_POLL_CNTL;
  if (const uint32_t poll = r.get_to_change<Poll>(); Poll::EN.get(poll) != 0)
    r.set<Poll>(Poll::EN.put(poll, 0));
  // With PRELOAD_REQ the engine reads the descriptor as soon as it is active: it must be there.
  c.flush_host_writes();
  r.set<gc::CP_HQD_ACTIVE>(1);
  select(c, 0, 0);
  return BarOffset{uint64_t{kDoorbell} * hw::doorbell::kBytes};
}

// All of it, in tinygrad's order (ip.py, AM_GFX.set_clockgating_state); in Linux it is
// gfx_v11_0_update_gfx_clock_gating and mmhub_v3_0_update_medium_grain_light_sleep.
void allow_clock_gating(Context& c) {
  Registers& r = c.registers;
  using Hub = hw::mmhub::MM_ATC_L2_MISC_CG;
  r.set<Hub>(Hub::ENABLE(1) | Hub::MEM_LS_ENABLE(1));
  using Safe = gc::RLC_SAFE_MODE;
  r.set<Safe>(Safe::MESSAGE(1) | Safe::CMD(1));
  c.wait_for(
      {"gfx", "RLC to enter safe mode (RLC_SAFE_MODE)"}, [&] { return r.get<Safe>(); },
      [](uint32_t v) { return Safe::CMD.get(v) == 0; });
  using Coarse = gc::RLC_CGCG_CGLS_CTRL;
  r.update<Coarse>({{Coarse::CGCG_GFX_IDLE_THRESHOLD, gc::kIdleThreshold},
                    {Coarse::CGCG_EN, 1},
                    {Coarse::CGLS_REP_COMPANSAT_DELAY, gc::kCompensationDelay},
                    {Coarse::CGLS_EN, 1}});
  r.update<gc::CP_RB_WPTR_POLL_CNTL>(
      {{gc::CP_RB_WPTR_POLL_CNTL::POLL_FREQUENCY, gc::kPollFrequency},
       {gc::CP_RB_WPTR_POLL_CNTL::IDLE_POLL_COUNT, gc::kIdlePollCount}});
  using Interrupts = gc::CP_INT_CNTL;
  r.update<Interrupts>({{Interrupts::CNTX_BUSY_INT_ENABLE, 1},
                        {Interrupts::CNTX_EMPTY_INT_ENABLE, 1},
                        {Interrupts::CMP_BUSY_INT_ENABLE, 1}});
  r.update<gc::SDMA0_RLC_CGCG_CTRL>({{gc::SDMA0_RLC_CGCG_CTRL::CGCG_INT_ENABLE, 1}});
  r.update<gc::SDMA1_RLC_CGCG_CTRL>({{gc::SDMA1_RLC_CGCG_CTRL::CGCG_INT_ENABLE, 1}});
  using Override = gc::RLC_CGTT_MGCG_OVERRIDE;
  r.update<Override>({{Override::PERFMON_CLOCK_STATE, 1},
                      {Override::GFXIP_REPEATER_FGCG_OVERRIDE, 0},
                      {Override::GFXIP_FGCG_OVERRIDE, 0},
                      {Override::GRBM_CGTT_SCLK_OVERRIDE, 0},
                      {Override::RLC_CGTT_SCLK_OVERRIDE, 0},
                      {Override::GFXIP_MGCG_OVERRIDE, 0},
                      {Override::GFXIP_CGLS_OVERRIDE, 0},
                      {Override::GFXIP_CGCG_OVERRIDE, 0}});
  r.set<Safe>(Safe::MESSAGE(0) | Safe::CMD(1));
}

}  // namespace outboard::devices::amd::driver::gfx
