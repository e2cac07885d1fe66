"""Who may ask at this address, by the key that is sent: which models, how often, for how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, final

from mathcore.price import cost_nusd
from mesh.api.errors import RequestError
from mesh.edge.dispatch.candidates import is_rented
from mesh.edge.gateway.fleet import FleetServers
from mesh.edge.serving.keys import Keys
from mesh.policy.key_limits import KeyLimits, Refusal, Reservation
from mesh.serving.family import Asked
from mesh.serving.routing import is_called
from mesh.state.bills.in_force import InForce
from mesh.state.serving.keys import KeyView
from mesh.state.state import State

# A token of an answer, where nobody measured one: a processor says five a second.
ASSUMED_MS_PER_TOKEN: Final = 200.0
ASSUMED_TOKENS: Final = (
    4096  # of an answer that names no bound, of a server whose context is unknown
)
BOUNDS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@final
class Refused(RequestError):
    """A key may not ask this now."""

    def __init__(self, refusal: Refusal) -> None:
        again = refusal.retry_ms
        self.retry_after_s: Final = None if again is None else max(1, -(-again // 1000))
        status = 403 if refusal.code in ("KeyRevoked", "ModelNotAllowed") else 429
        super().__init__(refusal.code, refusal.text, refusal.hint, status)


class Budgets(Protocol):
    """Who has the money that requests cost."""

    async def take(self, key_id: str, worst_nusd: int, *, rented: bool) -> Callable[[int], None]:
        """Let a request of a key in; what is returned is told what it cost."""


@final
class Pass:
    """A request that was let in. To be ended in any case."""

    def __init__(self, key_id: str, settle: Callable[[int | None], None]) -> None:
        self.key_id: Final = key_id
        self._settle: Final = settle
        self.cost_nusd: int | None = None  # None: nobody knows, so it counts as the most

    def end(self) -> None:
        """It is over, and cost that."""
        self._settle(self.cost_nusd)


@final
class Admission:
    """One address's. `now_ms` is UTC."""

    def __init__(
        self,
        state: Callable[[], State],
        servers: FleetServers,
        keys: Keys,
        now_ms: Callable[[], int],
        budgets: Budgets | None = None,
    ) -> None:
        self._state: Final = state
        self._servers: Final = servers
        self._keys: Final = keys
        self._now_ms: Final = now_ms
        self._budgets: Final = budgets
        self._limits: Final = KeyLimits()

    def key(self, secret: str, *, needed: bool) -> KeyView | None:
        """Whose a secret is; RequestError for a revoked one, and for none where one is needed.

        Tools send something where no key is needed, such as "ollama": that is no key of ours.
        """
        found = self._keys.find(secret)
        if found is None and needed:
            text = "this address asks for a key"
            raise RequestError("Unauthorized", text, "fleet keys add NAME makes one", 401)
        if found is not None and not found.works:
            text = f"the key {found.name} works no more"
            raise RequestError("KeyRevoked", text, "fleet keys add NAME makes another", 401)
        return found

    async def begin(self, key: KeyView | None, asked: Asked) -> Pass:
        """Let a request in; Refused where its key may not, RequestError where its budgets have no
        money for it."""
        if key is None:
            return Pass("", lambda _: None)
        worst, spent = self._worst_nusd(asked), self._spent_nusd(key)
        model = self._label(asked.model)
        held = self._limits.admit(
            key, model=model, worst_nusd=worst, spent_nusd=spent, now_ms=self._now_ms()
        )
        if isinstance(held, Refusal):
            raise Refused(held)
        try:
            end = await self._paid(key, asked, worst)
        except BaseException:
            self._limits.release(held)
            raise

        def settle(cost: int | None) -> None:
            nusd = worst if cost is None else cost
            end(nusd)
            self._settle(held, nusd)

        return Pass(key.key_id, settle)

    async def _paid(self, key: KeyView, asked: Asked, worst: int) -> Callable[[int], None]:
        """What a request may cost at worst is held by then; how its cost is told."""
        if self._budgets is None:
            return lambda _: None
        devices = self._state().devices
        those = [devices.get(job.device_id) for job in self._servers.jobs(asked.model)]
        rented = any(one is not None and is_rented(one) for one in those)
        try:
            return await self._budgets.take(key.key_id, worst, rented=rented)
        except RequestError as error:
            if error.status != 429:
                raise
            no = Refusal(code=error.code, text=error.text, hint=error.hint)
            raise Refused(no) from error  # only people can change it: it is not retried

    def _label(self, asked: str) -> str:
        """What the fleet calls a model that a tool names in its own way."""
        served = next(self._servers.jobs(asked), None)
        if served is not None:
            return served.model
        services = list(self._state().services.values())
        return next((one.model for one in services if is_called(asked, one.model)), asked)

    def _spent_nusd(self, key: KeyView) -> int:
        """What the ledger says of its budget's time; nobody adds it up for a key without one."""
        if not key.budget_nusd:
            return 0
        return self._keys.spent_nusd(key)

    def _settle(self, held: Reservation, cost: int) -> None:
        self._limits.settle(held, actual_nusd=cost, now_ms=self._now_ms())

    def _worst_nusd(self, asked: Asked) -> int:
        """What an answer costs at most, on the dearest of the model's servers, alone on it."""
        bounds = [asked.body.get(name) for name in BOUNDS]
        tokens = next((one for one in bounds if type(one) is int and one > 0), ASSUMED_TOKENS)
        ms = round(tokens * ASSUMED_MS_PER_TOKEN)
        state = self._state()
        now = InForce(state, self._now_ms())
        ids = {job.device_id for job in self._servers.jobs(asked.model)}
        devices = [state.devices[one] for one in ids if one in state.devices]
        return max((cost_nusd(now.price(one), ms) for one in devices), default=0)
