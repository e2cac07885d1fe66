"""`fleet offers` and `fleet plan --cloud` without a daemon: what they say, letter by letter."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mathcore.units import GIB, NUSD
from mesh.cli.app import fleet
from mesh.cli.output import wide
from mesh.edge.store.ledger import Ledger
from tests.cli.fixed_fleet import CLOUD, CPU, device

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
NOW = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000
OWNED = device("rig", price_nusd=1600 * NUSD, lifetime_months=60, watts=450, tariff_nusd_per_kwh=0)
COMMANDS = {
    "offers": ("offers",),
    "offers-24gb": ("offers", "--gpu", "24GB..48GB", "--max-price", "1"),
    "offers-spot": ("offers", "--spot", "--count", "1"),
    "plan-cloud": ("plan", "qwen3-8b", "--cloud", "--max-price", "0.9"),
}


def row(gpu: str, gib: int, cents: int, **changes: object) -> dict[str, object]:
    price = cents * NUSD // 100
    fields = {"gpu": gpu, "gpu_count": 1, "memory_bytes": gib * GIB, "n": 3}
    return {**fields, "min_nusd": price, "median_nusd": price, **changes}


ROWS = [
    row("RTX 4090", 24, 36, region="eu", n=31),
    row("RTX 4090", 24, 41, region="us"),
    row("RTX 4090", 24, 21, region="us", spot=True),
    row("RTX PRO 6000 WS", 96, 89, n=1),
    row("H100 SXM", 80, 412, gpu_count=2, region="ap"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger with a card of one's own, a rented machine, and what an account at Vast.ai saw."""
    found = tmp_path_factory.mktemp("market") / "home"
    found.mkdir()
    ledger = Ledger.open(found)
    try:
        for event_type, device_id, payload in (CPU, OWNED, CLOUD):
            ledger.append(event_type, device_id, payload, NOW - 60 * MINUTE)
        seen = {"provider": "vastai", "account": "main", "refreshed_ms": NOW - 4 * MINUTE}
        said = {**seen, "offers": 39, "rows": ROWS}
        ledger.append("offers_refreshed", ledger.peer_id, said, NOW - 4 * MINUTE)
    finally:
        ledger.close()
    return found


@pytest.fixture(autouse=True)
def _still(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock stands."""
    monkeypatch.chdir(home.parent)
    monkeypatch.setattr(time, "time_ns", lambda: NOW * 1_000_000)


def ran(home: Path, args: Sequence[str], width: int = 80) -> Result:
    env = {"FLEET_HOME": str(home), "COLUMNS": str(width)}
    return CliRunner().invoke(fleet, list(args), env=env, standalone_mode=False)


def found(home: Path, *args: str) -> Any:
    result = ran(home, ["offers", *args, "-o", "json"])
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_looks_as_it_did(
    home: Path, name: str, width: int, *, updates_golden: bool
) -> None:
    text = ran(home, COMMANDS[name], width).stdout
    assert max(map(wide, text.splitlines())) <= width
    path = GOLDEN / f"{name}-{width}.txt"
    if updates_golden:
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path} differs; --update-golden writes it"


def test_a_machine_that_was_never_online_has_typical_prices_and_their_age(tmp_path: Path) -> None:
    result = ran(tmp_path / "none", ["offers", "--gpu", "RTX 4090", "--count", "1"])
    assert result.exception is None
    assert "typical" in result.stdout
    assert "as they typically were on 2026-07-20, 134d old" in " ".join(result.stdout.split())


def test_a_plan_of_such_a_machine_has_them_too(tmp_path: Path) -> None:
    result = ran(tmp_path / "none", ["plan", "qwen3-8b", "--cloud", "-o", "json"])
    placements = json.loads(result.stdout)["placements"]
    assert placements
    assert {one["offer"]["basis"] for one in placements} == {"typical"}
    assert {one["offer"]["age_ms"] for one in placements} == {134 * 24 * 60 * MINUTE}


def test_rows_go_by_price_owned_ones_among_them(home: Path) -> None:
    rows = found(home)["offers"]
    prices = [one["hourly_nusd"] or 0 for one in rows]
    assert prices == sorted(prices)
    assert {one["device"] for one in rows if one["owned"]} == {"rig", "rented-a100"}


def test_each_providers_source_and_age_is_told(home: Path) -> None:
    sources = {one["provider"]: (one["source"], one["age_ms"]) for one in found(home)["sources"]}
    assert sources["vastai"] == ("ledger", 4 * MINUTE)
    assert sources["runpod"][0] == "typical"


@pytest.mark.parametrize(
    ("args", "gpus"),
    [
        (("--gpu", "24GB"), {"RTX 4090"}),
        (("--gpu", "RTX 4090", "--spot"), {"RTX 4090"}),
        (("--gpu", "90GB..100GB", "--provider", "vastai"), {"RTX PRO 6000 WS"}),
        (("--gpu", "2x H100", "--provider", "vastai"), {"H100 SXM"}),
        (("--gpu", "..30GB", "--provider", "vastai"), {"RTX 4090"}),
        (("--provider", "vastai", "--max-price", "0.25"), {"RTX 4090"}),
    ],
)
def test_filters_leave_what_was_asked_for(
    home: Path, args: tuple[str, ...], gpus: set[str]
) -> None:
    assert {one["gpu"] for one in found(home, *args)["offers"]} == gpus


def test_only_spot_machines_have_none_of_ones_own_among_them(home: Path) -> None:
    assert {(one["owned"], one["spot"]) for one in found(home, "--spot")["offers"]} == {
        (False, True)
    }
    assert not any(one["spot"] for one in found(home, "--no-spot")["offers"])


def test_what_is_beyond_the_limit_is_counted(home: Path) -> None:
    few = found(home, "--provider", "vastai", "--limit", "2")
    assert (len(few["offers"]), few["more"]) == (2, 3)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--gpu", "48GB..24GB"), "begins above its end"),
        (("--gpu", "24..48"), "no unit"),
        (("--gpu", ""), "no size and no name"),
        (("--count", "0"), "count"),
        (("--max-price", "cheap"), "max_price"),
        (("--limit", "99999999"), "limit"),
    ],
)
def test_a_wrong_filter_is_named(home: Path, args: tuple[str, ...], says: str) -> None:
    result = ran(home, ["offers", *args])
    assert result.exception is not None
    assert says in str(getattr(result.exception, "text", result.exception))
