"""The owner's side: offers, claims and leases of this peer's own devices. It alone books them.

A lease is the owner's signed `job_accepted`: on disk before the claim is answered. Whoever asks
again is told the same; after a crash the ledger knows what was answered.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, final

from mesh.api.bodies import Sealed, seal
from mesh.api.errors import RequestError
from mesh.api.wire.claims import (
    GONE,
    MAX_PART_BYTES,
    MAX_WORDS,
    Ask,
    Claim,
    Lease,
    Leases,
    Offer,
    Part,
    Standing,
)
from mesh.edge.disk import StoreError
from mesh.edge.dispatch.claim_events import ClaimEvents
from mesh.edge.dispatch.holds import Holds
from mesh.edge.dispatch.mirror import FILES
from mesh.edge.dispatch.ports import Ledger, ModelFiles
from mesh.edge.jobs.effects import HeldUp
from mesh.edge.jobs.private import keep_body, keep_model
from mesh.edge.locks import KeyedLocks
from mesh.policy.decide import attempts_at
from mesh.policy.standing import is_heard, may_use
from mesh.state.answers import are_one_gang
from mesh.state.facts.fact import encode
from mesh.state.facts.job import JobAccepted, JobCancelled
from mesh.state.fleet import DeviceView
from mesh.state.jobs import QUEUED, AttemptView, JobView
from mesh.state.peer_id import is_named_for, short_id
from mesh.sync.archive import Envelope

# A home's facts come with its claim; where one of them is missing, sync brings it in this time.
FACTS_S: Final = 2.0
LOOK_S: Final = 0.05
FULL_S: Final = 10.0  # after a write the disk refused: homes go elsewhere meanwhile
OUTPUT_S: Final = 0.1  # how late a home may see what a job wrote
MAX_WAIT_S: Final = 20.0  # shorter than a call may take
# What one device has waiting: whoever would wait behind so many goes elsewhere.
MAX_QUEUE: Final = 1000


def declined(code: str, text: str, hint: str = "", status: int = 409) -> RequestError:
    """A no of this owner's; its code says whether it is one for good."""
    return RequestError(code, text, hint, status)


class Rooms(Protocol):
    """What this peer's devices can take."""

    async def expects(self, device: DeviceView, ask: Ask) -> Standing:
        """How it would stand there; RequestError with its reason where it can't start."""

    def standing(self, job_id: str, attempt: int) -> Standing:
        """How an accepted attempt stands."""


class Work(Protocol):
    """The attempts at hand. `held_up`: why those that were to start have not."""

    held_up: dict[tuple[str, int], HeldUp]

    def has_begun(self, one: AttemptView, job_id: str) -> bool:
        """Whether a start of it was ever tried here."""

    async def stop(self, job_id: str, attempt: int) -> None:
        """Have it ended; that may take as long as a program takes to end."""

    async def read(
        self, job_id: str, attempt: int, name: str, offset: int, limit: int
    ) -> tuple[bytes, int]:
        """Part of one of its files, and the file's size."""


