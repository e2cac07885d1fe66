"""The tools that start and end jobs, within one key's budget.

The cap is the fleet's own: a budget of a key of this peer, said in the ledger. The daemon holds an
attempt's money in it, on disk, before anything starts (docs/budgets.md), so that a cap holds over
restarts, over several clients, and whatever a client asks for. What is said here before is a
courtesy: a job that could not be paid is refused at once, with the amount, and does not wait.

It is a budget beside whatever a person said of the key, by a time zone of its own: all of them
hold. It is said where there is none and lowered where a start says less; no cap is ever raised or
lifted, but one that was said for a job that the daemon then refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any, Final, final

from mathcore.units import NUSD, show_nusd
from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, job_url
from mesh.cli.mcp.tools import MODEL, TEXT, Answer, Given, Tool, told, with_model

# Only a model with a prompt: a command would run as this user wherever it is sent.
FIELDS: Final = ("model", "prompt", "context", "tokens", "on", "max_cost")
ASKED: Final = ("model", "context", "tokens", "max_cost")  # of it, what a plan takes
# Budgets of two zones are two budgets (docs/budgets.md); the days of this one are UTC's, too.
ZONE: Final = "Etc/UTC"
Cap = Mapping[str, Any]  # a row of GET /v1/budgets


@final
class Spending:
    """What one client may start: jobs of the key `name`, `nusd` in each `per`."""

    def __init__(self, name: str, nusd: int, per: str) -> None:
        self._name: Final = name
        self._nusd: Final = nusd
        self._per: Final = per
        self._one_at_a_time: Final = Lock()

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

    @property
    def says(self) -> str:
        """What this start said."""
        return f"jobs of the key {self._name} may cost {_amount(self._nusd, self._per)}"

    def holds(self, daemon: Daemon) -> str:
        """That, and what other caps of the key say, which hold as well; in one line."""
        caps = self._caps(daemon)
        own, said = self._own(caps), [self.says]
        if own is not None and own["cap_nusd"] < self._nusd:
            before = _amount(own["cap_nusd"], self._per)
            said.append(f"{before} was said before and holds until {self._raised()}")
        said += [f"its budget of {_shown(one)} holds, too" for one in caps if one is not own]
        return "; ".join(said)

    def _run(self, daemon: Daemon, given: Given) -> Answer:
        with self._one_at_a_time:
            return self._started(daemon, given)

    def _started(self, daemon: Daemon, given: Given) -> Answer:
        most = self._cheapest_nusd(daemon, given)
        caps = self._caps(daemon)
        left = self._left_nusd(caps, most)
        body = with_model({name: given[name] for name in FIELDS if name in given})
        key_id = self._key_id(daemon) or self._new_key(daemon)
        body |= {"key": key_id, "max_cost": _least(given, left)}
        is_new = self._say_cap(daemon, key_id, self._own(caps))
        try:
            made = daemon.post("/v1/jobs", body)
        except RequestError:
            if is_new:  # no job, no cap: nothing has changed
                daemon.post("/v1/budgets", {**self._budget(key_id), "lift": True})
            raise
        return {"job_id": made["job_id"], "may_cost_nusd": most, "left_nusd": left}

    def _cancel(self, daemon: Daemon, given: Given) -> Answer:
        job_id = str(given["job_id"])
        key_id = self._key_id(daemon)
        if not key_id or daemon.get(job_url(job_id))["key_id"] != key_id:
            text = f"{job_id} is not a job of the key {self._name}"
            raise RequestError("NotOwner", text, "a person ends it: fleet cancel", 403)
        daemon.post(job_url(job_id, "/cancel"))
        return {"job_id": job_id, "status": "cancelling"}

    # The key that pays.

    def _key_id(self, daemon: Daemon) -> str:
        """Its id; "" where there is none yet."""
        rows = daemon.get("/v1/keys")["keys"]
        found = (row["key_id"] for row in rows if row["name"] == self._name and row["works"])
        return str(next(found, ""))

    def _new_key(self, daemon: Daemon) -> str:
        """Make it; its secret, which would open the models' address, is shown to nobody."""
        return str(daemon.post("/v1/keys", {"name": self._name})["key_id"])

    # Its caps.

    def _caps(self, daemon: Daemon) -> list[Cap]:
        """Every cap that this peer said of the key, which goes by its id, too, beside a revoked
        one of its name."""
        key_id = self._key_id(daemon)
        names = (self._name, f"{self._name} ({key_id})") if key_id else ()
        rows = daemon.get("/v1/budgets")["budgets"]
        mine = [one for one in rows if one["mine"] and one["cap_nusd"] is not None]
        return [one for one in mine if one["scope"] == "key" and one["of"] in names]

    def _is_own(self, cap: Cap) -> bool:
        return (cap["per"], cap["tz"]) == (self._per, ZONE)

    def _own(self, caps: list[Cap]) -> Cap | None:
        return next(filter(self._is_own, caps), None)

    def _budget(self, key_id: str) -> dict[str, object]:
        return {"key": key_id, "per": self._per, "tz": ZONE}

    def _left_nusd(self, caps: list[Cap], most: int | None) -> int:
        """The least that is left of any cap that counts the fleet's own devices; RequestError where
        `most` is more."""
        left, name = self._own_left_nusd(self._own(caps)), _amount(self._nusd, self._per)
        for one in caps:
            if one["owned"] == "all" and one["free_nusd"] < left:
                left, name = int(one["free_nusd"]), _amount(one["cap_nusd"], one["per"])
        if left > 0 and (most is None or most <= left):
            return left
        text = f"the budget key {self._name}, {name}, {_missing(left, most)}"
        raise RequestError("BudgetSpent", text, "a person raises it: fleet budget set", 409)

    def _own_left_nusd(self, own: Cap | None) -> int:
        """Of what this start said, whatever the cap was before: what was spent counts."""
        if own is None:
            return self._nusd
        return self._nusd - (int(own["cap_nusd"]) - int(own["free_nusd"]))

    def _say_cap(self, daemon: Daemon, key_id: str, own: Cap | None) -> bool:
        """Say this client's cap where it is not there, or is higher; True where it is new."""
        least = self._nusd if own is None else min(self._nusd, own["cap_nusd"])
        if own is None or (own["cap_nusd"], own["owned"]) != (least, "all"):
            said = {**self._budget(key_id), "amount": _dollars(least), "owned": "all"}
            daemon.post("/v1/budgets", said)
        return own is None

    def _raised(self) -> str:
        of = f"--key {self._name} --per {self._per} --tz {ZONE}"
        return f"fleet budget set {_dollars(self._nusd)} {of}"

    def _cheapest_nusd(self, daemon: Daemon, given: Given) -> int | None:
        """What the cheapest placement costs, nine times in ten; None where none is known. Whether
        anything fits the job's way in says."""
        asked = with_model({name: given[name] for name in ASKED if name in given})
        placed = daemon.post("/v1/plan", asked)["placements"]
        costs = [one["cost_nusd"]["p90"] for one in placed if one["cost_nusd"] is not None]
        return min(costs, default=None)


def _missing(left: int, most: int | None) -> str:
    if most is None:
        return "is used up"
    rest = max(0, left)
    lacks = f"and this may cost {show_nusd(most)}: {show_nusd(most - rest)} are missing"
    return f"has {show_nusd(rest)} left, {lacks}"


def _amount(nusd: int, per: str) -> str:
    return f"{show_nusd(nusd)} in all" if per == "total" else f"{show_nusd(nusd)} a {per}"


# What of work on the fleet's own devices a cap counts (docs/budgets.md, rule 12).
OWNED: Final = {"cloud": " on rented machines", "stop": " on rented machines, then nothing starts"}


def _shown(cap: Cap) -> str:
    return f"{_amount(cap['cap_nusd'], cap['per'])}{OWNED.get(str(cap['owned']), '')}"


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
