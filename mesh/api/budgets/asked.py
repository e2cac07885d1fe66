"""What may be asked of budgets: a body in, checked values out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final
from zoneinfo import ZoneInfo

from mathcore.units import parse_nusd
from mesh.api.errors import RequestError
from mesh.api.fields import refuse, unknown_field
from mesh.state.budgets.budget import MAX_NAME, MAX_SPAN, MAX_ZONE
from mesh.state.budgets.entries import MOST_NUSD
from mesh.state.facts.budget import ALL, CLOUD, CLOUD_STOP, FLEET, JOB, KEY, PROVIDER, USER
from mesh.state.facts.serving import DAY, MONTH, TOTAL

OF: Final = (USER, KEY, PROVIDER, JOB)
PICKS: Final = (*OF, "per", "tz")
OF_CAP: Final = ("amount", *PICKS, "owned", "lift")
OF_GRANT: Final = ("peer", "amount", *PICKS, "periods")
# How people say it, and how it is signed.
PERIODS: Final = {"day": DAY, "month": MONTH, "total": TOTAL}
OWNED: Final = {"cloud": CLOUD, "stop": CLOUD_STOP, "all": ALL}
SET: Final = "fleet budget set 50 --per month"
GRANT: Final = "fleet budget grant PEER 10"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """Which budget somebody means. `of` is as typed, "" for the fleet; `zone` None = any there is,
    "" = UTC."""

    scope: str = FLEET
    of: str = ""
    per: str = MONTH
    zone: str | None = None

    @property
    def flags(self) -> str:
        """The options that pick it again."""
        of = "" if self.scope == FLEET else f" --{self.scope} {self.of}"
        zone = f" --tz {self.zone}" if self.zone else ""
        return f"--per {self.per}{of}{zone}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CapAsked:
    """A cap somebody sets or lifts; None = as it was."""

    pick: Pick
    nusd: int | None
    owned: str | None
    lift: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GrantAsked:
    """Money for another peer: so much in this period, and in those after it up to `periods`."""

    pick: Pick
    peer: str
    nusd: int
    periods: int


def parse_cap(body: Mapping[str, object]) -> CapAsked:
    """The cap a body asks for; RequestError names the field that is wrong."""
    _known(body, OF_CAP, SET)
    lift = body.get("lift", False)
    if not isinstance(lift, bool):
        refuse(f"lift: {str(lift)[:40]!r} is not true or false", "fleet budget set --lift")
    if lift and "amount" in body:
        refuse("amount: a budget that is lifted has none", "fleet budget set --lift --per month")
    if not lift and "amount" not in body:
        refuse("amount: how many dollars?", f"say for example {SET}")
    return CapAsked(
        pick=_pick(body),
        nusd=None if lift else _dollars(body["amount"], least=0, example=SET),
        owned=_owned(body.get("owned")),
        lift=lift,
    )


def parse_grant(body: Mapping[str, object]) -> GrantAsked:
    """The grant a body asks for; RequestError names the field that is wrong."""
    _known(body, OF_GRANT, GRANT)
    if "amount" not in body:
        refuse("amount: how many dollars?", f"say for example {GRANT}")
    pick, periods = _pick(body), body.get("periods", 1)
    if type(periods) is not int or not 1 <= periods <= MAX_SPAN:
        refuse(
            f"periods: {str(periods)[:40]!r} is not a whole number from 1 to {MAX_SPAN}",
            f"{GRANT} --periods 3",
        )
    if pick.per == TOTAL and periods != 1:
        refuse("periods: a budget in total has one period", "leave it out")
    return GrantAsked(
        pick=pick,
        peer=_text(body, "peer", "fleet peers lists them"),
        nusd=_dollars(body["amount"], least=1, example=GRANT),
        periods=periods,
    )


def _known(body: Mapping[str, object], fields: tuple[str, ...], example: str) -> None:
    for name in body:
        if name not in fields:
            unknown_field(name, fields, example)


def _pick(body: Mapping[str, object]) -> Pick:
    named = [one for one in OF if one in body]
    if len(named) > 1:
        refuse(f"{named[0]} and {named[1]}: a budget is about one of them", "name one, or none")
    per = body.get("per", MONTH)
    if not isinstance(per, str) or per not in PERIODS:
        refuse(f"per: {str(per)[:40]!r} is no period", f"one of {', '.join(PERIODS)}")
    of = _text(body, named[0], SET) if named else ""
    scope = named[0] if named else FLEET
    return Pick(scope=scope, of=of, per=PERIODS[per], zone=_zone(body.get("tz")))


def _text(body: Mapping[str, object], name: str, hint: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME or not value.isprintable():
        refuse(f"{name}: must be a name of at most {MAX_NAME} characters", hint)
    return value


def _dollars(value: object, *, least: int, example: str) -> int:
    if not isinstance(value, str):
        refuse('amount: must be a text of dollars, "50"', f"say for example {example}")
    try:
        found = parse_nusd(value)
    except ValueError:
        refuse(f"amount: {value[:40]!r} is not an amount of dollars", f"say for example {example}")
    if not least <= found <= MOST_NUSD:
        refuse(
            f"amount: {value[:40]!r} is not between ${'0' if not least else '0.000000001'}"
            " and $1,000,000",
            f"say for example {example}",
        )
    return found


def _owned(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in OWNED:
        refuse(
            f"owned: {str(value)[:40]!r} is no word on own devices", f"one of {', '.join(OWNED)}"
        )
    return OWNED[value]


def _zone(value: object) -> str | None:
    """ "" for UTC; a zone must be known here, or nothing could be held by it."""
    if value is None:
        return None
    hint = "say for example Europe/Berlin, or UTC"
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ZONE or not value.isprintable():
        refuse("tz: must be the name of a time zone", hint)
    if value == "UTC":
        return ""
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError) as error:
        text = f"tz: this machine knows no time zone {value!r}"
        raise RequestError("BadRequest", text, hint) from error
    return value
