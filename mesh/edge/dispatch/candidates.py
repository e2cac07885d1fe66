"""Which devices of the fleet a job may go to, best first, and what its owner is to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

import msgspec

from mathcore.device import DeviceSpec
from mathcore.planner.answer import Placement, Plan
from mathcore.planner.render import placement_dict
from mesh.api.errors import RequestError
from mesh.api.requests import ASKED, PlanRequest, parse_plan
from mesh.api.wire.claims import Ask, Share
from mesh.edge.dispatch.ports import ModelFiles
from mesh.edge.jobs.cards import groups_of, machine_of, may_be_gang
from mesh.edge.jobs.outcomes import plan_fact
from mesh.edge.jobs.private import Gone, request_of
from mesh.edge.planning import make_plan
from mesh.state.answers import holders
from mesh.state.facts.fact import decode
from mesh.state.facts.job import JobConfig
from mesh.state.facts.plan import PlanFact
from mesh.state.fleet import DeviceView
from mesh.state.jobs import MAX_ATTEMPTS, SERVER, JobView
from mesh.state.learning.learned import knowledge
from mesh.state.members import RUNNER, allowed
from mesh.state.state import State

CLOUD: Final = "cloud"  # where a rented machine stands
ANY: Final = "any"  # `--on any`: wherever it is soonest done
SSH: Final = "ssh"  # likewise, of the hosts with only SSH
# Devices that are tried for one placement: beyond them a plan's order says little.
MAX_CANDIDATES: Final = 16
NO_SERVER: Final = "a host of SSH serves on its own loopback alone: fleet up there, then serve"


class Nowhere(Exception):
    """No device can take the job: `for_good`, or as things are now."""

    def __init__(self, code: str, text: str, *, for_good: bool, words: str = "") -> None:
        super().__init__(text)
        self.code, self.text, self.for_good = code, text, for_good
        self.words = words  # may quote what was typed, and stay here


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One device a job may go to, or a gang of which the first is named; `ask` names all.

    `plan` and `config` are signed with the dispatch.
    """

    device_id: str
    name: str
    owner: str
    ask: Ask
    considered: int
    plan: dict[str, object] | None = None
    config: JobConfig | None = None
    cheapest: bool = False

    @property
    def key(self) -> str:
        """Tells it from every other candidate of its job."""
        return "+".join(self.ask.devices)


@final
class Chooser:
    """The fleet's devices as one peer knows them. `live` reads this machine's own memory."""

    def __init__(
        self,
        home: Path,
        author: str,
        state: Callable[[], State],
        live: Callable[[], Sequence[DeviceSpec]],
        models: ModelFiles,
        now_ms: Callable[[], int],
    ) -> None:
        self._home, self._author, self._state = home, author, state
        self._live, self._models, self._now_ms = live, models, now_ms

    async def candidates(self, job: JobView) -> list[Candidate]:
        """Where it may go, best first; Nowhere with the reason where that is no place."""
        found, due_ms = await self._candidates(job), job.due_ms
        if due_ms is None:
            return found
        left = {"deadline_in_ms": max(0, due_ms - self._now_ms())}
        return [replace(one, ask=msgspec.structs.replace(one.ask, **left)) for one in found]

    async def _candidates(self, job: JobView) -> list[Candidate]:
        state = self._state()
        devices = usable(state, self._author, job.asked.on or "")
        if job.kind == SERVER and devices:
            devices = {key: one for key, one in devices.items() if one.facts.transport != "ssh"}
            if not devices:
                raise Nowhere("no_resource", NO_SERVER, for_good=True)
        if not devices:
            raise Nowhere("no_resource", _no_device(job, devices), for_good=True)
        if job.kind == "command":
            return _for_command(job, devices)
        try:
            body = await asyncio.to_thread(request_of, self._home, job)
        except Gone as error:
            raise Nowhere("setup", error.text, for_good=True) from error
        live = await asyncio.to_thread(self._live)
        found = await asyncio.to_thread(self._for_model, job, body.model, devices, live)
        if all(one.owner == self._author for one in found):
            return found
        identity = await self._models.identity(body.model)
        return [_knowing(one, identity) for one in found]

    def _for_model(
        self,
        job: JobView,
        model: str,
        devices: Mapping[str, DeviceView],
        live: Sequence[DeviceSpec],
    ) -> list[Candidate]:
        state, groups = self._state(), groups_of(devices)
        try:
            made = make_plan(
                narrowed(state, devices),
                plan_request(job, model, sets=bool(groups)),
                live,
                self._now_ms(),
                groups=groups,
            )
        except RequestError as error:
            text, words = "its request cannot be planned any more", f"{error.text}; {error.hint}"
            raise Nowhere(error.code, text, for_good=True, words=words) from error
        runnable = [
            one
            for one in made.placements
            if devices_in(one) <= devices.keys()
            and (not one.members or may_be_gang(devices_in(one), groups))
        ]
        if not runnable:
            busy = holders(state).keys() & devices.keys()
            code, text = _why_nowhere(made)
            apart = "" if busy else self._apart(job, model, devices, live)
            raise Nowhere(code, "; ".join(filter(None, (text, apart))), for_good=not busy)
        return [_for_placement(job, made, one, devices) for one in runnable[:MAX_CANDIDATES]]

    def _apart(
        self,
        job: JobView,
        model: str,
        devices: Mapping[str, DeviceView],
        live: Sequence[DeviceSpec],
    ) -> str:
        """The best set of devices that would do and may not have the job; "" where there is none.

        Devices of several peers or hosts are not had at once yet.
        """
        if len(devices) < 2:
            return ""
        request = plan_request(job, model, sets=True)
        made = make_plan(narrowed(self._state(), devices), request, live, self._now_ms())
        if not made.placements:
            return ""
        return f"{made.placements[0].name}: a job's devices are cards of one host and one maker"


