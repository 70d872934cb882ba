// Mixtures of experts.
#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

kernels::Matrix Lowerer::expert_matrix(program::WeightId id, int experts) {
  kernels::Matrix m = weights_.matrix(id);
  m.rows /= experts;
  return m;
}

kernels::Part Lowerer::expert_part(program::WeightId id, program::WeightId bias, int experts,
                                   const View& out) {
  kernels::Part part{};
  part.matrix = expert_matrix(id, experts);
  part.bias = weights_.vector(bias);
  part.out = pointer<float>(write(out));
  part.stride = out.stride;
  part.expert_rows = part.matrix.rows;
  return part;
}

std::array<kernels::Part, 2> Lowerer::gate_and_up(const program::Experts& op, int experts,
                                                  const View& gate, const View& up) {
  std::array<kernels::Part, 2> parts{expert_part(op.gate, op.gate_bias, experts, gate), {}};
  if (op.up != kNone) {
    parts[1] = expert_part(op.up, op.up_bias, experts, up);
    return parts;
  }
  parts[1] = expert_part(op.gate, op.gate_bias, experts, up);
  for (kernels::Part& part : parts) part.matrix.rows /= 2;
  parts[1].expert_first = parts[1].matrix.rows;
  return parts;
}

kernels::Routing Lowerer::routing(const program::Experts& op, const Choice& choice) {
  kernels::Routing r{};
  r.experts = weights_.matrix(op.router).rows;
  r.used = op.used;
  r.normalise = op.normalise ? 1 : 0;
  r.gating = static_cast<kernels::Gating>(op.gating);
  r.scale = op.scale;
  r.group_count = op.group_count;
  r.group_used = op.group_used;
  r.selection_bias = weights_.vector(op.selection_bias);
  r.down_scale = weights_.vector(op.down_scale);
  r.logits = pointer<const float>(range_of(choice.logits).address);
  r.logit_stride = choice.logits.stride;
  for (const int storage : {choice.chosen, choice.weights})
    accesses_.writes.push_back(range(storage));
  r.chosen = pointer<int32_t>(range(choice.chosen).address);
  r.weights = pointer<float>(range(choice.weights).address);
  return r;
}

void Lowerer::lower(const program::Experts& op, ValueId out) {
  const int tokens = rows_of(out);
  const kernels::Matrix router = weights_.matrix(op.router);
  if (router.rows > kernels::kMaxExperts || op.used > kernels::kMaxExpertsUsed)
    throw Error(fmt::format("{} of {} experts: the card chooses up to {} of {}", op.used,
                            router.rows, kernels::kMaxExpertsUsed, kernels::kMaxExperts),
                "Use --device cpu for this model.");
  if (op.weights_first || op.group_count > 32)
    throw Error(
        op.weights_first
            ? "experts whose rows are weighed before they go in (Llama 4): the card does not"
            : fmt::format("{} groups of experts: the card takes up to 32", op.group_count),
        "Use --device cpu for this model.");
  const bool few = tokens <= kMatvecRows;
  kernels::ExpertMatvecArgs args{};
  args.matvec.input = input(op.routed == kNone ? op.x : op.routed);
  args.matvec.step = step();
  const uint64_t bytes =
      uint64_t{4} * static_cast<uint64_t>(tokens) * static_cast<uint64_t>(op.used);
  const Choice choice{new_view(tokens, router.rows), new_storage(bytes), new_storage(bytes)};
  args.matvec.part_count = 1;
  args.matvec.parts[0] = expert_part(op.router, op.router_bias, 1, choice.logits);
  if (few) {
    args.routing = routing(op, choice);
    args.ended = counters();
  }
  launch_expert_matvec(args, tokens);
  const Product p = product(nullptr, out);
  if (few)
    few_rows(op, choice, p, tokens);
  else
    many_rows(op, choice, p, tokens);
}

void Lowerer::launch_expert_matvec(kernels::ExpertMatvecArgs args, int rows) {
  const uint32_t workgroups = kernels::plan_matvec(args.matvec, 1, rows);
  args.workgroups = static_cast<int>(workgroups);
  launch(kernels::expert_matvec_kernel(args), args, {workgroups, static_cast<uint32_t>(rows), 1});
}

void Lowerer::few_rows(const program::Experts& op, const Choice& choice, const Product& p,
                       int tokens) {
  const int experts = weights_.matrix(op.router).rows;
  const int32_t gate_type = weights_.matrix(op.gate).type;
  // What the first launch gives is gated already.
  const bool one_type = op.gated && (op.up == kNone || weights_.matrix(op.up).type == gate_type);
  const int hidden = expert_matrix(op.down, experts).columns;
  const int pairs = tokens * op.used;
  // Rows of whole units, as expert_down reads them.
  const auto hidden_view = [&] {
    return new_view(pairs, static_cast<int>(round_up(static_cast<uint64_t>(hidden), 32)));
  };
  const View gated = hidden_view();
  std::optional<View> other;  // up's own, where the two types differ
  {
    kernels::ExpertMatvecArgs args{};
    args.matvec.input = input(op.x);
    args.matvec.step = step();
    args.matvec.gated = one_type ? 1 : 0;
    args.matvec.function = function_of(op.function);
    if (op.gated) {
      args.matvec.part_count = 2;
      if (!one_type) other = hidden_view();
      const auto parts = gate_and_up(op, experts, gated, other.value_or(gated));
      args.matvec.parts[0] = parts[0];
      args.matvec.parts[1] = parts[1];
    } else {
      args.matvec.part_count = 1;
      args.matvec.parts[0] = expert_part(op.gate, op.gate_bias, experts, gated);
    }
    args.chosen = read_scalars<const int32_t>(choice.chosen);
    args.used = op.used;
    launch_expert_matvec(args, pairs);
  }
  kernels::ExpertDownArgs args{};
  args.matrix = expert_matrix(op.down, experts);
  args.bias = weights_.vector(op.down_bias);
  // Units of the whole matrix are addressed in 32 bits.
  if (const uint64_t bytes =
          weights_.matrix(op.down).high.address - weights_.matrix(op.down).codes.address;
      bytes >> 32 != 0)
    throw Error(
        fmt::format("experts of {} bytes: the card takes matrices of less than 4 GiB", bytes),
        "Use --device cpu for this model, or a smaller quantization.");
  args.chosen = read_storage<const int32_t>(choice.chosen);
  args.weights = read_storage<const float>(choice.weights);
  args.x = pointer<const float>(read(gated));
  if (other) args.y = pointer<const float>(read(*other));
  args.stride = gated.stride;
  args.used = op.used;
  args.function = one_type ? kernels::Function::kIdentity : function_of(op.function);
  const View view = result_view(p);
  args.out = pointer<float>(write(view));
  args.out_stride = view.stride;
  args.accumulate = p.accumulate ? 1 : 0;
  if (p.accumulate) read(view);
  launch("expert_down", args,
         {kernels::expert_down_workgroups(args), static_cast<uint32_t>(tokens), 1});
  finish(p, view);
}

