"""The fleet, asked through the daemon of this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, final
from urllib.parse import urlencode

from mesh.cli.client import Daemon, need_daemon
from mesh.client.errors import FleetError, an_object, field, told
from mesh.client.job import Job
from mesh.client.shown import Answer, Rows
from mesh.config import fleet_home


@final
class Fleet:
    """What `fleet` of the command line asks, as Python values.

    `home`: the state directory of the daemon, FLEET_HOME or this system's usual one unless said.
    The daemon is looked for at each question, so it may start anew in between. Every method raises
    FleetError where the daemon refuses or there is none. Further fields of a question are those of
    the HTTP API (docs/openapi.json): fleet.plan("qwen3-32b", context="32k", min_tps=20).
    """

    def __init__(self, home: str | PathLike[str] | None = None) -> None:
        self._home: Final = fleet_home() if home is None else Path(home)

    def status(self) -> Answer:
        """The fleet at a glance; its table is the devices."""
        return Answer(an_object(self.get("/v1/status")), of="devices")

    def devices(self) -> Rows:
        """Every device."""
        return Rows(field(self.get("/v1/devices"), "devices"))

    def peers(self) -> Rows:
        """Every peer."""
        return Rows(field(self.get("/v1/peers"), "peers"))

    def plan(self, model: str, **asked: object) -> Answer:
        """Where a model fits, how fast, for how much; its table is the placements."""
        return Answer(an_object(self.post("/v1/plan", {"model": model, **asked})), of="placements")

    def capacity(self, model: str, **asked: object) -> Answer:
        """The most each device can do with a model; a row a device."""
        return Answer(
            an_object(self.post("/v1/capacity", {"model": model, **asked})), of="capacities"
        )

    def sweep(self, model: str, **asked: object) -> Answer:
        """Memory, speed, time and cost for every batch and context: batch="1..64", a row a cell."""
        return Answer(an_object(self.post("/v1/sweep", {"model": model, **asked})), of="cells")

    def compare(self, model: str, tokens_per_day: int | str, **asked: object) -> Answer:
        """What tokens a day cost on own devices, rented ones and hosted APIs; a row each."""
        body = {"model": model, "tokens_per_day": tokens_per_day, **asked}
        return Answer(an_object(self.post("/v1/compare", body)), of="rows")

    def offers(self, **asked: object) -> Rows:
        """What can be rented, beside what is owned: gpu="24GB..", max_price="0.50"."""
        return Rows(field(self.get("/v1/offers", asked), "offers"))

    def cost(self, by: str = "day", **asked: object) -> Answer:
        """What everything cost, by day, device, user, model and so on: since="2026-11"."""
        return Answer(an_object(self.get("/v1/cost", {"by": by, **asked})), of="groups")

    def jobs(self) -> Rows:
        """Every job, the newest first."""
        return Rows(field(self.get("/v1/jobs"), "jobs"))

    def job(self, job_id: str) -> Job:
        """A job by its id; whether there is one shows when it is asked something."""
        return Job(self._daemon, job_id)

    def run(
        self,
        model: str | None = None,
        prompt: str = "",
        *,
        command: Sequence[str] | None = None,
        **asked: object,
    ) -> Job:
        """Submit a model with a prompt, or a command; returns once the ledger holds the job.

        A command is a list of words; a line for the shell is ["sh", "-c", line].
        """
        words = None if command is None else _words(command)
        given = {"model": model, "prompt": prompt or None, "command": words}
        known = {name: value for name, value in given.items() if value is not None}
        return self.job(str(field(self.post("/v1/jobs", {**known, **asked}), "job_id")))

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """Any other question of the HTTP API: its JSON. None is a field that is not said."""
        said = {name: one for name, one in (query or {}).items() if one is not None}
        with told():
            asked = f"{_path(path)}?{urlencode(said)}" if said else _path(path)
            return self._daemon().get(asked)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        """Any other request of the HTTP API: its JSON."""
        with told():
            return self._daemon().post(_path(path), body)

    def _daemon(self) -> Daemon:
        with told():
            return need_daemon(self._home)

    def __repr__(self) -> str:
        return f"Fleet({str(self._home)!r})"


def _words(command: Sequence[str]) -> list[str]:
    """A text is a sequence of texts, too: of its letters, and the first would be run."""
    if isinstance(command, str | bytes) or not all(isinstance(word, str) for word in command):
        example = '["echo", "hello"]; a line for the shell is ["sh", "-c", line]'
        raise TypeError(f"command must be a list of words: {example}")
    return list(command)


def _path(path: str) -> str:
    if not path.startswith("/"):
        raise FleetError("BadPath", f"{path[:80]!r} is no path of the HTTP API", "/v1/status")
    return path
