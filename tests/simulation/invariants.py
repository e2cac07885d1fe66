"""What must hold: of one peer at any moment, and of all once everything has healed."""

from typing import TYPE_CHECKING
from unittest import mock

from mesh.edge.store.ledger import Reader
from mesh.edge.store.verify import verify
from mesh.ledger import signing
from mesh.ledger.event import SCHEMA_VERSION, Event
from mesh.state.answers import bills
from mesh.state.checkpoint import digest
from mesh.state.members import ADMIN
from mesh.state.state import State
from mesh.sync.manifest import Tip
from mesh.sync.manifest import digest as tips_digest
from tests.simulation import keys
from tests.simulation.anew import folded_anew
from tests.simulation.disk import loaded
from tests.simulation.oracle import Oracle
from tests.simulation.removed import Removed
from tests.simulation.work import COST_NUSD, TWICE, price_of, short, whose

if TYPE_CHECKING:
    from tests.simulation.network import Broken
    from tests.simulation.peer import Peer
    from tests.simulation.world import World


class Judge:
    """Looks at the peers of a world from outside."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def broken(self, text: str) -> "Broken":
        return self.world.broken(text)

    # One peer, at any moment

    def glance(self, peer: "Peer") -> None:
        """Whatever was folded in one by one equals the whole ledger folded from nothing."""
        if peer.up and self.is_current(peer):
            self.state_equals_ledger(peer)

    def stays(self, peer: "Peer") -> None:
        """No verdict makes a peer of a fleet alone, where anybody may do anything."""
        members = peer.live.state.members
        if peer.honest and members.root and members.alone:
            self.world.fail(f"peer {peer.number} of a fleet believes that there is none")

    def is_current(self, peer: "Peer") -> bool:
        """Whether the state says that it has seen all the ledger has."""
        state: State = peer.live.state
        if state.members.root != (peer.fleet.root if peer.fleet else ""):
            return False  # it is about to be folded by its fleet's rules
        return not state.stale and state.cursor == peer.ledger.last_cursor()

    def state_equals_ledger(self, peer: "Peer") -> None:
        told, found = digest(peer.live.state), digest(folded_anew(peer.ledger, peer.fleet))
        if told != found:
            raise self.broken(f"peer {peer.number}: its live state is not what its ledger says")

    # All peers, in the end

    def core(self) -> list["Peer"]:
        """The honest peers that belong to the fleet, as whoever nobody may remove sees it.

        Not one whose invitation was lost with a disk, and to whom only a thief gave a role, without
        a certificate by which anybody would know it: it must be invited anew.
        """
        anchor = self.world.anchor
        members = anchor.live.state.members
        if anchor.fleet is None or members.alone:
            return []
        return [
            peer
            for peer in self.world.honest
            if peer.fleet is not None and members.role(peer.who.author)
            if peer is anchor or members.peer(peer.who.author).tls
        ]

    def settled(self) -> bool:
        """Whether all hold the same and have folded it, and nobody has anything to do."""
        core = self.core()
        if not core and self.founding_survives():
            return False
        if not all(peer.up and self.is_current(peer) for peer in core):
            return False
        return len({tips_digest(tips) for tips in self.held(core).values()}) <= 1

    def held(self, core: list["Peer"]) -> dict[int, dict[str, Tip]]:
        """What each tells of."""
        return {peer.number: peer.holds() for peer in self.linkable(core)}

    def linkable(self, core: list["Peer"]) -> list["Peer"]:
        """Those that whoever nobody may remove can reach: by links of peers that know each other.

        That must be everybody but copies: two copies of one disk never link with each other, so
        each may go on with peers that the other has never heard of.
        """
        found = [self.world.anchor] if self.world.anchor in core else core[:1]
        for one in found:
            found += [
                two
                for two in core
                if two not in found and one.key != two.key
                if one.trusts(two.who.author) and two.trusts(one.who.author)
            ]
        return [peer for peer in core if peer in found or not peer.copied]

    def founding_survives(self) -> bool:
        """Whether anybody but the founder has its first word; else a lost disk is a lost fleet."""
        founder = self.world.peers[0]
        return any(
            peer.live.state.members.founded is not None
            for peer in self.world.honest
            if peer.fleet is not None and peer.key != founder.key
        )

    def why_not(self) -> str:
        """What is in the way of settling."""
        core = self.core()
        if not core:
            return "the founder never learns again that it has a fleet"
        if outside := self.world.outside():
            return f"nobody lets peer {outside[0].number} in again"
        late = [peer.number for peer in core if not self.is_current(peer)]
        if late:
            return f"peers {late} never catch up with their own ledgers"
        told: list[str] = []
        held = self.held(core)
        for author in sorted({author for tips in held.values() for author in tips}):
            found = {number: tips.get(author) for number, tips in held.items()}
            if len(set(found.values())) > 1:
                ends = {n: f"{t.seq}.{t.hash[:6]}.{t.fork}" if t else "-" for n, t in found.items()}
                told.append(f"{author[:6]} {ends}")
        shut = [
            f"{one.number} keeps {two.number} out"
            for one in core
            for two in core
            if one.key != two.key and not one.trusts(two.who.author)
        ]
        return f"peers do not converge: {'; '.join(shut + told)}"

    def everything(self) -> None:
        """The invariants that hold in the end."""
        core = self.linkable(self.core())
        for peer in core:
            self.state_equals_ledger(peer)
        if len({digest(peer.live.state) for peer in core}) > 1:
            raise self.broken("peers with the same events have different states")
        self.somebody_administers(core)
        for peer in core[:1]:
            self.own_things(peer)
            self.founder_stays(peer)
            self.removed_keys(peer)
            self.verdicts(peer)
        self.no_strangers(core)
        self.nothing_lost(core)
        self.nothing_forged(core)
        for peer in core:
            self.restarts_to_the_same(peer)
        if core:
            self.verifies(self.world.rng.choice(core))

    def somebody_administers(self, core: list["Peer"]) -> None:
        for peer in core:
            members = peer.live.state.members
            if members.alone:
                raise self.broken(f"peer {peer.number} believes that there is no fleet")
            if members.recovery != keys.identity(keys.RECOVERY).author:
                raise self.broken(f"peer {peer.number} does not know the recovery key")

    def own_things(self, peer: "Peer") -> None:
        """Devices and jobs are whose their names say, and a job is paid once.

        Of those only who has such a thing: a name that its owner never used takes nothing from it.
        """
        state = peer.live.state
        owners = {short(one.who.author): one.who.author for one in self.world.honest}
        said = self.said_of_jobs(peer)
        for device_id, claims in state.claims.claims.items():
            owner = owners.get(whose(device_id), "")
            if owner in claims and state.owner(device_id) != owner:
                raise self.broken(f"{device_id} belongs to {state.owner(device_id)[:8]}")
        for job_id, job in state.jobs.items():
            home = owners.get(whose(job_id), "")
            timeline = state.timelines[job_id]
            if home in timeline.claimants() and job.home != home:
                raise self.broken(f"{job_id} has the home {job.home[:8]}")
            ours = job.home in owners.values() and job.home not in self.world.stolen
            if ours and job.ended_by not in ("", job.home, job.owner):
                raise self.broken(f"{job_id} was ended by {job.ended_by[:8]}")
            due = price_of(said.get(job_id, ()), job.home) if job_id.startswith(TWICE) else None
            if due is not None and job.cost_nusd != due:
                raise self.broken(f"{job_id} was ended twice")
        for bill in bills(state):
            owner = owners.get(whose(bill.device_id), "")
            sound = owner == state.owner(bill.device_id) and owner not in self.world.stolen
            if owner and sound and bill.cost_nusd not in (0, COST_NUSD * bill.jobs):
                raise self.broken(f"{bill.job_id} on {bill.device_id} costs {bill.cost_nusd}")

    def said_of_jobs(self, peer: "Peer") -> dict[str, list[Event]]:
        """What counts of all that was said, by the job."""
        found: dict[str, list[Event]] = {}
        for _, event in peer.ledger.events():
            if peer.live.state.members.counts(event) and event.v == SCHEMA_VERSION:
                found.setdefault(str(event.payload.get("job_id", "")), []).append(event)
        return found

    def verdicts(self, peer: "Peer") -> None:
        """Everybody's role, now and at each event, is what the rules say."""
        members = peer.live.state.members
        events = [event for _, event in peer.ledger.events()]
        oracle = Oracle(events, members.root, members.recovery)
        for author in sorted({event.author for event in events} | set(oracle.grants)):
            told, right = members.role(author), oracle.role(author)
            if told != right:
                raise self.broken(
                    f"peer {peer.number} takes {author[:6]} for {told!r}, not {right!r}"
                )
        for event in events:
            told, right = members.role_of(event), oracle.role_at(event)
            if told != right:
                text = f"peer {peer.number} takes event {event.seq} of {event.author[:6]}"
                raise self.broken(f"{text} for one of {told!r}, not {right!r}")

    def removed_keys(self, peer: "Peer") -> None:
        """Beyond the event that its removal names nothing of a key counts, however it forks."""
        for fault in Removed(peer, self.world.plots.ended).faults():
            raise self.broken(fault)

    def founder_stays(self, peer: "Peer") -> None:
        """Nobody but the recovery key ends the founder."""
        founder = self.world.peers[0].who.author
        if founder not in self.world.stolen and peer.live.state.members.role(founder) != ADMIN:
            raise self.broken("the founder is out")

    def event_ids(self, peers: list["Peer"]) -> set[str]:
        """Every event that any of them has on disk."""
        found: set[str] = set()
        for peer in peers:
            found.update(event.id for _, event in peer.ledger.events())
        return found

    def ids_on_disk(self, peer: "Peer") -> set[str]:
        """Every event on a peer's disk, be it up or down."""
        reader = Reader(peer.home.folder, loaded(peer.disk.durable))
        return {event.id for _, event in reader.events()}

    def nothing_lost(self, core: list["Peer"]) -> None:
        """What a person was told is safe is everywhere, unless a removal or a thief cut it off."""
        if not core:
            return
        everywhere, members = self.event_ids(core[:1]), core[0].live.state.members
        numbers = {peer.number for peer in core}
        for peer in core:
            end = members.limit(peer.who.author)
            end = min(end, members.shattered.get(peer.who.author, end + 1) - 1)
            lost = {name for name, seq in peer.told.acked.items() if seq <= end} - everywhere
            lost -= {name for name, held in peer.told.spared.items() if not held & numbers}
            if lost:
                raise self.broken(f"peer {peer.number} lost {sorted(lost)[0]}, acknowledged")

    def no_strangers(self, core: list["Peer"]) -> None:
        """Keys that no member let in leave nothing on anybody's disk."""
        for peer in core:
            for author in peer.ledger.tips():
                if keys.is_invented(author):
                    raise self.broken(f"peer {peer.number} keeps events of a stranger")

    def nothing_forged(self, core: list["Peer"]) -> None:
        """Nothing stands in an honest peer's name that it did not sign."""
        authors = {peer.who.author for peer in self.world.honest} - self.world.stolen
        for peer in core[:2]:
            for _, event in peer.ledger.events():
                if event.author in authors and event.hash not in self.world.signed:
                    text = f"{event.event_type} {event.seq} of {event.author[:6]}"
                    raise self.broken(f"a forged event was admitted: {text}")

    def restarts_to_the_same(self, peer: "Peer") -> None:
        """A snapshot and what came after it give the same state."""
        before = digest(peer.live.state)
        peer.crash(back_s=1e9)
        peer.start()
        if digest(peer.live.state) != before:
            raise self.broken(f"peer {peer.number} is another after a restart")

    def verifies(self, peer: "Peer") -> None:
        """Every byte on a disk, by a gate that is not broken."""
        with mock.patch.object(signing, "verify", keys.verify):
            for finding in verify(peer.ledger._db).findings:
                if not finding.text.startswith("fork:"):
                    raise self.broken(f"peer {peer.number}: {finding}")
