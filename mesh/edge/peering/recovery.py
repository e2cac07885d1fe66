"""What the recovery words can do: an admin where there is none, a stolen key out.

The statements are signed here, in the process that was given the words, on the recovery key's own
chain; what leaves is signed events, which any ledger takes through its gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

import msgspec

from mesh.api.errors import RequestError
from mesh.config import load_config
from mesh.edge.identity import fleet_of, load_or_create
from mesh.edge.pairing.branches import Branch, at_ms, branches, chain_of, place_of
from mesh.edge.pairing.desk import fits, only
from mesh.edge.pairing.standing import is_known
from mesh.edge.store.ledger import Ledger
from mesh.edge.store.state import load_state
from mesh.edge.transport.link import own_anchor
from mesh.ledger import codec, gate, hlc, ids, signing
from mesh.ledger.event import NO_PREV, SCHEMA_VERSION, Event
from mesh.state.facts.fact import Payload, encode
from mesh.state.facts.member import PeerAdded, PeerRemoved
from mesh.state.members import ADDED, ADMIN, REMOVED, PeerView
from mesh.state.peer_id import peer_id

Statement = tuple[str, Payload]  # an event's type and what it says
Envelope = tuple[bytes, bytes]  # (signature, body)
WHY: Final = "removed with the recovery words"


class Forked(RequestError):
    """A key signed two histories, and nobody said which is the good one."""

    def __init__(self, name: str, found: Sequence[Branch]) -> None:
        super().__init__("Forked", f"{name}'s key signed {len(found)} histories", "--keep", 409)
        self.name: Final = name
        self.branches: Final = found


@final
class Recovery:
    """A fleet as its recovery key sees it, read from one machine's ledger."""

    def __init__(self, home: Path) -> None:
        """RequestError where this machine is in no fleet that has a recovery key."""
        fleet = fleet_of(home)
        if fleet is None:
            raise RequestError(
                "NoFleet", "this machine is in no fleet", "fleet recover on one that is", 409
            )
        self._home: Final = home
        self._root: Final = fleet.root
        self._who: Final = load_or_create(home)
        self._members: Final = load_state(home).members
        if not self._members.seen(fleet.root):
            raise RequestError(
                "NotSynced",
                "this machine's ledger holds nothing of the fleet yet: nobody could say here which "
                "events were good",
                "fleet sync; or fleet recover on another machine of the fleet",
                409,
            )
        self.public: Final = fleet.recovery or self._members.recovery
        if not self.public:
            root = [one.name for one in self._members.peers() if one.author == fleet.root]
            raise RequestError(
                "NoRecovery",
                "this fleet has no recovery words: an earlier version founded it",
                f"on {''.join(root) or 'the machine that founded it'}: fleet recovery new",
                409,
            )

    def opens(self, seed: bytes) -> bool:
        """Whether a secret is the fleet's."""
        return signing.author_of(seed) == self.public

    def admins(self) -> list[dict[str, object]]:
        """Who administers the fleet now, each with its newest event known here; and the founder,
        whose stolen key may have taken that back."""
        found = self._members.admins()
        found += [self._root] * (self._root not in found)
        return [self._row(self._members.peer(author)) for author in found]

    def _row(self, one: PeerView) -> dict[str, object]:
        chain = self.chain(one.author)
        last = max(chain, key=lambda event: event.seq, default=None)
        return {
            "name": self._name(one),
            "peer_id": peer_id(one.author),
            "you": one.author == self._who.author,
            "seniority": one.seniority,
            "histories": len(branches(chain)),
            "last_event": last.id if last else "",
            "last_type": last.event_type if last else "",
            "last_ms": at_ms(last) if last else None,
        }

    def chain(self, author: str) -> list[Event]:
        """Every event of an author."""
        return chain_of(self._home, author)

    def newest(self, text: str, count: int) -> list[dict[str, object]]:
        """What a member signed last, the newest first."""
        chain = sorted(self.chain(self.find(text).author), key=lambda event: -event.seq)[:count]
        return [
            {"seq": one.seq, "id": one.id, "type": one.event_type, "ms": at_ms(one)}
            for one in chain
        ]

    def find(self, text: str) -> PeerView:
        """The member of that name or that start of an id, else one that was: a thief may have put
        it out, or left with its key, and taken back what it signed before."""
        peers = list(self._members.peers())
        found = [one for one in peers if fits(text, self._name(one), peer_id(one.author))]
        members = [one for one in found if one.role]
        return only(members or found, text, "is in this fleet", "fleet peers")

    def _name(self, one: PeerView) -> str:
        """What a peer is called; the founder also where none of its words count any more."""
        founded = self._members.founded
        first = founded.name if founded is not None and founded.author == one.author else ""
        return one.name or first

    def removal(self, text: str, keep: str) -> Statement:
        """Puts a peer out at its last good event: the one that `keep` names, else its newest."""
        one = self.find(text)
        if one.author == self._who.author:
            raise RequestError(
                "Self",
                "this machine's own key can't be removed from here",
                "fleet recover --remove on another machine of the fleet",
                409,
            )
        seq, digest = self._cut(one, keep)
        fact = PeerRemoved(key=one.author, until=seq, until_hash=digest, reason=WHY)
        return REMOVED, encode(fact)

    def _cut(self, one: PeerView, keep: str) -> tuple[int, str]:
        chain = self.chain(one.author)
        if keep:
            return place_of(chain, keep, one.name)
        found = branches(chain)
        if len(found) > 1:
            raise Forked(one.name, found)
        return (found[0].last.seq, found[0].last.hash) if found else (0, "")

    def grant(self) -> Statement:
        """Makes this machine an admin, from its next event on."""
        me = self._who.author
        found = branches(self.chain(me))
        if len(found) > 1:
            raise RequestError(
                "Forked",
                "this machine's key signed two histories and signs no more",
                "fleet recover on another machine of the fleet; then fleet identity reset here, "
                "and fleet join with a code from there",
                409,
            )
        known = self._members.peer(me) if is_known(self._members, me) else None
        fact = PeerAdded(
            key=me,
            name=known.name if known else load_config(self._home).name,
            role=ADMIN,
            tls=(known.tls if known else "") or own_anchor(self._who)[1].hex(),
            since=found[0].last.seq + 1 if found else 1,
            since_hash=found[0].last.hash if found else "",
            names=self._members.names_for(me),
        )
        return ADDED, encode(fact)

    def is_admin(self) -> bool:
        """Whether this machine may let others in without the words."""
        return self._members.role(self._who.author) == ADMIN

    def is_heard(self) -> bool:
        """Whether the others hear this machine's key: who was put out is, a new key is not."""
        return is_known(self._members, self._who.author)

    def sign(self, seed: bytes, said: Sequence[Statement], now: int) -> list[Envelope]:
        """The statements as the next events of the recovery key's own chain."""
        found = branches(self.chain(self.public))
        last = found[0].last if found else None
        seq, prev = (last.seq, last.hash) if last else (0, NO_PREV)
        stamp = hlc.parse(last.hlc) if last else hlc.ZERO
        made: list[Envelope] = []
        for event_type, payload in said:
            seq, stamp = seq + 1, hlc.send(stamp, now)
            body = codec.encode(
                {
                    "author": self.public,
                    "device_id": peer_id(self.public),
                    "event_type": event_type,
                    "hlc": hlc.render(stamp),
                    "payload": payload,
                    "prev": prev,
                    "seq": seq,
                    "timestamp": hlc.timestamp(stamp.ms),
                    "v": SCHEMA_VERSION,
                }
            )
            made.append((signing.seal(seed, body), body))
            prev = ids.event_hash(body)
        return made


def lines_of(envelopes: Sequence[Envelope]) -> bytes:
    """Signed events as `fleet export` writes them: a line each."""
    said = [
        codec.decode(body) | {"id": ids.event_id(ids.event_hash(body)), "sig": sig.hex()}
        for sig, body in envelopes
    ]
    return b"".join(msgspec.json.encode(one, order="sorted") + b"\n" for one in said)


def take_in(home: Path, envelopes: Sequence[Envelope]) -> None:
    """Put them into the ledger of a machine whose daemon is down."""
    with Ledger.open(home) as ledger:
        for outcome in ledger.admit_many(envelopes):
            if isinstance(outcome, gate.Reject | gate.Hold):
                raise RequestError("NotTaken", f"the ledger refuses it: {outcome.reason}", "", 409)
