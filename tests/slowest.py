#!/usr/bin/env python3
"""slowest.py [BUILD FOLDER]: the ten slowest tests of the last runs, and the twenty files that took longest to compile."""
import pathlib
import sys

build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "build/release")


def table(title, rows):
    print(title)
    for name, seconds in sorted(rows.items(), key=lambda row: -row[1])[:10 if "tests" in title else 20]:
        print(f"  {seconds:7.1f} s  {name}")


# ctest keeps the mean time of every test: name, runs, seconds.
costs = build / "Testing/Temporary/CTestCostData.txt"
if costs.exists():
    lines = costs.read_text().split("---")[0].split("\n")
    table("tests", {name: float(seconds) for name, _, seconds in (line.rsplit(" ", 2) for line in lines if line)})
# .ninja_log: start, end (milliseconds), time stamp, output, hash; the last line of an output counts.
entries = (line.split("\t") for line in (build / ".ninja_log").read_text().split("\n")[1:] if line)
table("files", {output.split("CMakeFiles/")[-1]: (int(end) - int(start)) / 1000
                for start, end, _, output, _ in entries
                if output.endswith((".o", ".co", ".gch", ".pch")) and not output.startswith("/") and (build / output).exists()})
