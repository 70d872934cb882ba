#include "engine/not_finite.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "devices/sampler.h"
#include "formats/quantize.h"

namespace outboard::engine {
namespace {

using program::Op;
using program::Program;

constexpr int kPageTokens = 32;
constexpr size_t kStepTokens = 512;

// Rows of logits, or what they are made from: single ones may be minus infinity.
bool is_logits(const Program& program, const Op& op) {
  const std::vector<program::Dim>& shape = program.values[static_cast<size_t>(op.out)].shape;
  return shape[0].kind == program::Dim::kRows && shape[1].size == program.vocabulary;
}

bool is_fine(const Program& program, const Op& op, std::span<const float> row) {
  if (is_logits(program, op))
    return devices::can_choose(row) &&
           devices::can_choose(row.first(static_cast<size_t>(program.tokens)));
  return std::ranges::all_of(row, [](float x) { return std::isfinite(x); });
}

struct Found {
  size_t op;
  int position;
};

std::vector<int32_t> numbers(size_t first, size_t count) {
  std::vector<int32_t> list(count);
  std::iota(list.begin(), list.end(), static_cast<int32_t>(first));
  return list;
}

// Runs the sequence on the CPU; the first op whose result is not finite.
std::optional<Found> find(const Model& model, const Broken& broken) {
  const Program& program = model.program();
  const std::span<const int32_t> tokens = broken.tokens;
  const std::span<const int32_t> source = broken.source;
  const auto pages_of = [](size_t count) { return (count + kPageTokens - 1) / kPageTokens; };
  const std::vector<int32_t> source_pages = numbers(0, pages_of(source.size()));
  const std::vector<int32_t> pages = numbers(source_pages.size(), pages_of(tokens.size()));

  std::optional<Found> found;
  size_t done = 0;
  devices::CompileOptions options;
  options.max_tokens =
      static_cast<int>(std::max(source.size(), std::min(tokens.size(), kStepTokens)));
  options.max_rows = 1;
  options.pages = static_cast<int>(source_pages.size() + pages.size());
  options.page_tokens = kPageTokens;
  options.slots = 1;
  options.look = [&](size_t op, int row, std::span<const float> values) {
    if (found || is_fine(program, program.ops[op], values)) return;
    const bool last = program.values[static_cast<size_t>(program.ops[op].out)].shape[0].kind ==
                      program::Dim::kRows;
    found = {op, static_cast<int>(last ? tokens.size() - 1 : done + static_cast<size_t>(row))};
  };
  const auto device = devices::open_cpu(0);
  const auto executable = device->compile(program, model.shared_file(), options);
  const auto run = [&](const devices::Run& part, bool encode) {
    devices::Step step{{&part, 1}, {}};
    step.encode = encode;
    executable->wait(executable->submit(step));
  };
  if (!source.empty()) run({source, 0, source_pages, devices::Run::Logits::kNone, nullptr}, true);
  while (!found && done < tokens.size()) {
    const auto part = tokens.subspan(done, std::min(kStepTokens, tokens.size() - done));
    const bool last = done + part.size() == tokens.size();
    devices::Run of_part{part, static_cast<int>(done), pages,
                         last ? devices::Run::Logits::kLast : devices::Run::Logits::kNone, nullptr};
    of_part.source_pages = source_pages;
    of_part.source_tokens = static_cast<int>(source.size());
    of_part.slot = 0;
    run(of_part, false);
    done += part.size();
  }
  return found;
}

// "blk.3.ffn_down.weight, row 17, holds NaN"; empty where all of the tensor's numbers are finite.
std::string broken_row(const formats::Tensor& tensor, bool bias_of_logits) {
  std::vector<float> row(static_cast<size_t>(tensor.columns()));
  const size_t bytes = formats::storage_bytes(tensor.type, tensor.columns());
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    formats::dequantize(tensor.type, tensor.data.data() + static_cast<size_t>(r) * bytes, row);
    const auto broken = std::ranges::find_if(row, [&](float x) {
      return std::isnan(x) || (std::isinf(x) && !(bias_of_logits && x < 0));
    });
    if (broken == row.end()) continue;
    const std::string place =
        tensor.shape.size() < 2 ? fmt::format("element {}", broken - row.begin())
        : tensor.shape.size() == 2
            ? fmt::format("row {}", r)
            : fmt::format("matrix {}, row {}", r / tensor.shape[1], r % tensor.shape[1]);
    return fmt::format("{}, {}, holds {}", tensor.name, place,
                       std::isnan(*broken) ? "NaN" : "an infinite number");
  }
  return {};
}

Error explain(const Model& model, std::string message, const Found& found) {
  const Program& program = model.program();
  const Op& op = program.ops[found.op];
  message +=
      fmt::format(" this begins at {} ({}){}, position {}",
                  program.values[static_cast<size_t>(op.out)].name, program::name_of(op.kind),
                  found.op < program.encoder_ops ? " of the source" : "", found.position);
  std::string weights;
  for (const program::WeightId id : program::weights_of(op)) {
    if (id == program::kNone) continue;
    const formats::Tensor& tensor = model.file().get(program.weights[static_cast<size_t>(id)].name);
    const std::string broken =
        broken_row(tensor, is_logits(program, op) && tensor.shape.size() == 1);
    if (!broken.empty())
      return Error(fmt::format("{}: tensor {}", message, broken),
                   "The file is damaged, or was made from a damaged one: get it again.");
    weights += fmt::format("{}{}", weights.empty() ? "" : ", ", tensor.name);
  }
  return Error(fmt::format("{}: what goes in is finite{}, but the results leave the range of "
                           "numbers",
                           message, weights.empty() ? "" : fmt::format(", {} too", weights)),
               "The weights may be damaged or wrongly converted: get the file again, or another "
               "one of this model.");
}

}  // namespace

NotFinite not_finite(const Model& model, const std::string& device,
                     std::span<const Broken> sequences) {
  const auto what = [&](const Broken& broken) {
    const size_t count = broken.tokens.size();
    return fmt::format("{}: on {} the logits behind {} token{} are NaN or infinite",
                       model.file().path.string(), device, count, count == 1 ? "" : "s");
  };
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::string message = what(sequences[i]);
    try {
      if (const auto found = find(model, sequences[i]))
        return {i, explain(model, message + "; looked at step by step on the CPU,", *found)};
    } catch (const Error& e) {
      return {i, Error(fmt::format("{}; looking for where that begins failed: {}", message,
                                   e.message()),
                       e.hint())};
    }
  }
  const std::string message = what(sequences.front());
  if (device.starts_with("CPU"))
    return {0, Error(message + "; computed once more, they are finite",
                     "This computer does not give the same result twice: test its memory.")};
  return {0, Error(fmt::format("{}; computed once more on the CPU, they are finite: {} computed "
                               "wrongly",
                               message, device),
                   "Test it with `outboard doctor`; `--device cpu` does without it.")};
}

}  // namespace outboard::engine
