// ggml_product TYPE ROWS COLUMNS TOKENS REPEATS FILE: the product of a matrix of a ggml type and
// TOKENS vectors on ggml's CPU backend with one thread, REPEATS times. The weight lies in a buffer
// that ggml repacks for the processor if it can: what llama.cpp does on its own. The weight as it
// is in model files, the vectors and the product are written to FILE for outboard_product.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"
#include "ggml.h"

namespace {

ggml_type type_named(const char* name) {
  for (int type = 0; type < GGML_TYPE_COUNT; ++type) {
    const char* each = ggml_type_name(static_cast<ggml_type>(type));
    if (each != nullptr && std::strcmp(each, name) == 0) return static_cast<ggml_type>(type);
  }
  std::fprintf(stderr, "no ggml type %s\n", name);
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) return 2;
  const ggml_type type = type_named(argv[1]);
  const int64_t rows = std::atoll(argv[2]);
  const int64_t columns = std::atoll(argv[3]);
  const int64_t tokens = std::atoll(argv[4]);
  const int repeats = std::atoi(argv[5]);

  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (float& value : values) value = normal(random);
  std::vector<float> inputs(static_cast<size_t>(tokens * columns));
  for (float& input : inputs) input = normal(random);

  ggml_context* context =
      ggml_init({16 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true});
  ggml_tensor* weight = ggml_new_tensor_2d(context, type, columns, rows);
  ggml_tensor* input = ggml_new_tensor_2d(context, GGML_TYPE_F32, columns, tokens);
  ggml_tensor* product = ggml_mul_mat(context, weight, input);
  std::vector<char> bytes(ggml_nbytes(weight));
  ggml_quantize_chunk(type, values.data(), bytes.data(), 0, rows, columns, nullptr);

  // The first kind of buffer for weights that takes this product, as in llama.cpp's loader.
  ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  const auto extra =
      reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
          ggml_backend_dev_backend_reg(device), "ggml_backend_dev_get_extra_bufts"));
  std::vector<ggml_backend_buffer_type_t> kinds;
  for (auto* kind = extra(device); kind != nullptr && *kind != nullptr; ++kind)
    kinds.push_back(*kind);
  kinds.push_back(ggml_backend_cpu_buffer_type());
  for (ggml_backend_buffer_type_t kind : kinds) {
    weight->buffer = ggml_backend_buft_alloc_buffer(kind, 0);
    const bool takes = ggml_backend_dev_supports_op(device, product);
    ggml_backend_buffer_free(weight->buffer);
    weight->buffer = nullptr;
    if (!takes) continue;
    ggml_backend_buffer_t buffer =
        ggml_backend_buft_alloc_buffer(kind, ggml_backend_buft_get_alloc_size(kind, weight));
    ggml_backend_buffer_set_usage(buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    ggml_backend_tensor_alloc(buffer, weight, ggml_backend_buffer_get_base(buffer));
    ggml_backend_tensor_set(weight, bytes.data(), 0, bytes.size());
    std::printf("%s\n", ggml_backend_buft_name(kind));
    break;
  }
  ggml_backend_alloc_ctx_tensors_from_buft(context, ggml_backend_cpu_buffer_type());
  ggml_backend_tensor_set(input, inputs.data(), 0, inputs.size() * sizeof(float));

  ggml_cgraph* graph = ggml_new_graph(context);
  ggml_build_forward_expand(graph, product);
  ggml_backend_t backend = ggml_backend_cpu_init();
  ggml_backend_cpu_set_n_threads(backend, 1);
  for (int i = 0; i < repeats; ++i) {
    if (ggml_backend_graph_compute(backend, graph) != GGML_STATUS_SUCCESS) return 1;
  }

  std::vector<float> results(static_cast<size_t>(tokens * rows));
  ggml_backend_tensor_get(product, results.data(), 0, results.size() * sizeof(float));
  FILE* file = std::fopen(argv[6], "wb");
  if (file == nullptr) return 1;
  std::fwrite(bytes.data(), 1, bytes.size(), file);
  std::fwrite(inputs.data(), sizeof(float), inputs.size(), file);
  std::fwrite(results.data(), sizeof(float), results.size(), file);
  return std::fclose(file);
}
