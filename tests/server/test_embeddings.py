"""Embeddings: numbers against the float32 forward pass in numpy, pooled here; routes and clients of all protocols."""
import base64
import os
import subprocess
import sys

import gguf
import numpy as np
import pytest

from serving import MODELS, OUTBOARD, serve  # first: it says where the others are

import forward
import make_model
from edit_gguf import edit

TEXTS = ["the rain in the other inn", "a", "one that is longer than the first of them, " * 12]
CLOSE = 2e-3  # of a row whose length is 1


def pooled_model(path, family, pooling):
    """A random model whose file asks for a pooling."""
    plain = path.with_suffix(".plain.gguf")
    make_model.make(f"{family}-small", plain)
    more = {} if pooling is None else {f"{family}.pooling_type": (pooling, gguf.GGUFValueType.UINT32)}
    edit(plain, path, more)
    plain.unlink()
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {"mean": pooled_model(folder / "mean.gguf", "llama", None), "cls": pooled_model(folder / "cls.gguf", "gpt2", 2),
            "last": pooled_model(folder / "last.gguf", "qwen3", 3), "none": pooled_model(folder / "none.gguf", "gemma3", 0),
            "smollm2": MODELS / "smollm2.gguf"}


@pytest.fixture(scope="module")
def server(models):
    with serve(*models.values(), "--device", "cpu", "--models-max", 2, "--ctx", 512) as server:
        yield server


def unit(row):
    return row / np.linalg.norm(row)


def reference(server, path, name, text):
    """Rows [tokens, width] of one text."""
    tokens = server.json("/tokenize", {"model": name, "content": text, "add_special": True})["tokens"]
    return forward.states(forward.Model(path), tokens)


POOL = {"mean": lambda rows: rows.mean(axis=0), "cls": lambda rows: rows[0], "last": lambda rows: rows[-1]}


