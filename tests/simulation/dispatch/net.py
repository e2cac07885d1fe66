"""Calls between daemons: slow, lost, late, heard twice, cut. A request may reach the next run of a
process, which TLS would not let happen: more than the live code has to bear."""

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec

from mesh.api.errors import RequestError
from mesh.api.wire.claims import Ask, Claim, Lease, Offer
from mesh.edge.disk import StoreError
from mesh.edge.http.dispatch import dispatch_routes
from mesh.edge.http.upkeep import peer_upkeep_routes
from mesh.edge.transport.call import Unanswered
from mesh.state.members import allowed
from tests.simulation.dispatch.daemon import Daemon, Dead
from tests.simulation.dispatch.machine import Machine

if TYPE_CHECKING:
    from tests.simulation.dispatch.world import World

ANSWER_S = 30.0
LOSSY = 0.25
# Some claims and withdrawals are heard once more minutes later: the job may long be retired.
ECHOED, ECHO_S = ("claim", "withdraw"), 120.0
ATTEMPT = re.compile(r"/v1/claims/([^/]+)/(\d+)(/withdraw|/output/.*)?$")
RELEASE = re.compile(r"/v1/offers/([0-9a-f]+)/release$")
NOBODY: Any = None  # routes are looked at here, and not called
ROUTES = [
    (re.compile(f"{one.method} {re.sub(r'{[a-z]+}', '[^/]+', one.path)}"), one.role)
    for one in (*dispatch_routes(), *peer_upkeep_routes(NOBODY))
]
UPKEEP = re.compile(r"/v1/devices/([^/]+)/(\w+)$")


class Net:
    """Who reaches whom, and how badly."""

    def __init__(self, world: "World") -> None:
        self.world, self.rng, self.loop = world, world.rng, world.loop
        self.usual = 0.0 if world.quiet else world.rng.choice((0.0, 0.02, 0.1, LOSSY))
        self.echoes = 0.0 if world.quiet else world.rng.choice((0.0, 0.0, 0.2))
        self.lossy_until = 0.0
        self.cuts: dict[tuple[int, int], float] = {}  # pairs that don't reach each other, until
        self.slow: dict[int, float] = {}  # until when a machine's links are slow

    @property
    def loss(self) -> float:
        """Share of messages that are lost, and of requests that are heard twice."""
        return LOSSY if self.loop.time() < self.lossy_until else self.usual

    def cut(self, one: Machine, two: Machine, until_s: float) -> None:
        """Two machines don't reach each other for a while."""
        if one is not two:
            pair = _pair(one, two)
            self.cuts[pair] = max(until_s, self.cuts.get(pair, 0.0))

    def heal(self) -> None:
        """Nothing is cut, slow or lost any more."""
        self.cuts.clear()
        self.slow.clear()
        self.usual = self.lossy_until = 0.0

    def reaches(self, one: Machine, two: Machine) -> bool:
        """Whether a message from one could get to the other now."""
        if two.number not in self.world.daemons:
            return False
        return not self.cuts or self.loop.time() >= self.cuts.get(_pair(one, two), 0.0)

    async def call(self, who: Daemon, key: str, method: str, path: str, body: Any) -> Any:
        """An answer, the owner's no, or Unanswered."""
        other = self.world.by_author[key]
        if not self.reaches(who.machine, other):
            await asyncio.sleep(self.rng.random())
            raise Unanswered("not reached", sent=False)
        who.step(f"call {_kind(method, path)}")
        found: asyncio.Future[Any] = self.loop.create_future()
        asked = (method, path, body)
        for _ in range(2 if self.rng.random() < self.loss else 1):
            delay = self.delay(who.machine, other)
            self.loop.call_later(delay, self._arrive, who, other, asked, found)
        if self.rng.random() < self.echoes and _kind(method, path) in ECHOED:
            delay = self.rng.expovariate(1 / ECHO_S)
            self.loop.call_later(delay, self._arrive, who, other, asked, found)
        try:
            async with asyncio.timeout(ANSWER_S * self.rng.choice((0.1, 0.3, 1))):
                await asyncio.wait((found,))
        except TimeoutError as error:
            raise Unanswered("no answer", sent=True) from error
        finally:
            found.cancel()  # whoever answers now is not heard
        self._heard(who, path, body)
        return found.result()

    def _heard(self, who: Daemon, path: str, body: Any) -> None:
        """A home got an owner's word about an attempt."""
        if path == "/v1/claims":
            about = body["job_id"], body["attempt"]
        elif (named := ATTEMPT.match(path)) and "/output/" not in path:
            about = named[1], int(named[2])
        else:
            return
        self.world.judge.heard[who.author, *about] = self.loop.time()

    def delay(self, one: Machine, two: Machine) -> float:
        """Seconds a message takes: milliseconds, on bad days ten, and now and then very long."""
        usual = self.rng.random() * 0.02
        if self.slow and any(self.slow.get(m.number, 0) > self.loop.time() for m in (one, two)):
            return usual + 0.2 + 9.8 * self.rng.random()
        late = self.loss and self.rng.random() < 0.05
        return usual + 40 * self.rng.random() if late else usual

    def _arrive(
        self, who: Daemon, other: Machine, asked: tuple[str, str, Any], found: "asyncio.Future[Any]"
    ) -> None:
        daemon = self.world.daemons.get(other.number)
        lost = self.rng.random() < self.loss or not self.reaches(who.machine, other)
        if daemon is not None and not lost:
            daemon.spawn(self._serve(who, daemon, asked, found))

    async def _serve(
        self, who: Daemon, owner: Daemon, asked: tuple[str, str, Any], found: "asyncio.Future[Any]"
    ) -> None:
        try:
            said = await answer(owner, who.author, *asked)
            if isinstance(said, Lease):
                self.world.judge.leased(owner, said)
            elif isinstance(said, Offer):
                self.world.judge.offered(owner, asked[2]["job_id"], asked[2]["attempt"])
            said = msgspec.to_builtins(said)
        except RequestError as error:
            said = error
            if asked[1] == "/v1/claims":
                body = asked[2]
                about = owner.author, body["job_id"], body["attempt"]
                self.world.judge.refuses(*about, error.code)
        except StoreError as error:
            said = RequestError("StoreError", error.text, error.hint, 500)
        except Dead:
            return
        try:
            owner.step(f"answer {_kind(*asked[:2])}")
        except Dead:
            return
        if self.rng.random() >= self.loss and self.reaches(owner.machine, who.machine):
            self.loop.call_later(self.delay(owner.machine, who.machine), _tell, found, said)


