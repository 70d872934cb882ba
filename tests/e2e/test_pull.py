"""`outboard pull` against a server that does what networks do. Loopback only."""
import functools
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import threading
import time

import pytest

import make_model
from support import OUTBOARD, SMOLLM2, run, run_json

CONTENT = b"GGUF" + bytes(range(256)) * 4096  # 1 MB


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with ranges, and what `files` says instead; misbehaves by path and by request."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.conditions = []  # their If-Range
        self.files = {}  # by path
        self.cut_after = None  # bytes, for the next answer to a path with "cut" in it
        self.validator = "etag"  # or "date", "weak", "none"
        self.knows_if_range = True
        self.tells_length = True
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.requests.append((path, self.headers.get("Range")))
        self.server.conditions.append(self.headers.get("If-Range"))
        if path == "/missing.gguf":
            return self.send_error(404)
        if path == "/secret.gguf":
            return self.send_error(403)
        if path == "/page.gguf":
            return self.answer(200, b"<!DOCTYPE html><p>Not here</p>")
        content = self.server.files.get(path, CONTENT)
        version = hashlib.md5(content).hexdigest()
        headers = {"etag": {"ETag": f'"{version}"'}, "weak": {"ETag": f'W/"{version}"'}, "none": {},
                   "date": {"Last-Modified": f"Mon, 01 Jun 2026 10:{int(version[:4], 16) % 60:02}:{int(version[4:8], 16) % 60:02} GMT"},
                   }[self.server.validator]
        condition = self.headers.get("If-Range")
        changed = self.server.knows_if_range and condition and condition not in headers.values()
        start = 0
        if (wanted := self.headers.get("Range")) and path != "/noranges.gguf" and not changed:
            start = int(wanted.split("=")[1].split("-")[0])
        if start and start >= len(content):
            return self.send_error(416)
        body = content[start:]
        if path == "/hashed.gguf":
            headers["X-Linked-ETag"] = '"' + hashlib.sha256(content).hexdigest() + '"'
        if path == "/damaged.gguf":
            headers["X-Linked-ETag"] = '"' + "0" * 64 + '"'
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        cut = self.server.cut_after if "cut" in path else None
        self.server.cut_after = None
        self.answer(206 if start else 200, body, headers, cut)

    def answer(self, status, body, headers={}, cut=None):
        self.send_response(status)
        if self.server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        try:
            self.wfile.write(body[:cut])
        except ConnectionError:
            pass
        self.close_connection = True


@pytest.fixture
def server():
    s = Server()
    yield s
    s.shutdown()


@pytest.fixture
def pull(tmp_path):
    return functools.partial(run, "pull", env={"OUTBOARD_MODELS": str(tmp_path)})


