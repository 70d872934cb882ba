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
        self.repositories = {}  # "OWNER/REPO": {path: bytes}, listed as the hub lists them
        self.down = False
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
        if self.server.down:
            return self.send_error(503)
        if path.startswith("/api/models/"):
            self.server.requests.append((self.path, None))
            return self.list_repository(path.removeprefix("/api/models/"))
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
        for header, value in (("If-None-Match", headers.get("ETag")), ("If-Modified-Since", headers.get("Last-Modified"))):
            if value and self.headers.get(header) == value:
                self.server.requests[-1] = (path, 304)
                return self.answer(304, b"", headers)
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

    def list_repository(self, name):
        files = self.server.repositories.get(name)
        if files is None:
            return self.send_error(401)
        listed = [{"rfilename": path, "size": len(data), "blobId": "0" * 40,
                   "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}}
                  for path, data in files.items()] + [{"rfilename": "README.md", "size": 5, "blobId": "0" * 40}]
        self.answer(200, json.dumps({"id": name, "siblings": listed}).encode(), {"Content-Type": "application/json"})

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
    assert "up to date" in pull(server.url("model.gguf")).err
    assert server.requests[-1] == ("/model.gguf", 304) and (tmp_path / "model.gguf").read_bytes() == CONTENT


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
        assert "up to date" in run("pull", same, env=env).err
    assert server.requests[1:] == [("/o/r/resolve/main/m.gguf", 304)] * 2
    assert "hf:o/r/m.gguf, not from hf:o/other/m.gguf" in run("pull", "hf:o/other/m.gguf", env=env, ok=False).err


@pytest.mark.parametrize("validator", ["etag", "date", "weak", "none"])
def test_a_newer_version_is_fetched(validator, server, pull, tmp_path):
    server.validator = validator
    pull(server.url("m.gguf"))
    server.files["/m.gguf"] = OTHER
    said = pull(server.url("m.gguf")).err
    if validator == "none":
        assert "does not tell versions" in said
        pull("--force", server.url("m.gguf"))
    else:
        assert "replaced by a newer version" in said
        assert "up to date" in pull(server.url("m.gguf")).err
    assert (tmp_path / "m.gguf").read_bytes() == OTHER
    # Where nobody answers, what is here stays, and the command succeeds.
    server.down = True
    said = pull(server.url("m.gguf"))
    assert said.out.strip() == str(tmp_path / "m.gguf")
    assert ("not known: download" in said.err) == (validator != "none")
    assert files(tmp_path) == ["m.gguf"] and (tmp_path / "m.gguf").read_bytes() == OTHER


def test_an_update_that_breaks_off_continues(server, pull, tmp_path):
    pull(server.url("cut.gguf"))
    server.files["/cut.gguf"] = OTHER
    server.cut_after = 300_000
    assert "it continues" in pull(server.url("cut.gguf"), ok=False).err
    assert (tmp_path / "cut.gguf").read_bytes() == CONTENT  # until the other is whole
    assert "replaced" in pull(server.url("cut.gguf")).err
    assert server.requests[-1][1] == "bytes=300000-" and (tmp_path / "cut.gguf").read_bytes() == OTHER


@pytest.fixture
def hub(server, tmp_path):
    """The server as the hub; a repository with several types, one of them in parts, and what is beside models."""
    made = {f"M-1B-{kind}.gguf": b"GGUF" + kind.encode() * 100 for kind in ("Q4_K_M", "Q8_0", "IQ3_XXS", "UD-Q4_K_XL", "BF16")}
    made |= {f"F16/M-1B-F16-0000{i}-of-00003.gguf": b"GGUF" + bytes([i]) * 500 for i in (1, 2, 3)}
    made |= {"mmproj-M-F16.gguf": b"GGUF eyes", "M-1B.imatrix.gguf": b"GGUF what matters"}
    add_repository(server, "o/M-GGUF", made)
    return functools.partial(run, "pull", env={"OUTBOARD_MODELS": str(tmp_path), "HF_ENDPOINT": server.url("")})


def add_repository(server, name, made):
    server.repositories[name] = made
    server.files |= {f"/{name}/resolve/main/{path}": data for path, data in made.items()}


def test_the_file_is_chosen_from_the_listing(hub, server, tmp_path):
    made = server.repositories["o/M-GGUF"]
    result = hub("hf:o/M-GGUF")
    assert result.out.strip() == str(tmp_path / "M-1B-Q4_K_M.gguf")
    assert "Q4_K_M of 6 models" in result.err and "hf:o/M-GGUF:TYPE" in result.err
    assert server.requests[0] == ("/api/models/o/M-GGUF?blobs=true", None)
    for kind, name in (("q8_0", "M-1B-Q8_0.gguf"), ("UD-Q4_K_XL", "M-1B-UD-Q4_K_XL.gguf"), ("bf16", "M-1B-BF16.gguf")):
        assert hub(f"hf:o/M-GGUF:{kind}").out.strip() == str(tmp_path / name)
        assert (tmp_path / name).read_bytes() == made[name]
    assert hub("hf:o/M-GGUF:F16").out.strip() == str(tmp_path / "M-1B-F16-00001-of-00003.gguf")
    for i in (1, 2, 3):
        assert (tmp_path / f"M-1B-F16-0000{i}-of-00003.gguf").read_bytes() == made[f"F16/M-1B-F16-0000{i}-of-00003.gguf"]
    # A page of the repository means the repository; the file that it leads to is the one by its own address, too.
    count = len(server.requests)
    for same in (server.url("o/M-GGUF"), server.url("o/M-GGUF/tree/main"), "hf:o/M-GGUF:Q4_K_M"):
        assert "M-1B-Q4_K_M.gguf is up to date" in hub(same).err
    assert [path for path, _ in server.requests[count:]] == ["/api/models/o/M-GGUF?blobs=true"] * 3  # its hash is known
    assert "up to date" in hub("hf:o/M-GGUF/M-1B-Q4_K_M.gguf").err


def test_the_client_of_the_hub_reads_the_same_listing(server, hub):
    from huggingface_hub import HfApi
    info = HfApi(endpoint=server.url("").rstrip("/"), token=False).model_info("o/M-GGUF", files_metadata=True)
    made = server.repositories["o/M-GGUF"]
    assert {s.rfilename: s.lfs.sha256 for s in info.siblings if s.lfs} == {
        path: hashlib.sha256(data).hexdigest() for path, data in made.items()}


def test_another_version_in_the_repository(hub, server, tmp_path):
    hub("hf:o/M-GGUF:Q8_0")
    add_repository(server, "o/M-GGUF", server.repositories["o/M-GGUF"] | {"M-1B-Q8_0.gguf": b"GGUF newer"})
    assert "replaced by a newer version" in hub("hf:o/M-GGUF:Q8_0").err
    assert (tmp_path / "M-1B-Q8_0.gguf").read_bytes() == b"GGUF newer"
    # What an older Outboard pulled has no hash beside it: it is computed.
    note = tmp_path / ".M-1B-Q8_0.gguf.origin"
    kept = json.loads(note.read_text())
    note.write_text(json.dumps({key: value for key, value in kept.items() if key not in ("etag", "sha256")}))
    count = len(server.requests)
    assert "up to date" in hub("hf:o/M-GGUF:Q8_0").err and len(server.requests) == count + 1
    assert json.loads(note.read_text())["sha256"] == hashlib.sha256(b"GGUF newer").hexdigest()


def test_what_came_must_have_the_hash_of_the_listing(hub, server, tmp_path):
    server.files["/o/M-GGUF/resolve/main/M-1B-Q8_0.gguf"] = b"GGUF something else"
    assert "SHA-256" in hub("hf:o/M-GGUF:Q8_0", ok=False).err
    assert files(tmp_path) == [] and notes(tmp_path) == []


@pytest.mark.parametrize("what, made, words", [
    ("hf:o/M-GGUF:Q2_K", None, ["there is no such type", "IQ3_XXS", "UD-Q4_K_XL", "BF16"]),
    ("hf:o/none", None, ["answered 401", "HF_TOKEN"]),
    ("hf:o/x", {"model.safetensors": b"x"}, ["there is no GGUF file", "-GGUF"]),
    ("hf:o/x", {"a-Q2_K.gguf": b"GGUF", "b-Q2_K.gguf": b"GGUF"}, ["there are 2 models", "a-Q2_K.gguf"]),
    ("hf:o/x:Q2_K", {"a-Q2_K.gguf": b"GGUF", "b-Q2_K.gguf": b"GGUF"}, ["several of that type"]),
    ("hf:o/x", {"a-00001-of-00002.gguf": b"GGUF"}, ["has 2 parts, and part 2 is not there"]),
    ("hf:o", None, ["expected hf:OWNER/REPO"]), ("hf:o/", None, ["expected hf:OWNER/REPO"]),
    ("hf:/r", None, ["expected hf:OWNER/REPO"])])
def test_what_can_not_be_chosen_is_told(what, made, words, hub, server, tmp_path):
    if made is not None:
        add_repository(server, "o/x", made)
    error = hub(what, ok=False).err
    assert all(word in error for word in words), error
    assert files(tmp_path) == []


def test_names_of_the_catalog(hub, server, tmp_path):
    """A catalog's model lies under its short name; of parts, too."""
    add_repository(server, "Qwen/Qwen3-8B-GGUF", {"Qwen3-8B-Q4_K_M.gguf": b"GGUF qwen", "Qwen3-8B-Q8_0.gguf": b"GGUF"})
    add_repository(server, "ggml-org/gpt-oss-120b-GGUF",
                   {f"gpt-oss-120b-mxfp4-0000{i}-of-00002.gguf": b"GGUF part %d" % i for i in (1, 2)})
    assert hub("qwen3-8b").out.strip() == str(tmp_path / "qwen3-8b.gguf")
    assert (tmp_path / "qwen3-8b.gguf").read_bytes() == b"GGUF qwen"
    assert "up to date" in hub("qwen3-8b").err
    assert hub("gpt-oss-120b").out.strip() == str(tmp_path / "gpt-oss-120b-00001-of-00002.gguf")
    assert files(tmp_path) == ["gpt-oss-120b-00001-of-00002.gguf", "gpt-oss-120b-00002-of-00002.gguf", "qwen3-8b.gguf"]
    listed = {entry["name"]: entry for entry in json.loads(hub("--json").out)}
    assert {name for name, entry in listed.items() if entry["is_here"]} == {"qwen3-8b", "gpt-oss-120b"}
    assert listed["qwen3-8b"]["from"] == "hf:Qwen/Qwen3-8B-GGUF:Q4_K_M"
    # The parts are found by the name.
    assert "gpt-oss-120b-00001-of-00002.gguf" in run("show", "gpt-oss-120b", env={"OUTBOARD_MODELS": str(tmp_path)}, ok=False).err
    server.down = True
    assert "whether there is a newer one is not known" in hub("qwen3-8b").err
    assert "503" in hub("qwen3-4b", ok=False).err


def test_the_catalog_is_listed(pull):
    listed = json.loads(pull("--json").out)
    by_name = {entry["name"]: entry for entry in listed}
    assert len(by_name) == len(listed) and {"smollm2", "gemma3-270m", "qwen3-8b", "gpt-oss-20b", "firmware"} <= set(by_name)
    for entry in listed:
        if "bytes" in entry:
            assert entry["fits_24_gb"] == ("yes" if entry["bytes"] + 2**31 <= 24 * 2**30 else
                                           "tight" if entry["bytes"] + 2**29 <= 24 * 2**30 else "no")
            # Sizes are what the type gives for so many parameters.
            assert 3.5 < 8 * entry["bytes"] / entry["parameters"] < 17, entry
    lines = pull().out.splitlines()
    assert lines[0].split() == ["NAME", "PARAMETERS", "SIZE", "24", "GB", "WHAT"] and len(lines) == len(listed) + 1
    assert max(map(len, lines)) <= 80
    assert "Did you mean qwen3-8b?" in pull("qwen3-8", ok=False).err
    for wrong in (("--force",), ("--json", "smollm2")):
        pull(*wrong, ok=False)


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


@pytest.mark.parametrize("what", ["nosuch", "http://127.0.0.1:1/x.gguf", "ftp://127.0.0.1/x.gguf",
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
        error = run("quantize", SMOLLM2, folder / "q.gguf", "Q8_0", "--allow-requantize", ok=False).err
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
