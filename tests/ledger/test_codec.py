"""One value, one encoding."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.ledger import codec

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-codec.MAX_INT, codec.MAX_INT)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), VALUES, max_size=5)


@given(OBJECTS)
def test_what_is_encoded_comes_back_the_same(value: dict[str, object]) -> None:
    assert codec.decode(codec.encode(value)) == value


def test_keys_are_sorted_whatever_order_they_came_in() -> None:
    assert codec.encode({"b": 1, "a": {"d": 2, "c": 3}}) == b'{"a":{"c":3,"d":2},"b":1}'


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"x": 0.5}, "x: float"),
        ({"x": 2**53}, "2**53-1"),
        ({"x": -(2**53)}, "2**53-1"),
        ({"x": {1: 2}}, "key 1 is not text"),
        ({"x": b"raw"}, "bytes is not allowed"),
        ({"x": "\ud800"}, "JSON"),
        ({"x": "a" * codec.MAX_EVENT_BYTES}, "65536"),
    ],
)
def test_what_has_no_canonical_form_is_refused(value: dict[str, object], says: str) -> None:
    with pytest.raises(codec.EncodeError) as error:
        codec.encode(value)
    assert says in str(error.value)


def test_nesting_has_a_limit() -> None:
    value: object = 1
    for _ in range(codec.MAX_DEPTH):
        value = [value]
    with pytest.raises(codec.EncodeError, match="nested deeper"):
        codec.encode({"x": value})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":2}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":9007199254740992}',
        b'{"a":99999999999999999999999}',
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":"\\u0041"}',
        b'{"a":1}\n',
        b"[" * 60_000,
        b" " * 70_000,
        b'{"a":' + b"[" * 50_000,
    ],
)
def test_bytes_that_encode_would_not_write_are_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(codec.DecodeError) as error:
        codec.decode(body)
    assert "\n" not in str(error.value)


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_else(body: bytes) -> None:
    try:
        value = codec.decode(body)
    except codec.DecodeError:
        return
    assert codec.encode(value) == body
