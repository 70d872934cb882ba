#include "simulator/compute/wave.h"

#include "simulator/compute/worker.h"
#include "support/error.h"

namespace outboard::simulator::compute {

uint32_t Wave::read_scalar(const Operand& operand) const {
  if (operand.constant) return static_cast<uint32_t>(operand.value);
  if (operand.code < code::kZero) return sgpr[operand.code];
  return static_cast<uint32_t>(read_scalar64(operand));
}

uint64_t Wave::read_scalar64(const Operand& operand) const {
  if (operand.constant) return operand.value;
  if (operand.code < code::kZero) {
    // Null and M0 have no second half.
    const uint32_t high =
        operand.code == code::kNull || operand.code == code::kM0 ? 0 : sgpr[operand.code + 1U];
    return sgpr[operand.code] | (static_cast<uint64_t>(high) << 32);
  }
  constexpr uint64_t kApertureLimit = 0xffffffff;
  const Dispatch& dispatch = *workgroup->dispatch;
  switch (operand.code) {
    case code::kSharedBase:
      return dispatch.shared_base;
    case code::kSharedLimit:
      return dispatch.shared_base | kApertureLimit;
    case code::kPrivateBase:
      return dispatch.private_base;
    case code::kPrivateLimit:
      return dispatch.private_base | kApertureLimit;
    case code::kVccz:
      return (wave64 ? vcc64() : sgpr[code::kVccLo]) == 0;
    case code::kExecz:
      return exec64() == 0;
    case code::kScc:
      return scc;
    default:
      return operand.value;
  }
}

uint32_t Wave::scratch_slot() const {
  return workgroup->slot * static_cast<uint32_t>(workgroup->waves.size()) + index;
}

void Wave::stop(Stop why, std::string message, uint64_t address) {
  status = WaveStatus::kDone;
  Worker& worker = *workgroup->worker;
  if (worker.result.stop == Stop::kDone) {
    worker.result = {why,
                     fmt::format("{}, workgroup {} wave {}: {}", workgroup->dispatch->name,
                                 workgroup->index, index, message),
                     address};
    worker.result_workgroup = workgroup->index;
  }
  worker.shared->stopping = true;
}

void Wave::jump(uint64_t address) {
  Worker& worker = *workgroup->worker;
  const uint64_t start = address / CodePage::kBytes * CodePage::kBytes;
  const CodePage*& known = worker.code_pages[Worker::code_slot(address)];
  if (known == nullptr || known->address != start) {
    bool stale = false;
    const CodePage* found = worker.shared->code->find(address, &stale);
    if (found == nullptr) {
      stop(Stop::kMemoryViolation, fmt::format("instruction fetch at {:#x}", address), address);
      return;
    }
    if (stale) report_stale_code(*this, address);
    known = found;
  }
  page = known->ops.data();
  page_address = start;
  next = page + (address - start) / 4;
}

}  // namespace outboard::simulator::compute
