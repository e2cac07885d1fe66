"""What somebody with a member's key can sign against the others: envelopes to spread."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mesh.edge.identity import Identity
from mesh.edge.store.ledger import Ledger
from mesh.ledger.codec import MAX_INT
from mesh.state.members import ROLES
from mesh.state.state import State
from mesh.sync.archive import Envelope
from tests.simulation import pen
from tests.simulation.keys import EVIL, INVENTED, RECOVERY, identity
from tests.simulation.pen import FUTURE_MS, GENESIS, PAST_MS, Place
from tests.simulation.work import COST_NUSD, TWICE, device_id

SIBLINGS = 48
EPOCHS = (0, 0, 0, 0, 0, 0, 1, 1 << 40)  # of the old form of statements; the new one has none
FLOOD = 24  # invented keys at a time


@dataclass
class Crook:
    """Who does it: the key, what it knows, and whose names it abuses."""

    rng: random.Random
    who: Identity
    ledger: Ledger
    state: State
    now_ms: int
    everybody: list[str]  # authors of all peers, the founder first

    def any_ms(self) -> int:
        """A time that suits it."""
        return self.rng.choice((PAST_MS, self.now_ms, self.now_ms, FUTURE_MS))

    def place(self) -> Place:
        """Where to go on: mostly the tip, else a fork anywhere, so also below a removal."""
        known = pen.places(self.ledger, self.who.author)
        return known[-1] if self.rng.random() < 0.5 else self.rng.choice(known)

    def says(self, *facts: tuple[str, dict[str, object], str]) -> list[Envelope]:
        """Facts one after the other, at one place of its chain."""
        return chain(self.who, self.place(), self.any_ms(), *facts)


def chain(
    who: Identity, at: Place, ms: int, *facts: tuple[str, dict[str, object], str]
) -> list[Envelope]:
    """Facts in a row after a place."""
    made = []
    for kind, payload, device in facts:
        envelope, at = pen.sign(who, at, ms, kind, payload, device)
        made.append(envelope)
    return made


def seize_devices(crook: Crook) -> list[Envelope]:
    """Others' device ids, as if it had had them first."""
    known = sorted(crook.state.devices) or ["dev-x-0"]
    named = crook.rng.sample(known, min(3, len(known)))
    facts: dict[str, object] = {"name": "mine", "memory_bytes": 1, "model": "GT 710"}
    made = [("device_registered", facts, device) for device in named]
    made += [("device_removed", {"reason": "gone"}, device) for device in named[:1]]
    return chain(crook.who, crook.rng.choice((GENESIS, crook.place())), crook.any_ms(), *made)


def seize_jobs(crook: Crook) -> list[Envelope]:
    """Others' job ids, submitted earlier than they were; then moved along."""
    known = sorted(crook.state.jobs) or ["j-x-1"]
    made: list[tuple[str, dict[str, object], str]] = []
    for job in crook.rng.sample(known, min(2, len(known))):
        named: dict[str, object] = {"job_id": job, "attempt": 1}
        made.append(("job_submitted", named | {"model": "stolen"}, ""))
        made.append(("job_dispatched", named | {"owner": crook.who.author}, "dev-x-0"))
    return chain(crook.who, crook.rng.choice((GENESIS, crook.place())), crook.any_ms(), *made)


def end_jobs(crook: Crook) -> list[Envelope]:
    """Others' jobs end at a price, just after they were asked for: before their homes end them."""
    jobs = crook.state.jobs
    if not jobs:
        return []
    job = jobs[crook.rng.choice(sorted(jobs))]
    kind = crook.rng.choice(("job_completed", "job_failed", "job_cancelled", "job_started"))
    end = {"job_id": job.job_id, "attempt": 1, "actual_cost_nusd": 10**15, "tokens_generated": 1}
    places = pen.places(crook.ledger, crook.who.author)
    at = max((one for one in places if one.ms < job.submitted_ms), key=lambda one: one.seq)
    ms = job.submitted_ms + crook.rng.randrange(2)
    return chain(crook.who, at, ms, (kind, end, job.device_id))


def occupy(crook: Crook) -> list[Envelope]:
    """A job of its own, dispatched to somebody else's device."""
    devices = sorted(crook.state.devices) or ["dev-x-0"]
    name = f"j-x-{crook.rng.randrange(1 << 30)}"
    named: dict[str, object] = {"job_id": name, "attempt": 1}
    return crook.says(
        ("job_submitted", named, ""),
        ("job_dispatched", named, crook.rng.choice(devices)),
        ("job_completed", named | {"actual_cost_nusd": 10**15}, crook.rng.choice(devices)),
    )


def end_twice(crook: Crook) -> list[Envelope]:
    """A job of its own on its own device, which ends again at another price."""
    named: dict[str, object] = {"job_id": f"{TWICE}{crook.rng.randrange(1 << 30)}", "attempt": 1}
    device = device_id(crook.who.author)
    dear: dict[str, object] = {"actual_cost_nusd": 10**15, "reason": "x"}
    return crook.says(
        ("device_registered", {"name": "mine", "memory_bytes": 1, "model": "card"}, device),
        ("job_submitted", named, device),
        ("job_dispatched", named, device),
        ("job_completed", named | {"actual_cost_nusd": COST_NUSD}, device),
        (crook.rng.choice(("job_failed", "job_cancelled")), named | dear, device),
    )


def let_evil_in(crook: Crook) -> list[Envelope]:
    """A new key as admin, which goes on by itself."""
    evil = identity(EVIL + crook.rng.randrange(2))
    made = crook.says(("peer_added", _grant(crook, evil.author), ""))
    other = identity(EVIL + 1).author
    at = pen.places(crook.ledger, evil.author)[-1]
    victim = crook.rng.choice(crook.everybody)
    made += chain(
        evil,
        at,
        crook.any_ms(),
        ("peer_added", _grant(crook, other), ""),
        ("peer_removed", _removal(crook, victim), ""),
        (
            "device_registered",
            {"name": "evil"},
            crook.rng.choice(sorted(crook.state.devices) or ["d"]),
        ),
    )
    return made


