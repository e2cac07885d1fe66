"""The tools that look and plan: what each is called, takes, and asks of the daemon.

Every word a client is told of a tool stands here and is fixed: nothing that a member of the fleet
wrote is ever part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, job_url, query_of
from mesh.cli.mcp.bounds import MAX_ANSWER_CHARS

Given = Mapping[str, Any]
Answer = dict[str, Any]

TAIL_CHARS: Final = 8_000  # of a log, unless more is asked for: its end says what went wrong
JOBS: Final = 20  # of the newest, unless more are asked for
# What was typed for a job, and what of it may hold a secret: it stays on this machine, while an
# answer goes to whoever runs the client's model.
PRIVATE: Final = ("request", "command")

TEXT: Final = {"type": "string"}
COUNT: Final = {"type": "integer"}
FLAG: Final = {"type": "boolean"}
NAMES: Final = {"type": "array", "items": {"type": "string"}}


def told(kind: Mapping[str, Any], text: str, **more: object) -> dict[str, Any]:
    """A field of a tool's arguments."""
    return {**kind, "description": text, **more}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool. `ask` takes the daemon and checked arguments; RequestError where it is refused."""

    name: str
    text: str
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    ask: Callable[[Daemon, Given], Answer]
    changes: bool = False
    destroys: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """Its arguments as JSON Schema."""
        return {
            "type": "object",
            "properties": {name: dict(one) for name, one in self.fields.items()},
            "required": list(self.required),
            "additionalProperties": False,
        }


MODEL: Final = told(TEXT, "A name of `models`, a .gguf file, a folder, or hf.co/OWNER/REPOSITORY")
SIZES: Final = {
    "context": told(TEXT, "Tokens of one sequence, prompt and answer: 8192 or 32k"),
    "batch": told(COUNT, "Sequences at once"),
    "quant": told(TEXT, "The only weight format allowed: Q4_K_M, AWQ …"),
    "kv_type": told(TEXT, "The cache's type: f16, q8_0 …"),
    "engine": told(TEXT, "The only engine allowed: llama.cpp, vllm, mlx …"),
}
PLANNED: Final = {
    "model": MODEL,
    **SIZES,
    "tokens": told(COUNT, "To generate"),
    "prompt_tokens": told(COUNT, "Length of the prompt"),
    "on": told(TEXT, "One device alone, by name"),
    "objective": told(TEXT, "What is best", enum=["cheapest", "fastest", "balanced"]),
    "min_tps": told(TEXT, "Slowest generation taken, tokens a second"),
    "max_price": told(TEXT, "Highest hourly price taken, dollars"),
    "max_cost": told(TEXT, "Highest cost of the answer taken, dollars"),
    "what_if": told(NAMES, "Plan for this hardware in place of the fleet's: RTX 4090, H100 x8"),
    "cloud": told(FLAG, "Machines to rent, too"),
}


def with_model(given: Given) -> Answer:
    """The arguments, a model's file by its whole path: the daemon runs in another folder."""
    from mesh.cli.planning.plan import model_ref

    return {**given, "model": model_ref(str(given["model"]))}


def _status(daemon: Daemon, given: Given) -> Answer:
    found = daemon.get("/v1/status")
    return {**found, "running": [public(row) for row in found["running"]]}


def _devices(daemon: Daemon, given: Given) -> Answer:
    return dict(daemon.get("/v1/devices"))


def _plan(daemon: Daemon, given: Given) -> Answer:
    return dict(daemon.post("/v1/plan", with_model(given)))


def _capacity(daemon: Daemon, given: Given) -> Answer:
    return dict(daemon.post("/v1/capacity", with_model(given)))


def _models(daemon: Daemon, given: Given) -> Answer:
    from mathcore.catalogue.models import search
    from mesh.cli.planning.models import model_row

    return {"models": [model_row(row) for row in search(str(given.get("search", "")))]}


def _where(daemon: Daemon, given: Given) -> Answer:
    return dict(daemon.get("/v1/models/where"))


def _jobs(daemon: Daemon, given: Given) -> Answer:
    every = daemon.get("/v1/jobs")["jobs"]
    rows = [public(row) for row in every[: max(0, int(given.get("limit", JOBS)))]]
    return {"jobs": rows, "of": len(every)}


def _job(daemon: Daemon, given: Given) -> Answer:
    return public(daemon.get(job_url(str(given["job_id"]))))


def public(row: Given) -> Answer:
    """A job without what was typed for it."""
    return {name: value for name, value in row.items() if name not in PRIVATE}


