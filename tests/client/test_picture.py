"""A column as bars: what is known is drawn to scale, and other people's words stay words."""

import re
from math import isfinite
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.client.picture import BAR_WIDTH, MAX_BARS, UNKNOWN, bars
from mesh.client.shown import Answer, Rows

SPEEDS = [
    {"device": "rig", "tokens_per_s": {"p10": 40.0, "p50": 50.0, "p90": 100.0}, "cost": None},
    {"device": "desk", "tokens_per_s": {"p10": 1.0, "p50": 25.0, "p90": 30.0}, "cost": 7},
]


def widths(picture: str) -> list[float]:
    return [float(one) for one in re.findall(r'<rect [^>]*width="([\d.]+)"', picture)]


def test_bars_are_as_long_as_their_numbers_and_have_their_bands() -> None:
    picture = Answer({"placements": SPEEDS}, of="placements").plot("tokens_per_s.p50")
    assert widths(picture) == [BAR_WIDTH / 2, BAR_WIDTH / 4]
    assert picture.count("<line ") == 2
    assert ">rig</text>" in picture
    assert ">50</text>" in picture
    assert picture._repr_svg_() == picture


def test_what_nobody_knows_is_unknown_and_has_no_bar() -> None:
    picture = Rows(SPEEDS).plot("cost")
    assert (len(widths(picture)), picture.count(UNKNOWN)) == (1, 1)


def test_a_column_that_is_not_there_or_has_no_numbers_is_named_with_those_that_have() -> None:
    for column in ("speed", "device"):
        with pytest.raises(ValueError, match=f"'{column}' with numbers: one of tokens_per_s.p10,"):
            Rows(SPEEDS).plot(column)
    assert Rows().plot("anything").startswith("<svg ")


def test_no_more_bars_than_a_screen_has_are_drawn_and_the_rest_is_counted() -> None:
    picture = Rows([{"name": f"d{n}", "n": n} for n in range(MAX_BARS + 3)]).plot("n")
    assert len(widths(picture)) == MAX_BARS
    assert "3 more rows" in picture


NUMBERS = st.none() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, width=32)


@given(st.lists(st.tuples(st.text(max_size=40), NUMBERS), min_size=1, max_size=6))
def test_any_names_and_numbers_make_a_picture_without_markup_of_theirs(
    rows: list[tuple[str, Any]],
) -> None:
    table = [{"name": name, "n": n} for name, n in rows]
    if not any(n is not None and isfinite(n) for _, n in rows):
        return
    root = ElementTree.fromstring(bars(table, "n", label="name"))
    names = {one.tag.rpartition("}")[2] for one in root.iter()}
    assert names <= {"svg", "title", "text", "rect", "line"}
    drawn = [float(one.get("width", "")) for one in root.iter() if one.tag.endswith("rect")]
    assert all(0 <= one <= BAR_WIDTH + 0.1 for one in drawn)
