"""Every way a command can end has one code and one line."""

import pytest

from mesh.api.errors import RequestError
from mesh.cli.exits import JOB_EXIT, Stop, code_of, line_of
from mesh.cli.jobs.jobs import end
from mesh.cli.output import clean, show_age


@pytest.mark.parametrize(
    ("status", "code"), [(400, 2), (401, 105), (403, 105), (404, 102), (413, 2), (500, 1), (503, 1)]
)
def test_what_the_daemon_refuses_becomes_the_exit_code_of_its_kind(status: int, code: int) -> None:
    assert code_of(RequestError("Code", "text", "", status)) == code


def test_an_error_over_many_lines_is_shown_on_one() -> None:
    shown = line_of(RequestError("Code", "first\nsecond.", "run: fleet up"))
    assert shown == "fleet: first second. try: fleet up"


def test_a_bug_is_named_without_its_traceback() -> None:
    assert line_of(KeyError("x")).startswith("fleet: internal error: KeyError")
    assert code_of(KeyError("x")) == 1


@pytest.mark.parametrize(("status", "code"), [("failed", 100), ("cancelled", 103)])
def test_an_ended_job_ends_the_command_with_its_code_and_reason(status: str, code: int) -> None:
    assert JOB_EXIT["succeeded"] == 0
    with pytest.raises(Stop, match="ran out of memory") as caught:
        end("j1", status, "ran out of memory")
    assert caught.value.exit_code == code


def test_a_peer_cannot_move_our_cursor_with_its_names() -> None:
    assert clean("a\x1b[2Jb\rc\u202ed") == "a [2Jb c d"


def test_ages_are_rounded_down_to_one_unit() -> None:
    shown = [show_age(ms) for ms in (-5, 59_999, 60_000, 7_200_000, 172_800_000)]
    assert shown == ["0s", "59s", "1m", "2h", "2d"]
