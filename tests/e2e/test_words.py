"""The words that people type, and how the program answers on a terminal, in a pipe, and to a wrong word."""
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import fcntl
import termios

import pytest

from support import OUTBOARD, SMOLLM2, run, run_json

ONE = ["--temp", "0", "-n", "6", "--device", "cpu"]
ASKED = "What is the capital of France?"


@pytest.fixture
def store(tmp_path):
    """A folder of models with one that was linked there."""
    os.link(SMOLLM2, tmp_path / "smollm2.gguf") if SMOLLM2.stat().st_dev == tmp_path.stat().st_dev \
        else shutil.copy(SMOLLM2, tmp_path / "smollm2.gguf")
    return {"OUTBOARD_MODELS": str(tmp_path)}


def commands(*words):
    return re.findall(r"^  ([a-z]+)(?:, [a-z]+)* {2,}", run(*words, "--help").out.split("Commands:")[1], re.M)


def test_help_fits_80_columns_and_examples_are_the_commands_own():
    for words in [[c] for c in commands() if c != "sim"] + [["sim", c] for c in commands("sim")]:
        text = run(*words, "--help").out
        assert max(map(len, text.splitlines())) <= 80, words
        assert "outboard " + " ".join(words) in text.split("Example")[1], words
        assert "Usage: outboard " + " ".join(words) in text
        assert run("help", *words).out == text
    assert run("help").out == run("--help").out
    assert run("version").out == run("-v").out == run("--version").out


@pytest.mark.parametrize("words, meant", [
    (["rnu"], "outboard run"), (["lst"], "outboard list"), (["sim", "srve"], "outboard sim serve"),
    (["run", "smollm2", "--temo", "1"], "--temp"), (["chat", "--systm", "x"], "--system"), (["help", "chatt"], "outboard chat"),
    (["run", "smollm2", "--temprature", "1"], "--temperature"), (["run", "smolm2", "x"], "smollm2"), (["rm", "smollm"], "smollm2")])
def test_a_wrong_word_gets_the_nearest(words, meant, store):
    error = run(*words, env=store, ok=False).err
    assert f"Did you mean {meant}" in error or f"Did you mean `{meant}`" in error
    assert "frobnicate" in run("frobnicate", ok=False).err
    assert "Did you mean" not in run("frobnicate", ok=False).err


def test_the_prompt_may_stand_behind_the_model_or_come_through_a_pipe(store):
    answers = {run("run", "smollm2", *ONE, "-p", ASKED, env=store).out, run("run", "smollm2", ASKED, *ONE, env=store).out,
               run("run", "smollm2", *ASKED.split(), *ONE, env=store).out,
               run("run", "smollm2", *ONE, stdin=ASKED.encode(), env=store).out}
    assert len(answers) == 1
    assert "twice" in run("run", "smollm2", "a", "-p", "b", ok=False).err
    assert "no prompt" in run("run", "smollm2", stdin=b"", ok=False).err


def test_names_of_llama_cpp(store):
    plain = run("run", "smollm2", ASKED, *ONE, env=store).out
    other = run("run", "-m", "smollm2", "-p", ASKED, "--temperature", 0, "--n-predict", 6, "-ngl", 0, "-fa", "on", "-ctk", "f16", env=store)
    assert other.out == plain
    for name in ("-ngl", "-fa", "-ctk"):
        assert f"{name} is not needed" in other.err
    assert "n gl" not in other.err
    # A value of an option is none of its names; the last of two counts; two options do not swallow MODEL.
    assert run("run", "--stop", "xyz", "--stop", "zyx", "-n", "3", "-n", "6", "smollm2", ASKED, "--temp", "0", "--device", "cpu", env=store).out == plain
    assert run("run", "smollm2", "-n", "1", "--device", "cpu", "--stop", "-ngl", "-p", "x", env=store).err.count("ngl") == 0
    for words in (["--lora", "x"], ["--no-mmap"], ["-ctk", "q8_0"], ["-cnv"]):
        assert "is not here" in run("run", "smollm2", "-p", "x", *words, ok=False).err
    assert "is no option" in run("run", "smollm2", "-p", "x", "-nfoo", ok=False).err


def test_nothing_but_the_answer(store):
    quiet = run("run", "smollm2", "<|im_end|> " + ASKED, *ONE, "-q", "-ngl", "9", env=store)
    assert quiet.err == ""
    loud = run("run", "smollm2", "<|im_end|> " + ASKED, *ONE, env=store)
    assert "in the message" in loud.err and "tokens/s" not in loud.err and loud.out == quiet.out
    assert "tokens/s" in run("run", "smollm2", ASKED, *ONE, "--stats", env=store).err
    assert run("run", "nosuch", "x", "-q", ok=False).err


def test_an_answer_goes_on_past_its_end():
    common = ("run", "smollm2", "What is the capital of France? One word.", "--temp", 0, "-n", 40, "--device", "cpu")
    ended, on = run_json(*common), run_json(*common, "--ignore-eos")
    assert ended["finish"] == "stop" and on["finish"] == "length"
    assert len(on["tokens"]) == 40 > len(ended["tokens"]) and on["tokens"][:len(ended["tokens"])] == ended["tokens"]
    assert "--ignore-eos" in run(*common, "--ignore-eos", "--json-object", ok=False).err
    run("bench", "smollm2", "-p", 0, "-n", 2, "-r", 1, "--ignore-eos")
    assert "run and bench have it" in run("chat", "smollm2", "--ignore-eos", ok=False).err


