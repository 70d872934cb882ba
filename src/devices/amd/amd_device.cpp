#include "devices/amd/amd_device.h"

#include <utility>

#include "devices/amd/executable.h"
#include "devices/gpu/kernels/kernels.h"
#include "program/cost.h"

namespace outboard::devices::amd {

AmdDevice::AmdDevice(std::unique_ptr<link::Link> link, AmdOptions options)
    : link_(std::move(link)),
      options_(std::move(options)),
      card_(std::make_unique<driver::Card>(*link_, options_.boot)),
      code_(*card_, gpu::kernels::image().size(), "kernels") {
  load_kernels();
  if (!card_->was_warm()) test();
}

void AmdDevice::test() {
  if (!options_.self_test) return;
  // The models of the test are not kept, those of the user are.
  const std::shared_ptr<Weights> kept = std::exchange(weights_, nullptr);
  testing_ = true;
  try {
    options_.self_test(*this);
  } catch (...) {
    testing_ = false;
    weights_ = kept;
    throw;
  }
  testing_ = false;
  weights_ = kept;
}

void AmdDevice::load_kernels() { card_->upload(code_.buffer(), 0, gpu::kernels::image()); }

std::string AmdDevice::description() const {
  constexpr uint64_t kGiB = uint64_t{1} << 30;
  const driver::CardFacts& facts = card_->facts();
  return fmt::format("{}, {} CUs, {} GiB, {}", facts.name, facts.compute_units,
                     (facts.vram_bytes + kGiB / 2) / kGiB, link_->name());
}

std::unique_ptr<Executable> AmdDevice::compile(program::Program program,
                                               std::shared_ptr<const formats::Model> model,
                                               const CompileOptions& options) {
  return std::make_unique<AmdExecutable>(*this, std::move(program), std::move(model), options);
}

uint64_t AmdDevice::room(const formats::Model* model, const program::Program* program) const {
  uint64_t free = card_->memory().free_bytes();
  if (weights_ != nullptr && weights_->model() == model) return free;
  // Those of another model go, if nobody uses them.
  if (weights_.use_count() == 1) free += weights_->bytes();
  const uint64_t with_host = program == nullptr ? 0 : program::host_table_bytes(*program);
  const uint64_t weights = model == nullptr ? 0 : model->tensor_bytes() - with_host;
  return std::max<uint64_t>(1, free - std::min(free, weights));
}

std::shared_ptr<Weights> AmdDevice::weights(const program::Program& program,
                                            const std::shared_ptr<const formats::Model>& model) {
  if (weights_ == nullptr || weights_->model() != model.get() || !weights_->hold(program)) {
    weights_.reset();  // frees the last model's memory, if nobody uses it
    weights_ = std::make_shared<Weights>(*card_, program, model);
    weights_->upload(code(), options_.upload);
  }
  return weights_;
}

void AmdDevice::recover(const std::function<void()>& release) {
  if (testing_)
    throw Error("the card hangs in its self-test",
                "Power the enclosure off and on; if it happens again, run `outboard doctor`.");
  card_->recover();
  ++generation_;
  release();
  load_kernels();
  test();
  if (weights_) weights_->upload(code(), options_.upload);
}

}  // namespace outboard::devices::amd
