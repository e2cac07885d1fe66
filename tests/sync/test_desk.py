"""A neighbour that drips is passed over while an honest one has the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.sync import messages
from mesh.sync.desk import MAX_SLOW, MS_PER_EVENT, PATIENCE_MS, SLOW_MS, Desk, Holder
from mesh.sync.messages import Batch, Hello, Pull, Row
from mesh.sync.messages import Heads as Named
from tests.sync.fleets import Peer
from tests.sync.sessions import End, notes, talk

EVENTS = 2000


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[list[Peer]]:
    """Ana wrote much, Ben and a dripping peer have it all, the newcomer nothing."""
    made = [Peer(tmp_path / name) for name in ("ana", "ben", "drip", "new")]
    for one in made:
        one.everyone = True
    notes(made[0].ledger, EVENTS)
    for one in made[1:3]:
        talk(made[0].end(), one.end())
    yield made
    for one in made:
        one.ledger.close()


class Drip:
    """Answers every request with one event, just before anybody loses patience."""

    def __init__(self, peer: Peer, to: End) -> None:
        self.ledger, self.to = peer.ledger, to
        self.due = 0
        self.pull: Pull | None = None
        self.whole = False  # says that there is no more, and then names one more
        tip = next(iter(self.ledger.tips().items()))
        self.author, self.tip = bytes.fromhex(tip[0]), tip[1]
        to.session.receive(messages.encode(Hello(2, bytes(32), 0, bytes(32))), 0)
        self.name(self.tip.seq, self.tip.hash)

    def name(self, seq: int, digest: str) -> None:
        row = Row(self.author, seq, bytes.fromhex(digest), 0)
        self.to.session.receive(messages.encode(Named((row,))), 0)

    def turn(self, now: int) -> None:
        """One look: take what was said, answer what is due."""
        while (data := self.to.say(now)) is not None:
            said = messages.decode(data)
            if isinstance(said, Pull):
                self.pull, self.due = said, now + PATIENCE_MS - 100
        if self.pull is not None and now >= self.due:
            pull, self.pull = self.pull, None
            page = self.ledger.page(pull.author.hex(), pull.after, 1, 1)
            batch = Batch(
                author=pull.author,
                after=pull.after,
                last=page.last,
                more=page.more and not self.whole,
                events=messages.pack(page.envelopes),
            )
            self.to.session.receive(messages.encode(batch), now)
            if self.whole:
                self.name(page.last + 1, "00" * 32)


@pytest.mark.parametrize("rhythm", ["one stretch without end", "one event a stretch"])
def test_two_thousand_events_come_in_bounded_time_past_a_dripping_neighbour(
    peers: list[Peer], rhythm: str
) -> None:
    _, ben, dripping, new = peers
    desk, now = Desk(), 0
    slow, honest = new.end(desk=desk, peer="drip"), new.end(desk=desk, peer="ben")
    drip, other = Drip(dripping, slow), ben.end()
    drip.whole = rhythm == "one event a stretch"
    drip.turn(0)  # it was asked first
    while new.ledger.count() < EVENTS:
        drip.turn(now)
        for _ in range(8):
            for one, two in ((honest, other), (other, honest)):
                data = one.say(now)
                if data is not None:
                    two.session.receive(data, now)
        now += 100
        assert now < 3 * PATIENCE_MS, new.ledger.count()
    drip.turn(now)
    assert not slow.session.waiting


def test_a_slow_neighbour_is_asked_where_no_other_has_the_same(peers: list[Peer]) -> None:
    *_, dripping, new = peers
    slow = new.end(desk=Desk(), peer="drip")
    drip = Drip(dripping, slow)
    for now in range(0, 5 * PATIENCE_MS, 100):
        drip.turn(now)
    assert new.ledger.count() >= 4


def test_a_full_batch_in_time_keeps_the_claim() -> None:
    desk, one, two = Desk(), Holder("one"), Holder("two")
    assert desk.claim("a", one, 0)
    for now in range(PATIENCE_MS - 1, 10 * PATIENCE_MS, PATIENCE_MS - 1):
        assert not desk.claim("a", two, now)
        assert desk.keep("a", one, now, events=messages.BATCH_EVENTS, size=1)
        assert desk.keep("a", one, now, events=1, size=messages.BATCH_BYTES)


def test_who_was_passed_over_gives_way_at_once_for_a_while() -> None:
    desk, slow, sound = Desk(), Holder("slow"), Holder("sound")
    assert desk.claim("a", slow, 0)
    assert desk.claim("a", sound, PATIENCE_MS)
    assert not desk.keep("a", slow, PATIENCE_MS, events=1000, size=1)
    now = PATIENCE_MS + 1
    assert desk.claim("b", Holder("slow"), now)  # a new connection of the same peer
    assert desk.claim("b", sound, now)
    assert not desk.claim("b", slow, now)
    assert desk.claim("c", slow, now + SLOW_MS)
    assert not desk.claim("c", sound, now + SLOW_MS)


def test_a_neighbour_that_finishes_quickly_is_never_slow() -> None:
    desk, one, two = Desk(), Holder("one"), Holder("two")
    now = 0
    for _ in range(2000):  # an event a second, each fetched in 50 ms
        assert desk.claim("a", one, now)
        desk.drop("a", one, now + 50)
        now += 1000
    assert desk.claim("a", one, now)
    assert not desk.claim("a", two, now + PATIENCE_MS - 100)


def test_the_desk_remembers_a_bounded_number_of_slow_peers() -> None:
    desk, sound = Desk(), Holder("sound")
    for number in range(2 * MAX_SLOW):
        assert desk.claim(str(number), Holder(f"slow {number}"), 0)
        assert desk.claim(str(number), sound, PATIENCE_MS)
    assert len(desk._slow) == MAX_SLOW


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, PATIENCE_MS)), max_size=60))
def test_no_rhythm_of_few_events_holds_a_claim_for_long(answers: list[tuple[int, int]]) -> None:
    desk, drip, other = Desk(), Holder("drip"), Holder("other")
    now = got = 0
    assert desk.claim("a", drip, now)
    for events, pause in answers:
        now, got = now + pause, got + events
        if desk.claim("a", other, now):
            break
        desk.keep("a", drip, now, events=events, size=0)
        desk.drop("a", drip, now)
        assert desk.claim("a", drip, now)
    else:
        assert now <= PATIENCE_MS + got * MS_PER_EVENT
