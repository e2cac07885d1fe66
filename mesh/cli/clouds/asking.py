"""What a machine that is asked for will be and cost, told before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final

from mesh.api.errors import RequestError
from mesh.cli.client import Daemon, query_of
from mesh.cli.exits import CANNOT, NOTHING_FITS, USAGE, stop
from mesh.cli.output import clean, money, say

Row = Mapping[str, Any]

# Fields of a request that are options by another name.
OPTIONS: Final = {"life": "--for"}
MOST_OFFERS: Final = "200"  # the cheapest of them is shown; more are no better


def checked(options: Mapping[str, object]) -> dict[str, str]:
    """The body of a request; RequestError names the option that is wrong, in one line."""
    from mesh.api.rentals.asked import parse_rent

    body = {name: _text(value) for name, value in options.items() if value is not None}
    if "provider" in body:
        body["provider"] = _provider(body["provider"])
    try:
        parse_rent(body)
    except RequestError as error:
        raise RequestError(error.code, as_typed(error.text), error.hint) from None
    return body


def as_typed(text: str) -> str:
    """What is said of a field, said of its option."""
    name, colon, rest = text.partition(":")
    if not colon or not name.replace("_", "").isalpha():
        return text
    return f"{OPTIONS.get(name, '--' + name.replace('_', '-'))}:{rest}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _provider(text: str) -> str:
    from mesh.edge.clouds.keys import PROVIDERS, provider_of

    found = provider_of(text)
    if found is None:
        names = ", ".join(one.name for one in PROVIDERS)
        stop(USAGE, f"--provider: that is none; there are {names}", "fleet clouds")
    return found.name


def question(daemon: Daemon, body: Mapping[str, str]) -> str:
    """What it will be and cost; a Stop where there is no key, or nothing that fits."""
    keyed = _keyed(daemon, body)
    offered = _offered(daemon, body, {row["provider"] for row in keyed})
    if not offered:
        _why_none(keyed)
        if "max_price" not in body and "cap" not in body:
            stop(NOTHING_FITS, "nothing that fits is offered now", "fleet offers, or --max-price")
        return f"nothing that fits is offered now. rent what fits, {_limits(body)}, once there is?"
    best = offered[0]
    warn(best["provider"], keyed)
    count = f"{best['gpu_count']}x " if best["gpu_count"] > 1 else ""
    kind = " (may be taken back)" if best["spot"] else ""
    what = f"{count}{clean(best['gpu'])}{kind} at {best['provider']}"
    return f"{what}, {_cost(best['hourly_nusd'], body['life'])}: rent it?"


def _cost(hourly_nusd: int | None, life: str) -> str:
    from mathcore.units import parse_duration_ms

    if not hourly_nusd:
        return "at an unknown price"
    whole = hourly_nusd * parse_duration_ms(life) // 3_600_000
    return f"{money(hourly_nusd)}/h, about {money(whole)} for {life}"


def _limits(body: Mapping[str, str]) -> str:
    said = [f"{_dollars(body['max_price'])}/h"] if "max_price" in body else []
    said += [f"{_dollars(body['cap'])} in all"] if "cap" in body else []
    return f"for {' and '.join(said)} at most"


def _dollars(text: str) -> str:
    from mathcore.units import parse_hourly_nusd

    return money(parse_hourly_nusd(text))


def _offered(daemon: Daemon, body: Mapping[str, str], providers: Set[str]) -> list[Row]:
    """Single offers of these that fit, with the disk that is asked for, the cheapest first."""
    keys = ("gpu", "count", "provider", "max_price", "disk")
    query = {key: body[key] for key in keys if key in body} | {"limit": MOST_OFFERS}
    if "spot" not in body:
        query["spot"] = "false"
    rows = daemon.get(f"/v1/offers?{query_of(query)}")["offers"]
    rows = [row for row in rows if row["source"] == "offer" and row["provider"] in providers]
    found = [row for row in rows if not row["owned"]]
    return [row for row in found if body.get("offer") in (None, row["offer"])]


def _keyed(daemon: Daemon, body: Mapping[str, str]) -> list[Row]:
    """The clouds that may be asked; a Stop where this peer has no key of one."""
    rows, provider = daemon.get("/v1/clouds")["clouds"], body.get("provider", "")
    found = [row for row in rows if row["account"] and provider in ("", row["provider"])]
    if not found:
        named, hint = provider or "any cloud", provider or "PROVIDER"
        stop(CANNOT, f"this peer has no key of {named}", f"fleet clouds login {hint}")
    if "image" not in body and ("engine" not in body or "setup" in body):
        return found
    able = [row for row in found if row.get("has_images", True)]
    if not able:
        text = f"machines at {found[0]['title']} have no engine and take no image"
        stop(CANNOT, text, "fleet clouds login vastai, or --setup COMMAND: clouds.md")
    return able


def _why_none(keyed: list[Row]) -> None:
    """Where every account is in trouble, that is why there are no offers."""
    bad = [row for row in keyed if row["state"] in ("trouble", "retired")]
    if len(bad) == len(keyed):
        stop(CANNOT, f"{bad[0]['title']}: {clean(bad[0]['text'])}", clean(bad[0]["hint"]))


def warn(provider: str, clouds: list[Row]) -> None:
    """What the provider lacks that would end a machine, or prove its bill, without this peer."""
    row = next((one for one in clouds if one["provider"] == provider), {})
    if row.get("has_dead_man") is False:
        text = "its machines can't end themselves: while no peer with its key is up, they cost on"
        say(f"{row['title']}: {text}", err=True)
    if row.get("has_charges") is False:
        say(f"{row['title']}: it tells no charges: the bill stays as metered here", err=True)
