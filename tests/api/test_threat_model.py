"""docs/threat-model.md says of every field that holds text who typed it and who gets it."""

import re
from pathlib import Path
from typing import get_origin

import msgspec
import pytest

from mesh.cli.app import HOMES
from mesh.edge.jobs.private import FAILED_FILE, REQUEST_FILE
from mesh.state.facts.events import EVENTS
from mesh.state.facts.fact import bare
from mesh.state.facts.job import JobSealed, JobTyped

PAGE = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text()
TYPED = {"prompt", "command", "cwd"}


def rows() -> dict[str, str]:
    """Each event type's rows of the page, as one text."""
    found: dict[str, str] = {}
    for line in PAGE.splitlines():
        named = re.match(r"\| `(\w+)`( before \S+)? \|", line)
        if named is not None:
            found[named[1]] = found.get(named[1], "") + line
    return found


def holds_text(field: msgspec.structs.FieldInfo) -> bool:
    kind = bare(field.type)
    inner = str(kind)
    return kind is str or "str" in inner or (get_origin(kind) is tuple and "int" not in inner)


@pytest.mark.parametrize("event_type", EVENTS)
def test_every_field_that_holds_text_stands_in_the_table(event_type: str) -> None:
    row = rows()[event_type]
    fields = [field for form in EVENTS[event_type] for field in msgspec.structs.fields(form)]
    missing = {field.encode_name for field in fields if holds_text(field)} - {"job_id"}
    assert {name for name in missing if f"`{name}`" not in row} == set()


def test_a_job_written_now_has_no_field_that_was_typed_but_its_label() -> None:
    required = {one.name for one in msgspec.structs.fields(JobSealed) if one.required}
    assert not required & TYPED
    assert {one.name for one in msgspec.structs.fields(JobTyped) if one.required} & TYPED


def test_the_page_names_commands_and_files_that_there_are() -> None:
    verbs = set(re.findall(r"`fleet (\w+)", PAGE)) - {"recover"}
    assert verbs <= set(HOMES)
    assert {"forget", "doctor", "peers"} <= verbs
    for name in (REQUEST_FILE, FAILED_FILE):
        assert f"`{name}`" in PAGE
