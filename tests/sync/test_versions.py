"""Neighbours one version apart talk, and each learns how far the other knows its own chain."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from mesh.sync import messages, versions
from mesh.sync.manifest import Tip
from mesh.sync.messages import Hello, Hello1, MessageError
from mesh.sync.session import ProtocolError
from mesh.sync.wants import NOTHING
from tests.sync.fleets import Peer
from tests.sync.sessions import End, copy_of, notes, talk


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[list[Peer]]:
    made = [Peer(tmp_path / name) for name in ("ana", "ben")]
    for one in made:
        one.trust(made)
    yield made
    for one in made:
        one.ledger.close()


def ends(ana: Peer, ben: Peer, version: int) -> tuple[End, End]:
    """Both ends of a link whose greetings agreed on a version."""
    return (
        ana.end(peer=ben.author, version=version),
        ben.end(peer=ana.author, version=version),
    )


@pytest.mark.parametrize(
    ("theirs", "agreed"),
    [([1], 1), ([1, 2], 2), ([2, 3], 2), ([3, 2, 1], 2), ([3], 0), ([], 0), ([-1, 99], 0)],
)
def test_the_highest_version_both_speak_is_used(theirs: list[int], agreed: int) -> None:
    assert versions.common(theirs) == agreed


def test_a_greeting_without_versions_is_the_first_ones() -> None:
    assert versions.listed(None) == (1,)
    assert versions.listed([2, 3]) == (2, 3)
    for noise in ("2", 2, {"2": 2}, [[2]], ["2"], [True], list(range(100))):
        assert versions.common(versions.listed(noise)) in (0,)


def test_peers_without_a_common_version_say_whose_program_is_older() -> None:
    assert versions.apart([3, 4]) == (
        "speaks sync version 3 and 4, this peer 1 and 2: update fleet here"
    )
    assert versions.apart([0]).endswith("update fleet there")


@pytest.mark.parametrize(("version", "hello"), [(1, Hello1), (2, Hello)])
def test_everything_is_exchanged_in_either_version(
    peers: list[Peer], version: int, hello: type
) -> None:
    ana, ben = peers
    notes(ana.ledger, 1200)
    notes(ben.ledger, 7)
    one, two = ends(ana, ben, version)
    talk(one, two)
    assert ana.ledger.count() == ben.ledger.count() == 1207
    assert type(one.said[0]) is type(two.said[0]) is hello
    assert one.said[0].protocol == version
    for _ in range(2):
        notes(ana.ledger, 1)
        one.session.poke([ana.author], eager=True)
        talk(one, two)
    assert "Tail" in one.kinds()
    assert ben.ledger.count() == 1209


def test_a_version_1_hello_is_the_bytes_it_always_was() -> None:
    assert messages.encode(Hello1(1, bytes(32))).hex() == "930001c420" + "00" * 32
    assert messages.decode(bytes.fromhex("930001c420" + "00" * 32), 1) == Hello1(1, bytes(32))


def test_a_hello_of_another_version_than_greeted_is_refused(peers: list[Peer]) -> None:
    one, two = ends(*peers, 1)
    with pytest.raises(ProtocolError, match="speaks version 2, not 1"):
        one.session.receive(messages.encode(Hello1(2, bytes(32))), 0)
    with pytest.raises(ProtocolError, match="not a message"):
        two.session.receive(messages.encode(Hello(2, bytes(32), 0, bytes(32))), 0)
    with pytest.raises(MessageError):
        messages.decode(messages.encode(Hello1(1, bytes(32))), 2)


def own(peer: Peer) -> Tip:
    return peer.ledger.tip(peer.author) or NOTHING


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("here", "there"), [*product((0, 3), (0, 5))])
def test_each_side_is_told_how_far_the_other_knows_its_chain(
    peers: list[Peer], version: int, here: int, there: int
) -> None:
    ana, ben = peers
    notes(ana.ledger, here)
    notes(ben.ledger, there)
    one, two = ends(ana, ben, version)
    assert one.session.told_of_us is None
    talk(one, two)
    assert one.session.told_of_us is not None
    assert two.session.told_of_us is not None
    again, other = ends(ana, ben, version)
    talk(again, other)
    assert again.session.told_of_us == own(ana)
    assert other.session.told_of_us == own(ben)


@pytest.mark.parametrize("version", [1, 2])
def test_a_restored_disk_hears_what_it_lacks_and_gets_it_back(
    peers: list[Peer], version: int, tmp_path: Path
) -> None:
    ana, ben = peers
    notes(ana.ledger, 4)
    home = tmp_path / "ana"
    ana.ledger.close()
    copy_of(home, tmp_path / "backup")
    ana.ledger = Peer(home).ledger
    notes(ana.ledger, 5)
    talk(*ends(ana, ben, version))
    restored = Peer(tmp_path / "backup")  # it knows of no members yet
    one, two = ends(restored, ben, version)
    talk(one, two)
    assert own(restored) == own(ana) == Tip(9, own(ana).hash)
    assert one.session.told_of_us == own(ana)
    restored.ledger.close()


def test_a_neighbour_that_has_nothing_of_us_says_so(peers: list[Peer]) -> None:
    ana, ben = peers
    for version in (1, 2):
        one, two = ends(ana, ben, version)
        notes(ben.ledger, 1)
        for end, other in ((two, one), (one, two), (two, one), (one, two), (two, one)):
            data = end.say()
            if data is not None:
                other.session.receive(data, 0)
        assert one.session.told_of_us == NOTHING
