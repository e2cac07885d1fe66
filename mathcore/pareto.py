"""What nothing else beats: the choices worth looking at."""

from dataclasses import replace

from mathcore.answer import Placement


def _corner(placed: Placement) -> tuple[float, float, float, str]:
    return (placed.cost_nusd.p50, placed.duration_ms.p50, -placed.quality, placed.device_id)


def mark_pareto(placements: list[Placement]) -> list[Placement]:
    """The same placements, each marked whether none is at once cheaper, faster and better.

    Equal ones keep each other's mark: neither beats the other.
    """
    best: list[tuple[float, float, float, str]] = []
    out = placements[:]
    for i in sorted(range(len(placements)), key=lambda n: _corner(placements[n])):
        own = _corner(placements[i])
        beaten = False
        for other in best:
            if other[1] <= own[1] and other[2] <= own[2] and other[:3] != own[:3]:
                beaten = True
                break
        if not beaten:
            best.append(own)
            out[i] = replace(placements[i], pareto=True)
    return out
