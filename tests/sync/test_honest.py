"""Honest peers never find fault with each other, whatever strangers gave them and whoever they take
for members; and once they know the same members they hold the same events."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mesh.ledger.event import NO_PREV
from mesh.sync.archive import Envelope
from mesh.sync.holdings import Holdings
from mesh.sync.manifest import digest
from tests.sync.fleets import Peer as Member
from tests.sync.fleets import Signer
from tests.sync.sessions import End, talk

PEERS = 3
AUTHORS = 4
LENGTH = 12
FOREVER = 1 << 40


class Peer(Member):
    """Admits each author up to a seq of its own."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.cuts: dict[str, int] = {}

    def admits(self, author: str, seq: int) -> bool:
        return seq <= self.cuts.get(author, 0)

    def link(self, other: "Peer", version: int) -> End:
        return End(self.ledger, self.admits, peer=other.author, version=version)


def chain(number: int, fork: int | None) -> list[list[Envelope]]:
    """An author's branches: one, or two that part before the event `fork`."""
    signer = Signer(number)
    main, prevs = [], [NO_PREV]
    for seq in range(1, LENGTH + 1):
        main.append(signer.say(f"main {seq}"))
        prevs.append(signer.prev)
    if fork is None:
        return [main]
    signer.seq, signer.prev = fork - 1, prevs[fork - 1]
    other = main[: fork - 1]
    for seq in range(fork, LENGTH + 4):
        other.append(signer.say(f"other {seq}"))
    return [main, other]


@contextmanager
def peers() -> Iterator[list[Peer]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        made = [Peer(Path(folder) / str(number)) for number in range(PEERS)]
        for one in made:
            stack.callback(one.ledger.close)
        yield made


CUTS = st.sampled_from([0, 0, 3, 5, 8, LENGTH, FOREVER])
FORKS = st.sampled_from([None, None, 1, 2, 6, LENGTH])
MEETS = st.tuples(st.integers(0, PEERS - 1), st.integers(0, PEERS - 1), st.sampled_from([1, 2]))


# A failing schedule is short enough to read; making it shorter takes minutes.
@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_honest_peer_is_ever_blamed_and_all_agree_in_the_end(data: st.DataObject) -> None:
    with peers() as fleet:
        authors = [Signer(1 + number).author for number in range(AUTHORS)]
        for number in range(AUTHORS):
            branches = chain(1 + number, data.draw(FORKS))
            for peer in fleet:  # what each has from before, by whatever way
                for branch in branches:
                    peer.ledger.take_in(branch[: data.draw(st.integers(0, len(branch)))])
        for peer in fleet:
            peer.cuts = {author: data.draw(CUTS) for author in authors}
        links: dict[tuple[int, int], tuple[End, End]] = {}
        for here, there, version in data.draw(st.lists(MEETS, max_size=8)):
            if here == there:
                continue
            one, two = fleet[here], fleet[there]
            if (here, there) not in links:
                links[here, there] = one.link(two, version), two.link(one, version)
            talk(*links[here, there])  # a ProtocolError ends the test
            moved = data.draw(st.integers(0, PEERS - 1))
            fleet[moved].cuts[data.draw(st.sampled_from(authors))] = data.draw(CUTS)
            for (first, second), ends in links.items():
                for number, end in zip((first, second), ends, strict=True):
                    if number == moved:
                        end.session.refresh()
        final = {author: data.draw(CUTS) for author in authors}
        for peer in fleet:
            peer.cuts = dict(final)
        version = data.draw(st.sampled_from([1, 2]))
        for _ in range(2):
            for here, there in ((0, 1), (1, 2), (2, 0)):
                talk(
                    fleet[here].link(fleet[there], version), fleet[there].link(fleet[here], version)
                )
        held = [Holdings(peer.ledger, peer.admits).all() for peer in fleet]
        assert len({digest(one) for one in held}) == 1, held
