"""The peers' commands as a person meets them when something is not as it should be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def fleet(home: Path, *args: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "FLEET_HOME": str(home),
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-m", "mesh", *args],
        env=settings,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("invite",), 105, "fleet up --detach"),
        (("invite", "--ttl", "soon"), 2, "not a duration"),
        (("invite", "--role", "god"), 2, "god"),
        (("join", "AAAA-BBBB"), 2, "not an invite code"),
        (("join", "127.0.0.1:1"), 105, "does not answer"),
        (("peers", "accept", "x"), 105, "fleet up --detach"),
        (("sync",), 105, "fleet up --detach"),
        (("identity", "reset", "-y"), 2, "no identity"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_way_on(
    tmp_path: Path, args: tuple[str, ...], code: int, says: str
) -> None:
    done = fleet(tmp_path, *args)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_peer_alone_says_how_not_to_be(tmp_path: Path) -> None:
    assert fleet(tmp_path, "note", "hi").returncode == 0
    assert "fleet invite" in fleet(tmp_path, "peers").stdout
    assert fleet(tmp_path, "peers", "-o", "json").stdout.strip() == "[]"


def test_a_new_key_reads_the_old_keys_ledger(tmp_path: Path) -> None:
    fleet(tmp_path, "note", "by the old key")
    first = fleet(tmp_path, "id").stdout
    assert fleet(tmp_path, "identity", "reset", "-y").returncode == 0
    assert fleet(tmp_path, "id").stdout != first
    assert "by the old key" in fleet(tmp_path, "events").stdout
    assert fleet(tmp_path, "note", "by the new one").returncode == 0
    assert fleet(tmp_path, "verify").returncode == 0


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("peers = 3", "setting peers = 3: must be a list"),
        ('discovery = ["dns"]', "unknown source 'dns'"),
        ("listen = 7", "setting listen = 7: must be a text"),
        ('peers = ["nas:x"]', "'x' is no port"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, toml: str, says: str) -> None:
    fleet(tmp_path, "note", "hi")
    (tmp_path / "fleet.toml").write_text(toml)
    done = fleet(tmp_path, "peers")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_fleet_file_is_said_and_nobody_goes_on_as_if_alone(tmp_path: Path) -> None:
    assert fleet(tmp_path, "note", "before").returncode == 0
    (tmp_path / "fleet.json").write_text("{")
    for words in (("status",), ("peers",), ("up", "--detach"), ("recover",)):
        done = fleet(tmp_path, *words)
        assert done.returncode != 0, words
        assert "names no fleet" in done.stderr, words
        assert "put it back" in done.stderr, words
    assert "names no fleet" in fleet(tmp_path, "doctor", "-o", "json").stdout
