"""`outboard convert`, and `outboard pull opus-mt-*` against a hub on loopback."""
import http.server
import json
import os
import pty
import shutil
import subprocess
import threading

import gguf
import pytest

import hf_models
import marian_folders as marian
from support import OUTBOARD, run, run_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small opus-mt in Hugging Face's layout, with safetensors and PyTorch's file."""
    path = tmp_path_factory.mktemp("hub") / "opus-mt-en-fr"
    tokenizer = marian.make_tokenizer(400, normalization="identity")
    config = marian.make_config(400)
    weights = marian.random_weights(config, seed=3)
    marian.write_hf(path, weights, config, tokenizer, pickle="legacy")
    marian.write_hf(path, weights, config, tokenizer)
    return path


def files(path):
    """Without what the store notes of them."""
    return sorted(p.name for p in path.iterdir() if not p.name.startswith("."))


def types(path):
    return {t.name: t.tensor_type.name for t in gguf.GGUFReader(path).tensors}


def name(path):
    return gguf.GGUFReader(path).fields["general.name"].contents()


def test_convert(folder, tmp_path):
    out = tmp_path / "out.gguf"
    result = run("convert", folder, out)
    assert result.out == "" and result.err.startswith(f"{out}: ") and result.err.count("\n") == 1  # no progress
    assert files(tmp_path) == ["out.gguf"]
    assert types(out)["token_embd.weight"] == types(out)["dec.blk.1.cross_attn_q.weight"] == "F16"
    assert types(out)["enc.blk.0.attn_q.bias"] == types(out)["output.bias"] == "F32"
    assert name(out) == "opus-mt-en-fr"
    assert "exists" in run("convert", folder, out, "--type", "q8_0", ok=False).err
    run("convert", f"{folder}/", out, "--type", "q8_0", "--force", "--name", "mine")
    assert types(out)["dec.blk.1.ffn_up.weight"] == "Q8_0" and name(out) == "mine"


def test_convert_other_families(tmp_path):
    for family in ("gpt2", "llama"):
        hf_models.write_family(tmp_path / family, family)
        run("convert", tmp_path / family, tmp_path / f"{family}.gguf", "--type", "f32")
        same = [run_json("tokenize", path, "Hello world") for path in (tmp_path / family, tmp_path / f"{family}.gguf")]
        assert same[0]["ids"] == same[1]["ids"]
        answers = [run("run", path, "-p", "Hello", "--raw", "-n", 8, "--temp", 0, "--device", "cpu").out
                   for path in (tmp_path / family, tmp_path / f"{family}.gguf")]
        assert answers[0] == answers[1]


def test_convert_archive(folder, tmp_path):
    marian.zip_folder(folder, tmp_path / "en-fr.zip")
    run("convert", tmp_path / "en-fr.zip", tmp_path / "out.gguf")
    assert name(tmp_path / "out.gguf") == "en-fr"


def test_convert_failures_leave_nothing(folder, tmp_path):
    assert "The types are" in run("convert", folder, tmp_path / "a.gguf", "--type", "q9", ok=False).err
    assert "no such" in run("convert", tmp_path / "none", tmp_path / "a.gguf", ok=False).err.lower()
    assert "decoder.yml" in run("convert", tmp_path, tmp_path / "a.gguf", ok=False).err
    run("convert", folder, tmp_path / "no" / "a.gguf", ok=False)
    marian.zip_folder(folder, tmp_path / "m.zip")
    (tmp_path / "m.zip").write_bytes((tmp_path / "m.zip").read_bytes()[:-40])
    run("convert", tmp_path / "m.zip", tmp_path / "a.gguf", ok=False)
    assert files(tmp_path) == ["m.zip"]


def test_convert_shows_progress_on_a_terminal(folder, tmp_path):
    parent, child = pty.openpty()
    with subprocess.Popen([OUTBOARD, "convert", folder, tmp_path / "a.gguf"], stderr=child) as process:
        assert process.wait() == 0
    os.close(child)
    assert b"converting" in os.read(parent, 65536)
    os.close(parent)


class Hub(http.server.ThreadingHTTPServer):
    """Serves a folder as Hugging Face's hub serves a repository; files in `absent` are not there."""
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.folder, self.absent, self.requests = folder, set(), []
        self.revision = None  # of the repository, where the hub tells it; "" : nobody answers
        self.asked = 0
        self.cut = {}  # by file: bytes after which the connection is lost, once
        threading.Thread(target=self.serve_forever, daemon=True).start()


class HubHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path == "/api/models/Helsinki-NLP/opus-mt-en-fr":
            self.server.asked += 1
            if self.server.revision == "":
                self.close_connection = True
                return None
            if self.server.revision is None:
                return self.send_error(404)
            body = json.dumps({"id": "Helsinki-NLP/opus-mt-en-fr", "sha": self.server.revision}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return self.wfile.write(body)
        prefix, _, file = self.path.rpartition("/")
        self.server.requests.append((file, self.headers.get("Range")))
        path = self.server.folder / file
        if prefix != "/Helsinki-NLP/opus-mt-en-fr/resolve/main" or file in self.server.absent or not path.exists():
            return self.send_error(404)
        content = path.read_bytes()
        start = int(self.headers["Range"].split("=")[1].split("-")[0]) if self.headers.get("Range") else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{len(content)}"')
        self.end_headers()
        self.wfile.write(content[start:][:self.server.cut.pop(file, None)])
        self.close_connection = True


@pytest.fixture
def hub(folder):
    server = Hub(folder)
    yield server
    server.shutdown()


@pytest.fixture
def pull(hub, tmp_path):
    env = {"OUTBOARD_MODELS": str(tmp_path / "models"), "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}/"}
    return lambda *arguments, **options: run(*arguments, env=env, **options)


def test_pull(hub, pull, folder, tmp_path):
    result = pull("pull", "opus-mt-en-fr")
    path = tmp_path / "models" / "opus-mt-en-fr.gguf"
    assert result.out.strip() == str(path) and result.err == ""
    assert files(tmp_path / "models") == ["opus-mt-en-fr.gguf"]
    assert "pytorch_model.bin" not in [file for file, _ in hub.requests]
    run("convert", folder, tmp_path / "own.gguf")
    assert path.read_bytes() == (tmp_path / "own.gguf").read_bytes()
    models = json.loads(pull("list", "--json").out)
    assert [m["name"] for m in models] == ["opus-mt-en-fr"]
    count = len(hub.requests)
    again = pull("pull", "Helsinki-NLP/opus-mt-en-fr")
    assert again.out == result.out and "is here already" in again.err
    assert len(hub.requests) == count


def test_pull_asks_for_a_newer_one(hub, pull, folder, tmp_path):
    path = tmp_path / "models" / "opus-mt-en-fr.gguf"
    hub.revision = "1" * 40
    pull("pull", "opus-mt-en-fr")
    hub.requests.clear()
    assert "is up to date" in pull("pull", "opus-mt-en-fr").err and hub.requests == []
    # Nobody answers: what is here stays.
    hub.revision = ""
    said = pull("pull", "opus-mt-en-fr")
    assert said.out.strip() == str(path) and "whether there is a newer one is not known" in said.err and hub.requests == []
    # An update that breaks off leaves what was there; of a state that the hub has left nothing is taken.
    before = path.read_bytes()
    hub.revision, hub.cut["model.safetensors"] = "2" * 40, 1000
    assert "it continues" in pull("pull", "opus-mt-en-fr", ok=False).err
    assert path.read_bytes() == before and [m["name"] for m in json.loads(pull("list", "--json").out)] == ["opus-mt-en-fr"]
    hub.revision, hub.folder = "3" * 40, tmp_path / "newer" / "opus-mt-en-fr"
    shutil.copytree(folder, hub.folder)
    config = json.loads((hub.folder / "config.json").read_text())
    (hub.folder / "config.json").write_text(json.dumps(config | {"num_beams": config.get("num_beams", 4) + 1}))
    hub.requests.clear()
    assert "is replaced by a newer version" in pull("pull", "opus-mt-en-fr").err
    assert ("model.safetensors", None) in hub.requests and ("config.json", None) in hub.requests
    run("convert", hub.folder, tmp_path / "newer.gguf")
    assert path.read_bytes() == (tmp_path / "newer.gguf").read_bytes()
    assert "is up to date" in pull("pull", "opus-mt-en-fr").err and files(tmp_path / "models") == ["opus-mt-en-fr.gguf"]


def test_pull_from_pytorch(hub, pull, folder, tmp_path):
    hub.absent |= {"model.safetensors", "tokenizer_config.json", "generation_config.json"}
    pull("pull", "Helsinki-NLP/opus-mt-en-fr")
    run("convert", folder, tmp_path / "own.gguf")
    found, own = (gguf.GGUFReader(p) for p in (tmp_path / "models" / "opus-mt-en-fr.gguf", tmp_path / "own.gguf"))
    assert [(t.name, t.data.tobytes()) for t in found.tensors] == [(t.name, t.data.tobytes()) for t in own.tensors]


def test_pull_continues(hub, pull, tmp_path):
    hub.cut["model.safetensors"] = 1000
    assert "it continues" in pull("pull", "opus-mt-en-fr", ok=False).err
    assert files(tmp_path / "models") == ["opus-mt-en-fr.pulling"]
    assert json.loads(pull("list", "--json").out) == []  # not a model yet
    hub.requests.clear()
    pull("pull", "opus-mt-en-fr")
    assert hub.requests == [("model.safetensors", "bytes=1000-")]
    assert files(tmp_path / "models") == ["opus-mt-en-fr.gguf"]


def test_pull_what_is_not_there(hub, pull, tmp_path):
    error = pull("pull", "opus-mt-xx-yy", ok=False).err
    assert "Helsinki-NLP/opus-mt-xx-yy has no config.json" in error and "Check the name" in error
    assert files(tmp_path / "models") == []
    assert "not a known name" in pull("pull", "opus-mt-../x", ok=False).err
    hub.absent |= {"model.safetensors", "pytorch_model.bin"}
    assert "neither model.safetensors nor pytorch_model.bin" in pull("pull", "opus-mt-en-fr", ok=False).err
    assert "outboard pull opus-mt-en-de" in pull("inspect", "opus-mt-en-de", ok=False).err
