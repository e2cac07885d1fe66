"""The actor of one account: does what `decide` says, one thing after another, and writes down what
replies prove.

Everything that must be known after a crash is in the ledger before anything is done because of it;
what is not there is unknown. Only this process may call for what it intended, once, and only while
this peer has the account. Calls run side by side; what they prove is written by one at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, final

from mesh.api.errors import RequestError
from mesh.edge.clouds.renting.budgets import Budgets, NoBudgets
from mesh.edge.clouds.renting.calls import Calls
from mesh.edge.clouds.renting.clock import AccountClock
from mesh.edge.clouds.renting.intending import say_intent
from mesh.edge.clouds.renting.ordering import order_of
from mesh.edge.clouds.renting.ports import Alarm, Emit, Keys, Ladder, MachineKeys, Offers
from mesh.edge.clouds.renting.wire import PATIENCE_MS, Limits, NotingWire
from mesh.edge.clouds.renting.writing import Writing, tell
from mesh.edge.disk import StoreError
from mesh.policy.rentals.caps import admit
from mesh.policy.rentals.decide import decide
from mesh.policy.rentals.timers import NO_OFFER_MS, POLL_MS, UNPAID_MS
from mesh.policy.rentals.unwanted import overdue
from mesh.policy.rentals.values import NEVER_MS, Command, Here, Say, Seen, Shares
from mesh.state.rentals.account import Account as AccountView
from mesh.state.rentals.rental import Rental
from mesh.state.rentals.requests import Request
from mesh.state.rentals.terms import CREATING, INTENDED, S_MS
from mesh.state.state import State
from providers.rental.contract import Accepted, Ask, Cloud, Offer, Op, Profile, Reply, Unread
from providers.rental.contract import Request as Asked

ORPHAN: Final = "orphan"  # why a person ended a machine that nobody wanted
# What cannot be written now is tried again.
STUCK_S: Final = 5.0

Sleep = Callable[[float], Awaitable[None]]
Work = Callable[[], Awaitable[None]]


@final
class Account:
    """One account of one provider, as one peer works on it; `run` until cancelled.

    `own_ms` is a clock that goes evenly, while the machine sleeps too, and is never read as a date.
    `nonce` gives 8 random lower case letters and digits. `may_act` says whether this peer's word on
    rentals counts now. Requests are met of this peer, of those it gave the account, of `askers`.
    """

    def __init__(
        self,
        account: str,
        cloud: Cloud,
        wire: NotingWire,
        *,
        peer: str,
        mesh: str,
        state: Callable[[], State],
        emit: Emit,
        offers: Offers,
        ladder: Ladder,
        keys: Keys,
        alarm: Alarm,
        shares: Callable[[], Shares],
        nonce: Callable[[], str],
        own_ms: Callable[[], int],
        may_act: Callable[[], bool] = lambda: True,
        askers: frozenset[str] = frozenset(),
        elsewhere: Callable[[], frozenset[str]] = frozenset,
        spending: asyncio.Lock | None = None,
        budgets: Budgets | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.provider: Final = cloud.profile.name
        self.account: Final = account
        self.seen: Final = Seen()
        self.clock: Final = AccountClock(own_ms)
        self._limits: Final = Limits(cloud.profile, self.seen)
        self._cloud: Final = cloud
        self._peer, self._askers = peer, askers
        self.elsewhere: Final = elsewhere  # rentals that the provider's other accounts account for
        self.names: tuple[str, ...] = (mesh,)  # of the fleet in labels: now, and before
        self._state: Final = state
        self._keys: Final = keys
        self._shares: Final = shares
        self._nonce: Final = nonce
        self._may_act: Final = may_act
        self._spending: Final = spending or asyncio.Lock()  # shared by a peer's accounts
        self._budgets: Final = budgets or NoBudgets()
        self._sleep: Final = sleep
        self._made: dict[str, MachineKeys] = {}  # of what was intended here
        self._wake: Final = asyncio.Event()
        self._turn: Final = asyncio.Lock()  # one decides or writes at a time
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._last: Command | None = None
        self._said = ""
        self._put_off_for = ""  # why the last intent could not be written
        writing = Writing(self, emit, alarm)
        self._write: Final = writing
        self.calls: Final = Calls(self, cloud, offers, ladder, alarm)
        wire.heard = self._heard
        wire.account_wide = cloud.profile.account_wide
        wire.held_ms = self._limits.held_ms

    # What is asked from outside.

    @property
    def view(self) -> AccountView:
        """What the ledger knows of this account."""
        return self._state().rentals.account(self.provider, self.account)

    @property
    def owns(self) -> bool:
        """Whether this peer rents with it."""
        return self.view.owner[1] == self._peer

    @property
    def profile(self) -> Profile:
        """What is known of its provider."""
        return self._cloud.profile

    @property
    def listed_ms_ago(self) -> int | None:
        """How old the last whole listing is; None before the first."""
        at_ms = self.seen.listed_ms
        return None if at_ms == NEVER_MS else max(0, self.clock.now() - at_ms)

    @property
    def reasons(self) -> dict[str, str]:
        """Why each request that has no machine waits."""
        wanted = self._state().rentals.wanted(self.provider, self.account)
        found = {one.request_id: self.seen.reasons.get(one.request_id, "") for one in wanted}
        return {request_id: why for request_id, why in found.items() if why}

    @property
    def here(self) -> Here:
        """Who decides."""
        return Here(
            peer=self._peer,
            mesh=self.names[0],
            profile=self._cloud.profile,
            shares=self._shares(),
            was=self.names[1:],
            askers=self._askers,
        )

    def rental(self, rental_id: str) -> Rental | None:
        """One as the ledger has it now."""
        return self.view.rentals.get(rental_id)

    def request(self, request_id: str) -> Request | None:
        """One as the ledger has it now."""
        return self._state().rentals.requests.views.get(request_id)

    def notice(self) -> None:
        """The state changed: look again."""
        self._wake.set()

    async def give(self, peer: str) -> bool:
        """Let another peer rent with it; False while a create is under way, or it is not ours."""
        async with self._turn:
            under_way = any(one.state in (INTENDED, CREATING) for one in self.view.open())
            if not self.owns or under_way or not self._may_act():
                return False
            await self._write.taken(peer)
            return True

    async def take(self) -> bool:
        """Rent with it from now on, whoever does now: a person says so. False where another has it
        all the same: by the last turn that there is, or because our word does not count."""
        async with self._turn:
            await self._write.taken(self._peer)
            return self.owns

    async def give_back(self, rental_id: str, why: str) -> bool:
        """Return a machine; False where none of that name is open."""
        async with self._turn:
            one = self.rental(rental_id)
            if one is None or not one.is_open:
                return False
            if one.wanted:
                await self._write.say(Say("return_decided", rental_id, {"why": why}))
            return True

    async def end_machine(self, instance_id: str) -> tuple[bool, str]:
        """Ask for a machine's end now, whoever has the account: a person says so. Whether the
        provider took it, and why the ledger could not be told, "" where it was; it stays watched
        either way."""
        async with self._turn:
            mine = [one for one in self.view.open() if one.instance_id == instance_id]
            unwritten = await self._write.let_go(mine if self._may_act() else [], ORPHAN)
        await self.until_allowed("terminate")
        return isinstance(await self._cloud.terminate(instance_id), Accepted), unwritten

    async def offers(self, ask: Ask) -> tuple[Offer, ...] | Unread:
        """What can be rented now; waits its turn, but not for long."""
        if not await self.until_allowed("offers", PATIENCE_MS):
            return self._limits.unread("offers")
        return await self._cloud.offers(ask)

    # The loop.

    async def run(self) -> None:
        """Work until cancelled; what is under way is then unknown, as after a crash."""
        try:
            while True:
                try:
                    pause_s = await self._step()
                    self._said = ""
                except Exception as error:
                    self._report(error)  # the ledger could not be written: nothing was done
                    self._end_overdue()
                    pause_s = STUCK_S
                if pause_s > 0:
                    await self._rest(pause_s)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _report(self, error: Exception) -> None:
        """Once, however often it comes again: a full disk stays full, and the log lies on it."""
        said = f"{type(error).__name__}: {error}"
        if said != self._said:
            tell(error)
        self._said = said

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _step(self) -> float:
        """Do the next thing; for how many seconds there is nothing to do then."""
        async with self._turn:
            self._wake.clear()
            now_ms, rentals = self.clock.now(), self._state().rentals
            self.seen.clock = self.clock.known
            command = decide(rentals, self.view, self.seen, self.here, now_ms, self._nonce())
            if command.op == "wait":
                self._last = None
                return max(0.05, (command.at_ms - now_ms) / S_MS)
            if not self._may_act() and command.op != "list":
                self._end_overdue()
                return STUCK_S
            if command == self._last and command.op in ("record", "take"):
                self._last = None
                return POLL_MS / S_MS  # it was written and changed nothing: no storm of it
            self._last = command
            await self._do(command)
        return 0

    def _end_overdue(self) -> None:
        """What may not cost on though nothing can be written."""
        late = overdue(self.view, self.seen, self._peer, self.clock.now())
        for rental_id in late[:1] if self.clock.known else ():  # the next at the next call's turn
            self._start(Command(op="terminate", rental_id=rental_id))

    async def _do(self, command: Command) -> None:
        if command.op == "take":
            await self._write.taken(self._peer)
        elif command.op == "record" and command.says is not None:
            await self._write.say(command.says)
        elif command.op == "intend" and command.says is not None:
            await self._intend(command, command.says)
        elif command.op == "create":
            await self._create(command.rental_id)
        else:
            self._start(command)

    async def _intend(self, command: Command, says: Say) -> None:
        """The intent is durable before anything is asked; its keys are this process's alone, made
        once there is money for it."""
        chosen = self.seen.chosen[command.request_id]
        assert chosen.offer is not None, "what is intended was chosen"
        try:
            async with self._spending:  # another account's intent may have used up the day's cap
                if not await self._may_spend(command, says):
                    return
                keys = await say_intent(says, self._keys, self._write, self._budgets)
        except (StoreError, RequestError) as error:
            self._put_off(command.request_id, error)
            return
        self._put_off_for = ""
        del self.seen.chosen[command.request_id]
        self.seen.fresh[says.rental_id], self._made[says.rental_id] = chosen.offer, keys

    def _put_off(self, request_id: str, error: StoreError | RequestError) -> None:
        """What can't be written now is tried again a minute later, and told once while it is the
        same trouble."""
        self.seen.unpaid[request_id] = error.text, self.clock.now() + NO_OFFER_MS
        if error.text != self._put_off_for:
            self._report(error)
        self._put_off_for = error.text

    async def _may_spend(self, command: Command, says: Say) -> bool:
        """By this peer's caps and by the budgets, whose money is then held; their no is told."""
        request, reserved = self.request(command.request_id), says.fields["reserved_nusd"]
        assert isinstance(reserved, int)
        now_ms, rentals = self.clock.now(), self._state().rentals
        if request is None or admit(rentals, request, self._shares(), self._peer, now_ms, reserved):
            return False
        no = await self._budgets.hold(request, says.rental_id, reserved)
        self.seen.unpaid[command.request_id] = no, now_ms + UNPAID_MS
        return not no

    async def _create(self, rental_id: str) -> None:
        """Write down that it is called for, then call, if that still is this peer's to do."""
        if not self._budgets.begin(rental_id):  # it waited so long that its money was let go
            await self._write.say(Say("return_decided", rental_id, {"why": "not_held"}))
            return
        offer, keys = self.seen.fresh.pop(rental_id), self._made.pop(rental_id)
        await self._write.say(Say("create_called", rental_id, {}))
        one = self.rental(rental_id)
        if one is None or one.state != CREATING or not self.owns:
            return  # the next look says that its outcome is unknown
        if self._limits.wait_ms("create", self.clock.now()) > 0:
            await self._write.say(Say("create_unclear", rental_id, {"why": "429"}))
            return
        request, now_ms = self.request(one.request_id), self.clock.now()
        image = self.profile.default_image
        order = order_of(one, request, offer, keys, now_ms, image)
        self.sent("create")
        self._spawn({rental_id}, partial(self.calls.create, rental_id, order))

    def _start(self, command: Command) -> None:
        """Begin a call beside the others."""
        rental_id, request_id = command.rental_id, command.request_id
        match command.op:
            case "list":
                self.sent("list")
                self._spawn({"list"}, self.calls.list)
            case "rises":
                self.sent("rises")
                self._spawn({"rises"}, self.calls.rises)
            case "terminate":
                self.sent("terminate")
                self._spawn({rental_id}, partial(self.calls.terminate, rental_id))
            case "charges":
                self.sent("charges")
                self._spawn({rental_id}, partial(self.calls.charges, rental_id))
            case "probe":
                self._spawn({f"probe {rental_id}"}, partial(self.calls.probe, rental_id))
            case "choose":
                self._spawn({f"choose {request_id}"}, partial(self.calls.choose, request_id))

    def _spawn(self, busy: set[str], work: Work) -> None:
        self.seen.busy |= busy
        task = asyncio.create_task(self._call(busy, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, busy: set[str], work: Work) -> None:
        try:
            await work()
        except Exception as error:
            self._report(error)  # a bug of ours, or a ledger that can't be written: as no reply
            await self._sleep(STUCK_S)
        finally:
            self.seen.busy -= busy
            self.notice()

    # What calls need.

    def sent(self, op: Op) -> None:
        """A call of a kind is made now."""
        self._limits.sent(op, self.clock.now())

    async def until_allowed(self, op: Op, most_ms: int | None = None) -> bool:
        """Wait for a call's turn, and take it; False, and none is taken, where that would take
        longer."""
        return await self._limits.turn(op, self.clock.now, self._sleep, most_ms)

    async def write(self, prove: Callable[[], list[Say]]) -> None:
        """Write what a reply proves, judged by the state of that moment, before anything else is
        decided."""
        async with self._turn:
            says = prove()
            for say in says if self._may_act() else ():
                await self._write.say(say)

    def closed(self, rental_id: str) -> None:
        """Nothing is done about a rental any more."""
        self.seen.forget(rental_id)
        self._made.pop(rental_id, None)

    def _heard(self, asked: Asked, reply: Reply, sent_own_ms: int) -> None:
        if reply.status:
            moved = self.clock.hear(reply.headers.get("date", ""), sent_own_ms)
            if moved:
                self.seen.moved(moved)
        self._limits.heard(asked.op, reply, self.clock.now(), self.clock.own())
