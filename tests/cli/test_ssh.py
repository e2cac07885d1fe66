"""`fleet ssh` as a person meets it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli.app import fleet
from mesh.cli.machines import ssh
from mesh.cli.machines.ssh import _name_of, cards
from tests.cli.test_pairing import fleet as run

ROW = {
    "name": "rig",
    "destination": "me@rig",
    "jumps": [],
    "status": "ready",
    "text": "",
    "hint": "",
    "age_ms": 61_000,
    "devices": [],
    "facts": {
        "ram_free_bytes": 64 << 30,
        "cards": [{"name": "L4"}, {"name": "L4"}, {"name": "T4"}],
        "engines": [{"engine": "vllm"}, {"engine": "ollama"}, {"engine": "vllm"}],
        "warnings": ["nvidia: the driver hangs"],
    },
}
AWAY = {**ROW, "name": "box", "status": "needs_login", "facts": None, "age_ms": None}
AWAY |= {"text": "me@box refuses our keys", "hint": "ssh there by hand"}


class Answers:
    """A daemon that says what it is told to."""

    def __init__(self, *rows: dict[str, object]) -> None:
        self.rows = list(rows)

    def get(self, path: str) -> dict[str, object]:
        return {"hosts": self.rows}

    def post(self, path: str, body: object = None) -> dict[str, object]:
        return {"name": "rig", "removed": ["a", "b"]} if path.endswith("remove") else self.rows[0]


def said(monkeypatch: pytest.MonkeyPatch, daemon: Answers, *args: str) -> tuple[str, str, object]:
    monkeypatch.setattr(ssh, "need_daemon", lambda _: daemon)
    done = CliRunner().invoke(fleet, ["ssh", *args], env={"COLUMNS": "120"})
    return done.stdout, done.stderr, getattr(done.exception, "exit_code", 0)


def test_a_model_on_its_way_and_an_engine_that_cannot_run_are_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sending = {"name": "tiny", "sent": 1 << 30, "total": 4 << 30}
    row = {**ROW, "sending": sending, "lacks": "needs Python 3.10 or later on rig"}
    _, err, code = said(monkeypatch, Answers(row), "ls")
    assert code == 0
    assert "rig: tiny is on its way there: 1.0 GiB of 4.0 GiB" in err
    assert "rig: no model runs there: needs Python 3.10 or later on rig" in err


def test_the_list_shows_cards_engines_and_what_keeps_a_host_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, err, code = said(monkeypatch, Answers(AWAY, ROW), "ls")
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["HOST", "DESTINATION", "STATE"],
        ["box", "me@rig", "needs_login"],
        ["rig", "me@rig", "ready"],
    ]
    assert "2x L4, T4  64.0 GiB  ollama,vllm   1m" in out
    assert "box: me@box refuses our keys. try: ssh there by hand" in err
    assert "rig: nvidia: the driver hangs" in err
    assert code == 0


def test_a_probe_that_was_refused_has_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, err, code = said(monkeypatch, Answers(AWAY), "probe", "box")
    assert ("needs_login" in out, code) == (True, 106)
    assert "refuses our keys" in err


def test_letting_go_says_how_many_devices_went(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _, _ = said(monkeypatch, Answers(), "rm", "rig")
    assert out == "rig is let go; 2 devices with it\n"


@pytest.mark.parametrize("args", [("ssh",), ("ssh", "add", "me@box"), ("ssh", "rm", "x")])
def test_without_a_daemon_the_line_says_how_to_start_one(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    done = run(tmp_path, *args)
    assert (done.returncode, done.stderr.count("\n")) == (105, 1)
    assert "fleet up --detach" in done.stderr


@pytest.mark.parametrize(
    ("destination", "name"),
    [("me@box.lan", "box"), ("10.0.0.7", "10.0.0.7"), ("ssh://me@GPU_1:22", "gpu_1")],
)
def test_a_host_is_called_after_its_address(destination: str, name: str) -> None:
    assert _name_of(destination) == name


def test_cards_of_one_kind_are_counted() -> None:
    assert cards(ROW) == "2x L4, T4"
    assert cards({"facts": {"cards": []}}) == "none"
