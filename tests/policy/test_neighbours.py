"""A large fleet hangs together though each peer keeps few links, whoever is away."""

import hashlib
import random

from hypothesis import given
from hypothesis import strategies as st

from mesh.policy.neighbours import OUTBOUND, SMALL_FLEET, choose


def keys(count: int) -> list[bytes]:
    return [hashlib.sha256(bytes([n])).digest() for n in range(count)]


def parts(links: set[tuple[bytes, bytes]], alive: list[bytes]) -> int:
    """How many separate groups these links leave."""
    group = {key: key for key in alive}

    def head(key: bytes) -> bytes:
        while group[key] != key:
            key = group[key]
        return key

    for one, other in links:
        group[head(one)] = head(other)
    return len({head(key) for key in alive})


@given(st.integers(2, 60), st.floats(0, 0.6), st.randoms(use_true_random=False))
def test_the_living_are_connected_and_nobody_has_many_links(
    count: int, away: float, rng: random.Random
) -> None:
    every = keys(count)
    dead = set(rng.sample(every, int(away * count)))
    alive = [key for key in every if key not in dead]
    links = set()
    for me in alive:
        others = [key for key in every if key != me]
        wanted = choose(me, others, dead)
        sound = [key for key in wanted if key not in dead]
        assert len(sound) <= max(OUTBOUND, SMALL_FLEET)
        links |= {(me, key) for key in sound}
    assert not alive or parts(links, alive) == 1
    if count > SMALL_FLEET + 1 and not dead:
        held = {key: 0 for key in every}
        for one, other in links:
            held[one] += 1
            held[other] += 1
        assert sum(held.values()) / count <= 2 * OUTBOUND
