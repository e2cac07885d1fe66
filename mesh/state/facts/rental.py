"""Facts about rented machines: who may rent with an account, what is asked for, and each step of a
rental's life. What a provider's key is, and a machine's private keys, are in none of them.

Every fact of a rental says when it was by the provider's clock, by which money and waits are
counted, and `turn` orders the facts of one rental: so a peer whose own clock is wrong by years, and
with it its envelopes, changes neither.
"""

from typing import Annotated, Final

from mesh.state.facts.fact import Fact, amount, said

SINCE: Final = "0.5.0"
HOURLY: Final = "nano-USD/h"

Why = Annotated[str, said("The reason, a word of this program's or the provider's", since=SINCE)]
InstanceId = Annotated[str, said("What the provider calls the machine", since=SINCE)]
RequestId = Annotated[
    str, said("Which request; lower case letters and digits, 20 at most", since=SINCE)
]
JobId = Annotated[str, said("The job it is for; none = a person", since=SINCE)]


class OfAccount(Fact, frozen=True, kw_only=True):
    """What is about one account at one provider."""

    provider: Annotated[str, said('"vastai", "runpod", "lambdalabs"', since=SINCE)]
    account: Annotated[str, said("Which of the fleet's accounts there", since=SINCE)]


class AccountTaken(OfAccount, frozen=True, kw_only=True):
    """From now on one peer alone rents with this account: that of the highest epoch, and of two of
    one epoch that of the higher key."""

    epoch: Annotated[int, amount("Counts who had it", since=SINCE)]
    peer: Annotated[str, said("Key of the peer that has it now", since=SINCE)]


class RentalRequested(OfAccount, frozen=True, kw_only=True):
    """A machine is wanted, until its request ends."""

    request_id: RequestId
    gpu: Annotated[str, said("As the provider calls it; none = any", since=SINCE)] = ""
    gpu_count: Annotated[int, amount("So many accelerators; 0 = any", since=SINCE)] = 0
    memory_bytes: Annotated[int, amount("Of one, at least", "bytes", since=SINCE)] = 0
    offer_id: Annotated[str, said("This offer and no other", since=SINCE)] = ""
    max_hourly_nusd: Annotated[int, amount("The dearest; 0 = any", HOURLY, since=SINCE)] = 0
    life_ms: Annotated[int, amount("Each machine is returned after so long", "ms", since=SINCE)]
    idle_ms: Annotated[int, amount("Returned when idle so long; 0 = never", "ms", since=SINCE)] = 0
    cap_nusd: Annotated[int, amount("All of it may cost so much", "nano-USD", since=SINCE)]
    spot: Annotated[bool, said("One that may be taken back will do", since=SINCE)] = False
    disk_bytes: Annotated[int, amount("Room on its disk", "bytes", since=SINCE)] = 0
    image: Annotated[str, said("What runs there; none = the usual", since=SINCE)] = ""
    job_id: JobId = ""
    setup: Annotated[str, said("A command that makes it ready; none = nothing", since="0.7.0")] = ""


class RequestEnded(Fact, frozen=True, kw_only=True):
    """The machine of a request is wanted no more, for good."""

    request_id: RequestId
    why: Why


class OfRental(OfAccount, frozen=True, kw_only=True):
    """What is about one rental."""

    rental_id: Annotated[str, said("Which rental", since=SINCE)]
    turn: Annotated[
        int, amount("As at_ms, but above all that its author knew of this rental", since=SINCE)
    ]
    at_ms: Annotated[int, amount("When, by the provider's clock", "ms UTC", since=SINCE)]


class RentalIntended(OfRental, frozen=True, kw_only=True):
    """A machine will be asked for once, under this label, by the author's process alone; what it
    may cost is reserved from now on."""

    request_id: RequestId
    job_id: JobId = ""
    label: Annotated[str, said("What the machine is called at the provider", since=SINCE)]
    epoch: Annotated[int, amount("Of the author's having the account", since=SINCE)]
    attempt: Annotated[int, amount("Which one of the request", since=SINCE)]
    offer_id: Annotated[str, said("Which offer", since=SINCE)]
    gpu: Annotated[str, said("As the provider calls it", since=SINCE)]
    gpu_count: Annotated[int, amount("So many accelerators", since=SINCE)]
    memory_bytes: Annotated[int, amount("Of one", "bytes", since=SINCE)]
    region: Annotated[str, said("Where it stands", since=SINCE)] = ""
    host_id: Annotated[str, said("Which physical machine", since=SINCE)] = ""
    spot: Annotated[bool, said("It may be taken back", since=SINCE)] = False
    quote_nusd: Annotated[int, amount("Its price while it is up", HOURLY, since=SINCE)]
    first_rate_nusd: Annotated[int, amount("Until it is", HOURLY, since=SINCE)]
    billed_step_ms: Annotated[
        int, amount("Its provider bills multiples of this", "ms", since=SINCE)
    ] = 1
    reserved_nusd: Annotated[int, amount("What it may cost", "nano-USD", since=SINCE)]
    life_ms: Annotated[int, amount("Returned after so long", "ms", since=SINCE)]
    expires_ms: Annotated[int, amount("As its label says", "ms UTC", since=SINCE)]
    host_key: Annotated[str, said("Public key that it shows", since=SINCE)] = ""


class CreateCalled(OfRental, frozen=True, kw_only=True):
    """The author's process asks the provider now; nobody may again."""


class CreateAnswered(OfRental, frozen=True, kw_only=True):
    """The provider named a machine."""

    instance_id: InstanceId
    why: Why


class CreateUnclear(OfRental, frozen=True, kw_only=True):
    """A machine may have been made, or not: its label is looked for."""

    why: Why


