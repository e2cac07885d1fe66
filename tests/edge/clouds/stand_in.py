"""A cloud that offers what it is told to, and a peer with its state and its clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from mathcore.units import NUSD
from mesh.edge.clouds.prices.market import MarketWatch
from mesh.ledger.event import Event
from mesh.state.fold import apply
from mesh.state.market.market import Account
from mesh.state.state import State
from providers.rental.contract import Ask, Cloud, Offer, Profile, Unread
from tests.state.job_story import ANA, T0, event

VAST = ("vastai", "main")


def profile(*, has_spot: bool = True) -> Profile:
    return Profile(
        name="vastai",
        title="Vast.ai",
        budgets_ms={},
        spacing_ms={"offers": 6_000},
        account_wide=False,
        billed_step_ms=1,
        from_create=False,
        has_dead_man=True,
        has_charges=True,
        has_rises=True,
        has_spot=has_spot,
        label_bytes=60,
        default_image="llama",
    )


def offer(dollars: float = 0.4, **changes: object) -> Offer:
    fields = {
        "provider": "vastai",
        "offer_id": f"id-{dollars}",
        "gpu": "RTX 4090",
        "gpu_count": 1,
        "memory_bytes": 24564 << 20,
        "hourly_nusd": int(dollars * NUSD),
        "region": "Texas, US",
        **changes,
    }
    return Offer(**fields)  # type: ignore[arg-type]


@dataclass
class StandIn:
    """Answers offers and nothing else: a test double of `Cloud`."""

    found: tuple[Offer, ...] | Unread = ()
    profile: Profile = field(default_factory=profile)
    asked: list[Ask] = field(default_factory=list)

    async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        self.asked.append(ask)
        if isinstance(self.found, Unread):
            return self.found
        return tuple(one for one in self.found if one.spot == ask.spot)


class Peer:
    """One peer's state, clock and watch; what it emits is folded at once."""

    def __init__(self, clouds: dict[Account, StandIn], author: str = ANA, owner: str = "") -> None:
        self.now = T0
        self.author = author
        self.state = State()
        self.emitted: list[Event] = []
        self.paused: list[float] = []
        self.signs = True
        held: object = clouds
        self.watch = MarketWatch(
            accounts=lambda: held,  # type: ignore[arg-type, return-value]
            state=lambda: self.state,
            emit=self._emit,
            now_ms=lambda: self.now,
            me=author,
            about="here",
            owner=lambda _: owner,
            may_sign=lambda: self.signs,
            pause=self._pause,
        )

    async def _emit(self, kind: str, about: str, payload: dict[str, object]) -> Event:
        made = event(kind, self.now - T0, self.author, about, **payload)
        self.emitted.append(made)
        apply(self.state, made)
        return made

    async def _pause(self, seconds: float) -> None:
        self.paused.append(seconds)


def as_cloud(one: StandIn) -> Cloud:
    """The stand-in where a cloud is wanted."""
    double: object = one
    return double  # type: ignore[return-value]
