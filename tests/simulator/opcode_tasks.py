"""The groups of instruction tests as tasks for several processes."""

import concurrent.futures
import multiprocessing
import os
import re

import buffer_check
import buffer_formats
import global_check
import isa
import lds_check
import matrix_check
import scalar_check
import scalar_flow
import smem_check
import valu_check
import valu_kernel
import vector_dual
import vector_lanes
from valu_check import Report
from valu_kernel import Mode

VALU_FORMS = {"VOP1", "VOP2", "VOPC", "VOP3", "VOP3SD", "VOP3P"}
DEFAULT = Mode()
# FLOAT_MODE: rounding in the low four bits (float32, then float16 and 64), denormals in the high.
OTHER_MODES = [Mode(0xC0, False, True), Mode(0x05, True, True), Mode(0xFA, False, False), Mode(0x3F, False, True)]

# How often dot products round, and in which order, is open (corrections.py), so their results are compared in the
# usual mode alone.
ONE_MODE = re.compile(r"v_dot2")


def valu_names():
    """All but those that look across lanes (vector_lanes.py) and WMMA."""
    elsewhere = {c.name for c in vector_lanes.all_cases()} | {"v_nop", "v_pipeflush", "v_swap_b16"}
    return [n for n, i in isa.instructions().items()
            if i.forms & VALU_FORMS and n not in elsewhere and "wmma" not in n]


def has_floats(name):
    return any(t.kind in ("f", "pf", "bf", "pbf") for _, t in isa.instructions()[name].types)


def valu(names, wave64, mode):
    report = Report()
    valu_check.want_all(names, 1, [mode], (wave64,))
    for name in names:
        valu_check.check(name, wave64, mode, 1, report)
    return report


def scalar(names, wave64):
    report = Report()
    scalar_check.check(names, wave64, report)
    return report


MODULES = {"scalar_flow": scalar_flow, "smem": smem_check, "lanes": vector_lanes, "dual": vector_dual,
           "matrix": matrix_check, "lds": lds_check, "global": global_check, "buffer": buffer_check,
           "formats": buffer_formats}


def module(name, wave64):
    report = Report()
    MODULES[name].check(wave64, report)
    return report


def chunks(names, count):
    return [names[i::count] for i in range(count)]


def tasks():
    """(group, function, arguments), the long ones first."""
    names = valu_names()
    floats = [n for n in names if has_floats(n) and not ONE_MODE.match(n)]
    for wave64 in (False, True):
        for part in chunks(names, 8):
            yield "vector ALU", valu, (part, wave64, DEFAULT)
    for i, mode in enumerate(OTHER_MODES):
        for part in chunks(floats, 4):
            yield "float modes", valu, (part, i % 2 == 1, mode)
    for wave64 in (False, True):
        yield "scalar ALU", scalar, (scalar_check.names(), wave64)
        for name in MODULES:
            yield name, module, (name, wave64)


def _work(task):
    group, function, arguments = task
    return group, function(*arguments)


def run_all():
    """A report for each group."""
    reports = {}
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for group, report in pool.map(_work, tasks()):
            whole = reports.setdefault(group, Report())
            whole.lanes += report.lanes
            whole.cases += report.cases
            whole.failures += report.failures
            whole.covered |= report.covered
    return reports
