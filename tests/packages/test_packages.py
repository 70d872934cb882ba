"""What is installed works where nothing else of Outboard is: program, library, C interface, Python package, manual pages,
completions, the launcher through links."""
import ctypes
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["OUTBOARD_BUILD"])
MODEL = pathlib.Path(os.environ["OUTBOARD_MODELS"]) / "smollm2.gguf"


def run(*command, status=0, **more):
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, **more)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix") / "usr"
    run("cmake", "--install", BUILD, "--prefix", folder)
    return folder


def test_the_program(prefix, tmp_path):
    program = prefix / "bin/outboard"
    lone = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OUTBOARD_MODELS": os.environ["OUTBOARD_MODELS"]}
    assert re.match(r"\d+\.\d+", run(program, "--version", env=lone))
    said = run(program, "run", MODEL, "-p", "Why is the sky blue?", "--temp", "0", "-n", "24", "--device", "cpu", env=lone)
    assert re.search("[Ss]ky|[Bb]lue|light", said)


def needs(prefix, *modules):
    """pkg-config with the installed folder in front."""
    lib = next(prefix.rglob("outboard.pc")).parent
    words = run("pkg-config", f"--define-variable=prefix={prefix}", *modules, env={**os.environ, "PKG_CONFIG_PATH": str(lib)})
    return words.split()


