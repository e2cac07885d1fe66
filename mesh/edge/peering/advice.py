"""What a fleet lacks that would lock its people out one day, and what to do about it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from mesh.edge.identity import fleet_of, load_or_create
from mesh.edge.pairing.standing import way_back
from mesh.edge.store.forks import forks
from mesh.edge.store.ledger import Reader
from mesh.edge.store.state import load_state
from mesh.ledger.hlc import timestamp
from mesh.state.members import Members
from mesh.state.peer_id import peer_id

Advice = tuple[str, str, str]  # what, its state, what to do

# An honest clock is minutes off, a wrong zone hours; what is dated later lands on wrong bills.
FAR_MS = 86_400_000
SECOND_ADMIN = "fleet peers role NAME admin makes a second"


def advice(home: Path, now: int) -> list[Advice]:
    """About the keys of this fleet; StoreError where its ledger can't be read."""
    found, fleet = forks(home), fleet_of(home)
    me = load_or_create(home).author if (home / "identity.key").exists() else ""
    if fleet is None:
        return [_forked(key, seq, "", "fleet identity reset on one") for key, seq in found.items()]
    members = load_state(home).members
    names = {one.author: one.name for one in members.peers() if one.role}
    said = []
    for key, seq in sorted(found.items()):
        lists = f"fleet peers remove {names.get(key)} lists them"
        fix = way_back(members, fleet, me) if key == me else lists if key in names else ""
        said.append(_forked(key, seq, names.get(key, ""), fix))
    said += _admins(members)
    if not (fleet.recovery or members.recovery or fleet.founding or members.founding):
        said.append(_recovery(names.get(fleet.root, ""), mine=fleet.root == me))
    return said + _clocks(home, now, names, me)


def _clocks(home: Path, now: int, names: dict[str, str], me: str) -> list[Advice]:
    """Keys whose events are dated far ahead: each later one comes after that."""
    with closing(Reader.open(home)) as reader:
        dated = {author: reader.last_ms_of(author) for author in names}
    there = "once its clock is right: fleet identity reset"
    return [
        (
            f"clock of {names[author]}",
            f"its events are dated {timestamp(ms)[:10]}, and will be from now on",
            f"{there} here" if author == me else f"{there} there",
        )
        for author, ms in dated.items()
        if ms > now + FAR_MS
    ]


def _forked(key: str, seq: int, name: str, fix: str) -> Advice:
    return (
        f"key {name or peer_id(key)[:7]}",
        f"FORKED: two histories from its event {seq} on",
        fix,
    )


def _admins(members: Members) -> list[Advice]:
    """One admin is one lost disk away from nobody."""
    admins = members.admins()
    if len(admins) > 1 or len([one for one in members.peers() if one.role]) < 2:
        return []
    if not admins:
        return [("admins", "none: nobody can let a peer in", "fleet recover asks for the words")]
    only = members.peer(admins[0]).name or admins[0][:8]
    return [("admins", f"one, {only}: nobody could replace it", SECOND_ADMIN)]


def _recovery(root: str, *, mine: bool) -> Advice:
    """A fleet of an earlier version has no recovery key yet; one key can give it one."""
    fix = "fleet recovery new" if mine else f"on {root or 'its founder'}: fleet recovery new"
    return ("recovery words", "none: the founder's key is the only way back", fix)
