"""Every instruction of gfx1100 on the simulated compute units, against the pseudo-code of AMD's guide (pcode.py) and,
where that says nothing, against what the guide says in words."""

import os
import re
import subprocess

import pytest

pytest.importorskip("tinygrad.runtime.autogen.amd.rdna3.str_pcode")

import opcode_tasks  # noqa: E402 (needs tinygrad)
import outboard_sim  # noqa: E402

GROUPS = ["vector ALU", "float modes", "scalar ALU", *opcode_tasks.MODULES]

# Decoded, but not executed: programs that compute have no use for them.
NOT_SIMULATED = {
    r"image_|exp$": "images and exports",
    r"ds_gws_|ds_ordered_count|ds_\w+_gs_reg_rtn": "global data share and ordered appends",
    r"ds_bvh_stack_rtn_b32|image_bvh": "ray tracing",
    r"lds_param_load|lds_direct_load": "parameters of pixel shaders",
    r"buffer_load_lds_": "loads from memory into LDS, which compilers do not use on gfx11",
    r"s_atc_probe": "probes of the address translation cache",
    r"s_sendmsghalt|s_subvector_loop_": "of no use in compute",
}


@pytest.fixture(scope="module")
def reports():
    return opcode_tasks.run_all()


@pytest.mark.parametrize("group", GROUPS)
def test_instructions(reports, group):
    report = reports[group]
    print(f"{group}: {len(report.covered)} instructions, {report.cases} cases, {report.lanes} lanes")
    assert report.cases > 0
    shown = "\n".join(report.failures[:20])
    assert not report.failures, f"{len(report.failures)} wrong results:\n{shown}"


def mnemonics():
    out = subprocess.run([os.environ["OUTBOARD_ISA_TOOL"], "--list"], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def reason(name):
    return next((why for pattern, why in NOT_SIMULATED.items() if re.match(pattern, name)), None)


def test_every_instruction_has_a_test(reports):
    covered = set().union(*(r.covered for r in reports.values()))
    known = mnemonics()
    left = sorted(n for n in known - covered if reason(n) is None)
    assert not left, f"without a test: {left}"
    needless = sorted(n for n in covered if reason(n) is not None)
    assert not needless, f"tested, yet listed as not simulated: {needless}"
    assert len(known & covered) > 900


# One of each kind that is not simulated.
REFUSED = ["image_load v20, v8, s[16:23] dmask:0x1 dim:SQ_RSRC_IMG_1D", "exp mrt0 v0, v0, v0, v0 done",
           "ds_gws_barrier v0 gds", "ds_ordered_count v5, v1 gds", "buffer_load_lds_b32 v8, s[16:19], 0 offen",
           "lds_direct_load v20 wait_vdst:1", "lds_param_load v20, attr0.x wait_vdst:1", "s_sendmsghalt 0",
           "ds_add_gs_reg_rtn v[5:6], v1 gds", "s_atc_probe 0, s[4:5], 0x0",
           "ds_bvh_stack_rtn_b32 v20, v8, v9, v[12:15]"]


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_not_simulated_is_refused(text):
    outcome = outboard_sim.run(outboard_sim.assemble(f"{text}\ns_endpgm\n"), lds=1024)
    assert outcome.status == outboard_sim.ILLEGAL_INSTRUCTION and "not simulated" in outcome.message, outcome.message
