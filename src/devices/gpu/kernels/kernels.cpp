#include "devices/gpu/kernels/kernels.h"

#include <algorithm>

#include "support/error.h"

namespace outboard::devices::gpu::kernels {

const Kernel& find(std::string_view name) {
  const auto kernels = all();
  const auto found = std::ranges::find(kernels, name, &Kernel::name);
  if (found == kernels.end()) fail("there is no kernel {}", name);
  return *found;
}

}  // namespace outboard::devices::gpu::kernels
