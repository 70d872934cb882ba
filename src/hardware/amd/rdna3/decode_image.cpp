// MIMG: graphics, decoded and disassembled only.
#include <algorithm>
#include <array>
#include <string>

#include "hardware/amd/rdna3/decode_parts.h"
#include "hardware/amd/rdna3/encodings.h"
#include "hardware/amd/rdna3/operands.h"

namespace outboard::hardware::amd::rdna3 {
namespace {

// Address dwords of an image instruction. Guide, 9.? "Image VGPR usage": an optional packed offset,
// bias and depth reference, then derivatives, then coordinates with slice, and level of detail,
// clamp or mip; a16 packs bias, coordinates and what follows them in pairs, and g16 the
// derivatives.
struct Dimension {
  int coordinates;  // slice, face and sample index included
  int derivatives;  // each of d/dx and d/dy
};
constexpr Dimension kDimensions[8] = {{1, 1}, {2, 2}, {3, 3}, {3, 2},
                                      {2, 1}, {3, 2}, {3, 2}, {4, 2}};

bool has(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}

int address_dwords(std::string_view name, const Instruction::Image& image) {
  const Dimension& dimension = kDimensions[image.dim];
  const auto packed = [](int count, bool pairs) { return pairs ? (count + 1) / 2 : count; };
  if (has(name, "get_resinfo")) return 1;
  const bool samples = has(name, "sample") || has(name, "gather4") || has(name, "get_lod");
  if (!samples) {
    return packed(dimension.coordinates + (has(name, "_mip") ? 1 : 0), image.a16);
  }
  const std::string padded = std::string(name) + "_";
  int dwords = 0, body = dimension.coordinates;
  if (has(padded, "_o_")) ++dwords;
  if (has(padded, "_b_")) ++dwords;
  if (has(padded, "_c_")) ++dwords;
  if (has(padded, "_d_")) {
    const bool g16 = has(padded, "_g16_") || image.a16;
    dwords += 2 * packed(dimension.derivatives, g16);
  }
  if (has(padded, "_l_") || has(padded, "_cl_")) ++body;
  return dwords + packed(body, image.a16);
}

int data_dwords(std::string_view name, const Instruction& in) {
  int count = 0;
  for (int bit = 0; bit < 4; ++bit) count += in.image.dmask >> bit & 1;
  if (has(name, "gather4") || has(name, "msaa_load")) count = 4;
  if (count == 0) count = 1;
  if (in.image.d16) count = (count + 1) / 2;
  return count + (in.tfe ? 1 : 0);
}

// The address operands: how many dwords each takes.
struct Addresses {
  int count = 0;
  std::array<uint8_t, 5> dwords{};
};

// The ray instructions: node, extent, origin, direction, inverse direction; a16 packs the last two.
Addresses ray_addresses(bool node64, const Instruction::Image& image) {
  const uint8_t node = node64 ? 2 : 1;
  if (image.nsa) {
    if (image.a16) return {4, {node, 1, 3, 3}};
    return {5, {node, 1, 3, 3, 3}};
  }
  return {1, {static_cast<uint8_t>(node + (image.a16 ? 7 : 10))}};
}

Addresses addresses(std::string_view name, const Instruction::Image& image) {
  const int dwords = address_dwords(name, image);
  if (!image.nsa) return {1, {static_cast<uint8_t>(dwords)}};
  constexpr int kSeparate = 5;  // the last one names all the rest
  Addresses result;
  result.count = std::min(dwords, kSeparate);
  result.dwords.fill(1);
  result.dwords[kSeparate - 1] = static_cast<uint8_t>(std::max(dwords - kSeparate + 1, 1));
  return result;
}

// The ray instructions have nothing to choose but a16 and nsa.
bool is_ray_form(const Instruction& in) {
  constexpr uint8_t kAllChannels = 15;
  const Instruction::Image& image = in.image;
  return image.dmask == kAllChannels && image.dim == 0 && image.unnormalized && image.r128 &&
         !image.d16 && !image.lwe && !in.tfe && !in.glc && !in.slc && !in.dlc;
}

}  // namespace

bool decode_image(std::span<const uint32_t> words, uint64_t bits, Instruction& out) {
  using namespace encoding::mimg;
  const isa::Row* row = find_row(Format::kMimg, kOp(bits));
  if (!begin(row, Format::kMimg, bits & 0xffffffff, out)) return false;
  const std::string_view name = mnemonic(out.op);
  const bool rays = has(name, "intersect_ray");
  out.image.dmask = static_cast<uint8_t>(kDmask(bits));
  out.image.dim = static_cast<uint8_t>(kDim(bits));
  out.image.unnormalized = kUnrm(bits) != 0;
  out.image.nsa = kNsa(bits) != 0;
  out.image.r128 = kR128(bits) != 0;
  out.image.a16 = kA16(bits) != 0;
  out.image.d16 = kD16(bits) != 0;
  out.image.lwe = kLwe(bits) != 0;
  out.glc = kGlc(bits) != 0;
  out.slc = kSlc(bits) != 0;
  out.dlc = kDlc(bits) != 0;
  out.tfe = kTfe(bits) != 0;
  const auto resource = static_cast<uint16_t>(kSrsrc(bits) * 4);
  const uint8_t resource_dwords = rays ? 4 : 8;
  if (!scalar_register(resource,
                       {resource_dwords == 4 ? Type::kB128 : Type::kB256, resource_dwords},
                       out.source[0])) {
    return false;
  }
  if (has(name, "sample") || has(name, "gather4") || has(name, "get_lod")) {
    const auto sampler = static_cast<uint16_t>(kSsamp(bits) * 4);
    if (!scalar_register(sampler, {Type::kB128, 4}, out.source[1])) return false;
  } else if (kSsamp(bits) != 0) {
    return false;
  }
  const int data = rays ? 4 : data_dwords(name, out);
  const isa::Role data_role{Type::kB32, static_cast<uint8_t>(data)};
  const bool stores = (row->flags & (isa::kStore | isa::kAtomic)) != 0;
  Operand& data_operand = stores ? out.source[2] : out.destination[0];
  if (!stores) out.destinations = 1;
  if (!vector_register(static_cast<uint16_t>(kVdata(bits)), data_role, data_operand)) return false;
  if (rays && !is_ray_form(out)) return false;
  if (out.image.nsa && words.size() < 3) return false;
  out.size = out.image.nsa ? 12 : 8;
  const Addresses list = rays ? ray_addresses(out.op == Opcode::kImageBvh64IntersectRay, out.image)
                              : addresses(name, out.image);
  constexpr int kFirst = 3;
  for (int i = 0; i < list.count; ++i) {
    const uint32_t vgpr = i == 0 ? kVaddr(bits) : words[2] >> 8 * (i - 1) & 0xff;
    if (!vector_register(static_cast<uint16_t>(vgpr), {Type::kB32, list.dwords[i]},
                         out.source[kFirst + i])) {
      return false;
    }
  }
  out.sources = static_cast<uint8_t>(kFirst + list.count);
  return true;
}

}  // namespace outboard::hardware::amd::rdna3
