"""Rented machines and requests for them, JSON-ready; what is not known is null."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mesh.api.rows import Row, peer_name
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from mesh.state.rentals.terms import ABSENT, GRACE_MS, STEPS
from mesh.state.state import State
from providers.rental.labels import read_any

QUOTED: Final = "quoted"
METERED: Final = "metered"
INVOICED: Final = "invoiced"


def host_name(one: Rental) -> str:
    """What a rented machine is called among the hosts of the peer that rented it; its devices are
    named after it."""
    maker = {"vastai": "vast", "lambdalabs": "lambda"}.get(one.provider, one.provider)
    return f"{maker}-{one.request_id}"[:32]


def rental_rows(
    state: State, now_ms: int, hosts: Mapping[str, str], *, ended: bool
) -> list[dict[str, Any]]:
    """Every rental that is open, with `ended` those before too; the newest first. `hosts`: what
    each is called among this peer's hosts."""
    found = [one for one in state.rentals.every() if ended or one.is_open]
    found.sort(key=lambda one: (-one.made_ms, one.rental_id))
    return [rental_row(state, one, now_ms, _host(state, one, hosts)) for one in found]


def _host(state: State, one: Rental, hosts: Mapping[str, str]) -> str:
    """Its host here, or that of another peer, whose devices the ledger has; "" where it is none."""
    name = host_name(one)
    theirs = one.is_open and one.author and _devices(state, name, one.author)
    return hosts.get(one.rental_id) or (name if theirs else "")


def rental_row(state: State, one: Rental, now_ms: int, host: str) -> dict[str, Any]:
    """One of them."""
    return {
        "rental_id": one.rental_id,
        "request_id": one.request_id or None,
        "job_id": one.job_id or None,
        "provider": one.provider,
        "account": one.account,
        "peer": peer_name(state, one.author) if one.author else None,
        "instance": one.instance_id or None,
        "label": one.label or None,
        "state": one.state,
        "why": one.over or one.why,
        "since_ms": one.since_ms,
        "step": STEPS[one.step - 1] if one.step else None,
        "gpu": one.gpu or None,
        "gpu_count": one.gpu_count or None,
        "memory_bytes": one.memory_bytes or None,
        "region": one.region or None,
        "spot": one.spot,
        "host": host or None,
        "devices": _devices(state, host, one.author),
        "made_ms": one.made_ms or None,
        "expires_ms": one.expires_ms or None,
        "alarms": one.alarms,
        **money(one, now_ms),
    }


def money(one: Rental, now_ms: int) -> dict[str, Any]:
    """Quote, meter and invoice side by side; `basis` says which of them `cost_nusd` is."""
    metered = one.cost_nusd(now_ms)
    invoiced = one.invoiced_nusd
    return {
        "quote_nusd": one.quote_nusd or None,
        "price_nusd": one.price_nusd or None,
        "rate_nusd": 0 if one.state == ABSENT else one.rate_nusd,
        "reserved_nusd": one.reserved_nusd,
        "cost_nusd": metered if invoiced is None else invoiced,
        "basis": METERED if invoiced is None else INVOICED,
        "metered_nusd": metered,
        "metered_less_nusd": min(metered, one.meter.slack_nusd),
        "metered_more_nusd": one.meter.possible_nusd,
        "billed_step_ms": one.meter.step_ms,
        "invoiced_nusd": invoiced,
        "invoice_step_nusd": one.invoice_step_nusd or None,
        "difference_nusd": None if invoiced is None else invoiced - metered,
    }


def _devices(state: State, host: str, owner: str) -> list[str]:
    """The names of a host's devices, as its peer registered them."""
    views = list(state.devices.values()) if host else []
    return sorted(one.name for one in views if (one.facts.host, one.owner) == (host, owner))


def request_row(state: State, one: Request, reason: str) -> dict[str, Any]:
    """A request that is not over. `reason`: why it waits, "" where it has a machine."""
    return {
        "request_id": one.request_id,
        "provider": one.provider,
        "account": one.account,
        "peer": peer_name(state, one.author),
        "gpu": one.gpu or None,
        "gpu_count": one.gpu_count or None,
        "memory_bytes": one.memory_bytes or None,
        "max_hourly_nusd": one.max_hourly_nusd or None,
        "life_ms": one.life_ms,
        "idle_ms": one.idle_ms or None,
        "cap_nusd": one.cap_nusd,
        "spot": one.spot,
        "setup": one.setup or None,
        "waits_for": reason or None,
    }


def ended_requests(state: State) -> list[dict[str, str]]:
    """Why each request that is over is so: its machines' own reasons may be others."""
    views = state.rentals.requests.views.values()
    return [{"request_id": one.request_id, "why": one.over} for one in views if one.over]


def orphan_row(
    state: State, account: tuple[str, str], row: Any, names: tuple[str, ...], now_ms: int
) -> Row | None:
    """A listed machine that carries a label of ours and that the ledger does not want; else None.

    `row` is a `contract.Row`, `names` what labels call this fleet. `known`: what the ledger holds
    of it, null where it knows nothing. Another key of the same account lists it, too: a rental of
    any account at the provider is looked for.
    """
    label = read_any(names, row.label)
    if label is None:
        return None
    known = [one for one in state.rentals.at(account[0]) if _is_of(one, row.instance_id, label[0])]
    known.sort(key=lambda one: (one.account != account[1], not one.author))
    here = [one for one in known if one.account == account[1]]
    # At its label's end what another account wants may be ended by anybody: its own peer is late.
    those = known if now_ms <= label[1] + GRACE_MS else here
    if any(one.is_open and one.wanted and one.author for one in those):
        return None
    return {
        "provider": account[0],
        "account": account[1],
        "instance": row.instance_id,
        "label": row.label,
        "status": row.status,
        "rate_nusd": row.rate_nusd or None,
        "expires_ms": label[1],
        "expired": now_ms > label[1],
        "known": known[0].state if known else None,
        "why": (known[0].over or known[0].why) if known else None,
    }


def _is_of(one: Rental, instance_id: str, rental_id: str) -> bool:
    """Whether a listed machine is a rental's: by the provider's id, or by its label where the reply
    to the create has not come. Of two with one label the lowest id stays."""
    if one.instance_id == instance_id:
        return True
    may_be = one.instance_id == "" or instance_id < one.instance_id
    return one.rental_id == rental_id and may_be


def sums(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """What all of them cost an hour now, and came to."""
    every = list(rows)
    return {
        "hourly_nusd": sum(row["rate_nusd"] for row in every),
        "cost_nusd": sum(row["cost_nusd"] for row in every),
    }
