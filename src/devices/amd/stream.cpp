#include "devices/amd/stream.h"

#include <algorithm>

#include "devices/amd/hw/pm4.h"
#include "devices/amd/kernels/arguments.h"
#include "support/error.h"

namespace outboard::devices::amd {
namespace {

namespace pm4 = hw::pm4;
using driver::ComputeQueue;

constexpr size_t kArgsAlignment = 64;  // a line of the scalar cache

uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

// A type 3 packet's first dword, for a body of so many dwords (nvd.h, PACKET3).
uint32_t header(uint8_t opcode, uint32_t body) {
  constexpr uint32_t kType3 = 3;
  return kType3 << 30 | (body - 1) << 16 | uint32_t{opcode} << 8;
}

bool overlap(const std::vector<Range>& some, const std::vector<Range>& others) {
  return std::ranges::any_of(some, [&](const Range& a) {
    return std::ranges::any_of(others, [&](const Range& b) {
      return a.address < b.address + b.bytes && b.address < a.address + a.bytes;
    });
  });
}

void append(std::vector<Range>& to, const std::vector<Range>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

void append(std::vector<uint32_t>& to, const std::vector<uint32_t>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

constexpr size_t kCondExecDwords = 5;
constexpr uint32_t kMostSkipped = 0x3fff;  // EXEC_COUNT has 14 bits (nvd.h)

// What follows is skipped when the word at the address is 0; how much is put in later.
std::vector<uint32_t> skip_unless(uint64_t address) {
  using Cond = pm4::CondExec;
  std::vector<uint32_t> p(kCondExecDwords);
  p[0] = header(pm4::COND_EXEC, kCondExecDwords - 1);
  Cond::ADDR_LO.put(p.data(), low(address));
  Cond::ADDR_HI.put(p.data(), high(address));
  return p;
}

std::array<uint32_t, 4> indirect_buffer(uint64_t address, uint32_t dwords) {
  using Ib = pm4::IndirectBuffer;
  std::array<uint32_t, 4> p{header(pm4::INDIRECT_BUFFER, 3)};
  Ib::IB_BASE_LO.put(p.data(), low(address));
  Ib::IB_BASE_HI.put(p.data(), high(address));
  Ib::IB_SIZE.put(p.data(), dwords);
  Ib::VALID.put(p.data(), 1);
  return p;
}

}  // namespace

void Recorder::launch(std::string_view name, std::span<const std::byte> args,
                      std::array<uint32_t, 3> workgroups, const Accesses& accesses) {
  Launch launch{&kernels::find(name), 0, workgroups};
  if (args.size() != launch.kernel->kernarg_bytes)
    fail("kernel {} takes {} bytes of arguments, {} were given", name, launch.kernel->kernarg_bytes,
         args.size());
  args_.resize((args_.size() + kArgsAlignment - 1) / kArgsAlignment * kArgsAlignment);
  launch.args = args_.size();
  args_.insert(args_.end(), args.begin(), args.end());

  launch.scalar = overlap(accesses.scalar_reads, since_barrier_.writes);
  launch.vector = launch.scalar || overlap(accesses.reads, since_barrier_.writes);
  launch.barrier = launch.vector || overlap(accesses.writes, since_barrier_.writes) ||
                   overlap(accesses.writes, since_barrier_.reads);
  if (launch.barrier) since_barrier_ = {};
  append(since_barrier_.reads, accesses.reads);
  append(since_barrier_.reads, accesses.scalar_reads);
  append(since_barrier_.writes, accesses.writes);
  launches_.push_back(launch);
}

Stream::Stream(driver::Card& card, uint64_t code, const Recorder& recorder, uint64_t alive,
               std::string name)
    : dispatches_(recorder.launches()) {
  // Arguments first; the commands hold their addresses, so the buffer is found before they are
  // written. A launch takes at most so many dwords, barrier included.
  constexpr size_t kMostDwords = 96;
  const size_t args_bytes =
      (recorder.args_.size() + kArgsAlignment - 1) / kArgsAlignment * kArgsAlignment;
  buffer_ =
      DeviceBuffer(card, args_bytes + (recorder.launches() * kMostDwords + kConditionDwords) * 4,
                   std::move(name));
  commands_ = buffer_.address() + args_bytes;
  // The condition ends where the launches begin; a filler before it keeps both aligned. A long
  // stream has it again where one can reach no further.
  std::vector<uint32_t> commands(kConditionDwords - kCondExecDwords);
  commands[0] = header(pm4::NOP, static_cast<uint32_t>(commands.size()) - 1);
  std::vector<size_t> conditions;  // where they begin
  const auto add_condition = [&] {
    conditions.push_back(commands.size());
    append(commands, skip_unless(alive));
  };
  add_condition();
  for (const Recorder::Launch& l : recorder.launches_) {
    if (commands.size() + kMostDwords - conditions.back() > kMostSkipped) add_condition();
    if (l.barrier) append(commands, ComputeQueue::barrier());
    if (l.vector) append(commands, ComputeQueue::acquire({.scalar = l.scalar, .vector = true}));
    append(commands, ComputeQueue::dispatch(
                         launch_of(*l.kernel, code, buffer_.address() + l.args, l.workgroups)));
  }
  dwords_ = static_cast<uint32_t>(commands.size());
  // Each skips to the next, the last to the end.
  conditions.push_back(commands.size());
  for (size_t i = 0; i + 1 < conditions.size(); ++i)
    pm4::CondExec::EXEC_COUNT.put(
        &commands[conditions[i]],
        static_cast<uint32_t>(conditions[i + 1] - conditions[i] - kCondExecDwords));
  std::vector<std::byte> bytes(args_bytes + commands.size() * 4);
  std::ranges::copy(recorder.args_, bytes.begin());
  std::ranges::copy(std::as_bytes(std::span(commands)),
                    bytes.begin() + static_cast<ptrdiff_t>(args_bytes));
  if (bytes.size() > buffer_.bytes()) fail("{}: longer than was thought", buffer_.buffer().name);
  card.upload(buffer_.buffer(), 0, bytes);
}

std::array<uint32_t, 4> Stream::run() const {
  return indirect_buffer(commands_ + kConditionDwords * 4, dwords_ - kConditionDwords);
}

std::array<uint32_t, 4> Stream::run_if_alive() const { return indirect_buffer(commands_, dwords_); }

ComputeQueue::Launch launch_of(const kernels::Kernel& kernel, uint64_t code, uint64_t args,
                               std::array<uint32_t, 3> workgroups) {
  ComputeQueue::Launch launch;
  launch.program = code + kernel.entry;
  launch.rsrc1 = kernel.rsrc1;
  launch.rsrc2 = kernel.rsrc2;
  launch.rsrc3 = kernel.rsrc3;
  launch.user_data = {low(args), high(args)};
  launch.workgroup_size = {kernels::kThreads, 1, 1};
  launch.workgroups = workgroups;
  return launch;
}

std::vector<uint32_t> write_word(uint64_t address, uint32_t value) {
  using Write = pm4::WriteData;
  constexpr uint32_t kMemory = 5;  // DST_SEL: memory, asynchronously (nvd.h)
  std::vector<uint32_t> p(5);
  p[0] = header(pm4::WRITE_DATA, 4);
  Write::DST_SEL.put(p.data(), kMemory);
  Write::WR_CONFIRM.put(p.data(), 1);
  Write::DST_ADDR_LO.put(p.data(), low(address));
  Write::DST_ADDR_HI.put(p.data(), high(address));
  p[4] = value;
  return p;
}

}  // namespace outboard::devices::amd
