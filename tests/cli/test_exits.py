"""Every way a command can end has one code and one line."""

import errno
import os

import pytest

from mesh.api.errors import RequestError
from mesh.cli.exits import BY_KIND, BY_STATUS, EPILOG, JOB_EXIT, Stop, code_of, line_of
from mesh.cli.jobs.run import end
from mesh.cli.output import clean, show_age
from mesh.edge.disk import LedgerBusy, StoreError


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("BadRequest", 400, 2),
        ("StoreError", 400, 3),
        ("LedgerBusy", 400, 3),
        ("Unauthorized", 401, 106),
        ("WrongRole", 403, 106),
        ("ExpiredCode", 403, 106),
        ("NotFound", 404, 102),
        ("UnknownModel", 404, 102),
        ("AlreadyEnded", 409, 3),
        ("JobExists", 409, 2),
        ("TooLarge", 413, 2),
        ("TooMany", 429, 3),
        ("Internal", 500, 1),
        ("Unreachable", 502, 105),
        ("NoDaemon", 503, 105),
        ("NotReady", 503, 3),
    ],
)
def test_what_the_daemon_refuses_becomes_the_exit_code_of_its_kind(
    kind: str, status: int, code: int
) -> None:
    assert code_of(RequestError(kind, "text", "", status)) == code


@pytest.mark.parametrize("error", [StoreError("no ledger in x"), LedgerBusy(7)])
def test_a_ledger_that_cannot_be_had_now_is_no_bug(error: Exception) -> None:
    assert code_of(error) == 3


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.EADDRINUSE, "--port 0"), (errno.ENOSPC, "disk space"), (errno.EROFS, "written")],
)
def test_what_the_system_refuses_in_ordinary_life_is_no_bug(number: int, hint: str) -> None:
    error = OSError(number, os.strerror(number), "/x")
    assert code_of(error) == 3
    assert hint in line_of(error)
    assert "internal error" not in line_of(error)


def test_every_exit_code_is_in_the_help() -> None:
    codes = {*BY_KIND.values(), *BY_STATUS.values(), *JOB_EXIT.values(), 4, 104, 130}
    assert codes == {int(line.split()[0]) for line in EPILOG.splitlines() if line[2:3].isdigit()}


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
        end("j1", {"status": status, "reason": "oom", "text": "ran out of memory"})
    assert caught.value.exit_code == code


@pytest.mark.parametrize("reason", ["NoFit(mem)", "NoFit(ctx)", "TooSlow", "no_resource"])
def test_a_job_that_no_device_holds_ends_as_a_plan_does(reason: str) -> None:
    with pytest.raises(Stop) as caught:
        end("j1", {"status": "failed", "reason": reason, "text": "8 GiB missing"})
    assert caught.value.exit_code == 104


def test_a_peer_cannot_move_our_cursor_with_its_names() -> None:
    assert clean("a\x1b[2Jb\rc\u202ed") == "a [2Jb c d"


def test_ages_are_rounded_down_to_one_unit() -> None:
    shown = [show_age(ms) for ms in (-5, 59_999, 60_000, 7_200_000, 172_800_000)]
    assert shown == ["0s", "59s", "1m", "2h", "2d"]
