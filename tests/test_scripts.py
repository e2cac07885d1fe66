"""scripts/README.md names every script there is, and no other."""

import os
import re
from pathlib import Path

SCRIPTS = Path(__file__).parent.parent / "scripts"


def test_the_page_of_the_scripts_names_each_of_them() -> None:
    rows = [line for line in (SCRIPTS / "README.md").read_text().splitlines() if line[:3] == "| `"]
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    there = {path.name for path in SCRIPTS.iterdir() if path.is_file() and os.access(path, os.X_OK)}
    assert named == there
