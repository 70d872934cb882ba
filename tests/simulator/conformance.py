"""Compares what two drivers did (card_trace.py), and the differences with a list of those that are meant.

Every difference is told by phase, block, what it is about, field, kind and the two values. The list
(conformance_differences.toml) has an entry for each, with its reason and where that can be looked up."""

import fnmatch
import tomllib
from collections import defaultdict
from typing import NamedTuple

# What comes before what across blocks, and why it matters.
MILESTONES = [
    ("bus mastering on", lambda i: i.label == "Command" and i.value & 4, "nothing in the card may do DMA before"),
    ("doorbells open", lambda i: i.label == "RCC_DEV0_EPF0_RCC_DOORBELL_APER_EN", "a closed doorbell is lost"),
    ("memory hub on", lambda i: i.label == "MMVM_CONTEXT0_CNTL", "the PSP reads its images through it"),
    ("interrupt ring on", lambda i: i.label == "IH_RB_CNTL" and i.value & 1, "blocks report to it while they start"),
    ("first image", lambda i: i.label.startswith("boot loader:"), "needs the memory hub"),
    ("ring of the PSP", lambda i: i.label == "MP0_SMN_C2PMSG_71", "needs the secure OS"),
    ("power management firmware", lambda i: i.label.endswith("GFX_FW_TYPE_SMU"), "before trusted memory is given"),
    ("trusted memory", lambda i: i.label.endswith("SETUP_TMR"), "before the images that go there"),
    ("autoload", lambda i: i.label.endswith("AUTOLOAD_RLC"), "after all images"),
    ("power features", lambda i: i.label.startswith("EnableAllSmuFeatures"), "after its firmware"),
    ("graphics hub on", lambda i: i.label == "GCVM_CONTEXT0_CNTL", "before any engine that uses virtual addresses"),
    ("compute engine placed", lambda i: i.label.startswith("CP_MEC_RS64_PRGRM_CNTR_START["), "before it starts"),
    ("compute engine runs", lambda i: i.label == "CP_MEC_RS64_CNTL" and i.value >> 26 & 1, "before its queue is activated"),
    ("compute doorbells", lambda i: i.label == "CP_MEC_DOORBELL_RANGE_UPPER", "before the queue's first"),
    ("compute queue on", lambda i: i.label.startswith("CP_HQD_ACTIVE[") and i.value & 1, "after all its registers"),
    ("copy engine runs", lambda i: i.label == "SDMA0_F32_CNTL", "before its queue is enabled"),
    ("copy doorbells", lambda i: i.label == "S2A_DOORBELL_ENTRY_2_CTRL", "before the queue's first"),
    ("copy queue on", lambda i: i.label == "SDMA0_QUEUE0_RB_CNTL" and i.value & 1, "after all its registers"),
    ("clocks up", lambda i: i.label.startswith("SetSoftMinByFreq"), "after power management's features"),
    ("clock gating", lambda i: i.label == "RLC_CGCG_CGLS_CTRL", "the RLC must run"),
    ("marked as ours", lambda i: i.label == "SCRATCH_REG7", "a card is marked when it is up"),
    ("marked as in use", lambda i: i.label == "SCRATCH_REG6" and i.value != 0, "before anything that must be undone"),
]


class Difference(NamedTuple):
    phase: str  # cold, warm, cold rest, warm rest, reset
    block: str
    what: str  # a register, message, packet ...
    field: str  # of it; may be empty
    kind: str  # only ours, only tinygrad's, value, times, order
    ours: str
    theirs: str

    def __str__(self):
        return (f"{self.phase}, {self.block}: {self.what}{'.' + self.field if self.field else ''}: {self.kind}: "
                f"ours {self.ours or '-'}; tinygrad's {self.theirs or '-'}")


def compare(phase, ours, theirs):
    """Differences between two lists of Item."""
    out = []
    for block in dict.fromkeys(i.block for i in [*ours, *theirs]):
        mine, yours = ([i for i in items if i.block == block] for items in (ours, theirs))
        out += compare_block(phase, block, mine, yours)
    stones = [[name for name, *_ in sorted(found, key=lambda f: f[1])] for found in
              ([(name, next(i.at for i in items if test(i))) for name, test, _ in MILESTONES if any(test(i) for i in items)]
               for items in (ours, theirs))]
    return out + compare_order(phase, "between blocks", *stones)


def compare_block(phase, block, ours, theirs):
    out, sides = [], []
    for items in (ours, theirs):
        labels = defaultdict(list)
        for item in items:
            labels[item.label].append(item)
        sides.append(labels)
    mine, yours = sides
    for label in dict.fromkeys([*mine, *yours]):
        if label not in yours:
            out.append(Difference(phase, block, label, "", "only ours", values(mine[label]), ""))
        elif label not in mine:
            out.append(Difference(phase, block, label, "", "only tinygrad's", "", values(yours[label])))
        else:
            out += compare_items(phase, block, label, mine[label], yours[label])
    return out + compare_order(phase, block, *([i.label for i in items if i.ordered] for items in (ours, theirs)))


