"""Runs a Python script with an unmodified tinygrad on a simulated card.

    python tinygrad_client.py HOST:PORT SCRIPT [ARGUMENTS]     over TCP
    python tinygrad_client.py unix:PATH SCRIPT [ARGUMENTS]     over TinyGPU's socket

Two things are replaced, both from outside: the firmware loader gets the made-up images that `outboard sim
firmware` writes (OUTBOARD names the program, OUTBOARD_MOODS the card's moods), and for a unix socket, the check for macOS and for the installed
app falls away.
"""

import os
import pathlib
import runpy
import subprocess
import sys
import tempfile


def firmware_images():
    """File name to bytes."""
    with tempfile.TemporaryDirectory() as folder:
        moods = ["--mood", os.environ["OUTBOARD_MOODS"]] if os.environ.get("OUTBOARD_MOODS") else []
        subprocess.run([os.environ["OUTBOARD"], "sim", "firmware", folder, *moods], check=True,
                       stdout=subprocess.DEVNULL)
        return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def setup(address):
    """Points tinygrad at the card. Before tinygrad is imported."""
    if address.startswith("unix:"):
        os.environ["APL_REMOTE_SOCK"] = address.removeprefix("unix:")
        os.environ.pop("REMOTE", None)
    else:
        os.environ["REMOTE"] = address
    os.environ.setdefault("DEV", "PCI+AMD:LLVM")
    os.environ.setdefault("CACHELEVEL", "0")  # no kernels from an earlier run

    from tinygrad.runtime.support.am import amdev
    images = firmware_images()
    amdev.fetch_fw = lambda path, name, sha256: images[name]

    if address.startswith("unix:"):
        from tinygrad.runtime.support import system
        system.APLRemotePCIDevice.ensure_app = classmethod(lambda cls: None)
        system.System.list_devices = lambda *args, **kwargs: [(system.APLRemotePCIDevice, "usb4")]
        system.System.pci_probe_device = lambda devpref, *args, **kwargs: system.APLRemotePCIDevice(devpref, "usb4")


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    setup(sys.argv[1])
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")
