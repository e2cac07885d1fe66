"""How a job is called in a table, and how much of what was typed a terminal is shown."""

from typing import Any

import pytest

from mesh.cli.jobs.jobs import MAX_REQUEST_CHARS, NOT_HERE, _asked, _device, columns, what
from mesh.cli.jobs.run import summary


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


def test_a_gangs_cards_are_counted_in_a_table_and_named_of_one_job() -> None:
    ended = {
        **row("m"), "status": "succeeded", "peer": "rig", "device_id": "dev-x-gpu0",
        "members": ["dev-x-gpu1"], "submitted_ms": 0, "duration_ms": 9_000, "started_ms": 1,
        "ended_ms": 2, "cost_nusd": 0, "throughput_mtps": 0, "waiting": "", "job_id": "j-1",
        "tokens_generated": 42, "plan": {"device": "rig-gpu0 + rig-gpu1"},
    }  # fmt: skip
    assert _device(ended) == "dev-x-gpu0 +1"
    assert columns(ended)["device"] == "dev-x-gpu0 + dev-x-gpu1"
    assert summary(ended) == "42 tokens, 9.0 s, $0.0000, on rig-gpu0 + rig-gpu1 · fleet job j-1"
    assert _device({**ended, "members": []}) == "dev-x-gpu0"
