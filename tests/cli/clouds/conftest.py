"""Commands about clouds against a daemon that says what it is told to; the clock stands."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from mesh.cli import client
from mesh.cli.app import HOMES, run
from tests.cli.clouds.fixed_clouds import NOW, Clouds

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"


@dataclass(frozen=True)
class Said:
    """A command's end."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Its one line; fails where there are others."""
        assert self.err.count("\n") == 1, self.err
        return self.err.removesuffix("\n")


Say = Callable[..., Said]


@pytest.fixture
def clouds(monkeypatch: pytest.MonkeyPatch) -> Clouds:
    """The daemon that every command finds."""
    made = Clouds()
    for home in HOMES.values():  # one that is first imported while it is patched would keep it
        import_module(home.partition(":")[0])
    monkeypatch.setattr(client, "find_daemon", lambda _: made)
    return made


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Runs `fleet` with these words, at a width, with nobody at the keyboard."""
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def said(*words: str, width: int = 80) -> Said:
        monkeypatch.setenv("COLUMNS", str(width))
        code = run(list(words))
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return said


def compare(name: str, text: str, width: int, *, update: bool) -> None:
    """`text` is what the golden file holds; with `update` it becomes that."""
    path = GOLDEN / f"{name}-{width}.txt"
    if update:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path} differs; --update-golden writes it"