Lowerer::Slots Lowerer::sort_into_slots(int chosen, int tokens, int used, int experts) {
  const int pairs = tokens * used;
  const uint64_t pair_bytes = uint64_t{4} * static_cast<uint64_t>(pairs);
  Slots slots{};
  slots.slot_of = new_storage(pair_bytes);
  slots.token_of = new_storage(pair_bytes);
  slots.max_tiles = kernels::expert_max_tiles(pairs, experts);
  slots.tiles = new_storage(sizeof(kernels::ExpertTile) * static_cast<uint64_t>(slots.max_tiles));
  kernels::ExpertSlotsArgs args{};
  args.chosen = read_storage<const int32_t>(chosen);
  args.slot_of = write_storage<int32_t>(slots.slot_of);
  args.token_of = write_storage<int32_t>(slots.token_of);
  args.tiles = write_storage<kernels::ExpertTile>(slots.tiles);
  args.tokens = tokens;
  args.used = used;
  args.experts = experts;
  args.tile_slots = kernels::expert_tile_slots(pairs, experts);
  args.max_tiles = slots.max_tiles;
  launch("expert_slots", args, {1, 1, 1});
  return slots;
}

void Lowerer::multiply_slots(const Half& in, std::optional<int> rows, const Slots& slots,
                             std::initializer_list<kernels::Part> parts) {
  kernels::ExpertMatmulArgs args{};
  args.matmul.half = read_storage<const uint16_t>(in.half);
  args.matmul.factor = read_storage<const float>(in.factor);
  args.matmul.half_stride = in.stride;
  for (const kernels::Part& part : parts) args.matmul.parts[args.matmul.part_count++] = part;
  args.tiles = read_scalars<const kernels::ExpertTile>(slots.tiles);
  if (rows) args.rows = read_storage<const int32_t>(*rows);
  args.max_tiles = slots.max_tiles;
  launch("expert_matmul", args, {kernels::expert_matmul_workgroups(args), 1, 1});
}

void Lowerer::many_rows(const program::Experts& op, const Choice& choice, const Product& p,
                        int tokens) {
  const int experts = weights_.matrix(op.router).rows;
  const int pairs = tokens * op.used;
  const Half half = prepare_half(op.x, tokens);
  {
    kernels::RouteArgs args{};
    accesses_.scalar_reads.push_back(range_of(choice.logits));
    args.routing = routing(op, choice);
    args.tokens = tokens;
    launch("route", args, {static_cast<uint32_t>(tokens + 7) / 8, 1, 1});
  }
  const Slots slots = sort_into_slots(choice.chosen, tokens, op.used, experts);
  const int hidden = expert_matrix(op.down, experts).columns;
  const View gate = new_view(pairs, hidden);
  std::optional<View> up;
  if (op.gated) {
    up = new_view(pairs, hidden);
    const auto parts = gate_and_up(op, experts, gate, *up);
    multiply_slots(half, slots.token_of, slots, {parts[0], parts[1]});
  } else {
    multiply_slots(half, slots.token_of, slots,
                   {expert_part(op.gate, op.gate_bias, experts, gate)});
  }

  kernels::Input in{};
  in.kind = op.gated ? kernels::InputKind::kGated : kernels::InputKind::kActivated;
  in.function = function_of(op.function);
  in.width = hidden;
  in.x = pointer<const float>(read(gate));
  in.x_stride = gate.stride;
  if (up) {
    in.y = pointer<const float>(read(*up));
    in.y_stride = up->stride;
  }
  const Half gated = make_half(in, pairs);
  const View part = new_view(pairs, width_of(p.out));
  multiply_slots(gated, std::nullopt, slots, {expert_part(op.down, op.down_bias, experts, part)});

  kernels::ExpertSumArgs args{};
  args.part = pointer<const float>(read(part));
  args.slot_of = read_scalars<const int32_t>(slots.slot_of);
  args.weights = read_scalars<const float>(choice.weights);
  const View view = result_view(p);
  args.out = pointer<float>(write(view));
  args.out_stride = view.stride;
  args.stride = part.stride;
  args.width = part.width;
  args.used = op.used;
  args.accumulate = p.accumulate ? 1 : 0;
  if (p.accumulate) read(view);
  launch("expert_sum", args, {static_cast<uint32_t>(tokens), 1, 1});
  finish(p, view);
}

}  // namespace outboard::devices::gpu