@final
class LocalOwner:
    """This peer as the owner of its devices. `rooms` says what they can take and when, `work` has
    the attempts at hand, `bring_ms` how long a model of so many bytes takes from here to a device's
    host."""

    def __init__(
        self,
        home: Path,
        ledger: Ledger,
        rooms: Rooms,
        work: Work,
        models: ModelFiles,
        bring_ms: Callable[[str, int], int] = lambda *_: 0,
    ) -> None:
        self._home: Final = home
        self._ledger: Final = ledger
        self._rooms: Final = rooms
        self._work: Final = work
        self._models: Final = models
        self._bring_ms: Final = bring_ms
        self._events: Final = ClaimEvents(ledger)
        self._holds: Final = Holds()
        self._locks: Final = KeyedLocks()
        self._full_until_s = 0.0  # the disk took nothing a moment ago

    async def offer(self, home: str, ask: Ask) -> Offer:
        """A held place on a device of ours; RequestError with its reason where there is none."""
        self._demand_role(home)
        self._demand_own_role()
        device = self._own_all(ask.devices)
        self._demand_home(home, ask.job_id)
        if _now_s() < self._full_until_s:
            raise declined("Busy", f"the disk of {device.name}'s machine takes nothing just now")
        standing = await self._rooms.expects(device, ask)
        wanted = set(ask.devices)
        ahead = sum(not wanted.isdisjoint(one.devices) for _, one in self._mine())
        if ahead >= MAX_QUEUE:
            raise declined("Busy", f"{device.name} has {ahead} jobs waiting", "try another device")
        held = self._holds.add(home, ask, _now_s())
        if held is None:
            raise declined("Busy", "too many offers are held", "claim or release some", 429)
        return Offer(
            offer_id=held.offer_id,
            device_id=ask.device_id,
            standing=standing,
            fetch_ms=await self._fetch_ms(home, ask),
            ahead=ahead,
            members=ask.devices[1:],
        )

    async def release(self, home: str, offer_id: str) -> None:
        """The home took another offer."""
        self._holds.drop(home, offer_id)

    async def claim(self, home: str, claim: Claim) -> Lease:
        """The lease, durable; the same claim again gets the same lease."""
        if self._find(claim.job_id, claim.attempt) is None and not self._may_use(home):
            self._holds.refuse(claim.job_id, claim.attempt)
            self._demand_role(home)
        await self._events.take_in(home, _pairs(claim))
        async with self._locks.one_at_a_time((claim.job_id, claim.attempt)):
            job, one = await self._dispatched(home, claim.job_id, claim.attempt)
            if one.alive or one.ended:  # whatever its home may do by now: it has the lease
                return self._lease(job, one)
            try:
                if self._work.has_begun(one, job.job_id):
                    return await self._say_again(job, one)
                self._demand_role(home)
                self._demand_own_role()
                self._demand_takable(home, job, one, claim)
                return await self._accept(home, job, one, claim)
            except RequestError as error:
                if error.code in GONE:  # for good: a claim sent before this one may come after it
                    self._holds.refuse(job.job_id, one.number)
                raise
            except StoreError:
                self._full_until_s = _now_s() + FULL_S
                raise

    async def _accept(self, home: str, job: JobView, one: AttemptView, claim: Claim) -> Lease:
        if home != self._ledger.author:
            await self._keep(job, claim)
        lease = await self._say(job, one)
        # Held until then: where the disk took nothing, the same claim may come again.
        self._holds.drop(home, claim.offer_id)
        return lease

    async def _say_again(self, job: JobView, one: AttemptView) -> Lease:
        """A lease of ours that counts no more, since this peer was put out and let in again: what
        began by it is watched, ended and billed by a new one."""
        self._demand_own_role()
        return await self._say(job, one)

    async def _say(self, job: JobView, one: AttemptView) -> Lease:
        fact = JobAccepted(job_id=job.job_id, attempt=one.number)
        await self._ledger.emit_all([("job_accepted", one.device_id, encode(fact))])
        return self._lease(*self._attempt(job.job_id, one.number))

    async def _keep(self, job: JobView, claim: Claim) -> None:
        """Put what was typed on this disk, durably, if it is what the job's event sealed."""
        sealed = Sealed(body_hash=job.asked.body_hash, body_bytes=job.asked.body_bytes)
        salt = bytes.fromhex(claim.salt)
        if seal(claim.body, salt) != sealed:
            raise declined("BadBody", "what came is not what the job's event sealed")
        await asyncio.to_thread(keep_body, self._home, job.job_id, claim.body, salt)
        if claim.model is not None:
            await asyncio.to_thread(keep_model, self._home, job.job_id, claim.model)

    async def _fetch_ms(self, home: str, ask: Ask) -> int:
        """Until the model is where the device's engine reads it: here, and then on its host."""
        on_host = self._bring_ms(ask.device_id, ask.model_bytes) if ask.kind == "model" else 0
        if home == self._ledger.author:
            return on_host
        return on_host + await self._models.fetch_ms(ask.model_hash, ask.model_bytes, home)

    async def withdraw(self, home: str, job_id: str, attempt: int) -> Lease:
        """End an attempt at its home's word, whatever its role, or say for good that it will not
        begin."""
        self._demand_own_role()
        async with self._locks.one_at_a_time((job_id, attempt)):
            job, one = await self._dispatched(home, job_id, attempt)
            if one.ended:
                return self._lease(job, one)
            if not one.alive and self._work.has_begun(one, job_id):
                await self._say_again(job, one)
                one = self._attempt(job_id, attempt)[1]
            if one.alive:
                await self._work.stop(job_id, attempt)
                return self._lease(*self._attempt(job_id, attempt))
            fact = JobCancelled(
                job_id=job_id, attempt=attempt, actual_duration_ms=0, actual_cost_nusd=0
            )
            await self._ledger.emit_all([("job_cancelled", one.device_id, encode(fact))])
            return self._lease(*self._attempt(job_id, attempt))

    async def status(self, home: str, job_id: str, attempt: int) -> Lease:
        """How an attempt stands here; every member's ledger says so too."""
        return self._lease(*self._attempt(job_id, attempt))

    def standing(self, job_id: str, attempt: int) -> Standing:
        """Why an accepted attempt waits, and when it should start."""
        why = self._work.held_up.get((job_id, attempt))
        if why is not None:
            return Standing(code=why.code, text=f"{why.code}: {why.text}"[:MAX_WORDS])
        return self._rooms.standing(job_id, attempt)

    async def waiting(self, home: str) -> Leases:
        """What of a home's waits here, and why, whatever its role."""
        found = [pair for pair in self._mine() if pair[0].home == home and pair[1].status == QUEUED]
        return Leases(leases=[self._lease(*pair) for pair in found])

    async def output(
        self, home: str, job_id: str, attempt: int, name: str, offset: int, wait_s: float
    ) -> Part:
        """What an attempt wrote past an offset, for its home alone."""
        job, one = self._attempt(job_id, attempt)
        if home not in (job.home, job.origin) or name not in FILES:
            raise declined("NotTrusted", "a job's output belongs to its home", "", 403)
        until = _now_s() + min(wait_s, MAX_WAIT_S)
        while True:
            over = self._attempt(job_id, attempt)[1].ended
            data, size = await self._work.read(job_id, attempt, name, offset, MAX_PART_BYTES)
            if data or over or _now_s() >= until:
                encoded = base64.b64encode(data).decode()
                return Part(data=encoded, size=size, over=over and offset + len(data) >= size)
            await asyncio.sleep(OUTPUT_S)

    # What must be so.

    def _may_use(self, home: str) -> bool:
        return may_use(self._ledger.state.members, home, self._ledger.author)

    def _demand_own_role(self) -> None:
        """Of who is not heard no lease is one; nobody knows what it took before."""
        if not is_heard(self._ledger.state.members, self._ledger.author):
            text = "what this peer says of jobs does not count now"
            raise declined("StaleView", text, "fleet peers", 503)

    def _demand_role(self, home: str) -> None:
        role = self._ledger.state.members.role(home)
        if not self._may_use(home):
            raise declined(
                "NotTrusted",
                f"jobs on other peers' devices need the role runner, not {role or 'none'}",
                "one of the admins changes it: fleet peers role NAME runner",
                403,
            )

    def _own(self, device_id: str) -> DeviceView:
        device = self._ledger.state.devices.get(device_id)
        if device is None or device.owner != self._ledger.author or device.hand_described:
            raise declined("NotHere", f"{device_id} is no device of this peer", "fleet devices")
        return device

    def _own_all(self, devices: tuple[str, ...]) -> DeviceView:
        """The first of one device or a gang's, which must be ours, each once, and in one host."""
        views = [self._own(one) for one in devices]
        if len(set(devices)) < len(devices) or not are_one_gang(self._ledger.state, devices):
            text = f"{' and '.join(one.name for one in views)} are not of one host"
            raise declined("NoFit", text, "a job's devices are")
        return views[0]

    def _demand_home(self, home: str, job_id: str) -> None:
        """A job that is known is its home's, one that is not belongs to whom its id names."""
        job = self._ledger.state.jobs.get(job_id)
        if job is None and job_id in self._ledger.state.retired:
            raise declined("Cancelled", f"job {job_id} has ended", f"fleet job {job_id}")
        named = job_id.startswith("j-") and job_id[2:12] != short_id(home)
        if job is None and named and not is_named_for(home, job_id):
            raise declined("NotTrusted", f"{job_id} is an id of another peer's job")
        if job is not None and job.home != home:
            raise declined("StaleView", f"another peer decides for job {job_id} here", "", 503)

    def _demand_takable(self, home: str, job: JobView, one: AttemptView, claim: Claim) -> None:
        if job.cancel_asked or job.ended:
            raise declined("Cancelled", f"job {job.job_id} is {job.status}")
        now_s, offer_id = _now_s(), claim.offer_id
        held = self._holds.holds(home, job.job_id, one.number, one.devices, offer_id, now_s)
        if one.by != home or not held:
            raise declined("HoldLapsed", "the offer is not held any more", "ask again", 410)

    async def _dispatched(
        self, home: str, job_id: str, attempt: int
    ) -> tuple[JobView, AttemptView]:
        """The attempt as its home's events say it, which come with the claim or soon after."""
        until = _now_s() + FACTS_S
        while True:
            self._demand_home(home, job_id)
            found = self._find(job_id, attempt)
            if found is not None:
                return found
            if _now_s() >= until:
                raise declined("StaleView", f"{job_id} is not known here yet", "ask again", 503)
            await asyncio.sleep(LOOK_S)

    def _find(self, job_id: str, attempt: int) -> tuple[JobView, AttemptView] | None:
        job = self._ledger.state.jobs.get(job_id)
        for one in () if job is None else job.attempts:
            if one.number == attempt and one.owner == self._ledger.author and job is not None:
                return job, one
        return None

    def _attempt(self, job_id: str, attempt: int) -> tuple[JobView, AttemptView]:
        found = self._find(job_id, attempt)
        if found is None:
            raise declined("NotFound", f"no attempt {attempt} of {job_id} here", "", 404)
        return found

    def _lease(self, job: JobView, one: AttemptView) -> Lease:
        return Lease(
            job_id=job.job_id,
            attempt=one.number,
            fence=max(1, one.fence),
            status=one.status,
            standing=self.standing(job.job_id, one.number),
        )

    def _mine(self) -> list[tuple[JobView, AttemptView]]:
        return list(attempts_at(self._ledger.state, self._ledger.author))


def _pairs(claim: Claim) -> list[Envelope]:
    return [(bytes.fromhex(sig), bytes.fromhex(body)) for sig, body in claim.events]


def _now_s() -> float:
    return asyncio.get_running_loop().time()
