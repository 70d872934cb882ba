// A Program on the card: streams recorded once a shape, steps queued by one message each at most.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/amd/amd_device.h"
#include "devices/amd/host_rows.h"
#include "devices/amd/stream.h"
#include "devices/amd/weights.h"
#include "devices/device.h"
#include "devices/gpu/lowering.h"
#include "devices/gpu/step_record.h"

namespace outboard::devices::amd {

class AmdExecutable : public Executable {
 public:
  // REQUIRES: the device outlives this.
  AmdExecutable(AmdDevice& device, program::Program program,
                std::shared_ptr<const formats::Model> model, const CompileOptions& options);

  Ticket submit(const Step& step) override;
  StepResult wait(Ticket ticket) override;
  const CompileOptions& options() const override { return options_; }
  MemoryUse memory() const override;
  size_t page_bytes(PageKind kind) const override;
  size_t slot_bytes() const override;
  std::string page_layout() const override;
  void read_page(PageKind kind, int32_t page, std::span<std::byte> bytes) override;
  void write_page(PageKind kind, int32_t page, std::span<const std::byte> bytes) override;
  void read_slot(int32_t slot, std::span<std::byte> bytes) override;
  void write_slot(int32_t slot, std::span<const std::byte> bytes) override;
  // What the host brings for a token, it brings when it knows the token.
  int lookahead() const override { return brings_rows_ ? 1 : device_.lookahead(); }

 private:
  // Records that can be under way.
  static constexpr int kSlots = 16;
  static_assert(kSlots > AmdDevice::kLookahead);

  // What belongs to a boot of the card, and is made anew after a reset.
  struct OnCard {
    std::shared_ptr<Weights> weights;
    SystemPiece records;  // [kSlots, layout.bytes]
    SystemPiece results;  // [kSlots, max_runs] int32
    SystemPiece best;     // [kSlots, max_runs, kMaxBest] Candidate
    SystemPiece masks;    // [most_masks_, mask_words] uint32, of the last step that has some
    std::optional<HostRows> host_rows;  // of the last step
    DeviceBuffer copies;                // [kSlots], arguments of copy_pages
    DeviceBuffer control;               // the step's record, what was chosen, flags
    DeviceBuffer logits;
    std::array<DeviceBuffer, 2> kv;  // by PageKind
    DeviceBuffer kept;               // rows, where the Program drafts
    DeviceBuffer slots;
    DeviceBuffer arena;
    gpu::StreamMemory memory;
    GpuAddress slot_word{};
    std::vector<std::pair<gpu::StreamShape, std::unique_ptr<Stream>>> streams;
  };
  struct Pending {
    Ticket ticket = 0;
    driver::Fence fence = 0;
    int choices = 0;  // of tokens
    int rows = 0;
    bool wants_logits = false;
    std::vector<int> best;  // candidates of the runs that want some; else 0
    gpu::StreamShape shape;
  };

  void set_up();
  const Stream& stream(const gpu::StreamShape& shape);
  void upload_copy_arguments();
  std::vector<uint32_t> copy_packets(int slot, const Step& step) const;
  std::vector<uint32_t> step_packets(const Step& step, const gpu::StreamShape& shape, int slot);
  void write_masks(const Step& step);
  void write_host_rows(const Step& step);
  void ring(driver::Fence fence);
  void wait_for(const Pending& pending);
  std::span<const Candidate> read_best(const Pending& pending, uint64_t slot);
  template <typename Body>
  auto guarded(const Body& body);  // a failure of the card resets it and throws DeviceReset

  AmdDevice& device_;
  program::Program program_;
  std::shared_ptr<const formats::Model> model_;
  CompileOptions options_;
  gpu::kernels::StepLayout layout_;
  int max_runs_;
  bool brings_rows_;
  std::unique_ptr<OnCard> on_card_;
  std::array<Pending, kSlots> pending_;
  Ticket submitted_ = 0;
  int generation_ = 0;            // of the card, which on_card_ belongs to
  bool is_card_failure_ = false;  // set while a fence is waited for: an Error then means a hang
  driver::Fence queued_ = 0;      // of the last step
  driver::Fence rung_ = 0;        // the card was told of steps up to here
  std::vector<std::byte> record_;
  std::vector<int32_t> chosen_;
  std::vector<float> logits_;
  int most_masks_;
  std::vector<uint32_t> mask_;
  Ticket masked_ = 0;   // the last step with masks
  Ticket brought_ = 0;  // the last step with rows of the host's
  std::vector<Candidate> best_;
};

}  // namespace outboard::devices::amd
