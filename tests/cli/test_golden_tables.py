"""Every command's table at 60, 80 and 120 columns, kept as text and compared letter by letter."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from mesh.cli import client
from mesh.cli.app import fleet
from mesh.cli.jobs import jobs
from mesh.cli.machines import doctor, peers, status, top
from mesh.cli.money import cost
from mesh.cli.output import wide
from mesh.cli.planning import models_where
from mesh.cli.planning.capacity_view import columns
from mesh.cli.planning.plan_view import show_plan
from mesh.cli.planning.sweep_view import show_grids
from mesh.cli.table import emit
from tests.cli.fixed_answers import BATCHES, CAPACITIES, GRIDS, LENGTHS, NOWHERE, ONLY, PLAN
from tests.cli.fixed_fleet import NOW, FixedDaemon, write_ledger

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"
WIDTHS = (60, 80, 120)
COMMANDS = {
    "status": ("status",),
    "devices": ("devices",),
    "ps": ("ps", "-a"),
    "accuracy": ("accuracy",),
    "accuracy-jobs": ("accuracy", "--jobs"),
    "events": ("events",),
    "cost": ("cost",),
    "cost-device": ("cost", "--by", "device"),
    "peers": ("peers",),
    "models": ("models", "llama-3"),
    "models-where": ("models", "--where"),
    "doctor": ("doctor",),
    "top": ("top", "--once"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("fleet") / "home"
    write_ledger(found)
    return found


@pytest.fixture(autouse=True)
def _still(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands, and a daemon answers that no network can change."""
    monkeypatch.chdir(home.parent)
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)
    for module in (client, status, peers, doctor, models_where, jobs):
        monkeypatch.setattr(module, "find_daemon", lambda _: FixedDaemon())
    monkeypatch.setattr(top, "need_daemon", lambda _: FixedDaemon())
    monkeypatch.setattr(cost, "find_daemon", lambda _: None)  # bills are the ledger's own
    monkeypatch.setattr(doctor, "_check_compiled", lambda: ("mathcore", "compiled", ""))
    monkeypatch.setattr(doctor, "_check_engine", lambda: ("llama.cpp", "xllamacpp found", ""))


def said(home: Path, args: Sequence[str], width: int) -> str:
    env = {"FLEET_HOME": home.name, "COLUMNS": str(width)}  # a path that is the same everywhere
    return CliRunner().invoke(fleet, list(args), env=env, catch_exceptions=False).stdout


def compare(name: str, text: str, *, update: bool) -> None:
    """`text` is what the golden file holds; with `update` it becomes that."""
    path = GOLDEN / f"{name}.txt"
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path} differs; --update-golden writes it"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_looks_as_it_did(
    home: Path, name: str, width: int, *, updates_golden: bool
) -> None:
    text = said(home, COMMANDS[name], width)
    assert max(map(wide, text.splitlines())) <= width
    compare(f"{name}-{width}", text, update=updates_golden)


TYPED = "fleet plan llama3:70b"
VIEWS: dict[str, Callable[[], None]] = {
    "plan": lambda: show_plan(PLAN, explain=False, command=lambda _: TYPED),
    "plan-explain": lambda: show_plan(PLAN, explain=True, command=lambda _: TYPED),
    "plan-nowhere": lambda: show_plan(NOWHERE, explain=False, command=lambda _: TYPED),
    "plan-on": lambda: show_plan(ONLY, explain=False, command=lambda _: TYPED),
    "capacity": lambda: emit(columns(CAPACITIES, 1, 4096), CAPACITIES),
    "sweep": lambda: show_grids(GRIDS, BATCHES, LENGTHS),
}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", sorted(VIEWS))
def test_an_answer_of_the_planner_looks_as_it_did(
    name: str,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    updates_golden: bool,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    VIEWS[name]()
    text = capsys.readouterr().out
    assert max(map(wide, text.splitlines())) <= width
    compare(f"{name}-{width}", text, update=updates_golden)
