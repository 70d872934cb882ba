"""What README and docs show: every command in a block of theirs runs and prints what stands below it, up to numbers.
What they name and a machine can't have here is put in its place: cards are simulated ones, the hub is a server on
loopback, MODEL is a model that was pulled. A command that another test runs is named with that test in ELSEWHERE; one
that is in neither list fails."""
import contextlib
import functools
import http.server
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

import families
import make_model
import marian_folders
from support import MODELS, OUTBOARD, ROOT

FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("bindings/*/README.md"))]

# Blocks that are no commands, by their first lines.
NO_COMMANDS = {"cli", "src/hardware/amd/navi31/", "T = gap"}

ELSEWHERE = {
    "./outboard test": "this is part of it",
    "./outboard install": "packages, into other prefixes",
    "./outboard install --prefix ~/.local": "packages",
    "packaging/release.sh": "packages.release",
    "(cd build/release && cpack)": "packages.deb",
    "pip install ./bindings/python": "packages",
    "outboard list --pairs en-fr": "e2e.pull",
    "outboard pull firmware": "hub: FirmwareTest, and the images themselves are made up here",
    "build/venv/bin/python tests/server/fake_server.py 8080": "server.page",
    "OUTBOARD_PAGE=http://127.0.0.1:11434 build/venv/bin/python -m pytest tests/server/test_page.py": "server.real_page",
}


def blocks(path):
    """Lists of lines: indented by four where no list goes on, or between fences."""
    found, block, fence = [], [], None
    for line in path.read_text().split("\n") + ["end"]:
        if fence is None and (line.startswith("    ") or (block and not line.strip())):
            block.append(line[4:])
            continue
        if block:
            while not block[-1].strip():
                block.pop()
            found.append(block)
            block = []
        # Programs: packages and e2e.ten_lines build and run them.
        if line.startswith("```"):
            fence = line[3:] if fence is None else None
    return found


def is_command(line):
    return re.match(r"(\$ )?(\./outboard|outboard|packaging/|pip|tail|\(cd|build/venv|[A-Z_]+=\S+ \S+ \S)", line) is not None


def commands():
    """{command: the lines shown below it}"""
    found = {}
    for path in FILES:
        for block in blocks(path):
            if not is_command(block[0]):
                assert any(block[0].startswith(begin) for begin in NO_COMMANDS), f"{path.name}: {block[0]}"
                continue
            command = None
            for line in block:
                if is_command(line):
                    command = re.split(r"\s+# |\s\s+//", line.removeprefix("$ "))[0].rstrip()
                    found.setdefault(command, [])
                else:
                    found[command].append(line)
    return found


SHOWN = commands()


