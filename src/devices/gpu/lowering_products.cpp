// Matrix products, with what comes before and after them.
#include <algorithm>
#include <utility>

#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

void Lowerer::lower(const program::Linear& linear, ValueId out) {
  Products products{.all = {product(&linear, out)}};
  const Product first = products.all[0];
  // Others that multiply the same rows go along.
  for (size_t i = index(op_) + 1; i < program_.ops.size() && products.all.size() < 3; ++i) {
    const auto* other = std::get_if<program::Linear>(&program_.ops[i].kind);
    if (other == nullptr || other->x != linear.x || done_[i]) continue;
    const Product p = product(other, program_.ops[i].out);
    if (p.accumulate || first.accumulate || p.softcap != first.softcap) continue;
    products.all.push_back(p);
    done_[i] = true;
  }
  const int rows = rows_of(out);
  if (rows <= kMatvecRows)
    matvec(std::move(products), rows);
  else
    matmul(products, rows);
}

View Lowerer::result_view(const Product& p) {
  return p.accumulate ? materialize(residual_of(p)) : output_view(p.result);
}

kernels::Part Lowerer::part(const Product& p, const View& view) {
  kernels::Part part{};
  part.matrix = weights_.matrix(p.linear->weight);
  part.bias = weights_.vector(p.linear->bias);
  part.out = pointer<float>(write(view));
  part.stride = view.stride;
  part.accumulate = p.accumulate ? 1 : 0;
  if (p.accumulate) read(view);
  return part;
}

void Lowerer::finish(const Product& p, const View& view) {
  views_[index(p.result)] = view;
  if (p.result != p.out) done_[index(defined_by_[index(p.result)])] = true;
}

void Lowerer::matvec(Products products, int rows) {
  kernels::MatvecArgs args{};
  args.input = input(products.all[0].linear->x);
  args.step = step();
  args.softcap = products.all[0].softcap;
  take_pair(products);
  std::optional<View> both;
  if (products.parts != 0) {
    args.gated = 1;
    args.function = products.function;
    both = output_view(products.all[0].result);
  }
  for (const Product& p : products.all) {
    const View view = both ? *both : result_view(p);
    args.parts[args.part_count++] = part(p, view);
    finish(p, view);
  }
  launch(kernels::matvec_kernel(args, rows), args, {kernels::plan_matvec(args), 1, 1});
}

Half Lowerer::prepare_half(ValueId id, int rows) {
  const auto found = std::ranges::find(halves_, id, &Half::value);
  if (found != halves_.end()) return *found;
  halves_.push_back(make_half(input(id), rows));
  halves_.back().value = id;
  return halves_.back();
}

Half Lowerer::make_half(const kernels::Input& in, int rows) {
  kernels::PrepareArgs args{};
  args.input = in;
  args.step = step();
  const auto count = static_cast<uint64_t>(rows);
  Half half{kNone, 0, 0, static_cast<int>(round_up(static_cast<uint64_t>(in.width), 32))};
  half.half = new_storage(count * static_cast<uint64_t>(half.stride) * 2);
  half.factor = new_storage(count * 4);
  for (const int storage : {half.half, half.factor}) accesses_.writes.push_back(range(storage));
  args.half = pointer<uint16_t>(range(half.half).address);
  args.half_stride = half.stride;
  args.factor = pointer<float>(range(half.factor).address);
  launch("prepare", args, {static_cast<uint32_t>(rows), 1, 1});
  return half;
}

void Lowerer::matmul(const Products& products, int rows) {
  const Half half = prepare_half(products.all[0].linear->x, rows);
  kernels::MatmulArgs args{};
  for (const int storage : {half.half, half.factor}) accesses_.reads.push_back(range(storage));
  args.half = pointer<const uint16_t>(range(half.half).address);
  args.factor = pointer<const float>(range(half.factor).address);
  args.half_stride = half.stride;
  args.m = rows;
  args.softcap = products.all[0].softcap;
  for (const Product& p : products.all) {
    const View view = result_view(p);
    args.parts[args.part_count++] = part(p, view);
    finish(p, view);
  }
  launch("matmul", args, {kernels::matmul_workgroups(args), 1, 1});
}

}  // namespace outboard::devices::gpu
