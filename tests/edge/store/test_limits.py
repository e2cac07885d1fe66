"""What a stranger can push on has a limit, and honest peers agree whatever was pushed."""

import itertools
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.edge.identity import Identity, peer_id
from mesh.edge.store import branches, held
from mesh.edge.store.ledger import Ledger, StoreError
from mesh.edge.store.siblings import MAX_SIBLINGS
from mesh.ledger import codec, gate, hlc, ids, signing
from mesh.ledger.event import NO_PREV
from mesh.sync.manifest import digest
from tests.edge.store.events import CYD, NOW, line, signed

CYDS = signing.author_of(CYD)
TRUNK = line(1, 9, NO_PREV, "trunk")
FORK = ids.event_hash(TRUNK[-1][1])  # what every sibling at seq 10 follows
MANY = 3 * MAX_SIBLINGS


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "other") as opened:
        yield opened


def siblings(first: int, count: int = MANY) -> list[tuple[bytes, bytes]]:
    """Different events of Cyd's at seq 10."""
    return [signed(10, FORK, str(number)) for number in range(first, first + count)]


def hash_of(event: tuple[bytes, bytes]) -> str:
    return ids.event_hash(event[1])


def refused(outcome: gate.Admission) -> bool:
    return isinstance(outcome, gate.Reject) and outcome.full


# What waits


def waiting(ledger: Ledger) -> list[int]:
    rows = ledger._db.execute("SELECT seq FROM held ORDER BY arrival").fetchall()
    return [seq for (seq,) in rows]


