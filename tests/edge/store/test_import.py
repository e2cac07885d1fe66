"""An import takes what members wrote, whatever stands first in the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.edge.identity import peer_id
from mesh.edge.store import transfer
from mesh.edge.store.ledger import Ledger

NOW = 1_790_000_000_000


@pytest.fixture
def file(tmp_path: Path) -> tuple[Path, list[str]]:
    """Notes of three peers; each one's last event "lets in" the next: (file, their keys)."""
    keys: list[str] = []
    with Ledger.open(tmp_path / "all") as whole:
        for name in ("ana", "ben", "cid"):
            with Ledger.open(tmp_path / name) as one:
                one.append_many([("note_added", "", {"text": str(i)}) for i in range(7)], NOW)
                one.export(tmp_path / "part.jsonl")
                keys.append(one.author)
            whole.import_(tmp_path / "part.jsonl")
        whole.export(tmp_path / "all.jsonl")
    return tmp_path / "all.jsonl", keys


def in_turn(ledger: Ledger, order: list[str]) -> Callable[[str, int], bool]:
    """Each peer is a member once all of the one before it is here."""

    def admits(author: str, seq: int) -> bool:
        if author not in order:
            return False
        place = order.index(author)
        return place == 0 or ledger.head(order[place - 1]).seq == 7

    return admits


@pytest.mark.parametrize("batch", [2, 500])
def test_events_wait_for_the_grant_that_comes_later_in_the_file(
    file: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(transfer, "BATCH", batch)
    path, keys = file
    for number, order in enumerate((sorted(keys), sorted(keys, reverse=True))):
        with Ledger.open(tmp_path / f"new{number}") as ledger:
            report = ledger.import_(path, in_turn(ledger, order))
            assert (report.admitted, report.rejected_count, report.lines) == (21, 0, 21)
            again = ledger.import_(path, in_turn(ledger, order))
            assert (again.known, again.admitted, again.rejected_count) == (21, 0, 0)


def test_events_of_nobody_the_file_lets_in_are_rejected_by_name(
    file: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path, keys = file
    stranger = keys[1]
    with Ledger.open(tmp_path / "new") as ledger:
        report = ledger.import_(path, in_turn(ledger, [keys[0], keys[2]]))
        assert (report.admitted, report.rejected_count, report.lines) == (14, 7, 21)
        assert {one.text for one in report.rejected} == {f"{peer_id(stranger)[:7]} is no member"}
        assert ledger.tip(stranger) is None


def test_an_author_is_taken_up_to_where_it_is_admitted(
    file: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path, keys = file
    with Ledger.open(tmp_path / "new") as ledger:
        report = ledger.import_(path, lambda author, seq: author == keys[0] and seq <= 4)
        assert (report.admitted, report.rejected_count) == (4, 17)
        assert ledger.head(keys[0]).seq == 4
