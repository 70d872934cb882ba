"""`outboard pull` against a server that does what networks do. Loopback only."""
import functools
import hashlib
import http.server
import os
import pathlib
import subprocess
import threading
import time

import pytest

from support import OUTBOARD, SMOLLM2, run

CONTENT = b"GGUF" + bytes(range(256)) * 4096  # 1 MB


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with ranges; misbehaves by path."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests = []
        self.cut_after = None  # bytes, for the next answer to /cut.gguf
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.requests.append((path, self.headers.get("Range")))
        if path == "/missing.gguf":
            return self.send_error(404)
        if path == "/secret.gguf":
            return self.send_error(403)
        if path == "/page.gguf":
            return self.answer(200, b"<!DOCTYPE html><p>Not here</p>")
        start = 0
        if (wanted := self.headers.get("Range")) and path != "/noranges.gguf":
            start = int(wanted.split("=")[1].split("-")[0])
        if start >= len(CONTENT):
            return self.send_error(416)
        body = CONTENT[start:]
        headers = {}
        if path == "/hashed.gguf":
            headers["X-Linked-ETag"] = '"' + hashlib.sha256(CONTENT).hexdigest() + '"'
        if path == "/damaged.gguf":
            headers["X-Linked-ETag"] = '"' + "0" * 64 + '"'
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        cut = self.server.cut_after if path == "/cut.gguf" else None
        self.server.cut_after = None
        self.answer(206 if start else 200, body, headers, cut)

    def answer(self, status, body, headers={}, cut=None):
        self.send_response(status)
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
    return sorted(p.name for p in folder.iterdir())


def test_gets_a_file(server, pull, tmp_path):
    result = pull(server.url("model.gguf?download=true"))
    assert result.out.strip() == str(tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_bytes() == CONTENT
    assert files(tmp_path) == ["model.gguf"]
    assert result.err == ""  # no progress in a pipe
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
    (tmp_path / "noranges.gguf.unchecked.gguf.part").write_bytes(b"GGUF old half")
    pull(server.url("noranges.gguf"))
    assert (tmp_path / "noranges.gguf").read_bytes() == CONTENT


def test_a_finished_part_needs_no_more(server, pull, tmp_path):
    (tmp_path / "whole.gguf.unchecked.gguf.part").write_bytes(CONTENT)
    pull(server.url("whole.gguf"))
    assert (tmp_path / "whole.gguf").read_bytes() == CONTENT


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
    part = tmp_path / "model.gguf.unchecked.gguf.part"
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
