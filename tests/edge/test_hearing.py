"""When a starting peer may sign: a restored disk adopts what it lost, and forks only if told to."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.edge.disk import StoreError
from mesh.edge.identity import Fleet, reset
from mesh.edge.peering.offline import _Still
from mesh.edge.signing import voice as voice_module
from mesh.edge.signing.hearing import CLAIM_S, MAX_AHEAD_MS, MAX_CLAIMS, Hearing, NotHeard
from mesh.edge.signing.highwater import FILE, HighWater, sign_at_rest
from mesh.edge.signing.voice import MARK_EVENTS
from mesh.edge.store.ledger import Ledger
from mesh.state.members import ADMIN
from mesh.sync.manifest import Tip
from mesh.sync.wants import NOTHING
from tests.edge.lives import NOW, Peer, assert_sound, connect, forget_database, settled, until

FIVE, NINE = Tip(5, "05" * 32), Tip(9, "09" * 32)


def holding(*tips: Tip, asks: bool = True, mark: Tip | None = None, alone: bool = False) -> Hearing:
    held = set(tips)
    return Hearing(lambda tip: tip in held, asks=asks, mark=mark, alone=alone)


# The rule.


def test_with_others_in_the_fleet_a_neighbour_has_to_say_first() -> None:
    one = holding(FIVE)
    assert one.waiting_for(0) == "a member that says how far its own events go"
    one.heard(FIVE, 0)
    assert one.waiting_for(0) == ""


def test_a_neighbour_that_has_nothing_of_ours_is_an_answer_too() -> None:
    one = holding()
    one.heard(NOTHING, 0)
    assert one.waiting_for(0) == ""


def test_with_nobody_else_there_is_nothing_to_wait_for() -> None:
    assert holding(asks=False).waiting_for(0) == ""


def test_what_a_neighbour_holds_of_ours_is_waited_for_until_it_is_here() -> None:
    held: set[Tip] = set()
    one = Hearing(held.__contains__, asks=True, mark=None)
    one.heard(NINE, 0)
    one.stored(1)
    assert one.waiting_for(CLAIM_S * 100).startswith("its own event 9, which a member holds")
    held.add(NINE)
    one.stored(2)
    assert one.waiting_for(2) == ""


def test_a_second_neighbour_may_know_of_more_before_anything_was_signed() -> None:
    held = {FIVE}
    one = Hearing(held.__contains__, asks=True, mark=None)
    one.heard(FIVE, 0)
    one.heard(NINE, 1)
    assert "its own event 9" in one.waiting_for(1)
    one.signed()
    one.heard(Tip(12, "12" * 32), 2)
    assert one.waiting_for(2) == ""


def test_a_claim_that_nobody_delivers_keeps_a_key_silent_for_a_minute_only() -> None:
    """As long as it is the only voice, though, it may be the truth."""
    one = holding(FIVE)
    one.heard(NINE, 0)
    assert one.waiting_for(CLAIM_S + 1)
    one.heard(FIVE, 1)
    assert one.waiting_for(CLAIM_S - 1)
    one.heard(Tip(10, "10" * 32), CLAIM_S - 1)  # a liar that comes again gains nothing
    assert one.waiting_for(CLAIM_S) == ""


def test_own_events_that_keep_coming_give_a_claim_its_time() -> None:
    held = {FIVE}
    one = Hearing(held.__contains__, asks=True, mark=None)
    one.heard(FIVE, 0)
    one.heard(NINE, 0)
    one.stored(CLAIM_S - 1)
    assert one.waiting_for(CLAIM_S + 1)


def test_claims_are_counted_so_that_nobody_fills_the_memory() -> None:
    one = holding(FIVE)
    for number in range(MAX_CLAIMS * 2):
        one.heard(Tip(number + 10, f"{number:064x}"), 0)
    assert len(one._claims) == MAX_CLAIMS


def test_the_mark_outside_the_database_is_waited_for_even_where_nobody_else_is() -> None:
    held: set[Tip] = set()
    one = Hearing(held.__contains__, asks=False, mark=NINE)
    assert one.restored
    assert "its own event 9" in one.waiting_for(0)
    assert "restored or lost" in one.waiting_for(CLAIM_S * 100)
    one.heard(NOTHING, 0)
    assert one.waiting_for(0)
    held.add(NINE)
    one.stored(1)
    assert one.waiting_for(1) == ""
    assert not holding(NINE, mark=NINE).restored


def test_a_person_may_say_that_nobody_is_there() -> None:
    one = holding(mark=NINE, alone=True)
    assert one.waiting_for(0) == ""
    assert one.lacks_mark
    one.signed()
    assert not one.lacks_mark


@pytest.mark.parametrize("alone", [False, True])
def test_who_joins_a_fleet_waits_for_what_its_host_has_of_it(alone: bool) -> None:  # noqa: FBT001
    held: set[Tip] = set()
    one = Hearing(held.__contains__, asks=False, mark=FIVE if alone else None, alone=alone)
    one.signed()
    one.begin()
    one.heard(NINE, 0)
    assert "its own event 9" in one.waiting_for(CLAIM_S * 100)
    held.add(NINE)
    one.stored(1)
    assert one.waiting_for(1) == ""


def test_who_joins_a_fleet_that_never_heard_of_it_signs_at_once() -> None:
    one = holding(asks=False)
    one.begin()
    one.heard(NOTHING, 0)
    assert one.waiting_for(0) == ""


# The mark.


def test_a_mark_that_is_missing_damaged_or_of_another_key_says_nothing(tmp_path: Path) -> None:
    mark = HighWater(tmp_path)
    assert mark.read("aa") is None
    mark.write("aa", NINE)
    assert mark.read("aa") == NINE
    assert mark.read("bb") is None
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    for text in ("", "[]", '{"seq": "x"}', '{"seq": 0, "hash": "", "author": "aa"}'):
        (tmp_path / FILE).write_text(text)
        assert mark.read("aa") is None


async def test_the_mark_follows_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    def marked() -> int:
        return int(json.loads((tmp_path / FILE).read_text())["seq"])

    peer = Peer(tmp_path)
    assert not (tmp_path / FILE).exists()
    await peer.note()
    assert marked() == 1
    for _ in range(MARK_EVENTS):
        await peer.note()
    assert marked() == 1
    await peer.note()
    assert marked() == MARK_EVENTS + 2
    await peer.note()
    await peer.close()
    assert marked() == MARK_EVENTS + 3


def test_a_note_at_rest_moves_the_mark_and_is_refused_below_it(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        for seq in (1, 2):
            assert sign_at_rest(ledger, "note_added", "", {"text": "x"}, NOW).seq == seq
    forget_database(tmp_path)
    with Ledger.open(tmp_path) as ledger:
        with pytest.raises(NotHeard, match="its own event 2"):
            sign_at_rest(ledger, "note_added", "", {"text": "x"}, NOW)
        assert ledger.count() == 0
    reset(tmp_path)
    with Ledger.open(tmp_path) as ledger:
        assert sign_at_rest(ledger, "note_added", "", {"text": "x"}, NOW).seq == 1


async def test_who_joins_at_rest_notes_how_far_its_own_events_went(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        sign_at_rest(ledger, "note_added", "", {"text": "x"}, NOW)
        fleet = Fleet(root="a" * 64, introducer="a" * 64)
        await _Still(tmp_path, NOW).belong(fleet, NOTHING)
        assert sign_at_rest(ledger, "note_added", "", {"text": "x"}, NOW).seq == 2
        await _Still(tmp_path, NOW).belong(fleet, NINE)
        with pytest.raises(NotHeard, match="its own event 9"):
            sign_at_rest(ledger, "note_added", "", {"text": "x"}, NOW)


# Peers.


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_module, "PATIENCE_S", 0.05)


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[tuple[Path, Peer]]:
    """Ana's home, copied after her second note; and ben, who has four."""
    ana, ben = Peer(tmp_path / "ana"), Peer(tmp_path / "ben")
    await ana.found()
    await ana.let_in(ben)
    a, _ = connect(ana, ben)
    for text in ("one", "two"):
        await ana.note(text)
    await ana.close()
    shutil.copytree(ana.home, tmp_path / "backup")
    ana = Peer(tmp_path / "ana", alone=True)
    connect(ana, ben)
    for text in ("three", "four"):
        await ana.note(text)
    await until(lambda: ben.state.note_count == 4)
    await ana.close()
    yield tmp_path / "ana", ben
    await ben.close()


