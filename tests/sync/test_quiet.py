"""To a key that was put out of the fleet: what it brings is heard, what is held is not told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.sync import messages
from mesh.sync.holdings import Holdings
from mesh.sync.messages import Batch, Heads, Hello, Pull, Row, Tail
from mesh.sync.quiet import GRAIN, SAID, Quiet
from mesh.sync.session import MAX_PULLS
from tests.sync.fleets import Peer, Signer
from tests.sync.sessions import End, notes, talk

ADMIN, RECOVERY, RUNNER = Signer(1).author, Signer(2).author, Signer(3).author
QUIET = Quiet(lambda one: one == RECOVERY, lambda one: one in (ADMIN, RECOVERY))


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[list[Peer]]:
    """Three machines: each counts the others, an admin, a runner and the recovery key."""
    made = [Peer(tmp_path / name) for name in ("ben", "cid", "dan")]
    for one in made:
        one.trust(made)
        one.members |= {ADMIN, RECOVERY, RUNNER}
    yield made
    for one in made:
        one.ledger.close()


def hold(peer: Peer, number: int, count: int, text: str = "") -> None:
    """The first events of a key that is nobody's ledger here."""
    key = Signer(number)
    peer.ledger.take_in([key.say(f"{text}{at}") for at in range(count)])


def quiet(at: Peer, **more: object) -> End:
    return at.end(quiet=QUIET, **more)


def ask_for_everything(end: End, authors: list[str]) -> list[bytes]:
    """Every message of the protocol that might make a session say something; what it says."""
    said: list[bytes] = []

    def hear(message: messages.Message) -> None:
        end.session.receive(messages.encode(message), 0)
        while (data := end.say()) is not None:
            said.append(data)
            one = messages.decode(data)
            if isinstance(one, Pull):
                nothing = messages.pack(())
                answer = Batch(one.author, one.after, one.after, more=False, events=nothing)
                end.session.receive(messages.encode(answer), 0)

    hear(Hello(messages.PROTOCOL, bytes(32), 0, bytes(32)))
    for author in map(bytes.fromhex, authors):
        for seq in (1, 5, 300, 900_000):
            hear(Heads((Row(author, seq, b"x" * 32, 0),)))
            hear(Heads((Row(author, seq, b"x" * 32, 1),)))
        for after in range(MAX_PULLS):
            hear(Pull(author, after))
        hear(Tail(author, 0, bytes.fromhex("42") + bytes(4)))
    end.session.poke(authors, eager=True)
    end.session.poke(authors, eager=False)
    hear(Hello(messages.PROTOCOL, b"y" * 32, 3, b"z" * 32))
    end.session.refresh()
    hear(Hello(messages.PROTOCOL, bytes(32), 0, bytes(32)))
    return said


def test_what_a_quiet_session_says_is_the_same_whatever_the_ledger_holds(
    peers: list[Peer],
) -> None:
    little, much, _ = peers
    notes(little.ledger, 1)
    notes(much.ledger, 40, "secret")
    for peer, count in ((little, 7), (much, 700)):
        for number in (1, 3):
            hold(peer, number, count)
    authors = [ADMIN, RUNNER, RECOVERY, "ab" * 32]
    little_says, much_says = (
        ask_for_everything(quiet(one, peer=RUNNER), [*authors, little.author, much.author])
        for one in (little, much)
    )
    assert little_says == much_says
    found = [messages.decode(data) for data in much_says]
    assert {type(one) for one in found} == {Hello, Pull, Batch}
    assert {one for one in found if isinstance(one, Hello)} == {Hello(2, SAID, 0, bytes(32))}
    asked = {(one.author.hex(), one.after) for one in found if isinstance(one, Pull)}
    assert asked == {(ADMIN, 0), (RECOVERY, 0)}
    batches = [one for one in found if isinstance(one, Batch)]
    assert len(batches) == 6 * MAX_PULLS
    assert all(messages.unpack(one.events) == [] and one.last == one.after for one in batches)


def test_a_quiet_session_takes_what_may_say_who_belongs_and_gives_nothing(
    peers: list[Peer],
) -> None:
    ben, cid, _ = peers
    hold(ben, 1, 30)
    hold(ben, 2, 2)
    hold(ben, 3, 5)
    notes(ben.ledger, 3)
    notes(cid.ledger, 4)
    told, hears = ben.end(peer=cid.author), quiet(cid, peer=ben.author)
    talk(told, hears)
    assert cid.authors() == {cid.author, ADMIN, RECOVERY}
    assert cid.ledger.tips()[ADMIN] == ben.ledger.tips()[ADMIN]
    assert ben.authors() == {ben.author, ADMIN, RECOVERY, RUNNER}
    named = {row.author.hex() for one in hears.said if isinstance(one, Heads) for row in one.rows}
    assert named <= {RECOVERY}
    assert told.session.told_of_us is None  # silence of a quiet side is no word about our chain
    assert hears.session.told_of_us is None
    assert (told.session.tally.answers, hears.session.tally.answers) == (False, True)


def test_news_that_comes_while_a_quiet_session_lasts_is_heard(peers: list[Peer]) -> None:
    ben, cid, _ = peers
    notes(ben.ledger, 1)
    told, hears = ben.end(peer=cid.author), quiet(cid, peer=ben.author)
    talk(told, hears)
    hold(ben, 2, 2)
    told.session.poke([RECOVERY], eager=False)
    talk(told, hears)
    assert cid.ledger.tips()[RECOVERY].seq == 2


def test_two_that_were_put_out_tell_each_other_of_the_recovery_key_alone(
    peers: list[Peer],
) -> None:
    _, cid, dan = peers
    hold(cid, 2, 5)
    hold(dan, 2, 2)  # the same key's, and less of it
    hold(cid, 1, 9)
    notes(cid.ledger, 2)
    notes(dan.ledger, 2)
    one, two = quiet(cid, peer=dan.author), quiet(dan, peer=cid.author)
    talk(one, two)
    for peer in (cid, dan):
        assert peer.ledger.tips()[RECOVERY].seq == 5
    assert dan.authors() == {dan.author, RECOVERY}
    assert cid.authors() == {cid.author, ADMIN, RECOVERY}
    assert Holdings(dan.ledger, dan.admits).tip(RECOVERY) == cid.ledger.tips()[RECOVERY]


def test_what_is_held_of_an_admin_is_asked_for_from_a_round_number_on(peers: list[Peer]) -> None:
    ben, cid, _ = peers
    hold(ben, 1, 2300)
    hold(cid, 1, 2200)
    told, hears = ben.end(), quiet(cid)
    talk(told, hears)
    assert cid.ledger.tips()[ADMIN].seq == 2300
    asked = [one.after for one in hears.said if isinstance(one, Pull)]
    assert asked == [2 * GRAIN]