def test_a_project_finds_the_library(prefix, tmp_path):
    run("cmake", "-S", ROOT / "examples/ten_lines", "-B", tmp_path, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    assert re.search("[Ss]ky|[Bb]lue|light", run(tmp_path / "ten_lines", env={**os.environ, "OUTBOARD_MODELS": str(MODEL.parent)}))
    gone = subprocess.run([tmp_path / "ten_lines", "no-such-model"], capture_output=True, text=True)
    assert gone.returncode == 1 and "no-such-model" in gone.stderr  # a message, no abort


def test_pkg_config_knows_the_library(prefix, tmp_path):
    run("c++", "-std=c++20", "-O0", ROOT / "examples/ten_lines/ten_lines.cpp", "-o", tmp_path / "ten_lines",
        *needs(prefix, "--cflags", "--libs", "outboard"))
    assert "no-such" in subprocess.run([tmp_path / "ten_lines", "no-such"], capture_output=True, text=True).stderr


def test_the_library_within_a_project(tmp_path):
    """add_subdirectory(): it configures there, without tests and program, and offers the same target."""
    run("cmake", "-S", ROOT / "examples/ten_lines", "-B", tmp_path, "-G", "Ninja", f"-DOUTBOARD_SOURCE={ROOT}",
        f"-DOUTBOARD_DEVICE_CODE={BUILD}/src/devices/gpu/kernels")
    targets = run("ninja", "-C", tmp_path, "-t", "targets", "all")
    assert "ten_lines: " in targets and "engine_test" not in targets and "src/server" not in targets


def test_c(prefix, tmp_path):
    run("cc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", ROOT / "examples/c/ask.c", "-o", tmp_path / "ask",
        *needs(prefix, "--cflags", "--libs", "outboard-c"))
    library = next(prefix.rglob("liboutboard-c.so.0")).parent
    said = run(tmp_path / "ask", MODEL, env={"LD_LIBRARY_PATH": str(library), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert re.search("[Ss]ky|[Bb]lue|light", said) and "tokens, length]" in said
    # Nothing but the interface can be seen of it.
    names = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", library / "liboutboard-c.so.0").splitlines()}
    assert names and all(name.startswith("outboard_") for name in names), names


def test_the_header_says_what_the_library_has(prefix):
    header = (prefix / "include/outboard.h").read_text()
    declared = set(re.findall(r"OUTBOARD_API [\w ]+?\*? ?(outboard_\w+)\(", header.replace("\n", " ")))
    library = ctypes.CDLL(str(next(prefix.rglob("liboutboard-c.so.0"))))
    assert len(declared) >= 10 and all(hasattr(library, name) for name in declared)


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Another Python, with the package alone."""
    folder = tmp_path_factory.mktemp("venv")
    source = tmp_path_factory.mktemp("source") / "checkout"
    (source / "build/release/src").mkdir(parents=True)
    shutil.copytree(ROOT / "bindings", source / "bindings", ignore=shutil.ignore_patterns("liboutboard-c*", "build", "*.egg-info"))
    os.symlink(BUILD / "src/capi", source / "build/release/src/capi")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/pip", "install", "--disable-pip-version-check", source / "bindings/python")
    return folder / "bin/python"


SCRIPT = """
import json, sys, threading
import outboard
model = outboard.Model(sys.argv[1], device="cpu", context=1024)
ask = [{"role": "user", "content": "Why is the sky blue?"}]
answer = model.generate(ask, temperature=0, max_tokens=24)
pieces = list(model.stream(ask, temperature=0, max_tokens=24))
few = []
cut = model.generate(ask, temperature=0, max_tokens=200, on_text=lambda text: few.append(text) or len(few) == 3)
schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["age"], "additionalProperties": False}
shaped = model.generate(ask, max_tokens=200, seed=1, json_schema=json.dumps(schema))
for text in model.stream(ask, max_tokens=500):
    break  # left: it ends
tokens = model.tokenize("The river Rh\\u00f4ne")
errors = []
for wrong in (lambda: outboard.Model("/no/such"), lambda: model.generate([9999999]), lambda: model.generate(ask, temperature=-1),
              lambda: model.generate(ask, json_schema="{"), lambda: model.generate(ask, grammar="root ::= ["), lambda: model.generate([])):
    try:
        wrong()
    except outboard.Error as error:
        errors.append(str(error))
def raises(text):
    raise KeyError("mine")
try:
    model.generate(ask, max_tokens=5, on_text=raises)
except KeyError as error:
    errors.append(error.args[0])
one = model.generate("The river", temperature=0, max_tokens=3).text
print(json.dumps({"text": answer.text, "again": "".join(pieces), "finish": [answer.finish, cut.finish], "cached": model.generate(ask, max_tokens=1).cached_tokens,
                  "shaped": shaped.text, "tokens": tokens, "back": model.detokenize(tokens), "errors": errors, "device": model.device,
                  "context": model.context, "version": outboard.version(), "one": one,
                  "same": model.generate(model.tokenize("The river"), temperature=0, max_tokens=3).text}))
model.close()
try:
    model.generate(ask)
except outboard.Error as error:
    assert "closed" in str(error)
"""


def test_python(python, tmp_path):
    lone = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    told = json.loads(run(python, "-c", SCRIPT, MODEL, env=lone, cwd=tmp_path))
    assert re.search("[Ss]ky|[Bb]lue|light", told["text"]) and told["again"] == told["text"]
    assert told["finish"] == ["length", "cancelled"] and told["cached"] > 0
    assert json.loads(told["shaped"])["age"] in range(100)
    assert len(told["tokens"]) > 3 and told["back"] == "The river Rhône" and told["one"] == told["same"]
    assert len(told["errors"]) == 7 and all(told["errors"]) and told["errors"][-1] == "mine"
    assert told["context"] == 1024 and told["device"].startswith("CPU")


def test_manual_pages(prefix):
    pages = sorted(path.name for path in (prefix / "share/man/man1").iterdir())
    assert {"outboard.1", "outboard-run.1", "outboard-serve.1", "outboard-sim-serve.1"} <= set(pages)
    for page in pages:
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", prefix / "share/man/man1" / page], capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr
    text = subprocess.run(["groff", "-man", "-Tascii", prefix / "share/man/man1/outboard-serve.1"], capture_output=True, text=True).stdout
    text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", text)
    help_ = run(prefix / "bin/outboard", "serve", "--help")
    for option in re.findall(r"(--[a-z-]+)", help_):
        assert option in text, option


def completed(prefix, *words):
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _outboard; printf "%s\\n" "${COMPREPLY[@]}"'
    return run("bash", "-c", script, "bash", prefix / "share/bash-completion/completions/outboard", "outboard", *words).split()


def test_completion_in_bash(prefix):
    assert {"run", "chat", "serve", "sim"} <= set(completed(prefix, ""))
    assert "describe" not in completed(prefix, "") and "guard" not in completed(prefix, "")
    assert completed(prefix, "ser") == ["serve"]
    assert "--keep-alive" in completed(prefix, "serve", "--ke")
    assert set(completed(prefix, "serve", "--pooling", "")) == {"none", "mean", "cls", "last"}
    assert "serve" in completed(prefix, "sim", "") and "--tcp" in completed(prefix, "sim", "serve", "--")
    assert "--temp" not in completed(prefix, "serve", "--")


@pytest.mark.parametrize("shell, path, check", [("zsh", "share/zsh/site-functions/_outboard", ["-n"]),
                                                ("fish", "share/fish/vendor_completions.d/outboard.fish", ["--no-execute"])])
def test_completion_elsewhere(prefix, shell, path, check):
    text = (prefix / path).read_text()
    assert "keep-alive" in text and text.count("'") % 2 == 0
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} on this machine")
    run(shell, *check, prefix / path)
    if shell == "fish":
        assert "keep-alive" in run("fish", "-c", f"source {prefix / path}; complete -C 'outboard serve --keep'")


def test_the_launcher_through_links(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/first").symlink_to(ROOT / "outboard")
    (tmp_path / "outboard").symlink_to("far/first")  # beside its link, not beside who calls
    built = ROOT / "build/release/src/cli/outboard"
    if not built.exists():
        pytest.skip("this tree's own build is elsewhere")
    assert re.match(r"\d+\.\d+", run(tmp_path / "outboard", "--version", cwd="/"))


def test_workflow_and_formula():
    import yaml
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    assert {"linux", "macos"} <= set(workflow["jobs"])
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "run" in step:
                run("bash", "-n", "-c", step["run"])
    formula = (ROOT / "packaging/homebrew/outboard.rb").read_text()
    launcher = (ROOT / "outboard").read_text()
    brew = re.search(r"brew_build=\(([^)]*)\)", launcher)[1].split()
    # What the launcher installs to build it, and no more. (Its names for the same: pkgconf.)
    named = set(re.findall(r'depends_on "([^"]+)"', formula)) | {"pkg-config", "python3"}
    assert set(brew) <= named, set(brew) - named
    if shutil.which("ruby"):
        run("ruby", "-c", ROOT / "packaging/homebrew/outboard.rb")
