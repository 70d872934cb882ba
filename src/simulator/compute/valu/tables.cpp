#include "simulator/compute/valu/tables.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "simulator/compute/valu/operands.h"
#include "simulator/compute/valu/valu.h"
#include "support/error.h"

namespace outboard::simulator::compute::valu {
namespace {

struct Traits {
  Opcode op;
  uint16_t traits;
};
// The rows of operations.def without their bodies.
#define OPERATION(op, traits, ...) {Opcode::op, traits},
#define VARIANT(op, number, traits, ...)
#define SIGNED_OPERATION(op, traits, body) {Opcode::op, traits},
#define COMPARE(name, traits, ...) \
  {Opcode::kVCmp##name, (traits) | kCompare}, {Opcode::kVCmpx##name, (traits) | kCompare},
constexpr Traits kTraits[] = {
#include "simulator/compute/valu/compare_rows.h"
#include "simulator/compute/valu/operations.def"
};

uint32_t key_of(Opcode op, int variant) {
  return static_cast<uint32_t>(op) * kVariants + static_cast<uint32_t>(variant);
}

// Dense, since every dword of every code page is looked up.
using Index = std::vector<Operation>;

Index index_of(const Table& table) {
  uint32_t last = 0;
  for (const Entry& entry : table.entries) {
    last = std::max(last, static_cast<uint32_t>(entry.op));
  }
  Index index(size_t{last + 1} * kVariants);
  for (const Entry& entry : table.entries) {
    Operation& operation = index[key_of(entry.op, entry.variant)];
    operation.body = entry.body;
    operation.direct = entry.direct;
  }
  for (const Traits& row : kTraits) {
    const Operation plain = index[key_of(row.op, 0)];
    for (int variant = 0; variant < kVariants; ++variant) {
      Operation& operation = index[key_of(row.op, variant)];
      if (operation.body == nullptr) operation = plain;
      operation.traits = row.traits;
    }
  }
  return index;
}

const Table& choose() {
  const std::vector<const Table*> tables = available_tables();
  const char* forced = std::getenv("OUTBOARD_CPU");
  if (forced == nullptr || *forced == '\0') return *tables.back();
  std::string names;
  for (const Table* table : tables) {
    if (std::string_view(table->name) == forced) return *table;
    names += names.empty() ? "" : ", ";
    names += table->name;
  }
  throw Error(fmt::format("environment: OUTBOARD_CPU: the simulator has no vector ALU named \"{}\" "
                          "for this processor, expected one of: {}",
                          forced, names),
              "Unset OUTBOARD_CPU to use the best one.");
}

}  // namespace

ConstantLanes constants;

std::vector<const Table*> available_tables() {
  std::vector<const Table*> tables = {&scalar_table()};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
      __builtin_cpu_supports("f16c")) {
    tables.push_back(&avx2_table());
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
      tables.push_back(&avx512_table());
    }
  }
#elif defined(__aarch64__)
  tables.push_back(&neon_table());
#endif
  return tables;
}

const Table& chosen_table() {
  static const Table& chosen = choose();
  return chosen;
}

Operation find_operation(const Table& table, Opcode op, int variant) {
  static const Index chosen = index_of(chosen_table());
  static std::map<const Table*, Index> others;  // only tests ask for them
  const Index* index = &chosen;
  if (&table != &chosen_table()) {
    auto [at, added] = others.try_emplace(&table);
    if (added) at->second = index_of(table);
    index = &at->second;
  }
  const uint32_t key = key_of(op, variant);
  return key < index->size() ? (*index)[key] : Operation();
}

uint16_t constant_place(uint64_t value, int dwords) {
  if (dwords != 1 && dwords != 2) return 0;
  if (dwords == 1) value = static_cast<uint32_t>(value);
  static std::mutex mutex;
  static std::map<std::pair<uint64_t, int>, uint16_t> places;
  static size_t used = 0;
  const std::lock_guard lock(mutex);
  const auto found = places.find({value, dwords});
  if (found != places.end()) return found->second;
  // Data that was decoded as if it were code brings many; those that find no room are broadcast
  // when they are executed.
  if (used + static_cast<size_t>(dwords) > kConstantRegisters) return 0;
  for (size_t dword = 0; dword < static_cast<size_t>(dwords); ++dword) {
    chosen_table().fill(&constants.word[(used + dword) * kLanesOfRegister],
                        static_cast<uint32_t>(value >> (32 * dword)));
  }
  const auto place = static_cast<uint16_t>(kConstantPlace | used);
  used += static_cast<size_t>(dwords);
  places.emplace(std::pair(value, dwords), place);
  return place;
}

}  // namespace outboard::simulator::compute::valu

namespace outboard::simulator::compute {

const char* valu_instruction_set() { return valu::chosen_table().name; }

}  // namespace outboard::simulator::compute
