"""The fleet as Prometheus reads it: names of strangers, unknown values, too many of them."""

from mesh.api.metrics.devices import device_families
from mesh.api.metrics.fleet import job_families, peer_families, served_families
from mesh.api.metrics.money import (
    budget_families,
    cost_families,
    price_families,
    rental_families,
)
from mesh.api.metrics.text import MAX_LABEL, exposition, gauge, label
from mesh.api.telemetry import DeviceNow, FleetNow, PeerRow
from mesh.state.state import State

CARD = DeviceNow(
    device_id="dev-1",
    name="card",
    memory_bytes=1000,
    free_bytes=400,
    power_mw=1500,
    age_ms=250,
)


def fleet(state: str, device: DeviceNow = CARD) -> str:
    row = PeerRow(peer_id="P", name="ana", you=False, state=state, devices=(device,))
    return exposition(device_families(FleetNow(at_ms=1, peers=(row,))))


def samples(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


def test_a_device_shows_what_is_known_of_it_and_nothing_else() -> None:
    of = '{peer="ana",device="card",device_id="dev-1"}'
    assert samples(fleet("live")) == {
        f"fleet_device_up{of}": "1",
        f"fleet_device_health_ok{of}": "1",
        f"fleet_device_mem_total_bytes{of}": "1000",
        f"fleet_device_mem_free_bytes{of}": "400",
        f"fleet_device_mem_used_bytes{of}": "600",
        f"fleet_device_power_watts{of}": "1.5",
        f"fleet_device_reading_age_seconds{of}": "0.25",
        "fleet_metrics_left_out": "0",
    }


def test_of_a_peer_that_is_silent_no_old_reading_is_told_as_new() -> None:
    found = samples(fleet("silent"))
    assert [name.partition("{")[0] for name in found] == [
        "fleet_device_up",
        "fleet_device_mem_total_bytes",
        "fleet_metrics_left_out",
    ]
    assert [*found.values()] == ["0", "1000", "0"]


def test_a_device_whose_driver_does_not_answer_is_neither_up_nor_well() -> None:
    lost = DeviceNow(device_id="dev-1", name="card", health="unresponsive")
    values = [
        v for name, v in samples(fleet("live", lost)).items() if "_up" in name or "_ok" in name
    ]
    assert values == ["0", "0"]


def test_a_name_out_of_the_ledger_ends_neither_its_quotes_nor_its_line() -> None:
    assert label('a"} 1\nfleet_device_up{x="\\') == 'a\\"} 1\\nfleet_device_up{x=\\"\\\\'
    assert len(label("x" * 10_000)) == MAX_LABEL
    assert label("\ud800") == "?"


def test_no_ledger_makes_more_series_than_the_limit_and_what_is_left_out_is_told() -> None:
    many = gauge("many", "Many.", (({"n": str(n)}, n) for n in range(10)))
    found = samples(exposition([many, gauge("last", "Last.", [({}, 1)])], most=4))
    assert [*found] == ['many{n="0"}', 'many{n="1"}', 'many{n="2"}', 'many{n="3"}', LEFT]
    assert found[LEFT] == "7"


LEFT = "fleet_metrics_left_out"


def test_two_things_with_the_same_labels_are_told_once() -> None:
    twice = gauge("twice", "Twice.", [({"n": "a"}, 1), ({"n": "a"}, 2)])
    assert samples(exposition([twice])) == {'twice{n="a"}': "1", LEFT: "0"}


def test_every_metric_has_its_help_and_its_type_before_its_samples() -> None:
    text = exposition([gauge("one", "A line\nand a \\.", [({}, 1)])])
    assert text.startswith("# HELP one A line\\nand a \\\\.\n# TYPE one gauge\none 1\n")
    assert text.endswith("\n")


def test_a_fleet_without_jobs_has_none_of_each_status() -> None:
    found = samples(exposition([*job_families(State()), *served_families(State())]))
    assert found.pop("fleet_jobs_waiting") == "0"
    assert set(found.values()) == {"0"}
    assert len(found) == 9 + 1


def test_a_cost_nobody_knows_has_no_sample_and_says_how_much_time_is_unpriced() -> None:
    row = {"device_id": "d", "cost_nusd": 2_500_000_000, "idle_nusd": None, "unknown_ms": 3_000}
    found = samples(exposition(cost_families({"groups": [{"devices": [row]}]}, State())))
    of = '{device="d",device_id="d"}'
    assert found == {
        f"fleet_job_cost_usd_total{of}": "2.5",
        f"fleet_cost_unpriced_seconds_total{of}": "3.0",
        LEFT: "0",
    }


def test_rentals_of_one_provider_add_up() -> None:
    rows = [{"provider": "vastai", "rate_nusd": 500_000_000}] * 2
    found = samples(exposition(rental_families(rows)))
    assert found['fleet_rentals_open{provider="vastai"}'] == "2"
    assert found['fleet_rentals_usd_per_hour{provider="vastai"}'] == "1.0"


def test_a_budget_whose_period_is_unknown_has_no_amounts() -> None:
    row = {"name": "fleet", "owner": "ana", "cap_nusd": 5 * 10**9, "held_nusd": 0}
    told = samples(exposition(budget_families([{**row, "spent_nusd": 10**9}])))
    of = '{budget="fleet",owner="ana"}'
    assert [told[f"fleet_budget_{what}_usd{of}"] for what in ("cap", "held", "spent")] == [
        "5.0", "0.0", "1.0",
    ]  # fmt: skip
    unknown = {**row, "cap_nusd": None, "held_nusd": None, "spent_nusd": None}
    assert samples(exposition(budget_families([unknown]))) == {LEFT: "0"}


def test_peers_are_the_others_that_still_belong() -> None:
    row = {"peer_id": "P", "name": "ben", "you": False, "last_seen_ms": 0, "sync": None}
    rows = [
        {**row, "state": "offline"},
        {**row, "name": "me", "you": True, "state": "online"},
        {**row, "name": "gone", "state": "removed"},
    ]
    found = samples(exposition(peer_families(rows)))
    assert found == {'fleet_peer_linked{peer="ben",peer_id="P"}': "0", LEFT: "0"}


def test_without_prices_no_age_is_made_up() -> None:
    assert samples(exposition(price_families([], 5))) == {LEFT: "0"}
