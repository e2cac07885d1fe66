"""Forty things a person types wrong or a disk hands over: one line, its code, nothing lost."""

import os
import re
import shlex
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mesh.cli.app import run
from mesh.cli.client import find_daemon
from mesh.cli.output import wide

ROOT = Path(__file__).parents[2]
# What Python shows of itself and a person should never see.
PYTHON = re.compile(
    r"Traceback|internal error|Errno|<class|<[\w.]+ object|\w+Error\b|PosixPath|\bNone\b|\w+\(\w+="
)


@dataclass(frozen=True, slots=True)
class Homes:
    """Two ledgers: one whose daemon runs, one at rest."""

    live: Path
    cold: Path


def settings(home: Path) -> dict[str, str]:
    return {
        "FLEET_HOME": str(home),
        "FLEET_LISTEN": "none",
        "FLEET_DISCOVERY": "",
        "COLUMNS": "400",
    }


def process(home: Path, *args: str, **given: object) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mesh", *args],
        env=env | {"PYTHONPATH": str(ROOT)} | settings(home),
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
        **({"capture_output": True} | given),  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homes]:
    folder = tmp_path_factory.mktemp("wrong")
    both = Homes(folder / "live", folder / "cold")
    for home in (both.live, both.cold):
        done = process(home, "devices", "add", "rig", "--gpu", "RTX 4090", "--host", "cellar")
        assert done.returncode == 0, done.stderr
    started = process(both.live, "up", "--detach")
    assert started.returncode == 0, started.stderr
    yield both
    assert process(both.live, "down").returncode == 0


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that are not what their names say, in the current folder."""
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, 1)
    contents: dict[str, bytes] = {
        "empty.gguf": b"",
        "one.gguf": b"G",
        "future.gguf": b"GGUF" + struct.pack("<IQQ", 99, 0, 0),
        "huge.gguf": b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 1 << 62),
        "name.gguf": header + struct.pack("<Q", 1 << 60),
        "latin.gguf": header + struct.pack("<Q", 2) + b"\xff\xfe" + struct.pack("<I", 8),
        "number.json": b"7",
        "list.json": b"[[1, 2], null]",
        "text.json": b'{"devices": "RTX 4090"}',
        "deep.json": b"[" * 100_000,
        "huge.json": b'[{"gpu": "RTX 4090", "count": 1e400}]',
        "digits.json": b'[{"gpu": "RTX 4090", "price": ' + b"9" * 5000 + b"}]",
        "typed.json": b'[{"gpu": {"name": "RTX 4090"}, "memory": ["24GB"]}]',
        "minus.json": b'[{"gpu": "RTX 4090", "memory": "-24GB"}]',
        "latin.toml": 'gpu = "Fran\xe7ois"'.encode("latin-1"),
        "nul.jsonl": b"\0" * 64,
        "deep.jsonl": b"[" * 100_000 + b"\n",
        "empty.jsonl": b"",
        "scalar.jsonl": b'7\n"x"\nnull\n',
        "binary.txt": b"\xff\xfe\x00\x01",
        "blank.txt": b" \n\t\n",
        "config.json": b'{"architectures": ["LlamaForCausalLM"], "hidden_size": "wide"}',
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.gguf").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


# (the words of a command, its exit code by the kind of trouble); "!" asks the running daemon.
COMMANDS = [
    # plan: GGUF files
    ("plan empty.gguf --what-if 'RTX 4090'", 3),
    ("plan one.gguf --what-if 'RTX 4090'", 3),
    ("plan future.gguf --what-if 'RTX 4090'", 3),
    ("plan huge.gguf --what-if 'RTX 4090'", 3),
    ("plan name.gguf --what-if 'RTX 4090'", 3),
    ("plan latin.gguf --what-if 'RTX 4090'", 3),
    ("plan folder.gguf --what-if 'RTX 4090'", 102),
    ("plan config.json --what-if 'RTX 4090'", 3),
    ("! plan empty.gguf", 3),
    # plan: numbers and names
    ("plan qwen3-8b --what-if 'RTX 4090' --max-cost nan", 2),
    ("plan qwen3-8b --what-if 'RTX 4090' --max-price 1e400", 2),
    ("plan qwen3-8b --what-if 'RTX 4090' --min-quality -0.5", 2),
    ("plan qwen3-8b --what-if 'RTX 4090' --min-tps 9e99999", 2),
    ("plan qwen3-8b --what-if 'RTX 4090' --batch ٣x", 2),
    ("plan qwen3-8b --what-if 'RTX 4090 x99999999999999999999'", 2),
    ("plan qwen3-8b --what-if 'RTX 4090' --ram -1GB", 2),
    ("plan qwen3-8b --what-if 'RTX 4090' --rate -0.45/h", 2),
    ("plan qwen3-8b --what-if '💥 24GB + '", 2),
    ("plan 模型 --what-if 'RTX 4090'", 102),
    # plan: --fleet files
    *((f"plan qwen3-8b --fleet {name}", 2) for name in ("number.json", "list.json", "text.json")),
    *((f"plan qwen3-8b --fleet {name}", 2) for name in ("deep.json", "huge.json", "digits.json")),
    *((f"plan qwen3-8b --fleet {name}", 2) for name in ("typed.json", "minus.json", "latin.toml")),
    ("plan qwen3-8b --fleet folder", 3),
    # sweep, capacity, models
    ("sweep qwen3-8b --what-if 'RTX 4090' --context 128k..2k", 2),
    ("sweep qwen3-8b --what-if 'RTX 4090' --plot folder", 2),
    ("sweep qwen3-8b --what-if 'RTX 4090' --plot nowhere/field.svg", 3),
    ("capacity qwen3-8b --what-if 'RTX 4090' --context 0", 2),
    ("capacity empty.gguf --what-if 'RTX 4090'", 3),
    ("models show folder", 102),
    ("models show future.gguf", 3),
    # devices
    ("devices add rig2 --gpu 'RTX 4090' --memory 1e999GB", 2),
    ("devices add '' --gpu 'RTX 4090'", 2),
    ("devices add 'a\nb' --gpu 'RTX 4090'", 2),
    ("devices add rig3 --gpu 'RTX 4090' --price -1600", 2),
    ("devices set rig --price nan", 2),
    ("devices set nosuch --price 1600", 102),
    ("devices remove ../rig", 102),
    ("! devices set rig --lifetime 1e30", 2),
    ("! devices remove '💥'", 102),
    # jobs
    ("! run folder.gguf --prompt hi", 102),
    ("! run empty.gguf --prompt hi", 3),
    ("! run one.gguf --input folder", 3),
    ("! run one.gguf --input blank.txt", 2),
    ("! run one.gguf --input binary.txt", 2),
    ("! job '../../identity'", 102),
    ("! job ''", 102),
    ("! logs '*'", 102),
    ("logs -f nosuch", 102),
    ("! logs -f '💥'", 102),
    ("! cancel '%2e%2e'", 102),
    ("! cancel 'a?b#c'", 102),
    ("cost --by year", 2),
    ("calibrate folder.gguf", 105),
    ("! calibrate folder.gguf", 102),
    ("! bench one.gguf", 3),
    # peers
    ("! invite --uses 0", 2),
    ("! invite --ttl 1e99d", 2),
    ("! join ''", 3),
    ("! join ٣٣٣٣٣٣٣-AAAAAAA", 3),
    ("join 127.0.0.1:99999", 2),
    ("join 127.0.0.1:1", 105),
    ("join 127.0.0.1:1 --wait -5m", 2),
    ("! peers accept '💥'", 3),
    ("! peers remove '' -y", 102),
    # the ledger
    ("export folder", 2),
    ("! export nowhere/x/y", 3),
    ("! import nul.jsonl", 3),
    ("! import deep.jsonl", 3),
    ("import deep.jsonl", 3),
    ("import scalar.jsonl", 3),
    ("note '\t'", 2),
    ("events --limit -1", 2),
    ("! up --port 70000", 2),
    ("! up", 3),
]


def said(captured: str) -> str:
    """The error's one line; nothing of Python in it."""
    assert captured.startswith("fleet: "), captured
    assert captured.count("\n") == 1, captured
    assert captured.isprintable() or captured[:-1].isprintable(), repr(captured)
    assert not PYTHON.search(captured), captured
    return captured


