#include "devices/gpu/recorder.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::devices::gpu {
namespace {

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

  launch.scalar = overlap(accesses.scalar_reads, unseen_by_scalar_);
  launch.vector = launch.scalar || overlap(accesses.reads, unseen_by_vector_);
  launch.barrier = launch.vector || overlap(accesses.writes, since_barrier_.writes) ||
                   overlap(accesses.writes, since_barrier_.reads);
  if (launch.barrier) since_barrier_ = {};
  if (launch.vector) unseen_by_vector_.clear();
  if (launch.scalar) unseen_by_scalar_.clear();
  append(since_barrier_.reads, accesses.reads);
  append(since_barrier_.reads, accesses.scalar_reads);
  append(since_barrier_.writes, accesses.writes);
  append(unseen_by_vector_, accesses.writes);
  append(unseen_by_scalar_, accesses.writes);
  launches_.push_back(launch);
}

}  // namespace outboard::devices::gpu
