"""What `fleet keys`, `fleet usage` and `fleet cost --by key` ask for and say."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mathcore.units import NUSD
from mesh.cli.app import fleet, run
from mesh.cli.output import wide
from mesh.cli.serving import keys
from mesh.edge.store.ledger import Ledger
from tests.cli.fixed_fleet import DAY, NOW, events
from tests.cli.test_golden_tables import compare

CI, PHONE, OLD = (f"k-qz4m2paxk7-0000000{n}" for n in range(3))
COMMANDS = {
    "keys": ("keys", "list"),
    "usage": ("usage",),
    "usage-model": ("usage", "--by", "model"),
    "usage-device": ("usage", "--by", "device"),
    "usage-day": ("usage", "--by", "day", "--since", "7d"),
    "cost-key": ("cost", "--by", "key"),
}


def key(key_id: str, name: str, **given: object) -> dict[str, object]:
    return {"key_id": key_id, "name": name, "hash": "0" * 64, **given}


def row(key_id: str, model: str, **given: object) -> dict[str, object]:
    fields = {"key_id": key_id, "model": model, "device_id": "dev-rig", "job_id": "job-0003"}
    return {**fields, "energy_basis": "measured", **given}


def serving() -> list[tuple[int, str, dict[str, object]]]:
    """Keys, and what was used of them in two days."""
    busy = {"requests": 1204, "errors": 3, "cut": 12, "prompt_tokens": 4_100_000}
    busy |= {"cached_tokens": 3_200_000, "generated_tokens": 512_345, "energy_mj": 900_000_000}
    few = {"requests": 7, "prompt_tokens": 950, "generated_tokens": 3210, "energy_mj": 8_000_000}
    limits = {"models": ["qwen3-30b-a3b", "llama3.2:1b"], "rate_per_min": 60}
    return [
        (NOW - 2 * DAY, "key_added", key(CI, "ci", **limits, budget_nusd=NUSD, budget_per="day")),
        (NOW - 2 * DAY, "key_added", key(PHONE, "phone")),
        (NOW - 2 * DAY, "key_added", key(OLD, "old-laptop", budget_nusd=9 * NUSD)),
        (NOW - DAY, "key_revoked", {"key_id": OLD}),
        (NOW - DAY, "usage_summarised", {"begun_ms": NOW - DAY, "span_ms": 60_000, "rows": [
            row(CI, "qwen3-30b-a3b", **busy, cost_nusd=61_000),
            row("", "llama3.2:1b", **few, cost_nusd=900),
        ]}),
        (NOW - 5000, "usage_summarised", {"begun_ms": NOW - 65_000, "span_ms": 60_000, "rows": [
            row(PHONE, "llama3.2:1b", **few | {"energy_basis": "estimated"}, cost_nusd=1_200),
            row(CI, "qwen3-30b-a3b", requests=1, generated_tokens=9, cost_nusd=50),
        ]}),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixed fleet's ledger, and after it what was asked with keys."""
    found = tmp_path_factory.mktemp("fleet") / "home"
    found.mkdir()
    (found / "identity.key").write_bytes(bytes([7]) * 32)
    (found / "identity.key").chmod(0o600)
    with Ledger.open(found) as ledger:
        for at, event_type, device_id, payload in events():
            ledger.append(event_type, device_id or ledger.peer_id, payload, at)
        for at, event_type, payload in serving():
            ledger.append(event_type, ledger.peer_id, payload, at)
    return found


@pytest.fixture(autouse=True)
def _still(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("FLEET_HOME", home.name)
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)


class Daemon:
    """Answers every post with what it was given."""

    def __init__(self, said: Mapping[str, object]) -> None:
        self.said, self.asked = dict(said), list[tuple[str, dict[str, object]]]()

    def post(self, path: str, body: Mapping[str, object]) -> dict[str, object]:
        self.asked.append((path, dict(body)))
        return self.said


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    found = Daemon({"key_id": CI, "name": "ci", "secret": "fl-" + "5" * 64})
    monkeypatch.setattr(keys, "need_daemon", lambda _: found)
    return found


