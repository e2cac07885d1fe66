"""docs/tutorial.md from its first line to its last, in two homes of one machine, as it says."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import end_runners
from tests.pages.elsewhere import ELSEWHERE
from tests.support.pages import shown, strange, typed
from tests.support.tiny_gguf import write_tiny_gguf
from tests.support.typist import Typed, Typist
from tests.support.waiting import wait_until

PAGE = "docs/tutorial.md"
MODEL = "gemma-3-270m-Q4_K_M.gguf"  # random weights stand in for it here
JOIN = re.compile(r"fleet join (\S+)")


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Typist]:
    """Somebody with a model, in a folder without anything else."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("FLEET_")}
    env |= {
        "FLEET_HOME": str(tmp_path / "home"),
        "FLEET_NAME": "desk",
        "FLEET_LISTEN": "127.0.0.1",
        "FLEET_DISCOVERY": "",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONSAFEPATH": "1",
    }
    made = Typist(tmp_path / "work", env)
    write_tiny_gguf(made.folder / MODEL)
    yield made
    for home in (tmp_path / "home", made.folder / "second"):
        made.type("fleet down", FLEET_HOME=str(home))
        end_runners(home)
    made.close()


def filled(line: str, code: str) -> str:
    """With the code that was printed; nobody is there to talk."""
    talk = " -p hello --tokens 8" if line.startswith("fleet chat") else ""
    return line.replace("CODE", code) + talk


def has_both(reader: Typist) -> bool:
    rows = json.loads(reader.ok("fleet devices -o json").out)
    return {"desk", "rig"} <= {row["name"] for row in rows}


def test_every_command_of_the_tutorial_runs_and_says_what_the_page_shows(reader: Typist) -> None:
    said: dict[str, list[Typed]] = {}
    code = ""
    for command in typed(PAGE):
        if command.text in ELSEWHERE[PAGE]:
            continue
        done = reader.type(filled(command.text, code))
        assert done.code == command.ends, f"{command.text}: {done}"
        assert "Traceback" not in done.err
        said.setdefault(command.text, []).append(done)
        found = JOIN.search(done.out)
        code = found.group(1) if found else code
        if "fleet join" in command.text:
            wait_until(lambda: has_both(reader), "both machines' devices")
    for command, lines in shown(PAGE):
        done = said[command.text][0]
        if len(said[command.text]) > 1:
            said[command.text].pop(0)
        assert strange(lines, done.out + done.err) == [], f"{command.text}:\n{done.out}"
    assert (reader.folder / "sweep.svg").read_text().startswith("<svg")
