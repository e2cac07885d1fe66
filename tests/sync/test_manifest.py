"""Tips and what follows from them."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.ledger.document import SEGMENT_EVENTS
from mesh.sync.manifest import Tip, digest, last_admitted
from mesh.sync.wants import TAIL_EVENTS, Retreat, ask_after, fits_tail, step_back

TIPS = st.dictionaries(
    st.sampled_from(["aa" * 32, "bb" * 32, "cc" * 32]),
    st.builds(Tip, st.integers(1, 9), st.just("00")),
)


@given(TIPS, TIPS)
def test_digests_are_equal_where_tips_are(one: dict[str, Tip], two: dict[str, Tip]) -> None:
    assert (digest(one) == digest(two)) == (one == two)
    assert digest(dict(reversed(one.items()))) == digest(one)


@given(st.integers(0, 500), st.integers(1, 500))
def test_the_last_admitted_seq_is_the_cut_off(cut: int, seq: int) -> None:
    assert last_admitted(lambda _, at: at <= cut, "a", seq) == min(cut, seq)


def ask(mine: Tip, theirs: Tip, retreat: Retreat | None = None) -> int | None:
    hashes = {seq: frozenset({f"h{seq}"}) for seq in range(1, mine.seq + 1)}
    return ask_after(mine, theirs, retreat, lambda seq: hashes[seq])


def test_what_is_asked_of_a_neighbour() -> None:
    mine = Tip(100, "h100")
    assert ask(mine, Tip(100, "h100")) is None
    assert ask(mine, Tip(0, "")) is None
    assert ask(mine, Tip(150, "h150")) == 100  # it is ahead
    assert ask(mine, Tip(40, "h40")) is None  # it is behind
    assert ask(mine, Tip(100, "other")) == 36  # it has another branch
    assert ask(mine, Tip(150, "x", 31)) == 30  # it knows where the branches part
    assert ask(Tip(10, "h10"), Tip(150, "x", 31)) == 10
    assert ask(Tip(100, "x", 20), Tip(100, "y", 50)) == 19
    assert ask(mine, Tip(150, "h150"), Retreat(7, 64)) == 7


def test_steps_back_double_until_the_beginning() -> None:
    retreat, began, places = None, 1000, []
    while began:
        retreat = step_back(began, retreat)
        began = retreat.after
        places.append(began)
    assert places == [936, 808, 552, 40, 0]


def test_a_tail_is_for_the_last_few_events_of_one_open_segment() -> None:
    at = 2 * SEGMENT_EVENTS
    assert fits_tail(Tip(at + 1, "a"), Tip(at + 1 + TAIL_EVENTS, "b"))
    assert not fits_tail(Tip(at + 1, "a"), Tip(at + 2 + TAIL_EVENTS, "b"))
    assert not fits_tail(Tip(at, "a"), Tip(at + 1, "b"))  # we have nothing of the segment
    assert not fits_tail(Tip(at - 1, "a"), Tip(at + 1, "b"))  # two segments
    assert not fits_tail(Tip(at - 2, "a"), Tip(at, "b"))  # theirs is sealed
    assert not fits_tail(Tip(at + 5, "a"), Tip(at + 5, "b"))
    assert not fits_tail(Tip(at + 1, "a", 3), Tip(at + 2, "b"))
