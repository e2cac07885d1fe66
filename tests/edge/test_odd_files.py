"""The files beside a ledger, and JSON from others, may hold anything: a value, or one plain no."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.edge.discovery.sightings import ADDRESS_FILE, Sightings
from mesh.edge.disk import StoreError, parse_json, whole_number
from mesh.edge.identity import FLEET_FILE, Fleet, fleet_of, join_fleet, load_or_create
from mesh.edge.jobs.private import words_of
from mesh.edge.pairing import acquainted
from mesh.edge.pairing.book import BOOK_FILE, PairingBook
from mesh.edge.pairing.client import Unreachable, _said
from mesh.edge.signing.highwater import FILE as MARK_FILE
from mesh.edge.signing.highwater import HighWater
from mesh.edge.store.care import marks

DEEP = "[" * 100_000
NUMBERS = ("1e999", "-1e999", "NaN", "Infinity", "9" * 400, "true", '"7"', "2.5", "-1", "null")
TEXTS = [DEEP, '{"a":' * 50_000, "", "{", "[]", "null", "5", '"text"', "\0", "9" * 5000, "{}"]
ME = "ab" * 32


def said_of(number: str) -> dict[str, str]:
    """Each file with a number in it, where that is something else."""
    key, tls = ME, "cd" * 64
    return {
        MARK_FILE: f'{{"author":"{ME}","seq":{number},"hash":"{key}"}}',
        ADDRESS_FILE: f'{{"given":[["host",{number}]],"peers":{{"p":[["host",7,{number}]]}}}}',
        acquainted.FILE: f'{{"{key}":{number},"{tls}":"{key}"}}',
        marks.FILE: f'{{"sig":"{tls}","marks":[["{key}",{number},"{tls}"]]}}',
        BOOK_FILE: f'{{"invites":{{"x":{{"secret":"00","uses":{number}}}}}}}',
        "jobs/j/1/result.json": f'{{"exit":{number}}}',
    }


READERS: dict[str, Callable[[Path], object]] = {
    MARK_FILE: lambda home: HighWater(home).read(ME),
    ADDRESS_FILE: lambda home: [*Sightings(home).given(), *Sightings(home).met_at("p")],
    acquainted.FILE: acquainted.kept,
    marks.FILE: lambda home: marks.load(home, load_or_create(home)),
    BOOK_FILE: lambda home: PairingBook(home).open_invites(0),
    "jobs/j/1/result.json": lambda home: words_of(home, "j"),
}


@pytest.mark.parametrize("name", READERS)
def test_an_odd_file_beside_the_ledger_says_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for text in [*TEXTS, *(said_of(number)[name] for number in NUMBERS)]:
        path.write_text(text)
        assert not READERS[name](tmp_path), text[:80]
    path.write_bytes(b"\xff\xfe\0{")
    assert not READERS[name](tmp_path)


def test_a_mark_names_an_event_by_number_and_hash(tmp_path: Path) -> None:
    for odd in ("zz" * 32, None, 5, ["ab"]):
        (tmp_path / MARK_FILE).write_text(json.dumps({"author": ME, "seq": 3, "hash": odd}))
        assert HighWater(tmp_path).read(ME) is None


@pytest.mark.parametrize("text", [*TEXTS, '{"root": 5}', f'{{"root": "{"z" * 64}"}}', f'["{ME}"]'])
def test_a_damaged_fleet_file_makes_nobody_alone(tmp_path: Path, text: str) -> None:
    assert fleet_of(tmp_path) is None
    join_fleet(tmp_path, Fleet(root=ME))
    assert fleet_of(tmp_path) == Fleet(root=ME)
    (tmp_path / FLEET_FILE).write_text(text)
    with pytest.raises(StoreError, match="names no fleet.*put it back") as error:
        fleet_of(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [*TEXTS, *NUMBERS])
def test_whatever_answers_in_a_hosts_place_is_a_plain_no(text: str) -> None:
    for raw in (text.encode(), f'{{"code":{text or 0},"text":7}}'.encode()):
        with pytest.raises(Unreachable):
            _said(500, raw)


def test_json_is_what_the_standard_calls_so() -> None:
    assert parse_json('{"a":[1,2.5,null]}') == {"a": [1, 2.5, None]}
    assert whole_number(7) == 7
    for odd in (True, 2.0, -1, 2**53, "7", None):
        with pytest.raises(ValueError, match="whole number"):
            whole_number(odd)