def assert_shown(command, output, leave=lambda line: False):
    """Every line, or paragraph, stands in the output: numbers count as numbers, `...` as anything."""
    chunks, text = [], []
    for line in SHOWN[command]:
        if leave(line):
            continue
        if re.match(r"[\[>]|\s", line):
            chunks += [" ".join(text), line]
            text = []
        else:
            text.append(line)
    chunks.append(" ".join(text))
    plain = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).split())
    for chunk in filter(None, (" ".join(chunk.split()) for chunk in chunks)):
        pattern = re.sub(r"\\\.\\\.\\\.", ".*", re.escape(chunk))
        pattern = re.sub(r"avx512", r"\\w+", pattern)
        pattern = re.sub(r"[0-9][0-9.,\\]*", lambda number: r"[0-9][0-9.,]*" + (r"\." if number[0].endswith(r"\.") else "")
                         + ("," if number[0].endswith(",") else ""), pattern)
        # How many are guessed follows the machine's speed: it may be none.
        pattern = re.sub(r"(\\ \\\(\S+\\ of\\ \S+\\ guessed\\ right\\\))", r"(\1)?", pattern)
        assert re.search(pattern, plain), f"{chunk!r} is not in {plain!r}"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class World:
    """A folder where what the commands name lies, and their environment."""

    def __init__(self, folder):
        self.folder = folder
        store = folder / "models"
        store.mkdir()
        for model in MODELS.glob("*.gguf"):
            (store / model.name).symlink_to(model)
        self.environment = {**os.environ, "OUTBOARD_MODELS": str(store), "HOME": str(folder)}

    def run(self, *words, stdin=None, ok=True, cwd=None):
        """What it writes to standard output, or to standard error where it is to fail."""
        done = subprocess.run([OUTBOARD, *map(str, words)], capture_output=True, input=stdin, env=self.environment,
                              cwd=cwd or self.folder, timeout=120)
        assert (done.returncode == 0) == ok, (done.stdout, done.stderr)
        return (done.stdout if ok else done.stderr).decode()

    @contextlib.contextmanager
    def running(self, *words, until, end=None):
        """On a terminal, until it says that. Gives what it has said; then `end` is typed, or Ctrl-C."""
        master, child = pty.openpty()
        process = subprocess.Popen([OUTBOARD, *map(str, words)], stdin=child, stdout=child, stderr=child, cwd=self.folder,
                                   env={**self.environment, "TERM": "xterm"}, start_new_session=True)
        os.close(child)
        said = []

        def read(seconds):
            if select.select([master], [], [], seconds)[0]:
                with contextlib.suppress(OSError):
                    said.append(os.read(master, 65536).decode(errors="replace"))

        deadline = time.monotonic() + 60
        while until not in "".join(said):
            assert time.monotonic() < deadline and process.poll() is None, "".join(said)
            read(0.2)
        read(0.3)
        try:
            yield "".join(said)
        finally:
            if end is None:
                process.send_signal(signal.SIGINT)
            else:
                os.write(master, end.encode())
            process.wait(30)
            os.close(master)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="module")
def translators(world):
    """The store's opus-mt-en-fr, pulled from a hub on loopback, and one that knows several languages."""
    repository = world.folder / "hub/Helsinki-NLP/opus-mt-en-fr/resolve/main"
    config = marian_folders.make_config(400)
    weights = marian_folders.random_weights(config, seed=3)
    tokenizer = marian_folders.make_tokenizer(400, languages=())
    marian_folders.write_hf(repository, weights, config, tokenizer)
    marian_folders.write_marian(world.folder / "marian", weights, config, tokenizer)
    marian_folders.zip_folder(world.folder / "marian", world.folder / "opus-2020-02-26.zip")
    several = marian_folders.make_tokenizer(400, languages=(">>fr<<", ">>es<<"))
    marian_folders.write_hf(world.folder / "several", weights, config, several)
    world.run("convert", "several", world.folder / "models/opus-mt-en-ROMANCE.gguf")
    (world.folder / "book.txt").write_text("\n".join(marian_folders.SOURCE_TEXT) + "\n")


