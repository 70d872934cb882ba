#include "simulator/compute/code.h"

#include <algorithm>
#include <cstring>

#include "simulator/compute/handlers.h"
#include "simulator/compute/hazards.h"
#include "simulator/compute/strict.h"
#include "simulator/compute/valu/valu.h"
#include "simulator/compute/worker.h"
#include "support/error.h"

namespace outboard::simulator::compute {
namespace {

constexpr uint32_t kMaxDwords = 3;  // of one instruction
const Instruction kNoInstruction;   // stands where there is none

void run_illegal(Wave& wave, const Op& op) {
  wave.stop(Stop::kIllegalInstruction, fmt::format("illegal instruction {:#010x} at {:#x}",
                                                   op.instruction->literal_value, wave.pc_of(op)));
}

void run_missing(Wave& wave, const Op& op) {
  wave.stop(Stop::kIllegalInstruction,
            fmt::format("not simulated: {} at {:#x}", disassemble(*op.instruction, wave.pc_of(op)),
                        wave.pc_of(op)));
}

// Behind the last dword of a page: the next page begins.
void run_page_end(Wave& wave, const Op&) { wave.jump(wave.next_pc()); }

// Decodes an instruction whose last dwords lie on the next page. False after a fault.
bool decode_crossing(Wave& wave, uint64_t pc, Worker::Crossing& crossing) {
  Worker& worker = *wave.workgroup->worker;
  std::array<uint32_t, kMaxDwords> words{};
  const size_t here = (CodePage::kBytes - pc % CodePage::kBytes) / 4;
  if (!worker.read(pc, words.data(), here * 4)) return false;
  const Translation rest = worker.shared->memory->translate(pc + here * 4, Access::kExecute);
  if (rest.host == nullptr) {
    wave.stop(Stop::kMemoryViolation, fmt::format("instruction fetch at {:#x}", pc + here * 4),
              pc + here * 4);
    return false;
  }
  std::memcpy(&words[here], rest.host, (kMaxDwords - here) * 4);
  crossing.instruction = Instruction();
  if (!decode(words, crossing.instruction)) crossing.instruction.literal_value = words[0];
  crossing.op = Op();
  prepare(crossing.op, crossing.instruction);
  crossing.pc = pc;
  return true;
}

void run_crossing(Wave& wave, const Op& op) {
  const uint64_t pc = wave.pc_of(op);
  Worker::Crossing& crossing = wave.workgroup->worker->crossings[Worker::code_slot(pc)];
  if (crossing.pc != pc && !decode_crossing(wave, pc, crossing)) return;
  wave.next += crossing.op.dwords - op.dwords;
  --wave.counts[static_cast<size_t>(op.type)];
  ++wave.counts[static_cast<size_t>(crossing.op.type)];
  Strict* strict = wave.workgroup->strict.get();
  if (strict != nullptr) strict->before(wave, crossing.op);
  crossing.op.run(wave, crossing.op);
  if (strict != nullptr) strict->after(wave, crossing.op);
}

std::unique_ptr<CodePage> decode_page(uint64_t address, const std::byte* bytes) {
  auto page = std::make_unique<CodePage>();
  page->address = address;
  std::memcpy(page->words.data(), bytes, CodePage::kBytes);
  page->ops.resize(CodePage::kDwords + kMaxDwords);
  page->instructions.resize(CodePage::kDwords);
  for (size_t i = 0; i < CodePage::kDwords; ++i) {
    const auto words = std::span(page->words).subspan(i);
    Instruction& instruction = page->instructions[i];
    Op& op = page->ops[i];
    const bool good = decode(words.first(std::min<size_t>(words.size(), kMaxDwords)), instruction);
    if (!good && words.size() < kMaxDwords) {
      op.run = run_crossing;  // it may be cut off rather than wrong: found out when executed
      op.type = Class::kNone;
      instruction = Instruction();
      op.instruction = &instruction;
      continue;
    }
    if (!good) instruction.literal_value = words[0];
    prepare(op, instruction);
  }
  for (size_t i = CodePage::kDwords; i < page->ops.size(); ++i) {
    page->ops[i].run = run_page_end;
    page->ops[i].instruction = &kNoInstruction;
    page->ops[i].dwords = 0;
    page->ops[i].type = Class::kNone;
  }
  return page;
}

uint16_t vgpr_end_of(const Instruction& i) {
  int end = 0;
  const auto add = [&](const Operand& operand) {
    if (operand.dwords != 0 && operand.is_vgpr())
      end = std::max(end, operand.vgpr() + operand.dwords);
  };
  for (size_t s = 0; s < i.sources; ++s) add(i.source[s]);
  for (size_t d = 0; d < i.destinations; ++d) add(i.destination[d]);
  return static_cast<uint16_t>(end);
}

// Of instructions that go on to the next one.
bool keeps_exec(const Instruction& i) {
  const std::string_view name = mnemonic(i.op);
  for (const std::string_view writer : {"saveexec", "wrexec", "movrel", "v_cmpx"}) {
    if (name.find(writer) != std::string_view::npos) return false;
  }
  for (size_t d = 0; d < i.destinations; ++d) {
    const Operand& to = i.destination[d];
    if (to.code <= code::kExecHi && to.code + to.dwords > code::kExecLo) return false;
  }
  return true;
}

}  // namespace

void CodeCache::begin_dispatch() {
  const std::lock_guard lock(mutex_);
  ++dispatch_;
  replaced_.clear();
}

const CodePage* CodeCache::find(uint64_t address, bool* stale) {
  const uint64_t start = address / CodePage::kBytes * CodePage::kBytes;
  const std::lock_guard lock(mutex_);
  Entry& entry = pages_[start];
  if (entry.page && entry.page->checked == dispatch_) return entry.page.get();
  const Translation found = memory_.translate(start, Access::kExecute);
  if (found.host == nullptr || found.bytes < CodePage::kBytes) return nullptr;
  const bool same =
      entry.page && std::memcmp(entry.page->words.data(), found.host, CodePage::kBytes) == 0;
  if (!same) {
    if (entry.page && entry.invalidations == invalidations_ && stale != nullptr) *stale = true;
    if (entry.page) replaced_.push_back(std::move(entry.page));
    entry.page = decode_page(start, found.host);
  }
  entry.invalidations = invalidations_;
  entry.page->checked = dispatch_;
  return entry.page.get();
}

void prepare(Op& op, const Instruction& instruction) {
  op.instruction = &instruction;
  op.vgpr_end = vgpr_end_of(instruction);
  op.dwords = static_cast<uint8_t>(instruction.size / 4);
  if (instruction.op == Opcode::kInvalid) {
    op.run = run_illegal;
    return;
  }
  bool known = false;
  switch (instruction.format) {
    case Format::kSop1:
    case Format::kSop2:
    case Format::kSopk:
    case Format::kSopc:
    case Format::kSopp:
      known = prepare_scalar(op, instruction) || prepare_flow(op, instruction);
      break;
    case Format::kSmem:
      known = prepare_scalar_memory(op, instruction);
      break;
    case Format::kFlat:
    case Format::kGlobal:
    case Format::kScratch:
    case Format::kMubuf:
    case Format::kMtbuf:
      known = prepare_vector_memory(op, instruction);
      break;
    case Format::kDs:
      known = prepare_lds(op, instruction);
      break;
    case Format::kMimg:
    case Format::kExp:
    case Format::kLdsDirect:
      break;  // graphics
    default:
      known = prepare_valu(op, instruction);
      if (known) op.flow = Flow::kOn;
      break;
  }
  if (!known) op.run = run_missing;
  op.keeps_exec = op.flow == Flow::kNothing || (op.flow == Flow::kOn && keeps_exec(instruction));
  op.hazards = hazards_of(op);
}

}  // namespace outboard::simulator::compute