async def refused(peer: Peer, text: str) -> None:
    before = peer.ledger.count()
    with pytest.raises(NotHeard, match=text) as caught:
        await peer.note("too early")
    assert (caught.value.code, caught.value.status) == ("NotHeard", 503)
    assert "fleet up --alone" in caught.value.hint
    assert peer.ledger.count() == before
    assert not peer.live.may_sign


async def adopts(ana: Peer, ben: Peer) -> None:
    """Linked with ben, ana takes back what she had signed, and goes on from there."""
    connect(ana, ben)
    await ana.live.wait_to_sign()
    event = await ana.note("five")
    await until(lambda: ben.state.note_count == 5)
    assert event.seq == 7
    assert ana.ledger.forked() == ben.ledger.forked() == {}
    assert ana.ledger.verify().ok
    await settled(ana)
    assert_sound(ana)


async def test_a_restored_database_takes_back_its_own_events_and_does_not_fork(
    two: tuple[Path, Peer],
) -> None:
    home, ben = two
    forget_database(home)
    for path in (home.parent / "backup").glob("ledger.db*"):
        shutil.copy(path, home / path.name)
    ana = Peer(home)
    assert ana.live.restored
    await refused(ana, "its own event 6: this ledger is older than it was")
    await ana.close()
    ana = Peer(home)
    await refused(ana, "its own event 6")
    await adopts(ana, ben)
    await ana.close()


