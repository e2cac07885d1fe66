"""The home's side of a job: it asks owners, chooses, claims, and goes on asking until it knows.

It alone decides for its jobs. Where an owner does not answer a claim, nobody knows whether it has
the job: the same owner is asked again, never another, until it answers or the job's own
`replace_after` says otherwise. What was decided is in the ledger before it is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, final

from mesh.api.bodies import SALT_BYTES, Body
from mesh.api.errors import RequestError
from mesh.api.wire.claims import GONE, MAX_CLAIM_EVENTS, MAX_EVENTS_BYTES, Claim, Lease, Offer
from mesh.edge.dispatch.candidates import Candidate, Nowhere, next_attempt
from mesh.edge.dispatch.ports import Fact, Ledger, ModelFiles, Peers
from mesh.edge.dispatch.pursuit import (
    FIRST_PAUSE_S,
    NO_OFFER,
    NO_WORD,
    Pursuit,
    attempt_of,
    best,
    expected_of,
    first_no,
)
from mesh.edge.jobs.private import Gone, keep_words, kept_request
from mesh.state.facts.fact import encode
from mesh.state.facts.job import (
    JobAdopted,
    JobCancelled,
    JobDispatched,
    JobFailed,
    JobReplaced,
    JobReturned,
)
from mesh.state.jobs import MAX_ATTEMPTS, PENDING, AttemptView, JobView
from mesh.state.members import ADMIN

# Owners asked at once for one job: the best of the plan, and two in case it says no.
ASKED: Final = 3
OFFER_S: Final = 5.0  # an owner that needs longer to offer is not the fastest place to go
HEARD_AGAIN: Final = "Unreachable", "an attempt of it may go on: its owner is heard of again"
NO_GANGS: Final = "its peer's program gives a job one device alone"
UPDATE: Final = "update fleet there"
BEAT_S: Final = 5.0  # how often an owner is asked whether it still has a job that may be replaced

Candidates = Callable[[JobView], Awaitable[Sequence[Candidate]]]


class Budgets(Protocol):
    """Who has the money that attempts cost."""

    async def hold(self, job: JobView, chosen: Candidate) -> tuple[str, str]:
        """(code, sentence) why there is none; two empty texts where it is held durably, or none has
        to be."""


@final
class NoBudgets:
    """Nothing is budgeted."""

    async def hold(self, job: JobView, chosen: Candidate) -> tuple[str, str]:
        """Nothing counts it."""
        return NO_WORD


@final
@dataclass(slots=True)
class Home:
    """One peer's jobs on their way to a device. `fail` ends a job that can go nowhere."""

    home: Path
    ledger: Ledger
    peers: Peers
    candidates: Candidates
    models: ModelFiles
    pursuits: dict[tuple[str, int], Pursuit] = field(default_factory=dict)  # 0: not dispatched
    budgets: Budgets = field(default_factory=NoBudgets)

    def why(self, job: JobView) -> tuple[str, str]:
        """(reason code, sentence) of what a job waits for, as of the last look; "" for nothing."""
        known = self.pursuits.get((job.job_id, 0 if job.status == PENDING else job.attempt))
        return known.why if known is not None else NO_WORD

    def due(self, job_id: str, attempt: int) -> bool:
        """Whether it is time to look at an attempt again; at the job where it is nowhere, as 0."""
        known = self.pursuits.get((job_id, attempt))
        return known is None or known.next_s <= _now_s()

    def forget(self, job_ids: set[str]) -> None:
        """Keep what belongs to jobs that go on."""
        for key in [key for key in self.pursuits if key[0] not in job_ids]:
            del self.pursuits[key]

    def wake(self) -> None:
        """Something changed: whoever waits looks again at once."""
        for one in self.pursuits.values():
            one.next_s, one.pause_s = 0.0, FIRST_PAUSE_S

    def _pursuit(self, job_id: str, attempt: int = 0) -> Pursuit:
        return self.pursuits.setdefault((job_id, attempt), Pursuit())

    # Place

    async def place(self, job: JobView) -> None:
        """Choose a device: ask the owners of the best ones, and dispatch to the best offer."""
        pursuit = self._pursuit(job.job_id)
        if self._may_come_back(job):
            pursuit.later(HEARD_AGAIN, _now_s())
            return
        if next_attempt(job) >= MAX_ATTEMPTS:  # the last number is left to say how it ended
            await self._nowhere(job, "no_resource", f"{MAX_ATTEMPTS} attempts came to nothing")
            return
        try:
            await asyncio.to_thread(kept_request, self.home, job)
            found = await self.candidates(job)
        except Gone as error:
            await self._nowhere(job, "setup", error.text)
            return
        except Nowhere as error:
            if error.for_good:
                await self._nowhere(job, error.code, error.text, error.words)
            else:
                pursuit.later((error.code, error.text), _now_s())
            return
        await self._choose(job, pursuit, found[:ASKED])

    async def _choose(self, job: JobView, pursuit: Pursuit, found: Sequence[Candidate]) -> None:
        offers = await self._offers(found)
        chosen = best(found, offers)
        if chosen is None:
            pursuit.later(first_no(found, offers), _now_s())
            return
        self._release(found, offers, chosen)
        offer = offers[chosen.key]
        assert isinstance(offer, Offer)
        unpaid = await self.budgets.hold(job, chosen)
        if unpaid != NO_WORD:
            pursuit.later(unpaid, _now_s())
            await self._give_back(chosen.owner, offer.offer_id)
            return
        await self._dispatch(job, chosen, offer)

    async def _nowhere(self, job: JobView, reason: str, text: str, words: str = "") -> None:
        """End a job that can go nowhere, unless an attempt of it may still go on."""
        if any(one.open for one in job.attempts):
            self._pursuit(job.job_id).later((reason, text), _now_s())
        else:
            await self._fail(job, reason, text, words)

    def _may_come_back(self, job: JobView) -> bool:
        """Whether an owner that was given up is heard of again, and has the job or may have it."""
        return any(
            one.replaced and one.open and self.peers.reachable(one.owner) for one in job.attempts
        )

    async def _offers(self, found: Sequence[Candidate]) -> dict[str, Offer | RequestError]:
        async def ask(one: Candidate) -> Offer | RequestError:
            try:
                async with asyncio.timeout(OFFER_S):
                    owner = self.peers.owner(one.owner)
                    said = await owner.offer(self.ledger.author, one.ask)
                if said.devices == one.ask.devices:
                    return said
                await self._give_back(one.owner, said.offer_id)
                return RequestError("NoFit", NO_GANGS, UPDATE)
            except RequestError as error:
                # A program before gangs calls their devices a field it does not know.
                older = error.code == "BadRequest" and bool(one.ask.members)
                return RequestError("NoFit", NO_GANGS, UPDATE) if older else error
            except TimeoutError:
                return RequestError("Unreachable", f"{one.name} does not answer", "fleet doctor")

        answers = await asyncio.gather(*(ask(one) for one in found))
        return {one.key: said for one, said in zip(found, answers, strict=True)}

    def _release(
        self,
        found: Sequence[Candidate],
        offers: dict[str, Offer | RequestError],
        chosen: Candidate,
    ) -> None:
        """Give back what is not taken. Best effort: it lapses by itself."""
        for one in found:
            said = offers.get(one.key)
            if one is not chosen and isinstance(said, Offer):
                asyncio.ensure_future(self._give_back(one.owner, said.offer_id))

    async def _give_back(self, owner: str, offer_id: str) -> None:
        with contextlib.suppress(RequestError):
            await self.peers.owner(owner).release(self.ledger.author, offer_id)

    async def _dispatch(self, job: JobView, chosen: Candidate, offer: Offer) -> None:
        now, number = self.ledger.state.jobs.get(job.job_id), chosen.ask.attempt
        if now is None or (now.status, now.home) != (PENDING, self.ledger.author):
            return  # cancelled, or adopted, while owners were asked
        if next_attempt(now) != number:
            return
        pursuit = self.pursuits[job.job_id, number] = Pursuit(offer.offer_id)
        fact = JobDispatched(
            job_id=job.job_id,
            model=job.model,
            attempt=number,
            plan=chosen.plan,
            considered=chosen.considered,
            config=chosen.config,
            owner="" if chosen.owner == self.ledger.author else chosen.owner,
            epoch=now.epoch,
            expected=expected_of(offer.standing),
            members=chosen.ask.devices[1:],
        )
        await self.ledger.emit_all([("job_dispatched", chosen.device_id, encode(fact))])
        pursuit.next_s = 0.0
        current = self.ledger.state.jobs.get(job.job_id)
        if current is not None and current.attempt == number:
            await self.claim(current, number)

    # Adopt

    async def adopt(self, job_id: str) -> None:
        """Decide for a job from now on, as its home is down. For admins, never done unasked.

        What an owner has of it goes on; what no owner has may be gone with the home.
        """
        state = self.ledger.state
        job = state.jobs.get(job_id)
        if job is None:
            raise RequestError("NotFound", f"no job {job_id}", "fleet ps -a lists them", 404)
        if state.members.role(self.ledger.author) != ADMIN:
            raise RequestError("NotTrusted", "jobs are adopted by admins", "fleet peers", 403)
        if job.home == self.ledger.author or job.ended:
            return
        if job.epoch >= MAX_ATTEMPTS:
            raise RequestError("Busy", f"{job_id} was adopted {job.epoch} times", "", 409)
        fact = JobAdopted(job_id=job_id, epoch=job.epoch + 1)
        await self.ledger.emit_all([("job_adopted", "none", encode(fact))])

    # Claim

    async def claim(self, job: JobView, attempt: int) -> None:
        """Ask the owner to take what was dispatched to it; its answer, or another try later.

        Without an offer or a body it can't be taken any more: then the owner says whether it was.
        """
        one = attempt_of(job, attempt)
        if one is None:
            return
        pursuit = self._pursuit(job.job_id, attempt)
        claim = await self._claim_of(job, one, pursuit.offer_id)
        owner = self.peers.owner(one.owner)
        await self._until_known(job, one, owner.claim(self.ledger.author, claim))

    async def _claim_of(self, job: JobView, one: AttemptView, offer_id: str) -> Claim:
        body, salt = Body(), bytes(SALT_BYTES).hex()
        if offer_id != NO_OFFER and one.by == self.ledger.author:
            try:
                body, salt = await asyncio.to_thread(kept_request, self.home, job)
            except Gone:
                offer_id = NO_OFFER
        told = await asyncio.to_thread(
            self.ledger.own_from, job.home_seq, MAX_CLAIM_EVENTS, MAX_EVENTS_BYTES
        )
        return Claim(
            offer_id=offer_id,
            job_id=job.job_id,
            attempt=one.number,
            body=body,
            salt=salt,
            events=[(sig.hex(), data.hex()) for sig, data in told],
            model=await self._model(job, body),
        )

    async def _model(self, job: JobView, body: Body) -> dict[str, object] | None:
        """What another peer finds the model by; None for a command, and for a device of ours."""
        if job.kind == "command" or job.owner == self.ledger.author:
            return None
        return await self.models.identity(body.model)

    async def withdraw(self, job: JobView, attempt: int) -> None:
        """Have an owner end an attempt that was cancelled; asked again until it is known to."""
        one = attempt_of(job, attempt)
        if one is not None:
            owner = self.peers.owner(one.owner)
            asked = owner.withdraw(self.ledger.author, job.job_id, attempt)
            await self._until_known(job, one, asked)

    async def ask_owner(self, job: JobView, attempt: int) -> None:
        """See whether the owner of a job that may be replaced still answers."""
        one = attempt_of(job, attempt)
        if one is not None:
            owner = self.peers.owner(one.owner)
            asked = owner.status(self.ledger.author, job.job_id, attempt)
            await self._until_known(job, one, asked)
            self._pursuit(job.job_id, attempt).next_s = _now_s() + BEAT_S

    async def lose(self, job: JobView, attempt: int) -> None:
        """Give up an attempt whose owner was put out of the fleet, and the job with it: it is not
        tried elsewhere unasked, for its program may run on there. Let in again, its owner ends it.
        """
        one = attempt_of(job, attempt)
        if one is None:
            return
        given_up = JobReplaced(job_id=job.job_id, attempt=attempt)
        facts: list[Fact] = [("job_replaced", one.device_id, encode(given_up))]
        if not job.cancel_asked and not job.asked.replace_after_ms:
            text = "the owner of its device was put out of the fleet"
            facts.append(("job_failed", "none", encode(_failed(job, "removed", text))))
        await self.ledger.emit_all(facts)

    async def end(self, job: JobView) -> None:
        """End a cancelled job that no owner has."""
        fact = JobCancelled(
            job_id=job.job_id, attempt=next_attempt(job), actual_duration_ms=0, actual_cost_nusd=0
        )
        await self.ledger.emit_all([("job_cancelled", "none", encode(fact))])

    async def _until_known(self, job: JobView, one: AttemptView, asked: Awaitable[Lease]) -> None:
        pursuit, place = self._pursuit(job.job_id, one.number), self._pursuit(job.job_id)
        try:
            await asked
        except RequestError as error:
            pursuit.silent(error.code, _now_s())
            pursuit.later((error.code, error.text), _now_s())
            if error.code in GONE:
                place.later((error.code, error.text), _now_s())
                await self._returned(job, one, error.code)
                return
            await self._replace_if_due(job, one, pursuit)
            return
        pursuit.silent_since_s, place.pause_s = None, FIRST_PAUSE_S
        # What the owner did comes as its event; until then there is nothing to ask for.
        pursuit.later(NO_WORD, _now_s())

    async def _replace_if_due(self, job: JobView, one: AttemptView, pursuit: Pursuit) -> None:
        after_ms, since_s = job.asked.replace_after_ms, pursuit.silent_since_s
        now = self.ledger.state.jobs.get(job.job_id)
        if not after_ms or since_s is None or one.replaced or now is None or now.cancel_asked:
            return
        if (_now_s() - since_s) * 1000 >= after_ms and now.home == self.ledger.author:
            fact = JobReplaced(job_id=job.job_id, attempt=one.number)
            await self.ledger.emit_all([("job_replaced", one.device_id, encode(fact))])

    async def _returned(self, job: JobView, one: AttemptView, code: str) -> None:
        fact = JobReturned(job_id=job.job_id, attempt=one.number, reason=code)
        await self.ledger.emit_all([("job_returned", one.device_id, encode(fact))])

    async def _fail(self, job: JobView, reason: str, text: str, words: str = "") -> None:
        """`text` goes to every peer; `words` stay here.

        Not of a job that somebody adopted or placed meanwhile: its next attempt may run here.
        """
        if words:
            await asyncio.to_thread(keep_words, self.home, job.job_id, words)
        now = self.ledger.state.jobs.get(job.job_id)
        if now is None or (now.status, now.home) != (PENDING, self.ledger.author):
            return
        fact = _failed(now, reason, text)
        await self.ledger.emit_all([("job_failed", "none", encode(fact))])


def _failed(job: JobView, reason: str, text: str) -> JobFailed:
    """A job ends without another attempt."""
    return JobFailed(
        job_id=job.job_id,
        attempt=next_attempt(job),
        reason=reason,
        text=text[:2000],
        exit_code=0,
        actual_duration_ms=0,
        actual_cost_nusd=0,
        peak_memory_bytes=0,
    )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
