"""Writes tests/fuzz/corpus/simulator_server: conversations with the simulated card's servers.
A first byte chooses the dialect (0: TinyGPU, 1: remote). Run from the repository's root."""
import pathlib
import struct

OUT = pathlib.Path("tests/fuzz/corpus/simulator_server")
(PROBE, MAP_BAR, MAP_SYSMEM_FD, CFG_READ, CFG_WRITE, RESET, MMIO_READ, MMIO_WRITE, MAP_SYSMEM, SYSMEM_READ, SYSMEM_WRITE,
 RESIZE_BAR, PING) = range(13)


def request(command, bar=0, a=0, b=0, c=0, payload=b"", device=0):
    return struct.pack("<BIIQQQ", command, device, bar, a, b, c) + payload


probe = request(PROBE, 0, 3, 8, 0x1002, struct.pack("<II", 0xFFFF, 0x744C))
conversations = {
    "tinygpu_registers": b"\0" + request(MAP_BAR, 5) + request(MMIO_READ, 5, 0x378C, 4) +
                         request(MMIO_WRITE, 5, 0x100, 4, 0, b"\1\2\3\4") + request(CFG_READ, 0, 0, 4),
    "tinygpu_memory": b"\0" + request(MAP_BAR, 0) + request(MMIO_WRITE, 0, 4096, 32, 0, bytes(32)) +
                      request(MMIO_READ, 0, 4096, 32) + request(MAP_SYSMEM_FD, 0, 0x8000, 1),
    "tinygpu_configuration": b"\0" + request(CFG_WRITE, 0, 4, 2, 6) + request(CFG_READ, 0, 0x100, 4) + request(RESET) +
                             request(RESIZE_BAR, 0),
    "tinygpu_doorbell": b"\0" + request(MAP_BAR, 2) + request(MMIO_WRITE, 2, 0, 8, 0, bytes(8)),
    "remote_memory": b"\1" + probe + request(MAP_SYSMEM, 0, 8192) + request(SYSMEM_WRITE, 0, 16, 4, 0, b"abcd") +
                     request(SYSMEM_READ, 0, 0, 32) + request(PING),
    "remote_registers": b"\1" + probe + request(MAP_BAR, 5) + request(MMIO_READ, 5, 0xC0, 4) +
                        request(MMIO_WRITE, 5, 0xC0, 4, 0, b"\0\0\0\0") + request(RESIZE_BAR, 0),
    "remote_unprobed": b"\1" + request(CFG_READ, 0, 0, 4) + request(MMIO_WRITE, 5, 0, 4, 0, b"\0\0\0\0"),
    "half_a_request": b"\0" + request(CFG_READ)[:20],
}
OUT.mkdir(parents=True, exist_ok=True)
for name, content in conversations.items():
    (OUT / name).write_bytes(content)
