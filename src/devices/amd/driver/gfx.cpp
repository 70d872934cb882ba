// The graphics core's compute side: RLC, MEC, compute queues. Source: Linux amdgpu gfx_v11_0.c,
// v11_structs.h; tinygrad 0.14.0, runtime/support/am/ip.py (AM_GFX).
#include <bit>
#include <cstring>

#include "devices/amd/driver/blocks.h"
#include "devices/amd/driver/memory.h"
#include "devices/amd/hw/doorbells.h"
#include "devices/amd/hw/gc.h"
#include "devices/amd/hw/mqd.h"
#include "support/error.h"

namespace outboard::devices::amd::driver::gfx {
namespace {

namespace gc = hw::gc;
using std::chrono::milliseconds;

constexpr uint32_t kMicroEngine = 1;  // MEC 1
constexpr uint32_t kVmids = 16;
constexpr uint64_t kEndOfPipeBytes = 4096;
constexpr milliseconds kEngineStart{50};

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }
// A size of 2^n dwords as the registers want it: n - 1.
uint32_t log_dwords(uint64_t bytes) { return static_cast<uint32_t>(std::bit_width(bytes / 4)) - 2; }

// Banked registers show one queue, or one VMID, at a time.
void select(Context& c, uint32_t me, uint32_t queue, uint32_t vmid = 0) {
  using R = gc::GRBM_GFX_CNTL;
  c.registers.set<R>(R::MEID(me) | R::PIPEID(0) | R::QUEUEID(queue) | R::VMID(vmid));
}

void place_mec(Context& c, uint64_t start) {
  using R = gc::CP_MEC_RS64_CNTL;
  select(c, kMicroEngine, 0);
  c.registers.set_pair<gc::CP_MEC_RS64_PRGRM_CNTR_START, gc::CP_MEC_RS64_PRGRM_CNTR_START_HI>(
      start >> 2);
  select(c, 0, 0);
  c.registers.update<R>({{R::MEC_PIPE0_RESET, 1}});
  c.registers.update<R>({{R::MEC_PIPE0_RESET, 0}});
}

void start_mec(Context& c) {
  using R = gc::CP_MEC_RS64_CNTL;
  c.registers.update<R>({{R::MEC_PIPE0_RESET, 0}, {R::MEC_PIPE0_ACTIVE, 1}, {R::MEC_HALT, 0}});
  c.pause(kEngineStart);
}

// Addresses of LDS and scratch for FLAT, alignment, prefetch: of every VMID.
void set_shader_memory(Context& c) {
  using Config = gc::SH_MEM_CONFIG;
  using Bases = gc::SH_MEM_BASES;
  constexpr uint32_t k64Bits = 0,
                     kUnaligned = 3;  // soc21_enum.h, SH_MEM_ADDRESS_MODE, _ALIGNMENT_MODE
  for (uint32_t vmid = 0; vmid < kVmids; ++vmid) {
    select(c, 0, 0, vmid);
    c.registers.set<Config>(Config::ADDRESS_MODE(k64Bits) | Config::ALIGNMENT_MODE(kUnaligned) |
                            Config::INITIAL_INST_PREFETCH(3));
    c.registers.set<Bases>(Bases::SHARED_BASE(1) | Bases::PRIVATE_BASE(2));
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
  return status != 0xffffffff && Status::BOOTLOAD_COMPLETE.get(status) != 0;
}

void wait_for_autoload(Context& c) {
  using Status = gc::RLC_RLCS_BOOTLOAD_STATUS;
  c.wait_for(
      {"gfx", "RLC autoload to complete (RLC_RLCS_BOOTLOAD_STATUS)"},
      [&] { return c.registers.get<gc::CP_STAT>() == 0 ? c.registers.get<Status>() : 0; },
      [](uint32_t v) { return v != 0xffffffff && Status::BOOTLOAD_COMPLETE.get(v) != 0; });
}

void init(Context& c, uint64_t mec_start) {
  Registers& r = c.registers;
  place_mec(c, mec_start);
  constexpr uint32_t kGoldenTcp = 0x20000000;  // gfx_v11_0.c ors it in and does not say why
  r.set<gc::TCP_CNTL>(r.get<gc::TCP_CNTL>() | kGoldenTcp);
  r.set<gc::RLC_CNTL>(1);
  r.update<gc::RLC_SRM_CNTL>(
      {{gc::RLC_SRM_CNTL::SRM_ENABLE, 1}, {gc::RLC_SRM_CNTL::AUTO_INCR_ADDR, 1}});
  r.set<gc::RLC_SPM_MC_CNTL>(0xf);
  nbio::enable_doorbells(c, 0, 0x3, 0, 0);
  nbio::enable_doorbells(c, 3, 0x6, 0, 0);
  r.update<gc::GRBM_CNTL>({{gc::GRBM_CNTL::READ_TIMEOUT, 0xff}});
  set_shader_memory(c);
  // Doorbells that belong to the MEC, in bytes.
  r.set<gc::CP_MEC_DOORBELL_RANGE_LOWER>(0);
  r.set<gc::CP_MEC_DOORBELL_RANGE_UPPER>(0xf8);
  start_mec(c);
}

void stop_queues(Context& c, bool wait) {
  Registers& r = c.registers;
  constexpr uint32_t kQueues = 2, kResetWaves = 2;
  for (uint32_t queue = 0; queue < kQueues; ++queue) {
    select(c, kMicroEngine, queue);
    if ((r.get<gc::CP_HQD_ACTIVE>() & 1) == 0) continue;
    r.set<gc::CP_HQD_DEQUEUE_REQUEST>(kResetWaves);
    r.set<gc::SPI_COMPUTE_QUEUE_RESET>(1);
    if (!wait) continue;
    const std::string what = fmt::format("compute queue {} to stop (CP_HQD_ACTIVE)", queue);
    c.wait_for(
        {"gfx", what, milliseconds(10000),
         "The queue hangs. Power the enclosure off and on before the next run."},
        [&] { return r.get<gc::CP_HQD_ACTIVE>(); }, [](uint32_t v) { return (v & 1) == 0; });
  }
  select(c, 0, 0);
}

void restart_mec(Context& c, uint64_t mec_start) {
  using R = gc::GRBM_SOFT_RESET;
  stop_queues(c, false);
  c.registers.set<R>(R::SOFT_RESET_CP(1) | R::SOFT_RESET_CPC(1));
  c.pause(kEngineStart);
  c.registers.set<R>(0);
  place_mec(c, mec_start);
  start_mec(c);
}

uint64_t start_queue(Context& c, const Ring& ring, uint64_t end_of_pipe) {
  Registers& r = c.registers;
  constexpr uint32_t kDoorbell =
      hw::doorbell::AMDGPU_NAVI10_DOORBELL_MEC_RING0;  // units of 64 bits
  const uint64_t descriptor_address = c.controller_address(layout::kQueueDescriptor);
  hw::mqd::v11_compute_mqd mqd{};
  constexpr uint32_t kHeader = 0xC0310800;
  mqd.header = kHeader;
  mqd.compute_static_thread_mgmt_se0 = mqd.compute_static_thread_mgmt_se1 = 0xffffffff;
  mqd.compute_static_thread_mgmt_se2 = mqd.compute_static_thread_mgmt_se3 = 0xffffffff;
  mqd.compute_static_thread_mgmt_se4 = mqd.compute_static_thread_mgmt_se5 = 0xffffffff;
  mqd.cp_mqd_base_addr_lo = low(descriptor_address);
  mqd.cp_mqd_base_addr_hi = high(descriptor_address);
  mqd.cp_hqd_persistent_state =
      gc::CP_HQD_PERSISTENT_STATE::PRELOAD_SIZE(0x55) | gc::CP_HQD_PERSISTENT_STATE::PRELOAD_REQ(1);
  mqd.cp_hqd_pipe_priority = 0x2;
  mqd.cp_hqd_queue_priority = 0xf;
  mqd.cp_hqd_quantum = 0x111;
  mqd.cp_hqd_pq_base_lo = low(ring.address >> 8);
  mqd.cp_hqd_pq_base_hi = high(ring.address >> 8);
  mqd.cp_hqd_pq_rptr_report_addr_lo = low(ring.read_pointer);
  mqd.cp_hqd_pq_rptr_report_addr_hi = high(ring.read_pointer);
  mqd.cp_hqd_pq_wptr_poll_addr_lo = low(ring.write_pointer);
  mqd.cp_hqd_pq_wptr_poll_addr_hi = high(ring.write_pointer);
  using Doorbell = gc::CP_HQD_PQ_DOORBELL_CONTROL;
  mqd.cp_hqd_pq_doorbell_control =
      Doorbell::DOORBELL_OFFSET(kDoorbell * 2) | Doorbell::DOORBELL_EN(1);
  using Control = gc::CP_HQD_PQ_CONTROL;
  mqd.cp_hqd_pq_control = Control::RPTR_BLOCK_SIZE(5) | Control::QUEUE_SIZE(log_dwords(ring.bytes));
  mqd.cp_hqd_ib_control = gc::CP_HQD_IB_CONTROL::MIN_IB_AVAIL_SIZE(3);
  mqd.cp_hqd_hq_status0 = 0x20004000;  // gfx_v11_0.c, gfx_v11_0_compute_mqd_init
  mqd.cp_mqd_control = gc::CP_MQD_CONTROL::PRIV_STATE(1);
  mqd.cp_hqd_eop_base_addr_lo = low(end_of_pipe >> 8);
  mqd.cp_hqd_eop_base_addr_hi = high(end_of_pipe >> 8);
  mqd.cp_hqd_eop_control = gc::CP_HQD_EOP_CONTROL::EOP_SIZE(log_dwords(kEndOfPipeBytes));
  c.write_vram(layout::kQueueDescriptor, std::as_bytes(std::span(&mqd, 1)));

  // The queue's registers stand in the descriptor in their own order.
  select(c, kMicroEngine, 0);
  constexpr uint32_t kFirst = gc::CP_MQD_BASE_ADDR::kAddress,
                     kLast = gc::CP_HQD_PQ_WPTR_HI::kAddress;
  const uint32_t* words = &mqd.cp_mqd_base_addr_lo;
  std::vector<uint32_t> values(kLast - kFirst + 1);
  std::memcpy(values.data(), words, values.size() * 4);
  r.write_run(kFirst, values);
  r.set<gc::CP_HQD_ACTIVE>(1);
  c.flush_host_writes();
  select(c, 0, 0);
  return uint64_t{kDoorbell} * 8;
}

void allow_clock_gating(Context& c) {
  Registers& r = c.registers;
  using Safe = gc::RLC_SAFE_MODE;
  r.set<Safe>(Safe::MESSAGE(1) | Safe::CMD(1));
  c.wait_for(
      {"gfx", "RLC to enter safe mode (RLC_SAFE_MODE)"}, [&] { return r.get<Safe>(); },
      [](uint32_t v) { return Safe::CMD.get(v) == 0; });
  using Coarse = gc::RLC_CGCG_CGLS_CTRL;
  r.update<Coarse>({{Coarse::CGCG_GFX_IDLE_THRESHOLD, 0x36},
                    {Coarse::CGCG_EN, 1},
                    {Coarse::CGLS_REP_COMPANSAT_DELAY, 0xf},
                    {Coarse::CGLS_EN, 1}});
  r.update<gc::CP_RB_WPTR_POLL_CNTL>({{gc::CP_RB_WPTR_POLL_CNTL::POLL_FREQUENCY, 0x100},
                                      {gc::CP_RB_WPTR_POLL_CNTL::IDLE_POLL_COUNT, 0x90}});
  r.set<Safe>(Safe::MESSAGE(0) | Safe::CMD(1));
}

}  // namespace outboard::devices::amd::driver::gfx
