// What goes through the tokens of a run in order, and keeps what it has come to in the run's slot.
#include "devices/gpu/kernels/device.h"
#include "devices/gpu/kernels/functions.h"
#include "devices/gpu/kernels/reduce.h"

namespace outboard::devices::gpu::kernels {

// See SsmConvArgs. A channel a thread.
KERNEL void ssm_conv(SsmConvArgs a) {
  const int channel = workgroup_x() * kThreads + thread();
  const int run = workgroup_y();
  const Ptr<const uint8_t> record = a.step.record;
  const Ptr<const StepHeader> header = reinterpret_cast<Ptr<const StepHeader>>(record);
  if (channel >= a.width) return;
  if (run == 0)
    for (int t = header->tokens; t < a.tokens; ++t)
      a.out[static_cast<int64_t>(t) * a.out_stride + channel] = 0;
  if (run >= header->runs) return;
  const Ptr<const SlotRun> r =
      reinterpret_cast<Ptr<const SlotRun>>(record + a.step.layout.slot_runs) + run;
  const int first = r->first;
  const int count = r->tokens;
  const bool begins =
      reinterpret_cast<Ptr<const int>>(record + a.step.layout.positions)[first] == 0;
  const auto kept_in = [&](int slot) {
    return a.states + static_cast<uint64_t>(slot) * a.slot_stride + channel;
  };
  const Ptr<const float> kept = kept_in(r->slot);
  const Ptr<const int> token_slot =
      reinterpret_cast<Ptr<const int>>(record + a.step.layout.token_slot);

  // The window's last place is the token's own; places before its taps have weight 0.
  float weight[kMaxTaps], window[kMaxTaps];
  const int unused = kMaxTaps - a.taps;
#pragma unroll
  for (int i = 0; i < kMaxTaps; ++i) {
    weight[i] = i >= unused ? a.weight[channel * a.taps + i - unused] : 0;
    window[i] = i > unused && !begins ? kept[static_cast<int64_t>(i - unused - 1) * a.width] : 0;
  }
  const float bias = a.bias != nullptr ? a.bias[channel] : 0;
  // `window` holds what came before in its places 1 to kMaxTaps - 1 here, and moves up each token.
  for (int t = 0; t < count; ++t) {
#pragma unroll
    for (int i = 0; i < kMaxTaps - 1; ++i) window[i] = window[i + 1];
    const int64_t row = first + t;
    window[kMaxTaps - 1] = a.x[row * a.x_stride + channel];
    float sum = bias;
#pragma unroll
    for (int i = 0; i < kMaxTaps; ++i) sum += weight[i] * window[i];
    a.out[row * a.out_stride + channel] = apply(a.function, sum);
    const int slot = token_slot[row];
    if (slot < 0) continue;
    const Ptr<float> to = kept_in(slot);
#pragma unroll
    for (int i = 0; i < kMaxTaps; ++i)
      if (i > unused) to[static_cast<int64_t>(i - unused - 1) * a.width] = window[i];
  }
}

// --- recurrences ---
//
// A workgroup takes a head of a run. Its state stays in registers while the run's tokens go by: a
// column a lane, the rows in as many shares as there is room for beside each other.

constexpr int kMaxRows = kMaxStateRows;

// What all waves need to see of each other, of one token.
struct StateLds {
  float k[kMaxRows], q[kMaxRows];  // zero beyond the state's rows
  float part[kThreads];            // of sums over rows: [share, column]
  float wave[3][kThreads / 32];    // of sums over elements or columns
};

template <int kRows>  // of a share
struct HeadState {
  float s[kRows];
  int column, share, first_row;
  bool has_column;

