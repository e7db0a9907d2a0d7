"""Print what is installed in another version than requirements.txt pins."""

import re
from importlib import metadata
from pathlib import Path

pins = dict(re.findall(r"(?m)^([\w-]+)==(\S+)$", Path("requirements.txt").read_text("utf-8")))
found = {one.name.lower(): one.version for one in metadata.distributions()}
print(*(f"{name} {found[name]}" for name, pin in pins.items() if found.get(name, pin) != pin))
