"""Carries out one Command; every outcome, failure too, comes back as events in the ledger."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from mathcore.device import DeviceSpec
from mathcore.planner.answer import Placement, Plan
from mathcore.planner.render import plan_dict
from mathcore.price import cost_nusd
from mesh.api.bodies import Body
from mesh.api.errors import RequestError
from mesh.api.requests import ASKED, PlanRequest, lengths, parse_plan
from mesh.edge.jobs.admission import own_devices, own_state, weights_path
from mesh.edge.jobs.outcomes import MAX_TEXT_CHARS, ended_fact, plan_fact
from mesh.edge.jobs.private import JOBS, Gone, keep_words, request_of
from mesh.edge.planning import make_plan
from mesh.policy.commands import Command, PlaceJob, StartJob, StopJob, WatchJob
from mesh.policy.decide import busy_devices
from mesh.state.facts.fact import encode
from mesh.state.facts.job import JobCancelled, JobConfig, JobDispatched, JobFailed, JobStarted
from mesh.state.fleet import rate
from mesh.state.fold import State
from mesh.state.jobs import JobView
from mesh.state.learned import knowledge
from providers import local
from providers.base import Launch, ProviderError
from providers.engine import llamacpp

Live = Callable[[], list[DeviceSpec]]
Emit = Callable[[str, str, dict[str, object]], Awaitable[object]]

ATTEMPT = 1  # one attempt per job: a retry is a new job until several peers can take one over


def plan_request(job: JobView, model: str) -> PlanRequest:
    """The planning question behind a job of this model's file, which runs on a single device."""
    keys = (*ASKED, "context")
    given = {key: job.request[key] for key in keys if key in job.request}
    return parse_plan({**given, "model": model, "sets": False})


