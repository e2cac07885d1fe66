"""What a tool gives is bounded, and says what was left out."""

import json

import pytest

from mesh.cli.mcp.bounds import as_json, bounded, fault
from mesh.cli.mcp.tools import READS

SCHEMAS = {one.name: one.schema for one in READS}


def test_what_is_small_stays_as_it_is() -> None:
    value = {"jobs": [1, 2, 3], "of": 3}
    assert bounded(value) == value


def test_the_longest_list_loses_its_end_and_the_answer_says_so() -> None:
    value = {"few": [1, 2], "plan": {"rows": [{"n": n} for n in range(1000)]}}
    found = bounded(value, 500)
    assert len(as_json(found)) <= 500
    assert found["few"] == [1, 2]
    assert found["cut"] == {"plan.rows": 1000}
    rows = found["plan"]["rows"]
    assert 0 < len(rows) < 1000
    assert rows == value["plan"]["rows"][: len(rows)]  # type: ignore[index]


@pytest.mark.parametrize("value", [{"text": "x" * 10_000}, {"rows": ["y" * 10_000]}])
def test_a_text_that_is_too_long_is_cut_too(value: dict[str, object]) -> None:
    assert len(as_json(bounded(value, 500))) <= 500


def test_characters_that_are_not_ascii_are_written_as_escapes() -> None:
    assert as_json({"name": "a\U000e0041"}).isascii()
    assert json.loads(as_json({"name": "a\U000e0041"})) == {"name": "a\U000e0041"}


def test_every_tools_arguments_are_said_and_no_other_is_taken() -> None:
    for name, schema in SCHEMAS.items():
        assert schema["additionalProperties"] is False
        assert set(schema["required"]) <= set(schema["properties"])
        assert all(one["description"] for one in schema["properties"].values()), name
        assert "unknown argument" in fault(schema, {"x y": 1})
