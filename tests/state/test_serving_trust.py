"""Whose word on keys, services and usage counts in a fleet; the same in every order."""

import random

import pytest

from mesh.ledger.event import Event
from mesh.state.checkpoint import digest
from mesh.state.members import ADMIN, MEMBER, RUNNER, VIEWER
from mesh.state.peer_id import short_id
from tests.state.trust_story import NAMES, Key, fleet, folded, live

HASH = "0" * 64


def add_key(author: Key, key_id: str = "k1") -> Event:
    return author.say("key_added", key_id=key_id, name=f"{author.name}'s", hash=HASH)


def revoke(author: Key, key_id: str = "k1") -> Event:
    return author.say("key_revoked", key_id=key_id)


def serve(author: Key, service_id: str = "s1") -> Event:
    given = {"model": author.name, "min_replicas": 0, "max_replicas": 1, "idle_ms": 0}
    return author.say("service_set", service_id=service_id, **given)


def use(author: Key, device: str = "rig", cost: int = 5) -> Event:
    row = {"key_id": "k1", "model": "m", "device_id": device, "requests": 1, "cost_nusd": cost}
    return author.say("usage_summarised", begun_ms=author.ms, span_ms=60_000, rows=[row])


@pytest.mark.parametrize(
    ("role", "keys", "used"), [(VIEWER, 0, 0), (MEMBER, 1, 0), (RUNNER, 1, 1), (ADMIN, 1, 1)]
)
def test_keys_and_services_need_a_member_and_usage_a_runner(
    role: str, keys: int, used: int
) -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    said = [root.add("cid", role), add_key(cid), serve(cid)]
    said += [cid.say("device_registered", device="rig"), use(cid)]
    state = live([*events, *said])
    assert (len(state.keys), len(state.services), len(state.usage)) == (keys, keys, used)


@pytest.mark.parametrize(("role", "works"), [(MEMBER, True), (RUNNER, True), (ADMIN, False)])
def test_another_peers_key_is_revoked_by_admins_only(role: str, works: bool) -> None:  # noqa: FBT001
    root, ana, *_, events = fleet()
    cid = Key("cid")
    made, grant, said = add_key(ana), root.add("cid", role), revoke(cid)
    for story in ((made, grant, said), (said, grant, made)):
        assert live([*events, *story]).keys["k1"].works is works


def test_keys_of_a_peer_that_was_put_out_open_nothing() -> None:
    root, *_, events = fleet()
    cid = Key("cid")
    said = [grant := root.add("cid", MEMBER), add_key(cid), last := serve(cid)]
    assert live([*events, *said]).keys["k1"].works
    state = live([*events, *said, root.fork(grant).remove("cid", last)])
    assert not state.keys["k1"].works
    assert state.services == {}
    assert live([*events, *said, root.fork(grant).remove("cid", None)]).keys == {}


def test_a_key_of_one_id_is_whose_it_is_named_for_else_the_seniors() -> None:
    _, ana, ben, _, events = fleet()
    named = f"k-{short_id(NAMES['ben'])}-1"
    said = [add_key(ben), add_key(ana), serve(ben), serve(ana)]
    state = live([*events, *said, add_key(ben, named), add_key(ana, named)])
    assert state.keys["k1"].author == NAMES["ana"]
    assert state.services["s1"].home == NAMES["ana"]
    assert state.keys[named].author == NAMES["ben"]


def history(rng: random.Random) -> list[Event]:
    """A fleet in which people come and go while they speak of keys, services and usage."""
    root, ana, ben, _, made = fleet()
    keys = [root, ana, ben, Key("cid"), Key("evil")]
    said: dict[str, list[Event]] = {one.name: [] for one in keys}
    for _ in range(rng.randrange(8, 40)):
        who, other = rng.choice(keys), rng.choice(keys[1:])
        name = f"{rng.randrange(3)}"
        since = rng.choice([None, *said[other.name]])
        kind = rng.randrange(7)
        if kind == 0:
            event = who.add(other.name, rng.choice([VIEWER, MEMBER, RUNNER, ADMIN]), since)
        elif kind == 1:
            event = who.remove(other.name, since)
        elif kind == 2:
            event = who.say("device_registered", device=rng.choice(["rig", "box"]))
        elif kind == 3:
            event = use(who, rng.choice(["rig", "box"]), rng.randrange(9))
        elif kind == 4:
            event = revoke(who, name)
        else:
            event = add_key(who, name) if kind == 5 else serve(who, name)
        made.append(event)
        said[who.name].append(event)
    return made


@pytest.mark.parametrize("seed", range(60))
def test_whoever_comes_and_goes_every_order_says_the_same(seed: int) -> None:
    rng = random.Random(seed)
    made = history(rng)
    rest = made[1:]
    rng.shuffle(rest)
    shuffled, ordered = live([made[0], *rest]), folded(made)
    assert shuffled.keys == ordered.keys
    assert shuffled.services == ordered.services
    assert shuffled.usage == ordered.usage
    assert digest(shuffled) == digest(ordered)