  DEVICE explicit HeadState(const RecurrenceArgs& a) {
    column = thread() & (a.lanes - 1);
    // Of one share all lanes of a wave are.
    share = __builtin_amdgcn_readfirstlane(thread() / a.lanes);
    first_row = share * kRows;
    has_column = column < a.columns;
  }
  DEVICE bool has(const RecurrenceArgs& a, int i) const {
    return has_column && first_row + i < a.rows;
  }
  DEVICE void load(const RecurrenceArgs& a, Ptr<const float> at, bool begins) {
#pragma unroll
    for (int i = 0; i < kRows; ++i)
      s[i] = !begins && has(a, i) ? at[(first_row + i) * a.columns + column] : 0;
  }
  // Row by row from a scalar address: the places of all rows in registers would be too many.
  DEVICE void store(const RecurrenceArgs& a, Ptr<float> at) const {
    at += first_row * a.columns;
#pragma unroll
    for (int i = 0; i < kRows; ++i, at += a.columns)
      if (has(a, i)) at[column] = s[i];
  }
};

// Of the shares' sums of this thread's column. All threads call it; `mine` is seen by all after it.
DEVICE float over_shares(const RecurrenceArgs& a, StateLds LDS& lds, float mine, int column) {
  lds.part[thread()] = mine;
  barrier();
  float sum = 0;
  for (int share = 0; share < kThreads / a.lanes; ++share)
    sum += lds.part[share * a.lanes + column];
  return sum;
}

// Of the columns' values of one share, the same in all.
DEVICE float over_columns(const RecurrenceArgs& a, StateLds LDS& lds, float mine, int share) {
  const float sum = wave_sum(mine);
  if (lane() == 0) lds.wave[2][wave()] = sum;
  barrier();
  const int waves = a.lanes / 32;
  float all = 0;
  for (int i = 0; i < waves; ++i) all += lds.wave[2][share * waves + i];
  return all;
}

struct RunOf {
  int first, count;
  bool begins;
  Ptr<float> states;          // the head's, of slot 0
  Ptr<const int> token_slot;  // from the first token on
  int slot;
};

// The run of this workgroup, or one of no tokens; rows of no token become 0 on the way.
DEVICE RunOf run_of(const RecurrenceArgs& a) {
  const int head = workgroup_x(), run = workgroup_y();
  const Ptr<const uint8_t> record = a.step.record;
  const Ptr<const StepHeader> header = reinterpret_cast<Ptr<const StepHeader>>(record);
  if (run == 0 && thread() < a.columns)
    for (int t = header->tokens; t < a.tokens; ++t)
      a.out[static_cast<int64_t>(t) * a.out_stride + head * a.columns + thread()] = 0;
  if (run >= header->runs) return {};
  const Ptr<const SlotRun> r =
      reinterpret_cast<Ptr<const SlotRun>>(record + a.step.layout.slot_runs) + run;
  const bool begins =
      reinterpret_cast<Ptr<const int>>(record + a.step.layout.positions)[r->first] == 0;
  const Ptr<float> states =
      a.states + static_cast<uint64_t>(head) * static_cast<uint64_t>(a.rows * a.columns);
  const Ptr<const int> token_slot =
      reinterpret_cast<Ptr<const int>>(record + a.step.layout.token_slot) + r->first;
  return {r->first, r->tokens, begins, states, token_slot, r->slot};
}

DEVICE Ptr<float> state_in(const RecurrenceArgs& a, const RunOf& run, int slot) {
  return run.states + static_cast<uint64_t>(slot) * a.slot_stride;
}

DEVICE float softplus(float x) { return x > 20 ? x : log(1 + exp(x)); }

// Two rows of factors for all lanes, and the sums of their squares.
DEVICE void share_rows(const RecurrenceArgs& a, StateLds LDS& lds, Ptr<const float> k,
                       Ptr<const float> q) {
  for (int i = thread(); i < kMaxRows; i += kThreads) {
    const bool has = i < a.rows;
    lds.k[i] = has ? k[i] : 0;
    lds.q[i] = has ? q[i] : 0;
  }
}

// What the head came to is normalised, gated and stored, as far as asked for.
DEVICE void put(const RecurrenceArgs& a, StateLds LDS& lds, float value, int column, int share,
                int row, int head) {
  const bool has = column < a.columns;
  if (a.norm.kind == NormKind::kRms) {
    const float squares = over_columns(a, lds, has ? value * value : 0, share);
    value *= reciprocal_root(squares / static_cast<float>(a.columns) + a.norm.epsilon);
    if (has) value *= a.norm.weight[column];
  }
  if (share != 0 || !has) return;
  const int at = head * a.columns + column;
  if (a.gate != nullptr)
    value = gated(a.function, a.gate[static_cast<int64_t>(row) * a.gate_stride + at], value);
  a.out[static_cast<int64_t>(row) * a.out_stride + at] = value;
}

template <int kRows>
DEVICE void gated_delta(const GatedDeltaArgs& a, StateLds LDS& lds) {
  const RunOf run = run_of(a.state);
  if (run.count == 0) return;
  const int head = workgroup_x();
  const int key_head =
      a.neighbours != 0 ? head / (a.state.heads / a.key_heads) : head % a.key_heads;
  HeadState<kRows> state(a.state);
  state.load(a.state, state_in(a.state, run, run.slot), run.begins);
  const float decay_rate = a.a[head], dt = a.dt[head];
  const float root = reciprocal_root(static_cast<float>(a.state.rows));
  for (int t = 0; t < run.count; ++t) {
    const int64_t row = run.first + t;
    const Ptr<const float> k = a.k + row * a.k_stride + key_head * a.state.rows;
    const Ptr<const float> q = a.q + row * a.q_stride + key_head * a.state.rows;
    share_rows(a.state, lds, k, q);
    float k_squares = 0, q_squares = 0;
    for (int i = thread(); i < a.state.rows; i += kThreads) {
      k_squares += k[i] * k[i];
      q_squares += q[i] * q[i];
    }
    k_squares = wave_sum(k_squares);
    q_squares = wave_sum(q_squares);
    if (lane() == 0) {
      lds.wave[0][wave()] = k_squares;
      lds.wave[1][wave()] = q_squares;
    }
    barrier();
    k_squares = q_squares = 0;
#pragma unroll
    for (int i = 0; i < kThreads / 32; ++i) {
      k_squares += lds.wave[0][i];
      q_squares += lds.wave[1][i];
    }
    const float k_length = reciprocal_root(k_squares + a.epsilon);
    const float q_length = reciprocal_root(q_squares + a.epsilon);
    const float decay = exp(decay_rate * softplus(a.alpha[row * a.alpha_stride + head] + dt));
    const float rate = sigmoid(a.beta[row * a.beta_stride + head]);

    float seen = 0;
#pragma unroll
    for (int i = 0; i < kRows; ++i) seen += lds.k[state.first_row + i] * state.s[i];
    seen = over_shares(a.state, lds, seen, state.column);
    const float v =
        state.has_column ? a.v[row * a.v_stride + head * a.state.columns + state.column] : 0;
    const float change = rate * k_length * (v - decay * k_length * seen);
    float out = 0;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      state.s[i] = decay * state.s[i] + lds.k[state.first_row + i] * change;
      out += lds.q[state.first_row + i] * state.s[i];
    }
    barrier();  // all have read the shares' sums
    out = over_shares(a.state, lds, out, state.column);
    put(a.state, lds, root * q_length * out, state.column, state.share, static_cast<int>(row),
        head);
    if (const int slot = run.token_slot[t]; slot >= 0)
      state.store(a.state, state_in(a.state, run, slot));
    barrier();  // all have read what the next token overwrites
  }
}