def _log(daemon: Daemon, given: Given) -> Answer:
    """The end of what a job wrote, as it lies in this machine's own folder of the job."""
    from mesh.cli.jobs.jobs import ANSWER_FILE, LOG_FILE, written
    from mesh.config import fleet_home

    job_id, what = str(given["job_id"]), str(given.get("what", "log"))
    most = min(max(1, int(given.get("characters", TAIL_CHARS))), MAX_ANSWER_CHARS // 3)
    row = daemon.get(job_url(job_id))  # says so where there is no such job
    path = written(fleet_home(), job_id, ANSWER_FILE if what == "answer" else LOG_FILE)
    if path is None:
        raise RequestError("NotFound", f"{job_id} wrote nothing here", f"it is {row['status']}")
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - most))
        text = file.read(most).decode("utf-8", "replace")
    return {"job_id": job_id, "status": row["status"], what: text, "bytes": size}


def _cost(daemon: Daemon, given: Given) -> Answer:
    return dict(daemon.get(f"/v1/cost?{query_of(given)}"))


def _offers(daemon: Daemon, given: Given) -> Answer:
    return dict(daemon.get(f"/v1/offers?{query_of(given)}"))


def _budgets(daemon: Daemon, given: Given) -> Answer:
    return dict(daemon.get("/v1/budgets"))


JOB_ID: Final = told(TEXT, "As `jobs` lists it: j-…")
READS: Final = (
    Tool(
        name="status",
        text="The fleet at a glance: devices, running jobs, what today cost. Money is in "
        "nano-dollars (_nusd), time in milliseconds (_ms); null is not known.",
        ask=_status,
    ),
    Tool(
        name="devices",
        text="Every GPU, Mac and CPU of the fleet: memory, how much is free, engines, what runs.",
        ask=_devices,
    ),
    Tool(
        name="plan",
        text="Does a model fit, where, how fast (tokens a second, with an error bar), at what "
        "cost, and why not elsewhere. With what_if for hardware nobody owns yet. Starts nothing.",
        fields=PLANNED,
        required=("model",),
        ask=_plan,
    ),
    Tool(
        name="capacity",
        text="The most each device can do with a model: longest context, most sequences at once, "
        "best weight format.",
        fields={"model": MODEL, **SIZES},
        required=("model",),
        ask=_capacity,
    ),
    Tool(
        name="models",
        text="Models that are known by name, with their sizes in each weight format.",
        fields={"search": told(TEXT, "Words that the name holds: qwen3 coder")},
        ask=_models,
    ),
    Tool(
        name="models_here",
        text="Model files that lie on the fleet's disks, and on whose.",
        ask=_where,
    ),
    Tool(
        name="jobs",
        text="Jobs, the newest first: what runs, waits (and why), ended (and how), and its cost.",
        fields={"limit": told(COUNT, f"How many; {JOBS} unless said")},
        ask=_jobs,
    ),
    Tool(
        name="job",
        text="Everything known of one job but what was typed for it.",
        fields={"job_id": JOB_ID},
        required=("job_id",),
        ask=_job,
    ),
    Tool(
        name="job_log",
        text="The end of what a job of this machine wrote: a command's output or an engine's log, "
        "or with what=answer the words of a model.",
        fields={
            "job_id": JOB_ID,
            "what": told(TEXT, "Which of the two", enum=["log", "answer"]),
            "characters": told(COUNT, f"How much of its end; {TAIL_CHARS} unless said"),
        },
        required=("job_id",),
        ask=_log,
    ),
    Tool(
        name="cost",
        text="What everything cost, used and idle, in nano-dollars.",
        fields={
            "by": told(
                TEXT,
                "Added up by",
                enum=["day", "month", "device", "user", "key", "model", "engine", "kind", "job"],
            ),
            "since": told(TEXT, "From this day or month on: 2026-04-19, 2026-04"),
            "until": told(TEXT, "To the end of this one"),
        },
        ask=_cost,
    ),
    Tool(
        name="offers",
        text="Machines that can be rented, as this peer last heard, beside what is owned. Rents "
        "nothing.",
        fields={
            "gpu": told(TEXT, "A name, or memory: 24GB.."),
            "max_price": told(TEXT, "Highest hourly price, dollars"),
            "limit": told(TEXT, "How many"),
        },
        ask=_offers,
    ),
    Tool(
        name="budgets",
        text="Every budget: its cap, what is held, spent and left.",
        ask=_budgets,
    ),
)
