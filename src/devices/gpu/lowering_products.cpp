// Matrix products, with what comes before and after them.
#include <algorithm>

#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

bool Lowerer::is_settled(ValueId id, const Op* last) const {
  return std::ranges::all_of(users_[index(id)], [&](int user) {
    const Op& op = program_.ops[index(user)];
    if (&op == last) return true;
    // Experts read their input before the last of their launches, which stores.
    if (user == op_ && std::holds_alternative<program::Experts>(op.kind)) return true;
    if (user >= op_) return false;
    const bool at_once = std::holds_alternative<program::Linear>(op.kind) ||
                         std::holds_alternative<program::Attention>(op.kind) ||
                         std::holds_alternative<program::CrossAttention>(op.kind) ||
                         std::holds_alternative<program::KvWrite>(op.kind) ||
                         std::holds_alternative<program::Experts>(op.kind);
    return at_once || (views_[index(op.out)] && !std::holds_alternative<program::Slice>(op.kind)) ||
           is_settled(op.out, last);
  });
}

Product Lowerer::product(const program::Linear* linear, ValueId out) {
  Product p{linear, out, out};
  const Op* user = only_user(out);
  if (user == nullptr) return p;
  if (const auto* softcap = std::get_if<program::Softcap>(&user->kind);
      softcap != nullptr && linear != nullptr) {
    p.softcap = softcap->cap;
    p.result = user->out;
  } else if (const auto* add = std::get_if<program::Add>(&user->kind)) {
    const ValueId residual = add->a == out ? add->b : add->a;
    // The sum takes the residual's memory, so nothing may want the residual later.
    if (residual != out && views_[index(residual)] && !has_rows(out) &&
        op_of<program::Slice>(residual) == nullptr && is_settled(residual, user)) {
      p.accumulate = true;
      p.result = user->out;
    }
  }
  return p;
}

void Lowerer::lower_linear(const program::Linear& linear, ValueId out) {
  std::vector<Product> products{product(&linear, out)};
  // Others that multiply the same rows go along.
  for (size_t i = index(op_) + 1; i < program_.ops.size() && products.size() < 3; ++i) {
    const auto* other = std::get_if<program::Linear>(&program_.ops[i].kind);
    if (other == nullptr || other->x != linear.x || done_[i]) continue;
    const Product p = product(other, program_.ops[i].out);
    if (p.accumulate || products[0].accumulate || p.softcap != products[0].softcap) continue;
    products.push_back(p);
    done_[i] = true;
  }
  const int rows = rows_of(out);
  if (rows <= kMatvecRows)
    matvec(products, rows);
  else
    matmul(products, rows);
}

View Lowerer::result_view(const Product& p) {
  if (p.accumulate) {
    const auto& add =
        std::get<program::Add>(program_.ops[index(defined_by_[index(p.result)])].kind);
    const ValueId residual = add.a == p.out ? add.b : add.a;
    return materialize(residual);
  }
  return output_view(p.result);
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

const Op* Lowerer::gate_of(const std::vector<Product>& products) const {
  if (products.size() != 2 || products[0].result != products[0].out ||
      products[1].result != products[1].out)
    return nullptr;
  const Op* first = only_user(products[0].out);
  if (first == nullptr || first != only_user(products[1].out)) return nullptr;
  // A wave takes a row of each at a time, with one format's code.
  if (weights_.matrix(products[0].linear->weight).type !=
      weights_.matrix(products[1].linear->weight).type)
    return nullptr;
  return std::get_if<program::Gate>(&first->kind) != nullptr ? first : nullptr;
}

void Lowerer::matvec(std::vector<Product> products, int rows) {
  kernels::MatvecArgs args{};
  args.input = input(products[0].linear->x);
  args.step = step();
  args.softcap = products[0].softcap;
  if (const Op* op = gate_of(products)) {
    const auto& gate = std::get<program::Gate>(op->kind);
    if (products[0].out != gate.gate) std::swap(products[0], products[1]);
    const View view = output_view(op->out);
    args.gated = 1;
    args.function = function_of(gate.function);
    args.part_count = 2;
    for (size_t i = 0; i < 2; ++i) args.parts[i] = part(products[i], view);
    views_[index(op->out)] = view;
    done_[index(defined_by_[index(op->out)])] = true;
  } else {
    for (const Product& p : products) {
      const View view = result_view(p);
      args.parts[args.part_count++] = part(p, view);
      finish(p, view);
    }
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

void Lowerer::matmul(const std::vector<Product>& products, int rows) {
  const Half half = prepare_half(products[0].linear->x, rows);
  kernels::MatmulArgs args{};
  for (const int storage : {half.half, half.factor}) accesses_.reads.push_back(range(storage));
  args.half = pointer<const uint16_t>(range(half.half).address);
  args.factor = pointer<const float>(range(half.factor).address);
  args.half_stride = half.stride;
  args.m = rows;
  args.softcap = products[0].softcap;
  for (const Product& p : products) {
    const View view = result_view(p);
    args.parts[args.part_count++] = part(p, view);
    finish(p, view);
  }
  launch("matmul", args, {kernels::matmul_workgroups(args), 1, 1});
}

}  // namespace outboard::devices::gpu
