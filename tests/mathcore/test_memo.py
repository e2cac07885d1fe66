"""A memo answers for the object it was asked about, and never holds more than its limit."""

from hypothesis import given
from hypothesis import strategies as st

from mathcore.memo import Memo


def test_a_value_is_kept_until_the_memo_is_full_and_then_all_are_forgotten() -> None:
    memo: Memo[str] = Memo(2)
    assert memo.put("a", "1") == "1"
    memo.put("b", "2")
    assert (memo.get("a"), memo.get("b")) == ("1", "2")
    memo.put("c", "3")
    assert (memo.get("a"), memo.get("b"), memo.get("c")) == (None, None, "3")


def test_an_id_that_came_to_mean_another_object_is_not_answered_for() -> None:
    memo: Memo[int] = Memo(8)
    first, second = [1], [1]
    memo.put(7, 41, first)
    assert memo.get(7, first) == 41
    assert memo.get(7, second) is None
    assert memo.put(7, 42, second) == 42
    assert (memo.get(7, first), memo.get(7, second)) == (None, 42)


@given(keys=st.lists(st.integers(0, 20)), limit=st.integers(1, 5))
def test_the_last_value_is_there_and_never_more_than_the_limit(keys: list[int], limit: int) -> None:
    memo: Memo[int] = Memo(limit)
    for key in keys:
        memo.put(key, 2 * key)
        assert memo.get(key) == 2 * key
        assert len(memo.held) <= limit
