"""What this peer says things cost: checked, signed, shown with what is missing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn, final
from zoneinfo import ZoneInfo

from mathcore.units import NUSD
from mesh.api.bills.rates import PARSERS, with_kept
from mesh.api.errors import RequestError
from mesh.api.fields import refuse
from mesh.edge.bills.cutting import MOST_MS
from mesh.edge.bills.missing import missing, rates_known, registered
from mesh.edge.dispatch.candidates import is_rented
from mesh.state.bills.books import SHELVES, Word
from mesh.state.bills.given import Given, latest
from mesh.state.bills.inputs import Charge, FxRate, Rate, Tariff
from mesh.state.bills.lines import POWER, RENT, WEAR
from mesh.state.bills.reading import rate_fact
from mesh.state.facts.fact import encode
from mesh.state.facts.money import ChargeRecorded, Corrected, DeviceRateSet, FxRateSet
from mesh.state.fleet import DeviceView
from mesh.state.members import ADMIN
from mesh.state.runs.making import flat_name
from mesh.state.state import State

Row = dict[str, Any]
SHOWN: Final = ("device_rate_set", "tariff_set", "fx_rate_set", "charge_recorded")


@final
class Rates:
    """One peer's. `emit` returns once the fact is on disk."""

    def __init__(
        self,
        author: str,
        state: Callable[[], State],
        emit: Callable[[str, str, dict[str, object]], Awaitable[Any]],
        now_ms: Callable[[], int],
        zone: ZoneInfo,
        told: Callable[[], None],
    ) -> None:
        self._author: Final = author
        self._state: Final = state
        self._emit: Final = emit
        self._now_ms: Final = now_ms
        self._zone: Final = zone
        self._told: Final = told  # bills made before are out of date

    async def say(self, what: str, body: Mapping[str, object]) -> Row:
        """Sign a statement; RequestError where it makes no sense, is not this peer's to make, or
        where no bill would count with it."""
        if what not in PARSERS:
            raise RequestError("NotFound", f"nothing is called {what[:40]!r}", "fleet rates", 404)
        said = PARSERS[what](body, self._now_ms(), self._zone)
        one = self._device(said.device) if said.device else None
        device = one.device_id if one else ""
        kind, fact = said.event_type, said.fact
        match fact:
            case Corrected():
                fact = self._meant(fact)
                kind = fact.event_type
            case FxRateSet():
                self._demand_admin()
            case DeviceRateSet() if one:
                _demand_owned(one)
                fact = self._filled(fact, one, body)
            case ChargeRecorded() if one:
                self._demand_charged(fact, one)
        event = await self._emit(said.event_type, device, encode(fact))
        self._told()
        self._demand_kept(kind, event.seq)
        return {"seq": event.seq, "event_type": said.event_type, "device_id": device or None}

    def rows(self) -> Row:
        """What every device costs as known now, and what this peer said, by event."""
        state = self._state()
        given = rates_known(state)
        devices = [self._shown(given, one) for _, one in sorted(state.devices.items())]
        return {"devices": devices, "said": self._said(state)}

    def _device(self, wanted: str) -> DeviceView:
        """A device of this peer's, by its id or name."""
        state = self._state()
        found = [one for one in state.devices.values() if wanted in (one.device_id, one.name)]
        own = [one for one in found if one.owner == self._author]
        if len(own) == 1:
            return own[0]
        if not found:
            raise RequestError("NotFound", f"no device {wanted[:60]!r}", "fleet devices", 404)
        if own:
            text = f"{len(own)} devices are called {wanted[:60]!r}"
            raise RequestError("BadField", text, "say its id: fleet devices")
        text = f"{wanted[:60]} is another peer's: its owner alone says what it costs"
        raise RequestError("NotYours", text, "the same command on that machine", 403)

    def _demand_admin(self) -> None:
        """What a currency is worth is one word for all: others' counts in no bill."""
        if self._state().members.role(self._author) != ADMIN:
            text = "what a currency is worth needs the role admin"
            raise RequestError("WrongRole", text, "fleet peers shows who is admin", 403)

    def _demand_charged(self, fact: ChargeRecorded, one: DeviceView) -> None:
        """Whether a device's bill has what a charge takes the place of."""
        if is_rented(one) and not one.hand_described:
            _refuse_machine(one)
        if fact.to_ms <= self._now_ms() - MOST_MS:
            refuse("period: no bill goes back further than ten years", "a day or month since then")
        parts = (RENT,) if one.facts.hourly_nusd else (POWER, WEAR)
        if fact.component and fact.component not in parts:
            how = "rented" if one.facts.hourly_nusd else "owned"
            text = f"component: {one.name} is {how}, no part of its bill is {fact.component}"
            refuse(text, f"{' or '.join(parts)}; none = all but wear")

    def _demand_kept(self, kind: str, seq: int) -> None:
        """Whether bills count with an event that was signed."""
        if not self._state().books.keeps(self._author, kind, seq):
            why = "this peer's word does not count, or its clock is wrong"
            raise RequestError(
                "NotTaken",
                f"no bill counts with event {seq}: {why}",
                "fleet peers shows its role",
                409,
            )

    def _filled(
        self, fact: DeviceRateSet, one: DeviceView, body: Mapping[str, object]
    ) -> DeviceRateSet:
        """The rate with what was not typed as it was on the day from which it holds: said before,
        else registered. A registration says not when the device was bought: a person does, once."""
        rates = rates_known(self._state()).rates.get(one.device_id, ())
        known = latest(rates, fact.from_ms) or replace(registered(one), bought_ms=0)
        return with_kept(fact, rate_fact(known, self._author), body)

    def _meant(self, fact: Corrected) -> Corrected:
        """The correction with the type of what it corrects."""
        word = self._word()
        for kind, shelf in SHELVES.items():
            rows = getattr(word, shelf.name)
            if fact.seq in rows and rows[fact.seq][1] == 0:
                return Corrected(seq=fact.seq, event_type=kind)
        text = f"this peer said nothing about money in its event {fact.seq}"
        raise RequestError("NotFound", text, "fleet rates show", 404)

    def _word(self) -> Word:
        return self._state().books.words.get(self._author) or Word()

    def _shown(self, given: Given, one: DeviceView) -> Row:
        """A device's rate now: as somebody said, else as it registered."""
        facts, now_ms = one.facts, self._now_ms()
        said = latest(given.rates.get(one.device_id, ()), now_ms)
        rate = said or registered(one)
        tariff = rate.tariff.partition("/")[2]
        flat = f"{facts.tariff_nusd_per_kwh / NUSD:g} USD/kWh"
        rent = facts.hourly_nusd or None
        return {
            "device_id": one.device_id,
            "name": one.name,
            "owner": one.owner,
            "count": rate.count,
            "price_nusd": rate.price,
            "currency": rate.currency,
            "resale_nusd": rate.resale,
            "months": rate.life_months,
            "watts_mw": rate.tdp_mw,
            "idle_mw": rate.idle_mw,
            "tariff": (flat if rate.tariff == flat_name(one.owner, one.device_id) else tariff)
            or None,
            "from_ms": rate.from_ms,
            "source": "registered" if said is None else "said",
            "hourly_nusd": rent,
            "missing": [] if rent or not rate.count else missing(given, rate, now_ms, self._zone),
        }

    def _said(self, state: State) -> list[Row]:
        """What this peer said of money, the newest first; what it took back has `undone`."""
        found: list[Row] = []
        word = self._word()
        for kind in SHOWN:
            rows = getattr(word, SHELVES[kind].name)
            undone = {corrects for _, corrects, value in rows.values() if corrects and not value}
            for seq, (key, corrects, value) in rows.items():
                if not corrects:
                    told = {"seq": seq, "event_type": kind, "said_ms": key[0]}
                    found.append({**told, "undone": seq in undone, "text": _text(value)})
        return sorted(found, key=lambda row: -row["seq"])


