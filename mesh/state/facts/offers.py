"""Facts about what can be rented: prices by kind of machine, as one account saw them.

Nothing here tells who holds a key or what it is; of single offers there are only groups.
"""

from typing import Annotated

from mesh.state.facts.fact import Fact, amount, said

SINCE = "0.5.0"


class OfferRow(Fact, frozen=True, kw_only=True):
    """Machines of one kind that could be rented. A price is an hour of the whole machine."""

    gpu: Annotated[str, said("The accelerator, as the provider calls it", since=SINCE)]
    gpu_count: Annotated[int, amount("How many it has", since=SINCE)]
    memory_bytes: Annotated[
        int, amount("Memory of one of them, of the machine that has least", "B", since=SINCE)
    ]
    n: Annotated[int, amount("So many machines; 0 = none any more", since=SINCE)]
    min_nusd: Annotated[int, amount("The cheapest, an hour", "nano-USD", since=SINCE)]
    median_nusd: Annotated[int, amount("The median, an hour", "nano-USD", since=SINCE)]
    spot: Annotated[bool, said("Whether it may be taken back", since=SINCE)] = False
    region: Annotated[
        str, said('"us", "eu", "ap" or "other"; none = not told, or several', since=SINCE)
    ] = ""


class OffersRefreshed(Fact, frozen=True, kw_only=True):
    """What one account saw at a provider; every five minutes at most."""

    provider: Annotated[str, said("Which provider", since=SINCE)]
    account: Annotated[str, said("What people call the account there", since=SINCE)]
    refreshed_ms: Annotated[int, amount("When the provider said so, UTC", "ms", since=SINCE)]
    partial: Annotated[
        bool, said("Its rows are what moved; what the author said before holds else", since=SINCE)
    ] = False
    offers: Annotated[int, amount("Machines in these rows", since=SINCE)] = 0
    refused: Annotated[
        int, amount("Others whose price is none, or too far from the usual", since=SINCE)
    ] = 0
    left_out: Annotated[int, amount("Machines of kinds there was no row for", since=SINCE)] = 0
    rows: Annotated[tuple[OfferRow, ...], said("96 at most: others are not read", since=SINCE)] = ()
