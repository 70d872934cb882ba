"""The hardware tables against a second source: tinygrad's own, made from newer headers."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

regs = pytest.importorskip("tinygrad.runtime.autogen.am.regs")
HW = pathlib.Path(__file__).parents[2] / "src/hardware/amd/navi31"
REGISTER = re.compile(r"struct (\w+) : Register<Ip::k\w+, (\d+), (0x\w+)> \{(.*?)\n\};", re.S)
FIELD = re.compile(r"Field (\w+)\{(0x\w+), (\d+)\};")

# What tinygrad's tables and these must have in common at least, so that a table that came out empty
# does not pass.
COMMON = {"gc": 500, "mmhub": 150, "mp": 90, "nbio": 25, "osssys": 100, "hdp": 1}


@pytest.mark.parametrize("space, module", [
    ("gc", "gc_11_0_0"), ("mmhub", "mmhub_3_0_0"), ("mp", "mp_13_0_0"), ("nbio", "nbio_4_3_0"),
    ("osssys", "osssys_6_0_0"), ("hdp", "hdp_6_0_0")])
def test_registers(space, module):
    theirs = getattr(regs, module)
    compared = 0
    for name, segment, offset, body in REGISTER.findall((HW / f"{space}.h").read_text()):
        if (entry := theirs.get("reg" + name)) is None:
            continue
        compared += 1
        assert (int(offset, 16), int(segment)) == tuple(entry[:2]), name
        fields = {field.rstrip("_").lower(): (int(shift), int(mask, 16).bit_length() - 1)
                  for field, mask, shift in FIELD.findall(body)}
        for field, bits in entry[2].items():
            assert fields.get(field.rstrip("_")) == tuple(bits), f"{name}.{field}"
    assert compared >= COMMON[space]


def test_bases():
    bases = pytest.importorskip("tinygrad.runtime.autogen.am.navi_offsets")
    text = (HW / "ip_bases.h").read_text()
    for block, theirs in [("Gc", "GC"), ("Mmhub", "MMHUB"), ("Mp0", "MP0"), ("Mp1", "MP1"),
                          ("Nbio", "NBIO"), ("Osssys", "OSSSYS"), ("Hdp", "HDP")]:
        row = re.search(rf"\{{([^{{}}]*)\}},  // {block}\n", text)[1]
        ours = [int(x, 16) for x in row.split(",")]
        for segment, value in enumerate(ours):
            given = getattr(bases, f"{theirs}_BASE__INST0_SEG{segment}", 0)
            # tinygrad's copy ends at segment 4.
            assert given == value or segment == 5, (block, segment)


LINUX = pathlib.Path(os.environ.get("OUTBOARD_LINUX_AMD", "/nowhere"))


@pytest.mark.skipif(not LINUX.exists(), reason="OUTBOARD_LINUX_AMD does not name drivers/gpu/drm/amd of Linux 6.1")
def test_generated_files_are_current(tmp_path):
    script = HW.parents[3] / "tools/hw/make_tables.py"
    subprocess.run([sys.executable, script, LINUX, tmp_path], check=True)
    made = sorted(tmp_path.iterdir())
    assert len(made) > 10
    for path in made:
        assert path.read_text() == (HW / path.name).read_text(), f"{path.name}: run tools/hw/make_tables.py"
