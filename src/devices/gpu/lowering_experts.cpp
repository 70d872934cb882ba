// Mixtures of experts.
#include "devices/gpu/lowerer.h"

namespace outboard::devices::gpu {

kernels::Matrix Lowerer::expert_matrix(program::WeightId id, int experts) {
  kernels::Matrix m = weights_.matrix(id);
  m.rows /= experts;
  return m;
}

kernels::Part Lowerer::expert_part(program::WeightId id, int experts, const View& out) {
  kernels::Part part{};
  part.matrix = expert_matrix(id, experts);
  part.out = pointer<float>(write(out));
  part.stride = out.stride;
  return part;
}

kernels::Routing Lowerer::routing(const program::Experts& op, const Choice& choice) {
  kernels::Routing r{};
  r.experts = weights_.matrix(op.router).rows;
  r.used = op.used;
  r.normalise = op.normalise ? 1 : 0;
  accesses_.scalar_reads.push_back(range_of(choice.logits));
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
  Choice choice{new_view(tokens, router.rows), 0, 0};
  kernels::ExpertMatvecArgs args{};
  args.matvec.input = input(op.x);
  args.matvec.step = step();
  args.matvec.part_count = 1;
  args.matvec.parts[0] = expert_part(op.router, 1, choice.logits);
  launch("expert_matvec", args,
         {kernels::plan_matvec(args.matvec), static_cast<uint32_t>(tokens), 1});
  const uint64_t bytes =
      uint64_t{4} * static_cast<uint64_t>(tokens) * static_cast<uint64_t>(op.used);
  choice.chosen = new_storage(bytes);
  choice.weights = new_storage(bytes);
  const Product p = product(nullptr, out);
  if (tokens <= kMatvecRows)
    few_rows(op, choice, p, tokens);
  else
    many_rows(op, choice, p, tokens);
}

void Lowerer::few_rows(const program::Experts& op, const Choice& choice, const Product& p,
                       int tokens) {
  const int experts = weights_.matrix(op.router).rows;
  const kernels::Matrix gate = expert_matrix(op.gate, experts);
  const kernels::Matrix up = expert_matrix(op.up, experts);
  const int pairs = tokens * op.used;
  // Rows of whole units, as expert_down reads them.
  const auto hidden_view = [&] {
    return new_view(pairs, static_cast<int>(round_up(static_cast<uint64_t>(gate.rows), 32)));
  };
  const View gated = hidden_view();
  std::optional<View> other;  // up's own, where the two types differ
  {
    kernels::ExpertMatvecArgs args{};
    args.matvec.input = input(op.x);
    args.matvec.step = step();
    args.matvec.gated = gate.type == up.type ? 1 : 0;
    args.matvec.function = function_of(op.function);
    args.matvec.part_count = 2;
    if (args.matvec.gated == 0) other = hidden_view();
    args.matvec.parts[0] = expert_part(op.gate, experts, gated);
    args.matvec.parts[1] = expert_part(op.up, experts, other.value_or(gated));
    args.routing = routing(op, choice);
    launch("expert_matvec", args,
           {kernels::plan_matvec(args.matvec), static_cast<uint32_t>(pairs), 1});
  }
  kernels::ExpertDownArgs args{};
  args.matrix = expert_matrix(op.down, experts);
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
  args.function = function_of(op.function);
  const View view = result_view(p);
  args.out = pointer<float>(write(view));
  args.out_stride = view.stride;
  args.accumulate = p.accumulate ? 1 : 0;
  if (p.accumulate) read(view);
  launch("expert_down", args,
         {kernels::expert_down_workgroups(args), static_cast<uint32_t>(tokens), 1});
  finish(p, view);
}

void Lowerer::many_rows(const program::Experts& op, const Choice& choice, const Product& p,
                        int tokens) {
  const int experts = weights_.matrix(op.router).rows;
  const int pairs = tokens * op.used;
  const Half half = prepare_half(op.x, tokens);
  {
    kernels::RouteArgs args{};
    args.routing = routing(op, choice);
    args.tokens = tokens;
    launch("route", args, {static_cast<uint32_t>(tokens + 7) / 8, 1, 1});
  }
  const uint64_t pair_bytes = uint64_t{4} * static_cast<uint64_t>(pairs);
  const int slot_of = new_storage(pair_bytes);
  const int token_of = new_storage(pair_bytes);
  const int max_tiles = kernels::expert_max_tiles(pairs, experts);
  const int tiles = new_storage(sizeof(kernels::ExpertTile) * static_cast<uint64_t>(max_tiles));
  {
    kernels::ExpertSlotsArgs args{};
    args.chosen = read_storage<const int32_t>(choice.chosen);
    args.slot_of = write_storage<int32_t>(slot_of);
    args.token_of = write_storage<int32_t>(token_of);
    args.tiles = write_storage<kernels::ExpertTile>(tiles);
    args.tokens = tokens;
    args.used = op.used;
    args.experts = experts;
    args.tile_slots = kernels::expert_tile_slots(pairs, experts);
    args.max_tiles = max_tiles;
    launch("expert_slots", args, {1, 1, 1});
  }
  // Output rows are slots; those of the input, too, unless `rows` says otherwise.
  const auto multiply = [&](const Half& in, std::optional<int> rows,
                            std::initializer_list<std::pair<program::WeightId, View>> parts) {
    kernels::ExpertMatmulArgs args{};
    args.matmul.half = read_storage<const uint16_t>(in.half);
    args.matmul.factor = read_storage<const float>(in.factor);
    args.matmul.half_stride = in.stride;
    args.matmul.m = pairs;
    for (const auto& [id, view] : parts)
      args.matmul.parts[args.matmul.part_count++] = expert_part(id, experts, view);
    args.tiles = read_scalars<const kernels::ExpertTile>(tiles);
    if (rows) args.rows = read_storage<const int32_t>(*rows);
    args.max_tiles = max_tiles;
    launch("expert_matmul", args, {kernels::expert_matmul_workgroups(args), 1, 1});
  };
  const int hidden = expert_matrix(op.gate, experts).rows;
  const View gate = new_view(pairs, hidden), up = new_view(pairs, hidden);
  multiply(half, token_of, {{op.gate, gate}, {op.up, up}});

  kernels::Input in{};
  in.kind = kernels::InputKind::kGated;
  in.function = function_of(op.function);
  in.width = hidden;
  in.x = pointer<const float>(read(gate));
  in.y = pointer<const float>(read(up));
  in.x_stride = gate.stride;
  in.y_stride = up.stride;
  const Half gated = make_half(in, pairs);
  const View part = new_view(pairs, width_of(p.out));
  multiply(gated, std::nullopt, {{op.down, part}});

  kernels::ExpertSumArgs args{};
  args.part = pointer<const float>(read(part));
  args.slot_of = read_scalars<const int32_t>(slot_of);
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