async def test_a_whole_home_restored_waits_for_a_neighbour_though_its_mark_is_as_old(
    two: tuple[Path, Peer],
) -> None:
    home, ben = two
    shutil.rmtree(home)
    shutil.copytree(home.parent / "backup", home)
    ana = Peer(home)
    assert not ana.live.restored
    await refused(ana, "a member that says how far its own events go")
    assert ana.state.note_count == 2  # it still answers
    await adopts(ana, ben)
    await ana.close()


async def test_a_lost_database_comes_back_from_a_neighbour_with_the_key_kept(
    two: tuple[Path, Peer],
) -> None:
    home, ben = two
    forget_database(home)
    (home / FILE).unlink()
    ana = Peer(home)
    await refused(ana, "a member that says")
    await adopts(ana, ben)
    await ana.close()


async def test_a_restored_copy_told_that_it_is_alone_forks_and_both_say_so(
    two: tuple[Path, Peer],
) -> None:
    home, ben = two
    shutil.rmtree(home)
    shutil.copytree(home.parent / "backup", home)
    ana = Peer(home, alone=True)
    assert (await ana.note("another history")).seq == 5
    connect(ana, ben)
    await until(lambda: ana.ledger.forked() and ben.ledger.forked())
    with pytest.raises(StoreError, match="two different histories"):
        await ana.note("a third")
    await until(lambda: ben.state.note_count == 5)
    await settled(ana)
    assert_sound(ana)
    await ana.close()
    again = Peer(home)
    connect(again, ben)
    await again.live.wait_to_sign()  # nothing is missing: the ledger itself refuses
    with pytest.raises(StoreError, match="two different histories"):
        await again.note("a third")
    await again.close()


async def test_a_peer_that_missed_nothing_signs_once_it_is_linked(two: tuple[Path, Peer]) -> None:
    home, ben = two
    ana = Peer(home)
    await adopts(ana, ben)
    await ana.close()


async def test_a_neighbour_that_lacks_all_but_ours_is_heard_though_it_sends_no_row(
    tmp_path: Path, two: tuple[Path, Peer]
) -> None:
    """Its only author ends where ours does, as we said first: it has nothing to add."""
    home, ben = two
    ana = Peer(home, alone=True)
    await ana.note("five")
    connect(ana, ben)
    await until(lambda: ben.state.note_count == 5)
    await ana.live.take_in([])
    await ana.close()
    await ben.note("only here")
    again = Peer(home)
    connect(again, ben)
    await again.live.wait_to_sign()
    await again.close()


async def test_a_peer_in_no_fleet_and_one_whose_fleet_is_itself_sign_at_once(
    tmp_path: Path,
) -> None:
    peer = Peer(tmp_path)
    await peer.note()
    await peer.found()
    await peer.close()
    again = Peer(tmp_path)
    assert again.live.may_sign
    assert (await again.note()).seq == 3
    await again.close()


async def test_who_joins_while_it_runs_goes_on_signing(tmp_path: Path) -> None:
    ana, ben = Peer(tmp_path / "ana"), Peer(tmp_path / "ben")
    await ana.found()
    await ana.let_in(ben)
    assert (await ben.note()).seq == 1
    await ana.close()
    await ben.close()


def restored(home: Path) -> Peer:
    """What was backed up beside a home takes its place."""
    shutil.rmtree(home)
    shutil.copytree(home.parent / "backup", home)
    return Peer(home)


