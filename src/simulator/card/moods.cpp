#include "simulator/card/moods.h"

#include <algorithm>
#include <array>

#include "support/error.h"

namespace outboard::simulator::card {
namespace {

constexpr std::array<MoodInfo, 23> kMoods = {{
    {Mood::kQueueReset, "queue.reset",
     "a compute queue that was reset through SPI_COMPUTE_QUEUE_RESET stays dead until its pipe or "
     "the command processor is reset",
     "tinygrad commit 1329033b8c, \"fix hot-queue restarts, only dequeue\"", ""},
    {Mood::kUserSgprs, "launch.sgprs",
     "a wave32 launch with fewer than 16 user and system SGPRs gets wrong user SGPRs",
     "LLVM, feature user-sgpr-init16-bug of gfx1100", ""},
    {Mood::kBootComplete, "rlc.incomplete",
     "BOOTLOAD_COMPLETE never sets, since PFP, ME and MES images were not loaded; CP_STAT gets 0",
     "Linux waits for the bit and loads all images (gfx_v11_0.c); tinygrad loads as few as we do "
     "and does not insist on it",
     ""},
    {Mood::kLinkPower, "link.power",
     "while link power management (ASPM) is on, some reads give ones; it is on again after a reset",
     "tinygrad, amdev.py, _disable_aspm: \"L1 across retimers makes reads oscillate to "
     "0xffffffff\"",
     ""},
    {Mood::kUnusedSegments, "discovery.segments",
     "segments that no known register lies in have other bases",
     "bases of MP0, MP1 and NBIO differ between dumps of neighbouring chips", ""},
    {Mood::kStrictPayload, "psp.payload",
     "the boot loader refuses the step for security patch levels with anything but the key "
     "database",
     "Linux, psp_v13_0_bootloader_load_spl; tinygrad, AM_PSP.init_hw", ""},
    {Mood::kStaleLines, "gl2.stale",
     "GL2 keeps the old bytes of what the copy engine writes, until it is invalidated",
     "SDMA writes past GL2 (UTCL1_PAGE.WR_L2_POLICY = bypass, as tinygrad sets it)", ""},
    {Mood::kWideWrites, "registers.wide",
     "a write of several dwords to BAR 5 lands in the wrong registers",
     "tinygrad, extra/remote/serve.py: longer writes are a memmove with wide, overlapping stores",
     ""},
    {Mood::kConditionInRing, "ring.condition",
     "a COND_EXEC in the ring itself hangs the compute queue",
     "tinygrad, ops_amd.py: PRED_EXEC works in indirect buffers only", ""},
    {Mood::kDequeue, "queue.dequeue", "a dequeue request never finishes",
     "tinygrad, AM_GFX._dequeue_hqds: \"a wedged wave can survive RESET_WAVES\"", ""},
    {Mood::kFirmwareMissing, "firmware.missing",
     "images that both references treat as optional are not in the file: SPL, SOC, INTF, DBG and "
     "RAS drivers, the table of contents",
     "Linux, psp_hw_start and psp_tmr_init; tinygrad, AM_PSP",
     "without a table of contents it gives trusted memory of no bytes (AM_PSP._tmr_load_cmd), "
     "where "
     "Linux gives 4 MiB"},
    {Mood::kFirmwareEmpty, "firmware.empty",
     "the same images, and the RLC's P and V parts, are listed with no bytes",
     "Linux, is_psp_fw_valid and amdgpu_gfx_rlc_init_microcode",
     "loads images of no bytes: its _bootloader_load_component and LOAD_IP_FW do not look at "
     "sizes"},
    {Mood::kFirmwareHeader, "firmware.header",
     "headers are of another version that exists: 2.1 of the boot images, 1.0 of power management, "
     "2.2 of the RLC",
     "Linux, amdgpu_ucode.h",
     "takes a part of power management's header that version 1.0 has not (AMFirmware)"},
    {Mood::kPowerSlow, "smu.slow",
     "power management takes 30 ms for each message, 200 ms for the first after it started",
     "tinygrad gives SetSoftMinByFreq 20 ms and goes on without an answer (AM_SMU.set_clocks)", ""},
    {Mood::kPowerSilent, "smu.silent", "the first message that raises a clock is never answered",
     "tinygrad, AM_SMU.set_clocks suppresses its time-out", ""},
    {Mood::kOldInterrupts, "ih.old",
     "the interrupt ring holds faults of an earlier client as soon as it is enabled",
     "unsolicited interrupts of a fresh card could not be judged", ""},
    {Mood::kPosted, "card.posted",
     "a PC's firmware has posted the card: power management answers, bus mastering is on",
     "Linux, amdgpu_device_need_post", ""},
    {Mood::kNotPosted, "card.unposted",
     "for 150 ms after power-on the card's own firmware is not through: no memory size, no "
     "discovery table",
     "Linux, amdgpu_discovery.c: up to a second for cards that are plugged in over USB4",
     "reads the memory size at once (amdev.py, _run_discovery)"},
    {Mood::kCopiesSlow, "sdma.slow", "the copy engine begins 20 ms after its doorbell",
     "nothing says when it begins", ""},
    {Mood::kDescriptor, "queue.descriptor",
     "a queue that is made active before its descriptor was flushed out of the host data path is "
     "dead",
     "PRELOAD_REQ reads the descriptor at once; Linux flushes before",
     "flushes after it makes the queue active (AM_GFX.setup_ring); on real cards the fifty "
     "register "
     "writes between give the data time to arrive"},
    {Mood::kDoorbellLate, "doorbell.late",
     "one doorbell in three comes 40 ms late, while system memory is seen at once",
     "a doorbell is a message through a server process; system memory is not",
     "lets SDMA poll its write pointer and rings doorbells, too: a late one moves the pointer back "
     "(AM_SDMA.setup_ring)"},
    {Mood::kDoorbellMerged, "doorbell.merged",
     "doorbells that follow each other within a millisecond arrive as the last one only",
     "write combining on the way", "as with doorbell.late: each comes a little late"},
    {Mood::kDoorbellLost, "doorbell.lost", "one doorbell in five never arrives",
     "Linux, sdma_v5_2.c: \"SDMA seems to miss doorbells sometimes\"",
     "rings each doorbell once and waits"},
}};

// One card cannot be both; "all" takes the one that is harder.
constexpr Mood kNotInAll[] = {Mood::kPosted, Mood::kFirmwareEmpty};

}  // namespace

std::span<const MoodInfo> mood_list() { return kMoods; }

Moods Moods::parse(std::span<const std::string> names) {
  Moods out;
  for (const std::string& name : names) {
    if (name == "all") {
      for (const MoodInfo& info : kMoods)
        if (std::ranges::find(kNotInAll, info.mood) == std::end(kNotInAll)) out.add(info.mood);
      continue;
    }
    const auto found =
        std::ranges::find_if(kMoods, [&](const MoodInfo& info) { return info.name == name; });
    if (found == kMoods.end()) {
      std::string list;
      for (const MoodInfo& info : kMoods)
        list += fmt::format("\n  {:20} {}", info.name, info.behaviour);
      throw Error(fmt::format("there is no mood \"{}\"", name), "Moods: all, or" + list);
    }
    out.add(found->mood);
  }
  return out;
}

}  // namespace outboard::simulator::card
