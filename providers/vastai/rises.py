"""Requests to pay more for a running machine. Their prices are dollars a second, unlike all others.

A row has the new and the old price of the accelerators and of the disk; what is null stays.
"""

from __future__ import annotations

from typing import Final

from providers.rental.contract import (
    Accepted,
    Refused,
    Reply,
    Request,
    Rise,
    Unclear,
    Unread,
)
from providers.rental.reading import identity, mapping, silent, unread
from providers.rental.units import usd_per_second
from providers.vastai.errors import AUTH, failure, good, problem

NO_PENDING: Final = "no_pending_price_increase"  # a 404, a 409 before: somebody answered already
_PARTS: Final = ("gpu_costpersec", "disk_ram_costpersec")


def rises_request() -> Request:
    """Ask for what waits."""
    path = "/api/v0/instances/pending-price-increases/"
    return Request(op="rises", method="GET", path=path)


def rises_from(reply: Reply) -> tuple[Rise, ...] | Unread:
    """What waits; a row without its ids is left out."""
    if (failed := failure(reply)) is not None:
        return failed
    rows = mapping(reply.body).get("pending_price_increases")
    if not isinstance(rows, list):
        return unread(reply)
    found = (_rise(mapping(row)) for row in rows)
    return tuple(rise for rise in found if rise is not None)


def _rise(row: dict[str, object]) -> Rise | None:
    request_id = identity(row.get("pending_price_increase_id"))
    instance_id = identity(row.get("contract_id"))
    if not request_id.isdigit() or not instance_id:
        return None
    hourly = sum(_part(row, part) for part in _PARTS)
    return Rise(request_id=request_id, instance_id=instance_id, new_hourly_nusd=hourly)


def _part(row: dict[str, object], name: str) -> int:
    return usd_per_second(row.get(f"new_{name}")) or usd_per_second(row.get(f"old_{name}")) or 0


def refuse_request(rise: Rise) -> Request | Refused:
    """Say no to one; the body may hold nothing else."""
    if not rise.request_id.isascii() or not rise.request_id.isdigit():
        return Refused(code="invalid_args", text="the request's id is none")
    return Request(
        op="refuse",
        method="PUT",
        path="/api/v0/instances/reject-price-increase/",
        body={"pending_price_increase_id": int(rise.request_id)},
    )


def refused_from(reply: Reply) -> Accepted | Refused | Unclear:
    """Whether the no was taken; one that no longer waits is `gone`."""
    said, words = problem(reply)
    if silent(reply):
        return Unclear(code=silent(reply))
    if good(reply):
        return Accepted()
    if said == NO_PENDING:
        return Accepted(gone=True)
    if said or reply.status in (401, 403):
        return Refused(code=said or AUTH, text=words)
    return Unclear(code="odd_reply")
