"""Files of other projects that tests are compared with, from their packages. Fetched once, into
OUTBOARD_DOWNLOADS."""
import fcntl
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile


def members(archive):
    """(name, bytes) of every file in a wheel or an sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as file:
            for name in file.namelist():
                if not name.endswith("/"):
                    yield name, lambda name=name: file.read(name)
    else:
        with tarfile.open(archive) as file:
            for member in file:
                if member.isfile():
                    yield member.name, lambda member=member: file.extractfile(member).read()


@functools.cache
def package_files(package, inside, source=True):
    """The folder with what lies under `inside` in the package ("name==version"): of its sdist, or of
    its wheel."""
    downloads = pathlib.Path(os.environ.get("OUTBOARD_DOWNLOADS", "build/downloads"))
    name = package.split("==")[0]
    target = downloads / f"{name}-{inside.strip('/').replace('/', '-')}"
    downloads.mkdir(parents=True, exist_ok=True)
    # Tests of two files may ask at the same time: the second waits for the first.
    with open(downloads / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        pattern = name.replace("-", "_") + ("-*.tar.gz" if source else "-*.whl")
        archives = sorted(downloads.glob(pattern))
        if not archives:
            # llama-cpp-python would build llama.cpp to tell its version.
            options = ["--no-binary", ":all:"] if source else ["--only-binary", ":all:"]
            if name == "llama-cpp-python":
                options.append("--no-build-isolation")
            fetched = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps",
                                      "-d", str(downloads), *options, package], capture_output=True)
            archives = sorted(downloads.glob(pattern))
            assert archives, fetched.stderr.decode(errors="replace")[-1000:]
        part = target.with_name(target.name + ".part")
        # What a run that was stopped left behind.
        shutil.rmtree(part, ignore_errors=True)
        for file, read in members(archives[0]):
            if f"/{inside.strip('/')}/" not in "/" + file:
                continue
            path = part / ("/" + file).split(f"/{inside.strip('/')}/", 1)[1]
            if ".." in path.parts:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(read())
        part.rename(target)
    return target


def llama_cpp(folder):
    """A folder of llama.cpp, as the sdist of llama-cpp-python holds it."""
    return package_files("llama-cpp-python==0.3.36", f"vendor/llama.cpp/{folder}")
