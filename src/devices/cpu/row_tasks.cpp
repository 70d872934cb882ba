// The ops that work on one token at a time.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "devices/cpu/executable.h"
#include "formats/quantize.h"
#include "support/error.h"

namespace outboard::devices::cpu {

using program::ValueId;

Unary unary_of(program::Function function) {
  switch (function) {
    case program::Function::kSilu:
      return Unary::kSilu;
    case program::Function::kGeluTanh:
      return Unary::kGeluTanh;
    case program::Function::kGeluErf:
      return Unary::kGeluErf;
    case program::Function::kRelu:
      return Unary::kRelu;
    case program::Function::kSigmoid:
      return Unary::kSigmoid;
    case program::Function::kSwigluOai:
      return Unary::kSwigluOai;
    case program::Function::kIdentity:
      return Unary::kIdentity;
    case program::Function::kReluSquared:
      return Unary::kReluSquared;
  }
  return Unary::kRelu;
}

CpuExecutable::RowTask CpuExecutable::row_task(const Item& item) {
  const program::Op& op = program_.ops[static_cast<size_t>(item.op)];
  switch (item.kind) {
    case Item::kPack:
      return pack_task(item);
    case Item::kKvWrite: {
      if (const auto* write = std::get_if<program::KvWrite>(&op.kind))
        return kv_write_task(write->k, write->v, write->state);
      const auto& attention = std::get<program::Attention>(op.kind);
      return kv_write_task(attention.k, attention.v, attention.state);
    }
    case Item::kOp:
      break;
  }
  return op_task(op);
}

CpuExecutable::RowTask CpuExecutable::op_task(const program::Op& op) {
  const ValueId out = op.out;
  return std::visit(
      [&](const auto& o) -> RowTask {
        using Kind = std::decay_t<decltype(o)>;
        if constexpr (std::is_same_v<Kind, program::Embed>) {
          return embed_task(o, out);
        } else if constexpr (std::is_same_v<Kind, program::RmsNorm>) {
          return norm_task(o, out);
        } else if constexpr (std::is_same_v<Kind, program::LayerNorm>) {
          return [this, o, out, weight = floats(o.weight), bias = floats(o.bias)](int begin,
                                                                                  int end) {
            const int64_t group = o.group > 0 ? o.group : width(out);
            for (int row = begin; row < end; ++row)
              for (int64_t at = 0; at < width(out); at += group)
                kernels_.layer_norm(value(o.x, row) + at, weight != nullptr ? weight + at : nullptr,
                                    bias != nullptr ? bias + at : nullptr, o.epsilon, group,
                                    value(out, row) + at);
          };
        } else if constexpr (std::is_same_v<Kind, program::Rope>) {
          return rope_task(o, out);
        } else if constexpr (std::is_same_v<Kind, program::Gate>) {
          return gate_task(o, out);
        } else if constexpr (std::is_same_v<Kind, program::Activation>) {
          return [this, o, out](int begin, int end) {
            for (int row = begin; row < end; ++row)
              kernels_.unary(unary_of(o.function), value(o.x, row), width(out), value(out, row));
          };
        } else if constexpr (std::is_same_v<Kind, program::Add>) {
          return [this, o, out](int begin, int end) {
            for (int row = begin; row < end; ++row)
              kernels_.add(value(o.a, row), value(o.b, row), width(out), value(out, row));
          };
        } else if constexpr (std::is_same_v<Kind, program::Scale>) {
          return scale_task(o, out);
        } else if constexpr (std::is_same_v<Kind, program::Softcap>) {
          return [this, o, out](int begin, int end) {
            for (int row = begin; row < end; ++row) {
              std::copy_n(value(o.x, row), width(out), value(out, row));
              kernels_.softcap(value(out, row), o.cap, width(out));
            }
          };
        } else if constexpr (std::is_same_v<Kind, program::Slice>) {
          return [this, o, out](int begin, int end) {
            const int64_t from = width(o.x) / o.heads;
            for (int row = begin; row < end; ++row)
              for (int head = 0; head < o.heads; ++head)
                std::copy_n(value(o.x, row) + head * from + o.begin, o.size,
                            value(out, row) + head * o.size);
          };
        } else if constexpr (std::is_same_v<Kind, program::Concat>) {
          return [this, o, out](int begin, int end) {
            const int64_t a = width(o.a) / o.heads;
            const int64_t b = width(o.b) / o.heads;
            for (int row = begin; row < end; ++row)
              for (int head = 0; head < o.heads; ++head) {
                float* to = value(out, row) + head * (a + b);
                std::copy_n(value(o.a, row) + head * a, a, to);
                std::copy_n(value(o.b, row) + head * b, b, to + a);
              }
          };
        } else if constexpr (std::is_same_v<Kind, program::PositionScale>) {
          return [this, o, out](int begin, int end) {
            for (int row = begin; row < end; ++row) {
              const auto position = static_cast<float>(state_.positions[static_cast<size_t>(row)]);
              const float steps = std::floor((position + o.offset) / o.length);
              kernels_.scale(value(o.x, row), 1 + o.scale * std::log1p(steps), width(out),
                             value(out, row));
            }
          };
        } else if constexpr (std::is_same_v<Kind, program::SelectRows>) {
          return [this, o, out](int begin, int end) {
            for (int row = begin; row < end; ++row)
              std::copy_n(value(o.x, state_.row_token[static_cast<size_t>(row)]), width(out),
                          value(out, row));
          };
        } else if constexpr (std::is_same_v<Kind, program::KeepRows>) {
          return [this, o](int begin, int end) {
            for (int row = begin; row < end; ++row)
              std::copy_n(value(o.x, row), width(o.x), kept(row));
          };
        } else if constexpr (std::is_same_v<Kind, program::KeptRows>) {
          return [this, out](int begin, int end) {
            for (int row = begin; row < end; ++row)
              std::copy_n(kept(state_.kept[static_cast<size_t>(row)]), width(out), value(out, row));
          };
        } else {
          fail("[{}] is no row op", program::name_of(program::OpKind{o}));
        }
      },
      op.kind);
}

CpuExecutable::RowTask CpuExecutable::embed_task(const program::Embed& op, ValueId out) {
  const Matrix table = matrix(op.table);
  const size_t row_bytes = formats::storage_bytes(table.type, table.columns);
  return [this, op, out, table, row_bytes](int begin, int end) {
    for (int row = begin; row < end; ++row) {
      const auto id = static_cast<size_t>(ids(op.ids)[static_cast<size_t>(row)]);
      float* to = value(out, row);
      formats::dequantize(table.type, table.data + id * row_bytes,
                          {to, static_cast<size_t>(table.columns)});
      if (op.scale != 1) kernels_.scale(to, op.scale, table.columns, to);
    }
  };
}

CpuExecutable::RowTask CpuExecutable::norm_task(const program::RmsNorm& op, ValueId out) {
  // Of each run's own, or the same for all.
  const bool own = op.weight != program::kNone &&
                   program_.weights[static_cast<size_t>(op.weight)].shape.size() == 2;
  return [this, op, out, weight = floats(op.weight), own](int begin, int end) {
    for (int row = begin; row < end; ++row)
      for (int64_t group = 0; group < width(out); group += op.group)
        kernels_.rms_norm(value(op.x, row) + group, own ? weight + group : weight, op.epsilon,
                          op.group, value(out, row) + group);
  };
}

CpuExecutable::RowTask CpuExecutable::gate_task(const program::Gate& op, ValueId out) {
  return [this, op, out, function = unary_of(op.function)](int begin, int end) {
    const int64_t gates = width(op.gate);
    const int64_t each = width(out) / gates;
    for (int row = begin; row < end; ++row) {
      const float* gate = value(op.gate, row);
      const float* up = value(op.up, row);
      float* to = value(out, row);
      if (each == 1) {
        kernels_.gate(function, gate, up, gates, to);
        continue;
      }
      for (int64_t i = 0; i < gates; ++i) {
        float factor = 0;
        kernels_.unary(function, gate + i, 1, &factor);
        kernels_.scale(up + i * each, factor, each, to + i * each);
      }
    }
  };
}

CpuExecutable::RowTask CpuExecutable::scale_task(const program::Scale& op, ValueId out) {
  const float* weight = floats(op.weight);
  const bool one =
      weight != nullptr && program_.weights[static_cast<size_t>(op.weight)].shape[0] == 1;
  return [this, op, out, weight, one](int begin, int end) {
    for (int row = begin; row < end; ++row) {
      float* to = value(out, row);
      kernels_.scale(value(op.x, row), one ? op.factor * *weight : op.factor, width(out), to);
      if (weight == nullptr || one) continue;
      for (int64_t i = 0; i < width(out); ++i) to[i] *= weight[i];
    }
  };
}

const CpuExecutable::RopeTable& CpuExecutable::rope_table(const program::Rope& op) {
  const float* factors = floats(op.factors);
  const auto pairs = static_cast<size_t>(op.rotary / 2);
  std::vector<double> frequencies = program::rope_frequencies(
      op, factors != nullptr ? std::span(factors, pairs) : std::span<const float>());
  for (const auto& table : rope_tables_)
    if (table->frequencies == frequencies && table->magnitude == op.magnitude) return *table;
  rope_tables_.push_back(std::make_unique<RopeTable>());
  RopeTable& table = *rope_tables_.back();
  table.magnitude = op.magnitude;
  table.turns.resize(static_cast<size_t>(options_.max_tokens) * 2 * frequencies.size());
  table.frequencies = std::move(frequencies);
  return table;
}

// The sines and cosines of this step's positions, once for all layers.
CpuExecutable::RowTask CpuExecutable::rope_table_task(RopeTable& table) {
  return [this, &table](int begin, int end) {
    const size_t half = table.frequencies.size();
    for (int row = begin; row < end; ++row) {
      float* cosines = table.turns.data() + static_cast<size_t>(row) * 2 * half;
      for (size_t i = 0; i < half; ++i) {
        const double angle = state_.positions[static_cast<size_t>(row)] * table.frequencies[i];
        cosines[i] = static_cast<float>(std::cos(angle)) * table.magnitude;
        cosines[half + i] = static_cast<float>(std::sin(angle)) * table.magnitude;
      }
    }
  };
}

CpuExecutable::RowTask CpuExecutable::rope_task(const program::Rope& op, ValueId out) {
  return [this, op, out, &table = rope_table(op)](int begin, int end) {
    const int half = op.rotary / 2;
    for (int row = begin; row < end; ++row) {
      const float* cosines =
          table.turns.data() + static_cast<size_t>(row) * static_cast<size_t>(op.rotary);
      float* to = value(out, row);
      std::copy_n(value(op.x, row), width(out), to);
      for (int64_t head = 0; head < width(out); head += op.head_dim)
        kernels_.rope(to + head, cosines, cosines + half, half, op.neox);
    }
  };
}

CpuExecutable::RowTask CpuExecutable::pack_task(const Item& item) {
  const int heads = heads_of(program_, item.op);
  const int64_t columns = width(item.value) / heads;
  const size_t row_bytes = kernels_.packed_row_bytes(item.packing, columns);
  const bool logit_rows =
      program_.values[static_cast<size_t>(item.value)].shape[0].kind == program::Dim::kRows;
  const size_t head_bytes =
      static_cast<size_t>(logit_rows ? options_.max_rows : options_.max_tokens) * row_bytes;
  std::byte* packed = arena_.data() + plan_.packed_place(item.value, item.packing, heads).offset;
  return [this, item, heads, columns, row_bytes, head_bytes, packed](int begin, int end) {
    for (int head = 0; head < heads; ++head)
      kernels_.pack(
          item.packing, value(item.value, begin) + head * columns, stride(item.value), end - begin,
          columns,
          packed + static_cast<size_t>(head) * head_bytes + static_cast<size_t>(begin) * row_bytes);
  };
}

CpuExecutable::RowTask CpuExecutable::kv_write_task(ValueId k, ValueId v, program::StateId id) {
  const program::KvState& state = program_.states[static_cast<size_t>(id)];
  const auto keep = [this](const float* x, int64_t n, std::byte* at) {
    if (kv_.floats()) {
      std::copy_n(x, n, reinterpret_cast<float*>(at));
    } else {
      kernels_.to_half(x, n, reinterpret_cast<uint16_t*>(at));
    }
  };
  const bool is_window = kv_.kind(id) == devices::PageKind::kWindow;
  return [this, k, v, id, state, keep, is_window](int begin, int end) {
    for (int row = begin; row < end; ++row) {
      const std::vector<int32_t>& pages = is_window ? state_.window_page : state_.page;
      const int64_t page = pages[static_cast<size_t>(row)] * kv_.page_stride(id);
      const int64_t slot = state_.slot[static_cast<size_t>(row)];
      const auto bytes = [&](int64_t elements) {
        return static_cast<size_t>(elements) * kv_.element_bytes();
      };
      for (int head = 0; head < state.kv_heads; ++head) {
        keep(value(k, row) + int64_t{head} * state.key_dim, state.key_dim,
             kv_.keys(id, head) + bytes(page + slot * state.key_dim));
        if (state.values_in_keys) continue;
        keep(value(v, row) + int64_t{head} * state.value_dim, state.value_dim,
             kv_.values(id, head) + bytes(page + slot * state.value_dim));
      }
    }
  };
}

}  // namespace outboard::devices::cpu
