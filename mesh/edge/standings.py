"""Why jobs wait, wherever they wait, and when they should start: what no event says.

A job that is nowhere yet waits at its home, an accepted one in its owner's line. Another peer's
line is asked for once a second at most, however many people look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.api.wire.claims import MAX_WORDS, Standing
from mesh.edge.dispatch.peer import Dispatch
from mesh.state.jobs import DISPATCHED, PENDING, QUEUED, JobView

FRESH_S: Final = 1.0
ASK_S: Final = 1.0  # a person waits for the answer: an owner that takes longer is not heard of
SILENT_S: Final = 5.0  # who did not answer is not waited for again so soon
SILENT: Final = Standing(code="Unreachable", text="Unreachable: its owner does not answer just now")


@final
class Standings:
    """Of the jobs that this peer knows more of than the ledger: its own, and those in its line."""

    def __init__(self, me: str, dispatch: Dispatch) -> None:
        self._me: Final = me
        self._home: Final = dispatch.home
        self._here: Final = dispatch.owner
        self._peers: Final = dispatch.home.peers
        self._heard: dict[str, tuple[float, Mapping[str, Standing]]] = {}  # by owner
        self._silent: dict[str, float] = {}  # since when, by owner

    async def of(self, jobs: Iterable[JobView]) -> dict[str, Standing]:
        """By job id; of others' jobs and of those that do not wait nothing is said."""
        waiting = [one for one in jobs if one.status in (PENDING, DISPATCHED, QUEUED)]
        mine = [one for one in waiting if one.home == self._me]
        away = {one.owner for one in mine if one.status == QUEUED} - {self._me}
        asked = await asyncio.gather(*(self._ask(owner) for owner in away))
        heard = dict(zip(away, asked, strict=True))
        found = {}
        for job in waiting:
            if job.status == QUEUED and job.owner == self._me:
                found[job.job_id] = self._here.standing(job.job_id, job.attempt)
            elif job.home != self._me:
                continue
            elif job.status == QUEUED:
                said = heard[job.owner]
                found[job.job_id] = SILENT if said is None else said.get(job.job_id, Standing())
            else:
                code, text = self._home.why(job)
                found[job.job_id] = Standing(code=code[:40], text=text[:MAX_WORDS])
        return found

    async def _ask(self, owner: str) -> Mapping[str, Standing] | None:
        """What of ours waits there; None where it does not answer."""
        now_s = asyncio.get_running_loop().time()
        at_s, known = self._heard.get(owner, (float("-inf"), {}))
        if now_s - at_s < FRESH_S:
            return known
        silent_s = now_s - self._silent.get(owner, float("-inf"))
        if silent_s < SILENT_S or not self._peers.reachable(owner):
            return None
        try:
            async with asyncio.timeout(ASK_S):
                said = await self._peers.owner(owner).waiting(self._me)
        except (RequestError, TimeoutError):
            self._silent[owner] = now_s
            return None
        known = {one.job_id: one.standing for one in said.leases}
        self._heard[owner] = now_s, known
        return known
