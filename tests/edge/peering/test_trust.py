"""Whom a peer links with, in which form of certificate, and what it learns of its fleet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.edge.discovery.sightings import Sightings
from mesh.edge.identity import FLEET_FILE, Fleet, fleet_of, join_fleet
from mesh.edge.peering.trust import DIALLED, Trust
from mesh.edge.transport import certificate
from mesh.edge.transport.link import own_anchor
from mesh.edge.transport.links import QUIET_S
from mesh.state.members import ADMIN, FORMER, VIEWER
from tests.support.homes import Home, let_in


def trust_of(home: Home) -> Trust:
    book = Sightings(home.home)
    return Trust(home.home, home.who, home, book, 7433, lambda _: False, lambda: set())


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[Home, Home]]:
    made = Home(tmp_path, "ana"), Home(tmp_path, "ben")
    yield made
    for one in made:
        one.ledger.close()


async def test_a_peer_keeps_its_fleets_founding_and_recovery_beside_its_key(
    two: tuple[Home, Home],
) -> None:
    ana, ben = two
    await let_in(ana, ben)
    known = ana.fleet()
    assert known is not None
    join_fleet(ben.home, Fleet(root=known.root, introducer=known.root, role=ADMIN))
    ben.take(ana)
    trust_of(ben).refresh()
    fleet = fleet_of(ben.home)
    assert fleet is not None
    assert (fleet.founding, fleet.recovery) == (known.founding, known.recovery)
    assert (fleet.introducer, fleet.role) == (known.root, ADMIN)


async def test_a_founding_that_is_known_is_not_exchanged_for_another(
    two: tuple[Home, Home],
) -> None:
    ana, ben = two
    await let_in(ana, ben)
    known = ana.fleet()
    assert known is not None
    join_fleet(ben.home, Fleet(root=known.root, founding="f" * 64, recovery="e" * 64))
    ben.state.members.root, ben.state.members.founding = known.root, known.founding
    ben.state.members.recovery = known.recovery
    trust_of(ben).refresh()
    fleet = fleet_of(ben.home)
    assert fleet is not None
    assert (fleet.founding, fleet.recovery) == ("f" * 64, "e" * 64)


async def test_a_fleet_file_that_is_damaged_meanwhile_lets_nobody_go(
    two: tuple[Home, Home],
) -> None:
    ana, ben = two
    await let_in(ana, ben)
    ben.taken(ana)
    trust = trust_of(ben)
    trust.refresh()
    known, members = trust.fleet, dict(trust.anchors)
    assert members
    (ben.home / FLEET_FILE).write_text("{")
    trust.refresh()
    assert (trust.fleet, trust.anchors) == (known, members)


async def test_a_guest_links_with_who_let_it_in_before_it_holds_any_event(
    two: tuple[Home, Home],
) -> None:
    ana, ben = two
    await let_in(ana, ben)
    said = ana.desk.welcome("runner", "")
    introducer = ana.who.author
    fleet = Fleet(root=said.root, introducer=introducer, tls=said.tls, role=said.role)
    await ben.belong(fleet)
    trust = trust_of(ben)
    trust.refresh()
    assert trust.anchors == {bytes.fromhex(introducer): own_anchor(ana.who)}
    assert trust.own_role() == "runner"


async def test_a_member_of_an_old_fleet_shows_the_certificate_its_grant_names(
    two: tuple[Home, Home],
) -> None:
    ana, ben = two
    await ana.desk.founding.found()
    old = certificate.signature_of(ben.who.seed, certificate.V1)
    await ana.desk.grant(ben.who.author, "ben", ADMIN, old.hex(), "", 0)
    ben.taken(ana)
    mine, theirs = trust_of(ben), trust_of(ana)
    for one in (mine, theirs):
        one.refresh()
    assert mine.contexts.signature == old
    assert theirs.anchors[bytes.fromhex(ben.who.author)][1] == old
    assert ben.desk.welcome("runner", ana.who.author).tls == old.hex()
    assert theirs.contexts.signature == own_anchor(ana.who)[1]


async def test_a_removed_members_settings_go_and_the_others_stay(
    two: tuple[Home, Home],
) -> None:
    ana, ben = two
    await let_in(ana, ben)
    trust = trust_of(ana)
    assert trust.refresh()
    key = bytes.fromhex(ben.who.author)
    kept = trust.client_context(key)
    assert not trust.refresh()
    assert trust.client_context(key) is kept
    await ana.roster.remove("ben", "")
    assert trust.refresh()
    assert (trust.is_member(key), trust.is_heard(key)) == (False, True)
    assert trust.role_of(key) == FORMER
    with pytest.raises(KeyError):
        trust.client_context(key)


async def test_who_is_let_in_again_is_answered_again(two: tuple[Home, Home]) -> None:
    ana, ben = two
    await let_in(ana, ben)
    await ana.roster.remove("ben", "")
    trust, key = trust_of(ana), bytes.fromhex(ben.who.author)
    trust.refresh()
    assert (trust.anchors, trust.former) == ({}, {key: own_anchor(ben.who)})
    assert not trust.anyone()  # whoever is a member waits to be dialled by who was put out
    server = trust.server_context()
    await let_in(ana, ben)
    assert trust.refresh()
    assert (trust.is_member(key), trust.former, trust.role_of(key)) == (True, {}, "runner")
    assert trust.server_context() is server  # it believed in the same keys before


async def test_a_stranger_is_not_heard(two: tuple[Home, Home]) -> None:
    ana, ben = two
    await ana.desk.founding.found()
    trust, key = trust_of(ana), bytes.fromhex(ben.who.author)
    trust.refresh()
    assert (trust.is_heard(key), trust.role_of(key)) == (False, "")


async def test_a_peer_that_was_put_out_asks_others_that_were_a_few_at_a_time(
    tmp_path: Path,
) -> None:
    ana, *others = (Home(tmp_path, name) for name in "ana ben cid dan eva fay".split())
    for one in others:
        await let_in(ana, one)
    for one in others:
        await ana.roster.remove(one.name, "")
    ben, *out = others
    ben.taken(ana)
    trust = trust_of(ben)
    trust.refresh()
    founder, keys = bytes.fromhex(ana.who.author), {bytes.fromhex(one.who.author) for one in out}
    assert (set(trust.anchors), set(trust.former)) == ({founder}, keys)
    asked = set[bytes]()
    for _ in range(len(out)):
        member, *former = [key for key, _ in trust.wanted()]
        assert (member, len(former)) == (founder, DIALLED)
        for key in former:
            assert trust.client_context(key) is not None
        asked |= set(former)
        ben.ticks += int(QUIET_S * 1000)
    assert asked == keys
    for one in (ana, *others):
        one.ledger.close()


async def test_a_peer_that_lost_its_ledger_asks_whoever_was_a_member(tmp_path: Path) -> None:
    ana, ben, cid = (Home(tmp_path, name) for name in ("ana", "ben", "cid"))
    for one in (ben, cid):
        await let_in(ana, one)
    trust_of(ana).refresh()
    await ana.roster.remove("cid", "sold")
    trust_of(ana).refresh()
    ana.ledger.close()
    for path in ana.home.glob("ledger.db*"):
        path.unlink()
    ana.open()
    trust = trust_of(ana)
    trust.refresh()
    assert set(trust.anchors) == {bytes.fromhex(ben.who.author)}
    assert trust.role_of(bytes.fromhex(ben.who.author)) == VIEWER
    assert trust.role_of(bytes.fromhex(cid.who.author)) == ""
    for one in (ana, ben, cid):
        one.ledger.close()


async def test_a_removal_that_is_known_holds_also_while_a_peer_waits_to_sign(
    two: tuple[Home, Home],
) -> None:
    ana, ben = two
    await let_in(ana, ben)
    trust_of(ana).refresh()
    ana.waits = True
    await ana.roster.remove("ben", "sold")
    trust = trust_of(ana)
    trust.refresh()
    assert trust.role_of(bytes.fromhex(ben.who.author)) == FORMER
    assert not trust.is_member(bytes.fromhex(ben.who.author))