def files(folder):
    """Without what the store notes of them."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def notes(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


def test_gets_a_file(server, pull, tmp_path):
    result = pull(server.url("model.gguf?download=true"))
    assert result.out.strip() == str(tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_bytes() == CONTENT
    assert files(tmp_path) == ["model.gguf"]
    assert "version: found" in result.err  # CONTENT is no model that Outboard reads, and that is said
    assert "\r" not in result.err  # no progress in a pipe
    assert notes(tmp_path) == [".model.gguf.origin"]
    requests = len(server.requests)
    pull(server.url("model.gguf"))
    assert len(server.requests) == requests  # it is here already


def test_continues_after_a_lost_connection(server, pull, tmp_path):
    server.cut_after = 300_000
    error = pull(server.url("cut.gguf"), ok=False).err
    assert "Run the same command again: it continues" in error
    assert not (tmp_path / "cut.gguf").exists()
    pull(server.url("cut.gguf"))
    assert server.requests[-1][1] == "bytes=300000-"
    assert (tmp_path / "cut.gguf").read_bytes() == CONTENT
    assert files(tmp_path) == ["cut.gguf"]


def test_starts_over_where_the_server_can_not_continue(server, pull, tmp_path):
    server.cut_after = 300_000
    pull(server.url("cut.gguf"), ok=False)
    os.rename(tmp_path / "cut.gguf.part", tmp_path / "noranges.gguf.part")
    (tmp_path / ".noranges.gguf.part.json").write_text((tmp_path / ".cut.gguf.part.json").read_text().replace(
        address_hash(server.url("cut.gguf")), address_hash(server.url("noranges.gguf"))))
    pull(server.url("noranges.gguf"))
    assert server.requests[-1] == ("/noranges.gguf", "bytes=300000-")
    assert (tmp_path / "noranges.gguf").read_bytes() == CONTENT


def address_hash(url):
    return hashlib.sha256(url.encode()).hexdigest()


def test_a_finished_part_needs_no_more(server, pull, tmp_path):
    """It was stopped between its last byte and its name."""
    server.cut_after = 300_000
    pull(server.url("cut.gguf"), ok=False)
    (tmp_path / "cut.gguf.part").write_bytes(CONTENT)
    count = len(server.requests)
    pull(server.url("cut.gguf"))
    assert len(server.requests) == count
    assert (tmp_path / "cut.gguf").read_bytes() == CONTENT


OTHER = b"GGUF" + bytes(reversed(range(256))) * 4096  # as long as CONTENT


@pytest.mark.parametrize("validator", ["etag", "date", "weak", "none"])
@pytest.mark.parametrize("knows_if_range", [True, False])
def test_a_file_that_changed_is_fetched_anew(validator, knows_if_range, server, pull, tmp_path):
    server.validator, server.knows_if_range = validator, knows_if_range
    server.cut_after = 300_000
    error = pull(server.url("cut.gguf"), ok=False).err
    continues = validator in ("etag", "date")
    assert ("it continues" in error) == continues and ("starts from the beginning" in error) != continues
    for after in (OTHER, OTHER[:1000], OTHER * 2):  # as long, shorter than the part, longer
        server.files["/cut.gguf"] = after
        pull(server.url("cut.gguf"))
        assert (tmp_path / "cut.gguf").read_bytes() == after
        assert (server.conditions[-1] is not None) == (continues and knows_if_range)
        os.remove(tmp_path / "cut.gguf")
        server.files.clear()
        server.cut_after = 300_000
        pull(server.url("cut.gguf"), ok=False)
    assert notes(tmp_path) == [".cut.gguf.origin"] + [".cut.gguf.part.json"] * continues


def test_a_part_belongs_to_its_address(server, pull, tmp_path):
    server.files["/b/cut.gguf"] = OTHER
    server.cut_after = 300_000
    pull(server.url("a/cut.gguf"), ok=False)
    pull(server.url("b/cut.gguf"))
    assert server.requests[-1] == ("/b/cut.gguf", None)
    assert (tmp_path / "cut.gguf").read_bytes() == OTHER
    assert files(tmp_path) == ["cut.gguf"]
    # A part that nothing is known of is no part of this.
    (tmp_path / "x.gguf.part").write_bytes(b"GGUF old half")
    pull(server.url("x.gguf"))
    assert (tmp_path / "x.gguf").read_bytes() == CONTENT


def test_the_store_knows_where_a_file_came_from(server, pull, tmp_path):
    server.files["/b/m.gguf"] = OTHER
    pull(server.url("a/m.gguf"))
    count = len(server.requests)
    for url in ("b/m.gguf", "a/m.gguf?version=2"):
        error = pull(server.url(url), ok=False).err
        assert "came from " + server.url("a/m.gguf") in error and "--force" in error, error
    assert (tmp_path / "m.gguf").read_bytes() == CONTENT and len(server.requests) == count
    pull("--force", server.url("b/m.gguf"))
    assert (tmp_path / "m.gguf").read_bytes() == OTHER
    listed = run_json("list", env={"OUTBOARD_MODELS": str(tmp_path)})
    assert [(m["name"], m["from"]) for m in listed] == [("m", server.url("b/m.gguf"))]
    # Put there by hand: used, but said.
    (tmp_path / "m.gguf").write_bytes(CONTENT[:500])
    assert "not known where it came from" in pull(server.url("b/m.gguf")).err
    assert "another file than the catalog's" in pull_of_a_catalog_name(pull, tmp_path)


def pull_of_a_catalog_name(pull, folder):
    os.rename(folder / "m.gguf", folder / "smollm2.gguf")
    return pull("smollm2", ok=False).err


def test_secrets_in_an_address_are_not_kept(server, pull, tmp_path):
    address = server.url("m.gguf").replace("://", "://someone:hunter2@") + "?token=hunter3"
    pull(address)
    error = pull(server.url("other/m.gguf"), ok=False).err
    kept = (tmp_path / ".m.gguf.origin").read_text()
    assert "hunter" not in error + kept and server.url("m.gguf") in error


def test_without_a_length_the_format_must_be_whole(server, pull, tmp_path, models):
    server.tells_length = False
    server.files["/m.gguf"] = models["whole"]
    pull(server.url("m.gguf"))
    assert (tmp_path / "m.gguf").read_bytes() == models["whole"]
    for name, content in (("cut", models["cut"]), ("cut-in-header", models["whole"][:100]), ("unreadable", CONTENT)):
        server.files[f"/{name}.gguf"] = content
        assert "has been removed" in pull(server.url(f"{name}.gguf"), ok=False).err
    assert files(tmp_path) == ["m.gguf"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.gguf"
    make_model.make("qwen2-small", path)
    return {"whole": path.read_bytes(), "cut": path.read_bytes()[:-1000]}


def test_what_is_no_model_is_named(server, pull, tmp_path, models):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 98362432\n"
    for name, content, words in (("a.gguf", pointer, "Git LFS pointer to a file of 98362432 bytes"),
                                 ("a.safetensors", pointer, "Git LFS pointer"),
                                 ("a.zip", b"  <HTML><body>Sign in", "a web page"),
                                 ("b.gguf", b'{"error":"Repository not found"}', "JSON"),
                                 ("c.gguf", b"Invalid username or password.", '"Invalid username or password."'),
                                 ("d.gguf", bytes(5000), "zeros"),
                                 ("e.gguf", b"tjgg\3\0\0\0" + bytes(100), "ggjt"),
                                 ("f.gguf", models["cut"], "incomplete"),
                                 ("a.bin", b"Invalid username or password.", '"Invalid username or password."')):
        server.files["/" + name] = content
        assert words in pull(server.url(name), ok=False).err
    assert files(tmp_path) == [] and notes(tmp_path) == []


def test_a_page_of_the_hub_stands_for_its_file(server, tmp_path):
    hub = f"http://127.0.0.1:{server.server_port}"
    env = {"OUTBOARD_MODELS": str(tmp_path), "HF_ENDPOINT": hub}
    run("pull", hub + "/o/r/blob/main/m.gguf", env=env)
    assert server.requests == [("/o/r/resolve/main/m.gguf", None)]
    for same in ("hf:o/r/m.gguf", hub + "/o/r/resolve/main/m.gguf?download=true"):
        run("pull", same, env=env)
    assert len(server.requests) == 1
    assert "hf:o/r/m.gguf, not from hf:o/other/m.gguf" in run("pull", "hf:o/other/m.gguf", env=env, ok=False).err


def test_an_empty_answer(server, pull, tmp_path):
    server.files["/m.gguf"] = b""
    assert "it is empty" in pull(server.url("m.gguf"), ok=False).err
    assert files(tmp_path) == [] and notes(tmp_path) == []


@pytest.mark.parametrize("name, message", [("missing", "404"), ("secret", "HF_TOKEN"), ("page", "no GGUF file")])
def test_answers_that_are_no_model(name, message, server, pull, tmp_path):
    assert message in pull(server.url(name + ".gguf"), ok=False).err
    assert files(tmp_path) == []


def test_hash_that_the_server_tells(server, pull, tmp_path):
    pull(server.url("hashed.gguf"))
    assert "SHA-256" in pull(server.url("damaged.gguf"), ok=False).err
    assert files(tmp_path) == ["hashed.gguf"]


def test_split_files_come_together(server, pull, tmp_path):
    pull(server.url("m-00001-of-00003.gguf"))
    assert files(tmp_path) == [f"m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]


@pytest.mark.parametrize("what", ["nosuch", "hf:owner/file", "http://127.0.0.1:1/x.gguf", "ftp://127.0.0.1/x.gguf",
                                  "http://127.0.0.1:1/", "http://127.0.0.1:1/..", "http://127.0.0.1:1/a%2Fb.gguf"])
def test_wrong_names(what, pull, tmp_path):
    pull(what, ok=False)
    assert not tmp_path.exists() or files(tmp_path) == []


def test_a_second_program_waits_its_turn(server, pull, tmp_path):
    import fcntl
    part = tmp_path / "model.gguf.part"
    with open(part, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another program" in pull(server.url("model.gguf"), ok=False).err
    pull(server.url("model.gguf"))


def test_full_disk(server, tmp_path):
    """A folder on a file system of 256 KB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder],
                                           capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        error = run("pull", server.url("model.gguf"), env={"OUTBOARD_MODELS": str(folder)}, ok=False).err
        assert "No space left" in error and "it continues" in error
        assert "model.gguf" not in files(folder)
        error = run("quantize", SMOLLM2, folder / "q.gguf", "Q8_0", ok=False).err
        assert "No space left" in error
        assert not [name for name in files(folder) if name.startswith("q")]
    finally:
        subprocess.run(["umount", folder], check=True)