@pytest.mark.parametrize("words", [["--strict"], ["--take"], ["--firmware-dir", "x"]])
def test_options_without_meaning_are_refused(words, store):
    assert "no meaning with --device cpu" in run("run", "smollm2", "x", "--device", "cpu", *words, env=store, ok=False).err


def test_the_store(store, tmp_path):
    row = json.loads(run("list", "--json", env=store).out)[0]
    assert (row["family"], row["type"], row["parameters"], row["last_use"]) == ("llama", "Q4_1", 134515008, "")
    run("run", "smollm2", "x", "-n", "1", "--device", "cpu", env=store)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", json.loads(run("ls", "--json", env=store).out)[0]["last_use"])
    assert re.search(r"smollm2 +llama +135M +Q4_1 +[\d.]+ MB +\d{4}-\d\d-\d\d +\d{4}-\d\d-\d\d$", run("list", env=store).out, re.M)
    assert "type             Q4_1" in run("show", "smollm2", env=store).out
    run("cp", "smollm2", "mine", env=store)
    assert (tmp_path / "mine.gguf").read_bytes()[:4] == b"GGUF"
    for name in ("mine", "../x", "", ".hidden", "a-00002-of-00003"):
        run("cp", "smollm2", name, env=store, ok=False)
    assert "which model" in run("chat", env=store, stdin=b"", ok=False).err
    run("rm", "mine.gguf", env=store)
    run("rm", "smollm2", "nosuch", env=store, ok=False)  # looked at before the first is gone
    assert sorted(p.name for p in tmp_path.iterdir()) == [".smollm2.gguf.used", "smollm2.gguf"]
    assert "/help" in run("chat", "--device", "cpu", env=store, stdin=b"/help\n").err  # the only one
    run("rm", "smollm2", env=store)
    assert list(tmp_path.iterdir()) == [] and "pull" in run("chat", env=store, ok=False).err


def test_ps():
    with subprocess.Popen([OUTBOARD, "serve", SMOLLM2, "--port", "0", "--device", "cpu", "--ctx", "256"], stderr=subprocess.PIPE, text=True) as server:
        try:
            line = ""
            while "serving on" not in line:
                line = server.stderr.readline()
                assert line
            address = line.split()[-1]
            assert re.search(r"^smollm2:latest +[\d.]+ MB processor +256 ", run("ps", "--server", address).out, re.M)
            assert run_json("ps", "--server", address)["models"][0]["name"] == "smollm2:latest"
        finally:
            server.send_signal(signal.SIGINT)
    assert server.returncode == 0  # ended in order, as its help says
    assert "no server answers" in run("ps", "--server", address, ok=False).err


def test_a_reader_that_goes_ends_it_quietly():
    command = f"{OUTBOARD} inspect {SMOLLM2} --json | head -1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert result.stdout.split() == ["{", "141"] and result.stderr == ""


def test_sizes_of_the_simulated_card():
    for words in (["--bar", "3G"], ["--bar", "64G"], ["--bar", "128M"], ["--vram", "1T"], ["--vram", "1M"], ["--card", "gre", "--vram", "24G"]):
        assert "256M" in run("sim", "serve", "--tcp", "127.0.0.1:0", *words, ok=False).err


def on_terminal(*words, columns, **variables):
    """What the program shows on a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen([OUTBOARD, *map(str, words)], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
                             env={**os.environ, "TERM": "xterm", **variables})
    os.close(slave)
    seen = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(master)
    assert child.wait(60) == 0, seen
    return seen.decode()


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_progress_is_one_line_of_any_terminal(columns, locale, tmp_path):
    out = tmp_path / "a-model-with-a-name-that-is-long.gguf"
    seen = on_terminal("quantize", SMOLLM2, out, "Q8_0", "--allow-requantize", columns=columns, LC_ALL=locale)
    drawn = [line for line in re.split(r"\r\x1b\[K|\r\n", seen) if "%" in line]
    assert drawn and max(map(len, drawn)) < columns and "100%" in drawn[-1]
    told = [line for line in on_terminal("run", "--help", columns=columns).splitlines()
            if not line.startswith(("Usage", "Example"))]  # whole, to be copied
    assert max(map(len, told)) <= columns


@pytest.mark.parametrize("words, variables", [([], {"TERM": "dumb"}), ([], {"NO_COLOR": "1"}), ([], {"OUTBOARD_PLAIN": "1"}), (["--no-progress"], {}), (["-q"], {})])
def test_nothing_is_drawn_over_where_that_is_not_wanted(words, variables, tmp_path):
    seen = on_terminal("quantize", SMOLLM2, tmp_path / "o.gguf", "Q8_0", "--allow-requantize", *words, columns=80, **variables)
    assert "\x1b" not in seen and "%" not in seen
