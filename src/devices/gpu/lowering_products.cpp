// Matrix products, with what comes before and after them.
#include <algorithm>
#include <utility>

#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

void Lowerer::lower(const program::Linear& linear, ValueId out) {
  if (program_.weights[index(linear.weight)].shape.size() == 3) return lower_heads(linear, out);
  Products products{.all = {product(&linear, out)}};
  const Product first = products.all[0];
  // Others that multiply the same rows go along.
  for (size_t i = index(op_) + 1;
       i < program_.ops.size() && products.all.size() < kernels::kMaxParts; ++i) {
    const auto* other = std::get_if<program::Linear>(&program_.ops[i].kind);
    if (other == nullptr || other->x != linear.x || done_[i] ||
        program_.weights[index(other->weight)].shape.size() == 3)
      continue;
    const Product p = product(other, program_.ops[i].out);
    if (p.accumulate || first.accumulate || p.softcap != first.softcap) continue;
    products.all.push_back(p);
    done_[i] = true;
  }
  // Workgroups begin in order: those with the most to read first, so that none of them is left over
  // when all others are done.
  const auto is_heavier = [&](const Product& a, const Product& b) {
    const auto row_bytes = [&](const Product& p) {
      const program::Weight& weight = program_.weights[index(p.linear->weight)];
      return formats::storage_bytes(weight.type, weight.shape.back());
    };
    return row_bytes(a) > row_bytes(b);
  };
  for (auto each = products.all.begin(); each != products.all.end(); ++each)
    std::rotate(std::upper_bound(products.all.begin(), each, *each, is_heavier), each, each + 1);
  const int rows = rows_of(out);
  const bool is_wide = rows >= kLeastFewRows && !kernels::matvec_holds(width_of(linear.x), rows);
  if (rows <= kMatvecRows && !is_wide)
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
  launch(kernels::matvec_kernel(args, rows), args, {kernels::plan_matvec(args, rows), 1, 1});
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
  if (rows <= kernels::kFewTokens)
    launch("matmul_few", args, {kernels::few_workgroups(args), 1, 1});
  else
    launch("matmul", args, {kernels::matmul_workgroups(args), 1, 1});
}

// Every head's row is a row of its own: of T tokens T * heads.
void Lowerer::lower_heads(const program::Linear& linear, ValueId out) {
  const auto& shape = program_.weights[index(linear.weight)].shape;
  const auto heads = static_cast<int>(shape[0]);
  const auto outputs = static_cast<int>(shape[1]), inputs = static_cast<int>(shape[2]);
  const int pairs = rows_of(out) * heads;
  const auto [rows, x_head] = heads_of(linear.x, inputs);
  const Op* behind = concat_behind(out, heads);
  const int out_head = behind == nullptr ? outputs : width_of(behind->out) / heads;
  if (rows.stride != x_head * heads || rows.column % 4 != 0 || out_head % 4 != 0)
    throw Error(fmt::format("{}: heads of {} and {} elements: the card takes multiples of 4",
                            program_.weights[index(linear.weight)].name, inputs, outputs),
                "Use --device cpu for this model.");
  const View x{rows.storage, rows.column, x_head, inputs};
  const View view = output_view(behind == nullptr ? out : behind->out);
  const View flat{view.storage, 0, out_head, outputs};
  if (rows_of(out) <= kMatvecRows) {
    kernels::ExpertMatvecArgs args{};
    args.heads = heads;
    args.matvec.step = step();
    args.matvec.input.width = inputs;
    args.matvec.input.x = pointer<const float>(read(x));
    args.matvec.input.x_stride = x.stride;
    args.matvec.part_count = 1;
    args.matvec.parts[0] = expert_part(linear.weight, kNone, heads, flat);
    launch_expert_matvec(args, pairs);
  } else {
    multiply_heads(linear.weight, x, heads, pairs, flat);
  }
  if (behind == nullptr)
    views_[index(out)] = view;
  else
    begun_[index(behind->out)] = view;
}

const Op* Lowerer::concat_behind(ValueId id, int heads) const {
  const Op* user = only_user(id);
  const auto* concat = user == nullptr ? nullptr : std::get_if<program::Concat>(&user->kind);
  if (concat == nullptr || concat->a != id || concat->heads != heads) return nullptr;
  const auto* turned = op_of<program::Rope>(concat->b);
  const bool fits = turned != nullptr && only_user(concat->b) != nullptr &&
                    !views_[index(concat->b)] && turned->head_dim * heads == width_of(concat->b);
  return fits ? user : nullptr;
}

// Rows are sorted by head, and put back in order behind the product.
void Lowerer::multiply_heads(program::WeightId weight, const View& x, int heads, int pairs,
                             const View& out) {
  const int chosen = new_storage(uint64_t{4} * static_cast<uint64_t>(pairs));
  {
    kernels::NumberHeadsArgs args{};
    args.chosen = write_storage<int32_t>(chosen);
    args.count = pairs;
    args.heads = heads;
    launch("number_heads", args, {static_cast<uint32_t>(pairs + 255) / 256, 1, 1});
  }
  const Slots slots = sort_into_slots(chosen, pairs, 1, heads);
  kernels::Input in{};
  in.width = x.width;
  in.x = pointer<const float>(read(x));
  in.x_stride = x.stride;
  const Half half = make_half(in, pairs);
  const View sorted = new_view(pairs, out.width);
  multiply_slots(half, slots.token_of, slots, {expert_part(weight, kNone, heads, sorted)});
  kernels::ElementwiseArgs args{};
  args.kind = kernels::RowsKind::kGather;
  args.step = step();
  args.width = out.width;
  args.x = pointer<const float>(read(sorted));
  args.x_stride = sorted.stride;
  args.y = read_scalars<const float>(slots.slot_of);
  args.y_stride = 0;
  args.out = pointer<float>(write(out));
  args.out_stride = out.stride;
  launch_elementwise(args, pairs);
}

}  // namespace outboard::devices::gpu