def events_in(home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["events", "-o", "json"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(("words", "code"), COMMANDS)
def test_what_cannot_be_meant_is_one_line_its_code_and_nothing_lost(
    homes: Homes,
    files: Path,
    words: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = homes.live if words.startswith("! ") else homes.cold
    for name, value in settings(home).items():
        monkeypatch.setenv(name, value)
    before = events_in(home, capsys)
    got = run(shlex.split(words.removeprefix("! ")))
    captured = capsys.readouterr()
    line = said(captured.err)
    assert (got, captured.out) == (code, ""), line
    assert events_in(home, capsys) == before
    assert (find_daemon(home) is not None) == (home == homes.live)


SETTINGS = {
    "a number for an address": b"listen = 7",
    "a price in words": b'tariff = "cheap"',
    "a setting nobody knows": b"tarif = 1",
    "no TOML": b"listen = [",
    "another encoding": 'name = "Fran\xe7ois"'.encode("latin-1"),
    "a list for a table": b"[[listen]]\n[[listen]]\n",
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_wrong_settings_are_one_line_and_start_nothing(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fleet.toml").write_bytes(SETTINGS[kind])
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "400")
    assert run(["up"]) == 2
    line = said(capsys.readouterr().err)
    assert "fleet.toml" in line or "setting" in line
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.toml"]


def test_an_output_that_is_closed_or_full_is_no_bug(homes: Homes) -> None:
    with Path("/dev/full").open("w") as full:
        for words in ("models", "events -o json", "devices", "--help"):
            done = process(homes.cold, *words.split(), capture_output=False, stdout=full, stderr=-1)
            assert "No space left" in said(done.stderr)
            assert done.returncode == 3
    shut = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.quote(sys.executable)} -m mesh models >&-"],
        env={"PATH": os.environ["PATH"], "PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT)}
        | settings(homes.cold),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (shut.returncode, shut.stderr) == (0, "")


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("words", ["", "status", "doctor", "ps -a", "cost", "--help"])
def test_no_line_is_wider_than_the_terminal_it_is_shown_on(
    homes: Homes,
    words: str,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for home in (homes.live, homes.cold):
        for name, value in (settings(home) | {"COLUMNS": str(width)}).items():
            monkeypatch.setenv(name, value)
        assert run(words.split()) == 0
        shown = capsys.readouterr().out
        short = [line.replace(str(home), "HOME") for line in shown.splitlines()]
        assert [line for line in short if wide(line) > width] == []