class Effects:
    """The hands of one peer: places, starts, watches and stops its own jobs on its own devices."""

    def __init__(
        self, home: Path, author: str, state: Callable[[], State], live: Live, emit: Emit
    ) -> None:
        self._home = home
        self._jobs_dir = home / JOBS
        self._author = author
        self._live = live
        self._state = state
        self._emit = emit

    def job_dir(self, job_id: str) -> Path:
        """Where an attempt keeps its log, its claim and its result."""
        return local.job_dir(self._jobs_dir, job_id, ATTEMPT)

    async def run(self, command: Command) -> None:
        """Carry out one command; safe to repeat after a crash at any point."""
        job = self._state().jobs[command.job_id]
        match command:
            case PlaceJob():
                await self._place(job)
            case StartJob():
                await self._start(job)
            case WatchJob():
                await self._watch(job)
            case StopJob():
                await self._stop(job)

    async def _place(self, job: JobView) -> None:
        mine = set(own_devices(self._state(), self._author))
        free = mine - busy_devices(self._state())
        if not mine:
            await self._fail(job, "no_resource", "this peer has no device that runs jobs")
        elif free:
            body = await self._body(job)
            if body is not None and job.kind == "command":
                await self._place_command(job, free, mine)
            elif body is not None:
                await self._place_model(job, body.model, free, mine)

    async def _body(self, job: JobView) -> Body | None:
        """What was typed for the job; None where it is not here, and the job has failed for it."""
        try:
            return await asyncio.to_thread(request_of, self._home, job)
        except Gone as error:
            await self._fail(job, "setup", error.text)
            return None

    async def _place_command(self, job: JobView, free: set[str], mine: set[str]) -> None:
        wanted = str(job.request.get("on") or "")
        devices = self._state().devices
        named = {d for d in mine if not wanted or wanted in (d, devices[d].name)}
        fitting = named & free
        if not named:
            await self._fail(job, "no_resource", f"{wanted} is no device of this peer")
        if not fitting:
            return  # what is busy will be free
        chosen = min(fitting, key=lambda d: (devices[d].kind != "cpu", d))
        fact = JobDispatched(job_id=job.job_id, attempt=ATTEMPT, considered=1)
        await self._emit("job_dispatched", chosen, encode(fact))

    async def _place_model(self, job: JobView, model: str, free: set[str], mine: set[str]) -> None:
        try:
            live = await asyncio.to_thread(self._live)
            own = own_state(self._state(), self._author)
            made = await asyncio.to_thread(make_plan, own, plan_request(job, model), live)
        except RequestError as error:
            words = f"{error.text}; {error.hint}"
            await self._fail(job, error.code, "its request cannot be planned any more", words)
            return
        runnable = [p for p in made.placements if p.device_id in mine]
        if not runnable and len(free) < len(mine):
            return  # a device that is busy now may be the one
        if not runnable:
            await self._fail(job, *_why_nowhere(made))
            return
        chosen = next((p for p in runnable if p.device_id in free), None)
        if chosen is not None:
            fact = _dispatched(job, made, chosen)
            await self._emit("job_dispatched", chosen.device_id, encode(fact))

    async def fail(self, job_id: str, reason: str, words: str) -> None:
        """End a job that could not be carried out; it cost nothing. `words` stay here."""
        await self._fail(self._state().jobs[job_id], reason, "an error of this program", words)

    async def _fail(self, job: JobView, reason: str, text: str, words: str = "") -> None:
        """`text` goes to every peer; `words` may quote what was typed, and stay here."""
        if words:
            await asyncio.to_thread(keep_words, self._home, job.job_id, words)
        fact = JobFailed(
            job_id=job.job_id,
            attempt=ATTEMPT,
            reason=reason,
            text=text[:MAX_TEXT_CHARS],
            exit_code=0,
            actual_duration_ms=0,
            actual_cost_nusd=0,
            peak_memory_bytes=0,
        )
        await self._emit("job_failed", self._own_device(job) or "none", encode(fact))

    def _own_device(self, job: JobView) -> str:
        """The device the job holds; "" for none, or for one of which another peer speaks."""
        view = self._state().devices.get(job.device_id)
        return job.device_id if view is None or view.owner == self._author else ""

    async def _start(self, job: JobView) -> None:
        if not self._own_device(job):
            await self._fail(job, "no_resource", "its device is another peer's")
            return
        body = await self._body(job)
        if body is None:
            return
        try:
            launch = await asyncio.to_thread(self._launch, job, body)
            handle = await local.start(launch, self._jobs_dir)
        except (ProviderError, RequestError) as error:
            words = f"{error.text}; {error.hint}"
            await self._fail(job, "setup", "it could not be started", words)
            return
        fact = JobStarted(
            job_id=job.job_id,
            attempt=ATTEMPT,
            pid=handle.pid,
            model=job.model,
            batch_size=job.batch,
            estimated_duration_s=job.predicted.duration_ms.p50 // 1000,
        )
        await self._emit("job_started", job.device_id, encode(fact))

    def _launch(self, job: JobView, body: Body) -> Launch:
        """How to start the attempt; the runner keeps it beside the request, as private."""
        if job.kind == "command":
            own = {"FLEET_JOB_ID": job.job_id, "FLEET_ATTEMPT": str(ATTEMPT)}
            return Launch(
                job_id=job.job_id,
                attempt=ATTEMPT,
                kind="command",
                argv=body.command,
                env={**body.env, **own},
                spec={"cwd": body.cwd or str(Path.home())},
            )
        request = plan_request(job, body.model)
        prompt_tokens, tokens = lengths(request.prompt_tokens, request.tokens, request.context)
        return llamacpp.launch(
            job_id=job.job_id,
            attempt=ATTEMPT,
            python=sys.executable,
            model_path=weights_path(request.model),
            tokens=tokens,
            context=request.context,
            batch=request.batch,
            prompt=body.prompt,
            prompt_tokens=prompt_tokens,
            kv_type=job.predicted.kv_type or request.kv_type or "f16",
            ignore_eos=request.tokens is not None,
        )

    async def _watch(self, job: JobView) -> None:
        outcome = await asyncio.to_thread(local.poll, self.job_dir(job.job_id))
        if outcome is None or not self._own_device(job):
            return  # what another peer's device did, and what that cost, is for its owner to say
        device = self._state().devices.get(job.device_id)
        cost = cost_nusd(rate(device), outcome.duration_ms) if device else 0
        event_type, fact = ended_fact(job, outcome, cost, ATTEMPT)
        await self._emit(event_type, job.device_id, fact)

    async def _stop(self, job: JobView) -> None:
        handle = local.adopt(self.job_dir(job.job_id))
        if handle is not None:
            await local.cancel(handle)
        ran = (self.job_dir(job.job_id) / "runner.json").exists()
        if not ran or not self._own_device(job):
            fact = JobCancelled(
                job_id=job.job_id, attempt=ATTEMPT, actual_duration_ms=0, actual_cost_nusd=0
            )
            await self._emit("job_cancelled", "none", encode(fact))
            return
        await self._watch(job)


def _why_nowhere(plan: Plan) -> tuple[str, str]:
    """Reason code and text for a job that no device of this peer can run."""
    if not plan.refusals:
        return "no_resource", "no device of this peer can run a model job"
    best = min(plan.refusals, key=lambda r: (r.missing_bytes, r.device_id))
    every = "; ".join(f"{r.name}: {r.text}" for r in plan.refusals[:8])
    return best.code, every


def _dispatched(job: JobView, plan: Plan, chosen: Placement) -> JobDispatched:
    rows = plan_dict(plan)["placements"]
    assert isinstance(rows, list)
    row = next(r for r in rows if r["device_id"] == chosen.device_id)
    return JobDispatched(
        job_id=job.job_id,
        model=job.model,
        attempt=ATTEMPT,
        plan={
            **plan_fact(row),
            **knowledge(chosen.run, chosen.work),
            "model": plan.query.model.name,
        },
        considered=len(plan.placements) + len(plan.refusals),
        config=JobConfig(
            batch_size=plan.query.batch,
            seq_length=plan.query.context,
            estimated_cost=f"{chosen.cost_nusd.p50 / 1e9:.9f}",
            estimated_duration_s=int(chosen.duration_ms.p50) // 1000,
        ),
    )
