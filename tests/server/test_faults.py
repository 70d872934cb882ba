"""The card fails under a server: it hangs, its link is cut, its cable is pulled. Answers go on, or end with an error that says
why; the server stays up and answers again when the card is back."""
import contextlib
import itertools
import json
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

# In front: other folders have a module `support`, too.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from serving import serve, small_model, wait_until
from support import run
from test_doctor import report, served

CHAT = "/v1/chat/completions"
STREAMS = 8
# What is computed again after the card was lost goes through other kernels, a prompt's instead of a token's, and
# rounds otherwise: differences of two logits move by up to 0.015 with this random model. Texts are compared where
# every token is better than the next by more than that.
MARGIN = 0.06


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small.gguf")


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    folder = tmp_path_factory.mktemp("firmware")
    run("sim", "firmware", folder)
    return folder


def body(number, length=24):
    return {"model": "small", "messages": [{"role": "user", "content": f"the rain number {number}"}], "temperature": 0, "max_tokens": length,
            "ignore_eos": True, "chat_template_kwargs": {"enable_thinking": False}}


def said(server, number, length=24):
    """(text, finish_reason or None, error or None)"""
    try:
        events = server.events(CHAT, body(number, length))
    except AssertionError as refused:  # it never began
        return "", None, str(refused)
    text, finish, error = "", None, None
    for _, data in events:
        if data == "[DONE]":
            continue
        if "error" in data:
            error = data["error"]["message"]
            continue
        for choice in data["choices"]:
            text += choice["delta"].get("content") or ""
            finish = choice["finish_reason"] or finish
    return text, finish, error


def margin(server, request):
    """The least by which a token of the answer is better than the next one."""
    (choice,) = server.json(CHAT, {**request, "logprobs": True, "top_logprobs": 2})["choices"]
    best = [[top["logprob"] for top in token["top_logprobs"]] for token in choice["logprobs"]["content"]]
    assert len(best) == request["max_tokens"]
    return min(first - second for first, second in best)


@pytest.fixture(scope="module")
def numbers(model):
    """Of prompts whose answers no rounding changes."""
    with serve(model, "--device", "cpu", "--ctx", 512) as server:
        found = list(itertools.islice((n for n in range(64) if margin(server, body(n)) > MARGIN), STREAMS))
    assert len(found) == STREAMS, found
    return found


@pytest.fixture(scope="module")
def together(numbers):
    """Asks a server for all answers at once."""

    def ask(server, length=24):
        with ThreadPoolExecutor(STREAMS) as pool:
            return list(pool.map(lambda number: said(server, number, length), numbers))

    return ask


@pytest.fixture(scope="module")
def want(model, together):
    with serve(model, "--device", "cpu", "--ctx", 512) as server:
        return together(server)


@contextlib.contextmanager
def on_card(model, firmware, folder, rules, *more):
    path = folder / "faults.json"
    path.write_text(json.dumps(rules))
    with served(folder, "tinygpu", "--faults", path) as card:
        with serve(model, "--device", card.device, "--firmware-dir", firmware, "--ctx", 512, *more) as server:
            yield server


@pytest.fixture(scope="module")
def boot_requests(model, firmware, tmp_path_factory):
    """Requests of the link up to a server that waits: the last doorbell, since none rings on the way to rest."""
    folder = tmp_path_factory.mktemp("boot")
    with served(folder, "tinygpu", "--trace", folder / "trace") as card:
        with serve(model, "--device", card.device, "--firmware-dir", firmware, "--ctx", 512) as server:
            wait_until(lambda: server.json("/api/ps")["models"])
        report(card)
    requests = (folder / "trace").read_text().splitlines()
    return max(number for number, line in enumerate(requests, 1) if " MMIO_WRITE " in line and " bar=2 " in line) + 1


