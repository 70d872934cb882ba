import pathlib
import sys

for folder in ("reference", "formats"):
    sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / folder))
