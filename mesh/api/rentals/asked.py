"""A machine that somebody wants to rent: a body in, checked values out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from mathcore.units import NUSD, parse_duration_ms, parse_hourly_nusd, parse_nusd
from mesh.api.errors import RequestError
from mesh.api.fields import read, refuse, unknown_field
from mesh.api.market.asked import DEFAULT_DISK, OfferFilter, parse_offers
from mesh.state.rentals.requests import MAX_LIFE_MS, MAX_SETUP, MAX_TEXT, MIN_LIFE_MS
from mesh.state.rentals.terms import DAY_MS

SETUP: Final = "setup"
OF_OFFER: Final = ("gpu", "count", "spot", "max_price", "provider", "disk")
OF_MACHINE: Final = ("offer", "image", "engine", SETUP)
FIELDS: Final = (*OF_OFFER, *OF_MACHINE, "life", "idle", "cap", "request_id", "job_id")
DEFAULT_IDLE: Final = "15m"  # a person thinks so long between two jobs
MAX_CAP_NUSD: Final = 1_000_000 * NUSD  # more is a mistake
_ID: Final = re.compile(r"[a-z0-9]{1,20}")
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,250}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RentAsked:
    """What is wanted; None and "" do not bind. `cap_nusd`: all that may be spent on it."""

    filter: OfferFilter
    gpu: str
    offer_id: str
    life_ms: int
    idle_ms: int  # 0 = never
    cap_nusd: int | None
    image: str
    engine: bool  # only a machine that has an engine once it is up
    setup: str  # a shell command that makes it ready
    request_id: str
    job_id: str

    @property
    def disk_bytes(self) -> int:
        """Room on its disk."""
        return self.filter.disk_bytes or 0

    @property
    def spot(self) -> bool:
        """Whether one that may be taken back will do."""
        return self.filter.spot is True


def parse_rent(body: Mapping[str, object]) -> RentAsked:
    """What a body asks for; RequestError names the field that is wrong."""
    given: dict[str, str] = {}
    for name, value in body.items():
        if name not in FIELDS:
            unknown_field(name, FIELDS, "fleet rent --help")
        most = MAX_SETUP if name == SETUP else MAX_TEXT
        if not isinstance(value, str) or len(value) > most:
            refuse(f"{name} must be a text of at most {most} characters", "fleet rent --help")
        given[name] = str(value)
    if "life" not in given:
        refuse("life: for how long at most?", "say for example 2h")
    return RentAsked(
        filter=parse_offers(
            {"disk": DEFAULT_DISK} | {name: given[name] for name in OF_OFFER if name in given}
        ),
        gpu=given.get("gpu", ""),
        offer_id=given.get("offer", ""),
        life_ms=_life(given["life"]),
        idle_ms=_idle(given.get("idle", DEFAULT_IDLE)),
        cap_nusd=_cap(given["cap"]) if "cap" in given else None,
        image=_matching("image", given.get("image", ""), _IMAGE, "an image's name, as docker has"),
        engine=_engine(given.get("engine", "false")),
        setup=_setup(given.get(SETUP)),
        request_id=_matching("request_id", given.get("request_id", ""), _ID, "1 to 20 of a-z0-9"),
        job_id=given.get("job_id", ""),
    )


def parse_price(text: str) -> int:
    """Nano-dollars an hour of "0.50"; RequestError otherwise."""
    return read("max_price", parse_hourly_nusd, text)


def _life(text: str) -> int:
    found = read("life", parse_duration_ms, text)
    if not MIN_LIFE_MS <= found <= MAX_LIFE_MS:
        least, most = MIN_LIFE_MS // 60_000, MAX_LIFE_MS // DAY_MS
        refuse(f"life: {text!r} is not between {least}m and {most}d", "say for example 2h")
    return found


def _idle(text: str) -> int:
    if text.strip() in ("0", "never"):
        return 0
    return min(MAX_LIFE_MS, read("idle", parse_duration_ms, text))


def _cap(text: str) -> int:
    """A cap of nothing rents nothing: it is no way to say that there is none."""
    found = read("cap", parse_nusd, text.strip("$ "))
    if not 0 < found <= MAX_CAP_NUSD:
        refuse(
            f"cap: {text[:40]!r} is not between $0 and $1,000,000", "fleet rent --for 2h --cap 5"
        )
    return found


def _engine(text: str) -> bool:
    if text not in ("true", "false"):
        refuse(f"engine: {text[:40]!r} is not true or false", "leave it out")
    return text == "true"


def _setup(text: str | None) -> str:
    """Every peer can read it, and a host's shell is to run it."""
    if text is None:
        return ""
    if not text.strip() or "\0" in text:
        refuse("setup: no command", "say for example --setup 'pip install vllm'")
    return text


def _matching(name: str, text: str, rule: re.Pattern[str], what: str) -> str:
    if text and rule.fullmatch(text) is None:
        raise RequestError("BadField", f"{name}: {text[:60]!r} is not {what}", "fleet rent --help")
    return text