def _knowing(one: Candidate, identity: Mapping[str, object]) -> Candidate:
    """The candidate with what its owner finds the model by."""
    known = {"model_hash": str(identity["quick_hash"]), "model_bytes": identity["size_bytes"]}
    return replace(one, ask=msgspec.structs.replace(one.ask, **known))


def usable(state: State, author: str, wanted: str) -> dict[str, DeviceView]:
    """The devices on which a peer may start a job: its own that are not rented, or of all members
    as `wanted` says.

    An id names that device alone; a device's, a peer's or a host's name all that bear it.
    """
    found = {}
    for view in list(state.devices.values()):
        ours = view.owner == author
        if view.hand_described or not (ours or allowed(state.members.role(view.owner), RUNNER)):
            continue
        if wanted in called(state, view) if wanted else ours and not is_rented(view):
            found[view.device_id] = view
    return {wanted: found[wanted]} if wanted in found else found


def is_rented(view: DeviceView) -> bool:
    """Whether strangers run the machine, who can read what is sent there: so a job goes to it by
    its name alone, never because it is free or cheap."""
    return view.facts.location == CLOUD


def called(state: State, view: DeviceView) -> set[str]:
    """What a job may say to be sent to a device: among it what its machine is called, by itself (a
    card is called as its machine, with -gpu0 behind), by the fleet, or as an SSH host."""
    if view.hand_described:
        return {view.device_id, view.name}
    machine = machine_of(view.name)
    if is_rented(view):
        return {view.device_id, view.name, machine}
    if view.facts.transport == SSH:
        return {view.device_id, view.name, machine, ANY, SSH}
    return {view.device_id, view.name, machine, state.members.name(view.owner), ANY}


def narrowed(state: State, devices: Mapping[str, DeviceView]) -> State:
    """The state as if the fleet had no other devices."""
    return replace(state, devices=dict(devices))


def devices_in(one: Placement) -> set[str]:
    """Ids of the devices a placement is made of."""
    return {member.device_id for member in one.members} or {one.device_id}


def plan_request(job: JobView, model: str, *, sets: bool = False) -> PlanRequest:
    """The planning question behind a job of this model's file; `sets`: of several devices, too."""
    keys = (*ASKED, "context")
    given = {key: job.request[key] for key in keys if key in job.request and key != "on"}
    return parse_plan({**given, "model": model, "sets": sets})


def _for_command(job: JobView, devices: Mapping[str, DeviceView]) -> list[Candidate]:
    order = sorted(devices.values(), key=lambda view: (view.kind != "cpu", view.device_id))
    return [
        Candidate(
            device_id=view.device_id,
            name=view.name,
            owner=view.owner,
            considered=len(devices),
            ask=Ask(
                job_id=job.job_id,
                attempt=next_attempt(job),
                device_id=view.device_id,
                kind="command",
                priority=job.asked.priority,
            ),
        )
        for view in order[:MAX_CANDIDATES]
    ]


def _for_placement(
    job: JobView, made: Plan, chosen: Placement, devices: Mapping[str, DeviceView]
) -> Candidate:
    """The device of a placement; of a set the first by id leads, whatever order it computes in."""
    fact = plan_fact(placement_dict(chosen))
    need, took = decode(PlanFact, fact), decode(PlanFact, fact).footprint
    view = devices[min(devices_in(chosen))]
    shares = {one.device_id: one.need_bytes for one in chosen.members}
    card = shares.pop(view.device_id, -(-took.total_bytes // max(1, need.cards)))
    return Candidate(
        device_id=view.device_id,
        name=chosen.name,
        owner=view.owner,
        considered=len(made.placements) + len(made.refusals),
        cheapest=made.query.objective == "cheapest",
        plan={
            **fact,
            **knowledge(chosen.run, chosen.work),
            "model": made.query.model.name,
        },
        config=JobConfig(
            batch_size=made.query.batch,
            seq_length=made.query.context,
            estimated_cost=f"{chosen.cost_nusd.p50 / 1e9:.9f}",
            estimated_duration_s=int(chosen.duration_ms.p50) // 1000,
        ),
        ask=Ask(
            job_id=job.job_id,
            attempt=next_attempt(job),
            device_id=view.device_id,
            kind="model",
            memory_bytes=card,
            members=tuple(
                Share(device_id=key, memory_bytes=size) for key, size in sorted(shares.items())
            ),
            ram_bytes=took.host_bytes,
            p50_ms=int(chosen.duration_ms.p50),
            p90_ms=int(chosen.duration_ms.p90),
            priority=job.asked.priority,
            model=job.model,
            model_bytes=job.asked.model_bytes,
        ),
    )


def next_attempt(job: JobView) -> int:
    """The number of the attempt that comes next."""
    return min(MAX_ATTEMPTS, 1 + max((one.number for one in job.attempts), default=0))


def _no_device(job: JobView, devices: Mapping[str, DeviceView]) -> str:
    wanted = job.asked.on
    return f"{wanted} is no device that runs jobs" if wanted else "no device here runs jobs"


def _why_nowhere(plan: Plan) -> tuple[str, str]:
    """Reason code and text for a job that no device can run."""
    if not plan.refusals:
        return "no_resource", "no device of the fleet can run a model job"
    closest = min(plan.refusals, key=lambda r: (r.missing_bytes, r.device_id))
    every = "; ".join(f"{r.name}: {r.text}" for r in plan.refusals[:8])
    return closest.code, every
