"""Each room includes only rooms before it in CMakeLists.txt's list; devices and simulator none of each other."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).parents[1]
rooms = re.search(r"set\(rooms ([^)]*)\)", (root / "CMakeLists.txt").read_text())[1].split()
bad = [f"{path.relative_to(root)} includes {room}/, which its room may not use"
       for path in sorted((root / "src").rglob("*")) if re.search(r"(?<!_test)(?<!test_bench)\.(h|hip|cpp)$", path.name)
       for room in re.findall(r'^#include "(\w+)/', path.read_text(), re.M) for own in [path.relative_to(root / "src").parts[0]]
       if rooms.index(room) > rooms.index(own) or (own, room) == ("simulator", "devices")]
sys.exit("\n".join(bad) or 0)