@pytest.mark.parametrize("name", ["mean", "cls", "last", "smollm2"])
def test_numbers(server, models, name):
    found = server.json("/v1/embeddings", {"model": name, "input": TEXTS})
    assert found["object"] == "list" and found["model"] == name
    assert [d["index"] for d in found["data"]] == [0, 1, 2]
    tokens = 0
    for text, data in zip(TEXTS, found["data"]):
        rows = reference(server, models[name], name, text)
        tokens += len(rows)
        want = unit(POOL.get(name, POOL["mean"])(rows))
        got = np.array(data["embedding"], np.float32)
        assert np.linalg.norm(got) == pytest.approx(1, abs=1e-5)
        assert np.linalg.norm(got - want) < CLOSE, (name, text)
    assert found["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_a_row_a_token(server, models):
    """A file that says that there is no pooling, and llama.cpp's route, which can tell all rows; they are not normalised."""
    found = server.json("/embedding", {"model": "none", "content": TEXTS[0]})
    want = reference(server, models["none"], "none", TEXTS[0])
    got = np.array(found[0]["embedding"], np.float32)
    assert got.shape == want.shape
    assert np.abs(got - want).max() < CLOSE * np.abs(want).max()
    for path in ("/v1/embeddings", "/api/embed"):
        assert "--pooling" in str(server.json(path, {"model": "none", "input": "a"}, 400)["error"])


def test_pooling_can_be_chosen(models):
    with serve(models["last"], "--device", "cpu", "--ctx", 512, "--pooling", "mean") as server:
        got = server.json("/v1/embeddings", {"input": TEXTS[0]})["data"][0]["embedding"]
        assert np.linalg.norm(np.array(got) - unit(reference(server, models["last"], "last", TEXTS[0]).mean(axis=0))) < CLOSE


def test_forms_of_input_and_answer(server, models):
    def ask(**more):
        return server.json("/v1/embeddings", {"model": "mean", **more})["data"]
    plain = ask(input=TEXTS[0])[0]["embedding"]
    tokens = server.json("/tokenize", {"model": "mean", "content": TEXTS[0], "add_special": True})["tokens"]
    assert ask(input=tokens)[0]["embedding"] == pytest.approx(plain, abs=1e-6)
    two = ask(input=[tokens, tokens[:3]])
    assert two[0]["embedding"] == pytest.approx(plain, abs=1e-5) and len(two) == 2
    packed = ask(input=TEXTS[0], encoding_format="base64")[0]["embedding"]
    assert np.frombuffer(base64.b64decode(packed, validate=True), "<f4") == pytest.approx(plain, abs=1e-6)
    short = ask(input=TEXTS[0], dimensions=10)[0]["embedding"]
    assert short == pytest.approx(unit(np.array(plain[:10])), abs=1e-5)
    many = ask(input=[TEXTS[0], TEXTS[1]] * 40)
    assert [d["index"] for d in many] == list(range(80))
    assert all(d["embedding"] == pytest.approx(plain, abs=1e-5) for d in many[::2])
    # A later answer is the same: nothing of these texts is mixed up with those of conversations.
    server.json("/v1/completions", {"model": "mean", "prompt": TEXTS[0], "max_tokens": 3})
    assert ask(input=TEXTS[0])[0]["embedding"] == pytest.approx(plain, abs=1e-6)


def test_llama_cpps_route(server):
    one = server.json("/embedding", {"model": "mean", "content": TEXTS[0], "embd_normalize": -1})
    raw = np.array(one[0]["embedding"][0])
    plain = server.json("/embeddings", {"model": "mean", "input": [TEXTS[0], TEXTS[1]]})
    assert [entry["index"] for entry in plain] == [0, 1]
    assert plain[0]["embedding"][0] == pytest.approx(unit(raw), abs=1e-5)
    for norm, length in ((0, np.abs(raw).max() / 32760), (1, np.abs(raw).sum()), (3, (np.abs(raw) ** 3).sum() ** (1 / 3))):
        got = server.json("/embedding", {"model": "mean", "content": TEXTS[0], "embd_normalize": norm})[0]["embedding"][0]
        assert got == pytest.approx(raw / length, rel=1e-4, abs=1e-4)


def test_ollamas_routes(server):
    new = server.json("/api/embed", {"model": "mean", "input": [TEXTS[0], TEXTS[1]]})
    assert new["model"] == "mean" and new["total_duration"] > 0 and new["prompt_eval_count"] > 2
    want = server.json("/v1/embeddings", {"model": "mean", "input": [TEXTS[0], TEXTS[1]]})["data"]
    for got, data in zip(new["embeddings"], want):
        assert got == pytest.approx(data["embedding"], abs=1e-5)
    old = server.json("/api/embeddings", {"model": "mean", "prompt": TEXTS[0]})["embedding"]
    assert unit(np.array(old)) == pytest.approx(want[0]["embedding"], abs=1e-5) and np.linalg.norm(old) != pytest.approx(1, abs=1e-3)
    # What is too long is cut, unless the client says otherwise.
    long = "inn " * 3000
    assert server.json("/api/embed", {"model": "mean", "input": long})["prompt_eval_count"] == 512
    assert "512" in server.json("/api/embed", {"model": "mean", "input": long, "truncate": False}, 400)["error"]
    assert server.json("/api/embed", {"model": "mean", "input": []})["embeddings"] == []
    assert "embedding" in server.json("/api/show", {"model": "last"})["capabilities"]
    assert "embedding" not in server.json("/api/show", {"model": "mean"})["capabilities"]


@pytest.mark.parametrize("body, part", [
    ({"input": ""}, "empty"), ({"input": []}, "input"), ({}, "input"), ({"input": ["a", ""]}, "text 1"), ({"input": [["a"]]}, "input"),
    ({"input": ["a", 3]}, "input"), ({"input": [99999999]}, "there is no token"), ({"input": [1.5]}, "there is no token"),
    ({"input": "a", "dimensions": 0}, "dimensions"), ({"input": "a", "dimensions": 4096}, "dimensions"),
    ({"input": "a", "encoding_format": "int8"}, "encoding_format"), ({"input": "inn " * 3000}, "context"),
    ({"input": ["a"] * 2049}, "2048")])
def test_what_is_refused(server, body, part):
    error = server.json("/v1/embeddings", {"model": "mean", **body}, 400)["error"]
    assert part in error["message"], error


def test_a_model_that_ranks(tmp_path):
    path = pooled_model(tmp_path / "rank.gguf", "llama", 4)
    result = subprocess.run([OUTBOARD, "serve", path, "--device", "cpu", "--port", "0"], capture_output=True, text=True)
    assert result.returncode == 1 and "llama.pooling_type = 4" in result.stderr, result.stderr


def test_the_simulated_card(models):
    """The card's rows are as near to the reference as the processor's, beside an answer of the same model."""
    with serve(models["mean"], "--device", "sim", "--ctx", 256, wait=120) as server:
        before = server.json("/v1/completions", {"prompt": "the rain", "max_tokens": 4, "temperature": 0})["choices"][0]["text"]
        got = server.json("/v1/embeddings", {"input": TEXTS[:2]})["data"]
        for text, data in zip(TEXTS, got):
            want = unit(reference(server, models["mean"], "mean", text).mean(axis=0))
            assert np.linalg.norm(np.array(data["embedding"]) - want) < CLOSE
        assert server.json("/v1/completions", {"prompt": "the rain", "max_tokens": 4, "temperature": 0})["choices"][0]["text"] == before


def test_clients(server, tmp_path):
    want = server.json("/v1/embeddings", {"model": "smollm2", "input": TEXTS[0]})["data"][0]["embedding"]

    def same(got):
        return unit(np.array(got)) == pytest.approx(np.array(want), abs=1e-4)
    import openai
    client = openai.OpenAI(base_url=server.address + "/v1", api_key="none", max_retries=0)
    made = client.embeddings.create(model="smollm2", input=[TEXTS[0], TEXTS[1]])  # asks for base64 by itself
    assert same(made.data[0].embedding) and made.usage.prompt_tokens > 2
    assert same(client.embeddings.create(model="smollm2", input=TEXTS[0], encoding_format="float").data[0].embedding)
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="no-such", input="a")
    import ollama
    local = ollama.Client(server.address)
    assert same(local.embed("smollm2", TEXTS[0]).embeddings[0])
    assert same(local.embeddings("smollm2", TEXTS[0]).embedding)
    from langchain_ollama import OllamaEmbeddings
    from langchain_openai import OpenAIEmbeddings
    assert same(OllamaEmbeddings(model="smollm2", base_url=server.address).embed_query(TEXTS[0]))
    chain = OpenAIEmbeddings(model="smollm2", base_url=server.address + "/v1", api_key="none", check_embedding_ctx_length=False)
    rows = chain.embed_documents([TEXTS[1], TEXTS[0]])
    assert len(rows) == 2 and same(rows[1])
    import litellm
    for model, more in (("openai/smollm2", {"api_base": server.address + "/v1", "api_key": "none"}),
                        ("ollama/smollm2", {"api_base": server.address})):
        assert same(litellm.embedding(model, input=[TEXTS[0]], **more).data[0]["embedding"]), model
    # It knows OpenAI's own names alone; the first model of the start stands in for them.
    program = os.path.join(os.path.dirname(sys.executable), "llm")
    said = subprocess.run([program, "embed", "-m", "3-small", "-c", "the rain", "-f", "json"], capture_output=True, text=True,
                          env={**os.environ, "LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "none",
                               "OPENAI_BASE_URL": server.address + "/v1"}, timeout=120)
    assert said.returncode == 0 and said.stdout.strip().startswith("["), said.stderr
