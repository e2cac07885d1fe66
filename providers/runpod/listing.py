"""The account's pods: GET /v2/pods?includeClusterPods=true, with or without pages.

`cost` is what the compute costs now, and 0 while a pod is stopped although its volume costs; disks
are billed beside it. So a row's rates are `cost` and the disks' prices. A page with one row that
can't be read is no listing: a row left out would look like a machine that is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from providers.rental.contract import Page, Reply, Request, Row, SshAt, Status, Unread
from providers.rental.reading import mapping
from providers.rental.units import HOURS_IN_MONTH_730, usd, usd_per_gb_month, whole
from providers.runpod.create import instance_id
from providers.runpod.offers import disk_rate
from providers.runpod.replies import said, unread

MAX_ROWS: Final = 10_000
MAX_CURSOR: Final = 2_000
MAX_LABEL: Final = 200  # a person may name a pod at length
MAX_DISK_GB: Final = 1_000_000
# A volume kept on the host, dollars a GB and month (docs.runpod.io, pods pricing).
VOLUME_USD: Final = Decimal("0.10")
STOPPED_VOLUME_USD: Final = Decimal("0.20")
GONE: Final = "TERMINATED"


def page_request(after: str) -> Request:
    """Ask for a page; "" asks for the first. Without the query members of clusters are hidden."""
    query = {"includeClusterPods": "true"} | ({"cursor": after} if after else {})
    return Request(op="list", method="GET", path="/v2/pods", query=query)


def page_from(reply: Reply, after: str = "") -> Page | Unread:
    """One page; `after`: what asked for it."""
    if (failed := unread(reply)) is not None:
        return failed
    body = mapping(reply.body)
    pods, following = body.get("pods"), _following(body.get("pagination"))
    if not isinstance(pods, list) or len(pods) > MAX_ROWS:
        return Unread(why="malformed", text="no list of pods")
    if following is None or (after and following == after):
        return Unread(why="malformed", text="pages without an end")
    rows = [_row(mapping(pod)) for pod in pods if mapping(pod).get("status") != GONE]
    if any(row is None for row in rows):
        return Unread(why="malformed", text="a pod without an id or a status")
    return Page(rows=tuple(row for row in rows if row is not None), after=following)


def _following(pagination: object) -> str | None:
    """What asks for the next page, "" after the last, None where it can't be told."""
    if pagination is None:
        return ""
    more, cursor = mapping(pagination).get("hasNextPage"), mapping(pagination).get("nextCursor")
    if more is False:
        return ""
    fits = isinstance(cursor, str) and 0 < len(cursor) <= MAX_CURSOR
    return cursor if more is True and isinstance(cursor, str) and fits else None


def _row(pod: Mapping[str, object]) -> Row | None:
    found, word = instance_id(pod.get("id")), pod.get("status")
    if not found or not isinstance(word, str):
        return None
    price, rate = _rates(pod, word)
    return Row(
        instance_id=found,
        label=said(pod.get("name"), MAX_LABEL),
        status=_status(pod, word),
        price_nusd=price,
        rate_nusd=rate,
        ssh=_ssh(pod.get("ssh")),
        note=_note(pod, word),
    )


def _status(pod: Mapping[str, object], word: str) -> Status:
    """RunPod's words as ours. RUNNING without a runtime is a container that died, still paid for;
    STARTING before it ever started is the time in which its image is pulled."""
    runs = pod.get("runtime", True) is not None  # not said is not dead
    if word == "PROVISIONING":
        return "image" if _has_machine(pod) else "placing"
    if word == "STARTING":
        return "image" if pod.get("startedAt") is None else "container"
    if word == "RUNNING":
        return "up" if runs else "exited"
    if word == "EXITED":
        return "stopped"
    # ERROR; and a word that we do not know, of a pod in which nothing is seen to run.
    return "up" if word != "ERROR" and mapping(pod.get("runtime")) else "error"


def _has_machine(pod: Mapping[str, object]) -> bool:
    """Both are null until a host is found; one outside a data centre has the second alone."""
    return pod.get("dataCenterId") is not None or bool(
        mapping(mapping(pod.get("ssh")).get("proxy"))
    )


def _rates(pod: Mapping[str, object], word: str) -> tuple[int, int | None]:
    """(price while up, charged now), nano-dollars an hour. A cost of 0 is none, unless it exited:
    then nobody says what is charged."""
    volume = _gb(mapping(mapping(pod.get("mounts")).get("persistent")).get("size"))
    if word == "EXITED":
        return 0, usd_per_gb_month(STOPPED_VOLUME_USD, volume, HOURS_IN_MONTH_730) or 0
    cost = usd(pod.get("cost"))
    if cost is None or cost <= 0:
        return 0, None
    kept = usd_per_gb_month(VOLUME_USD, volume, HOURS_IN_MONTH_730) or 0
    price = cost + disk_rate(_gb(pod.get("disk"))) + kept
    return price, price


def _gb(value: object) -> int:
    return min(whole(value) or 0, MAX_DISK_GB)


def _ssh(value: object) -> SshAt | None:
    """Its own port to the world; the proxy takes neither files nor forwarded ports."""
    direct = mapping(mapping(value).get("direct"))
    host, user, port = said(direct.get("host")), said(direct.get("username")), direct.get("port")
    right = isinstance(port, int) and not isinstance(port, bool) and 0 < port < 1 << 16
    if not right or not host or not user or host.startswith("-") or " " in host + user:
        return None
    return SshAt(host=host, port=int(str(port)), user=user)


def _note(pod: Mapping[str, object], word: str) -> str:
    parts = [said(word, 40)]
    if cluster := mapping(pod.get("cluster")):
        parts.append(f"of cluster {said(cluster.get('id'), 60)}: ends with it alone")
    if pod.get("locked") is True:
        parts.append("locked")
    return ", ".join(parts)