def _demand_owned(one: DeviceView) -> None:
    """A rate is of what somebody owns: of what is rented its rents count alone."""
    if one.facts.hourly_nusd and one.hand_described:
        hint = f"fleet devices set {one.name} --rate 0.45/h says another rent"
        refuse(f"{one.name} is rented by the hour: its rent is what it costs", hint)
    if is_rented(one) and not one.hand_described:
        _refuse_machine(one)


def _refuse_machine(one: DeviceView) -> NoReturn:
    text = f"{one.name} is of a rented machine, whose rental and invoice are its bill"
    refuse(text, "fleet rentals")


def _text(value: Rate | Tariff | FxRate | Charge) -> str:
    """A statement in a few words."""
    match value:
        case Rate():
            price = "no price" if value.price is None else f"{value.price / NUSD:g}"
            many = "" if value.count == 1 else f"{value.count} × "
            return f"{value.device}: {many}{price} {value.currency}, {value.life_months} months"
        case Tariff():
            prices = sorted({band.price for band in value.bands})
            told = "–".join(f"{one / NUSD:g}" for one in (prices[0], prices[-1])[: len(prices)])
            name = value.name.partition("/")[2]
            return f"tariff {name}: {told} {value.currency}/kWh, {value.zone}"
        case FxRate():
            return f"1 {value.currency} = {value.nusd / NUSD:g} USD"
        case Charge():
            return f"{value.device}: {value.nusd / NUSD:g} USD {value.basis}"
