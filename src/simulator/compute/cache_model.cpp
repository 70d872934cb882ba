#include "simulator/compute/cache_model.h"

#include <algorithm>

namespace outboard::simulator::compute {
namespace {
constexpr uint64_t kWays = 16;
}  // namespace

CacheModel::Sets::Sets(uint64_t bytes, uint64_t way_count)
    : sets(bytes / kLineBytes / way_count), ways(way_count), lines(sets * ways) {}

bool CacheModel::Sets::touch(uint64_t line, bool write, bool* evicted_dirty) {
  uint64_t* set = &lines[line % sets * ways];
  const uint64_t wanted = line << 1;
  uint64_t way = 0;
  while (way < ways && (set[way] - 1) >> 1 != line) ++way;
  const bool hit = way < ways && set[way] != 0;
  uint64_t value = wanted | static_cast<uint64_t>(write);
  if (hit) {
    value |= (set[way] - 1) & 1;
  } else {
    way = ways - 1;
    *evicted_dirty = set[way] != 0 && ((set[way] - 1) & 1) != 0;
  }
  std::copy_backward(set, set + way, set + way + 1);
  set[0] = value + 1;
  return hit;
}

void CacheModel::Sets::clear() { std::fill(lines.begin(), lines.end(), 0); }

CacheModel::CacheModel(uint64_t second_level_bytes, uint64_t infinity_cache_bytes)
    : gl2_(second_level_bytes, kWays), infinity_(infinity_cache_bytes, kWays) {}

Level CacheModel::access(uint64_t entry, Counters& c) {
  const uint64_t line = entry >> 2;
  const bool write = (entry & 1) != 0;
  const bool system = (entry & 2) != 0;
  ++(write ? c.gl2_writes : c.gl2_reads);
  if (system) return Level::kSystem;  // over the link: counted in bytes where it happens
  Level reached = Level::kSecond;
  bool dirty = false;
  if (!gl2_.touch(line, write, &dirty)) {
    // A written line is allocated without reading it: writes carry byte masks.
    if (!write) {
      ++c.gl2_read_misses;
      c.gl2_miss_bytes += kLineBytes;
      bool pushed = false;
      const bool hit = infinity_.touch(line, false, &pushed);
      reached = hit ? Level::kInfinity : Level::kVram;
      if (!hit) c.vram_read_bytes += kLineBytes;
      if (pushed) c.vram_write_bytes += kLineBytes;
    }
    if (dirty) {
      c.gl2_miss_bytes += kLineBytes;
      c.vram_write_bytes += kLineBytes;
    }
  }
  return reached;
}

void CacheModel::write_back(Counters& c) {
  for (uint64_t& entry : gl2_.lines) {
    if (entry == 0 || ((entry - 1) & 1) == 0) continue;
    c.gl2_miss_bytes += kLineBytes;
    c.vram_write_bytes += kLineBytes;
    entry = ((entry - 1) & ~uint64_t{1}) + 1;
  }
}

void CacheModel::invalidate() { gl2_.clear(); }

void CacheModel::forget(uint64_t address, uint64_t bytes) {
  const uint64_t first = address / kLineBytes;
  const uint64_t last = (address + bytes + kLineBytes - 1) / kLineBytes;
  if (last - first >= gl2_.lines.size()) return invalidate();
  for (uint64_t line = first; line < last; ++line) {
    uint64_t* set = &gl2_.lines[line % gl2_.sets * gl2_.ways];
    for (uint64_t way = 0; way < gl2_.ways; ++way) {
      if (set[way] != 0 && (set[way] - 1) >> 1 == line) {
        std::copy(set + way + 1, set + gl2_.ways, set + way);
        set[gl2_.ways - 1] = 0;
        break;
      }
    }
  }
}

}  // namespace outboard::simulator::compute
