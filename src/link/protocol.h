// The wire protocol that TinyGPU.app (unix socket) and tinygrad's remote server (TCP) speak.
// Little-endian, packed. Source: tinygrad 0.14.0, runtime/support/system.py (RemoteCmd, _rpc);
// repository tinygrad/tinygrad, extra/usbgpu/tbgpu/installer/Shared/server.c and
// extra/remote/serve.py.
#pragma once

#include <cstddef>
#include <cstdint>

namespace outboard::link {

// The two servers that speak it: they differ in what they know and how they refuse.
enum class Dialect : uint8_t {
  kTinyGpu,  // TinyGPU.app's server on a Mac (unix socket, system memory by descriptor)
  kRemote,   // tinygrad's remote server (TCP, system memory by messages)
};

}  // namespace outboard::link

namespace outboard::link::protocol {

enum class Command : uint8_t {
  kProbe = 0,  // arg0: base class, arg1: payload bytes, arg2: vendor; payload: (mask, id) u32 pairs
  kMapBar = 1,  // bar; answer: address, size
  kMapSysmemFd =
      2,            // arg0: size, arg1: contiguous; answer: size mapped, index; descriptor attached
  kConfigRead = 3,  // arg0: offset, arg1: size; answer: value
  kConfigWrite = 4,  // arg0: offset, arg1: size, arg2: value
  kReset = 5,
  kMmioRead = 6,      // bar, arg0: offset, arg1: size; answer: size, then the bytes
  kMmioWrite = 7,     // bar, arg0: offset, arg1: size, then the bytes; no answer
  kMapSysmem = 8,     // arg0: size, arg1: contiguous; answer: bytes of page list, handle; page list
  kSysmemRead = 9,    // bar: handle, arg0: offset, arg1: size; answer: size, then the bytes
  kSysmemWrite = 10,  // bar: handle, arg0: offset, arg1: size, then the bytes; no answer
  kResizeBar = 11,    // bar
  kPing = 12,
};
inline constexpr uint8_t kCommands = 13;

#pragma pack(push, 1)
struct Request {
  uint8_t command;
  uint32_t device;
  uint32_t bar;
  uint64_t arg0, arg1, arg2;
};
struct Response {
  uint8_t status;  // 0: done; 1: refused, a message of resp0 bytes follows
  uint64_t resp0, resp1;
};
#pragma pack(pop)
static_assert(sizeof(Request) == 33);
static_assert(sizeof(Response) == 17);

// Limits of the TinyGPU server (server.c, TinyGPUDriver.cpp).
inline constexpr uint64_t kBulkBytes = uint64_t{64} << 20;  // one MMIO message
inline constexpr int kMaxMappings = 128;  // regions of system memory, of one connection
inline constexpr int kMaxSegments = 32;   // DMA segments of one region
inline constexpr int kAddressBits = 40;
inline constexpr uint64_t kMinMapping = 16 << 10;
inline constexpr uint64_t kPage = 4 << 10;  // of a page list
inline constexpr uint16_t kRemotePort = 6667;

}  // namespace outboard::link::protocol
