"""The tools that start and end jobs, within one key's budget.

The cap is the fleet's own: a budget of a key of this peer, said in the ledger. The daemon holds an
attempt's money in it, on disk, before anything starts (docs/budgets.md), so that a cap holds over
restarts, over several clients, and whatever a client asks for. What is said here before is a
courtesy: a job that could not be paid is refused at once, with the amount, and does not wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

from mathcore.units import NUSD, show_nusd
from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, job_url
from mesh.cli.mcp.tools import MODEL, TEXT, Answer, Given, Tool, told, with_model

# Only a model with a prompt: a command would run as this user wherever it is sent.
FIELDS: Final = ("model", "prompt", "context", "tokens", "on", "max_cost")
ASKED: Final = ("model", "context", "tokens", "max_cost")  # of it, what a plan takes
RAISE: Final = "start fleet mcp with a higher --budget, or fleet budget set"


@final
class Spending:
    """What one client may start: jobs of the key `name`, `nusd` in each `per`."""

    def __init__(self, name: str, nusd: int, per: str) -> None:
        self._name: Final = name
        self._nusd: Final = nusd
        self._per: Final = per

    def tools(self) -> tuple[Tool, ...]:
        """Those that change something."""
        return (
            Tool(
                name="run",
                text="Ask a model on the fleet's devices: a job, within this client's budget. "
                "Returns its id at once; job_log with what=answer has its words. Refused with the "
                "amount missing where the budget could not pay it. Rents no machine.",
                fields={
                    "model": MODEL,
                    "prompt": told(TEXT, "What the model is asked"),
                    "context": told(TEXT, "Tokens of prompt and answer: 8192 or 32k"),
                    "tokens": told({"type": "integer"}, "To generate at most"),
                    "on": told(TEXT, "A device, a peer, or any; this machine's own unless said"),
                    "max_cost": told(TEXT, "Highest cost, dollars"),
                },
                required=("model", "prompt"),
                ask=self._run,
                changes=True,
            ),
            Tool(
                name="cancel",
                text="End a job that this client's budget pays for, and no other.",
                fields={"job_id": told(TEXT, "As run gave it")},
                required=("job_id",),
                ask=self._cancel,
                changes=True,
                destroys=True,
            ),
        )

    def _run(self, daemon: Daemon, given: Given) -> Answer:
        key_id = self._key_id(daemon)
        left = self._left_nusd(daemon)
        most = self._cheapest_nusd(daemon, given)
        if left <= 0 or (most is not None and most > left):
            raise RequestError("BudgetSpent", self._missing(left, most), RAISE, 409)
        body = with_model({name: given[name] for name in FIELDS if name in given})
        made = daemon.post("/v1/jobs", {**body, "key": key_id, "max_cost": _least(given, left)})
        return {"job_id": made["job_id"], "may_cost_nusd": most, "left_nusd": left}

    def _cancel(self, daemon: Daemon, given: Given) -> Answer:
        job_id = str(given["job_id"])
        if daemon.get(job_url(job_id))["key_id"] != self._key_id(daemon):
            text = f"{job_id} is not a job of the key {self._name}"
            raise RequestError("NotOwner", text, "a person ends it: fleet cancel", 403)
        daemon.post(job_url(job_id, "/cancel"))
        return {"job_id": job_id, "status": "cancelling"}

    def _key_id(self, daemon: Daemon) -> str:
        """The key that pays. It is made where it is missing; its secret, which would open the
        models' address, is shown to nobody."""
        for row in daemon.get("/v1/keys")["keys"]:
            if row["name"] == self._name and row["works"]:
                return str(row["key_id"])
        return str(daemon.post("/v1/keys", {"name": self._name})["key_id"])

    def _left_nusd(self, daemon: Daemon) -> int:
        """What the key may still spend in this period. Its cap is said anew where it is another,
        and one of another period, of a start before, is lifted."""
        caps = self._caps(daemon)
        for per in caps.keys() - {self._per}:
            daemon.post("/v1/budgets", {"key": self._name, "per": per, "lift": True})
        row = caps.get(self._per)
        if row is None or (row["cap_nusd"], row["owned"]) != (self._nusd, "all"):
            said = {"key": self._name, "amount": _dollars(self._nusd), "per": self._per}
            daemon.post("/v1/budgets", {**said, "owned": "all"})
            row = self._caps(daemon)[self._per]
        return int(row["free_nusd"])

    def _caps(self, daemon: Daemon) -> dict[str, Mapping[str, Any]]:
        """This peer's caps of the key, by their period."""
        rows = daemon.get("/v1/budgets")["budgets"]
        mine = (row for row in rows if row["mine"])
        return {r["per"]: r for r in mine if (r["scope"], r["of"]) == ("key", self._name)}

    def _cheapest_nusd(self, daemon: Daemon, given: Given) -> int | None:
        """What the cheapest placement costs, nine times in ten; None where none is known. Whether
        anything fits the job's way in says."""
        asked = with_model({name: given[name] for name in ASKED if name in given})
        placed = daemon.post("/v1/plan", asked)["placements"]
        costs = [one["cost_nusd"]["p90"] for one in placed if one["cost_nusd"] is not None]
        return min(costs, default=None)

    def _missing(self, left: int, most: int | None) -> str:
        name = f"the budget key {self._name}, {show_nusd(self._nusd)} {_in(self._per)},"
        if most is None:
            return f"{name} is used up"
        rest = max(0, left)
        lacks = f"and this may cost {show_nusd(most)}: {show_nusd(most - rest)} are missing"
        return f"{name} has {show_nusd(rest)} left, {lacks}"


def _in(per: str) -> str:
    return "in all" if per == "total" else f"a {per}"


def _dollars(nusd: int) -> str:
    """Exact decimal text: "2", "0.000000001"."""
    whole, rest = divmod(nusd, NUSD)
    return f"{whole}.{rest:09}".rstrip("0").rstrip(".")


def _least(given: Given, left: int) -> str:
    """The limit of the job's cost: as asked, and never above what is left."""
    from mathcore.units import parse_nusd

    try:
        wanted = parse_nusd(str(given["max_cost"])) if "max_cost" in given else left
    except ValueError:
        return str(given["max_cost"])  # the daemon says what is wrong with it
    return _dollars(min(wanted, left))
