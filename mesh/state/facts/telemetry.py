"""Facts about what a device did for a while; readings of every second stay in its peer's memory."""

from typing import Annotated

from mesh.state.facts.fact import Fact, amount, said

SINCE = "0.2.0"


class TelemetrySummarised(Fact, frozen=True, kw_only=True):
    """What the event's device did; once an hour at most, and only where that changed notably.

    Its owner says so. What no driver tells is left out: an idle device says 0, a silent one none.
    """

    begun_ms: Annotated[int, amount("Begin of the time it is about, UTC", "ms", since=SINCE)]
    span_ms: Annotated[int, amount("How long that was", "ms", since=SINCE)]
    readings: Annotated[int, amount("Readings it rests on", since=SINCE)]
    health: Annotated[
        str,
        said(
            'At its end: "ok", "degraded", "lost", "driver_mismatch" or "unresponsive"', since=SINCE
        ),
    ]
    health_changes: Annotated[
        tuple[str, ...], said("The states it went through in that time, in order", since=SINCE)
    ] = ()
    utilisation_mean_percent: Annotated[int | None, said("Mean load", "%", since=SINCE)] = None
    utilisation_peak_percent: Annotated[int | None, said("Highest load", "%", since=SINCE)] = None
    peak_memory_bytes: Annotated[
        int | None, said("The most memory that was taken, whoever took it", "B", since=SINCE)
    ] = None
    energy_joules: Annotated[int | None, said("What it drew", "J", since=SINCE)] = None
    energy_basis: Annotated[
        str, said('"measured", or "estimated" from its watts and its load', since=SINCE)
    ] = ""