def ask(*args: str, width: int = 80, typed: str | None = None) -> Result:
    env = {"COLUMNS": str(width)}
    return CliRunner().invoke(fleet, [*args], input=typed, env=env, catch_exceptions=False)


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_it_looks_as_it_did(name: str, width: int, *, updates_golden: bool) -> None:
    text = ask(*COMMANDS[name], width=width).stdout
    assert max(map(wide, text.splitlines())) <= width
    compare(f"{name}-{width}", text, update=updates_golden)


def test_every_read_is_one_json_document_without_a_hash() -> None:
    for args in COMMANDS.values():
        text = ask(*args, "-o", "json").stdout
        assert json.loads(text)
        assert "0" * 64 not in text


def test_the_bill_by_key_adds_up_to_the_bill_by_day() -> None:
    by_key, by_day = (json.loads(ask("cost", "--by", by, "-o", "json").stdout)
                      for by in ("key", "day"))  # fmt: skip
    assert by_key["total_cost_nusd"] == by_day["total_cost_nusd"]
    parts = [one["total_cost_nusd"] or 0 for one in by_key["groups"]]
    assert sum(parts) == (by_key["total_cost_nusd"] or 0)


def test_a_new_key_shows_its_secret_once_on_a_line_of_its_own(daemon: Daemon) -> None:
    limits = ("--models", "a, b", "--rate", "60/min", "--budget", "$5/day")
    done = ask("keys", "add", "ci", *limits, width=60)
    assert done.stdout.splitlines() == [f"ci ({CI})", "fl-" + "5" * 64]
    assert "shown this once" in done.stderr
    wanted = {"name": "ci", "models": ["a", "b"], "rate_per_min": 60, "budget": "$5/day"}
    assert daemon.asked == [("/v1/keys", wanted)]


def test_a_key_without_limits_asks_for_none(daemon: Daemon) -> None:
    assert json.loads(ask("keys", "add", "ci", "-o", "json").stdout)["key_id"] == CI
    assert daemon.asked == [("/v1/keys", {"name": "ci"})]


def test_a_key_is_revoked_after_a_yes(daemon: Daemon) -> None:
    assert ask("keys", "revoke", "c/i", typed="n\n").exit_code != 0
    assert daemon.asked == []
    done = ask("keys", "revoke", "c/i", "-y")
    assert "opens nothing any more" in done.stdout
    assert daemon.asked == [("/v1/keys/c%2Fi/revoke", {})]


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("keys", "add", "ci", "--rate", "fast"), "60/min"),
        (("keys", "add", "ci", "--budget", "$5/week"), "$5/day"),
        (("keys", "add", "ci", "--models", "a,,b"), "--models"),
        (("keys", "add"), "NAME"),
        (("keys", "revoke"), "NAME|ID"),
        (("usage", "--since", "long ago"), "--since 7d"),
        (("usage", "--by", "colour"), "colour"),
        (("cost", "--by", "colour"), "colour"),
    ],
)
def test_a_wrong_word_is_one_line_that_says_what_would_be_right(
    args: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*args]) == 2
    text = capsys.readouterr().err
    assert text.startswith("fleet: ")
    assert text.count("\n") == 1
    assert word in text
    assert "try: " in text


def test_without_a_daemon_no_key_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "add", "ci"]) == 105
    assert "no daemon is running. try: fleet up --detach" in capsys.readouterr().err


def test_a_ledger_without_keys_says_how_to_make_one(tmp_path: Path, monkeypatch: Any) -> None:
    with Ledger.open(tmp_path / "new"):
        pass
    monkeypatch.setenv("FLEET_HOME", str(tmp_path / "new"))
    assert "fleet keys add NAME" in ask("keys").stdout
    assert "no request was answered" in ask("usage").stdout