def test_a_hang(model, firmware, tmp_path, together, want, boot_requests):
    """One reset: the answers go on where they were, and are what they would have been."""
    path = tmp_path / "faults.json"
    path.write_text(json.dumps([{"what": "mec.queue-hang", "request": boot_requests, "count": 1}]))
    with served(tmp_path, "tinygpu", "--faults", path) as card:
        with serve(model, "--device", card.device, "--firmware-dir", firmware, "--ctx", 512) as server:
            for _ in range(3):
                assert together(server) == want
            assert server.json("/health")["status"] == "ok"
        events = [event["text"] for event in report(card).get("events", [])]
    assert any("reset" in text for text in events), events


def embedded(server):
    return server.json("/v1/embeddings", {"model": "small", "input": ["the rain", "the other inn " * 30]})["data"]


# The first request after the start makes a session or a step; later ones are steps.
@pytest.mark.parametrize("fault, later", [("link.drop", 0), ("link.drop", 60), ("link.cut-reply", 40)])
def test_the_link_is_cut(model, firmware, tmp_path, together, want, boot_requests, fault, later):
    """The card is opened anew, and what was under way goes on: nobody sees more of it than a pause."""
    with on_card(model, firmware, tmp_path, [{"what": fault, "request": boot_requests + later, "count": 1}]) as server:
        rows = None
        for _ in range(6):
            with ThreadPoolExecutor(1) as pool:
                beside = pool.submit(embedded, server)
                assert together(server) == want
            again = [data["embedding"] for data in beside.result()]
            rows = rows or again
            assert again == [pytest.approx(row, abs=1e-5) for row in rows]
            if "the device failed" in server.log():
                break
        assert "the device failed" in server.log()
        assert later == 0 or "goes on" in server.log()
        assert together(server) == want
        assert server.json("/health")["status"] == "ok"
        assert "device_failures_total 1" in server.call("/metrics")[2]


def test_the_card_does_not_come_back(model, firmware, tmp_path, together, want, boot_requests):
    """Answers wait, then end with an error that says why; the server stays, and says so, too."""
    rules = [{"what": "link.drop", "request": boot_requests + 5, "count": 100000}]
    with on_card(model, firmware, tmp_path, rules, "--wait-for-device", "2s") as server:
        results = together(server)
        for number, (text, finish, error) in enumerate(results):
            assert finish is None and ("device failed" in error or "503" in error), error
            assert want[number][0].startswith(text)  # nothing wrong before it
        status, _, text = server.call("/health")
        assert status == 503 and json.loads(text)["status"] == "error"
        assert "device_failures_total 0" not in server.call("/metrics")[2]


@pytest.mark.parametrize("before", [2, 20])
def test_the_link_is_cut_while_a_model_is_brought_to_the_card(model, firmware, tmp_path, numbers, want, boot_requests, before):
    rules = [{"what": "link.drop", "request": boot_requests - before, "count": 1}]
    with on_card(model, firmware, tmp_path, rules) as server:
        wait_until(lambda: "the device failed" in server.log())
        wait_until(lambda: said(server, numbers[0]) == want[0])
        assert server.json("/health")["status"] == "ok"


def test_a_conversation_outlives_the_card(model, firmware, tmp_path):
    """The link is cut in the second answer: it goes on behind a pause, and so does the conversation."""
    lines = "the rain number 1\nthe rain number 2\nthe rain number 3\n".encode()
    chat = ("chat", model, "--temp", 0, "-n", 24, "--ctx", 512)
    want = run(*chat, "--device", "cpu", stdin=lines).out
    on_card = (*chat, "--firmware-dir", firmware, "--device")
    with served(tmp_path, "tinygpu", "--trace", tmp_path / "trace") as card:
        assert run(*on_card, card.device, stdin=lines).out == want
        report(card)
    # Each doorbell starts some tokens; none rings on the way to rest.
    bells = [number for number, line in enumerate((tmp_path / "trace").read_text().splitlines(), 1) if " MMIO_WRITE " in line and " bar=2 " in line]
    rules = tmp_path / "faults.json"
    rules.write_text(json.dumps([{"what": "link.drop", "request": bells[-4], "count": 1}]))
    with served(tmp_path, "tinygpu", "--faults", rules) as card:
        told = run(*on_card, card.device, stdin=lines)
    assert told.out == want
    assert "the device failed" in told.err and "is back, the answer goes on" in told.err