template <int kRows>
DEVICE void selective_scan(const SelectiveScanArgs& a, StateLds LDS& lds) {
  const RunOf run = run_of(a.state);
  if (run.count == 0) return;
  const int head = workgroup_x();
  const int group = head / (a.state.heads / a.groups);
  HeadState<kRows> state(a.state);
  state.load(a.state, state_in(a.state, run, run.slot), run.begins);
  const float decay_rate = a.a[head], dt_bias = a.dt_bias[head], skip = a.skip[head];
  for (int t = 0; t < run.count; ++t) {
    const int64_t row = run.first + t;
    share_rows(a.state, lds, a.b + row * a.b_stride + group * a.state.rows,
               a.c + row * a.c_stride + group * a.state.rows);
    const float step = softplus(a.dt[row * a.dt_stride + head] + dt_bias);
    const float decay = exp(step * decay_rate);
    const float x =
        state.has_column ? a.x[row * a.x_stride + head * a.state.columns + state.column] : 0;
    const float added = step * x;
    barrier();
    float out = 0;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      state.s[i] = decay * state.s[i] + lds.k[state.first_row + i] * added;
      out += lds.q[state.first_row + i] * state.s[i];
    }
    out = over_shares(a.state, lds, out, state.column);
    put(a.state, lds, out + skip * x, state.column, state.share, static_cast<int>(row), head);
    if (const int slot = run.token_slot[t]; slot >= 0)
      state.store(a.state, state_in(a.state, run, slot));
    barrier();  // all have read what the next token overwrites
  }
}

// See GatedDeltaArgs and SelectiveScanArgs; by the rows of a share.
KERNEL void gated_delta_16(GatedDeltaArgs a) {
  LDS StateLds lds;
  gated_delta<16>(a, lds);
}
KERNEL void gated_delta_64(GatedDeltaArgs a) {
  LDS StateLds lds;
  gated_delta<64>(a, lds);
}
KERNEL void selective_scan_32(SelectiveScanArgs a) {
  LDS StateLds lds;
  selective_scan<32>(a, lds);
}
KERNEL void selective_scan_64(SelectiveScanArgs a) {
  LDS StateLds lds;
  selective_scan<64>(a, lds);
}

}  // namespace outboard::devices::gpu::kernels
