"""Hardware asked about for one question: hosts of several cards, their RAM, their rent."""

import pytest

from mathcore.units import GIB
from mesh.api.errors import RequestError
from mesh.api.requests import parse_plan
from mesh.api.what_ifs import parse_fleet, parse_what_if, parse_what_ifs


def only(text: str, **beside: str) -> dict[str, object]:
    (found,) = parse_what_ifs([text], **beside).values()
    return found


@pytest.mark.parametrize(
    "text",
    ["RTX 4090 + CPU 128GB", "RTX 4090 + 128GB RAM", "RTX 4090 + 128GB", "RTX 4090 128GB RAM"],
)
def test_a_processor_beside_a_card_is_its_host_not_a_second_card(text: str) -> None:
    found = only(text)
    assert (found["model"], found["memory_bytes"]) == ("RTX 4090", 24 * GIB)
    assert (found["ram_bytes"], found["ram_free_bytes"]) == (128 * GIB, 128 * GIB)
    assert "ram_bandwidth_bytes_per_s" not in found


def test_a_named_processor_s_ram_is_as_fast_as_programs_reach_it() -> None:
    found = only("RTX 4090 + EPYC 9654 768GB")
    assert found["ram_bandwidth_bytes_per_s"] == 359_424_000_000  # 0.78 x 460.8e9


def test_the_ram_of_a_host_is_that_of_all_its_cards() -> None:
    found = list(parse_what_ifs(["RTX 4090 + 2x RTX 3090 + CPU 64GB", "RTX 3090"]).values())
    assert [one["count"] for one in found] == [1, 2, 1]
    assert [one.get("ram_bytes", 0) for one in found] == [64 * GIB, 64 * GIB, 0]
    assert [one.get("host") for one in found] == ["what-if-1", "what-if-1", ""]


def test_ram_and_rate_hold_for_every_host_that_says_nothing_of_its_own() -> None:
    found = parse_what_ifs(["RTX 4090", "RTX 3090 + CPU 32GB"], ram="128GB", rate="0.45/h")
    assert [one["ram_bytes"] for one in found.values()] == [128 * GIB, 32 * GIB]
    assert {one["hourly_nusd"] for one in found.values()} == {450_000_000}
    listed = parse_fleet(
        [
            {"name": "a", "gpu": "RTX 4090", "ram": "64GB"},
            {"name": "b", "gpu": "L4", "price": 2500},
        ],
        ram="128GB",
        rate="1/h",
    )
    assert [one["ram_bytes"] for one in listed.values()] == [64 * GIB, 128 * GIB]
    assert [one.get("hourly_nusd", 0) for one in listed.values()] == [10**9, 0]


def test_two_processors_and_several_cards_at_one_rate_are_refused() -> None:
    with pytest.raises(RequestError, match="one processor"):
        parse_what_ifs(["RTX 4090 + CPU 64GB + EPYC 9654 768GB"])
    with pytest.raises(RequestError, match="several kinds of cards"):
        parse_what_ifs(["RTX 4090 + RTX 3090"], rate="1/h")
    with pytest.raises(RequestError, match="how much RAM"):
        parse_what_ifs(["RTX 4090 + EPYC 9654"])


def test_a_processor_alone_is_the_device() -> None:
    found = only("EPYC 9654 384GB")
    assert (found["kind"], found["memory_bytes"], found["described_by"]) == (
        "cpu",
        384 * GIB,
        "what-if",
    )


def test_a_label_never_claims_what_the_device_is_not() -> None:
    found = only("A100 40GB")
    assert (found["name"], found["memory_bytes"]) == ("A100 40GB", 40 * GIB)


def test_what_a_person_should_know_goes_with_the_device() -> None:
    assert "notes" not in only("RTX 4090")
    assert only("RTX 4090 48GB")["notes"] == [
        "48.0 GiB is not a size the RTX 4090 is sold with (24 GiB)"
    ]
    (listed,) = parse_fleet([{"name": "mac", "gpu": "M3 Ultra 96GB"}]).values()
    assert "72.0 GiB to 78.7 GiB of 96.0 GiB" in str(listed["notes"])


def test_ram_beside_a_chip_that_shares_its_own_is_said_not_to_count() -> None:
    *_, note = only("Strix Halo 128GB", ram="64GB")["notes"]  # type: ignore[misc]
    assert "64GB more are not counted" in note
    assert "notes" not in only("EPYC 9654", ram="768GB")


def test_a_card_count_beyond_any_host_is_refused_wherever_it_stands() -> None:
    for text in ("RTX 4090 x1000", "1000x RTX 4090"):
        with pytest.raises(RequestError, match="1000 cards"):
            parse_what_if(text)


@pytest.mark.parametrize("field", ["ram", "rate"])
def test_ram_and_rate_without_described_hardware_are_refused(field: str) -> None:
    value = {"ram": "128GB", "rate": "0.45/h"}[field]
    with pytest.raises(RequestError, match=field):
        parse_plan({"model": "m", field: value})
    assert getattr(parse_plan({"model": "m", field: value, "what_if": ["L4"]}), field) == value
