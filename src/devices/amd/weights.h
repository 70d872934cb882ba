// A model's weights in VRAM: raw blocks go over the link as they lie in the file and are taken
// apart into planes on the card (kernels/planes.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "devices/amd/device_buffer.h"
#include "devices/gpu/lowering.h"
#include "formats/model_file.h"
#include "program/program.h"

namespace outboard::devices::amd {

struct UploadOptions {
  std::function<void(uint64_t done, uint64_t total)> on_progress;  // bytes over the link
  std::function<void(std::string_view)> on_notice;                 // a type that was converted
};

class Weights : public gpu::WeightAddresses {
 public:
  // Finds VRAM for all weights of the program. Throws Error when it is short. The card must outlive
  // this.
  Weights(driver::Card& card, const program::Program& program,
          std::shared_ptr<const formats::Model> model);

  // Brings them there; again after the card was reset. code: address of the kernels' image.
  void upload(GpuAddress code, const UploadOptions& options);

  gpu::kernels::Matrix matrix(program::WeightId id) const override;
  gpu::kernels::Ptr<const float> vector(program::WeightId id) const override;
  gpu::kernels::Ptr<const float> turns(const program::Rope& rope) const override;

  uint64_t bytes() const { return bytes_; }  // VRAM
  const formats::Model* model() const { return model_.get(); }
  // Whether all that this Program of the same model uses is here.
  bool hold(const program::Program& program) const;

 private:
  void place_vectors(const program::Program& program);
  void place_matrices(const program::Program& program);
  static std::string turns_key(const program::Rope& rope);

  struct Placed {
    program::WeightId id;
    const formats::Tensor* tensor;
    std::vector<std::byte> converted;  // float16, of a type without kernels
    gpu::kernels::Matrix matrix;
    DeviceBuffer buffer;
  };

  driver::Card& card_;
  std::shared_ptr<const formats::Model> model_;
  uint64_t bytes_ = 0;
  std::vector<Placed> matrices_;
  std::map<program::WeightId, size_t> matrix_of_;
  std::vector<float> vector_values_;
  DeviceBuffer vectors_;
  std::map<program::WeightId, uint64_t> vector_offsets_;
  std::map<std::string, uint64_t> turns_offsets_;
};

}  // namespace outboard::devices::amd
