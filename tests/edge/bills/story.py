"""Random histories of two peers' devices, jobs and words on money, as events that arrive in any
order; and a shelf that holds them as a ledger does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from mathcore.units import DAY_MS, HOUR_MS, NUSD
from mesh.api.bills.asked import parse_bill
from mesh.api.bills.report import Names
from mesh.edge.bills.asking import Bills
from mesh.edge.bills.gathering import Watch
from mesh.edge.bills.keeping import Keeper
from mesh.edge.bills.kept import rows_of
from mesh.edge.bills.schema import in_memory
from mesh.edge.store.reader import Shelf
from mesh.ledger.event import Event
from mesh.state.fold import apply
from mesh.state.peer_id import short_id
from mesh.state.state import State
from tests.state.job_story import ANA, BEN, arriving, chained, event

ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns")
MINUTE = 60_000


ACCOUNT = {"provider": "vastai", "account": "main"}


def life_of(request: str, rate: int) -> list[tuple[str, dict[str, Any]]]:
    """What is said of a rental from first to last; `ago`: times so long before it is said."""
    looks = {"status": "up", "price_nusd": rate, "rate_nusd": rate}
    intent = {"request_id": request, "label": request, "epoch": 1, "attempt": 1, "offer_id": "o",
              "gpu": "RTX", "gpu_count": 1, "memory_bytes": 1, "quote_nusd": rate,
              "first_rate_nusd": 0, "reserved_nusd": rate, "life_ms": DAY_MS,
              "expires_ms": 1_900_000_000_000}  # fmt: skip
    return [
        ("rental_intended", intent),
        ("create_called", {}),
        ("create_answered", {"instance_id": "7", "why": "answered"}),
        ("instance_changed", {**looks, "ago": {"since_ms": 9, "begun_ms": 5}}),
        ("return_decided", {"why": "cancelled"}),
        ("absence_confirmed", {"why": "gone", "ago": {"end_ms": 3, "last_ms": 9, "proved_ms": 1}}),
        ("rental_invoiced", {"amount_nusd": 2 * rate, "step_nusd": 1}),
    ]


def key_of(author: str) -> str:
    """The id of a key as its peer names it."""
    return f"k-{short_id(author)}-1"


class Story:
    """Some days of two peers with a device or two each."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self.events: list[Event] = []
        self.days = dice.randint(1, 4)
        self.devices = [(ANA, "d0"), (BEN, "d1")] + ([(ANA, "d2")] if dice.random() < 0.5 else [])
        for author, device in self.devices:
            self.device(author, device)
        for n in range(dice.randint(0, 8)):
            self.job(n)
        for _ in range(dice.randint(0, 5)):
            self.word()
        for n in range(dice.randint(0, 2)):
            self.rent(n)
        for _ in range(dice.choice((0, 0, 1, 2))):
            self.remove()
        self.now = self.days * DAY_MS

    def say(self, kind: str, at: int, author: str, device: str, **payload: Any) -> None:
        """One event, `at` after the story's begin."""
        self.events.append(event(kind, at, author, device, **payload))

    def at(self, most: int | None = None) -> int:
        """Some moment."""
        return self.dice.randrange(most or self.days * DAY_MS)

    def device(self, author: str, device: str) -> None:
        """Registered once or twice, at some price, or rented by hand all the while."""
        dice, at = self.dice, self.at(HOUR_MS)
        hourly = dice.choice((0, 0, 0, NUSD))
        for _ in range(dice.randint(1, 2)):
            self.say(
                "device_registered",
                at,
                author,
                device,
                name=device,
                price_nusd=dice.choice((0, 1600 * NUSD)),
                lifetime_months=dice.choice((0, 36)),
                tariff_nusd_per_kwh=dice.choice((0, 150_000_000)),
                watts=dice.choice((0, 450)),
                count=1,
                hourly_nusd=hourly,
            )
            at += self.at()

    def job(self, n: int) -> None:
        """A job that runs, maybe pauses, maybe ends; or serves keys."""
        dice, (author, device) = self.dice, self.dice.choice(self.devices)
        job, at = f"j{n}", self.at()
        home = dice.choice((ANA, BEN))
        about = {"job_id": job, "attempt": 1}
        asked = {"model": dice.choice(("m1", "m2")), "key_id": dice.choice(("", key_of(ANA)))}
        self.say("job_submitted", at, home, device, job_id=job, **asked)
        plan = {"engine": "llama.cpp"}
        self.say("job_dispatched", at + 1, home, device, **about, owner=author, plan=plan)
        self.say("job_started", at + 2, author, device, **about)
        span = dice.randrange(1, 2 * HOUR_MS)
        if dice.random() < 0.3:
            self.say("job_paused", at + 2 + span // 3, author, device, **about)
            self.say("job_resumed", at + 2 + span // 2, author, device, **about)
        if dice.random() < 0.3:
            self.use(author, device, job, at, span)
        if dice.random() < 0.85:
            made = {"tokens_generated": 100, "prompt_tokens": 50, "throughput_mtps": 9000}
            took = {"energy_mj": 9_000_000, "actual_duration_ms": dice.choice((span, span // 2, 0))}
            basis = {"energy_basis": dice.choice(("measured", "estimated"))}
            end = at + 2 + span
            self.say("job_completed", end, author, device, **about, **made, **took, **basis)

    def use(self, author: str, device: str, job: str, at: int, span: int) -> None:
        """Keys ask a serving job."""
        for key in (key_of(ANA), "k2", ""):
            row = {"key_id": key, "model": "m1", "device_id": device, "job_id": job,
                   "requests": 2, "generated_tokens": 7, "prompt_tokens": 9, "cached_tokens": 3,
                   "cost_nusd": self.dice.randrange(1000)}  # fmt: skip
            begun = 1_800_000_000_000 + at + span // 2
            self.say("usage_summarised", at + span, author, device, begun_ms=begun, rows=[row])

    def word(self) -> None:
        """What somebody says of money, of the past or the future."""
        dice, (author, device) = self.dice, self.dice.choice(self.devices)
        at, about = self.at(), 1_800_000_000_000 + self.at()
        match dice.randrange(5):
            case 0:
                self.say("device_rate_set", at, author, device, from_ms=about, count=1,
                         price_micro=2000 * 10**6, currency="USD", bought_ms=about - DAY_MS,
                         life_months=60, tdp_mw=300_000, idle_mw=20_000, tariff="home")  # fmt: skip
            case 1:
                band = {"weekdays": "0123456", "from_min": 0, "to_min": 1440, "price": 3 * 10**8}
                self.say("tariff_set", at, author, "", name="home", from_ms=about, zone="UTC",
                         currency="USD", bands=[band])  # fmt: skip
            case 2:
                self.say("device_watched", at, author, device, from_ms=about, to_ms=about + HOUR_MS)
            case 3:
                self.say("charge_recorded", at, author, device, from_ms=about,
                         to_ms=about + dice.randrange(MINUTE, DAY_MS), amount_nusd=NUSD,
                         basis="invoiced")  # fmt: skip
            case _:
                self.say("telemetry_summarised", at + HOUR_MS, author, device, begun_ms=about,
                         span_ms=HOUR_MS, readings=9, health="ok", energy_joules=9000,
                         energy_basis=dice.choice(("measured", "estimated")))  # fmt: skip

    def remove(self) -> None:
        """Somebody takes a device away, each is an admin; its peer may register it again."""
        dice, (owner, device) = self.dice, self.dice.choice(self.devices)
        at = self.at()
        self.say("device_removed", at, dice.choice((ANA, BEN)), device, reason="sold")
        if dice.random() < 0.5:
            again = {"price_nusd": dice.choice((1600, 900)) * NUSD, "lifetime_months": 36}
            self.say("device_registered", at + self.at(), owner, device, name=device, **again)

    def rent(self, n: int) -> None:
        """A machine is rented, may come up, may be returned; its invoice may come days later."""
        dice, author = self.dice, self.dice.choice((ANA, BEN))
        self.say("account_taken", 0, author, "", **ACCOUNT, epoch=1, peer=author)
        at, life = self.at(), life_of(f"r{n}", dice.randrange(1, 10**10))
        for kind, payload in life[: dice.randint(1, len(life))]:
            self.step(at, author, f"r{n}x1", kind, **payload)
            at += dice.randrange(1, DAY_MS if kind == "return_decided" else HOUR_MS)

    def step(self, at: int, author: str, rental: str, kind: str, **payload: Any) -> None:
        """What is said of a rental."""
        now = 1_800_000_000_000 + at
        times = {name: now - ago for name, ago in payload.pop("ago", {}).items()}
        about = {"rental_id": rental, "turn": now, "at_ms": now}
        self.say(kind, at, author, "", **ACCOUNT, **about, **payload, **times)

    def arrived(self) -> list[Event]:
        """All of it in some order that keeps each author's."""
        return arriving(self.dice, chained(self.events))


class ListShelf(Shelf):
    """A ledger that is a list."""

    def __init__(self, events: list[Event]) -> None:
        self._list = events

    def events(self, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Event]]:
        end = len(self._list) if limit is None else after + limit
        return iter([(n + 1, one) for n, one in enumerate(self._list)][after:end])

    def of_author(self, author: str, until: int) -> Iterator[Event]:
        return iter([one for one in self._list[:until] if one.author == author])

    def close(self) -> None:
        """There is nothing to let go of."""


class Peer:
    """A ledger's state and bills, brought forward step by step."""

    def __init__(self, events: list[Event], zone: str) -> None:
        self.shelf, self.state, self.db = ListShelf(events), State(), in_memory()
        self.zone = zone
        self.keeper = Keeper(self.db, ZoneInfo(zone))

    def advance(self, cursor: int, now: int) -> None:
        """Know so many events, at some time."""
        for at, one in self.shelf.events(self.state.cursor, cursor - self.state.cursor):
            apply(self.state, one)
            self.state.cursor = at
        self.keeper.advance(self.shelf, self.state, 1_800_000_000_000 + now)

    def days(self) -> dict[tuple[str, str], list[Any]]:
        """(day, device) -> its rows, in one order."""
        found = self.db.execute("SELECT day, device, rows FROM days").fetchall()
        return {
            (day, device): sorted((list(vars_of(row)) for row in rows_of([blob])), key=repr)
            for day, device, blob in found
        }


def asked(peer: Peer, now: int, watch: Watch | None = None, **query: str) -> dict[str, Any]:
    """The bill that somebody asks for, from the ledger alone."""
    bills = Bills(
        Path("/nowhere"),
        ZoneInfo(peer.zone),
        lambda: (peer.shelf, peer.state),
        lambda: 1_800_000_000_000 + now,
        lambda _: Names(),
        lambda: watch or Watch(),
    )
    return bills.ask(parse_bill({"by": "device", **query}))


def known(events: list[Event], zone: str = "UTC") -> Peer:
    """A peer that has these events."""
    peer = Peer(events, zone)
    for one in events:
        apply(peer.state, one)
        peer.state.cursor += 1
    return peer


def vars_of(row: Any) -> list[Any]:
    """A row as values."""
    return [getattr(row, name) for name in row.__struct_fields__]