def remove_everybody(crook: Crook) -> list[Envelope]:
    """The founder out, and whoever else there is, and the recovery key; and then itself."""
    victims = crook.everybody[: crook.rng.randrange(1, len(crook.everybody) + 1)]
    victims = [one for one in victims if one != crook.who.author] + [identity(RECOVERY).author]
    victims += [crook.who.author] * (crook.rng.random() < 0.3)
    return crook.says(*(("peer_removed", _removal(crook, one), "") for one in victims))


def raise_itself(crook: Crook) -> list[Envelope]:
    """A better role for its own key, and worse ones for others."""
    other = crook.rng.choice(crook.everybody)
    return crook.says(
        ("peer_added", _grant(crook, crook.who.author), ""),
        ("peer_added", _grant(crook, other) | {"role": "viewer"}, ""),
        ("peer_renamed", {"key": other, "name": "nobody"}, ""),
        ("fleet_founded", {"recovery": identity(EVIL).author, "name": "mine", "tls": ""}, ""),
    )


def flood(crook: Crook) -> list[Envelope]:
    """Events of keys it made up, statements among them."""
    made: list[Envelope] = []
    for _ in range(FLOOD):
        who = identity(INVENTED + crook.rng.randrange(500))
        victim = crook.rng.choice(crook.everybody)
        made += chain(
            who,
            GENESIS,
            crook.any_ms(),
            ("note_added", {"text": f"spam {crook.rng.randrange(9)}"}, ""),
            ("peer_removed", _removal(crook, victim), ""),
        )
    return made


def siblings(crook: Crook) -> list[Envelope]:
    """Many events at one number, each of which everybody may get to see another part of."""
    at = crook.place()
    made = []
    for n in range(SIBLINGS):
        job: dict[str, object] = {"job_id": f"j-sib-{n}-{crook.rng.randrange(1 << 20)}"}
        made.append(pen.sign(crook.who, at, crook.now_ms + n, "job_submitted", job)[0])
    crook.rng.shuffle(made)
    return made


def tree(crook: Crook) -> list[Envelope]:
    """Branches from branches, deep and wide."""
    known = [crook.place()]
    made = []
    for n in range(crook.rng.randrange(10, 50)):
        at = crook.rng.choice(known[-6:])
        note: dict[str, object] = {"text": f"branch {n}"}
        fact = (
            ("peer_added", _grant(crook, identity(EVIL).author))
            if crook.rng.random() < 0.1
            else ("note_added", note)
        )
        envelope, place = pen.sign(crook.who, at, crook.now_ms, *fact)
        made.append(envelope)
        known.append(place)
    return made


def newer(crook: Crook) -> list[Envelope]:
    """Known types in a version nobody knows, and numbers as large as they get."""
    device = crook.rng.choice(sorted(crook.state.devices) or ["d"])
    at = crook.place()
    removed = {"key": crook.everybody[0], "until": 0, "until_hash": "", "epoch": MAX_INT}
    one, at = pen.sign(crook.who, at, crook.any_ms(), "device_removed", {}, device, v=2)
    two, at = pen.sign(crook.who, at, crook.any_ms(), "peer_removed", removed)
    three, _ = pen.sign(crook.who, at, crook.any_ms(), "unheard_of", {"job_id": 3})
    return [one, two, three]


def replay(crook: Crook) -> list[Envelope]:
    """All it ever heard, once more and in any order."""
    made: list[Envelope] = []
    for author in sorted(crook.ledger.tips()):
        made += crook.ledger.page(author, 0, 200, 1 << 20).envelopes
    crook.rng.shuffle(made)
    return made[:100]


def forge(crook: Crook) -> list[Envelope]:
    """Somebody else's next event, signed by the wrong key or by nobody."""
    author = crook.rng.choice(crook.everybody)
    at = pen.places(crook.ledger, author)[-1]
    note: dict[str, object] = {"text": "forged"}
    (sig, body), _ = pen.sign_as(author, crook.who, at, crook.now_ms, "note_added", note)
    return [(bytes(64) if crook.rng.random() < 0.3 else sig, body)]


def _grant(crook: Crook, key: str) -> dict[str, object]:
    """An admin's role from the first event on, naming whatever it knows of the key."""
    named = sorted(crook.state.members.named)
    names = crook.rng.sample(named, min(len(named), 8))
    names += crook.state.members.names_for(key)
    role = crook.rng.choice(("admin", "admin", *ROLES))
    since = {"since": 1, "since_hash": "", "epoch": crook.rng.choice(EPOCHS)}
    return {"key": key, "name": "evil", "role": role, "tls": "", "names": names} | since


def _removal(crook: Crook, key: str) -> dict[str, object]:
    nowhere = Place(crook.rng.randrange(1, 20), crook.rng.randbytes(32).hex())
    at = crook.rng.choice((GENESIS, pen.places(crook.ledger, key)[-1], nowhere))
    epoch = crook.rng.choice(EPOCHS)
    until_hash = at.hash if at.seq else ""
    return {"key": key, "until": at.seq, "until_hash": until_hash, "epoch": epoch, "reason": "x"}


CRIMES: Final[tuple[Callable[[Crook], list[Envelope]], ...]] = (
    seize_devices,
    seize_jobs,
    end_jobs,
    occupy,
    end_twice,
    let_evil_in,
    remove_everybody,
    raise_itself,
    flood,
    siblings,
    tree,
    newer,
    replay,
    forge,
)
