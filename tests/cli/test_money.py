"""`fleet cost` and `fleet rates`: what is asked, said and drawn; each error is one line."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mathcore.units import NUSD
from mesh.cli.app import fleet, run
from mesh.cli.money import cost, plot, rates
from mesh.cli.output import wide
from tests.cli.fixed_fleet import NOW, write_ledger


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("fleet") / "home"
    write_ledger(found)
    return found


@pytest.fixture(autouse=True)
def _still(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_HOME", str(home))
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)


class Daemon:
    """Answers what it is told, and notes what it was asked."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        self.said, self.asked = said, list[Any]()

    def get(self, path: str) -> Any:
        self.asked.append(path)
        return self.said

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        self.asked.append((path, dict(body)))
        return {"seq": 7}


def ask(*args: str, width: int = 80) -> Result:
    env = {"COLUMNS": str(width)}
    return CliRunner().invoke(fleet, [*args], env=env, catch_exceptions=False)


def test_a_year_in_another_zone_adds_up_to_the_same() -> None:
    sums = {
        json.loads(ask("cost", "--by", by, "--tz", tz, "-o", "json").stdout)["total_nusd"]
        for by in ("day", "month", "device", "job", "kind", "user")
        for tz in ("UTC", "Asia/Kathmandu")
    }
    assert len(sums) == 1


def test_a_day_alone_is_a_part_of_its_month() -> None:
    day = json.loads(
        ask("cost", "--since", "2025-06-14", "--until", "2025-06-14", "-o", "json").stdout
    )
    assert [one["period"] for one in day["groups"]] == ["2025-06-14"]
    whole = json.loads(ask("cost", "-o", "json").stdout)
    same = next(one for one in whole["groups"] if one["period"] == "2025-06-14")
    assert same["total_nusd"] == day["total_nusd"] == 216 * NUSD


def test_the_books_get_every_column_and_are_told_what_is_left_out() -> None:
    done = ask("cost", "-o", "focus")
    head, *rows = done.stdout.splitlines()
    assert head.startswith("BillingAccountId,")
    assert rows
    assert "nobody knows the price" in done.stderr


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_what_is_said_below_the_bill_fits_the_terminal(width: int) -> None:
    said = ask("cost", width=width).stderr.splitlines()
    assert " ".join(line.strip() for line in said) == cost.NOTE
    assert max(map(wide, said)) <= width


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_picture_fits_and_its_bars_are_as_long_as_its_sums(width: int) -> None:
    text = ask("cost", "--plot", width=width).stdout.split("\n\n")[-1]
    assert max(map(wide, text.splitlines())) <= max(width, plot.NARROWEST)
    assert text.count("▒") > 3
    report = {"by": "device", "groups": [
        {"device": name, "total_cost_nusd": used, "idle_nusd": used, "unknown_nusd": None,
         "total_nusd": 2 * used, "unknown_ms": 0} for name, used in (("a", 4 * NUSD), ("b", NUSD))
    ]}  # fmt: skip
    first, second, _ = plot.picture(report).splitlines()
    long, short = (line.count("█") + line.count("▒") for line in (first, second))
    assert abs(first.count("█") - first.count("▒")) <= 1
    assert abs(long - 4 * short) <= 2  # half a sign each


def test_without_a_price_there_is_no_picture_and_it_says_so() -> None:
    groups = [{"kind": "used", "total_cost_nusd": None, "idle_nusd": 0, "unknown_nusd": None,
               "total_nusd": None, "unknown_ms": 5}]  # fmt: skip
    assert plot.picture({"by": "kind", "groups": groups}) == "nothing of it has a known price"


@pytest.mark.parametrize(
    ("nusd", "partly", "text"),
    [(None, False, "unknown"), (None, True, "unknown"), (0, False, "$0.0000"),
     (1_200_000_000, True, "$1.20+")],
)  # fmt: skip
def test_unknown_is_never_shown_as_nothing(nusd: int | None, partly: bool, text: str) -> None:  # noqa: FBT001
    assert cost.dollars(nusd, partly=partly) == text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--tz", "Mars/Olympus"), "no time zone 'Mars/Olympus'"),
        (("--since", "yesterday"), "'yesterday' is no day and no month"),
        (("--since", "2026-05", "--until", "2026-04"), "is after until"),
        (("--by", "colour"), "colour"),
        (("-o", "pdf"), "pdf"),
        (("--csv", "-o", "json"), "two formats"),
    ],
)
def test_a_wrong_word_is_one_line(
    args: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["cost", *args]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_damaged_file_of_bills_is_made_anew(home: Path) -> None:
    before = ask("cost", "-o", "csv").stdout
    (home / "bills.db").write_bytes(b"no database" * 1000)
    assert ask("cost", "-o", "csv").stdout == before


@pytest.mark.parametrize(
    ("args", "path", "body"),
    [
        (("set", "rig", "--price", "1600", "--from", "2026-01"), "rate",
         {"device": "rig", "price": "1600", "from": "2026-01"}),
        (("tariff", "home", "0.3", "--zone", "UTC"), "tariff",
         {"name": "home", "bands": ["0.3"], "zone": "UTC"}),
        (("currency", "EUR", "1.08"), "currency", {"currency": "EUR", "usd": "1.08"}),
        (("charge", "rig", "2026-10", "-5"), "charge",
         {"device": "rig", "period": "2026-10", "usd": "-5"}),
        (("undo", "4"), "undo", {"seq": "4"}),
    ],
)  # fmt: skip
def test_what_is_said_goes_to_the_daemon_as_typed(
    args: tuple[str, ...], path: str, body: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon({})
    monkeypatch.setattr(rates, "need_daemon", lambda _: daemon)
    done = ask("rates", *args)
    assert done.exit_code == 0, done.output
    assert daemon.asked == [(f"/v1/rates/{path}", body)]
    assert done.stdout.startswith("said in event 7: ")