def compare_items(phase, block, label, ours, theirs):
    if len(ours) != len(theirs):
        mine, yours = values(ours), values(theirs)
        if set(mine.split("; ")) == set(yours.split("; ")):
            return [Difference(phase, block, label, "", "times", str(len(ours)), str(len(theirs)))]
        return [Difference(phase, block, label, "", "value", mine, yours)]
    out = []
    for a, b in zip(ours, theirs):
        for field, x, y in differing(a, b):
            out.append(Difference(phase, block, label, field, "value", x, y))
    return list(dict.fromkeys(out))


def differing(a, b):
    """(field, ours, theirs) in words."""
    if isinstance(a.value, dict) and isinstance(b.value, dict):
        for key in dict.fromkeys([*a.value, *b.value]):
            x, y = a.value.get(key, "absent"), b.value.get(key, "absent")
            if x != y:
                yield key, words(x), words(y)
    elif a.register and b.register:
        for field, x, y in a.register.differing(a.value, b.value):
            yield field, words(x), words(y)
    elif a.value != b.value:
        yield "", words(a.value), words(b.value)


def words(value):
    if isinstance(value, dict):
        return " ".join(f"{k}={words(v)}" for k, v in value.items() if v not in (0, "0x0"))
    return f"{value:#x}" if isinstance(value, int) else str(value)


def values(items):
    return "; ".join(dict.fromkeys(words(i.value) for i in items))


def compare_order(phase, block, ours, theirs):
    """What stands elsewhere, of what both did; the least that would have to be moved."""
    common = set(ours) & set(theirs)
    mine, yours = ([label for label in dict.fromkeys(labels) if label in common] for labels in (ours, theirs))
    stay = longest_common(mine, yours)
    before = lambda labels, l: (["the start", *labels])[labels.index(l)]  # noqa: E731
    return [Difference(phase, block, l, "", "order", f"after {before(mine, l)}", f"after {before(yours, l)}")
            for l in mine if l not in stay]


def longest_common(a, b):
    best = [[()] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            best[i][j] = ((a[i], *best[i + 1][j + 1]) if a[i] == b[j]
                          else max(best[i + 1][j], best[i][j + 1], key=len))
    return set(best[0][0])


def compare_entries(phase, ours, theirs):
    """Page table entries: which combinations of flags there are, by level."""
    out = []
    for key, kind, mine, yours in [*((k, "only ours", True, False) for k in ours if k not in theirs),
                                   *((k, "only tinygrad's", False, True) for k in theirs if k not in ours)]:
        level, entry, flags = key
        out.append(Difference(phase, "page tables", f"{level} {entry}", "", kind, flags if mine else "", flags if yours else ""))
    return sorted(out)


# ---- the list

class Entry(NamedTuple):
    phases: tuple
    block: str
    what: str
    field: str
    kind: str
    ours: str
    theirs: str
    reason: str
    source: str

    def covers(self, difference, phase):
        """Names may be patterns (fnmatch); brackets stand for themselves."""
        same = lambda pattern, name: fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))  # noqa: E731
        return (phase == difference.phase and self.block == difference.block and self.kind == difference.kind
                and all(same(getattr(self, f), getattr(difference, f)) for f in ("what", "field", "ours", "theirs")))


def read_list(text):
    """An entry may be about several things (what, field: a list); each of them must be there."""
    several = lambda value: value if isinstance(value, list) else [value]  # noqa: E731
    out = []
    for entry in tomllib.loads(text)["difference"]:
        if not entry["reason"].strip() or not entry["source"].strip():
            raise ValueError(f"{entry['block']}, {entry['what']}: an entry needs a reason and a source")
        for what in several(entry["what"]):
            for field in several(entry.get("field", "")):
                out.append(Entry(tuple(several(entry["phase"])), entry["block"], what, field, entry["kind"],
                                 entry.get("ours", ""), entry.get("theirs", ""), entry["reason"], entry["source"]))
    return out


def check(differences, entries):
    """(differences that no entry covers, (entry, phase) that covers none, differences that two cover)."""
    used, unlisted, twice = set(), [], []
    for difference in differences:
        covering = [i for i, entry in enumerate(entries) if difference.phase in entry.phases
                    and entry.covers(difference, difference.phase)]
        used |= {(i, difference.phase) for i in covering}
        if not covering:
            unlisted.append(difference)
        elif len(covering) > 1:
            twice.append(difference)
    gone = [(entry, phase) for i, entry in enumerate(entries) for phase in entry.phases if (i, phase) not in used]
    return unlisted, gone, twice


def as_entry(difference, phases=None):
    """In the list's form, for a reason to be added."""
    text = lambda s: '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'  # noqa: E731
    rows = ["[[difference]]"]
    rows.append("phase = " + ("[" + ", ".join(text(p) for p in phases) + "]" if phases and len(phases) > 1 else
                              text((phases or [difference.phase])[0])))
    rows += [f"{name} = {text(value)}" for name in ("block", "what", "field", "kind", "ours", "theirs")
             if (value := getattr(difference, name))]
    return "\n".join([*rows, 'reason = ""', 'source = ""', ""])


def as_list(differences):
    """All, those that only differ in the phase together."""
    together = defaultdict(list)
    for difference in differences:
        together[difference._replace(phase="")].append(difference.phase)
    return "\n".join(as_entry(d._replace(phase=phases[0]), phases) for d, phases in together.items())