def _pair(one: Machine, two: Machine) -> tuple[int, int]:
    a, b = one.number, two.number
    return (a, b) if a < b else (b, a)


def _tell(found: "asyncio.Future[Any]", said: Any) -> None:
    if found.done():
        return
    if isinstance(said, RequestError):
        found.set_exception(said)
    else:
        found.set_result(said)


def _kind(method: str, path: str) -> str:
    if "offers" in path:
        return "release" if path.endswith("release") else "offer"
    if UPKEEP.match(path):
        return "upkeep"
    if "/output/" in path:
        return "output"
    if method == "GET":
        return "status"
    return "withdraw" if path.endswith("withdraw") else "claim"


def demand_role(owner: Daemon, home: str, method: str, path: str) -> None:
    """As mesh/edge/http/roles: who is no member reaches nothing, the rest by the route's role."""
    role = owner.state.members.role(home)
    asked = f"{method} {path.partition('?')[0]}"
    needed = next(needed for route, needed in ROUTES if route.fullmatch(asked))
    if not role:
        raise RequestError("NotAMember", "this key is no member of the fleet", "", 403)
    if not allowed(role, needed):
        raise RequestError("WrongRole", f"this needs the role {needed}", "", 403)


async def answer(owner: Daemon, home: str, method: str, path: str, body: Any) -> Any:
    """As mesh/edge/http/dispatch routes it."""
    demand_role(owner, home, method, path)
    here = owner.dispatch.owner
    if path == "/v1/offers":
        return await here.offer(home, msgspec.convert(body, Ask))
    if path == "/v1/claims":
        return await here.claim(home, msgspec.convert(body, Claim))
    if found := RELEASE.match(path):
        return await here.release(home, found[1])
    if found := UPKEEP.match(path):
        role = owner.state.members.role(home)
        return await owner.upkeep.serve(found[2], found[1], body, home, role)
    found = ATTEMPT.match(path)
    assert found is not None, path
    if found[3] == "/withdraw":
        return await here.withdraw(home, found[1], int(found[2]))
    if found[3]:
        name, _, query = found[3].removeprefix("/output/").partition("?")
        asked = dict(part.split("=") for part in query.split("&"))
        wait_s = int(asked["wait_ms"]) / 1000
        offset = int(asked["offset"])
        return await here.output(home, found[1], int(found[2]), name, offset, wait_s)
    return await here.status(home, found[1], int(found[2]))
