"""Every subcommand as a person or a script would use it."""
import csv
import io
import json
import os
import re
import subprocess

import numpy as np
import pytest

import forward
import make_model
from support import ALICE, GEMMA, MODELS, OUTBOARD, SMOLLM2, run, run_json

QUESTION = "What is the capital of France?"


def test_help_has_an_example_for_every_command():
    commands = re.findall(r"^  ([a-z]+)(?:, [a-z]+)* {2,}", run("--help").out, re.M)
    assert set(commands) >= {"run", "chat", "pull", "list", "inspect", "tokenize", "perplexity", "bench",
                             "quantize"}
    for command in commands:
        assert "Example: outboard " + command in run(command, "--help").out


def test_wrong_words_are_refused():
    assert "--help" in run(ok=False).err
    run("nosuch", ok=False)
    run("run", "smollm2", "--temp", "hot", "-p", "x", ok=False)
    run("run", "smollm2", "--threads", "-3", "-p", "x", ok=False)
    assert "-p TEXT" in run("run", "smollm2", ok=False).err
    assert "auto" in run("run", "smollm2", "-p", "x", "--device", "tpu", ok=False).err


def test_more_threads_than_processors_are_not_started():
    """Whatever -t says: threads that wait for each other's core would take seconds a token."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    result = run("run", SMOLLM2, "-p", "Hi", "-n", "4", "--temp", "0", "--device", "cpu", "-t", "1000")
    words = f"{usable} processor" + ("s" if usable > 1 else "")
    assert f"--threads 1000: this process may use {words}; " in result.err
    few = run("run", SMOLLM2, "-p", "Hi", "-n", "4", "--temp", "0", "--device", "cpu", "-t", "1")
    assert "--threads" not in few.err and few.out == result.out


def test_run_streams_text_and_tells_speed():
    result = run("run", "smollm2", "-p", QUESTION, "--temp", 0, "-n", 24, "--stats")
    assert "Paris" in result.out
    assert re.search(r"prompt \d+ tokens, [\d.]+ tokens/s; answer \d+ tokens, [\d.]+ tokens/s", result.err)


def test_run_json():
    result = run_json("run", "smollm2", "-p", QUESTION, "--temp", 0, "-n", 24)
    assert "Paris" in result["text"]
    assert result["finish"] in ("stop", "length")
    assert len(result["tokens"]) == result["answer_tokens"] <= 24
    assert result["prompt_tokens"] > 10
    assert result["prompt_seconds"] > 0
    again = run_json("run", "smollm2", "-p", QUESTION, "--temp", 0, "-n", 24)
    assert again["tokens"] == result["tokens"]


def test_seed_system_stop_and_file(tmp_path):
    options = ["-n", 24, "--temp", 1.2]
    a = run_json("run", "smollm2", "-p", QUESTION, "--seed", 1, *options)["tokens"]
    assert a == run_json("run", "smollm2", "-p", QUESTION, "--seed", 1, *options)["tokens"]
    assert a != run_json("run", "smollm2", "-p", QUESTION, "--seed", 2, *options)["tokens"]

    plain = run_json("run", "smollm2", "-p", QUESTION, "-n", 1)
    system = run_json("run", "smollm2", "-p", QUESTION, "-n", 1, "--system", "Answer in one word, please.")
    assert system["prompt_tokens"] != plain["prompt_tokens"]

    stopped = run_json("run", "smollm2", "-p", QUESTION, "--temp", 0, "--stop", "Paris")
    assert stopped["finish"] == "stop_string"
    assert stopped["stop_string"] == "Paris"
    assert "Paris" not in stopped["text"]

    file = tmp_path / "prompt.txt"
    file.write_text(QUESTION)
    assert run_json("run", "smollm2", "-f", file, "-n", 8, "--temp", 0)["tokens"] == \
        run_json("run", "smollm2", "-f", "-", "-n", 8, "--temp", 0, stdin=QUESTION.encode())["tokens"]
    assert "no-such-file" in run("run", "smollm2", "-f", "no-such-file", ok=False).err


def test_raw_continues_the_text():
    result = run_json("run", GEMMA, "-p", "The capital of France is", "--raw", "--temp", 0, "-n", 4)
    assert len(result["tokens"]) == 4
    # A base model has no template: it continues the text without --raw too.
    assert run_json("run", GEMMA, "-p", "The capital of France is", "--temp", 0, "-n", 4)["tokens"] == result["tokens"]


def test_full_context_is_explained():
    result = run("run", "smollm2", "-p", "Tell me a very long story.", "--ctx", 64, "--temp", 0)
    assert "the context of 64 tokens is full" in result.err
    assert "--ctx" in result.err
    long = run("run", "smollm2", "-f", ALICE, "--ctx", 64, ok=False).err
    assert "the context holds 64" in long
    assert "was trained for 8192" in run("run", "smollm2", "-p", "x", "--ctx", 9000, ok=False).err


def test_context_larger_than_memory(tmp_path):
    path = tmp_path / "huge.gguf"
    make_model.SHAPES["huge"] = ("llama", 2, 128, 4, 4, 32, 256, 0, 2**30)
    make_model.make("huge", path)
    error = run("run", path, "-p", "x", "--raw", "--ctx", 2**30, ok=False).err
    assert "this machine has" in error
    fits = int(re.search(r"--ctx (\d+)\.", error)[1])
    assert 2**16 < fits < 2**30
    # Not asked for, it is what fits, told in one line; here, in a server, and by inspect for a card.
    result = run("run", path, "-p", "x", "--raw", "-n", 2)
    told = re.search(r"a context of (\d+) of the 1073741824 that", result.err)
    assert told and abs(int(told[1]) / fits - 1) < 0.2 and result.err.count("a context of") == 1
    found = run_json("inspect", path)["fits"]
    here, card = found[0], found[-1]
    assert abs(here["context"] / fits - 1) < 0.2
    position = 2 * 2 * 4 * 32 * 2  # layers, keys and values, heads, elements, bytes
    assert card["device"] == "RX 7900 XTX" and 0.9 < card["context"] * position / 24 / 2**30 < 1
    assert "a context of" in run("inspect", path).out


def test_list_and_names():
    names = [m["name"] for m in json.loads(run("list", "--json").out)]
    assert {"smollm2", "gemma3-270m"} <= set(names)
    assert "smollm2" in run("list").out
    assert "outboard pull smollm2" in run("list", env={"OUTBOARD_MODELS": "/nonexistent"}).err
    assert "`outboard pull smollm2` gets it" in run(
        "run", "smollm2", "-p", "x", env={"OUTBOARD_MODELS": "/nonexistent"}, ok=False).err


def test_inspect():
    text = run("inspect", "smollm2").out
    assert "blk.0.attn_q.weight" in text and "Q4_1" in text and "8192 tokens" in text
    data = run_json("inspect", "smollm2")
    reader = forward.Model(SMOLLM2).reader
    assert len(data["tensors"]) == len(reader.tensors)
    for mine, theirs in zip(data["tensors"], reader.tensors):
        assert mine["name"] == theirs.name
        assert mine["type"] == theirs.tensor_type.name
        assert mine["shape"] == [int(n) for n in reversed(theirs.shape)]
        assert mine["bytes"] == theirs.n_bytes
    assert data["metadata"]["llama.block_count"] == 30
    assert len(data["metadata"]["tokenizer.ggml.tokens"]) == 49152
    # Keys and values of a position: 30 layers, 3 heads of 64, two of them, two bytes each.
    assert data["memory"][-1] == {"context": 8192, "kv_bytes": 8192 * 30 * 3 * 64 * 2 * 2,
                                  "total_bytes": 8192 * 30 * 3 * 64 * 2 * 2 + data["tensor_bytes"]}
    program = run("inspect", "smollm2", "--program").out
    assert program.count(" = attention ") == 30
    assert program.count(" = linear ") == 30 * 7 + 1


def test_tokenize():
    assert run("tokenize", "smollm2", "Hello world").out.split() == ["19556", "Hello", "905", "Ġworld"]
    data = run_json("tokenize", "gemma3-270m", "Hello")
    assert data["ids"][0] == 2 and data["count"] == len(data["ids"])
    assert run_json("tokenize", "gemma3-270m", "Hello", "--no-special")["ids"] == data["ids"][1:]


def test_perplexity_against_the_reference(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(ALICE.read_text())
    mine = run_json("perplexity", "smollm2", "-f", text, "--ctx", 256)
    tokens = run_json("tokenize", "smollm2", "-f", text, "--no-special")["ids"]
    model = forward.Model(SMOLLM2)
    surprises = []
    for start in range(0, len(tokens) // 256 * 256, 256):
        chunk = tokens[start : start + 256]
        logits = forward.logits(model, chunk).astype(np.float64)
        log = logits - logits.max(-1, keepdims=True)
        log -= np.log(np.exp(log).sum(-1, keepdims=True))
        surprises += [-log[i, chunk[i + 1]] for i in range(128, 255)]
    assert mine["tokens"] == len(surprises)
    assert mine["perplexity"] == pytest.approx(np.exp(np.mean(surprises)), rel=1e-3)
    assert "needs" in run("perplexity", "smollm2", "-f", text, "--ctx", 4096, ok=False).err


def test_bench():
    prompt, decode, deep_prompt, deep_decode = run_json("bench", "smollm2", "-p", "0,32", "-n", 8, "-d", "0,64", "-r", 2, "-t", 2)
    assert [row["test"] for row in (prompt, decode, deep_prompt, deep_decode)] == ["pp32", "tg8", "pp32 @ d64", "tg8 @ d64"]
    assert prompt["avg_ts"] > 0 and len(prompt["samples_ts"]) == 2 and prompt["n_threads"] == 2
    assert prompt["avg_ts"] == pytest.approx(np.mean(prompt["samples_ts"]))
    assert prompt["samples_ts"][0] == pytest.approx(32e9 / prompt["samples_ns"][0])
    assert 90e6 < decode["bytes_per_token"] < 99e6
    assert 0 < decode["bandwidth_fraction"] < 1.5
    assert (deep_decode["n_depth"], deep_decode["n_gen"], deep_decode["n_prompt"]) == (64, 8, 0)
    # Keys and values of 64 positions more, in pages of 32: 30 layers, 3 heads of 64, F16.
    assert deep_decode["kv_bytes"] - decode["kv_bytes"] == 64 * 30 * 2 * 3 * 64 * 2
    assert decode["bytes_per_token"] < deep_decode["bytes_per_token"]
    # Memory as run has it: not what measuring the bandwidth takes beside.
    child = subprocess.Popen([OUTBOARD, "run", "smollm2", "-p", "x", "-n", "8", "--ctx", "96", "-t", "2", "--device", "cpu"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    assert status == 0 and prompt["peak_memory"] < 1.2 * usage.ru_maxrss * 1024


def test_bench_decodes_several_sequences_together():
    one, four, deep_one, deep_four = run_json("bench", "smollm2", "-p", 0, "-n", 6, "--batch", "1,4", "-d", "0,64", "-r", 2)
    assert [row["test"] for row in (one, four, deep_one, deep_four)] == ["tg6", "tg6 x4", "tg6 @ d64", "tg6 x4 @ d64"]
    assert (four["n_seq"], four["n_gen"], len(four["samples_ns"])) == (4, 6, 2)
    assert four["samples_ts"][0] == pytest.approx(4 * 6e9 / four["samples_ns"][0])
    # A step reads the weights once for all.
    assert one["bytes_per_token"] / 4 < four["bytes_per_token"] < one["bytes_per_token"] / 3
    assert four["kv_bytes"] == 4 * one["kv_bytes"]


def test_bench_has_formats():
    bench = ("bench", "smollm2", "-p", 16, "-n", 4, "-r", 1)
    table = run(*bench).out
    assert re.search(r"^\| model +\| +size \| +params \| backend \| threads \| +test \| +t/s \|", table, re.M)
    assert re.search(r"^\| llama 135M Q4_1 +\| .* \| +pp16 \| +[\d.]+ ± 0.00 \|", table, re.M) and "memory at most" in table
    rows = list(csv.DictReader(io.StringIO(run(*bench, "--format", "csv").out)))
    lines = [json.loads(line) for line in run(*bench, "--format", "jsonl").out.splitlines()]
    assert [row["test"] for row in rows] == [line["test"] for line in lines] == ["pp16", "tg4"]
    assert list(rows[0]) == list(lines[0])
    assert len({len(line) for line in table.splitlines() if line.startswith("|")}) == 1


@pytest.mark.parametrize("words, named", [
    (["--layers", "2"], "--layers"),
    (["--device", "sim", "--counters", "-d", "0", "-n", "4"], "-n"), (["--device", "sim", "--counters", "-r", "2"], "-r"),
    (["--device", "sim", "--counters", "-d", "0", "--speculate", "lookup"], "--speculate"),
    (["--device", "sim", "--counters", "--batch", "2", "--draft", "smollm2"], "--draft"),
    (["--device", "sim", "--counters", "-p", "1,2"], "-p"), (["--device", "sim", "--counters", "--format", "csv"], "--format"),
    (["-p", "0", "-n", "0"], "-p"), (["-d", "9999"], "context")])
def test_bench_refuses_what_it_would_not_do(words, named):
    assert named in run("bench", "smollm2", *words, ok=False).err


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M"])
def test_quantize_makes_a_model_that_answers(kind, tmp_path):
    out = tmp_path / "out.gguf"
    run("quantize", "smollm2", out, kind, "--allow-requantize")
    assert "France" in run("run", out, "-p", QUESTION, "--temp", 0, "-n", 24).out
    assert "--force" in run("quantize", "smollm2", out, kind, ok=False).err
    assert "Q4_K_M" in run("quantize", "smollm2", tmp_path / "x.gguf", "Q9", ok=False).err
    assert not (tmp_path / "x.gguf").exists()


def test_output_to_a_full_disk_is_an_error():
    with open("/dev/full", "w") as full:
        result = subprocess.run([OUTBOARD, "list"], stdout=full, stderr=subprocess.PIPE,
                                env={"OUTBOARD_MODELS": str(MODELS)})
    assert result.returncode == 1
    assert b"No space left" in result.stderr