def test_killed_on_the_way(server, tmp_path):
    """The final name never appears early."""
    process = subprocess.Popen([OUTBOARD, "pull", server.url("model.gguf")],
                               env={**os.environ, "OUTBOARD_MODELS": str(tmp_path)})
    deadline = time.monotonic() + 10
    while not files(tmp_path) and time.monotonic() < deadline:
        pass
    process.kill()
    process.wait()
    final = tmp_path / "model.gguf"
    assert not final.exists() or final.read_bytes() == CONTENT
    run("pull", server.url("model.gguf"), env={"OUTBOARD_MODELS": str(tmp_path)})
    assert final.read_bytes() == CONTENT


def test_catalog_models_are_what_they_should_be():
    assert hashlib.sha256(SMOLLM2.read_bytes()).hexdigest() == \
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    assert pathlib.Path(SMOLLM2).stat().st_size == 98362432


def test_what_the_hub_has_for_two_languages(server, tmp_path):
    env = {"OUTBOARD_MODELS": str(tmp_path), "HF_ENDPOINT": server.url("hub")}
    (tmp_path / "opus-mt-fr-en.gguf").write_bytes(b"GGUF")
    server.files["/hub/api/models"] = json.dumps([
        {"id": "Helsinki-NLP/opus-mt-en-fr", "downloads": 12}, {"id": "Helsinki-NLP/opus-mt-tc-big-en-fr", "downloads": 345},
        {"id": "Helsinki-NLP/opus-mt-fr-en"}, {"id": "Helsinki-NLP/opus-mt-en-fr_CA"}, {"id": "Somebody/opus-mt-en-fr"},
        {"id": "Helsinki-NLP/other-en-fr"}, "odd"]).encode()
    rows = [line.split() for line in run("list", "--pairs", "en-fr", env=env).out.splitlines()]
    assert rows[1:] == [["opus-mt-tc-big-en-fr", "en", "fr", "345"], ["opus-mt-en-fr", "en", "fr", "12"], ["opus-mt-fr-en", "fr", "en", "0", "pulled"]]
    assert [row["name"] for row in run_json("list", "--pairs", "en-fr", env=env)] == [row[0] for row in rows[1:]]
    assert [path for path, _ in server.requests] == ["/hub/api/models"] * 4
    assert "no model" in run("list", "--pairs", "en-xx", env=env, ok=False).err
    assert "--pairs en-fr" in run("list", "--pairs", "english", env=env, ok=False).err
    server.files["/hub/api/models"] = b"<html>busy</html>"
    assert "expected a list" in run("list", "--pairs", "en-fr", env=env, ok=False).err