class CreateRefused(OfRental, frozen=True, kw_only=True):
    """The provider refused by a code it documents; the label is watched all the same."""

    why: Why


class InstanceFound(OfRental, frozen=True, kw_only=True):
    """A listing shows a machine with the rental's label: it is this rental's."""

    instance_id: InstanceId
    why: Why
    begun_ms: Annotated[int, amount("When that listing began", "ms UTC", since=SINCE)]


class InstanceChanged(OfRental, frozen=True, kw_only=True):
    """A listing shows the machine in another way than before."""

    status: Annotated[
        str,
        said(
            "placing, image, container, up, stopped, exited, preempted, error or terminating",
            since=SINCE,
        ),
    ]
    price_nusd: Annotated[int, amount("While it is up; 0 = not said", HOURLY, since=SINCE)]
    rate_nusd: Annotated[int, amount("What is charged now", HOURLY, since=SINCE)]
    since_ms: Annotated[int, amount("It may be so since then", "ms UTC", since=SINCE)]
    begun_ms: Annotated[int, amount("When that listing began", "ms UTC", since=SINCE)]


class StepReached(OfRental, frozen=True, kw_only=True):
    """A machine came a step further."""

    step: Annotated[str, said("placed, image, container, sshd or engine", since=SINCE)]


class RentalStarted(OfRental, frozen=True, kw_only=True):
    """What it was rented for runs."""


class RentalInterrupted(OfRental, frozen=True, kw_only=True):
    """A machine is of no use any more and may still cost."""

    why: Why


class ReturnDecided(OfRental, frozen=True, kw_only=True):
    """A machine is to be ended, until its absence is proved."""

    why: Why


class ReturnAnswered(OfRental, frozen=True, kw_only=True):
    """What the provider says to being asked for its end; this proves nothing."""

    why: Why


class ReturnOverdue(OfRental, frozen=True, kw_only=True):
    """Listings still show a machine that was to end."""


class AlarmRaised(OfRental, frozen=True, kw_only=True):
    """A person was told."""

    why: Why


class AbsenceConfirmed(OfRental, frozen=True, kw_only=True):
    """Two whole listings lack it: nothing of it is left, and nothing is reserved."""

    why: Why
    end_ms: Annotated[int, amount("Until then it is taken to have cost", "ms UTC", since=SINCE)]
    last_ms: Annotated[int, amount("When it was last seen", "ms UTC", since=SINCE)]
    proved_ms: Annotated[int, amount("When the proof was whole", "ms UTC", since=SINCE)]


class InstanceReappeared(OfRental, frozen=True, kw_only=True):
    """A machine that was proved absent is listed: its cost goes on from its end."""

    instance_id: InstanceId
    rate_nusd: Annotated[int, amount("What is charged", HOURLY, since=SINCE)]


class StrangeFound(OfRental, frozen=True, kw_only=True):
    """A machine with a label of this fleet that no known rental accounts for."""

    request_id: RequestId = ""
    job_id: JobId = ""
    label: Annotated[str, said("What it is called", since=SINCE)]
    instance_id: InstanceId
    rate_nusd: Annotated[int, amount("The most that it costs", HOURLY, since=SINCE)]
    since_ms: Annotated[int, amount("It may be there since then", "ms UTC", since=SINCE)]
    expires_ms: Annotated[int, amount("As its label says", "ms UTC", since=SINCE)]


class DuplicateFound(StrangeFound, frozen=True, kw_only=True):
    """A second machine of one label; it is returned."""


class OrphanFound(StrangeFound, frozen=True, kw_only=True):
    """A machine whose intent is not here; its label says until when it may live."""


class PriceRiseRefused(OfRental, frozen=True, kw_only=True):
    """The provider asked for more for a running machine, and got a no."""

    rise_id: Annotated[str, said("What the provider calls its demand", since=SINCE)]
    new_hourly_nusd: Annotated[int, amount("What it asked for", HOURLY, since=SINCE)]


class RentalInvoiced(OfRental, frozen=True, kw_only=True):
    """What the provider says that it cost; two answers an hour apart agreed."""

    amount_nusd: Annotated[int, amount("That", "nano-USD", since=SINCE)]
    step_nusd: Annotated[int, amount("It is rounded to this", "nano-USD", since=SINCE)]


EVENTS: Final[dict[str, tuple[type[Fact], ...]]] = {
    "account_taken": (AccountTaken,),
    "rental_requested": (RentalRequested,),
    "request_ended": (RequestEnded,),
    "rental_intended": (RentalIntended,),
    "create_called": (CreateCalled,),
    "create_answered": (CreateAnswered,),
    "create_unclear": (CreateUnclear,),
    "create_refused": (CreateRefused,),
    "instance_found": (InstanceFound,),
    "instance_changed": (InstanceChanged,),
    "step_reached": (StepReached,),
    "rental_started": (RentalStarted,),
    "rental_interrupted": (RentalInterrupted,),
    "return_decided": (ReturnDecided,),
    "return_answered": (ReturnAnswered,),
    "return_overdue": (ReturnOverdue,),
    "alarm_raised": (AlarmRaised,),
    "absence_confirmed": (AbsenceConfirmed,),
    "instance_reappeared": (InstanceReappeared,),
    "duplicate_found": (DuplicateFound,),
    "orphan_found": (OrphanFound,),
    "price_rise_refused": (PriceRiseRefused,),
    "rental_invoiced": (RentalInvoiced,),
}
# Those that are steps of one rental's life.
OF_RENTAL: Final[dict[str, type[OfRental]]] = {
    kind: form for kind, (form, *_) in EVENTS.items() if issubclass(form, OfRental)
}
