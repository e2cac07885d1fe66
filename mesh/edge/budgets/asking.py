"""What people ask of budgets: a cap is set or lifted, a part of one is given to another peer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, final

from mesh.api.budgets.asked import CapAsked, Pick, parse_cap, parse_grant
from mesh.api.budgets.rows import of_name, title
from mesh.api.errors import RequestError
from mesh.api.naming import only_one
from mesh.api.rows import Row, peer_name
from mesh.api.serving.keys import find_key
from mesh.edge.budgets.providers import providers
from mesh.edge.budgets.purse import Purse
from mesh.edge.clouds.keys import provider_of
from mesh.policy.budgets.believing import is_maker
from mesh.policy.budgets.values import Refusal
from mesh.state.budgets.budget import MAX_PERIOD, Budget, named, period_at, show_period
from mesh.state.budgets.entries import Cap
from mesh.state.facts.budget import JOB, KEY, PROVIDER, USER, BudgetCapSet
from mesh.state.facts.serving import TOTAL
from mesh.state.members import ADMIN, MEMBER, allowed
from mesh.state.peer_id import peer_id
from mesh.state.state import State

LISTED: Final = "fleet budget show"
MIN_ID: Final = 4  # characters of an id's start: fewer fit many peers


@final
class Asking:
    """One peer's. `named` puts people's names into a refusal."""

    def __init__(
        self,
        purse: Purse,
        state: Callable[[], State],
        now_ms: Callable[[], int],
        named: Callable[[Refusal], Refusal],
    ) -> None:
        self._purse: Final = purse
        self._state: Final = state
        self._now_ms: Final = now_ms
        self._named: Final = named

    async def set(self, body: Mapping[str, object], role: str) -> Row:
        """Say a cap of this peer's own, from this period on; or that it limits nothing any more."""
        asked = parse_cap(body)
        of = self._known(asked.pick) if asked.lift else ""
        budget = self._own(asked, of or self._of(asked.pick, new=not asked.lift), role)
        first, known = self._range(budget)
        if asked.lift and (known is None or known.lifted):
            text = f"this peer set no budget {title(self._state(), budget)}"
            raise RequestError("NotFound", text, LISTED, 404)
        was = 0 if known is None else known.amount_nusd
        kept = "" if known is None else known.owned
        said = BudgetCapSet(
            budget=named(budget),
            cap_nusd=was if asked.nusd is None else asked.nusd,
            first=first,
            last=0 if budget.per == TOTAL else MAX_PERIOD,
            owned=kept if asked.owned is None else asked.owned,
            lifted=asked.lift,
        )
        await self._purse.cap(said)
        self._demand_said(budget, said)
        name = title(self._state(), budget)
        return {
            "name": name,
            "cap_nusd": said.cap_nusd,
            "was_nusd": was,
            "lifted": said.lifted,
            "new": known is None or known.lifted,
            "others": self._others(),  # who spend nothing of it before they are granted a part
            "note": "" if asked.lift else self._note(budget),
        }

    async def grant(self, body: Mapping[str, object], role: str) -> Row:
        """Give another peer a part of a budget that this peer has money of."""
        asked = parse_grant(body)
        of = self._known(asked.pick) or self._of(asked.pick, new=False)
        to = self._peer(asked.peer)
        self._demand_may(asked.pick.scope, of, role)
        if to == self._purse.me:
            text = "a budget's money is given to another peer"
            raise RequestError("BadRequest", text, "fleet peers lists them")
        budget = self._mine(asked.pick, of)
        first = period_at(budget, self._now_ms())
        last = first + asked.periods - 1
        said = await self._purse.give(budget, to, asked.nusd, first=first, last=last)
        if isinstance(said, Refusal):
            no = self._named(said)
            raise RequestError(no.code, _short(no.text), no.hint, 409)
        return {
            "give_id": said.give_id,
            "name": title(self._state(), budget),
            "peer": peer_name(self._state(), to),
            "amount_nusd": asked.nusd,
            "from": show_period(budget, first),
            "to": show_period(budget, last),
        }

    # Which budget.

    def _own(self, asked: CapAsked, of: str, role: str) -> Budget:
        """The budget of this peer that a cap is about, also one that is new."""
        pick = asked.pick
        self._demand_may(pick.scope, of, role)
        zone = pick.zone
        if zone is None:
            mine = [one for one in self._those(pick, of) if one.owner == self._purse.me]
            zone = self._one(mine, pick).zone if mine else ""
        return Budget(self._purse.me, pick.scope, of, pick.per, zone)

    def _mine(self, pick: Pick, of: str) -> Budget:
        """The budget to give from: this peer's own, else one of which it has money."""
        those = self._those(pick, of)
        own = [one for one in those if one.owner == self._purse.me]
        return self._one(own or [one for one in those if self._has(one)], pick)

    def _has(self, budget: Budget) -> bool:
        try:
            return self._purse.free(budget, period_at(budget, self._now_ms())) > 0
        except ValueError:
            return False  # its zone is not known here

    def _those(self, pick: Pick, of: str) -> list[Budget]:
        """Every budget that is picked, and not lifted."""
        return [
            one
            for one in self._purse.book.capped()
            if (one.scope, one.of, one.per) == (pick.scope, of, pick.per)
            and pick.zone in (None, one.zone)
            and self._is_set(one)
        ]

    def _is_set(self, budget: Budget) -> bool:
        try:
            cap = self._range(budget)[1]
        except ValueError:
            return False  # its zone is not known here: nothing can be said or given by it
        return cap is not None and not cap.lifted

    def _one(self, found: list[Budget], pick: Pick) -> Budget:
        if not found:
            text = f"this peer has nothing of a budget {pick.flags}"
            raise RequestError("NotFound", text, f"{LISTED}; fleet budget set 50", 404)
        if len(found) > 1:
            zones = " or ".join(sorted({one.zone or "UTC" for one in found}))
            text = f"{len(found)} budgets are called so"
            raise RequestError("Ambiguous", text, f"add --tz {zones}", 409)
        return found[0]

    def _range(self, budget: Budget) -> tuple[int, Cap | None]:
        """(first period, cap) that the next word on a budget is about: said of the same periods
        again, it takes the old one's place, and an owner's caps stay few."""
        at = period_at(budget, self._now_ms())
        ranges = self._purse.book.word(budget.owner).caps.get(budget, {})
        known = [(first, one) for (first, last), one in ranges.items() if first <= at <= last]
        return max(known, key=lambda one: one[1].key, default=(at, None))

    # Who is meant, and who may.

    def _of(self, pick: Pick, *, new: bool) -> str:
        """What is typed, as it is signed: a peer's key, a key's id, a provider's own name. `new`:
        it is to limit something, so what spends nothing now is refused."""
        if pick.scope == USER:
            return self._peer(pick.of)
        if pick.scope == KEY:
            key = find_key(self._state(), pick.of)
            if new and not key.works:
                text = f"the key {key.name} works no more: there is nothing to limit"
                raise RequestError("KeyRevoked", text, "fleet keys lists them", 409)
            return key.key_id
        return self._provider(pick.of) if new and pick.scope == PROVIDER else pick.of

    def _provider(self, text: str) -> str:
        """A provider as rentals name it; RequestError for one at which nobody could rent."""
        found, known = provider_of(text), providers(self._state())
        if found is None and text not in known:
            named = f"provider: nobody rents at {text[:40]!r}; there are {', '.join(known)}"
            raise RequestError("NotFound", named, "fleet clouds", 404)
        return text if found is None else found.name

    def _known(self, pick: Pick) -> str:
        """Of budgets that there are, what the one that is so called is about, also where that is
        gone, or never was: so it can be lifted. "" where none or several are called so."""
        state, per = self._state(), (pick.scope, pick.per)
        those = [one for one in self._purse.book.capped() if (one.scope, one.per) == per]
        found = {one.of for one in those if pick.of in (one.of, of_name(state, one))}
        return found.pop() if len(found) == 1 else ""

    def _note(self, budget: Budget) -> str:
        """What whoever sets a budget should know of it. A job's may be set before the job is."""
        state, job_id = self._state(), budget.of
        if budget.scope != JOB or (job_id in state.jobs and not state.jobs[job_id].ended):
            return ""
        if job_id in state.jobs or job_id in state.retired:
            return f"the job {job_id} has ended: the budget limits nothing"
        return f"there is no job {job_id} yet: until there is one, the budget limits nothing"

    def _peer(self, text: str) -> str:
        members = self._state().members
        if _is_called(text, "", self._purse.me):  # also where it is in no fleet yet
            return self._purse.me
        found = [
            one.author
            for one in members.peers()
            if one.role and _is_called(text, one.name, one.author)
        ]
        return only_one(found, text, kind="peer", hint="fleet peers lists them", id_of=peer_id)

    def _others(self) -> int:
        """How many other peers may start what costs."""
        members = self._state().members
        me, peers = self._purse.me, members.peers()
        return sum(allowed(one.role, MEMBER) and one.author != me for one in peers)

    def _demand_may(self, scope: str, of: str, role: str) -> None:
        if role == ADMIN:
            return
        if scope in (KEY, JOB):
            if is_maker(self._state(), self._purse.me, scope, of):
                return
            text = f"a {scope}'s budget is its maker's or an admin's to say"
        else:
            text = "budgets of the fleet, of users and of providers need the role admin"
        raise RequestError("WrongRole", text, "fleet peers shows who is admin", 403)

    def _demand_said(self, budget: Budget, said: BudgetCapSet) -> None:
        """Whether the ledger took it: of one author it keeps some hundred caps."""
        cap = self._purse.book.cap(budget, period_at(budget, self._now_ms()))
        if cap is None or (cap.amount_nusd, cap.lifted) != (said.cap_nusd, said.lifted):
            text = "the ledger did not take it: this peer set too many budgets, or is no admin"
            raise RequestError("NotTaken", text, LISTED, 409)


def _is_called(text: str, name: str, author: str) -> bool:
    """Whether somebody typed a peer's name, its key, or the start of its id."""
    plain = text.replace("-", "").replace(" ", "").upper()
    begins = len(plain) >= MIN_ID and peer_id(author).replace("-", "").startswith(plain)
    return begins or text == author or (bool(name) and text == name)


def _short(text: str) -> str:
    """A refusal to give, which costs nothing."""
    return text.replace("and this may cost", "and this gives")
