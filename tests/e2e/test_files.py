"""Files that commands read and write: none is lost, each is named for what it is, and one that is cut while it is in use
ends in a message."""
import contextlib
import gzip
import json
import os
import pathlib
import shutil
import signal
import stat
import struct
import subprocess
import time

import gguf
import numpy as np
import pytest

import hf_models
import make_model
import marian_folders
import marian_random
from support import ALICE, OUTBOARD, ROOT, SMOLLM2, run

LINES = marian_folders.SOURCE_TEXT
CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A language model and a translation model."""
    folder = tmp_path_factory.mktemp("models")
    make_model.make("qwen2-small", folder / "small.gguf")
    config = marian_folders.make_config(400, width=64, layers=2, heads=4, feed_forward=256)
    marian_folders.write_hf(folder / "translator", marian_random.weights(config, 3, eos_bias=3), config,
                            marian_folders.make_tokenizer(400, languages=()))
    run("convert", folder / "translator", folder / "translator.gguf", "--type", "f32")
    hf_models.write_family(folder / "hf", "llama")
    return folder


@pytest.fixture
def work(models, tmp_path):
    """Copies that a test may ruin, and a text."""
    for name in ("small.gguf", "translator.gguf"):
        shutil.copy(models / name, tmp_path / name)
    shutil.copytree(models / "hf", tmp_path / "hf")
    (tmp_path / "book.txt").write_text("\n".join(LINES) + "\n")
    return tmp_path


def names_of(path):
    """The path itself, a link, a link to a link, a hard link, a path with dots."""
    folder, name = path.parent, path.name
    os.symlink(name, folder / f"link-{name}")
    os.symlink(folder / f"link-{name}", folder / f"link2-{name}")
    os.link(path, folder / f"hard-{name}")
    return [path, folder / f"link-{name}", folder / f"link2-{name}", folder / f"hard-{name}",
            f"{folder}/../{folder.name}/{name}"]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(folder, *arguments, **options):
    """The command fails, says that a file is read and written, and nothing has changed."""
    before = contents(folder)
    error = run(*arguments, ok=False, **options).err
    assert "can't be written too" in error, error
    assert contents(folder) == before, arguments


def test_no_command_reads_and_writes_one_file(work):
    book, small, translator = work / "book.txt", work / "small.gguf", work / "translator.gguf"
    for name in names_of(book):
        refused(work, "translate", translator, "-f", book, "-o", name, "--force", *CPU)
        refused(work, "translate", translator, "-f", name, "-o", book, "--force", *CPU)
        refused(work, "perplexity", small, "-f", book, "--logits", name, "--ctx", 16, *CPU)
        refused(work, "run", small, "-f", book, "--raw", "-n", 1, "--record", name, *CPU)
    for name in names_of(small):
        refused(work, "quantize", small, name, "Q8_0", "--force")
        refused(work, "run", name, "-p", "x", "--raw", "-n", 1, "--record", small, *CPU)
    refused(work, "perplexity", small, "-f", book, "--logits", small, "--ctx", 16, *CPU)
    refused(work, "translate", translator, "-f", book, "-o", translator, "--force", *CPU)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        refused(work, "convert", work / "hf", work / "hf" / name, "--force")
    rules = work / "rules.json"
    rules.write_text("[]")
    refused(work, "doctor", "--device", "sim", "--faults", rules, "--report", rules)
    refused(work, "sim", "serve", "--socket", work / "s", "--faults", rules, "--trace", rules)
    # Standard input and output are files, too.
    before = contents(work)
    for words in (f"-o {book} --force < {book}", f"-f {book} >> {book}", f"< {book} >> {book}"):
        result = subprocess.run(f"{OUTBOARD} translate {translator} --device cpu {words}", shell=True, timeout=60,
                                capture_output=True, text=True)
        assert result.returncode == 1 and "can't be written too" in result.stderr, (words, result.stderr)
    assert contents(work) == before


def test_a_split_set_is_read_as_a_whole(models, tmp_path):
    """The output is the second part's name."""
    for i in (1, 2):
        writer = gguf.GGUFWriter(tmp_path / f"m-0000{i}-of-00002.gguf", "llama")
        writer.add_uint16("split.no", i - 1)
        writer.add_uint16("split.count", 2)
        writer.add_tensor(f"tensor{i}", np.zeros((4, 32), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    refused(tmp_path, "quantize", tmp_path / "m-00001-of-00002.gguf", tmp_path / "m-00002-of-00002.gguf", "Q8_0", "--force")


def test_outputs_of_a_kernel(work):
    """A code object is read; two buffers do not share a file; one that is asked to be both read and written is."""
    built = pathlib.Path(OUTBOARD).parents[1] / "devices/gpu/kernels/elementwise.hip.co"
    if not built.exists():
        pytest.skip("the kernels' code objects are not beside the program")
    code = work / "code.co"
    shutil.copy(built, code)
    kernel = run("sim", "disasm", code).out.split(":")[0]
    command = ("sim", "run", code, "--kernel", kernel)
    refused(work, *command, "--arg", f"out:{code}:64")
    refused(work, *command, "--arg", f"in:{work / 'book.txt'}", "--arg", f"out:{work}/./book.txt:64")
    assert "both write to it" in run(*command, "--arg", f"out:{work / 'o'}:64", "--arg", f"out:{work}/./o:64", ok=False).err
    # It stops at the number of arguments, not at the file.
    assert "argument 1" in run(*command, *["--arg", f"inout:{work / 'book.txt'}"], ok=False).err


def test_made_up_firmware_does_not_replace_the_true_one(tmp_path):
    written = run("sim", "firmware", tmp_path).out.split()
    run("sim", "firmware", tmp_path)  # the same again
    true = pathlib.Path(written[-1])
    true.write_bytes(b"the card's own")
    before = contents(tmp_path)
    assert str(true) in run("sim", "firmware", tmp_path, ok=False).err and contents(tmp_path) == before
    run("sim", "firmware", tmp_path, "--force")
    assert true.read_bytes() != b"the card's own"


def test_a_conversation_may_be_saved_where_it_was_loaded(work):
    """The one that is read to be written."""
    chat = work / "chat.json"
    chat.write_text(json.dumps([{"role": "user", "content": "Hi"}]))
    make_chat = run("chat", "smollm2", *CPU, stdin=f"/load {chat}\n/save {chat}\n/exit\n".encode())
    assert make_chat.err.count("can't") == 0
    assert json.loads(chat.read_text()) == [{"role": "user", "content": "Hi"}]


def test_devices_pipes_and_links_stay_what_they_are(work):
    small = work / "small.gguf"
    expected = work / "expected.gguf"
    run("quantize", small, expected, "Q8_0")
    target, link = work / "target.gguf", work / "link.gguf"
    target.write_text("old")
    os.chmod(target, 0o640)
    os.symlink(target.name, link)
    assert "exists" in run("quantize", small, link, "Q8_0", ok=False).err
    run("quantize", small, link, "Q8_0", "--force")
    assert link.is_symlink() and target.read_bytes() == expected.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    dangling = work / "dangling.gguf"
    os.symlink("made.gguf", dangling)
    run("quantize", small, dangling, "Q8_0")
    assert dangling.is_symlink() and (work / "made.gguf").read_bytes() == expected.read_bytes()

    pipe = work / "pipe"
    os.mkfifo(pipe)
    with open(work / "read", "wb") as read, subprocess.Popen(["cat", pipe], stdout=read):
        run("quantize", small, pipe, "Q8_0")
    assert (work / "read").read_bytes() == expected.read_bytes()
    assert stat.S_ISFIFO(pipe.stat().st_mode)

    for command in (("quantize", small, "/dev/null", "Q8_0", "--force"), ("quantize", small, "/dev/null", "Q8_0"),
                    ("convert", work / "hf", "/dev/null", "--force"),
                    ("perplexity", small, "-f", work / "book.txt", "--logits", "/dev/null", "--ctx", 16, *CPU)):
        run(*command)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    if os.geteuid() == 0:
        node, node_link = work / "node", work / "node-link"
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.symlink(node, node_link)
        for out in (node, node_link):
            run("quantize", small, out, "Q8_0", "--force")
            assert stat.S_ISCHR(node.stat().st_mode) and node_link.is_symlink()
    for out in (work, work / "none" / "x.gguf"):
        error = run("quantize", small, out, "Q8_0", "--force", ok=False).err
        assert "folder" in error
    assert not [p for p in work.rglob("*.part*")]


def test_outputs_appear_whole_under_their_names(work):
    """Written beside and renamed: what was there is replaced, with its permissions, and only at the end."""
    book, out = work / "book.txt", work / "out.txt"
    whole = run("translate", work / "translator.gguf", "-f", book, *CPU).out
    out.write_text("an older translation")
    os.chmod(out, 0o600)
    inode = out.stat().st_ino
    assert "--force" in run("translate", work / "translator.gguf", "-f", book, "-o", out, *CPU, ok=False).err
    run("translate", work / "translator.gguf", "-f", book, "-o", out, "--force", *CPU)
    assert out.read_text() == whole and stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.stat().st_ino != inode
    # An append to a log must not cost the log.
    (work / "log").write_text("log\n")
    subprocess.run(f"{OUTBOARD} translate {work}/translator.gguf --device cpu -f {book} -o /dev/stdout >> {work}/log",
                   shell=True, check=True, capture_output=True)
    assert (work / "log").read_text() == "log\n" + whole


def wait_for(condition):
    deadline = time.time() + 60
    while time.time() < deadline and not condition():
        time.sleep(0.002)


@contextlib.contextmanager
def small_disk(folder, kilobytes):
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", folder],
                                           capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_what_was_there(work):
    small, book = work / "small.gguf", work / "book.txt"
    (work / "long.txt").write_text("\n".join(LINES * 40) + "\n")
    with small_disk(work / "disk", 16) as disk:
        old = disk / "old"
        old.write_text("old")
        for command in (("quantize", small, old, "F32", "--force"), ("convert", work / "hf", old, "--force"),
                        ("perplexity", small, "-f", book, "--logits", old, "--ctx", 64, *CPU),
                        ("doctor", "--device", "sim", "--report", old)):
            error = run(*command, ok=False).err
            assert "No space left" in error or "Failure" in error or "failed" in error, error
            assert old.read_text() == "old" and [p.name for p in disk.iterdir()] == ["old"], command
        # Lines that were translated are work: they are kept beside, whole, and it is said where.
        error = run("translate", work / "translator.gguf", "-f", work / "long.txt", "-o", old, "--force", *CPU, ok=False).err
        assert "No space left" in error and old.read_text() == "old"
        kept = [p for p in disk.iterdir() if p.name != "old"]
        assert len(kept) == 1 and str(kept[0]) in error
        assert kept[0].read_bytes().endswith(b"\n")


def test_interrupted_work_leaves_an_older_output(work):
    """Ctrl-C (test_translate_cli has the case of a new one): the lines are kept beside it."""
    (work / "long.txt").write_text("\n".join(LINES * 200) + "\n")
    out = work / "out.txt"
    out.write_text("old")
    child = subprocess.Popen([OUTBOARD, "translate", work / "translator.gguf", "-f", work / "long.txt", "-o", out, "--force", *CPU],
                             stderr=subprocess.PIPE)
    wait_for(lambda: any(p.stat().st_size for p in work.glob("out.txt.part*")))
    child.send_signal(signal.SIGINT)
    error = child.communicate(timeout=60)[1].decode()
    assert child.returncode == 130 and "stopped after" in error and out.read_text() == "old"
    kept = next(work.glob("out.txt.part*"))
    assert str(kept) in error and kept.read_text().endswith("\n")


# A file is named for what it is.

def write_gguf(path, kind=0, version=3, order="<"):
    name = b"blk.0.attn_q.weight"
    head = b"GGUF" + struct.pack(order + "IQQ", version, 1, 0)
    head += struct.pack(order + "Q", len(name)) + name + struct.pack(order + "IQIQ", 1, 256, kind, 0)
    path.write_bytes(head.ljust(128, b"\0") + bytes(4096))
    return path


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"1" * 64 + b"\nsize 4920734272\n"
WRONG_FILES = [
    (POINTER, "Git LFS pointer to a file of 4920734272 bytes", "git lfs pull"),
    (b"# xet version 0\nfilesize = 4920734272\n", "Git Xet pointer", "git-xet"),
    (b"/annex/objects/SHA256E-s123--abc.gguf\n", "git-annex pointer", "git annex get"),
    (b"\xef\xbb\xbf\n <!DOCTYPE html><html>", "web page (HTML)", "get that"),
    (b"<HEAD></HEAD>", "web page (HTML)", "get that"),
    (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "XML", "get that"),
    (b"lmgg" + bytes(60), '"ggml"', "convert_llama_ggml_to_gguf.py"),
    (b"fmgg\1\0\0\0" + bytes(60), '"ggmf"', "convert_llama_ggml_to_gguf.py"),
    (b"tjgg\3\0\0\0" + bytes(60), '"ggjt"', "convert_llama_ggml_to_gguf.py"),
    (b"algg\1\0\0\0" + bytes(60), "LoRA", "merged"),
    (bytes(4096), "zeros", "Get it again"),
    (gzip.compress(b"GGUF"), "gzip", "Unpack"),
    (b"\x28\xb5\x2f\xfd1234", "zstd", "Unpack"),
    (b'{"architectures": ["LlamaForCausalLM"]}', "JSON", "folder"),
    (b"Entry not found", '"Entry not found"', "GGUF"),
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch or pickle", "folder"),
    (b"\x93NUMPY\1\0v\0{}", "NumPy", "folder"),
    (b"\x7fELF\2\1\1", "a program", "model's file"),
    (b"\x01\x02\x03\x04 something", "01 02 03 04", "GGUF"),
]


@pytest.mark.parametrize("content, name, todo", WRONG_FILES, ids=[w[1].replace(" ", "-") for w in WRONG_FILES])
def test_a_file_that_is_no_model(content, name, todo, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    error = run("inspect", path, ok=False).err
    assert str(path) in error and name in error and todo in error, error


def test_one_file_of_a_folder_names_the_folder(work):
    folder = work / "hf"
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        error = run("run", folder / name, "-p", "x", ok=False).err
        assert f"name the folder: {folder}" in error, error
    shutil.move(folder / "model.safetensors", work / "alone.safetensors")
    error = run("run", work / "alone.safetensors", "-p", "x", ok=False).err
    assert "a safetensors file: weights alone" in error and "config.json and the tokenizer" in error
    np.savez(work / "model.npz", weight=np.zeros(4))
    assert "NumPy archive" in run("run", work / "model.npz", "-p", "x", ok=False).err


def test_pointers_inside_a_folder(work):
    """What `git clone` leaves without LFS: the small files are there, the large ones are not."""
    folder = work / "hf"
    for name in ("tokenizer.json", "model.safetensors"):
        (folder / name).write_bytes(POINTER)
        for command in (("run", folder, "-p", "x"), ("convert", folder, work / "x.gguf")):
            error = run(*command, ok=False).err
            assert str(folder / name) in error and "Git LFS pointer" in error and "git lfs pull" in error, error
        shutil.rmtree(folder)
        hf_models.write_family(folder, "llama")


TYPES = {4: "Q4_2", 5: "Q4_3", 31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 36: "IQ4_NL_4_4", 40: "NVFP4", 41: "Q1_0",
         137: "IQ2_K", 139: "IQ4_K", 144: "IQ4_KS"}


def test_types_that_are_not_run_have_names(tmp_path):
    for number, name in TYPES.items():
        error = run("inspect", write_gguf(tmp_path / "m.gguf", number), ok=False).err
        assert f"found {name}" in error and f"GGML's number {number}" in error and "get the model in" in error, error
    error = run("inspect", write_gguf(tmp_path / "m.gguf", 9999), ok=False).err
    assert "9999" in error and "newer than this program" in error
    # The package gguf knows no type that Outboard neither runs nor names.
    for kind in gguf.GGMLQuantizationType:
        result = subprocess.run([OUTBOARD, "inspect", write_gguf(tmp_path / "m.gguf", int(kind))], capture_output=True,
                                text=True)
        assert result.returncode == 0 or kind.name in result.stderr, (kind, result.stderr)


def test_old_and_turned_gguf_are_told_apart(tmp_path):
    assert "first version" in run("inspect", write_gguf(tmp_path / "m.gguf", version=1), ok=False).err
    error = run("inspect", write_gguf(tmp_path / "m.gguf", order=">"), ok=False).err
    assert "big-endian" in error and "gguf-convert-endian" in error


def test_folders_given_as_text(work):
    small = work / "small.gguf"
    for command in (("run", small, "-f", work, "--raw", "-n", 1, *CPU), ("tokenize", small, "-f", work),
                    ("perplexity", small, "-f", work, *CPU), ("translate", work / "translator.gguf", "-f", work, *CPU),
                    ("doctor", "--device", "sim", "--faults", work)):
        error = run(*command, ok=False).err
        assert str(work) in error and "is a folder, expected a text file" in error, error


# Without a home.

def test_without_home_a_path_is_enough(work):
    small = work / "small.gguf"
    expected = run("run", small, "-p", "the", "--raw", "-n", 4, "--temp", 0, *CPU).out
    for env in ({}, {"HOME": ""}, {"HOME": "", "XDG_CACHE_HOME": "relative"}):
        def bare(*arguments):
            return subprocess.run([OUTBOARD, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=60)
        result = bare("run", small, "-p", "the", "--raw", "-n", 4, "--temp", 0)  # without --device: a card is looked for
        assert (result.returncode, result.stdout) == (0, expected), result.stderr
        for command in (("translate", work / "translator.gguf", "x"), ("inspect", small), ("tokenize", small, "x"),
                        ("bench", small, "-p", 4, "-n", 2, "-r", 1), ("quantize", small, work / "q.gguf", "Q8_0", "--force"),
                        ("perplexity", small, "-f", ROOT / "tests/data/alice.txt", "--logits", work / "l.npy", "--ctx", 8),
                        ("doctor", "--device", "sim", "--read-only")):
            assert bare(*command).returncode == 0, bare(*command).stderr
        error = bare("run", work / "none.gguf", "-p", "x").stderr
        assert "none.gguf: no such file" in error
        assert "OUTBOARD_MODELS" in bare("pull", "smollm2").stderr
    assert not pathlib.Path("relative").exists() and not pathlib.Path(".cache").exists()


# A model file that is cut while it is in use.

def cut_while_running(path, command, ready, to=4096, env=None, stdin=None):
    """Starts the command, cuts the file once `ready` says so, and gives status and error text."""
    child = subprocess.Popen([OUTBOARD, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             stdin=subprocess.PIPE if stdin else subprocess.DEVNULL)
    if stdin:
        child.stdin.write(stdin)
        child.stdin.flush()
    ready(child)
    os.truncate(path, to)
    try:
        out, err = child.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        child.kill()
        raise
    return child.returncode, err.decode()


def first_text(child):
    assert child.stdout.read(1), child.stderr.read()


def ends_in_a_message(result, path):
    status, error = result
    assert status == 1, (status, error)
    assert f"{path}: the file was cut" in error and "renaming" in error, error


FOREVER = ("-p", "Once upon a time", "--raw", "-n", 4000, "--temp", 0, "--ctx", 4096, *CPU)  # seconds


def test_a_cut_model_ends_in_a_message(models, work):
    model, translator = work / "model.gguf", work / "translator.gguf"
    (work / "long.txt").write_text("\n".join(LINES * 500) + "\n")
    # To a page, to nothing, and by a few bytes, which no signal tells of.
    for to in (4096, 0, SMOLLM2.stat().st_size - 3):
        shutil.copy(SMOLLM2, model)
        ends_in_a_message(cut_while_running(model, ("run", model, *FOREVER), first_text, to), model)
    ends_in_a_message(cut_while_running(translator, ("translate", translator, "-f", work / "long.txt", *CPU), first_text),
                      translator)
    shutil.copy(models / "translator.gguf", translator)
    out = work / "out.txt"
    status, error = cut_while_running(
        translator, ("translate", translator, "-f", work / "long.txt", "-o", out, *CPU),
        lambda child: wait_for(lambda: any(p.stat().st_size for p in work.glob("out.txt.part*"))))
    ends_in_a_message((status, error), translator)
    assert str(out) in error and out.read_text().endswith("\n")  # what was translated before is kept


def test_a_model_written_over_is_told_of(tmp_path):
    """`cp new.gguf model.gguf` while it runs: other weights under the running program."""
    model = tmp_path / "model.gguf"

    def start(*arguments):
        child = subprocess.Popen([OUTBOARD, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        first_text(child)
        return child

    shutil.copy(SMOLLM2, model)
    child = start("run", model, *FOREVER)
    with open(model, "r+b") as file:
        file.seek(-4096, os.SEEK_END)
        file.write(bytes(4096))
    error = child.communicate(timeout=60)[1].decode()
    assert child.returncode == 1 and f"{model}: the file was written to while it was in use" in error
    # Renamed over, it goes on: the old file lives until nobody holds it.
    shutil.copy(SMOLLM2, model)
    child = start("run", model, "-p", "Once upon a time", "--raw", "-n", 20, "--temp", 0, *CPU)
    (tmp_path / "new.gguf").write_bytes(b"GGUF")
    os.replace(tmp_path / "new.gguf", model)
    child.communicate(timeout=60)
    assert child.returncode == 0


def test_a_cut_model_in_other_commands(tmp_path):
    """Each with a copy that is cut when work is under way, or still being loaded on a busy machine."""
    model, out = tmp_path / "model.gguf", tmp_path / "out.gguf"

    def outcome(command, ready, stdin=None):
        shutil.copy(SMOLLM2, model)
        status, error = cut_while_running(model, command, ready, 1 << 20, stdin=stdin)
        assert status >= 0 and str(model) in error, (command, status, error)
        return status, error

    status, error = outcome(("quantize", model, out, "Q5_K_M", "--allow-requantize"), lambda _: wait_for(
        lambda: any(p.stat().st_size for p in tmp_path.glob("out.gguf.part*"))))
    assert status == 1 and f"{model}: the file was cut" in error
    assert [p.name for p in tmp_path.iterdir()] == ["model.gguf"]
    (tmp_path / "long.txt").write_text(ALICE.read_text() * 20)
    for command in (("perplexity", model, "-f", tmp_path / "long.txt", *CPU), ("bench", model, "-n", 2000, "-r", 1, *CPU)):
        assert outcome(command, lambda _: time.sleep(0.7))[0] == 1
    # A conversation outlives it; whatever is asked then gets the same words.
    error = outcome(("chat", model, *CPU), first_text, stdin=b"Tell a long story.\nAnd another.\n")[1]
    assert error.count("the file was cut") >= 1


def test_a_cut_model_on_the_card(models, work):
    small = work / "small.gguf"
    # The card has its own copy of the weights; what is not there yet comes from the file.
    result = cut_while_running(small, ("run", small, "-p", "the", "--raw", "-n", 2000, "--temp", 0, "--ctx", 2048,
                                       "--device", "sim"), first_text)
    ends_in_a_message(result, small)
    shutil.copy(models / "small.gguf", small)
    # While it is loaded: whatever was read by then, a message.
    for delay in (0, 0.01, 0.03):
        status, error = cut_while_running(small, ("run", small, "-p", "the", "--raw", "-n", 500, "--device", "sim"),
                                          lambda child: time.sleep(delay))
        assert status == 1 and error.startswith("outboard: ") and "small.gguf" in error, (status, error)
        shutil.copy(models / "small.gguf", small)
