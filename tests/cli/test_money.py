"""`fleet cost` and `fleet rates`: what is asked, said and drawn; each error is one line."""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.api.bills.tables import LEFT_OUT
from mesh.cli.app import fleet, run
from mesh.cli.money import cost, plot, rates
from mesh.cli.output import wide
from mesh.edge.bills.kept import recent_ms
from mesh.edge.bills.schema import open_bills
from mesh.edge.store.ledger import Ledger
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

    def get_text(self, path: str) -> tuple[str, Mapping[str, str]]:
        self.asked.append(path)
        return "BilledCost\n1\n", {LEFT_OUT: "5400000"}

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


def test_the_books_are_the_daemons_where_one_is_up_for_it_knows_how_long_it_watched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    daemon = Daemon({})
    monkeypatch.setattr(cost, "find_daemon", lambda _: daemon)
    done = ask("cost", "-o", "focus", "--since", "2025-06", "--tz", "Asia/Kathmandu")
    assert done.stdout == "BilledCost\n1\n"
    assert "left out: 1.5 device-hours" in done.stderr
    assert daemon.asked == ["/v1/cost/focus?since=2025-06&tz=Asia%2FKathmandu"]


def totals(*groupings: str) -> set[int]:
    return {
        json.loads(ask("cost", "--by", by, "-o", "json").stdout)["total_nusd"] for by in groupings
    }


@pytest.fixture
def rented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a machine that costs a dollar an hour, since an hour."""
    with closing(Ledger.open(tmp_path)) as ledger:
        paid = {"hourly_nusd": NUSD, "name": "rented", "kind": "gpu"}
        ledger.append("device_registered", "d", paid, NOW - HOUR_MS)
    monkeypatch.setenv("FLEET_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("rented")
def test_without_a_daemon_sums_go_on_and_every_grouping_has_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = ("month", "job", "device", "day", "job", "owner")
    for passed, counted in ((0, 0), (45_000, 0), (61_000, 61_000), (106_000, 61_000)):
        monkeypatch.setattr(time, "time_ns", lambda at=NOW + passed: at * 1_000_000)
        assert totals(*every) == {NUSD * (HOUR_MS + counted) // HOUR_MS}
    monkeypatch.setattr(time, "time_ns", lambda: (NOW + 3 * DAY_MS) * 1_000_000)
    assert totals(*every) == {73 * NUSD}
    days = json.loads(ask("cost", "-o", "json").stdout)
    assert (len(days["groups"]), days["now_ms"]) == (4, NOW + 3 * DAY_MS)


def test_sums_that_a_daemon_kept_as_it_watched_are_not_kept_ones_without_it(rented: Path) -> None:
    assert totals("month") == {NUSD}
    assert recent_ms(rented, NOW + 1) == NOW
    with closing(open_bills(rented)) as db:
        db.execute("UPDATE meta SET value = 'a 5' WHERE name = 'watch'")
    assert recent_ms(rented, NOW + 1) is None


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


@pytest.mark.parametrize("width", [40, 80, 200])
def test_what_is_missing_is_shown_whole_and_how_many_there_are(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = ["tariff nosuch is not said", "no rate of DKK on 2026-01-15"]
    row = {"name": "rig", "count": 4, "price_nusd": 1600 * NUSD, "currency": "DKK", "months": 60,
           "watts_mw": 300_000, "idle_mw": None, "tariff": "nosuch", "hourly_nusd": None,
           "missing": why}  # fmt: skip
    monkeypatch.setattr(rates, "need_daemon", lambda _: Daemon({"devices": [row], "said": []}))
    shown = ask("rates", "show", width=width).stdout
    assert "4 × 1600 DKK" in shown
    assert max(map(wide, shown.splitlines())) <= width
    words = " ".join(shown.split())
    assert all(word in words for one in why for word in one.split())
