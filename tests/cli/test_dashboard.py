"""`fleet dashboard`: the link goes to the browser by a file that others can't read."""

import os
import stat
import sys
import webbrowser
from pathlib import Path

import pytest

from mesh.cli import dashboard
from mesh.cli.app import run
from mesh.cli.exits import UNREACHABLE

LINK = "http://127.0.0.1:7420/dashboard/#code=abc&d"


def test_the_browser_is_given_a_file_of_its_owner_and_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: bool(given.append(url)) or True)
    monkeypatch.setenv("DISPLAY", ":0")
    assert dashboard._open(tmp_path, LINK)
    door = tmp_path / dashboard.DOOR
    assert given == [door.resolve().as_uri()]
    assert 'content="0; url=http://127.0.0.1:7420/dashboard/#code=abc&amp;d"' in door.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(door.stat().st_mode) == 0o600


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have a screen")
def test_without_a_screen_no_browser_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in dashboard.SCREENS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail(f"opened {url}"))
    assert not dashboard._open(tmp_path, LINK)
    assert not (tmp_path / dashboard.DOOR).exists()


def test_without_a_daemon_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    assert run(["dashboard"]) == UNREACHABLE
    assert "fleet up --detach" in capsys.readouterr().err
    assert not (tmp_path / dashboard.DOOR).exists()
