"""Facts about answering requests: who holds a key, what was used, what is to be kept up.

Nothing here tells what was asked or answered; of a key's secret there is only the hash.
"""

from typing import Annotated, Final

from mesh.state.facts.fact import Fact, amount, said

SINCE: Final = "0.4.0"
DAY, MONTH, TOTAL = "day", "month", "total"
BUDGET_PERIODS: Final = (DAY, MONTH, TOTAL)

KeyId = Annotated[str, said("Which key", since=SINCE)]
ServiceId = Annotated[str, said("Which service", since=SINCE)]


class KeyAdded(Fact, frozen=True, kw_only=True):
    """Whoever holds the secret of this hash may ask models; said again, the later word counts."""

    key_id: KeyId
    name: Annotated[str, said("What people call it", since=SINCE)]
    hash: Annotated[str, said("blake2b-256 of the secret, 64 hex digits", since=SINCE)]
    models: Annotated[tuple[str, ...], said("Models it may ask; none = all", since=SINCE)] = ()
    rate_per_min: Annotated[
        int, amount("Requests a minute at most; 0 = no limit", "1/min", since=SINCE)
    ] = 0
    budget_nusd: Annotated[
        int, amount("What it may cost in that time; 0 = no limit", "nano-USD", since=SINCE)
    ] = 0
    budget_per: Annotated[
        str, said('"day", "month" (both UTC) or "total"; another is "total"', since=SINCE)
    ] = ""


class KeyRevoked(Fact, frozen=True, kw_only=True):
    """A key opens nothing any more, for good: its author says so, or an admin."""

    key_id: KeyId


class TailFact(Fact, frozen=True, kw_only=True):
    """How long most waited, and the slowest."""

    p50: Annotated[int, amount("The median", "as its field", since=SINCE)]
    p90: Annotated[int, amount("One in ten took longer", "as its field", since=SINCE)]
    p99: Annotated[int, amount("One in a hundred took longer", "as its field", since=SINCE)]


class UsageRow(Fact, frozen=True, kw_only=True):
    """What one key asked of one model on one device, as one job answered it."""

    key_id: Annotated[str, said("Which key; none = no key, or several", since=SINCE)]
    model: Annotated[str, said("What the model is called, its base name", since=SINCE)]
    device_id: Annotated[str, said("Which device answered", since=SINCE)]
    job_id: Annotated[str, said("The job that held the model there", since=SINCE)]
    requests: Annotated[int, amount("Requests that ended", since=SINCE)]
    errors: Annotated[int, amount("Of those, refused or failed", since=SINCE)] = 0
    cut: Annotated[
        int, amount("Of those, broke off: tokens count as far as they went", since=SINCE)
    ] = 0
    prompt_tokens: Annotated[int, amount("Tokens asked", "tokens", since=SINCE)] = 0
    cached_tokens: Annotated[int, amount("Of those, known already", "tokens", since=SINCE)] = 0
    generated_tokens: Annotated[int, amount("Tokens answered", "tokens", since=SINCE)] = 0
    energy_mj: Annotated[int, amount("What it drew", "mJ", since=SINCE)] = 0
    energy_basis: Annotated[
        str, said('"measured", or "estimated" from watts and load', since=SINCE)
    ] = ""
    cost_nusd: Annotated[int, amount("Its share of the device's cost", "nano-USD", since=SINCE)] = 0
    first_token_ms: Annotated[TailFact | None, said("Until the first token", "ms", since=SINCE)] = (
        None
    )
    duration_ms: Annotated[TailFact | None, said("Until the last", "ms", since=SINCE)] = None


class UsageSummarised(Fact, frozen=True, kw_only=True):
    """What requests used of the author's devices; once a minute at most.

    The owner of the devices says so; a row about another's device counts nothing.
    """

    begun_ms: Annotated[int, amount("Begin of the time it is about, UTC", "ms", since=SINCE)]
    span_ms: Annotated[int, amount("How long that was", "ms", since=SINCE)]
    rows: Annotated[tuple[UsageRow, ...], said("64 at most: others are not read", since=SINCE)]


class ServiceSet(Fact, frozen=True, kw_only=True):
    """A model is to be kept up; the author is its home. The later word counts."""

    service_id: ServiceId
    model: Annotated[str, said("What the model is called, its base name", since=SINCE)]
    min_replicas: Annotated[int, amount("So many always", since=SINCE)]
    max_replicas: Annotated[int, amount("So many at most", since=SINCE)]
    idle_ms: Annotated[
        int, amount("After so long without a request one may end; 0 = never", "ms", since=SINCE)
    ]


class ServiceEnded(Fact, frozen=True, kw_only=True):
    """A model need not be kept up any more."""

    service_id: ServiceId