def test_an_author_whose_events_wait_in_hundreds_is_never_blocked(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for what never comes; the oldest makes room, and the newest is always taken."""
    monkeypatch.setattr(held, "MAX_HELD_PER_AUTHOR", 20)
    lonely = line(100, 60, "ab" * 32, "its beginning is lost")
    outcomes = ledger.take_in(lonely).outcomes
    assert {type(one) for one in outcomes} == {gate.Hold}
    assert waiting(ledger) == list(range(140, 160))
    branches = [line(10, 40, FORK, name) for name in ("one", "two")]
    ledger.take_in([*TRUNK, *branches[0]])
    assert ledger.take_in(branches[1]).events != ()
    assert ledger.forked() == {CYDS: 10}


def test_all_that_waits_together_has_a_limit_too(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_HELD", 30)
    for number in range(50):
        event = line(100 + number, 1, "ab" * 32, "lost")
        assert isinstance(ledger.take_in(event).outcomes[0], gate.Hold)
    assert waiting(ledger) == list(range(120, 150))


def test_honest_forks_converge_past_a_store_full_of_what_waits(
    ledger: Ledger, other: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_HELD", 40)
    for one in (ledger, other):
        one.take_in(line(500, 60, "cd" * 32, "junk"))
    parts = [line(10, 30, FORK, name) for name in ("one", "two")]
    for one, order in ((ledger, parts), (other, parts[::-1])):
        one.take_in([*TRUNK, *order[0]])
        one.take_in(order[1][5:])  # its beginning comes later, as a step back along the chain does
        one.take_in(order[1])
    assert ledger.tips() == other.tips()


def test_what_an_author_left_far_behind_waits_no_more(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "MAX_HELD_PER_AUTHOR", 20)
    ledger.take_in(line(5, 3, "ab" * 32, "of a branch that never came"))
    assert waiting(ledger) == [5, 6, 7]
    ledger.take_in(line(1, 26, NO_PREV, "main"))
    assert waiting(ledger) == [7]
    ledger.take_in(line(1, 40, NO_PREV, "main"))
    assert waiting(ledger) == []


def test_at_the_start_what_no_longer_fits_or_is_stored_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = line(1, 4, NO_PREV, "main")
    with Ledger.open(tmp_path) as ledger:
        ledger.take_in([*main, *line(500, 60, "cd" * 32, "junk")])
        sig, body = main[2]
        ledger._db.execute(
            "INSERT INTO held (author, seq, hash, body, sig) VALUES (?, 3, ?, ?, ?)",
            (CYDS, bytes.fromhex(ids.event_hash(body)), body, sig),
        )
    monkeypatch.setattr(held, "MAX_HELD_PER_AUTHOR", 20)
    with Ledger.open(tmp_path) as ledger:
        assert waiting(ledger) == list(range(540, 560))


# Siblings


def test_peers_that_were_sent_different_siblings_agree(ledger: Ledger, other: Ledger) -> None:
    for one, first in ((ledger, 0), (other, 1000)):
        outcomes = one.take_in([*TRUNK, *siblings(first)]).outcomes
        assert sum(map(refused, outcomes)) == MANY - MAX_SIBLINGS
        assert one.count() == 9 + MAX_SIBLINGS
    assert ledger.hashes_at(CYDS, 10) != other.hashes_at(CYDS, 10)
    assert ledger.tips() == other.tips()
    (tip,) = ledger.tips().values()
    assert (tip.seq, tip.fork) == (10, 10)
    assert all(refused(one) for one in ledger.take_in(siblings(1000)).outcomes)
    assert digest(ledger.tips()) == digest(other.tips())


def test_what_they_agree_on_survives_a_restart(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        ledger.take_in([*TRUNK, *siblings(0)])
        before = ledger.tips()
    with Ledger.open(tmp_path) as ledger:
        assert ledger.tips() == before
        assert all(refused(one) for one in ledger.take_in(siblings(1000)).outcomes)
        assert ledger.tips() == before


def test_a_failed_commit_shatters_nobody(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.take_in([*TRUNK, *siblings(0, 3)])
    before = ledger.tips()

    def fail() -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ledger._writer, "flush", fail)
        with pytest.raises(StoreError):
            ledger.take_in(siblings(100))
    assert ledger.tips() == before
    assert [refused(one) for one in ledger.take_in(siblings(200, 2)).outcomes] == [False, False]


def test_of_a_shattered_author_nothing_more_is_taken_but_what_a_statement_names(
    ledger: Ledger, other: Ledger
) -> None:
    good = line(10, 6, FORK, "the good branch")
    for one in (ledger, other):
        one.take_in([*TRUNK, *siblings(0)])
        assert all(refused(done) for done in one.take_in(good).outcomes)
    apart = ledger.tips()
    ledger.want({hash_of(good[4])})
    outcomes = ledger.take_in(good).outcomes
    assert [type(done) for done in outcomes[:5]] == [gate.Fork] * 5
    assert refused(outcomes[5])
    assert ledger.has(CYDS, 14, hash_of(good[4]))
    # The other peer hears that there is something to ask for, asks, and then both agree.
    other.want({hash_of(good[4])})
    assert other.tips() == apart != ledger.tips()
    page = ledger.page(CYDS, 9, 1000, 1 << 20)
    other.take_in(page.envelopes)
    assert other.tips() == ledger.tips()
    assert [f.text[:5] for f in other.verify().findings] == ["fork:"]


def test_a_named_event_is_taken_also_where_many_batches_lead_to_it(ledger: Ledger) -> None:
    good = line(10, 9, FORK, "the good branch")
    ledger.take_in([*TRUNK, *siblings(0)])
    ledger.want({hash_of(good[8])})
    batches = [good[:3], good[3:6], good[6:]]
    for batch in batches[:2]:  # nothing says yet that these matter
        assert all(refused(one) for one in ledger.take_in(batch).outcomes)
    for batch in (batches[2], *batches):  # now it is known, and a neighbour offers all of it again
        ledger.take_in(batch)
    assert ledger.has(CYDS, 18, hash_of(good[8]))


def test_the_last_sibling_may_be_that_of_the_main_line(ledger: Ledger) -> None:
    side = line(9, 1, hash_of(TRUNK[7]), "beside")[0]
    beside = [signed(10, hash_of(side), str(number)) for number in range(MAX_SIBLINGS - 1)]
    ledger.take_in([*TRUNK, side, *beside])
    assert ledger.tips()[CYDS].fork == 9
    ledger.take_in(siblings(0, 1))
    shattered = ledger.tips()
    assert all(refused(one) for one in ledger.take_in(line(11, 1, "00" * 32, "x")).outcomes)
    ledger._writer.forget()  # what the database says by itself is the same
    assert ledger.tips() == shattered
    assert shattered[CYDS].seq == 10


def test_what_a_shattered_author_signed_before_is_taken_as_ever(
    ledger: Ledger, other: Ledger
) -> None:
    early = line(5, 4, hash_of(TRUNK[3]), "beside")
    for one, first in ((ledger, 0), (other, 1000)):
        one.take_in([*TRUNK, *siblings(first)])
    ledger.take_in(early)
    assert ledger.forked() == {CYDS: 5}
    assert ledger.tips() != other.tips()
    other.take_in(early)
    assert ledger.tips() == other.tips()


def test_naming_an_event_after_it_came_says_so_too(ledger: Ledger, other: Ledger) -> None:
    ledger.take_in([*TRUNK, *siblings(0)])
    other.take_in([*TRUNK, *siblings(8)])  # half of them are the same
    both = ledger.hashes_at(CYDS, 10) & other.hashes_at(CYDS, 10)
    only_here = ledger.hashes_at(CYDS, 10) - both
    for wanted, same in ((both, True), (only_here, False), (set(), True)):
        for one in (ledger, other):
            one.want(wanted)
        assert (ledger.tips() == other.tips()) is same


def test_events_up_to_the_limit_are_all_kept_and_all_said(ledger: Ledger, other: Ledger) -> None:
    few = siblings(0, MAX_SIBLINGS - 1)
    ledger.take_in([*TRUNK, *few])
    other.take_in([*TRUNK, *few[:-1]])
    assert ledger.tips() != other.tips()
    other.take_in(few[::-1])
    assert ledger.tips() == other.tips()


# Work


def counted(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many hashes each later call of the tips goes over."""
    seen: list[int] = []
    real = branches.branches_hash

    def count(hashes: list[str]) -> str:
        seen.append(len(hashes))
        return real(hashes)

    monkeypatch.setattr(branches, "branches_hash", count)
    return seen


@pytest.mark.parametrize("length", [600, 2400])
def test_a_forked_authors_tip_costs_the_same_however_long_its_chain(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    main = line(1, length, NO_PREV, "main")
    ledger.take_in([*main[:-20], *line(2, 2, hash_of(main[0]), "beside")])
    ledger.tips()
    seen = counted(ledger, monkeypatch)
    for event in main[-20:]:
        ledger.take_in([event])
        assert ledger.tip(CYDS) is not None
    assert len(seen) <= 2 * 20 + 2
    assert sum(seen) <= 20 * (branches.STRETCH + 2) + 2 * branches.STRETCH


def test_the_tip_of_long_branches_is_the_same_in_any_order_and_after_a_restart(
    tmp_path: Path,
) -> None:
    main = line(1, 700, NO_PREV, "main")
    parts = [line(100, 300, hash_of(main[98]), "one"), line(40, 650, hash_of(main[38]), "two")]
    found = []
    for number, order in enumerate(itertools.permutations([main, *parts])):
        with Ledger.open(tmp_path / str(number)) as ledger:
            ledger.take_in(main[:100])
            for part in order:
                ledger.take_in(part)
                ledger.tips()
            found.append(ledger.tips())
            until = [ledger.tip_until(CYDS, last) for last in (39, 40, 255, 256, 511, 650)]
        with Ledger.open(tmp_path / str(number)) as ledger:
            assert ledger.tips() == found[-1]
            assert [ledger.tip_until(CYDS, n) for n in (39, 40, 255, 256, 511, 650)] == until
    assert all(one == found[0] for one in found)
    assert len(set(until)) == len(until)


# Clocks, files and what is said to be durable


def test_one_event_from_the_far_future_moves_no_clock_of_ours(ledger: Ledger) -> None:
    far = 4_102_444_800_000  # the year 2100
    before = b""
    for seq, stamp in ((1, NOW + 1000), (2, far)):
        body = codec.encode(
            {
                "author": CYDS,
                "device_id": "",
                "event_type": "note_added",
                "hlc": hlc.render(hlc.Stamp(stamp, 7)),
                "payload": {},
                "prev": ids.event_hash(before) if before else NO_PREV,
                "seq": seq,
                "timestamp": hlc.timestamp(stamp),
                "v": 1,
            }
        )
        ledger.take_in([(signing.seal(CYD, body), body)])
        before = body
    event = ledger.append("note_added", "", {}, NOW)
    assert hlc.parse(event.hlc) == (NOW + 1000, 8)  # past what came in, whatever else did
    assert ledger.last_ms() == far


def test_a_commit_is_on_the_platter_before_it_is_acknowledged(ledger: Ledger) -> None:
    """2 is FULL: the log is synced at every commit."""
    assert ledger._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert ledger._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_nobody_else_can_read_a_file_of_the_ledger(ledger: Ledger) -> None:
    ledger.append("note_added", "", {}, NOW)
    assert ledger.verify().ok
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in ledger.home.iterdir()}
    assert {"ledger.db", "ledger.db-wal", "ledger.db-shm", "identity.key"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_a_key_of_paper_signs_on_a_chain_of_its_own(ledger: Ledger) -> None:
    """As the recovery key does: what it signs passes the gate like anybody's."""
    who = Identity(seed=CYD, author=CYDS, peer_id=peer_id(CYDS))
    ledger.append("note_added", "", {}, NOW)
    first, second = ledger.sign_as(who, [("note_added", "", {"n": n}) for n in (1, 2)], NOW)
    assert (first.author, first.seq, second.prev) == (CYDS, 1, first.hash)
    assert ledger.sign_as(who, [("note_added", "", {})])[0].seq == 3
    assert ledger.head(CYDS).seq == 3
    assert ledger.head(ledger.author).seq == 1
    assert ledger.has(CYDS, 2, second.hash)
    assert not ledger.has(CYDS, 1, second.hash)
    assert not ledger.has("ff" * 32, 1, second.hash)
    assert ledger.verify().ok


def test_what_was_committed_comes_in_order_from_memory_or_from_disk(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        for part in (TRUNK, line(10, 2500, FORK, "more")):
            ledger.take_in(part)
        whole = list(ledger.events())
        found, last = [], 0
        while page := ledger.committed(last):
            found += page
            last = page[-1][0]
        assert found == whole
        ledger._db.execute("PRAGMA query_only=ON")
        said: list[str] = []
        ledger._db.set_trace_callback(said.append)
        assert ledger.committed(len(whole) - 5) == whole[-5:]
        assert ledger.committed(len(whole)) == []
        assert said == []
        ledger._db.set_trace_callback(None)
    with Ledger.open(tmp_path) as ledger:
        assert ledger.committed(len(whole)) == []
        assert ledger.committed(len(whole) - 5) == whole[-5:]
