"""Did you mean: known names near a mistyped one."""

from mathcore.hardware.facts import cpus, gpus
from mathcore.hardware.names import name_words

MAX_SUGGESTIONS = 3
SHORT = 4  # letters; a name this short is another one after two changes
# Words people leave out or add without meaning another device.
_OPTIONAL: frozenset[str] = frozenset(("rtx", "gtx", "rx", "apple", "arc"))


def did_you_mean(name: str) -> tuple[str, ...]:
    """At most three known names a mistyped or cut-off one may mean; () if none is near.

    "RTX 4900" -> "RTX 4090", "RTX 6000" -> "RTX 6000 Ada". Sizes and counts are to be left out.
    """
    words = _telling(name)
    wanted = "".join(words)
    if len(wanted) < 2 or not any([letter.isdigit() for letter in wanted]):
        return ()
    limit = 1 if len(wanted) <= SHORT else 2
    found: list[tuple[int, int, int, str]] = []
    for place, known in enumerate([fact.name for fact in gpus() + cpus()]):
        others = _telling(known)
        other = "".join(others)
        part = all([word in others for word in words])
        away = 0 if part else distance(wanted, other, limit)
        if away <= limit:
            found.append((away, _apart(wanted, other), place, known))
    nearest = min([away for away, _, _, _ in found], default=0)
    near = [known for away, _, _, known in sorted(found) if away == nearest]
    return tuple(near[:MAX_SUGGESTIONS])


def _telling(name: str) -> list[str]:
    """A name's words without those people leave out and without sizes."""
    return [word for word in name_words(name) if word not in _OPTIONAL and not word.endswith("gb")]


def _apart(one: str, other: str) -> int:
    """How far apart the letters stand that differ: M6 is nearer to M5 than to M1."""
    return sum([abs(ord(a) - ord(b)) for a, b in zip(one, other, strict=False)])


def distance(one: str, other: str, most: int) -> int:
    """Letters changed, added, left out or swapped with their neighbour; `most` + 1 for more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one):
        row = [i + 1]
        for j, b in enumerate(other):
            best = min(last[j] + (a != b), last[j + 1] + 1, row[j] + 1)
            if i and j and a == other[j - 1] and one[i - 1] == b:
                best = min(best, before[j - 1] + 1)
            row.append(best)
        before, last = last, row
    return min(last[-1], most + 1)
