/* liboutboard_sim: runs RDNA3 (gfx1100) machine code on this machine's memory.
 *
 * GPU addresses are host addresses: what a kernel loads from and stores to is the caller's memory.
 * All functions are thread-safe; each call stands alone. Structures start with their size, so that
 * they can grow: set `size` to sizeof, and the rest to zero where nothing else is wanted.
 *
 * From Python, with a kernel that adds one to 64 floats (tests/simulator/outboard_sim.py wraps
 * this):
 *
 *   sim = ctypes.CDLL("liboutboard_sim.so")
 *   launch = Launch(size=ctypes.sizeof(Launch), code=address, code_bytes=len(code), ...)
 *   sim.outboard_sim_run(ctypes.byref(launch), ctypes.byref(result))
 */
#ifndef OUTBOARD_SIM_H
#define OUTBOARD_SIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OUTBOARD_SIM_API __attribute__((visibility("default")))

/* Memory that the kernel may touch. */
struct outboard_sim_region {
  void* address;
  uint64_t bytes;
  uint32_t writable;
  uint32_t reserved;
};

enum outboard_sim_flags {
  OUTBOARD_SIM_WAVE64 = 1, /* waves of 64 lanes; else 32 */
  OUTBOARD_SIM_STRICT = 2, /* look for broken rules (missing waits, races, ...) */
  OUTBOARD_SIM_CACHES = 4, /* count what GL2 and the Infinity Cache would see */
};

struct outboard_sim_launch {
  uint64_t size; /* sizeof(struct outboard_sim_launch) */
  uint32_t flags;
  uint32_t threads;    /* host threads; 0: all cores */
  const void* code;    /* first instruction; aligned to 4 bytes */
  uint64_t code_bytes; /* what of it may be executed */
  /* As in the kernel descriptor; LDS_SIZE (rsrc2, bits 23:15) is computed from lds_bytes. How many
   * user SGPRs are loaded, which workgroup ids follow and how many ids lie in v0 is said by rsrc2.
   */
  uint32_t pgm_rsrc1, pgm_rsrc2, pgm_rsrc3;
  uint32_t lds_bytes;     /* a workgroup, at most 65536 */
  uint32_t scratch_bytes; /* a lane; the memory is found by the library */
  uint32_t workgroups[3];
  uint32_t workgroup_size[3]; /* threads; at most 1024 in all */
  uint32_t user_sgprs[16];    /* user SGPRs; s[0:1] is the kernel argument pointer when
                                 kernel_arguments is not null */
  const void* kernel_arguments;
  const struct outboard_sim_region* regions; /* null: every address is allowed (and a wrong one
                                                ends the process) */
  uint64_t region_count;
  uint64_t instruction_limit; /* a wave; 0: none */
  const char* name;           /* for messages; may be null */
};

struct outboard_sim_counters {
  uint64_t workgroups, waves, instructions;
  uint64_t salu, smem, valu, transcendental, dot, wmma, lds;
  uint64_t vmem_load, vmem_store, vmem_atomic, scratch, branch, barrier, waitcnt, other;
  uint64_t valu_lanes, lds_bytes, lds_bank_conflicts;
  uint64_t gl2_reads, gl2_writes, gl2_read_misses, gl2_miss_bytes, vram_read_bytes,
      vram_write_bytes;
};

enum outboard_sim_status {
  OUTBOARD_SIM_DONE = 0,
  OUTBOARD_SIM_MEMORY_VIOLATION = 1,
  OUTBOARD_SIM_ILLEGAL_INSTRUCTION = 2, /* or one that the simulator lacks */
  OUTBOARD_SIM_HANG = 3,                /* the instruction limit was reached */
  OUTBOARD_SIM_TRAP = 4,
  OUTBOARD_SIM_BAD_ARGUMENT = 5,
};

struct outboard_sim_result {
  uint64_t size;   /* sizeof(struct outboard_sim_result) */
  uint32_t status; /* enum outboard_sim_status */
  uint32_t reserved;
  uint64_t fault_address;
  uint64_t violations; /* broken rules, with OUTBOARD_SIM_STRICT */
  struct outboard_sim_counters counters;
  char message[1024];        /* what stopped it; empty when done */
  char violation_text[8192]; /* the first broken rules, a line each */
};

/* Runs every workgroup to its end. Returns result->status. */
OUTBOARD_SIM_API int outboard_sim_run(const struct outboard_sim_launch* run,
                                      struct outboard_sim_result* result);

/* Text of the instruction at words[0], in LLVM's syntax. Returns its length in bytes (4, 8 or 12),
 * or 0 when it is none; `out` then holds an empty string. */
OUTBOARD_SIM_API size_t outboard_sim_disassemble(const uint32_t* words, size_t count,
                                                 uint64_t address, char* out, size_t out_bytes);

#ifdef __cplusplus
}
#endif

#endif
