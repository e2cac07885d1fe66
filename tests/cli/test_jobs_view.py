"""How a job is called in a table, and how much of what was typed a terminal is shown."""

from typing import Any

import pytest

from mesh.cli.jobs.jobs import MAX_REQUEST_CHARS, NOT_HERE, _asked, what


def row(label: str = "", model: str = "", command: str = "") -> dict[str, Any]:
    return {"label": label, "model": model, "command": command.split()}


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (row("m.gguf", "m.gguf"), "m.gguf"),
        (row("nightly", "m.gguf"), "nightly"),
        (row("", "/home/ana/m.gguf"), "m.gguf"),  # of an earlier program
        (row("", "", "python3 train.py"), "python3 train.py"),
        (row("python3"), "python3"),  # another peer's: its command is not here
        (row("python3", "", "/usr/bin/python3 train.py"), "/usr/bin/python3 train.py"),
        (row("command", "", "API_KEY=1 x"), "API_KEY=1 x"),
        (row("nightly", "", "python3 train.py"), "nightly"),
    ],
)
def test_a_job_is_called_by_its_label_unless_more_is_known_here(
    given: dict[str, Any], shown: str
) -> None:
    assert what(given) == shown


def test_a_long_prompt_is_cut_and_an_environments_values_are_left_out() -> None:
    long = "x" * (MAX_REQUEST_CHARS + 7)
    cut = f"{'x' * MAX_REQUEST_CHARS}… and 7 characters more"
    assert _asked({"prompt": long, "model": "/m.gguf"})["request"] == cut
    shown = _asked({"command": ["true"], "cwd": "/srv", "env": {"API_KEY": "sk-12345"}})
    assert shown == {"request": "true", "folder": "/srv", "environment": "API_KEY"}
    assert _asked({"model": "/home/ana/m.gguf"})["request"] == "/home/ana/m.gguf"
    assert _asked(None)["request"] == NOT_HERE
