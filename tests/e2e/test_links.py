"""A link of any speed: all of them give the same text, and what each costs."""
import json
import re
import time

import pytest

import make_model
from support import run, run_json
from test_doctor import report, served

LINKS = ["tb3", "tb4", "usb4", "tb5", "oculink"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "llama.gguf"
    make_model.make("llama-small", path, "Q8_0")
    return path


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    folder = tmp_path_factory.mktemp("firmware")
    run("sim", "firmware", folder)
    return folder


def arguments(path, count=8):
    return ("run", path, "-p", "the rain in the other on", "--raw", "--temp", 0, "-n", count)


@pytest.fixture(scope="module")
def tokens(model):
    return run_json(*arguments(model), "--device", "cpu")["tokens"]


@pytest.mark.parametrize("link", [*LINKS, "5MB/s,200us"])
def test_served(link, model, firmware, tokens, tmp_path):
    """Boot, upload, eight tokens and the way out; no deadline fires, however slow."""
    with served(tmp_path, "tinygpu", "--link", link) as server:
        start = time.monotonic()
        there = run_json(*arguments(model), "--device", server.device, "--firmware-dir", firmware)
        print(f"{link}: {time.monotonic() - start:.1f} s")
        counted = report(server)
    assert there["tokens"] == tokens
    assert not [event for event in counted.get("events", []) if event["kind"] in ("driver error", "not simulated")]


def test_in_process(model, tokens):
    start = time.monotonic()
    assert run_json(*arguments(model), "--device", "sim", "--link", "20MB/s,1ms")["tokens"] == tokens
    # The memory test's 20 MiB go there and back.
    assert time.monotonic() - start > 2 * 20 * 2**20 / 20e6


def test_unknown_links():
    for command in (("sim", "serve", "--tcp", "127.0.0.1:0"), ("doctor", "--device", "sim")):
        result = run(*command, "--link", "tb6", ok=False)
        assert "there is no link \"tb6\"" in result.err
        for link in LINKS:
            assert re.search(rf"^ *{link} ", result.err, re.M), result.err


def test_only_the_simulated_card_has_one(model):
    result = run(*arguments(model), "--device", "cpu", "--link", "tb4", ok=False)
    assert "device \"cpu\" takes no --link" in result.err


def test_bench_shows_what_links_cost(model):
    bench = ("bench", model, "--device", "sim", "-p", 32, "-n", 16, "--link")
    counted = json.loads(run(*bench, "all", "--json").out)
    links = counted["links"]
    assert [link["name"] for link in links] == LINKS
    for slow, fast in zip(links, links[1:]):
        for what in ("start_seconds", "load_seconds", "first_token_seconds"):
            assert fast["modelled"][what] < slow["modelled"][what] or slow["name"] == "tb3", (what, slow, fast)
        assert fast["modelled"]["tokens_per_second"] >= slow["modelled"]["tokens_per_second"]
    # What was counted, at that link's rate.
    tb3 = links[0]
    assert tb3["modelled"]["load_seconds"] >= counted["upload"]["dma_bytes"] / tb3["to_card_bytes_per_second"]
    lines = run(*bench, "5MB/s,200us").out.splitlines()
    rows = [line for line in lines if line.startswith("| 5MB/s,200us")]
    assert len(rows) == 1 and "modelled" in rows[0]
    # Text and JSON, and two runs, say the same: nothing is measured.
    again = json.loads(run(*bench, "5MB/s,200us", "--json").out)["links"][0]["modelled"]
    assert f"{again['load_seconds']:.3f} s" in rows[0] and f"{again['tokens_per_second']:.2f}" in rows[0]