async def rejoins(old: Peer, host: Peer, fleet: Fleet) -> None:
    """Let in again, a restored machine signs on where the host knows that it ended."""
    own = host.ledger.tips()[old.ledger.author]
    await old.live.belong(fleet, own)
    await refused(old, f"its own event {own.seq}, which a member holds")
    await old.close()
    again = Peer(old.home)
    await refused(again, "a member that says how far its own events go")
    connect(again, host)
    await again.live.wait_to_sign()
    assert (await again.note("let in again")).seq == own.seq + 1
    await until(lambda: host.state.note_count == again.state.note_count)
    assert again.ledger.forked() == host.ledger.forked() == {}
    await settled(again)
    assert_sound(again)
    await again.close()


async def test_a_machine_restored_from_before_it_joined_joins_again_and_does_not_fork(
    tmp_path: Path,
) -> None:
    ana, ben = Peer(tmp_path / "ana"), Peer(tmp_path / "ben")
    await ben.note("alone")
    await ben.close()
    shutil.copytree(ben.home, tmp_path / "backup")
    ben = Peer(tmp_path / "ben")
    await ana.found()
    await ana.let_in(ben)
    connect(ana, ben)
    await ben.note("in the fleet")
    await until(lambda: ana.state.note_count == 2)
    await ben.close()
    ben = restored(ben.home)
    assert ben.live.may_sign  # alone, it knows of nobody to ask
    await rejoins(ben, ana, Fleet(root=ana.ledger.author, introducer=ana.ledger.author))
    await ana.close()


async def test_a_founder_restored_from_before_its_fleet_is_let_in_again_and_does_not_fork(
    tmp_path: Path,
) -> None:
    ana, ben = Peer(tmp_path / "ana"), Peer(tmp_path / "ben")
    await ana.note("alone")
    await ana.close()
    shutil.copytree(ana.home, tmp_path / "backup")
    ana = Peer(tmp_path / "ana")
    await ana.found()
    await ana.let_in(ben, ADMIN)
    connect(ana, ben)
    await until(lambda: ben.state.members.role(ben.ledger.author) == ADMIN)
    await ben.note("by another admin")
    await ana.close()
    ana = restored(ana.home)
    await rejoins(ana, ben, Fleet(root=ana.ledger.author, introducer=ben.ledger.author))
    await ben.close()


async def test_a_machine_that_signed_alone_after_its_restore_says_that_its_key_forked(
    two: tuple[Path, Peer],
) -> None:
    home, ben = two
    (home.parent / "backup" / "fleet.json").unlink()  # a backup from before it had a fleet
    ana = restored(home)
    await ana.note("another history")
    fleet = Fleet(root=ana.ledger.author, introducer=ben.ledger.author)
    await ana.live.belong(fleet, ben.ledger.tips()[ana.ledger.author])
    await refused(ana, "its own event 6")
    connect(ana, ben)
    await until(lambda: ana.ledger.forked() and ben.ledger.forked())
    with pytest.raises(StoreError, match="two different histories"):
        await ana.note("a third")
    await ana.close()


async def test_a_lost_ledger_of_a_peer_without_a_fleet_is_said_and_a_person_may_go_on(
    tmp_path: Path,
) -> None:
    peer = Peer(tmp_path)
    for _ in range(3):
        await peer.note()
    await peer.close()
    forget_database(tmp_path)
    lost = Peer(tmp_path)
    await refused(lost, "its own event 3: this ledger is older than it was, restored or lost")
    await lost.close()
    alone = Peer(tmp_path, alone=True)
    assert (await alone.note("anew")).seq == 1
    await alone.close()
    after = Peer(tmp_path)
    assert after.live.may_sign
    await after.close()


# Clocks.


@pytest.mark.parametrize(
    ("skews", "waits"),
    [
        ((), False),
        ((-MAX_AHEAD_MS,), False),
        ((-MAX_AHEAD_MS - 1,), True),
        ((-MAX_AHEAD_MS - 1, 0), False),
        ((86_400_000_000,), False),
    ],
    ids="nobody-there an-hour more one-agrees behind".split(),
)
async def test_a_peer_signs_nothing_while_its_clock_is_ahead_of_every_neighbours(
    tmp_path: Path,
    skews: tuple[int, ...],
    waits: bool,  # noqa: FBT001  a column of the table
) -> None:
    peer = Peer(tmp_path, skews=skews)
    assert peer.live.may_sign is not waits
    if waits:
        with pytest.raises(NotHeard, match="its clock to be set: it is 1 h ahead") as caught:
            await peer.note("from the future")
        assert "set this machine's clock" in caught.value.hint
        assert peer.ledger.count() == 0
    await peer.close()
    sure = Peer(tmp_path, skews=skews, alone=True)
    await sure.note("a person said so")
    await sure.close()
