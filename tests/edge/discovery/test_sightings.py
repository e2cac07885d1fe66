"""Sightings are hints from strangers: bounded, ordered by how likely they help, never trusted."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.edge.discovery.sightings import (
    LEDGER,
    MAX_SIGHTINGS,
    MDNS,
    REMEMBERED,
    Sighting,
    Sightings,
)
from mesh.state.address import parse_address, show_address

NOW = 1_790_000_000_000


def seen(peer_id: str, host: str, source: str = MDNS) -> Sighting:
    return Sighting(
        source=source,
        peer_id=peer_id,
        name="x",
        address=(host, 7433),
        pairing_port=7434,
        seen_ms=NOW,
    )


def test_what_was_just_seen_is_tried_before_what_was_written_down(tmp_path: Path) -> None:
    book = Sightings(tmp_path)
    book.remember("P", ("10.0.0.9", 7433), NOW)
    assert book.see(seen("P", "10.0.0.1"))
    assert not book.see(seen("P", "10.0.0.1"))
    found = list(book.candidates("P", [("10.0.0.1", 7433), ("10.9.9.9", 7433)]))
    assert found == [
        (("10.0.0.1", 7433), MDNS),
        (("10.0.0.9", 7433), REMEMBERED),
        (("10.9.9.9", 7433), LEDGER),
    ]


def test_addresses_that_worked_and_those_typed_survive_a_restart(tmp_path: Path) -> None:
    book = Sightings(tmp_path)
    book.remember("P", ("fd00::1", 7433), NOW)
    assert book.add_given(("nas.local", 7433))
    assert not book.add_given(("nas.local", 7433))
    again = Sightings(tmp_path, [("10.0.0.2", 1)])
    assert again.last_met_ms("P") == NOW
    assert again.given() == [("10.0.0.2", 1), ("nas.local", 7433)]


def test_a_flood_of_announcements_keeps_the_newest_only(tmp_path: Path) -> None:
    book = Sightings(tmp_path)
    for n in range(2 * MAX_SIGHTINGS):
        book.see(seen(f"P{n}", f"10.0.{n // 256}.{n % 256}"))
    assert len(book.strangers()) == MAX_SIGHTINGS
    assert book.of("P0") == []
    assert book.of(f"P{2 * MAX_SIGHTINGS - 1}")


def test_a_goodbye_takes_a_peer_off_its_source_only(tmp_path: Path) -> None:
    book = Sightings(tmp_path)
    book.see(seen("P", "10.0.0.1"))
    book.see(seen("P", "100.64.0.1", "tailnet"))
    book.lose(MDNS, "P")
    assert [one.source for one in book.of("P")] == ["tailnet"]


def test_a_full_disk_costs_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    book = Sightings(tmp_path)
    with monkeypatch.context() as at_once:
        at_once.setattr("mesh.edge.discovery.sightings.write_private", full)
        book.remember("peer", ("10.0.0.7", 7433), 5)
        assert book.add_given(("10.0.0.8", 7433))
        book.flush()
    assert book.met_at("peer") == [("10.0.0.7", 7433)]
    book.flush()
    assert Sightings(tmp_path).met_at("peer") == [("10.0.0.7", 7433)]
    assert Sightings(tmp_path).given() == [("10.0.0.8", 7433)]


def test_a_damaged_file_is_an_empty_book(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").write_text('{"peers": [], "given": 3}')
    assert Sightings(tmp_path).given() == []


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("nas", ("nas", 7433)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("fd00::1", ("fd00::1", 7433)),
        ("[fd00::1]:81", ("fd00::1", 81)),
        (" [::1] ", ("::1", 7433)),
    ],
)
def test_addresses_as_people_type_them(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, 7433) == address
    assert parse_address(show_address(address), 7433) == address


@pytest.mark.parametrize("text", ["", ":80", "a b", "a:0", "a:65536", "a:x", "http://a", "u@h"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        parse_address(text, 7433)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        host, port = parse_address(text, 7433)
    except ValueError:
        return
    assert host
    assert 0 < port < 65536
