"""A home of services on a stage."""

from collections.abc import Mapping
from typing import Any

from mesh.api.errors import RequestError
from mesh.edge.gateway.services import Services
from mesh.state.jobs import JobView
from mesh.state.serving.services import ServiceView
from tests.edge.gateway.stage import MODEL, Stage
from tests.state.job_story import ANA, event

SPEC = {"model": "/models/tiny.gguf", "context": 512}


class Home:
    """One peer's services on a stage: what was submitted, cancelled, and asked of others."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.submitted: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.called: list[tuple[bytes, str]] = []
        self.refuses: Exception | None = None
        self.answers: Any = {"note": "it is loading there"}
        self.at = 1000
        self.services = Services(
            stage.home, ANA, lambda: stage.state, self.emit, self, stage.fleet, self.call, self.why
        )

    async def emit(self, kind: str, device_id: str, payload: dict[str, object]) -> None:
        if self.refuses is not None:
            raise self.refuses
        await self.stage.emit(kind, device_id, payload)
        self.tell(kind, **payload)

    def tell(self, event_type: str, /, **payload: object) -> None:
        self.at += 10
        author = str(payload.pop("author", ANA))
        self.stage.tell(event(event_type, self.at, author, **payload))

    async def submit(self, spec: Mapping[str, object]) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.submitted.append(dict(spec))
        job_id = str(spec["job_id"])
        self.tell("job_submitted", job_id=job_id, kind="server", model=MODEL)
        return job_id

    async def cancel(self, job_id: str) -> None:
        job = self.stage.state.jobs[job_id]
        if job.ended:
            raise RequestError("AlreadyEnded", f"{job_id} has ended", "", 409)
        self.cancelled.append(job_id)
        self.tell("job_cancel_requested", job_id=job_id)

    async def call(self, key: bytes, method: str, path: str, body: Any) -> Any:
        self.called.append((key, path))
        if isinstance(self.answers, BaseException):
            raise self.answers
        return self.answers

    async def why(self, job: JobView) -> str:
        return ""

    # Life

    async def keep(self, least: int = 0, most: int = 1, idle_ms: int = 0) -> ServiceView:
        return await self.services.keep(SPEC, least=least, most=most, idle_ms=idle_ms)

    def runs(self, job_id: str) -> None:
        self.tell("job_dispatched", device="d", job_id=job_id, attempt=1)
        self.tell("job_started", device="d", job_id=job_id, attempt=1, pid=9)

    def fails(self, job_id: str, text: str) -> None:
        self.runs(job_id)
        self.tell("job_failed", device="d", job_id=job_id, attempt=1, reason="Crashed", text=text)

    @property
    def job_id(self) -> str:
        return str(self.submitted[-1]["job_id"])

    def may_try_again(self) -> None:
        for own in self.services._loads.values():
            own.next_s = 0.0