@pytest.fixture(scope="module")
def hub(world):
    (world.folder / "hub").mkdir(exist_ok=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=world.folder / "hub"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    world.environment["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()


def words_of(command, **replaced):
    """Without the program's name; MODEL, TEXT and the like replaced."""
    assert command in SHOWN, f"{command} is shown nowhere"
    RUN.add(command)
    return [replaced.get(word, word) for word in shlex.split(command)[1:]]


RUN = set()
SHORT = ("-n", 4)


def launcher(world, *words):
    """The launcher with what it has built in the place where it builds."""
    script = (ROOT / "outboard").read_text()
    script = script.replace('program=$root/build/release/src/cli/outboard', f'program="{OUTBOARD}"')
    script = script.replace("build_program() {", "build_program() {\n  return 0", 1)
    path = world.folder / "outboard"
    path.write_text(script)
    path.chmod(0o755)
    done = subprocess.run([path, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=world.environment, timeout=120)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode()


def test_the_demo(world):
    assert_shown("./outboard demo", launcher(world, *words_of("./outboard demo"), "--device", "cpu"))


def test_the_demo_on_the_simulated_card(world):
    """Of the answer only its beginning: every instruction is simulated."""
    command = "./outboard demo --device sim"
    output = launcher(world, *words_of(command), "-n", 2)
    assert_shown(command, output, leave=lambda line: not line.startswith(("[", ">")))
    beginning = " ".join(line for line in SHOWN[command] if not line.startswith(("[", ">")))
    assert re.search(r"^The sky", output, re.MULTILINE) and beginning.startswith("The sky")


def test_the_doctor(world):
    world.run(*words_of("outboard doctor"), "--device", "sim")
    world.run(*words_of("outboard doctor --report report.zip"), "--device", "sim")
    world.run(*words_of("outboard sim replay report.zip"))


def test_cards_that_are_not_here(world):
    """They are looked for, and what is missing is told."""
    for command in ("outboard run MODEL -p TEXT --device amd", "outboard run MODEL -p TEXT --device pci:0000:03:00.0 --take"):
        assert world.run(*words_of(command, MODEL="smollm2", TEXT="Hi"), *SHORT, ok=False).startswith("outboard: ")


def test_a_card_over_the_network(world):
    model = world.folder / "small.gguf"
    make_model.make("llama-small", model)
    world.run("sim", "firmware", world.folder / "firmware")
    with world.running("sim", "serve", "--tcp", "127.0.0.1:0", until="listens on") as said:
        address = re.search(r"127\.0\.0\.1:\d+", said)[0]
        words = words_of("outboard run MODEL -p TEXT --device remote:HOST:PORT", MODEL=model, TEXT="Hi",
                         **{"remote:HOST:PORT": f"remote:{address}"})
        world.run(*words, "--raw", "--firmware-dir", world.folder / "firmware", *SHORT)


def test_translation(hub, translators, world):
    world.run(*words_of("outboard pull opus-mt-en-fr"))
    line = world.run(*words_of('outboard translate opus-mt-en-fr "How are you?"'), "--device", "cpu")
    assert line.count("\n") == 1
    world.run(*words_of("outboard translate opus-mt-en-fr -f book.txt -o livre.txt"), "--device", "cpu")
    assert (world.folder / "livre.txt").read_text().count("\n") == len(marian_folders.SOURCE_TEXT)
    (world.folder / "livre.txt").unlink()
    world.run(*words_of("outboard translate opus-mt-en-fr -f book.txt -o livre.txt --resume"), "--device", "cpu")
    (world.folder / "page.html").write_text("<p>How are you?</p>")
    world.run(*words_of("outboard translate opus-mt-en-fr -f page.html -o page.fr.html --format html"), "--device", "cpu")
    assert (world.folder / "page.fr.html").read_text().startswith("<p>")
    words = words_of("tail -f log | outboard translate opus-mt-en-fr")
    assert world.run(*words[words.index("outboard") + 1:], "--device", "cpu", stdin=b"How are you?\n") == line
    world.run(*words_of('outboard translate opus-mt-en-ROMANCE --to fr "Good morning."'), "--device", "cpu")
    output = world.run(*words_of('outboard translate opus-mt-en-fr --json --nbest 3 --beam 6 "How are you?"'), "--device", "cpu")
    assert output.startswith("{")
    world.run(*words_of("outboard convert opus-2020-02-26.zip en-fr.gguf --type q8_0"))


def test_serving(world):
    command = "outboard serve smollm2"
    with world.running(*words_of(command), "--port", 0, "--device", "cpu", until="Zed") as said:
        assert_shown(command, said)


def test_other_words(hub, world):
    assert len(world.run(*words_of('./outboard run smollm2 "Name three rivers." --temp 0'), "--device", "cpu")) > 20
    with world.running(*words_of("./outboard run smollm2"), "--device", "cpu", until="> ", end="/exit\r") as said:
        assert "smollm2" in said.lower()
    assert "smollm2" in world.run(*words_of("./outboard pull"))
    model = world.folder / "hub/OWNER/REPO/resolve/main/M-Q4_K_M.gguf"
    model.parent.mkdir(parents=True)
    make_model.make("llama-small", model)
    listing = world.folder / "hub/api/models/OWNER/REPO"
    listing.parent.mkdir(parents=True)
    listing.write_text(json.dumps({"siblings": [{"rfilename": model.name, "size": model.stat().st_size}]}))
    assert world.run(*words_of("./outboard pull hf:OWNER/REPO:Q4_K_M")).strip().endswith("M-Q4_K_M.gguf")
    world.run(*words_of("./outboard bench smollm2 -t 2"), "-p", 16, *SHORT, "-r", 1, "--device", "cpu")
    assert "run" in world.run(*words_of("./outboard --help"))


def test_answers_of_a_form(world):
    (world.folder / "person.json").write_text('{"type": "object", "properties": {"name": {"const": "Alice"}, "age": {"const": 9}},'
                                              '"required": ["name", "age"]}')
    (world.folder / "answer.gbnf").write_text('root ::= "yes" | "no"')
    cpu = ("--device", "cpu", "--temp", 0)
    assert "Alice" in world.run(*words_of('outboard run smollm2 -p "Alice is 9. Describe her." --json-schema person.json'), *cpu)
    assert world.run(*words_of('outboard run smollm2 -p "Is the sky blue?" --grammar answer.gbnf'), *cpu) in ("yes\n", "no\n")
    assert world.run(*words_of('outboard run smollm2 -p "A cat, as JSON." --json-object'), "-n", 16, *cpu).startswith("{")


def test_several_tokens_a_step(world):
    families.DRAFTERS["qwen35-mtp"](world.folder / "qwen3.6-27b.gguf")
    text = ("--raw", "--device", "cpu", *SHORT)
    world.run(*words_of("outboard run qwen3.6-27b.gguf -p TEXT --speculate mtp", TEXT="Hi"), *text)
    small = {"MODEL": "smollm2", "SMALLER": "smollm2", "TEXT": "Hi"}
    world.run(*words_of("outboard run MODEL -p TEXT --draft SMALLER", **small), *text)
    world.run(*words_of("outboard run MODEL -p TEXT --speculate lookup", **small), *text)


def test_the_simulated_card(world):
    command = "outboard sim serve --tcp 127.0.0.1:6667"
    words = ["127.0.0.1:0" if word.startswith("127") else word for word in words_of(command)]
    with world.running(*words, until="Ctrl-C") as said:
        assert_shown(command, said)
    socket = "outboard sim serve --socket /tmp/card.sock"
    words = [world.folder / "card.sock" if word.startswith("/tmp") else word for word in words_of(socket)]
    with world.running(*words, until="Ctrl-C"):
        assert (world.folder / "card.sock").is_socket()


def test_a_kernel(world):
    (world.folder / "kernel.hip").write_text("""
      extern "C" __attribute__((global)) void twice(const float* in, float* out) {
        const unsigned i = __builtin_amdgcn_workgroup_id_x() * 256 + __builtin_amdgcn_workitem_id_x();
        out[i] = 2 * in[i];
      }""")
    subprocess.run(["clang-19", "-x", "hip", "--offload-arch=gfx1100", "--cuda-device-only", "--no-gpu-bundle-output", "-nogpulib",
                    "-nogpuinc", "-O2", "kernel.hip", "-o", "kernel.co"], check=True, cwd=world.folder)
    np.arange(1024, dtype=np.float32).tofile(world.folder / "a.bin")
    world.run(*words_of("outboard sim run kernel.co --grid 4 --block 256 --arg in:a.bin --arg out:b.bin:4096"))
    assert (np.fromfile(world.folder / "b.bin", np.float32) == 2 * np.arange(1024)).all()
    assert "twice" in world.run(*words_of("outboard sim disasm kernel.co"))


def test_nothing_is_left_out():
    """Last: of all commands each has run above, or is another test's."""
    assert not RUN & set(ELSEWHERE)
    assert set(SHOWN) == RUN | set(ELSEWHERE)
