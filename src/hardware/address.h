// What an address counts from. All are numbers, and none of them means anything to who expects
// another: kinds that do not convert into each other find a mix-up when it is compiled.
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace outboard::hardware {

// As the GPU's queues and kernels have it, through the page tables of a VMID.
enum class GpuAddress : uint64_t {};
// From the beginning of video memory.
enum class VramOffset : uint64_t {};
// As the memory controller has it, which shows video memory in the range that FB_LOCATION_BASE and
// _TOP give it: what engines without page tables are told.
enum class ControllerAddress : uint64_t {};
// On the PCI bus, as an IOMMU gives it: of a page of the host, or of a BAR.
enum class BusAddress : uint64_t {};
// From the beginning of a BAR, in bytes.
enum class BarOffset : uint64_t {};
// Of a register, in dwords, as the vendor's headers count.
enum class RegisterAddress : uint32_t {};

template <typename A>
concept Address = std::same_as<A, GpuAddress> || std::same_as<A, VramOffset> ||
                  std::same_as<A, ControllerAddress> || std::same_as<A, BusAddress> ||
                  std::same_as<A, BarOffset> || std::same_as<A, RegisterAddress>;

// The bare number, for registers, packets, messages to a server and messages to people.
template <Address A>
constexpr auto value(A address) {
  return static_cast<std::underlying_type_t<A>>(address);
}
// With {fmt}, {:#x} included.
template <Address A>
constexpr auto format_as(A address) {
  return value(address);
}

template <Address A>
constexpr A operator+(A address, std::underlying_type_t<A> size) {
  return A{value(address) + size};
}
template <Address A>
constexpr A operator-(A address, std::underlying_type_t<A> size) {
  return A{value(address) - size};
}
template <Address A>
constexpr A& operator+=(A& address, std::underlying_type_t<A> size) {
  return address = address + size;
}
// How far it is from `from` to `to`.
template <Address A>
constexpr auto operator-(A to, A from) {
  return value(to) - value(from);
}
template <Address A>
constexpr A round_up(A address, std::underlying_type_t<A> to) {
  return A{(value(address) + to - 1) / to * to};
}

// Where BAR 5 shows a register, and BAR 0 video memory.
constexpr BarOffset bar_offset(RegisterAddress address) {
  return BarOffset{uint64_t{value(address)} * 4};
}
constexpr BarOffset bar_offset(VramOffset offset) { return BarOffset{value(offset)}; }

}  // namespace outboard::hardware
